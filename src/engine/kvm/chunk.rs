//! The parts in which a plan is loaded.

use std::io;

use firmware_less::{
    plan::{Content, FileId, FileSlice},
    range::{GuestRange, align_down, index},
};
use vm_memory::VolatileSlice;

use super::{Error, memory::skip, vm};
use crate::files::{Files, OpenFile, Source as FileSource};

/// How much of a file one thread reads before it looks for more: whole huge
/// pages, so that no two threads clear the same one.
pub(super) const CHUNK: u64 = 4 << 20;

/// A part of what is placed, and where it goes. Small enough for several threads to
/// share a file.
#[derive(Debug)]
pub(super) struct Chunk<'a> {
    pub(super) range: GuestRange,
    source: Source<'a>,
}

#[derive(Debug)]
enum Source<'a> {
    Bytes(&'a [u8]),
    File {
        file: FileId,
        offset: u64,
        /// Where what is read of the file ends, beyond this chunk.
        end: u64,
    },
}

impl<'a> Chunk<'a> {
    /// All of `content`, which goes to `range`.
    pub(super) fn all_of(range: GuestRange, content: &'a Content) -> impl Iterator<Item = Self> {
        let first = align_down(range.start(), CHUNK);
        (first..range.end()).step_by(index(CHUNK)).filter_map(move |base| {
            let part = GuestRange::new(base, CHUNK)?.intersection(range)?;
            let skipped = part.start().saturating_sub(range.start());
            let source = match content {
                Content::Bytes(bytes) => {
                    let rest = bytes.get(index(skipped)..)?;
                    Source::Bytes(rest.get(..index(part.len()))?)
                }
                Content::File(FileSlice { file, range }) => {
                    let offset = range.offset().saturating_add(skipped);
                    Source::File { file: *file, offset, end: range.end() }
                }
            };
            Some(Self { range: part, source })
        })
    }

    pub(super) fn read(&self, into: &VolatileSlice<'_>, files: &Files) -> Result<(), Error> {
        match self.source {
            Source::Bytes(bytes) => into.copy_from(bytes),
            Source::File { file, offset, end } => {
                let file = files.get(file).ok_or(Error::NoSuchFile { file })?;
                read_file(file, offset, end, into)?;
            }
        }
        Ok(())
    }
}

/// Fills `into`, which nobody has written to yet, from `offset` in `file`, of which all up to
/// `end` is wanted.
fn read_file(
    file: &OpenFile,
    mut offset: u64,
    end: u64,
    into: &VolatileSlice<'_>,
) -> Result<(), Error> {
    let path = || file.path.clone();
    let mut rest = skip(into, 0);
    while !rest.is_empty() {
        let (zeros, data) = file.zeros_and_data(offset, rest.len() as u64);
        rest = skip(&rest, index(zeros));
        offset = offset.saturating_add(zeros);
        if rest.is_empty() {
            break;
        }
        let part = rest.subslice(0, index(data)).unwrap_or(rest);
        match read(file, offset, &part) {
            Ok(0) => {
                let now = file.file().and_then(|file| file.metadata().ok());
                let found = now.map_or(offset, |metadata| metadata.len());
                return Err(Error::ShortRead { path: path(), found, wanted: end });
            }
            Ok(read) => {
                rest = skip(&rest, read);
                offset = offset.saturating_add(read as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::Read { path: path(), offset, source }),
        }
    }
    Ok(())
}

/// Fills as much of `into` as it can at once, and says how much that is.
fn read(file: &OpenFile, offset: u64, into: &VolatileSlice<'_>) -> io::Result<usize> {
    match &file.source {
        FileSource::File(file) => vm::pread(file, offset, into),
        FileSource::Bytes(bytes) => {
            let rest = bytes.get(index(offset)..).unwrap_or_default();
            let part = rest.get(..into.len()).unwrap_or(rest);
            into.copy_from(part);
            Ok(part.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use firmware_less::range::FileRange;

    use super::*;

    #[test]
    fn chunks_cover_a_slice_once_and_end_where_huge_pages_do() {
        let slice =
            FileSlice { file: FileId::UKI, range: FileRange::new(0x400, 3 * CHUNK).unwrap() };
        let range = GuestRange::new(CHUNK / 2, 3 * CHUNK).unwrap();
        let content = Content::File(slice);
        let chunks: Vec<_> = Chunk::all_of(range, &content).collect();
        let offset = |chunk: &Chunk<'_>| match chunk.source {
            Source::File { offset, .. } => Some(offset),
            Source::Bytes(_) => None,
        };
        let bounds: Vec<_> = chunks
            .iter()
            .map(|chunk| (chunk.range.start(), chunk.range.len(), offset(chunk).unwrap()))
            .collect();
        assert_eq!(
            bounds,
            [
                (CHUNK / 2, CHUNK / 2, 0x400),
                (CHUNK, CHUNK, 0x400 + CHUNK / 2),
                (2 * CHUNK, CHUNK, 0x400 + CHUNK * 3 / 2),
                (3 * CHUNK, CHUNK / 2, 0x400 + CHUNK * 5 / 2),
            ]
        );
    }
}
