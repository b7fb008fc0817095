//! When a guest's driver of a virtio console has come so far as to be typed to.

use std::time::{Duration, Instant};

/// How long a driver has from its start on, and from what it says first on. Linux drops what is
/// typed, and asks for a size that it can't use, before it has made its port; all that its log
/// holds it says before (drivers/char/virtio_console.c, `add_port`, `in_intr`,
/// `config_work_handler`). Nothing tells when it has.
const PAUSE: Duration = Duration::from_millis(250);
/// How long that is waited for in a guest that never pauses.
const PATIENCE: Duration = Duration::from_secs(10);

/// A driver that has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settling {
    begun: Instant,
    /// When it last said something.
    spoke: Instant,
    is_over: bool,
}

impl Settling {
    /// One that begins now.
    pub(crate) fn begun(now: Instant) -> Self {
        Self { begun: now, spoke: now, is_over: false }
    }

    /// It says something.
    pub(crate) fn spoke(&mut self, now: Instant) {
        self.spoke = now;
    }

    /// How long it is to be left alone; nothing once it need not be.
    pub(crate) fn left(&mut self, now: Instant) -> Option<Duration> {
        let since = |then| now.saturating_duration_since(then);
        let left = PAUSE.saturating_sub(since(self.spoke));
        self.is_over |= left.is_zero() || since(self.begun) >= PATIENCE;
        (!self.is_over).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_left_alone_until_it_pauses_or_never_does() {
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let mut pauses = Settling::begun(begun);
        assert_eq!(pauses.left(at(100)), Some(Duration::from_millis(150)));
        pauses.spoke(at(200));
        assert_eq!(pauses.left(at(300)), Some(Duration::from_millis(150)));
        assert_eq!(pauses.left(at(450)), None);
        pauses.spoke(at(500));
        assert_eq!(pauses.left(at(501)), None, "once it is over, it is");
        let mut talks = Settling::begun(begun);
        for millis in (0..10_000).step_by(100) {
            talks.spoke(at(millis));
            assert!(talks.left(at(millis)).is_some());
        }
        talks.spoke(at(10_000));
        assert_eq!(talks.left(at(10_000)), None);
    }
}
