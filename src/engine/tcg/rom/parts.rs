//! What is where in the boot ROM.

use firmware_less::{layout, range::GuestRange};

/// Where the guest sees the ROM below 1 MiB, in the place of RAM.
pub(in crate::engine::tcg) const SHOWN_AT: GuestRange = GuestRange::constant(0xf_0000, LEN);

pub(super) const LEN: u64 = 0x1_0000;

/// A part of the ROM, by offsets in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) offset: u16,
    pub(super) len: u16,
}

impl Part {
    /// Where the guest sees the part.
    #[expect(clippy::arithmetic_side_effects, reason = "below 1 MiB, asserted below")]
    #[expect(clippy::cast_possible_truncation, reason = "as above")]
    pub(super) const fn address(self) -> u32 {
        SHOWN_AT.start() as u32 + self.offset as u32
    }
}

pub(super) const PROTECTED_MODE: Part = Part { offset: 0, len: 0x800 };
pub(super) const LONG_MODE: Part = Part { offset: 0x800, len: 0x800 };
/// The operands that instructions find in memory.
const OPERANDS: Part = Part { offset: 0x1000, len: 0x80 };
/// Flat 32-bit segments, for the way.
pub(super) const FLAT_GDT: Part = Part { offset: 0x1080, len: 0x18 };
/// The plan's segments.
pub(super) const PLAN_GDT: Part = Part { offset: 0x2000, len: 0x1000 };
/// A PML5, a PML4, a PDPT and a PD.
pub(super) const PAGE_TABLES: Part = Part { offset: 0x3000, len: 0x4000 };
/// What the plan wants in the place of RAM that the ROM hides.
pub(super) const SMBIOS: Part = Part { offset: 0x7000, len: 0x8f00 };
pub(super) const REAL_MODE: Part = Part { offset: 0xff00, len: 0xf0 };
/// Where the CPU starts. Intel SDM vol. 3A, 11.1.4.
pub(super) const RESET_VECTOR: Part = Part { offset: 0xfff0, len: 0x10 };

const _: () = {
    let parts = [
        PROTECTED_MODE,
        LONG_MODE,
        OPERANDS,
        FLAT_GDT,
        PLAN_GDT,
        PAGE_TABLES,
        SMBIOS,
        REAL_MODE,
        RESET_VECTOR,
    ];
    assert!(layout::SMBIOS.start() == SMBIOS.address() as u64);
    assert!(layout::SMBIOS.len() == SMBIOS.len as u64);
    let mut i = 0;
    while i < parts.len() {
        let end = parts[i].offset as u64 + parts[i].len as u64;
        let limit = if i + 1 < parts.len() { parts[i + 1].offset as u64 } else { LEN };
        assert!(end <= limit, "parts must ascend and end with the ROM");
        i += 1;
    }
};

/// Where each operand is.
pub(super) mod operand {
    use super::{OPERANDS, Part};

    pub(in super::super) const FLAT_GDTR: Part = at(0x00, 6);
    pub(in super::super) const PLAN_SEGMENTS: Part = at(0x08, 6);
    pub(in super::super) const GDTR: Part = at(0x10, 10);
    pub(in super::super) const IDTR: Part = at(0x20, 10);
    pub(in super::super) const FCW: Part = at(0x30, 2);
    pub(in super::super) const MXCSR: Part = at(0x38, 4);
    pub(in super::super) const RFLAGS: Part = at(0x40, 8);
    pub(in super::super) const RIP: Part = at(0x48, 8);

    #[expect(clippy::arithmetic_side_effects, reason = "evaluated at compile time only")]
    const fn at(offset: u16, len: u16) -> Part {
        assert!(offset + len <= OPERANDS.len, "operands lie within their part");
        Part { offset: OPERANDS.offset + offset, len }
    }
}
