//! What a trial by kexec sees of its guest, as it happens.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use firmware_less::range::{GuestRange, PAGE, align_up};
use ukivm_guests::kexec::TO_THE_NEXT_KERNEL;

use crate::{
    bench::{arm::Until, arms::console::Console},
    digest::{self, Digest},
    session::Observer,
};

/// What the first kernel says last: that it goes to the next. kernel/kexec_core.c,
/// `kernel_kexec`.
const STARTS: &str = "Starting new kernel";

/// Shows guest memory while the guest runs.
pub(super) type ReadGuest =
    dyn Fn(GuestRange, &mut dyn FnMut(&[u8])) -> io::Result<()> + Send + Sync;

/// Listens to both kernels, and looks into guest memory for what the second one was
/// given.
pub(super) struct Recorder {
    heard: Mutex<Heard>,
    until: Until,
    /// Reads guest memory, and how long the initrd is; none where nobody wants to
    /// know.
    initrd: Option<(Arc<ReadGuest>, u64)>,
}

/// What was heard of a run.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// What the first kernel said, up to its last line.
    pub(super) first: Console,
    /// That line, once it is over.
    pub(super) starts: Option<(Duration, String)>,
    /// What the second kernel said, and what it ran.
    pub(super) second: Console,
    /// When the first kernel was told to go.
    pub(super) jump: Option<Duration>,
    /// What the second kernel found as its initrd.
    pub(super) initrd: Option<io::Result<Digest>>,
    /// How many lines were looked at.
    looked: usize,
}

impl Recorder {
    pub(super) fn new(until: Until, initrd: Option<(Arc<ReadGuest>, u64)>) -> Self {
        Self { heard: Mutex::default(), until, initrd }
    }

    /// What was heard, of a guest that has ended.
    pub(super) fn take(&self, at: Duration) -> Heard {
        let mut heard = std::mem::take(&mut *self.heard());
        heard.first.finish(at);
        heard.second.finish(at);
        heard
    }

    /// Where the second kernel has just said where it is.
    fn look_at_the_initrd(&self, heard: &mut Heard) {
        let Some((read, len)) = self.initrd.as_ref().filter(|_| heard.initrd.is_none()) else {
            return;
        };
        let lines = heard.second.lines();
        let fresh = lines.get(heard.looked..).unwrap_or_default();
        let range = fresh.iter().find_map(|line| ramdisk(&line.text));
        heard.looked = lines.len();
        heard.initrd = range.map(|range| digest_at(range, *len, read.as_ref()));
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    /// Takes a line, or a piece of one.
    fn push(&mut self, line: &[u8], at: Duration) {
        if self.starts.is_some() {
            self.second.push(line, at);
            return;
        }
        self.first.push(line, at);
        let last = self.first.lines().last().filter(|last| last.text.contains(STARTS));
        self.starts = last.map(|last| (last.over, last.text.clone()));
    }
}

impl Observer for Recorder {
    fn console(&self, bytes: &[u8], at: Duration) -> bool {
        let mut heard = self.heard();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            heard.push(line, at);
        }
        self.look_at_the_initrd(&mut heard);
        if self.until == Until::Login && bytes.ends_with(b" ") {
            // What a prompt ends with.
            heard.second.pause(at);
        }
        self.until != Until::End && heard.second.reached(self.until).is_some()
    }

    fn milestone(&self, value: u8, at: Duration) {
        if value == TO_THE_NEXT_KERNEL {
            self.heard().jump.get_or_insert(at);
        }
    }
}

/// The digest of the `len` bytes that a kernel says are its initrd, in whole pages.
fn digest_at(found: GuestRange, len: u64, read: &ReadGuest) -> io::Result<Digest> {
    let range = GuestRange::new(found.start(), len);
    let range = range.filter(|range| align_up(range.end(), PAGE) == Some(found.end()));
    let other = || {
        let message = format!("its initrd is at {found}, which are not {len:#x} bytes");
        io::Error::other(message)
    };
    digest::of_memory(&[range.ok_or_else(other)?], read)
}

/// Where a kernel says that its initrd is. arch/x86/kernel/setup.c, `reserve_initrd`.
fn ramdisk(line: &str) -> Option<GuestRange> {
    let (_, rest) = line.split_once("RAMDISK: [mem ")?;
    let (start, last) = rest.split_once(']')?.0.split_once('-')?;
    let number = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    let (start, end) = (number(start)?, number(last)?.checked_add(1)?);
    GuestRange::new(start, end.checked_sub(start)?)
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("heard", &self.heard).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = b"[    0.000000] RAMDISK: [mem 0x3c717000-0x3c718fff]\r\n";
    const GOES: &[u8] = b"[    4.0] kexec_core: Starting new kernel\r\n";
    const AT: Duration = Duration::from_secs(1);

    fn recorder(len: u64) -> Recorder {
        let read: Arc<ReadGuest> = Arc::new(|range, take| {
            take(&vec![7; firmware_less::range::index(range.len())]);
            Ok(())
        });
        Recorder::new(Until::End, Some((read, len)))
    }

    #[test]
    fn the_initrd_is_looked_at_when_the_second_kernel_says_where_it_is() {
        let recorder = recorder(0x1234);
        recorder.console(LINE, AT);
        assert!(recorder.heard().initrd.is_none(), "that was the first kernel");
        recorder.console(GOES, AT);
        recorder.console(LINE, AT);
        let wanted = digest::of_memory(&[GuestRange::constant(0, 0x1234)], |range, take| {
            take(&vec![7; firmware_less::range::index(range.len())]);
            Ok(())
        });
        assert_eq!(recorder.take(AT).initrd.unwrap().unwrap(), wanted.unwrap());
    }

    #[test]
    fn an_initrd_of_another_length_is_another_initrd() {
        let recorder = recorder(0x2001);
        recorder.console(&[GOES, LINE].concat(), AT);
        let error = recorder.take(AT).initrd.unwrap().unwrap_err();
        assert!(error.to_string().contains("not 0x2001 bytes"), "{error}");
    }

    #[test]
    fn what_follows_the_first_kernel_s_last_line_is_the_second_s() {
        let recorder = recorder(1);
        let later = Duration::from_secs(2);
        recorder.console(b"kexec: loaded\r\n[    4.0] kexec_core: Starting ", AT);
        recorder.milestone(b'x', AT);
        recorder.milestone(TO_THE_NEXT_KERNEL, later);
        recorder.console(b"new kernel\r\nHel", later);
        recorder.console(b"lo", AT);
        let heard = recorder.take(later);
        assert_eq!(heard.jump, Some(later));
        assert_eq!(heard.starts.unwrap().1, "[    4.0] kexec_core: Starting new kernel");
        assert_eq!(heard.first.lines().len(), 2);
        assert_eq!(heard.second.lines()[0].text, "Hello");
    }

    #[test]
    fn a_line_that_says_nothing_of_an_initrd_is_none() {
        assert_eq!(ramdisk("[    0.0] RAMDISK: [mem 0x1000-"), None);
        assert_eq!(ramdisk("[    0.0] RAMDISK: [mem 0x2000-0x1000]"), None);
        assert_eq!(ramdisk("No RAMDISK"), None);
    }
}
