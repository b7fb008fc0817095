//! QEMU's replay log: what happened to a machine, and after how many of its
//! instructions.
//!
//! QEMU writes it with `-icount rr=record` (docs/devel/replay.rst), so that it can
//! run the same again; we only read the counts. Numbers are big-endian. A header
//! of a version and a place is followed by events, each a byte that says which it
//! is and what belongs to it (replay/replay-internal.h, `enum ReplayEvents`). How
//! many instructions came between two others is an event of its own, so a sum
//! over these is exact for every event (replay/replay-internal.c,
//! `replay_save_instructions`).

use thiserror::Error;

/// A write to a character device: a byte on a serial port, or on a debug console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// How many instructions had been executed, that which wrote among them.
    pub(super) after: u64,
    /// How many bytes the device's other end took.
    pub(super) taken: u32,
}

/// What a log tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recording {
    /// The writes, in order.
    pub(super) writes: Vec<Write>,
    /// How many instructions were executed in all.
    pub(super) executed: u64,
}

/// What is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LogError {
    /// Its version is none that was checked against its QEMU's source.
    #[error("QEMU's replay log is of version {found:#x}, wanted {VERSION:#x}")]
    Version {
        /// The version.
        found: u32,
    },
    /// QEMU ended without finishing it.
    #[error("QEMU's replay log has no header: QEMU ended before it could finish it")]
    Unfinished,
    /// It ends within an event, or without one that ends it.
    #[error("QEMU's replay log ends at {at:#x}, within an event or before the last")]
    Truncated {
        /// Where.
        at: usize,
    },
    /// An event that no machine of ours can cause, or that there is not.
    #[error("QEMU's replay log has event {code} at {at:#x}, which no counted guest causes")]
    Event {
        /// Its number.
        code: u8,
        /// Where.
        at: usize,
    },
    /// Something follows the last event.
    #[error("QEMU's replay log goes on at {at:#x}, behind its last event")]
    Trailing {
        /// Where.
        at: usize,
    },
    /// More instructions than can be counted.
    #[error("QEMU's replay log counts more than 2^64 instructions at {at:#x}")]
    Overflow {
        /// Where.
        at: usize,
    },
}

/// `REPLAY_VERSION` of replay/replay.c.
pub(super) const VERSION: u32 = 0xe0_200c;

/// Reads a whole log.
pub(super) fn read(log: &[u8]) -> Result<Recording, LogError> {
    let mut reader = Reader { log, at: 0 };
    // Written last: until then there are zeros.
    match reader.u32()? {
        VERSION => {}
        0 => return Err(LogError::Unfinished),
        found => return Err(LogError::Version { found }),
    }
    reader.skip(PLACE)?;
    let mut recording = Recording::default();
    loop {
        let at = reader.at;
        match reader.u8()? {
            event::INSTRUCTION => {
                let more = u64::from(reader.u32()?);
                let sum = recording.executed.checked_add(more);
                recording.executed = sum.ok_or(LogError::Overflow { at })?;
            }
            event::CHAR_WRITE => {
                let _result = reader.u32()?;
                let taken = reader.u32()?;
                recording.writes.push(Write { after: recording.executed, taken });
            }
            event::RANDOM => {
                let _result = reader.u32()?;
                let len = reader.u32()?;
                reader.skip(len)?;
            }
            event::ASYNC_BH | event::ASYNC_BH_ONESHOT => reader.skip(8)?,
            code if event::CLOCK.contains(&code) => reader.skip(8)?,
            event::INTERRUPT | event::EXCEPTION => {}
            code if event::SHUTDOWN.contains(&code) || event::CHECKPOINT.contains(&code) => {}
            event::END => return reader.at_end(recording),
            code => return Err(LogError::Event { code, at }),
        }
    }
}

/// The header's second field, which is not used.
const PLACE: u32 = 8;

/// The events of [`VERSION`]. Not among them: input, blocks, packets and sound, since
/// there are no such devices; and bytes read from a character device, since a guest
/// that is given something to read would not do the same again.
mod event {
    use std::ops::RangeInclusive;

    pub(super) const INSTRUCTION: u8 = 0;
    pub(super) const INTERRUPT: u8 = 1;
    pub(super) const EXCEPTION: u8 = 2;
    pub(super) const ASYNC_BH: u8 = 3;
    pub(super) const ASYNC_BH_ONESHOT: u8 = 4;
    /// One for each `ShutdownCause`.
    pub(super) const SHUTDOWN: RangeInclusive<u8> = 10..=21;
    pub(super) const CHAR_WRITE: u8 = 22;
    pub(super) const RANDOM: u8 = 27;
    /// One for each `ReplayClockKind`.
    pub(super) const CLOCK: RangeInclusive<u8> = 28..=29;
    /// One for each `ReplayCheckpoint`.
    pub(super) const CHECKPOINT: RangeInclusive<u8> = 30..=38;
    pub(super) const END: u8 = 39;
}

