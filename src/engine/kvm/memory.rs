//! Guest RAM.

use std::sync::Arc;

use firmware_less::{
    machine::Machine,
    range::{GuestRange, index},
};
use vm_memory::{MmapRegion, VolatileMemory as _, VolatileSlice};

use super::{Error, vm};

/// What KVM wants host and guest addresses alike aligned to, so that it can map
/// a huge page of the one as a huge page of the other.
const HUGE_PAGE: usize = 2 << 20;

/// How much of guest memory is copied at a time for somebody who reads it.
const READ_AT_ONCE: usize = 64 << 10;

/// Guest RAM: anonymous memory that reads as zero until somebody writes it.
///
/// Needs no KVM, so it can be filled while the VM is still being made.
///
/// A clone is the same memory, which stays as long as there is one.
#[derive(Clone, Debug)]
pub struct GuestMemory {
    banks: Arc<[Bank]>,
}

/// One range of RAM, within a mapping that is larger by what aligns it.
#[derive(Debug)]
pub struct Bank {
    range: GuestRange,
    mapping: MmapRegion,
    skip: usize,
}

impl GuestMemory {
    /// The RAM of `machine`.
    pub fn new(machine: &Machine) -> Result<Self, Error> {
        Self::over(machine.ram())
    }

    /// RAM at each of `ranges`.
    pub(super) fn over(ranges: impl IntoIterator<Item = GuestRange>) -> Result<Self, Error> {
        let banks = ranges.into_iter().map(Bank::new).collect::<Result<_, _>>()?;
        Ok(Self { banks })
    }

    /// Gives `see` the bytes at `range`, in order, in pieces of any size.
    pub fn read_memory(&self, range: GuestRange, see: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let mut rest = self.slice(range)?;
        let mut buffer = vec![0; READ_AT_ONCE.min(rest.len())];
        while !rest.is_empty() {
            let read = rest.copy_to(&mut buffer);
            see(buffer.get(..read).unwrap_or_default());
            rest = skip(&rest, read);
        }
        Ok(())
    }

    pub(super) fn banks(&self) -> &[Bank] {
        &self.banks
    }

    pub(super) fn slice(&self, range: GuestRange) -> Result<VolatileSlice<'_>, Error> {
        self.banks.iter().find_map(|bank| bank.slice(range)).ok_or(Error::NotRam { range })
    }
}

impl Bank {
    fn new(range: GuestRange) -> Result<Self, Error> {
        let len = index(range.len()).saturating_add(HUGE_PAGE);
        let mapping = MmapRegion::new(len).map_err(|source| Error::Reserve { range, source })?;
        let skip = mapping.as_ptr().align_offset(HUGE_PAGE);
        let bank = Self { range, mapping, skip };
        vm::prefer_huge_pages(&bank.whole());
        Ok(bank)
    }

    /// Where in the guest.
    pub(super) fn range(&self) -> GuestRange {
        self.range
    }

    /// All of it.
    pub(super) fn whole(&self) -> VolatileSlice<'_> {
        self.slice(self.range).unwrap_or_else(|| unreachable!("the mapping holds the bank"))
    }

    pub(super) fn slice(&self, range: GuestRange) -> Option<VolatileSlice<'_>> {
        let offset = range.start().checked_sub(self.range.start())?;
        let inside = self.range.contains(range);
        let skip = self.skip.checked_add(index(offset))?;
        inside.then(|| self.mapping.get_slice(skip, index(range.len())).ok())?
    }
}

/// What comes after the first `len` bytes of `slice`.
pub(super) fn skip<'m>(slice: &VolatileSlice<'m>, len: usize) -> VolatileSlice<'m> {
    slice.offset(len).unwrap_or_else(|_| unreachable!("no more was copied than there was"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn host_and_guest_addresses_are_congruent_in_huge_pages() {
        let memory = GuestMemory::new(&Machine::new(6 << 30, 1).unwrap()).unwrap();
        for bank in memory.banks() {
            let host = bank.whole().ptr_guard().as_ptr() as u64;
            assert_eq!(host % HUGE_PAGE as u64, bank.range().start() % HUGE_PAGE as u64);
        }
    }

    #[test]
    fn memory_outside_ram_cannot_be_read() {
        let memory = GuestMemory::new(&Machine::new(64 * MIB, 1).unwrap()).unwrap();
        let range = GuestRange::new(64 * MIB - 1, 2).unwrap();
        let error = memory.read_memory(range, &mut |_| ()).unwrap_err();
        assert_eq!(error.to_string(), "[0x3ffffff, 0x4000001) is not wholly in guest RAM");
    }
}
