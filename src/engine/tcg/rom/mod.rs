//! The boot ROM: 64 KiB that bring the boot processor from the reset vector to
//! the state that a plan wants, and jump.
//!
//! QEMU shows the ROM twice: it ends at 4 GiB, where the reset vector is, and
//! again at 1 MiB ([`SHOWN_AT`]), below which every address of it has 20 bits.
//! Only the real-mode part runs at the upper place.
//!
//! The ROM writes no guest RAM. It has no stack (`popfq` reads from the ROM); its
//! descriptors and page tables are in the ROM and have their accessed bits set,
//! so that even a CPU that would set them has nothing to set. The plan's own page
//! tables come into force while the ROM still runs, so they must map
//! [`SHOWN_AT`] to itself, as any identity map of RAM in large pages does.

mod code;
mod tables;
#[cfg(test)]
mod tests;

use firmware_less::{
    cpu_state::{CpuState, Registers},
    machine,
    range::{GuestRange, index},
    reset_vector::RESET_CODE,
};

use self::code::{
    Code,
    Cr::{Cr0, Cr3, Cr4},
    DataSegment::{Ds, Es, Fs, Gs, Ss},
    Gpr,
};
pub use self::tables::Error;

/// Where the guest sees the ROM below 1 MiB, in the place of RAM.
pub(super) const SHOWN_AT: GuestRange = GuestRange::constant(0xf_0000, LEN);

const LEN: u64 = 0x1_0000;

/// A part of the ROM, by offsets in it.
#[derive(Clone, Copy, Debug)]
struct Part {
    offset: u16,
    len: u16,
}

impl Part {
    /// Where the guest sees the part.
    #[expect(clippy::arithmetic_side_effects, reason = "below 1 MiB, asserted with PARTS")]
    #[expect(clippy::cast_possible_truncation, reason = "as above")]
    const fn address(self) -> u32 {
        SHOWN_AT.start() as u32 + self.offset as u32
    }
}

const PROTECTED_MODE: Part = Part { offset: 0, len: 0x800 };
const LONG_MODE: Part = Part { offset: 0x800, len: 0x800 };
/// The operands that instructions find in memory.
const OPERANDS: Part = Part { offset: 0x1000, len: 0x80 };
/// Flat 32-bit segments, for the way.
const FLAT_GDT: Part = Part { offset: 0x1080, len: 0x18 };
/// The plan's segments.
const PLAN_GDT: Part = Part { offset: 0x2000, len: 0x1000 };
/// A PML5, a PML4, a PDPT and a PD.
const PAGE_TABLES: Part = Part { offset: 0x3000, len: 0x4000 };
const REAL_MODE: Part = Part { offset: 0xff00, len: 0xf0 };
/// Where the CPU starts. Intel SDM vol. 3A, 11.1.4.
const RESET_VECTOR: Part = Part { offset: 0xfff0, len: 0x10 };

const _: () = {
    let parts = [
        PROTECTED_MODE,
        LONG_MODE,
        OPERANDS,
        FLAT_GDT,
        PLAN_GDT,
        PAGE_TABLES,
        REAL_MODE,
        RESET_VECTOR,
    ];
    let mut i = 0;
    while i < parts.len() {
        let end = parts[i].offset as u64 + parts[i].len as u64;
        let limit = if i + 1 < parts.len() { parts[i + 1].offset as u64 } else { LEN };
        assert!(end <= limit, "parts must ascend and end with the ROM");
        i += 1;
    }
};

