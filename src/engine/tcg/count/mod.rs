//! Counting: how many instructions the guest had executed when it wrote a byte.
//!
//! QEMU's `-icount shift=0,sleep=off` makes the guest's time its own work: an
//! instruction is a nanosecond, and a guest that waits skips to what it waits for.
//! With one vCPU, a fixed date and fixed seeds every run of a plan is the same,
//! instruction by instruction, on any host. What happened after how many
//! instructions is in the replay log that QEMU records meanwhile
//! (`replay_log`); when a byte arrived here has no part in it.
//!
//! In that log are the writes to the serial port and to one debug console, to which
//! the boot ROM writes a byte shortly before it enters the kernel. The log does not
//! say to which of the two a write went; but the ROM's is the first.
//!
//! How many instructions there were in all is exact where the last of them ended the
//! run: it wrote to the sleep control register, whose device has QEMU exit on the
//! spot, or reset the machine, which stops it. A status on the exit port does
//! neither.

pub(super) mod breakpoint;
mod replay_log;

use firmware_less::machine::Machine;
use thiserror::Error;

pub use self::replay_log::LogError;
use self::replay_log::{Recording, Write};
use super::{qemu::QemuFound, rom::AFTER_MARK};

/// The port of the debug console that the boot ROM marks the entry by; beside those
/// that are the guest's.
pub(super) const MARK: u16 = 0xf6;

/// The most bytes that a counted guest may write to its console.
pub(super) const CONSOLE_MAX: usize = 4 << 20;

/// What a guest wrote to its console, and after how many instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    console: Vec<u8>,
    /// For each byte, the instructions from the kernel's first up to that which wrote
    /// it, both included.
    after: Vec<u64>,
    executed: u64,
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
    /// Devices whose answers come when the host has them.
    #[error("a machine with devices on PCI can't be counted")]
    Devices,
    /// A QEMU whose counts nobody has verified.
    #[error(
        "this QEMU is {found}; counts were verified with {VERIFIED}x only, and UKIVM_QEMU may \
         name one"
    )]
    Qemu {
        /// Its version.
        found: String,
    },
    /// The log can't be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The kernel was never entered.
    #[error("QEMU ended before the kernel was entered")]
    NotEntered,
    /// The guest wrote where the mark is.
    #[error("the guest wrote to port {MARK:#x}, which is the boot ROM's in a counted run")]
    Marked,
    /// The log and the console are not of the same run.
    #[error(
        "QEMU's replay log has {logged} writes, but there were {written} bytes; \
         no count can be given to them"
    )]
    Writes {
        /// In the log.
        logged: usize,
        /// On the console.
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
    /// The counts for `console`, by the replay log of its run, in which [`MARK`] was
    /// written `marks` times.
    pub(super) fn new(log: &[u8], console: Vec<u8>, marks: usize) -> Result<Self, Error> {
        let Recording { writes, executed } = replay_log::read(log)?;
        let (mark, writes) = writes.split_first().ok_or(Error::NotEntered)?;
        match marks {
            0 => return Err(Error::NotEntered),
            1 => {}
            _ => return Err(Error::Marked),
        }
        let entry = mark.after.saturating_add(AFTER_MARK);
        Self::paired(writes, console, entry, executed)
    }

    /// The counts for `console` of another machine that QEMU ran, from its reset on; the
    /// console is all that its log has writes of.
    pub(crate) fn from_reset(log: &[u8], console: Vec<u8>) -> Result<Self, Error> {
        let Recording { writes, executed } = replay_log::read(log)?;
        Self::paired(&writes, console, 0, executed)
    }

    fn paired(
        writes: &[Write],
        console: Vec<u8>,
        entry: u64,
        executed: u64,
    ) -> Result<Self, Error> {
        if console.len() != writes.len() {
            return Err(Error::Writes { logged: writes.len(), written: console.len() });
        }
        if let Some(byte) = writes.iter().position(|write| write.taken != 1) {
            return Err(Error::Overrun { byte });
        }
        let after = |write: &Write| write.after.saturating_sub(entry);
        Ok(Self {
            after: writes.iter().map(after).collect(),
            executed: executed.saturating_sub(entry),
            console,
        })
    }

    /// As many as were executed before the guest stopped at a breakpoint.
    pub(super) fn before_stop(log: &[u8], marks: usize) -> Result<u64, Error> {
        let Recording { writes, executed } = replay_log::read(log)?;
        let mark = writes.first().filter(|_| marks > 0).ok_or(Error::NotEntered)?;
        Ok(executed.saturating_sub(mark.after.saturating_add(AFTER_MARK)))
    }

    /// Each byte of the console with the instructions that were executed from the
    /// kernel's first up to that which wrote it, both included.
    #[must_use]
    pub fn console(&self) -> impl ExactSizeIterator<Item = (u8, u64)> {
        self.console.iter().copied().zip(self.after.iter().copied())
    }

    /// All that were executed, from the kernel's first on: up to that which powered the
    /// machine off or reset it, if one did.
    #[must_use]
    pub fn executed(&self) -> u64 {
        self.executed
    }
}

