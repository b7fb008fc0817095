//! The exit statuses of `ukivm`, all in one place.

mod table;

pub use table::{Meaning, ORDER, TABLE, help, markdown};

use crate::outcome::Signal;

/// `diff` and `probe`, whose guests have no status of their own: something differs.
pub const DIFFERS: u8 = 1;
/// `bench --compare`: something takes longer than it did.
pub const WORSE: u8 = 1;
/// The largest status that the guest itself can give.
pub const GUEST_STATUS_MAX: u8 = 63;
/// A command line that can't be (`EX_USAGE`).
pub const USAGE: u8 = 64;
/// An image refused (`EX_DATAERR`).
pub const DATA: u8 = 65;
/// No usable engine (`EX_UNAVAILABLE`).
pub const NO_ENGINE: u8 = 69;
/// A bug of ours (`EX_SOFTWARE`).
pub const BUG: u8 = 70;
/// A file that can't be opened, read or written (`EX_IOERR`).
pub const IO: u8 = 74;
/// Skipped, only with `--skip-without-engine`.
pub const SKIPPED: u8 = 77;
/// The guest ended, or its time did after userspace had started, without the proof
/// that was wanted.
pub const NO_PROOF: u8 = 100;
/// The kernel panicked.
pub const PANIC: u8 = 101;
/// The guest triple-faulted.
pub const TRIPLE_FAULT: u8 = 102;
/// A fail pattern: an oops, a BUG, a shell instead of a system, an own pattern.
pub const FAIL_PATTERN: u8 = 103;
/// Nothing on the console for the time allowed, or the guest stopped for good.
pub const SILENCE: u8 = 104;
/// The engine failed under the guest.
pub const ENGINE_FAILURE: u8 = 105;
/// The time limit passed.
pub const TIME_LIMIT: u8 = 124;
/// SIGHUP: the terminal went away.
pub const HUNG_UP: u8 = 129;
/// SIGINT, or the escape key.
pub const INTERRUPTED: u8 = 130;
/// SIGTERM.
pub const TERMINATED: u8 = 143;

/// Whether that is the status of a run that a signal ended.
#[must_use]
pub fn is_of_signal(status: u8) -> bool {
    [HUNG_UP, INTERRUPTED, TERMINATED].contains(&status)
}

/// The status of a run that a signal ended.
#[must_use]
pub fn of_signal(signal: Signal) -> u8 {
    match signal {
        Signal::Int => INTERRUPTED,
        Signal::Term => TERMINATED,
        Signal::Hup => HUNG_UP,
    }
}
