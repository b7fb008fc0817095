//! [`Layout`]: where in the file everything is that Authenticode treats by itself.

use std::io;

use thiserror::Error;

use crate::{
    range::FileRange,
    read_at::{ReadAt, fetch},
    uki::{Headers, RawName},
};

/// Where CheckSum is in the optional header.
const CHECK_SUM: u64 = 64;
/// Where the data directories begin in a PE32+ file's optional header.
const DIRECTORIES: u64 = 112;
/// The size of a data directory.
const DIRECTORY: u64 = 8;
/// Which one tells where the certificate table is.
const CERTIFICATES: u32 = 4;
/// What the certificate table's place and entries are multiples of.
pub(super) const ALIGNMENT: u64 = 8;

/// A file without gaps: headers, sections one after the other, certificate table.
///
/// The digest adds up the sections' sizes and takes what follows for the rest, so
/// that bytes in a gap, or in two sections, may not be in it. Whoever holds this
/// need not think of that: the digest is of all bytes but CheckSum, the certificate
/// table's directory entry and the table. All that ukify, objcopy and the signing
/// tools write is laid out so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The field CheckSum.
    pub check_sum: FileRange,
    /// The directory entry of the certificate table; empty where there are too few
    /// data directories for one.
    pub directory: FileRange,
    /// The certificate table, which ends where the file ends; empty if there is none.
    pub table: FileRange,
    /// The length of the file.
    pub file_len: u64,
}

/// How a file is laid out so that a signature cannot cover it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The headers cannot be read.
    #[error("the headers cannot be read")]
    Read(#[from] io::Error),
    /// Bytes that belong to nothing, or to two things.
    #[error(
        "section {section} begins at {found:#x} in the file, what is before it ends at \
         {wanted:#x}: the signature would not cover every byte once"
    )]
    Gap {
        /// The section after the gap, or within another.
        section: RawName,
        /// Where it begins.
        found: u64,
        /// Where it should.
        wanted: u64,
    },
    /// Bytes after the last section that are no certificate table.
    #[error(
        "the sections end at {end:#x}, the file at {file_len:#x}: what is between belongs to \
         nothing"
    )]
    After {
        /// Where the sections end.
        end: u64,
        /// Where the file ends.
        file_len: u64,
    },
    /// The certificate table is elsewhere.
    #[error(
        "the certificate table is said to be {size:#x} bytes at {found:#x}, it has to be all from \
         {wanted:#x} to the end of the file at {file_len:#x}"
    )]
    Table {
        /// Where it is said to be.
        found: u32,
        /// How long.
        size: u32,
        /// Where it has to be.
        wanted: u64,
        /// Where the file ends.
        file_len: u64,
    },
}

impl Layout {
    /// The layout of the file in `source`, which has those headers.
    ///
    /// Reads nothing but the directory entry.
    pub fn read(source: &(impl ReadAt + ?Sized), headers: &Headers) -> Result<Self, LayoutError> {
        let end = end_of_sections(headers)?;
        let (directory, entry) = directory(source, headers)?;
        let file_len = headers.file_len;
        let wanted = end.next_multiple_of(ALIGNMENT);
        let table = match entry {
            (0, 0) if end <= file_len && file_len <= wanted => FileRange::EMPTY,
            (0, 0) => return Err(LayoutError::After { end, file_len }),
            (found, size) => {
                let range = FileRange::new(found.into(), size.into());
                range
                    .filter(|range| range.offset() == wanted && range.end() == file_len)
                    .filter(|range| !range.is_empty())
                    .ok_or(LayoutError::Table { found, size, wanted, file_len })?
            }
        };
        let check_sum = range(headers.optional_header.saturating_add(CHECK_SUM), 4);
        Ok(Self { check_sum, directory, table, file_len })
    }
}

/// Where the certificate table is said to be, as far as it is in the file; empty
/// if there is none. Reads only the directory entry.
pub(super) fn table(source: &(impl ReadAt + ?Sized), headers: &Headers) -> io::Result<FileRange> {
    let (_, (offset, size)) = directory(source, headers)?;
    let range = FileRange::new(offset.into(), size.into());
    Ok(range.filter(|range| range.end() <= headers.file_len).unwrap_or(FileRange::EMPTY))
}

/// Where the certificate table's directory entry is, and what it says.
fn directory(
    source: &(impl ReadAt + ?Sized),
    headers: &Headers,
) -> io::Result<(FileRange, (u32, u32))> {
    if headers.data_directories <= CERTIFICATES {
        return Ok((FileRange::EMPTY, (0, 0)));
    }
    let before = DIRECTORIES.saturating_add(DIRECTORY.saturating_mul(CERTIFICATES.into()));
    let range = range(headers.optional_header.saturating_add(before), DIRECTORY);
    let bytes = fetch(source, range.offset(), range.len())?;
    let number = |at: usize| {
        bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u32::from_le_bytes)
    };
    Ok((range, (number(0), number(4))))
}

/// Where the sections end, one after the other from the end of the headers.
fn end_of_sections(headers: &Headers) -> Result<u64, LayoutError> {
    let sections = headers.sections.iter().filter(|section| section.size_of_raw_data != 0);
    let mut sections: Vec<_> = sections.collect();
    sections.sort_by_key(|section| section.pointer_to_raw_data);
    let mut wanted = u64::from(headers.size_of_headers);
    for section in sections {
        let range = section.raw_range();
        if range.offset() != wanted {
            let found = range.offset();
            return Err(LayoutError::Gap { section: section.raw_name, found, wanted });
        }
        wanted = range.end();
    }
    Ok(wanted)
}

fn range(offset: u64, len: u64) -> FileRange {
    FileRange::new(offset, len).unwrap_or(FileRange::EMPTY)
}
