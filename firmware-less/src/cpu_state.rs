//! The state of the boot processor before its first instruction.

use std::fmt;

use serde::Serialize;

/// The general-purpose registers, RIP and RFLAGS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each field is the register of that name")]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
}

/// A segment register with its hidden part. Intel SDM vol. 3A, 3.4.5.
#[expect(clippy::struct_excessive_bools, reason = "they are the descriptor's bits")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Segment {
    /// The selector that software sees.
    pub selector: u16,
    /// Base address.
    pub base: u64,
    /// Limit in bytes, after scaling by the granularity.
    pub limit: u32,
    /// The four type bits.
    #[serde(rename = "type")]
    pub kind: u8,
    /// S: set for code and data, clear for system segments.
    pub code_or_data: bool,
    /// L: 64-bit code.
    pub long: bool,
    /// D/B: 32-bit default size.
    pub default_32: bool,
    /// G: the descriptor's limit counts 4 KiB pages.
    pub granular: bool,
    /// P, and not marked unusable.
    pub usable: bool,
}

impl Segment {
    /// The descriptor that gives this segment, as the GDT holds it.
    /// Intel SDM vol. 3A, figure 3-8.
    #[must_use]
    pub fn descriptor(&self) -> u64 {
        let limit = u64::from(if self.granular { self.limit >> 12 } else { self.limit });
        (limit & 0xffff)
            | (self.base & 0x00ff_ffff) << 16
            | u64::from(self.kind & 0xf) << 40
            | u64::from(self.code_or_data) << 44
            | u64::from(self.usable) << 47
            | (limit >> 16 & 0xf) << 48
            | u64::from(self.long) << 53
            | u64::from(self.default_32) << 54
            | u64::from(self.granular) << 55
            | (self.base >> 24 & 0xff) << 56
    }
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DescriptorTable {
    /// Guest address of the table.
    pub base: u64,
    /// Its size in bytes, less one.
    pub limit: u16,
}

/// The local APIC's registers that are not as reset leaves them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LocalApic {
    /// Task priority register, offset 0x80; its bits 4 to 7 are CR8.
    pub tpr: u32,
    /// Spurious interrupt vector register, offset 0xf0.
    pub spiv: u32,
    /// LVT LINT0, offset 0x350.
    pub lvt0: u32,
    /// LVT LINT1, offset 0x360.
    pub lvt1: u32,
}

/// Model-specific registers that are not as reset leaves them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Msrs {
    /// IA32_MTRR_DEF_TYPE, 0x2ff. Without it the kernel believes all memory
    /// uncached and gives up on PAT.
    pub mtrr_def_type: u64,
    /// Bits to set in IA32_MISC_ENABLE, 0x1a0. Linux on Intel drops
    /// `rep_good` and `erms` where FAST_STRING, bit 0, is clear.
    pub misc_enable_set: u64,
}

/// The bit of CR4 for linear addresses of 57 bits and page tables of five levels.
pub const CR4_LA57: u64 = 1 << 12;

/// Everything about the boot processor that a hand-off decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each field is the register of that name")]
pub struct CpuState {
    pub registers: Registers,
    pub cs: Segment,
    pub ds: Segment,
    pub es: Segment,
    pub fs: Segment,
    pub gs: Segment,
    pub ss: Segment,
    pub tr: Segment,
    pub ldtr: Segment,
    pub gdtr: DescriptorTable,
    pub idtr: DescriptorTable,
    pub cr0: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
    pub local_apic: LocalApic,
    /// Interrupt mask of both 8259 PICs. At reset they are unmasked and have no
    /// vectors: with LINT0 as ExtINT their first interrupt would be taken for
    /// an exception.
    pub pic_mask: u8,
    pub msrs: Msrs,
    /// x87 control word.
    pub fcw: u16,
    /// SSE control and status.
    pub mxcsr: u32,
}

