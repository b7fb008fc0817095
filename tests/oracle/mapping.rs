//! What page tables map.

use std::collections::{BTreeMap, BTreeSet};

const PRESENT: u64 = 1;
const PAGE_SIZE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// In an entry that maps memory: the lowest bit of an address is another flag there.
const LEAF_ADDRESS: u64 = 0x000f_ffff_ffff_e000;
/// Where the upper half of addresses begins, which is the old kernel's.
const UPPER_HALF_SLOT: usize = 256;

/// One table.
pub(super) struct Entries(Vec<u64>);

impl Entries {
    pub(super) fn of(table: &[u8]) -> Self {
        let entry = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        Self(table.chunks(8).map(entry).collect())
    }
}

/// All that is mapped in the lower half.
#[derive(Default)]
pub(super) struct Mapping {
    /// Start, end, bytes of a page, flags: of what is mapped to itself, ascending.
    identity: Vec<(u64, u64, u64, u64)>,
    /// What is mapped to elsewhere.
    other: Vec<String>,
    /// Flags of entries that point to tables, by level.
    tables: BTreeMap<u32, BTreeSet<u64>>,
    /// How many entries of the root are for the upper half.
    upper_half: usize,
    levels: u32,
}

/// Walks the tables from `root` on; `read` gives a table by its address.
pub(super) fn mapping(root: u64, levels: u32, read: &mut dyn FnMut(u64) -> Entries) -> Mapping {
    let mut mapping = Mapping { levels, ..Mapping::default() };
    let mut entries = read(root & ADDRESS);
    mapping.upper_half =
        entries.0.drain(UPPER_HALF_SLOT..).filter(|entry| entry & PRESENT != 0).count();
    mapping.walk(levels, 0, &entries, read);
    mapping
}

impl Mapping {
    fn walk(
        &mut self,
        level: u32,
        start: u64,
        entries: &Entries,
        read: &mut dyn FnMut(u64) -> Entries,
    ) {
        let size = 1u64 << (12 + 9 * (level - 1));
        let present = entries.0.iter().zip(0..).filter(|(entry, _)| *entry & PRESENT != 0);
        for (entry, slot) in present {
            let at = start + slot * size;
            if level == 1 || entry & PAGE_SIZE != 0 {
                self.leaf(at, size, *entry);
            } else {
                self.tables.entry(level).or_default().insert(entry & !ADDRESS);
                self.walk(level - 1, at, &read(entry & ADDRESS), read);
            }
        }
    }

    fn leaf(&mut self, at: u64, size: u64, entry: u64) {
        let (to, flags) = (entry & LEAF_ADDRESS, entry & !LEAF_ADDRESS);
        if to != at {
            self.other.push(format!("{at:#x} to {to:#x}"));
            return;
        }
        match self.identity.last_mut() {
            Some((_, end, same, alike)) if (*end, *same, *alike) == (at, size, flags) => {
                *end += size;
            }
            _ => self.identity.push((at, at + size, size, flags)),
        }
    }

    /// Says it in values with names.
    pub(super) fn put(&self, values: &mut BTreeMap<String, String>) {
        let range = |(start, end, size, flags): &(u64, u64, u64, u64)| {
            format!("{start:#x}-{end:#x} by {size:#x} flags {flags:#x}")
        };
        let identity: Vec<_> = self.identity.iter().map(range).collect();
        let mut put = |name: &str, value| values.insert(format!("mapped {name}"), value);
        put("levels", self.levels.to_string());
        put("to itself", identity.join(", "));
        put("to elsewhere", self.other.join(", "));
        put("in the upper half", self.upper_half.to_string());
        for (level, flags) in &self.tables {
            let flags: Vec<_> = flags.iter().map(|flags| format!("{flags:#x}")).collect();
            put(&format!("by tables of level {level} with flags"), flags.join(", "));
        }
    }
}
