//! The key that quits: Ctrl-] three times within a second, as in systemd's tools.
//!
//! The keys reach the guest all the same, so nothing has to be escaped.

use std::time::{Duration, Instant};

/// Ctrl-], ASCII GS.
const KEY: u8 = 0x1d;
const TIMES: u32 = 3;
const WITHIN: Duration = Duration::from_secs(1);

/// Looks for the escape key in what is typed.
#[derive(Debug, Default)]
pub(super) struct Escape {
    pressed: u32,
    first: Option<Instant>,
}

impl Escape {
    /// Takes what was typed at `now`; whether the user wants to quit.
    pub(super) fn typed(&mut self, bytes: &[u8], now: Instant) -> bool {
        bytes.iter().any(|byte| self.key(*byte, now))
    }

    fn key(&mut self, byte: u8, now: Instant) -> bool {
        if byte != KEY {
            *self = Self::default();
            return false;
        }
        match self.first {
            Some(first) if now.duration_since(first) <= WITHIN => {
                self.pressed = self.pressed.saturating_add(1);
            }
            _ => *self = Self { pressed: 1, first: Some(now) },
        }
        self.pressed >= TIMES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_presses_within_a_second_quit() {
        let now = Instant::now();
        assert!(Escape::default().typed(&[KEY, KEY, KEY], now));
        let mut slow = Escape::default();
        assert!(!slow.typed(&[KEY, KEY], now));
        assert!(!slow.typed(&[KEY], now + Duration::from_millis(1100)));
    }

    #[test]
    fn another_key_in_between_starts_anew() {
        let now = Instant::now();
        let mut escape = Escape::default();
        assert!(!escape.typed(&[KEY, KEY, b'a', KEY, KEY], now));
        assert!(escape.typed(&[KEY], now));
    }
}
