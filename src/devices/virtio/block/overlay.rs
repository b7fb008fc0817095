//! A disk whose changes are kept aside and dropped with it.

use std::{collections::BTreeMap, io, ops::Range};

use vm_memory::VolatileSlice;

use super::{
    SECTOR,
    storage::{Storage, split, total},
};

/// Sectors that share a word of marks.
const WORD: u64 = 64;

/// Changes over a base that is never written.
///
/// A mark a sector says whether it was changed, so that no write has to copy what is around
/// it.
#[derive(Debug)]
pub struct Overlay {
    base: Box<dyn Storage>,
    changes: Box<dyn Storage>,
    /// The sectors that are in `changes`, 64 a word; what has no word has none.
    changed: BTreeMap<u64, u64>,
}

impl Overlay {
    /// What `base` holds, as long as nothing is changed; `changes` is as long, and holds
    /// nothing.
    #[must_use]
    pub fn new(base: Box<dyn Storage>, changes: Box<dyn Storage>) -> Self {
        Self { base, changes, changed: BTreeMap::new() }
    }

    fn is_changed(&self, sector: u64) -> bool {
        let word = self.changed.get(&(sector / WORD)).copied().unwrap_or(0);
        word >> (sector % WORD) & 1 != 0
    }

    fn mark(&mut self, sectors: Range<u64>) {
        let Range { mut start, end } = sectors;
        while start < end {
            let bit = start % WORD;
            let count = end.saturating_sub(start).min(WORD.saturating_sub(bit));
            // All ones, as many as there are sectors.
            let ones = u64::MAX >> WORD.saturating_sub(count);
            *self.changed.entry(start / WORD).or_default() |= ones << bit;
            start = start.saturating_add(count);
        }
    }

    /// How many sectors from the first of `sectors` on are as it is.
    fn run(&self, sectors: &Range<u64>) -> u64 {
        let first = self.is_changed(sectors.start);
        let same = sectors.clone().take_while(|sector| self.is_changed(*sector) == first);
        same.count() as u64
    }
}

fn sectors(offset: u64, len: u64) -> Range<u64> {
    offset / SECTOR..offset.saturating_add(len) / SECTOR
}

impl Storage for Overlay {
    fn len(&self) -> u64 {
        self.base.len()
    }

    fn read(&mut self, offset: u64, into: &[VolatileSlice<'_>]) -> io::Result<()> {
        let mut left = sectors(offset, total(into));
        let mut rest = into.to_vec();
        while !left.is_empty() {
            let run = self.run(&left);
            let from = if self.is_changed(left.start) { &mut self.changes } else { &mut self.base };
            let (now, later) = split(&rest, run.saturating_mul(SECTOR));
            from.read(left.start.saturating_mul(SECTOR), &now)?;
            left.start = left.start.saturating_add(run);
            rest = later;
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, from: &[VolatileSlice<'_>]) -> io::Result<()> {
        self.changes.write(offset, from)?;
        self.mark(sectors(offset, total(from)));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Nothing is to outlast anything.
        Ok(())
    }

    fn discard(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.changes.discard(offset, len)?;
        self.mark(sectors(offset, len));
        Ok(())
    }

    fn write_zeroes(&mut self, offset: u64, len: u64, may_unmap: bool) -> io::Result<()> {
        self.changes.write_zeroes(offset, len, may_unmap)?;
        self.mark(sectors(offset, len));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::{super::Raw, *};

    fn file(byte: u8) -> File {
        let file = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![byte; 0x2_0000], 0).unwrap();
        file
    }

    fn read(storage: &mut dyn Storage, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let slice = VolatileSlice::from(bytes.as_mut_slice());
        // In two pieces, as guests have them.
        let (first, second) = slice.split_at(len / 3).unwrap();
        storage.read(offset, &[first, second]).unwrap();
        bytes
    }

    #[test]
    fn what_was_written_is_read_back_and_the_base_stays_as_it_was() {
        let base = file(b'b');
        let changes = tempfile::tempfile().unwrap();
        changes.set_len(0x2_0000).unwrap();
        let mut disk = Overlay::new(
            Box::new(Raw::new(base.try_clone().unwrap(), 0x2_0000)),
            Box::new(Raw::new(changes, 0x2_0000)),
        );
        let mut new = [b'n'; 1024];
        // Across the border of a word of marks.
        disk.write(63 * SECTOR, &[VolatileSlice::from(new.as_mut_slice())]).unwrap();
        disk.write_zeroes(0, SECTOR, false).unwrap();
        let all = read(&mut disk, 0, 0x2_0000);
        let expected = [vec![0; 512], vec![b'b'; 62 * 512], vec![b'n'; 1024]].concat();
        assert!(all.starts_with(&expected));
        assert!(all[expected.len()..].iter().all(|byte| *byte == b'b'));
        let of_base = read(&mut Raw::new(base, 0x2_0000), 0, 0x2_0000);
        assert!(of_base.iter().all(|byte| *byte == b'b'));
    }
}
