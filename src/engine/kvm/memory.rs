//! Guest RAM, and how the plan gets into it.

use std::io;

use firmware_less::{
    machine::Machine,
    plan::{BootPlan, Content, FileSlice},
    range::{GuestRange, index},
};
use vm_memory::{MmapRegion, VolatileMemory as _, VolatileSlice};

use super::{Error, vm};
use crate::files::{Files, OpenFile};

/// What KVM wants host and guest addresses alike aligned to, so that it can map
/// a huge page of the one as a huge page of the other.
const HUGE_PAGE: usize = 2 << 20;

/// How much of guest memory is copied at a time for somebody who reads it.
const READ_AT_ONCE: usize = 64 << 10;

/// Guest RAM: anonymous memory that reads as zero until somebody writes it.
///
/// Needs no KVM, so it can be filled while the VM is still being made.
#[derive(Debug)]
pub struct GuestMemory {
    banks: Vec<Bank>,
}

/// One range of RAM, within a mapping that is larger by what aligns it.
#[derive(Debug)]
pub(super) struct Bank {
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

    /// Puts everything that `plan` places where it belongs, files by reading
    /// straight into guest memory.
    pub fn load(&self, plan: &BootPlan, files: &Files) -> Result<(), Error> {
        for placement in plan.placements() {
            for piece in &placement.pieces {
                let start = placement.range.start().saturating_add(piece.offset);
                let Some(range) = GuestRange::new(start, piece.content.len()) else { continue };
                let into = self.slice(range)?;
                match &piece.content {
                    Content::Bytes(bytes) => into.copy_from(bytes),
                    Content::File(slice) => read_file(&into, *slice, files)?,
                }
            }
        }
        Ok(())
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

    fn slice(&self, range: GuestRange) -> Result<VolatileSlice<'_>, Error> {
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

    fn slice(&self, range: GuestRange) -> Option<VolatileSlice<'_>> {
        let offset = range.start().checked_sub(self.range.start())?;
        let inside = self.range.contains(range);
        let skip = self.skip.checked_add(index(offset))?;
        inside.then(|| self.mapping.get_slice(skip, index(range.len())).ok())?
    }
}

/// What comes after the first `len` bytes of `slice`.
fn skip<'m>(slice: &VolatileSlice<'m>, len: usize) -> VolatileSlice<'m> {
    slice.offset(len).unwrap_or_else(|_| unreachable!("no more was copied than there was"))
}

fn read_file(into: &VolatileSlice<'_>, from: FileSlice, files: &Files) -> Result<(), Error> {
    let file = files.get(from.file).ok_or(Error::NoSuchFile { file: from.file })?;
    let mut rest = skip(into, 0);
    let mut offset = from.range.offset();
    while !rest.is_empty() {
        match vm::pread(&file.file, offset, &rest) {
            Ok(0) => return Err(short_read(file, from, offset)),
            Ok(read) => {
                rest = skip(&rest, read);
                offset = offset.saturating_add(read as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::Read { path: file.path.clone(), offset, source }),
        }
    }
    Ok(())
}

#[cold]
fn short_read(file: &OpenFile, from: FileSlice, end: u64) -> Error {
    Error::ShortRead {
        path: file.path.clone(),
        offset: from.range.offset(),
        wanted: from.range.len(),
        found: end.saturating_sub(from.range.offset()),
    }
}