struct Reader<'a> {
    log: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn u8(&mut self) -> Result<u8, LogError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn u32(&mut self) -> Result<u32, LogError> {
        self.array().map(u32::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], LogError> {
        let rest = self.log.get(self.at..).unwrap_or_default();
        let array = rest.first_chunk().ok_or_else(|| self.truncated())?;
        self.at = self.at.saturating_add(N);
        Ok(*array)
    }

    fn skip(&mut self, len: u32) -> Result<(), LogError> {
        let end = usize::try_from(len).ok().and_then(|len| self.at.checked_add(len));
        self.at = end.filter(|end| *end <= self.log.len()).ok_or_else(|| self.truncated())?;
        Ok(())
    }

    fn truncated(&self) -> LogError {
        LogError::Truncated { at: self.log.len() }
    }

    fn at_end(&self, recording: Recording) -> Result<Recording, LogError> {
        if self.at == self.log.len() {
            Ok(recording)
        } else {
            Err(LogError::Trailing { at: self.at })
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use firmware_less::testing::Random;

    use super::*;

    /// A log made by hand.
    #[derive(Clone)]
    pub(in crate::engine::tcg::count) struct Log(Vec<u8>);

    impl Log {
        pub(in crate::engine::tcg::count) fn new() -> Self {
            Self([&VERSION.to_be_bytes()[..], &[0; 8]].concat())
        }

        pub(in crate::engine::tcg::count) fn event(mut self, code: u8, payload: &[u8]) -> Self {
            self.0.push(code);
            self.0.extend_from_slice(payload);
            self
        }

        pub(in crate::engine::tcg::count) fn instructions(self, count: u32) -> Self {
            self.event(0, &count.to_be_bytes())
        }

        pub(in crate::engine::tcg::count) fn write(self) -> Self {
            self.event(22, &[0, 0, 0, 1, 0, 0, 0, 1])
        }

        pub(in crate::engine::tcg::count) fn end(self) -> Vec<u8> {
            self.event(39, &[]).0
        }
    }

    #[test]
    fn a_write_comes_after_all_instructions_before_it() {
        let log = Log::new()
            .event(28, &[1; 8])
            .event(37, &[])
            .instructions(7)
            .write()
            .event(2, &[])
            .instructions(u32::MAX)
            .event(1, &[])
            .write()
            .write()
            .instructions(1)
            .event(16, &[])
            .end();
        let second = 7 + u64::from(u32::MAX);
        let writes = [7, second, second].map(|after| Write { after, taken: 1 });
        assert_eq!(read(&log), Ok(Recording { writes: writes.into(), executed: second + 1 }));
    }

    #[test]
    fn what_belongs_to_an_event_is_passed_over() {
        let random = [&[0, 0, 0, 0, 0, 0, 0, 3][..], &[39; 3]].concat();
        let log = Log::new().event(27, &random).event(3, &[39; 8]).event(4, &[39; 8]).end();
        assert_eq!(read(&log), Ok(Recording::default()));
    }

    #[test]
    fn a_write_that_failed_took_nothing() {
        let log = Log::new().event(22, &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]).end();
        assert_eq!(read(&log).unwrap().writes, [Write { after: 0, taken: 0 }]);
    }

    #[test]
    fn another_version_is_refused() {
        let mut log = Log::new().end();
        log[3] = 0x0d;
        assert_eq!(
            read(&log).unwrap_err().to_string(),
            "QEMU's replay log is of version 0xe0200d, wanted 0xe0200c"
        );
    }

    #[test]
    fn a_log_that_qemu_did_not_finish_is_told_by_its_header() {
        assert_eq!(read(&[0; 40]), Err(LogError::Unfinished));
    }

    #[test]
    fn a_log_cut_anywhere_is_refused() {
        let log = Log::new().instructions(5).write().event(27, &[0, 0, 0, 0, 0, 0, 0, 1, 9]).end();
        for len in 0..log.len() {
            assert_eq!(read(&log[..len]), Err(LogError::Truncated { at: len }), "{len}");
        }
    }

    #[test]
    fn a_length_past_the_end_is_refused() {
        let log = Log::new().event(27, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).end();
        assert_eq!(read(&log), Err(LogError::Truncated { at: log.len() }));
    }

    #[test]
    fn events_that_no_counted_guest_causes_are_refused() {
        for code in (5..=9).chain(23..=26).chain(40..=255) {
            let log = Log::new().instructions(1).event(code, &[0; 16]).end();
            assert_eq!(read(&log), Err(LogError::Event { code, at: 17 }));
        }
    }

    #[test]
    fn nothing_may_follow_the_end() {
        let log = [Log::new().end(), vec![0]].concat();
        assert_eq!(read(&log), Err(LogError::Trailing { at: 13 }));
    }

    #[test]
    fn no_bytes_at_all_do_harm() {
        let mut random = Random::seeded(11);
        let header = Log::new().0;
        for _ in 0..100_000 {
            let len = random.below(64);
            let events = (0..len).map(|_| u8::try_from(random.below(41)).unwrap());
            let log: Vec<_> = header.iter().copied().chain(events).collect();
            read(&log).ok();
        }
    }
}
