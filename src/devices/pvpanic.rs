//! pvpanic: the guest's kernel says that it panicked.
//! Linux, include/uapi/misc/pvpanic.h.

use firmware_less::machine::{PVPANIC_EVENTS, PVPANIC_PANICKED};

use super::Effect;

/// What reading gives: the events that the guest may report.
pub(super) const EVENTS: u8 = PVPANIC_EVENTS;

/// A crash kernel that takes over is no end: its own events will follow.
pub(super) fn write(data: &[u8]) -> Effect<'_> {
    match data {
        [events, ..] if events & PVPANIC_PANICKED != 0 => Effect::Panicked,
        _ => Effect::None,
    }
}

#[cfg(test)]
mod tests {
    use firmware_less::machine::PVPANIC_CRASH_LOADED;

    use super::*;

    #[test]
    fn a_panic_is_reported() {
        assert_eq!(write(&[PVPANIC_PANICKED]), Effect::Panicked);
        assert_eq!(write(&[PVPANIC_PANICKED | PVPANIC_CRASH_LOADED]), Effect::Panicked);
    }

    #[test]
    fn other_events_are_not_panics() {
        assert_eq!(write(&[PVPANIC_CRASH_LOADED]), Effect::None);
        assert_eq!(write(&[0b100]), Effect::None);
    }
}
