//! [`Vmlinux`]: the kernel proper, as a bzImage's payload unpacks to: an ELF file,
//! and the table of what is to be relocated behind it.
//!
//! arch/x86/boot/compressed/misc.c `parse_elf`, arch/x86/kernel/vmlinux.lds.S.

use std::io;

use goblin::{
    elf::header::{EI_CLASS, EI_DATA, ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_X86_64},
    elf64::{
        header::{Header, SIZEOF_EHDR},
        program_header::{PT_LOAD, ProgramHeader, SIZEOF_PHDR},
    },
};
use scroll::{LE, Pread as _};
use thiserror::Error;

use crate::{
    plan::{Content, FileId, FileSlice, Piece},
    range::{FileRange, GuestRange},
    read_at::{ReadAt, fetch, fetch_prefix},
};

/// The most memory that a kernel may take: `KERNEL_IMAGE_SIZE` where its place is
/// chosen at random, which is where its own mapping ends.
/// arch/x86/include/asm/page_64_types.h.
pub const KERNEL_IMAGE_SIZE: u64 = 1 << 30;
/// The most segments looked at; a kernel has four or five.
const SEGMENTS_MAX: u16 = 64;

/// Why an unpacked kernel can't be entered by itself.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// It can't be read.
    #[error("the unpacked kernel can't be read")]
    Read(#[source] io::Error),
    /// Not an ELF file, or not one for these processors.
    #[error("what the kernel's payload unpacks to is no 64-bit ELF file for x86-64")]
    NotElf,
    /// Headers outside the file.
    #[error("the unpacked kernel's {what} lie at {at}, past its end at {len:#x}")]
    HeadersOutside {
        /// Which headers.
        what: &'static str,
        /// Where they are said to be.
        at: FileRange,
        /// The file's length in bytes.
        len: u64,
    },
    /// More segments than any kernel has.
    #[error("the unpacked kernel has {found} program headers, expected 1 to {SEGMENTS_MAX}")]
    Segments {
        /// How many.
        found: u16,
    },
    /// A segment that can't be loaded.
    #[error(
        "the unpacked kernel's segment for {address:#x} takes {memsz:#x} bytes of memory and {filesz:#x} \
         from {offset:#x} of a file of {len:#x}"
    )]
    Segment {
        /// Its physical address.
        address: u64,
        /// Bytes of memory.
        memsz: u64,
        /// Bytes of the file.
        filesz: u64,
        /// From where in the file.
        offset: u64,
        /// The file's length in bytes.
        len: u64,
    },
    /// Segments over each other or out of order.
    #[error("the unpacked kernel's segment at {second} is not above the one at {first}")]
    Order {
        /// The one before.
        first: GuestRange,
        /// The one that comes next.
        second: GuestRange,
    },
    /// Larger than any kernel may be.
    #[error(
        "the unpacked kernel takes {found:#x} bytes, a kernel takes {KERNEL_IMAGE_SIZE:#x} at most"
    )]
    Large {
        /// How much it takes.
        found: u64,
    },
    /// Enters itself elsewhere.
    #[error("the unpacked kernel's entry point {entry:#x} is not in {range}")]
    Entry {
        /// Where it is.
        entry: u64,
        /// Where the kernel is.
        range: GuestRange,
    },
}

/// A part of the file that is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    file: FileRange,
    /// Where it is linked to be, as a physical address.
    range: GuestRange,
}

/// An unpacked kernel's headers, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vmlinux {
    /// Ascending in memory.
    segments: Vec<Segment>,
    range: GuestRange,
    entry: u64,
    relocations: FileRange,
}

impl Vmlinux {
    /// Reads the headers of an unpacked kernel, or says why it can't be entered.
    pub fn read(file: &(impl ReadAt + ?Sized)) -> Result<Self, Error> {
        let header = header(file)?;
        let segments = segments(file, &header)?;
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
            return Err(Error::Segments { found: 0 });
        };
        let range = GuestRange::between(first.range.start(), last.range.end());
        let range = range
            .filter(|range| range.len() <= KERNEL_IMAGE_SIZE)
            .ok_or(Error::Large { found: last.range.end().wrapping_sub(first.range.start()) })?;
        let entry = header.e_entry;
        if !range.contains_address(entry) {
            return Err(Error::Entry { entry, range });
        }
        let relocations = behind_section_headers(file, &header)?;
        Ok(Self { segments, range, entry, relocations })
    }

    /// The memory that it takes where it is linked to be, as physical addresses;
    /// what no file is behind is zero.
    #[must_use]
    pub fn range(&self) -> GuestRange {
        self.range
    }

    /// How far its entry point is from its start.
    #[must_use]
    pub fn entry_offset(&self) -> u64 {
        self.entry.saturating_sub(self.range.start())
    }

    /// What follows the ELF file: the table of relocations, or nothing.
    #[must_use]
    pub fn relocations(&self) -> FileRange {
        self.relocations
    }

    /// Its segments as the pieces of a placement of [`Vmlinux::range`], out of `file`,
    /// which it was read from.
    #[must_use]
    pub fn pieces(&self, file: FileId) -> Vec<Piece> {
        let start = self.range.start();
        let piece = |segment: &Segment| Piece {
            offset: segment.range.start().saturating_sub(start),
            content: Content::File(FileSlice { file, range: segment.file }),
        };
        self.segments.iter().filter(|segment| !segment.file.is_empty()).map(piece).collect()
    }
}

