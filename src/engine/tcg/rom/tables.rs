//! The tables in the boot ROM: descriptors and pages.

use std::collections::BTreeMap;

use firmware_less::{
    cpu_state::{CpuState, DescriptorTable, Segment},
    range::PAGE,
};
use thiserror::Error;

/// A CPU state that no instructions lead to.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The ROM enters 64-bit code only.
    #[error("the CPU state is not 64-bit mode: CR0 {cr0:#x}, CR4 {cr4:#x}, EFER {efer:#x}")]
    Not64Bit {
        /// Wanted PE and PG.
        cr0: u64,
        /// Wanted PAE.
        cr4: u64,
        /// Wanted LME.
        efer: u64,
    },
    /// A selector that can't have the hidden part that the state gives it.
    #[error(
        "{name} can't be loaded with selector {selector:#x}: need a null selector for an unusable \
         segment, one of GDT entries 1 to {} for a usable one",
        SELECTOR_MAX / 8
    )]
    Selector {
        /// Which register.
        name: &'static str,
        /// Its selector.
        selector: u16,
    },
    /// Two registers that want different descriptors in one place.
    #[error("{second} and {first} want different descriptors at selector {selector:#x}")]
    Clash {
        /// The one, in the order CS, DS, ES, SS, FS, GS, LDTR, TR.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// Where.
        selector: u16,
    },
}

/// Selectors of [`flat_gdt`].
pub(super) const FLAT_CODE: u16 = 0x08;
pub(super) const FLAT_DATA: u16 = 0x10;

/// CR4: 57-bit linear addresses.
pub(super) const LA57: u32 = 1 << 12;

/// The highest selector that [`plan_gdt`] has room for, with a system
/// segment's upper half after it.
const SELECTOR_MAX: u16 = 0xff0;

/// Refuses a state that is not 64-bit mode.
pub(super) fn check(cpu: &CpuState) -> Result<(), Error> {
    const PE_PG: u64 = 1 << 0 | 1 << 31;
    const PAE: u64 = 1 << 5;
    const LME: u64 = 1 << 8;
    let paged = cpu.cr0 & PE_PG == PE_PG && cpu.cr4 & PAE != 0 && cpu.efer & LME != 0;
    if paged && cpu.cs.long && cpu.cs.usable {
        Ok(())
    } else {
        Err(Error::Not64Bit { cr0: cpu.cr0, cr4: cpu.cr4, efer: cpu.efer })
    }
}

/// Null, 32-bit code and data over all 4 GiB, accessed.
pub(super) fn flat_gdt() -> Vec<u8> {
    [0, 0x00cf_9b00_0000_ffff_u64, 0x00cf_9300_0000_ffff].map(u64::to_le_bytes).concat()
}

/// A GDT from which every segment register gets the hidden part that `cpu` says.
pub(super) fn plan_gdt(cpu: &CpuState) -> Result<Vec<u8>, Error> {
    let mut gdt = Gdt::default();
    let code_or_data = [
        ("CS", &cpu.cs),
        ("DS", &cpu.ds),
        ("ES", &cpu.es),
        ("SS", &cpu.ss),
        ("FS", &cpu.fs),
        ("GS", &cpu.gs),
    ];
    for (name, segment) in code_or_data {
        gdt.add(name, segment, &[segment.descriptor() | ACCESSED])?;
    }
    gdt.add("LDTR", &cpu.ldtr, &[cpu.ldtr.descriptor(), cpu.ldtr.base >> 32])?;
    if cpu.tr.selector != 0 {
        gdt.add("TR", &cpu.tr, &[cpu.tr.descriptor() & !BUSY, cpu.tr.base >> 32])?;
    }
    Ok(gdt.bytes())
}

/// The type bit that the CPU sets in a code or data descriptor it loads.
const ACCESSED: u64 = 1 << 40;
/// The type bit that the CPU sets in a TSS descriptor it loads, which must not
/// be set before.
const BUSY: u64 = 1 << 41;

#[derive(Default)]
struct Gdt {
    entries: BTreeMap<u16, (&'static str, u64)>,
}

impl Gdt {
    fn add(
        &mut self,
        name: &'static str,
        segment: &Segment,
        descriptors: &[u64],
    ) -> Result<(), Error> {
        let selector = segment.selector;
        if !segment.usable && selector == 0 {
            return Ok(());
        }
        if !segment.usable || selector & 7 != 0 || !(8..=SELECTOR_MAX).contains(&selector) {
            return Err(Error::Selector { name, selector });
        }
        for (selector, descriptor) in (selector..).step_by(8).zip(descriptors) {
            let (first, found) = *self.entries.entry(selector).or_insert((name, *descriptor));
            if found != *descriptor {
                return Err(Error::Clash { first, second: name, selector });
            }
        }
        Ok(())
    }

