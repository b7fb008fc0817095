//! The identity map that the kernel is entered with, as `machine_kexec` makes it.
//!
//! arch/x86/kernel/machine_kexec_64.c `init_pgtable` and arch/x86/mm/ident_map.c:
//! every range of RAM rounded outwards to 2 MiB, 2 MiB leaves, or 1 GiB leaves
//! for GiBs that lie wholly in a range.

use crate::{
    machine::LeafSize,
    range::{GuestRange, PAGE, align_down, align_up, index},
};

/// A table without entries. Copied: a build for size fills byte by byte.
static EMPTY: [u8; 4096] = [0; 4096];
const _: () = assert!(EMPTY.len() as u64 == PAGE, "a table is a page");

const MIB2: u64 = 2 << 20;
const GIB: u64 = 1 << 30;
/// What one table of each level maps: PD, PDPT, PML4.
const PDPT_SPAN: u64 = 512 * GIB;
const PML4_SPAN: u64 = 512 * PDPT_SPAN;

/// Present, writable, accessed, dirty: an entry that points to a table.
const TABLE: u64 = 0x63;
/// [`TABLE`] with page size and global: an entry that maps memory.
const LEAF: u64 = 0x1e3;

/// Page tables in the making: their bytes and the guest address of the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageTables {
    /// Guest address of the PML4, or of the PML5 with five levels: CR3.
    pub root: u64,
    /// The tables, one page each, from `root` upwards.
    pub bytes: Vec<u8>,
}

/// How to map: properties of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The size of leaves.
    pub leaf_size: LeafSize,
    /// Whether a PML5 is the root.
    pub five_level: bool,
}

impl PageTables {
    /// The tables that map `ranges`, ascending, to themselves, the first table
    /// at `root`, a multiple of the page size.
    #[must_use]
    pub fn identity(root: u64, ranges: &[GuestRange], shape: Shape) -> Self {
        let mut tables = Self { root, bytes: Vec::with_capacity(tables_max(ranges)) };
        let pml4 = {
            let top = tables.new_table();
            if shape.five_level { tables.table_in(top, 0) } else { top }
        };
        for range in ranges {
            tables.map(pml4, *range, shape.leaf_size);
        }
        tables
    }

    /// Where the tables are.
    #[must_use]
    pub fn range(&self) -> GuestRange {
        GuestRange::new(self.root, self.bytes.len() as u64).unwrap_or(GuestRange::constant(0, PAGE))
    }

    fn map(&mut self, pml4: u64, range: GuestRange, leaf_size: LeafSize) {
        // Whether a GiB lies wholly in the range is asked of the range as it is.
        let rounded = outward(range);
        let mut at = rounded.start();
        while at < rounded.end() {
            let pdpt = self.table_in(pml4, slot(at, PDPT_SPAN, PML4_SPAN));
            let gib = GuestRange::constant(align_down(at, GIB), GIB);
            let pdpt_slot = slot(at, GIB, PDPT_SPAN);
            if leaf_size == LeafSize::Gib1 && range.contains(gib) {
                self.set(pdpt, pdpt_slot, gib.start() | LEAF);
            } else {
                let pd = self.table_in(pdpt, pdpt_slot);
                let part = gib.intersection(rounded).unwrap_or(gib);
                self.map_mib2(pd, part);
            }
            at = gib.end();
        }
    }

    /// Maps `part`, which lies in one GiB and is whole 2 MiB pages.
    fn map_mib2(&mut self, pd: u64, part: GuestRange) {
        let first = self.entry(pd, slot(part.start(), MIB2, GIB)).start;
        let entries = self.bytes.get_mut(first..).unwrap_or_default();
        let pages = (part.start()..part.end()).step_by(index(MIB2));
        for (entry, page) in entries.as_chunks_mut().0.iter_mut().zip(pages) {
            *entry = (page | LEAF).to_le_bytes();
        }
    }

    /// A new, empty table; its guest address.
    fn new_table(&mut self) -> u64 {
        let at = self.root.saturating_add(self.bytes.len() as u64);
        self.bytes.extend_from_slice(&EMPTY);
        at
    }

    /// The table that slot `slot` of `table` points to, made if need be.
    fn table_in(&mut self, table: u64, slot: u64) -> u64 {
        match self.get(table, slot) {
            0 => {
                let new = self.new_table();
                self.set(table, slot, new | TABLE);
                new
            }
            entry => align_down(entry, PAGE),
        }
    }

    fn get(&self, table: u64, slot: u64) -> u64 {
        let bytes = self.bytes.get(self.entry(table, slot)).unwrap_or_default();
        bytes.try_into().map_or(0, u64::from_le_bytes)
    }

    fn set(&mut self, table: u64, slot: u64, entry: u64) {
        let at = self.entry(table, slot);
        if let Some(bytes) = self.bytes.get_mut(at) {
            bytes.copy_from_slice(&entry.to_le_bytes());
        }
    }

    /// Where the entry lies in `bytes`.
    fn entry(&self, table: u64, slot: u64) -> std::ops::Range<usize> {
        let start = index(table.saturating_sub(self.root).saturating_add(slot.saturating_mul(8)));
        start..start.saturating_add(8)
    }
}