/// The registers as a kernel's own dump shows them, four to a line.
impl fmt::Display for CpuState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = &self.registers;
        writeln!(f, "rip {:016x}  rflags {:08x}", r.rip, r.rflags)?;
        writeln!(
            f,
            "rax {:016x}  rbx {:016x}  rcx {:016x}  rdx {:016x}",
            r.rax, r.rbx, r.rcx, r.rdx
        )?;
        writeln!(
            f,
            "rsi {:016x}  rdi {:016x}  rbp {:016x}  rsp {:016x}",
            r.rsi, r.rdi, r.rbp, r.rsp
        )?;
        writeln!(
            f,
            "r8  {:016x}  r9  {:016x}  r10 {:016x}  r11 {:016x}",
            r.r8, r.r9, r.r10, r.r11
        )?;
        writeln!(
            f,
            "r12 {:016x}  r13 {:016x}  r14 {:016x}  r15 {:016x}",
            r.r12, r.r13, r.r14, r.r15
        )?;
        writeln!(
            f,
            "cr0 {:x}  cr3 {:x}  cr4 {:x}  efer {:x}",
            self.cr0, self.cr3, self.cr4, self.efer
        )?;
        for (name, segment) in self.segments() {
            writeln!(f, "{name:<4} {segment}")?;
        }
        writeln!(f, "gdtr {:x} limit {:x}", self.gdtr.base, self.gdtr.limit)?;
        writeln!(f, "idtr {:x} limit {:x}", self.idtr.base, self.idtr.limit)?;
        let LocalApic { tpr, spiv, lvt0, lvt1 } = self.local_apic;
        writeln!(f, "apic tpr {tpr:x}  spiv {spiv:x}  lvt0 {lvt0:x}  lvt1 {lvt1:x}")?;
        writeln!(f, "pic  mask {:x}", self.pic_mask)?;
        writeln!(
            f,
            "msr  mtrr_def_type {:x}  misc_enable |= {:x}",
            self.msrs.mtrr_def_type, self.msrs.misc_enable_set
        )?;
        writeln!(f, "fpu  fcw {:x}  mxcsr {:x}", self.fcw, self.mxcsr)
    }
}

impl Registers {
    /// The general registers by name.
    #[must_use]
    pub fn general(&self) -> [(&'static str, u64); 16] {
        [
            ("rax", self.rax),
            ("rbx", self.rbx),
            ("rcx", self.rcx),
            ("rdx", self.rdx),
            ("rsi", self.rsi),
            ("rdi", self.rdi),
            ("rbp", self.rbp),
            ("rsp", self.rsp),
            ("r8", self.r8),
            ("r9", self.r9),
            ("r10", self.r10),
            ("r11", self.r11),
            ("r12", self.r12),
            ("r13", self.r13),
            ("r14", self.r14),
            ("r15", self.r15),
        ]
    }
}

impl CpuState {
    /// Every segment register by name.
    #[must_use]
    pub fn segments(&self) -> [(&'static str, Segment); 8] {
        [
            ("cs", self.cs),
            ("ds", self.ds),
            ("es", self.es),
            ("fs", self.fs),
            ("gs", self.gs),
            ("ss", self.ss),
            ("tr", self.tr),
            ("ldtr", self.ldtr),
        ]
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.usable {
            let Self { selector, base, limit, .. } = self;
            write!(
                f,
                "{selector:04x}  base {base:x}  limit {limit:x}  descriptor {:016x}",
                self.descriptor()
            )
        } else {
            f.write_str("unusable")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_of_a_segment_has_its_bits_of_the_descriptor() {
        let none = Segment::default();
        assert_eq!(none.descriptor(), 0);
        for (segment, descriptor) in [
            (Segment { base: 0x8765_4321, ..none }, 0x8700_0065_4321_0000),
            (Segment { limit: 0xa_bcde, ..none }, 0x000a_0000_0000_bcde),
            (Segment { limit: 0xabc_dfff, granular: true, ..none }, 0x0080_0000_0000_abcd),
            (Segment { limit: 0xffff_ffff, granular: true, ..none }, 0x008f_0000_0000_ffff),
            (Segment { kind: 0x1b, ..none }, 0xb << 40),
            (Segment { code_or_data: true, ..none }, 1 << 44),
            (Segment { usable: true, ..none }, 1 << 47),
            (Segment { long: true, ..none }, 1 << 53),
            (Segment { default_32: true, ..none }, 1 << 54),
        ] {
            assert_eq!(segment.descriptor(), descriptor, "{segment:?}");
        }
    }

    #[test]
    fn five_levels_are_bit_12_of_cr4() {
        assert_eq!(CR4_LA57, 0x1000);
    }
}
