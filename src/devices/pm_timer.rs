//! The ACPI power management timer: a 24-bit counter that never stops.
//! ACPI 6.5, 4.8.3.3.

use std::time::Duration;

use firmware_less::machine::PM_TIMER_HZ;

/// The number of its ports.
pub(super) const LEN: u16 = 4;

/// Both engines count 24 bits: the FADT must not claim 32 (TMR_VAL_EXT).
const MASK: u32 = 0x00ff_ffff;

/// The counter `uptime` after power-on.
#[expect(clippy::cast_possible_truncation, reason = "the counter wraps")]
fn ticks(uptime: Duration) -> u32 {
    const NANOS: u128 = 1_000_000_000;
    (uptime.as_nanos().wrapping_mul(u128::from(PM_TIMER_HZ)) / NANOS) as u32 & MASK
}

/// Reads the counter's bytes from `offset` on, over and over.
pub(super) fn read(uptime: Duration, offset: u16, data: &mut [u8]) {
    let bytes = ticks(uptime).to_le_bytes();
    let from_offset = bytes.into_iter().cycle().skip(usize::from(offset));
    for (byte, of_counter) in data.iter_mut().zip(from_offset) {
        *byte = of_counter;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_its_frequency() {
        assert_eq!(ticks(Duration::ZERO), 0);
        assert_eq!(ticks(Duration::from_secs(1)), 3_579_545);
        assert_eq!(ticks(Duration::from_micros(1)), 3);
    }

    #[test]
    fn it_wraps_at_24_bits() {
        // 2²⁴ ticks take 4.686974 s.
        assert!(ticks(Duration::from_millis(4_686)) > 0x00ff_0000);
        assert!(ticks(Duration::from_millis(4_688)) < 0x0000_ffff);
        assert_eq!(ticks(Duration::from_secs(u64::MAX)) & !MASK, 0);
    }

    #[test]
    fn every_access_size_sees_the_same_counter() {
        let uptime = Duration::from_millis(1234);
        let (mut dword, mut word, mut high_byte) = ([0; 4], [0; 2], [0; 1]);
        read(uptime, 0, &mut dword);
        read(uptime, 0, &mut word);
        read(uptime, 2, &mut high_byte);
        assert_eq!(u32::from_le_bytes(dword), ticks(uptime));
        assert_eq!(word, dword[..2]);
        assert_eq!(high_byte, dword[2..3]);
    }
}