/// The ROM that enters `cpu`'s state.
pub(super) fn boot_rom(cpu: &CpuState) -> Result<Vec<u8>, Error> {
    tables::check(cpu)?;
    let mut rom = Rom::default();
    rom.put(
        RESET_VECTOR,
        Code::default().jmp_near16(RESET_VECTOR.offset, REAL_MODE.offset).bytes(),
    );
    rom.put(REAL_MODE, real_mode().bytes());
    rom.put(PROTECTED_MODE, protected_mode(cpu).bytes());
    rom.put(LONG_MODE, long_mode(cpu).bytes());
    rom.put_operands(cpu);
    rom.put(FLAT_GDT, &tables::flat_gdt());
    rom.put(PLAN_GDT, &tables::plan_gdt(cpu)?);
    rom.put(PAGE_TABLES, &tables::page_tables(PAGE_TABLES.address()));
    Ok(rom.bytes)
}

struct Rom {
    bytes: Vec<u8>,
}

impl Default for Rom {
    fn default() -> Self {
        Self { bytes: vec![0; index(LEN)] }
    }
}

impl Rom {
    /// Puts `bytes` at the start of `part`.
    #[expect(clippy::expect_used, reason = "how long each part can be is known, and tested")]
    fn put(&mut self, part: Part, bytes: &[u8]) {
        assert!(bytes.len() <= usize::from(part.len), "{part:?} has {} bytes", bytes.len());
        let place = self.bytes.get_mut(usize::from(part.offset)..);
        let place = place.and_then(|from| from.get_mut(..bytes.len()));
        place.expect("parts lie within the ROM, as asserted").copy_from_slice(bytes);
    }

    fn put_operands(&mut self, cpu: &CpuState) {
        self.put(operand::FLAT_GDTR, &tables::pointer(FLAT_GDT.len, FLAT_GDT.address()));
        self.put(operand::PLAN_SEGMENTS, &tables::pointer(PLAN_GDT.len, PLAN_GDT.address()));
        self.put(operand::GDTR, &tables::register(cpu.gdtr));
        self.put(operand::IDTR, &tables::register(cpu.idtr));
        self.put(operand::FCW, &cpu.fcw.to_le_bytes());
        self.put(operand::MXCSR, &cpu.mxcsr.to_le_bytes());
        self.put(operand::RFLAGS, &cpu.registers.rflags.to_le_bytes());
        self.put(operand::RIP, &cpu.registers.rip.to_le_bytes());
    }
}

/// To flat 32-bit protected mode, still unpaged; or, where the chipset is set up
/// already, a reset: then it was the guest that jumped here.
fn real_mode() -> Code {
    const PE: u8 = 1;
    let mut code = Code::default();
    code.mov_eax_from16(chipset::PMBASE).mov_dx16(chipset::CONFIG_ADDRESS).out_dx_eax_from16();
    code.mov_dx16(chipset::CONFIG_DATA).in_eax_dx_from16();
    code.cmp_eax_from16(chipset::PMBASE_VALUE).unless_equal(&RESET_CODE);
    code.lgdt_cs16(operand::FLAT_GDTR.offset)
        .mov_from_cr(Cr0)
        .or_al(PE)
        .mov_to_cr(Cr0)
        .jmp_far_from16(tables::FLAT_CODE, PROTECTED_MODE.address());
    code
}

/// The FPU, the chipset and the local APIC, which must come before paging
/// because the plan's page tables need not map it; then long mode.
fn protected_mode(cpu: &CpuState) -> Code {
    let mut code = Code::default();
    code.mov32(Gpr::Rax, tables::FLAT_DATA.into());
    for segment in [Ds, Es, Ss] {
        code.mov_to_segment(segment);
    }
    power_management(&mut code);
    local_apic(&mut code, cpu);
    pics(&mut code, cpu);
    paging(&mut code, cpu);
    code.lgdt32(operand::PLAN_SEGMENTS.address()).jmp_far(cpu.cs.selector, LONG_MODE.address());
    code
}

/// q35's LPC bridge. Intel ICH9 datasheet, 13.1.12 and 13.1.13.
mod chipset {
    use firmware_less::machine::port;

