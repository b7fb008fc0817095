//! The bytes that a plan puts into guest memory, wherever they are now.

use std::{io, path::PathBuf, slice};

use firmware_less::{
    kernel::Relocation,
    plan::{BootPlan, Content, FileSlice, Placement},
    range::{FileRange, GuestRange, index},
};

use crate::{error::Error, files::Files};

/// What comes next.
#[derive(Clone, Copy, Debug)]
pub enum Chunk<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// As many zeros.
    Zeros(u64),
}

/// Guest memory as placements say it is to be, zero where they say nothing.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'a> {
    placements: &'a [Placement],
    files: &'a Files,
}

impl<'a> Memory<'a> {
    /// The memory of that plan before the first instruction.
    #[must_use]
    pub fn of(plan: &'a BootPlan, files: &'a Files) -> Self {
        Self::new(plan.placements(), files)
    }

    /// Memory with these placements, which ascend.
    #[must_use]
    pub fn new(placements: &'a [Placement], files: &'a Files) -> Self {
        Self { placements, files }
    }

    /// Shows all of `range` to `see`, in order.
    pub fn each(
        &self,
        range: GuestRange,
        see: &mut dyn FnMut(Chunk<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut at = range.start();
        for placement in self.placements {
            if let Some(relocation) = &placement.relocation
                && let Some(shared) = placement.range.intersection(range)
            {
                zeros(shared.start().saturating_sub(at), see)?;
                let bytes = self.relocated(placement, relocation)?;
                let skip = index(shared.start().saturating_sub(placement.range.start()));
                let part = bytes.get(skip..skip.saturating_add(index(shared.len())));
                see(Chunk::Bytes(part.unwrap_or_default()))?;
                at = shared.end();
                continue;
            }
            for piece in &placement.pieces {
                let start = placement.range.start().saturating_add(piece.offset);
                let whole = GuestRange::new(start, piece.content.len());
                let Some(shared) = whole.and_then(|whole| whole.intersection(range)) else {
                    continue;
                };
                zeros(shared.start().saturating_sub(at), see)?;
                let skip = shared.start().saturating_sub(start);
                self.content(&piece.content, FileRange::new(skip, shared.len()), see)?;
                at = shared.end();
            }
        }
        zeros(range.end().saturating_sub(at), see)
    }

    /// The bytes of `range`, which is short.
    pub fn bytes(&self, range: GuestRange) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(index(range.len()));
        self.each(range, &mut |chunk| {
            match chunk {
                Chunk::Bytes(more) => bytes.extend_from_slice(more),
                Chunk::Zeros(count) => bytes.resize(bytes.len().saturating_add(index(count)), 0),
            }
            Ok(())
        })?;
        Ok(bytes)
    }

    /// All of `placement`, changed as it is to be.
    fn relocated(&self, placement: &Placement, relocation: &Relocation) -> Result<Vec<u8>, Error> {
        let as_it_is = Placement { relocation: None, ..placement.clone() };
        let memory = Memory::new(slice::from_ref(&as_it_is), self.files);
        let mut bytes = memory.bytes(placement.range)?;
        relocation.apply(bytes.as_mut_slice());
        Ok(bytes)
    }

    fn content(
        &self,
        content: &Content,
        part: Option<FileRange>,
        see: &mut dyn FnMut(Chunk<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let part = part.unwrap_or(FileRange::EMPTY);
        match content {
            Content::Bytes(bytes) => {
                let bytes = bytes.get(index(part.offset())..index(part.end()));
                see(Chunk::Bytes(bytes.unwrap_or_default()))
            }
            Content::File(slice) => {
                let range = slice.range.skip(part.offset()).unwrap_or(FileRange::EMPTY);
                self.file(FileSlice { range: range.take(part.len()), ..*slice }, see)
            }
        }
    }

    fn file(
        &self,
        slice: FileSlice,
        see: &mut dyn FnMut(Chunk<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let missing =
            || Error::Read { path: PathBuf::new(), source: io::ErrorKind::NotFound.into() };
        let file = self.files.get(slice.file).ok_or_else(missing)?;
        let failed = |source| Error::Read { path: file.path.clone(), source };
        file.each_chunk(slice.range, failed, |chunk| see(Chunk::Bytes(chunk)))
    }
}

fn zeros(count: u64, see: &mut dyn FnMut(Chunk<'_>) -> Result<(), Error>) -> Result<(), Error> {
    if count > 0 { see(Chunk::Zeros(count)) } else { Ok(()) }
}
