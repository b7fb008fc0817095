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

mod chipset;
mod code;
mod parts;
mod stages;
mod tables;
#[cfg(test)]
mod tests;

use firmware_less::{cpu_state::CpuState, range::index};

pub use self::tables::Error;
use self::{
    code::Code,
    parts::{
        FLAT_GDT, LEN, LONG_MODE, PAGE_TABLES, PLAN_GDT, PROTECTED_MODE, Part, REAL_MODE,
        RESET_VECTOR, SMBIOS, operand,
    },
};
pub(super) use self::{parts::SHOWN_AT, stages::AFTER_MARK};

/// The ROM that enters `cpu`'s state, and says so by a byte to `mark`, a port,
/// [`AFTER_MARK`] instructions before. It shows `smbios` where the plan has that. ECAM is
/// where the tables say, if they do.
pub(super) fn boot_rom(
    cpu: &CpuState,
    mark: Option<u16>,
    smbios: &[u8],
    has_pci: bool,
) -> Result<Vec<u8>, Error> {
    tables::check(cpu)?;
    let mut rom = Rom::default();
    rom.put(
        RESET_VECTOR,
        Code::default().jmp_near16(RESET_VECTOR.offset, REAL_MODE.offset).bytes(),
    );
    rom.put(REAL_MODE, stages::real_mode().bytes());
    rom.put(PROTECTED_MODE, stages::protected_mode(cpu, has_pci).bytes());
    rom.put(LONG_MODE, stages::long_mode(cpu, mark).bytes());
    rom.put_operands(cpu);
    rom.put(FLAT_GDT, &tables::flat_gdt());
    rom.put(PLAN_GDT, &tables::plan_gdt(cpu)?);
    rom.put(PAGE_TABLES, &tables::page_tables(PAGE_TABLES.address()));
    rom.put(SMBIOS, smbios);
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
