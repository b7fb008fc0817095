//! The ways to end a run that a kernel knows: ACPI sleep control, the reset
//! register, the keyboard controller.

use firmware_less::machine::{SLEEP_CONTROL_BITS, SLEEP_CONTROL_S5};

use super::Effect;
use crate::outcome::{End, ResetBy};

/// Status and command port of the keyboard controller that isn't there.
pub(super) const KEYBOARD_CONTROLLER: u16 = 0x64;

/// What reading the keyboard controller's status gives: all ones, as where
/// there is none, but for "input buffer full", which Linux waits to see clear
/// before it tries a reset (`kb_wait`, arch/x86/kernel/reboot.c). A driver that
/// probes reads data without end and gives up at once.
pub(super) const KEYBOARD_STATUS: u8 = !KEYBOARD_INPUT_FULL;

/// What reading the sleep status gives: awake (WAK_STS), so that a guest that
/// asked for a sleep that does not exist waits for nothing. ACPI 6.5, 4.8.3.7.
pub(super) const SLEEP_STATUS_AWAKE: u8 = 0x80;

const KEYBOARD_INPUT_FULL: u8 = 0x02;
const KEYBOARD_PULSE_RESET: u8 = 0xfe;

/// The bit that resets; the other defined one only says how hard.
const RESET_NOW: u8 = 0x04;

/// Powers off when asked for S5.
pub(super) fn write_sleep_control(data: &[u8]) -> Effect<'_> {
    match data {
        [value, ..] if value & SLEEP_CONTROL_BITS == SLEEP_CONTROL_S5 => Effect::End(End::PowerOff),
        _ => Effect::None,
    }
}

/// Resets on a byte with the reset bit. A wider access that begins at this port
/// is not one that any kernel means for it.
pub(super) fn write_reset(data: &[u8]) -> Effect<'_> {
    match data {
        [value] if value & RESET_NOW != 0 => reset(ResetBy::ResetRegister),
        _ => Effect::None,
    }
}

/// Resets on the command that pulses the reset line.
pub(super) fn write_keyboard_controller(data: &[u8]) -> Effect<'_> {
    match data {
        [KEYBOARD_PULSE_RESET, ..] => reset(ResetBy::KeyboardController),
        _ => Effect::None,
    }
}

fn reset(by: ResetBy) -> Effect<'static> {
    Effect::End(End::Reset { by })
}

#[cfg(test)]
mod tests {
    use firmware_less::machine::RESET_VALUE;

    use super::*;

    #[test]
    fn s5_powers_off_and_other_sleep_states_do_not() {
        assert_eq!(write_sleep_control(&[SLEEP_CONTROL_S5]), Effect::End(End::PowerOff));
        let type_without_enable = SLEEP_CONTROL_S5 & !0x20;
        let s3 = 3 << 2 | 0x20;
        assert_eq!(write_sleep_control(&[type_without_enable]), Effect::None);
        assert_eq!(write_sleep_control(&[s3]), Effect::None);
    }

    #[test]
    fn linux_resets_in_two_steps_and_only_the_second_counts() {
        let (prepare, reset_now) = (0x02, RESET_VALUE);
        assert_eq!(write_reset(&[prepare]), Effect::None);
        assert_eq!(write_reset(&[reset_now]), reset(ResetBy::ResetRegister));
        assert_eq!(write_reset(&[0x0e]), reset(ResetBy::ResetRegister));
    }

    #[test]
    fn only_a_byte_resets() {
        assert_eq!(write_reset(&[RESET_VALUE, 0]), Effect::None);
        assert_eq!(write_reset(&[RESET_VALUE, 0, 0, 0]), Effect::None);
    }

    #[test]
    fn the_keyboard_controller_resets_on_one_command_only() {
        assert_eq!(write_keyboard_controller(&[0xfe]), reset(ResetBy::KeyboardController));
        for command in [0x20, 0x60, 0xaa, 0xd1, 0xff] {
            assert_eq!(write_keyboard_controller(&[command]), Effect::None);
        }
    }
}
