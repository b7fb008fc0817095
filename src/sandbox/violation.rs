//! What happens on a system call that is in no rule.
//!
//! The kernel makes it a signal to the thread, whose handler says which call it was and
//! ends the process. It may interrupt anything, also an allocation or a print: so it
//! allocates nothing, takes no lock, and makes only calls that every thread may.

use std::{fmt::Write as _, io};

use signal_hook::low_level::exit;
use vmm_sys_util::signal::{register_signal_handler, unblock_signal};

use super::names::name;
use crate::{child, console, exit::BUG};

/// Lets the signal through to this thread and those that it starts, whatever whoever started
/// us blocked: one that is blocked ends the process without a word. To be called before any
/// other thread is there.
pub(super) fn take() {
    unblock_signal(libc::SIGSYS).ok();
}

/// From now on, such a call is told of.
pub(super) fn report() -> io::Result<()> {
    register_signal_handler(libc::SIGSYS, handle).map_err(Into::into)
}

extern "C" fn handle(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    console::restore_terminal();
    let number = child::refused_call(info);
    let thread = child::ThreadName::of_this();
    let mut line = Line::default();
    // What does not fit is left out.
    let _ = writeln!(
        line,
        "ukivm: bug, or an attack: system call {} ({number}) of thread {} is not in the rules of \
         the sandbox; please report it with the command and, if you may, the UKI; --no-sandbox \
         does without",
        name(number.into()),
        str::from_utf8(thread.name()).unwrap_or("?"),
    );
    rustix::io::write(io::stderr(), line.bytes()).ok();
    exit(BUG.into())
}

/// Text without an allocation.
struct Line {
    bytes: [u8; 512],
    len: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { bytes: [0; 512], len: 0 }
    }
}

impl Line {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl std::fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(text.bytes()) {
            *place = byte;
            self.len = self.len.saturating_add(1);
        }
        Ok(())
    }
}
