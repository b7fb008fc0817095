//! What the ROM sets outside the CPU: q35's LPC bridge (Intel ICH9 datasheet,
//! 13.1.12 and 13.1.13) and the interrupt controllers.

use firmware_less::{
    cpu_state::CpuState,
    machine::{self, port},
    pci::{CONFIG_ADDRESS, CONFIG_DATA},
    reset_vector::RESET_CODE,
};

use super::code::{Code, Gpr};

/// In real mode: a reset, where the chipset is set up already. Then it is the
/// guest that jumped to the reset vector.
pub(super) fn reset_unless_new(code: &mut Code) {
    code.mov_eax_from16(PMBASE).mov_dx16(CONFIG_ADDRESS).out_dx_eax_from16();
    code.mov_dx16(CONFIG_DATA).in_eax_dx_from16();
    code.cmp_eax_from16(PMBASE_VALUE).unless_equal(&RESET_CODE);
}

/// Puts the chipset's ACPI registers, the timer among them, where the tables say.
pub(super) fn power_management(code: &mut Code) {
    configure(code, &[(PMBASE, PMBASE_VALUE), (ACPI_CNTL, ACPI_EN)]);
}

/// Puts the configuration space of all buses in memory where the tables say.
pub(super) fn ecam(code: &mut Code) {
    configure(code, &[(PCIEXBAR + 4, 0), (PCIEXBAR, PCIEXBAR_VALUE)]);
}

/// Writes each value to its register.
fn configure(code: &mut Code, registers: &[(u32, u32)]) {
    for (register, value) in registers {
        code.mov32(Gpr::Rdx, CONFIG_ADDRESS.into()).mov32(Gpr::Rax, *register).out_dx_eax();
        code.mov32(Gpr::Rdx, CONFIG_DATA.into()).mov32(Gpr::Rax, *value).out_dx_eax();
    }
}

/// SPIV first: while it disables the APIC, every LVT is held masked.
pub(super) fn local_apic(code: &mut Code, cpu: &CpuState) {
    #[expect(clippy::cast_possible_truncation, reason = "below 4 GiB")]
    const BASE: u32 = machine::LAPIC.start() as u32;
    code.store32(BASE | 0xf0, cpu.local_apic.spiv)
        .store32(BASE | 0x80, cpu.local_apic.tpr)
        .store32(BASE | 0x350, cpu.local_apic.lvt0)
        .store32(BASE | 0x360, cpu.local_apic.lvt1);
}

/// The masks of both 8259s, which are writable without initialisation.
pub(super) fn pics(code: &mut Code, cpu: &CpuState) {
    const MASKS: [u8; 2] = [0x21, 0xa1];
    code.mov32(Gpr::Rax, cpu.pic_mask.into());
    for port in MASKS {
        code.out_al(port);
    }
}

/// Where ECAM is: of the host bridge, bus 0, device 0, function 0.
/// Intel 3 Series Express Chipset Family datasheet, 5.1.16.
const PCIEXBAR: u32 = 1 << 31 | 0x60;
/// 256 MiB, for 256 buses; enabled.
#[expect(clippy::cast_possible_truncation, reason = "below 4 GiB")]
const PCIEXBAR_VALUE: u32 = machine::ECAM.start() as u32 | 1;
/// Enable; bus 0, device 31, function 0.
const LPC: u32 = 1 << 31 | 31 << 11;
/// Where the ACPI registers are.
const PMBASE: u32 = LPC | 0x40;
/// At [`BASE`], in I/O space.
const PMBASE_VALUE: u32 = BASE as u32 | 1;
/// Whether they are anywhere.
const ACPI_CNTL: u32 = LPC | 0x44;
const ACPI_EN: u32 = 1 << 7;
/// PM_TMR is their third.
const BASE: u16 = port::PM_TIMER - 8;
const _: () = assert!(BASE.is_multiple_of(0x80), "PMBASE has no lower bits");
