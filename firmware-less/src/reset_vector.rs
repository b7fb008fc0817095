//! What a jump to the PC's reset vector finds: code that resets the machine.
//!
//! Linux reboots that way where ACPI is hardware-reduced and there is no EFI:
//! it then takes EFI's reset for the one to use (drivers/firmware/efi/reboot.c
//! `efi_reboot_required`), finds none, and jumps to the BIOS in real mode
//! (arch/x86/kernel/reboot.c). With nothing there it would run into whatever
//! follows; firmware that is there would boot again.

use crate::{
    layout,
    machine::{Board, Machine, RESET_VALUE, port},
    plan::Placement,
};

/// Real-mode code: `mov dx, 0xcf9; mov al, 6; out dx, al`, and `hlt` for ever.
pub const RESET_CODE: [u8; 9] = {
    let [low, high] = port::RESET.to_le_bytes();
    [0xba, low, high, 0xb0, RESET_VALUE, 0xee, 0xf4, 0xeb, 0xfd]
};

/// The code in its place, where that is RAM; a board with a ROM there has its own.
pub(crate) fn placement(machine: &Machine) -> Option<Placement> {
    let at = layout::RESET_VECTOR;
    match machine.board() {
        Board::Bare => Some(Placement::of_bytes("reset vector", at, RESET_CODE.to_vec())),
        Board::Q35 => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_resets_is_at_the_vector_unless_a_rom_is_there() {
        let on = |board| placement(&Machine::new(32 << 20, 1).unwrap().with_board(board));
        let code = b"\xba\xf9\x0c\xb0\x06\xee\xf4\xeb\xfd".to_vec();
        let there = Placement::of_bytes("reset vector", layout::RESET_VECTOR, code);
        assert_eq!((on(Board::Bare), on(Board::Q35)), (Some(there), None));
    }
}
