//! SIGINT, SIGTERM and SIGHUP as something to wait for, and SIGWINCH beside them.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH},
    flag,
    low_level::pipe,
};

use crate::outcome::Signal;

const SIGNALS: [(i32, Signal, usize); 3] =
    [(SIGINT, Signal::Int, 1), (SIGTERM, Signal::Term, 2), (SIGHUP, Signal::Hup, 3)];

/// The signals that end a run, caught for as long as this lives. Afterwards they
/// end the program again.
#[derive(Debug)]
pub(crate) struct Signals {
    last: Arc<AtomicUsize>,
    readable: UnixStream,
    writable: UnixStream,
    deadly: Arc<AtomicBool>,
    /// A session looks at them.
    attended: AtomicBool,
    /// The terminal may have another size since somebody last asked.
    resized: Arc<AtomicBool>,
}

impl Signals {
    /// Catches them, but for those that whoever started us had us ignore.
    pub(crate) fn catch() -> io::Result<Self> {
        let (readable, writable) = UnixStream::pair()?;
        readable.set_nonblocking(true)?;
        let last = Arc::new(AtomicUsize::new(0));
        let deadly = Arc::new(AtomicBool::new(false));
        let ignored = ignored(&fs::read_to_string("/proc/self/status").unwrap_or_default());
        for (number, _, code) in SIGNALS {
            if ignored & signal_bit(number) == 0 {
                flag::register_conditional_default(number, Arc::clone(&deadly))?;
                flag::register_usize(number, Arc::clone(&last), code)?;
                pipe::register(number, writable.try_clone()?)?;
            }
        }
        let (attended, resized) = (AtomicBool::new(false), Arc::default());
        Ok(Self { last, readable, writable, deadly, attended, resized })
    }

    /// From now on notices too when the terminal changes its size.
    pub(crate) fn catch_resizing(&self) -> io::Result<()> {
        flag::register(SIGWINCH, Arc::clone(&self.resized))?;
        pipe::register(SIGWINCH, self.writable.try_clone()?)?;
        Ok(())
    }

    /// Whether the terminal may have another size than at the last call.
    pub(crate) fn resized(&self) -> bool {
        self.resized.swap(false, Ordering::AcqRel)
    }

    /// From now on a session looks at them, or does no more.
    pub(crate) fn attend(&self, attended: bool) {
        self.attended.store(attended, Ordering::Release);
    }

    /// Whether a session looks at them; if so, nobody else may.
    pub(crate) fn are_attended(&self) -> bool {
        self.attended.load(Ordering::Acquire)
    }

    /// From now on they end the program.
    pub(crate) fn let_through(&self) {
        self.deadly.store(true, Ordering::Release);
    }

    /// Readable when a signal came.
    pub(crate) fn fd(&self) -> &UnixStream {
        &self.readable
    }

    /// The signal that came since the last call, if one did.
    pub(crate) fn pending(&self) -> Option<Signal> {
        drop((&self.readable).read(&mut [0; 16]));
        let code = self.last.swap(0, Ordering::AcqRel);
        SIGNALS.iter().find(|(_, _, known)| *known == code).map(|(_, signal, _)| *signal)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.let_through();
    }
}

/// The signals that a process ignores, of its `/proc/PID/status`. proc(5), SigIgn.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Where a signal stands in such a mask.
fn signal_bit(number: i32) -> u64 {
    let place = u32::try_from(number).ok().and_then(|number| number.checked_sub(1));
    place.and_then(|place| 1_u64.checked_shl(place)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        let status = "Name:\tukivm\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert_eq!(ignored(status) & signal_bit(SIGHUP), 1);
        assert_eq!(ignored(status) & signal_bit(SIGTERM), 0);
        assert_eq!(ignored("nothing of the kind"), 0);
    }
}
