//! Guest RAM.

use std::{fs::File, io, sync::Arc};

use firmware_less::{
    machine::Machine,
    range::{GuestRange, index},
};
use rustix::fs::{MemfdFlags, memfd_create};
use vm_memory::{FileOffset, MmapRegion, VolatileMemory as _, VolatileSlice};

use super::{Error, later::Later, vm};

/// What KVM wants host and guest addresses alike aligned to, so that it can map
/// a huge page of the one as a huge page of the other.
const HUGE_PAGE: usize = 2 << 20;

/// Where a kernel keeps what it begins with, and hardly anything else: to clear all of it takes
/// longer than to find a page each time.
const SPARSE: GuestRange = GuestRange::constant(0, HUGE_PAGE as u64);

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

/// One range of RAM.
#[derive(Debug)]
pub struct Bank {
    range: GuestRange,
    mapping: Aligned,
    later: Later,
}

/// Memory that begins at a huge page, within a mapping that is larger by what
/// aligns it.
#[derive(Debug)]
struct Aligned {
    mapping: MmapRegion,
    skip: usize,
}

/// A range that nobody sees before it is filled: whoever comes earlier waits.
/// Dropped without being given, it is lost, and nobody waits any more.
#[derive(Debug)]
pub(super) struct Withheld<'m> {
    bank: &'m Bank,
    range: GuestRange,
}

/// Where what belongs into a [`Withheld`] range is meanwhile.
#[derive(Debug)]
pub(super) struct Spare {
    range: GuestRange,
    memory: Aligned,
}

impl GuestMemory {
    /// The RAM of `machine`.
    pub fn new(machine: &Machine) -> Result<Self, Error> {
        Self::over(machine.ram())
    }

    /// The same in a file without a name, which another process can be given.
    pub fn in_a_file(machine: &Machine) -> io::Result<Self> {
        let file = File::from(memfd_create("guest-ram", MemfdFlags::CLOEXEC)?);
        file.set_len(machine.memory())?;
        Self::shared(machine, &file)
    }

    /// The RAM of `machine` that `file` holds, one range after the other: what whoever else has
    /// it mapped writes there is seen here.
    pub fn shared(machine: &Machine, file: &File) -> io::Result<Self> {
        let mut offset = 0_u64;
        let bank = |range: GuestRange| {
            let place = FileOffset::new(file.try_clone()?, offset);
            offset = offset.saturating_add(range.len());
            let mapping = MmapRegion::from_file(place, index(range.len()));
            Ok(Bank::beginning(range, mapping.map_err(io::Error::other)?))
        };
        Ok(Self { banks: machine.ram().map(bank).collect::<io::Result<_>>()? })
    }

    /// RAM at each of `ranges`.
    pub(super) fn over(ranges: impl IntoIterator<Item = GuestRange>) -> Result<Self, Error> {
        let banks = ranges.into_iter().map(Bank::new).collect::<Result<_, _>>()?;
        Ok(Self { banks })
    }

    pub(super) fn of_banks(banks: Vec<Bank>) -> Self {
        Self { banks: banks.into() }
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

    /// Writes `bytes` at guest address `at`.
    pub fn write(&self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        if let Some(range) = GuestRange::new(at, bytes.len() as u64) {
            self.slice(range)?.copy_from(bytes);
        }
        Ok(())
    }

    /// Withholds `range`, whole huge pages that nobody has touched, if the host can
    /// do that. Once only.
    pub(super) fn withhold(&self, range: GuestRange) -> Option<Withheld<'_>> {
        let bank = self.banks.iter().find(|bank| bank.range.contains(range))?;
        // Of a file the pages are others' too.
        if bank.later.is_used() || bank.file().is_some() || !vm::moves_pages() {
            return None;
        }
        vm::withhold(&bank.place(range)?).ok()?;
        bank.later.withhold(range);
        Some(Withheld { bank, range })
    }

