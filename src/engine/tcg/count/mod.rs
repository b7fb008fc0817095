//! Counting: how many instructions the guest had executed when it wrote a byte.
//!
//! QEMU's `-icount shift=0,sleep=off` makes the guest's time its own work: an
//! instruction is a nanosecond, and a guest that waits skips to what it waits for.
//! With one vCPU, a fixed date and fixed seeds every run of a plan is the same,
//! instruction by instruction, on any host. What happened after how many
//! instructions is in the replay log that QEMU records meanwhile
//! ([`replay_log`]); when a byte arrived here has no part in it.
//!
//! In that log are the writes to the serial port and to one debug console more,
//! which takes the place of the sleep control register: the boot ROM writes a byte
//! there when it is about to enter the kernel, and the guest does so to power off.
//! The log does not say to which of the two a write went; but the ROM's is the
//! first, and behind a power-off no more can come.

mod replay_log;

use thiserror::Error;

pub use self::replay_log::LogError;
use self::replay_log::{Recording, Write};
use super::rom::AFTER_MARK;

/// The most bytes that a counted guest may write to its console.
pub(super) const CONSOLE_MAX: usize = 4 << 20;

/// What a guest wrote to its console, and after how many instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    console: Vec<u8>,
    /// For each byte, the instructions from the kernel's first up to that which wrote
    /// it, both included.
    after: Vec<u64>,
    power_off: Option<u64>,
}

/// Why a run can't be counted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// More than one vCPU: which runs when is not the same every time.
    #[error("{found} vCPUs can't be counted, only 1")]
    Cpus {
        /// How many.
        found: u32,
    },
    /// The log can't be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The kernel was never entered.
    #[error("QEMU ended before the kernel was entered")]
    NotEntered,
    /// The log and the console are not of the same run.
    #[error(
        "QEMU's replay log has {logged} writes, but there were {written} bytes; \
         no count can be given to them"
    )]
    Writes {
        /// In the log.
        logged: usize,
        /// On the console and in the sleep control register.
        written: usize,
    },
    /// A byte had to be written twice, since nobody took it the first time.
    #[error("the console could not take byte {byte} at once, so no count can be given to it")]
    Overrun {
        /// Which.
        byte: usize,
    },
    /// A guest that can't stop writing.
    #[error("the guest wrote more than {CONSOLE_MAX} bytes to its console")]
    Console,
}

impl Counts {
    /// The counts for `console`, by the replay log of its run, in which the sleep
    /// control register was written `sleeps` times, the ROM's mark among them.
    pub(super) fn new(log: &[u8], console: Vec<u8>, sleeps: usize) -> Result<Self, Error> {
        let Recording { writes, .. } = replay_log::read(log)?;
        let (mark, writes) = writes.split_first().ok_or(Error::NotEntered)?;
        let sleeps = sleeps.checked_sub(1).ok_or(Error::NotEntered)?;
        let written = console.len().saturating_add(sleeps);
        if written != writes.len() {
            return Err(Error::Writes { logged: writes.len(), written });
        }
        if let Some(byte) = writes.iter().position(|write| write.taken != 1) {
            return Err(Error::Overrun { byte });
        }
        let entry = mark.after.saturating_add(AFTER_MARK);
        let after = |write: &Write| write.after.saturating_sub(entry);
        let (bytes, power_off) = writes.split_at(console.len());
        Ok(Self {
            after: bytes.iter().map(after).collect(),
            power_off: power_off.first().map(after),
            console,
        })
    }

    /// Each byte of the console with the instructions that were executed from the
    /// kernel's first up to that which wrote it, both included.
    #[must_use]
    pub fn console(&self) -> impl ExactSizeIterator<Item = (u8, u64)> {
        self.console.iter().copied().zip(self.after.iter().copied())
    }

    /// As many up to that which powered the machine off, if one did.
    #[must_use]
    pub fn power_off(&self) -> Option<u64> {
        self.power_off
    }
}

/// Whether a machine of `cpus` vCPUs can be counted.
pub(super) fn check(cpus: u32) -> Result<(), Error> {
    if cpus == 1 { Ok(()) } else { Err(Error::Cpus { found: cpus }) }
}

#[cfg(test)]
mod tests {
    use super::{replay_log::tests::Log, *};

    /// A run that enters the kernel after `AFTER_MARK` and 100 instructions.
    fn entered() -> Log {
        Log::new().instructions(100).write().instructions(u32::try_from(AFTER_MARK).unwrap())
    }

    fn counts(log: &[u8], console: &[u8], sleeps: usize) -> Result<Counts, Error> {
        Counts::new(log, console.to_vec(), sleeps)
    }

    #[test]
    fn each_byte_has_its_count_from_the_first_instruction_on() {
        let log = entered().instructions(3).write().instructions(2).write().write().end();
        let counts = counts(&log, b"ok", 2).unwrap();
        assert_eq!(counts.console().collect::<Vec<_>>(), [(b'o', 3), (b'k', 5)]);
        assert_eq!(counts.power_off(), Some(5));
    }

    #[test]
    fn a_guest_that_says_nothing_has_no_counts() {
        let counts = counts(&entered().instructions(9).end(), b"", 1).unwrap();
        assert_eq!(counts.console().len(), 0);
        assert_eq!(counts.power_off(), None);
    }

    #[test]
    fn a_kernel_that_was_not_entered_is_told() {
        assert_eq!(counts(&Log::new().end(), b"", 0), Err(Error::NotEntered));
        assert_eq!(counts(&entered().end(), b"", 0), Err(Error::NotEntered));
    }

    #[test]
    fn a_log_with_other_writes_is_refused() {
        let log = entered().write().write().end();
        let error = counts(&log, b"a", 1).unwrap_err();
        assert_eq!(error, Error::Writes { logged: 2, written: 1 });
    }

    #[test]
    fn a_byte_that_was_not_taken_at_once_is_refused() {
        let log = entered().write().event(22, &[0xff; 8]).end();
        assert_eq!(counts(&log, b"ab", 1), Err(Error::Overrun { byte: 1 }));
    }
}