fn header(file: &(impl ReadAt + ?Sized)) -> Result<Header, Error> {
    let bytes = fetch_prefix(file, SIZEOF_EHDR as u64).map_err(Error::Read)?;
    let header: Header = bytes.pread_with(0, LE).map_err(|_too_short| Error::NotElf)?;
    let ident = &header.e_ident;
    let class = (ident.get(EI_CLASS).copied(), ident.get(EI_DATA).copied());
    let fits = ident.starts_with(ELFMAG)
        && class == (Some(ELFCLASS64), Some(ELFDATA2LSB))
        && header.e_machine == EM_X86_64
        && usize::from(header.e_phentsize) == SIZEOF_PHDR
        && usize::from(header.e_ehsize) == SIZEOF_EHDR;
    if fits { Ok(header) } else { Err(Error::NotElf) }
}

fn segments(file: &(impl ReadAt + ?Sized), header: &Header) -> Result<Vec<Segment>, Error> {
    let found = header.e_phnum;
    if found == 0 || found > SEGMENTS_MAX {
        return Err(Error::Segments { found });
    }
    let table = headers_in(file, "program headers", header.e_phoff, (found, header.e_phentsize))?;
    let table = fetch(file, table.offset(), table.len()).map_err(Error::Read)?;
    let mut segments: Vec<Segment> = Vec::new();
    for bytes in table.chunks_exact(SIZEOF_PHDR) {
        let segment: ProgramHeader =
            bytes.pread_with(0, LE).map_err(|_as_long_as_one| Error::NotElf)?;
        if segment.p_type != PT_LOAD || segment.p_memsz == 0 {
            continue;
        }
        let segment = loaded(file, &segment)?;
        if let Some(last) = segments.last()
            && segment.range.start() < last.range.end()
        {
            return Err(Error::Order { first: last.range, second: segment.range });
        }
        segments.push(segment);
    }
    Ok(segments)
}

fn loaded(file: &(impl ReadAt + ?Sized), header: &ProgramHeader) -> Result<Segment, Error> {
    let &ProgramHeader { p_paddr, p_memsz, p_filesz, p_offset, .. } = header;
    let len = file.len();
    let range = GuestRange::new(p_paddr, p_memsz);
    let bytes = FileRange::new(p_offset, p_filesz).filter(|bytes| bytes.end() <= len);
    match (range, bytes) {
        (Some(range), Some(file)) if p_filesz <= p_memsz => Ok(Segment { file, range }),
        _ => Err(Error::Segment {
            address: p_paddr,
            memsz: p_memsz,
            filesz: p_filesz,
            offset: p_offset,
            len,
        }),
    }
}

/// Section headers are the last of the file: the table of relocations is put
/// behind. arch/x86/boot/compressed/Makefile, `vmlinux.bin.all`.
fn behind_section_headers(
    file: &(impl ReadAt + ?Sized),
    header: &Header,
) -> Result<FileRange, Error> {
    let shape = (header.e_shnum, header.e_shentsize);
    let table = headers_in(file, "section headers", header.e_shoff, shape)?;
    let len = (file.len()).saturating_sub(table.end());
    // A file without any has nothing to tell where the table would begin.
    let none = header.e_shoff == 0;
    Ok(FileRange::new(table.end(), len).filter(|_| !none).unwrap_or(FileRange::EMPTY))
}

fn headers_in(
    file: &(impl ReadAt + ?Sized),
    what: &'static str,
    offset: u64,
    (count, size): (u16, u16),
) -> Result<FileRange, Error> {
    let len = file.len();
    let at = FileRange::new(offset, u64::from(count).saturating_mul(size.into()));
    match at {
        Some(at) if at.end() <= len => Ok(at),
        _ => Err(Error::HeadersOutside { what, at: at.unwrap_or(FileRange::EMPTY), len }),
    }
}

#[cfg(test)]
mod tests;