    /// Whether anything of it ever was withheld.
    pub(super) fn was_withheld(&self) -> bool {
        self.banks.iter().any(|bank| bank.later.is_used())
    }

    /// Waits until nothing is withheld any more, while `wanted` says so.
    pub(super) fn wait_while(&self, wanted: impl Fn() -> bool) {
        for bank in self.banks.iter().filter(|bank| bank.later.is_used()) {
            bank.later.wait_while(&wanted);
        }
    }

    /// Nobody needs any more what is still withheld.
    pub fn abandon(&self) {
        self.banks.iter().for_each(|bank| bank.later.abandon());
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
        let mapping = Aligned::new(range)?;
        mapping.part(range, SPARSE).iter().for_each(vm::avoid_huge_pages);
        Ok(Self { range, mapping, later: Later::default() })
    }

    /// RAM at `range`, which is what `mapping` begins with.
    pub(super) fn beginning(range: GuestRange, mapping: MmapRegion) -> Self {
        Self { range, mapping: Aligned { mapping, skip: 0 }, later: Later::default() }
    }

    /// Where in the guest.
    pub(super) fn range(&self) -> GuestRange {
        self.range
    }

    /// What holds it, if that is a file.
    pub(super) fn file(&self) -> Option<&FileOffset> {
        self.mapping.mapping.file_offset()
    }

    /// All of it, also what is withheld: to be shown to KVM, not to be touched.
    pub(super) fn whole(&self) -> VolatileSlice<'_> {
        self.place(self.range).unwrap_or_else(|| unreachable!("the mapping holds the bank"))
    }

    /// The memory at `range`, as soon as it is there.
    pub(super) fn slice(&self, range: GuestRange) -> Option<VolatileSlice<'_>> {
        let place = self.place(range)?;
        self.later.wait_for(range).then_some(place)
    }

    fn place(&self, range: GuestRange) -> Option<VolatileSlice<'_>> {
        self.mapping.part(self.range, range)
    }
}

impl Aligned {
    /// As much as `range` is long.
    fn new(range: GuestRange) -> Result<Self, Error> {
        let len = index(range.len()).saturating_add(HUGE_PAGE);
        let mapping = MmapRegion::new(len).map_err(|source| Error::Reserve { range, source })?;
        let skip = mapping.as_ptr().align_offset(HUGE_PAGE);
        let memory = Self { mapping, skip };
        memory.part(range, range).iter().for_each(vm::prefer_huge_pages);
        Ok(memory)
    }

    /// The memory at `part`, if it all begins at that of `whole`.
    fn part(&self, whole: GuestRange, part: GuestRange) -> Option<VolatileSlice<'_>> {
        let offset = part.start().checked_sub(whole.start())?;
        let inside = whole.contains(part);
        let skip = self.skip.checked_add(index(offset))?;
        inside.then(|| self.mapping.get_slice(skip, index(part.len())).ok())?
    }
}

impl Withheld<'_> {
    pub(super) fn range(&self) -> GuestRange {
        self.range
    }

    /// Whether nobody needs it any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.bank.later.is_abandoned()
    }

    /// Memory to fill in its stead.
    pub(super) fn spare(&self) -> Result<Spare, Error> {
        Ok(Spare { range: self.range, memory: Aligned::new(self.range)? })
    }

    /// Puts what `spare` holds in its place: from now on everybody sees it.
    pub(super) fn give(self, spare: &Spare) -> Result<(), Error> {
        let range = self.range;
        let moved = |source| Error::Move { range, source };
        let place = self.bank.place(range).ok_or(Error::NotRam { range })?;
        vm::move_pages(&spare.slice(range)?, &place).map_err(moved)?;
        self.bank.later.give();
        Ok(())
    }
}

impl Drop for Withheld<'_> {
    fn drop(&mut self) {
        self.bank.later.lose();
    }
}

impl Spare {
    pub(super) fn slice(&self, range: GuestRange) -> Result<VolatileSlice<'_>, Error> {
        self.memory.part(self.range, range).ok_or(Error::NotRam { range })
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
