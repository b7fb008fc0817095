//! [`Progress`]: how far hashing has come, on a terminal.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    path::Path,
    time::{Duration, Instant},
};

use crate::visible::visible;

/// Before this nothing is shown: most files are done by then.
const AT_FIRST: Duration = Duration::from_millis(200);
/// How often it is shown from then on.
const EVERY: Duration = Duration::from_millis(100);

/// One line on standard error, where that is a terminal; gone again when dropped.
#[derive(Debug)]
pub(super) struct Progress {
    name: String,
    next: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    /// Nothing yet, for the file at `path`.
    pub(super) fn new(path: &Path) -> Self {
        let next = stderr().is_terminal().then(|| Instant::now().checked_add(AT_FIRST));
        let name = visible(&path.display().to_string());
        Self { name, next: next.flatten(), is_shown: false }
    }

    /// Says that `done` bytes of `all` have been hashed.
    pub(super) fn tell(&mut self, done: u64, all: u64) {
        let now = Instant::now();
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        self.next = now.checked_add(EVERY);
        self.is_shown = true;
        let percent = done.saturating_mul(100).checked_div(all).unwrap_or(100).min(100);
        drop(write!(stderr(), "\rhashing {}: {percent:3} %", self.name));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            // To the start of the line, and the rest of it erased.
            drop(write!(stderr(), "\r\x1b[K"));
        }
    }
}