#[cfg(test)]
impl Counts {
    /// Counts made by hand.
    pub(crate) fn of(console: &[u8], after: Vec<u64>, executed: u64) -> Self {
        assert_eq!(console.len(), after.len());
        Self { console: console.to_vec(), after, executed }
    }
}

/// Looks out for a kernel that is well past its decompressor.
#[derive(Debug, Default)]
pub(super) struct Late {
    tail: Vec<u8>,
}

impl Late {
    /// Whether `bytes` complete what a kernel says first.
    pub(super) fn sees(&mut self, bytes: &[u8]) -> bool {
        const FIRST: &[u8] = b"Linux version ";
        self.tail.extend_from_slice(bytes);
        let found = self.tail.windows(FIRST.len()).any(|found| found == FIRST);
        let kept = self.tail.len().saturating_sub(FIRST.len());
        self.tail.drain(..kept);
        found
    }
}

/// Whether such a machine can be counted.
pub(super) fn check_machine(machine: &Machine) -> Result<(), Error> {
    match machine.cpus() {
        1 if machine.has_pci() => Err(Error::Devices),
        1 => Ok(()),
        cpus => Err(Error::Cpus { found: cpus }),
    }
}

/// Whether that QEMU's counts are known to be exact.
///
/// The form of the log alone does not tell: since version 8 the device that powers off
/// only asks for QEMU's end (hw/misc/debugexit.c), and the guest goes on meanwhile.
pub(crate) fn check_qemu(qemu: &QemuFound) -> Result<(), Error> {
    if qemu.version.starts_with(VERIFIED) {
        Ok(())
    } else {
        Err(Error::Qemu { found: qemu.version.clone() })
    }
}

/// The versions of QEMU whose counts were verified.
const VERIFIED: &str = "7.2.";

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
        let log = entered().instructions(3).write().instructions(2).write().instructions(1).end();
        let counts = counts(&log, b"ok", 1).unwrap();
        assert_eq!(counts.console().collect::<Vec<_>>(), [(b'o', 3), (b'k', 5)]);
        assert_eq!(counts.executed(), 6);
    }

    #[test]
    fn a_guest_that_says_nothing_has_executed_all_the_same() {
        let counts = counts(&entered().instructions(9).end(), b"", 1).unwrap();
        assert_eq!(counts.console().len(), 0);
        assert_eq!(counts.executed(), 9);
    }

    #[test]
    fn another_machine_is_counted_from_its_reset() {
        let log = Log::new().instructions(7).write().instructions(2).write().end();
        let counts = Counts::from_reset(&log, b"ok".to_vec()).unwrap();
        assert_eq!(counts.console().collect::<Vec<_>>(), [(b'o', 7), (b'k', 9)]);
        assert!(Counts::from_reset(&log, b"o".to_vec()).is_err());
    }

    #[test]
    fn a_kernel_that_was_not_entered_is_told() {
        assert_eq!(counts(&Log::new().end(), b"", 0), Err(Error::NotEntered));
        assert_eq!(counts(&entered().end(), b"", 0), Err(Error::NotEntered));
    }

    #[test]
    fn what_a_kernel_says_first_may_come_in_pieces() {
        let mut late = Late::default();
        let seen = ["Decompressing Linux...", "Linux ver", "sion 6.1"]
            .map(|text| late.sees(text.as_bytes()));
        assert_eq!(seen, [false, false, true]);
    }

    #[test]
    fn only_a_qemu_that_was_verified_counts() {
        let check = |version: &str| {
            check_qemu(&QemuFound { path: "qemu".into(), version: version.to_owned() })
        };
        assert_eq!(check("7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)"), Ok(()));
        assert_eq!(
            check("10.0.2 (Debian)").unwrap_err().to_string(),
            "this QEMU is 10.0.2 (Debian); counts were verified with 7.2.x only, and UKIVM_QEMU \
             may name one"
        );
    }

    #[test]
    fn a_second_mark_is_not_taken_for_a_byte_of_the_console() {
        assert_eq!(counts(&entered().write().end(), b"", 2), Err(Error::Marked));
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
