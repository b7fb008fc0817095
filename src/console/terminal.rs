//! The host's terminal in raw mode, restored when dropped.

use std::{
    io::{self, IsTerminal},
    sync::Mutex,
};

use rustix::{
    fd::BorrowedFd,
    process::getpgrp,
    termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr},
};

/// Whether the console is a terminal that is ours to use: input and output are
/// one, and we are in its foreground (a background job that touched it would be
/// stopped).
#[must_use]
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal() && is_foreground()
}

/// How large a terminal is, in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// How long a line is.
    pub columns: u16,
    /// How many there are.
    pub rows: u16,
}

/// The size of the terminal that is standard input; nothing where it does not know.
pub(crate) fn size() -> Option<Size> {
    let size = tcgetwinsize(io::stdin()).ok()?;
    let size = Size { columns: size.ws_col, rows: size.ws_row };
    (size != Size::default()).then_some(size)
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

/// How standard input was before it was made raw; nothing while it is not.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Standard input in raw mode for as long as this lives.
#[derive(Debug)]
pub struct Terminal(());

impl Terminal {
    /// Switches the terminal to raw mode: every key, ^C too, goes to the guest.
    pub fn raw() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        if let Ok(mut kept) = BEFORE.lock() {
            *kept = Some(before);
        }
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Makes standard input what it was before [`Terminal::raw`], if it was made raw.
pub(crate) fn restore() {
    // Whoever holds the lock has not made it raw yet.
    let before = BEFORE.try_lock().ok().and_then(|mut kept| kept.take());
    // In the background the shell has set the terminal to its own liking, and
    // would stop us for touching it. One that went away needs no restoring.
    if let Some(before) = before
        && is_foreground()
    {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}
