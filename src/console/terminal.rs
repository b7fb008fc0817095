//! The host's terminal in raw mode, restored when dropped.

use std::io::{self, IsTerminal};

use rustix::{
    fd::BorrowedFd,
    process::getpgrp,
    termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr},
};

use crate::sandbox::restore_terminal;

/// Whether the console is a terminal that is ours to use: input and output are
/// one, and we are in its foreground (a background job that touched it would be
/// stopped).
#[must_use]
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal() && is_foreground()
}

/// Whether `stream` is a terminal.
pub(crate) fn is_terminal(stream: &impl IsTerminal) -> bool {
    stream.is_terminal()
}

/// Whether reading `fd` would not stop us as a background job.
pub(super) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    !fd.is_terminal() || tcgetpgrp(fd).is_ok_and(|group| group == getpgrp())
}

fn is_foreground() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp())
}

/// Standard input in raw mode for as long as this lives.
pub struct Terminal {
    before: Termios,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").finish_non_exhaustive()
    }
}

impl Terminal {
    /// Switches the terminal to raw mode: every key, ^C too, goes to the guest.
    pub fn raw() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        restore_terminal(&before);
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // In the background the shell has set the terminal to its own liking, and
        // would stop us for touching it. One that went away needs no restoring.
        if !is_foreground() {
            return;
        }
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