    /// Configuration mechanism 1: address and data.
    pub(super) const CONFIG_ADDRESS: u16 = 0xcf8;
    pub(super) const CONFIG_DATA: u16 = 0xcfc;
    /// Enable; bus 0, device 31, function 0.
    const LPC: u32 = 1 << 31 | 31 << 11;
    /// Where the ACPI registers are.
    pub(super) const PMBASE: u32 = LPC | 0x40;
    /// At [`BASE`], in I/O space.
    pub(super) const PMBASE_VALUE: u32 = BASE as u32 | 1;
    /// Whether they are anywhere.
    pub(super) const ACPI_CNTL: u32 = LPC | 0x44;
    pub(super) const ACPI_EN: u32 = 1 << 7;
    /// PM_TMR is their third.
    const BASE: u16 = port::PM_TIMER - 8;
    const _: () = assert!(BASE.is_multiple_of(0x80), "PMBASE has no lower bits");
}

/// Puts the chipset's ACPI registers, the timer among them, where the tables say.
fn power_management(code: &mut Code) {
    use chipset::{ACPI_CNTL, ACPI_EN, CONFIG_ADDRESS, CONFIG_DATA, PMBASE, PMBASE_VALUE};
    for (register, value) in [(PMBASE, PMBASE_VALUE), (ACPI_CNTL, ACPI_EN)] {
        code.mov32(Gpr::Rdx, CONFIG_ADDRESS.into()).mov32(Gpr::Rax, register).out_dx_eax();
        code.mov32(Gpr::Rdx, CONFIG_DATA.into()).mov32(Gpr::Rax, value).out_dx_eax();
    }
}

/// SPIV first: while it disables the APIC, every LVT is held masked.
fn local_apic(code: &mut Code, cpu: &CpuState) {
    #[expect(clippy::cast_possible_truncation, reason = "below 4 GiB")]
    const BASE: u32 = machine::LAPIC.start() as u32;
    code.store32(BASE | 0xf0, cpu.local_apic.spiv)
        .store32(BASE | 0x350, cpu.local_apic.lvt0)
        .store32(BASE | 0x360, cpu.local_apic.lvt1);
}

/// The masks of both 8259s, which are writable without initialisation.
fn pics(code: &mut Code, cpu: &CpuState) {
    const MASKS: [u8; 2] = [0x21, 0xa1];
    code.mov32(Gpr::Rax, cpu.pic_mask.into());
    for port in MASKS {
        code.out_al(port);
    }
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

/// Everything else, and the jump.
fn long_mode(cpu: &CpuState) -> Code {
    let mut code = Code::default();
    code.mov64(Gpr::Rax, cpu.cr4).mov_to_cr(Cr4);
    write_msr(&mut code, msr::EFER, cpu.efer);
    code.mov64(Gpr::Rax, cpu.cr3).mov_to_cr(Cr3);
    code.mov64(Gpr::Rax, cpu.cr0).mov_to_cr(Cr0);
    model_specific(&mut code, cpu);
    segments(&mut code, cpu);
    code.lidt64(operand::IDTR.address()).lgdt64(operand::GDTR.address());
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

/// Selectors, and with them the hidden parts, from [`PLAN_GDT`]. A descriptor's
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

/// Where each operand is.
mod operand {
    use super::{OPERANDS, Part};

    pub(super) const FLAT_GDTR: Part = at(0x00, 6);
    pub(super) const PLAN_SEGMENTS: Part = at(0x08, 6);
    pub(super) const GDTR: Part = at(0x10, 10);
    pub(super) const IDTR: Part = at(0x20, 10);
    pub(super) const FCW: Part = at(0x30, 2);
    pub(super) const MXCSR: Part = at(0x38, 4);
    pub(super) const RFLAGS: Part = at(0x40, 8);
    pub(super) const RIP: Part = at(0x48, 8);

    #[expect(clippy::arithmetic_side_effects, reason = "evaluated at compile time only")]
    const fn at(offset: u16, len: u16) -> Part {
        assert!(offset + len <= OPERANDS.len, "operands lie within their part");
        Part { offset: OPERANDS.offset + offset, len }
    }
}