    fn bytes(&self) -> Vec<u8> {
        let last = self.entries.keys().next_back().copied().unwrap_or_default();
        let entry = |selector| self.entries.get(&selector).map_or(0, |(_, descriptor)| *descriptor);
        (0..=last).step_by(8).flat_map(|selector| entry(selector).to_le_bytes()).collect()
    }
}

/// What LGDT loads in 32-bit code, for a table of `len` bytes.
pub(super) fn pointer(len: u16, address: u32) -> Vec<u8> {
    let mut bytes = len.saturating_sub(1).to_le_bytes().to_vec();
    bytes.extend(address.to_le_bytes());
    bytes
}

/// What LGDT and LIDT load in 64-bit code.
pub(super) fn register(table: DescriptorTable) -> Vec<u8> {
    let mut bytes = table.limit.to_le_bytes().to_vec();
    bytes.extend(table.base.to_le_bytes());
    bytes
}

/// A PML5, a PML4, a PDPT and a PD, one page each from `base`, that map the
/// first 2 MiB to themselves: each table's only entry is its first.
pub(super) fn page_tables(base: u32) -> Vec<u8> {
    /// Present, writable, accessed, dirty.
    const TABLE: u64 = 0x63;
    /// The same, and a large page.
    const LEAF: u64 = 0xe3;
    let tables = (1..4).map(|next| table(base, next) | TABLE);
    let page = |entry: u64| {
        let mut page = entry.to_le_bytes().to_vec();
        page.resize(firmware_less::range::index(PAGE), 0);
        page
    };
    tables.chain([LEAF]).flat_map(page).collect()
}

/// CR3 for the tables at `base`.
pub(super) fn root(base: u32, five_level: bool) -> u32 {
    if five_level { base } else { base.saturating_add(4096) }
}

#[expect(clippy::arithmetic_side_effects, reason = "four pages below 1 MiB")]
fn table(base: u32, number: u64) -> u64 {
    u64::from(base) + number * PAGE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tcg::cpu_state::cpu_state;

    #[test]
    fn a_descriptor_is_in_the_gdt_where_its_selector_says() {
        let gdt = plan_gdt(&cpu_state()).unwrap();
        let entry = |at: usize| u64::from_le_bytes(gdt[at..at + 8].try_into().unwrap());
        assert_eq!(entry(0), 0);
        assert_eq!(entry(0x10), 0x00af_9b00_0000_ffff);
        assert_eq!(entry(0x18), 0x00cf_9300_0000_ffff);
    }

    #[test]
    fn a_task_register_is_loaded_from_an_available_tss() {
        let mut cpu = cpu_state();
        cpu.tr.base = 0x1234_5678_9abc_d000;
        let gdt = plan_gdt(&cpu).unwrap();
        assert_eq!(gdt[0x40..0x48], 0x9a00_89bc_d000_0067_u64.to_le_bytes());
        assert_eq!(gdt[0x48..0x50], 0x1234_5678_u64.to_le_bytes());
    }

    #[test]
    fn two_registers_cannot_share_a_selector_and_differ() {
        let mut cpu = cpu_state();
        cpu.gs.selector = cpu.ds.selector;
        assert_eq!(
            plan_gdt(&cpu).unwrap_err().to_string(),
            "GS and DS want different descriptors at selector 0x18"
        );
    }

    #[test]
    fn a_selector_without_a_place_in_the_gdt_is_refused() {
        let mut cpu = cpu_state();
        cpu.fs.selector = 0x1000;
        assert_eq!(
            plan_gdt(&cpu).unwrap_err().to_string(),
            "FS can't be loaded with selector 0x1000: need a null selector for an unusable \
             segment, one of GDT entries 1 to 510 for a usable one"
        );
        cpu.fs = Segment { selector: 0x18, usable: false, ..cpu.ds };
        assert_eq!(plan_gdt(&cpu).unwrap_err(), Error::Selector { name: "FS", selector: 0x18 });
    }

    #[test]
    fn only_64_bit_mode_can_be_entered() {
        let mut cpu = cpu_state();
        cpu.cr4 = 0;
        assert_eq!(
            check(&cpu).unwrap_err().to_string(),
            "the CPU state is not 64-bit mode: CR0 0x80000033, CR4 0x0, EFER 0xd01"
        );
    }
}