/// The bytes of the tables that map `ranges` in 2 MiB leaves, or a few more: much RAM has many,
/// and to move them as they grow costs as much as to make them.
fn tables_max(ranges: &[GuestRange]) -> usize {
    let begun = |range: &GuestRange| range.len().div_ceil(GIB).saturating_add(1);
    let directories = ranges.iter().map(begun).fold(3, u64::saturating_add);
    index(directories.saturating_mul(PAGE))
}

/// Which of a table's slots maps `address`: `span` bytes each, of `whole`.
fn slot(address: u64, span: u64, whole: u64) -> u64 {
    debug_assert!(span.is_power_of_two() && whole.is_power_of_two());
    (address & whole.wrapping_sub(1)).checked_div(span).unwrap_or(0)
}

/// `range` rounded outwards to 2 MiB.
fn outward(range: GuestRange) -> GuestRange {
    let end = align_up(range.end(), MIB2).unwrap_or(range.end());
    GuestRange::between(align_down(range.start(), MIB2), end).unwrap_or(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: u64 = 0x9000;
    const TWO_MIB: Shape = Shape { leaf_size: LeafSize::Mib2, five_level: false };

    /// Walks the tables as a CPU does; the physical address and the leaf's size.
    fn walk(tables: &PageTables, levels: u32, address: u64) -> Option<(u64, u64)> {
        let mut table = tables.root;
        for level in (0..levels).rev() {
            let shift = 12 + 9 * level;
            let entry = tables.get(table, address >> shift & 511);
            if entry & 1 == 0 {
                return None;
            }
            if entry & 0x80 != 0 {
                let size = 1u64 << shift;
                return Some((align_down(entry, size) + (address & (size - 1)), size));
            }
            table = align_down(entry, PAGE);
        }
        panic!("no 4 KiB leaves here");
    }

    #[test]
    fn all_ram_maps_to_itself_and_the_hole_to_nothing() {
        let ram = [GuestRange::constant(0, 2 * GIB), GuestRange::constant(4 * GIB, 4 * GIB)];
        let tables = PageTables::identity(ROOT, &ram, TWO_MIB);
        for address in [0, 0x1234, GIB, 2 * GIB - 1, 4 * GIB, 8 * GIB - 1] {
            assert_eq!(walk(&tables, 4, address), Some((address, MIB2)), "{address:#x}");
        }
        for address in [2 * GIB, 4 * GIB - 1, 8 * GIB] {
            assert_eq!(walk(&tables, 4, address), None, "{address:#x}");
        }
        // PML4, PDPT and a PD for each GiB.
        assert_eq!(tables.bytes.len() as u64, (1 + 1 + 6) * PAGE);
        // Room for that, a PML5, and a GiB more that each range could be in.
        assert_eq!(tables_max(&ram) as u64, (1 + 1 + 6 + 1 + 2) * PAGE);
        assert!(tables.bytes.capacity() < 2 * tables_max(&ram));
    }

    #[test]
    fn entries_have_the_flags_that_kexec_gives() {
        let tables = PageTables::identity(ROOT, &[GuestRange::constant(0, GIB)], TWO_MIB);
        assert_eq!(tables.get(ROOT, 0), 0xa063);
        assert_eq!(tables.get(0xa000, 0), 0xb063);
        assert_eq!(tables.get(0xb000, 0), 0x1e3);
        assert_eq!(tables.get(0xb000, 511), 0x3fe0_01e3);
    }

    #[test]
    fn gib_leaves_are_only_for_whole_gibs() {
        let shape = Shape { leaf_size: LeafSize::Gib1, five_level: false };
        let ram = [GuestRange::constant(0, GIB + 6 * MIB2)];
        let tables = PageTables::identity(ROOT, &ram, shape);
        assert_eq!(walk(&tables, 4, 0x123_4567), Some((0x123_4567, GIB)));
        assert_eq!(walk(&tables, 4, GIB + 5), Some((GIB + 5, MIB2)));
        assert_eq!(walk(&tables, 4, GIB + 6 * MIB2), None);
    }

    #[test]
    fn a_gib_that_lacks_its_last_page_is_not_whole() {
        let shape = Shape { leaf_size: LeafSize::Gib1, five_level: false };
        let tables = PageTables::identity(ROOT, &[GuestRange::constant(0, GIB - PAGE)], shape);
        assert_eq!(walk(&tables, 4, GIB - 1), Some((GIB - 1, MIB2)));
    }

    #[test]
    fn five_levels_have_one_root_more() {
        let shape = Shape { five_level: true, ..TWO_MIB };
        let tables = PageTables::identity(ROOT, &[GuestRange::constant(0, GIB)], shape);
        assert_eq!(walk(&tables, 5, 0x1234_5678), Some((0x1234_5678, MIB2)));
    }

    #[test]
    fn ranges_round_outwards_to_two_mib() {
        let tables = PageTables::identity(ROOT, &[GuestRange::constant(MIB2 + 1, 1)], TWO_MIB);
        assert_eq!(walk(&tables, 4, MIB2), Some((MIB2, MIB2)));
        assert_eq!(walk(&tables, 4, 0), None);
    }

    #[test]
    fn ranges_beyond_512_gib_get_a_table_of_their_own() {
        let tables = PageTables::identity(ROOT, &[GuestRange::constant(0, 513 * GIB)], TWO_MIB);
        assert_eq!(walk(&tables, 4, 512 * GIB + 7), Some((512 * GIB + 7, MIB2)));
    }
}
