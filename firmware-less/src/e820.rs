//! The memory map that the kernel is given.

use std::fmt;

use linux_loader::loader::bootparam::boot_e820_entry;
use serde::Serialize;

use crate::{
    machine::{ECAM, Machine},
    range::GuestRange,
};

/// The most entries that `boot_params` holds; kexec truncates there.
/// `E820_MAX_ENTRIES_ZEROPAGE`, arch/x86/include/uapi/asm/setup_data.h.
pub const ENTRIES_MAX: usize = 128;

/// The end of low RAM: the byte after it would be the EBDA of a PC.
pub const LOW_RAM_END: u64 = 0x9_fc00;
/// The end of the first MiB, below which only low RAM is RAM.
pub const FIRST_MIB_END: u64 = 0x10_0000;

/// What an e820 range is, by its number in the table. ACPI 6.5, table 15.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u32)]
pub enum Kind {
    /// Usable RAM.
    Ram = 1,
    /// Not to be used.
    Reserved = 2,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ram => "usable",
            Self::Reserved => "reserved",
        })
    }
}

/// One range of the memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Where.
    pub range: GuestRange,
    /// What.
    pub kind: Kind,
}

/// The memory map: what the guest may use, ascending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct MemoryMap {
    entries: Vec<Entry>,
}

impl MemoryMap {
    /// The map of `machine`: its RAM, less the part of the first MiB that holds
    /// the ACPI tables, and the reserved ranges in the hole.
    #[must_use]
    pub fn of(machine: &Machine) -> Self {
        let ram = |range| Entry { range, kind: Kind::Ram };
        let reserved = |range| Entry { range, kind: Kind::Reserved };
        let low = GuestRange::constant(0, LOW_RAM_END);
        let tables = GuestRange::constant(LOW_RAM_END, FIRST_MIB_END - LOW_RAM_END);
        let mut entries = vec![ram(low), reserved(tables)];
        for range in machine.ram() {
            let from = range.start().max(FIRST_MIB_END);
            entries.extend(GuestRange::between(from, range.end()).map(ram));
        }
        entries.push(reserved(ECAM));
        entries.sort_by_key(|entry| entry.range);
        Self { entries }
    }

    /// A map given as it is, as for comparison with another loader's.
    #[must_use]
    pub fn from_entries(entries: Vec<Entry>) -> Self {
        Self { entries }
    }

    /// Its ranges, ascending.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Its usable ranges.
    #[must_use = "it only looks"]
    pub fn ram(&self) -> impl DoubleEndedIterator<Item = GuestRange> {
        self.entries.iter().filter(|entry| entry.kind == Kind::Ram).map(|entry| entry.range)
    }

    /// The entries as `boot_params` holds them.
    pub fn boot_entries(&self) -> impl Iterator<Item = boot_e820_entry> {
        self.entries.iter().take(ENTRIES_MAX).map(|entry| boot_e820_entry {
            addr: entry.range.start(),
            size: entry.range.len(),
            r#type: entry.kind as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_params_hold_the_first_ranges_with_their_numbers() {
        let entry = |number: u64| Entry {
            range: GuestRange::constant(number * 0x1000, 0x800),
            kind: if number.is_multiple_of(2) { Kind::Ram } else { Kind::Reserved },
        };
        let map = MemoryMap::from_entries((0..200).map(entry).collect());
        let told: Vec<_> = map.boot_entries().collect();
        assert_eq!(told.len(), 128);
        for (number, told) in (0_u64..).zip(told) {
            let wanted = (number * 0x1000, 0x800, 1 + u32::from(!number.is_multiple_of(2)));
            let boot_e820_entry { addr, size, r#type } = told;
            assert_eq!((addr, size, r#type), wanted);
        }
        assert_eq!(map.ram().count(), 100);
        assert_eq!(format!("{} {}", Kind::Ram, Kind::Reserved), "usable reserved");
    }

    #[test]
    fn the_map_ascends_and_covers_all_ram_but_the_table_area() {
        let machine = Machine::new(6 << 30, 1).unwrap();
        let map = MemoryMap::of(&machine);
        let shown: Vec<_> =
            map.entries().iter().map(|e| format!("{} {:?}", e.range, e.kind)).collect();
        assert_eq!(
            shown,
            [
                "[0x0, 0x9fc00) Ram",
                "[0x9fc00, 0x100000) Reserved",
                "[0x100000, 0x80000000) Ram",
                "[0xb0000000, 0xc0000000) Reserved",
                "[0x100000000, 0x200000000) Ram",
            ]
        );
    }
}
