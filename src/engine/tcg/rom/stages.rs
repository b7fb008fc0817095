//! The code of the boot ROM, mode by mode.

use firmware_less::cpu_state::{CpuState, Registers};

use super::{
    chipset,
    code::{
        Code,
        Cr::{Cr0, Cr3, Cr4},
        DataSegment::{Ds, Es, Fs, Gs, Ss},
        Gpr,
    },
    parts::{LONG_MODE, PAGE_TABLES, PROTECTED_MODE, operand},
    tables,
};

/// To flat 32-bit protected mode, still unpaged; or a reset.
pub(super) fn real_mode() -> Code {
    const PE: u8 = 1;
    let mut code = Code::default();
    chipset::reset_unless_new(&mut code);
    code.lgdt_cs16(operand::FLAT_GDTR.offset)
        .mov_from_cr(Cr0)
        .or_al(PE)
        .mov_to_cr(Cr0)
        .jmp_far_from16(tables::FLAT_CODE, PROTECTED_MODE.address());
    code
}

/// The chipset and the local APIC, which must come before paging because the
/// plan's page tables need not map it; then long mode.
pub(super) fn protected_mode(cpu: &CpuState, has_pci: bool) -> Code {
    let mut code = Code::default();
    code.mov32(Gpr::Rax, tables::FLAT_DATA.into());
    for segment in [Ds, Es, Ss] {
        code.mov_to_segment(segment);
    }
    chipset::power_management(&mut code);
    if has_pci {
        chipset::ecam(&mut code);
    }
    chipset::local_apic(&mut code, cpu);
    chipset::pics(&mut code, cpu);
    paging(&mut code, cpu);
    code.lgdt32(operand::PLAN_SEGMENTS.address()).jmp_far(cpu.cs.selector, LONG_MODE.address());
    code
}

/// The FPU's control words and long mode, over the ROM's page tables. CR0, CR4
/// and EFER have no more than that takes; [`long_mode`] gives them the plan's
/// values, but for LA57, which can't change while paging is on.
fn paging(code: &mut Code, cpu: &CpuState) {
    const PE_ET_PG: u32 = 1 << 0 | 1 << 4 | 1 << 31;
    const PAE: u32 = 1 << 5;
    /// Without it there is no LDMXCSR.
    const OSFXSR: u32 = 1 << 9;
    const LME: u64 = 1 << 8;

    let la57 = halves(cpu.cr4).0 & tables::LA57;
    code.mov32(Gpr::Rax, PAE | OSFXSR | la57).mov_to_cr(Cr4);
    code.fninit().fldcw32(operand::FCW.address()).ldmxcsr32(operand::MXCSR.address());
    code.mov32(Gpr::Rax, tables::root(PAGE_TABLES.address(), la57 != 0)).mov_to_cr(Cr3);
    write_msr(code, msr::EFER, LME);
    code.mov32(Gpr::Rax, PE_ET_PG).mov_to_cr(Cr0);
}

/// How many instructions follow the one that writes the mark: of [`long_mode`]
/// those for RFLAGS, the general-purpose registers, and the jump.
pub(in crate::engine::tcg) const AFTER_MARK: u64 = 2 + 16 + 1;

/// Everything else, and the jump; with a byte for `mark`, a port, shortly before.
pub(super) fn long_mode(cpu: &CpuState, mark: Option<u16>) -> Code {
    let mut code = Code::default();
    code.mov64(Gpr::Rax, cpu.cr4).mov_to_cr(Cr4);
    write_msr(&mut code, msr::EFER, cpu.efer);
    code.mov64(Gpr::Rax, cpu.cr3).mov_to_cr(Cr3);
    code.mov64(Gpr::Rax, cpu.cr0).mov_to_cr(Cr0);
    model_specific(&mut code, cpu);
    segments(&mut code, cpu);
    code.lidt64(operand::IDTR.address()).lgdt64(operand::GDTR.address());
    if let Some(port) = mark {
        code.mov32(Gpr::Rdx, port.into()).out_dx_al64();
    }
    code.mov64(Gpr::Rsp, operand::RFLAGS.address().into()).popfq();
    for (register, value) in general_purpose(&cpu.registers) {
        code.mov64(register, value);
    }
    code.jmp_indirect64(operand::RIP.address());
    code
}

fn model_specific(code: &mut Code, cpu: &CpuState) {
    write_msr(code, msr::MTRR_DEF_TYPE, cpu.msrs.mtrr_def_type);
    let (low, high) = halves(cpu.msrs.misc_enable_set);
    code.mov32(Gpr::Rcx, msr::MISC_ENABLE).rdmsr().or_eax(low).or_edx(high).wrmsr();
}

/// Selectors, and with them the hidden parts, from `PLAN_GDT`. A descriptor's
/// base has 32 bits, so FS and GS get theirs once more by MSR.
fn segments(code: &mut Code, cpu: &CpuState) {
    let data = [(Ds, cpu.ds), (Es, cpu.es), (Ss, cpu.ss), (Fs, cpu.fs), (Gs, cpu.gs)];
    for (register, segment) in data {
        code.mov32(Gpr::Rax, segment.selector.into()).mov_to_segment(register);
    }
    write_msr(code, msr::FS_BASE, cpu.fs.base);
    write_msr(code, msr::GS_BASE, cpu.gs.base);
    code.mov32(Gpr::Rax, cpu.ldtr.selector.into()).lldt_ax();
    // A null TR can't be loaded; reset leaves a usable one with selector 0.
    if cpu.tr.selector != 0 {
        code.mov32(Gpr::Rax, cpu.tr.selector.into()).ltr_ax();
    }
}

/// Model-specific registers, by number. Intel SDM vol. 4, 2.1.
mod msr {
    pub(super) const MISC_ENABLE: u32 = 0x1a0;
    pub(super) const MTRR_DEF_TYPE: u32 = 0x2ff;
    pub(super) const EFER: u32 = 0xc000_0080;
    pub(super) const FS_BASE: u32 = 0xc000_0100;
    pub(super) const GS_BASE: u32 = 0xc000_0101;
}

fn write_msr(code: &mut Code, number: u32, value: u64) {
    let (low, high) = halves(value);
    code.mov32(Gpr::Rcx, number).mov32(Gpr::Rax, low).mov32(Gpr::Rdx, high).wrmsr();
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
fn halves(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}

fn general_purpose(registers: &Registers) -> [(Gpr, u64); 16] {
    [
        (Gpr::Rax, registers.rax),
        (Gpr::Rbx, registers.rbx),
        (Gpr::Rcx, registers.rcx),
        (Gpr::Rdx, registers.rdx),
        (Gpr::Rsi, registers.rsi),
        (Gpr::Rdi, registers.rdi),
        (Gpr::Rbp, registers.rbp),
        (Gpr::Rsp, registers.rsp),
        (Gpr::R8, registers.r8),
        (Gpr::R9, registers.r9),
        (Gpr::R10, registers.r10),
        (Gpr::R11, registers.r11),
        (Gpr::R12, registers.r12),
        (Gpr::R13, registers.r13),
        (Gpr::R14, registers.r14),
        (Gpr::R15, registers.r15),
    ]
}
