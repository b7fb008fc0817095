//! [`Vmlinux`]: the kernel proper, as a bzImage's payload unpacks to: an ELF file,
//! and the table of what is to be relocated behind it.
//!
//! arch/x86/boot/compressed/misc.c `parse_elf`, arch/x86/kernel/vmlinux.lds.S.

use goblin::{
    elf::header::{EI_CLASS, EI_DATA, ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_X86_64},
    elf64::{
        header::{Header, SIZEOF_EHDR},
        program_header::{PT_LOAD, ProgramHeader, SIZEOF_PHDR},
    },
};
use scroll::{LE, Pread as _};
use thiserror::Error;

use crate::range::{FileRange, GuestRange, index};

/// The most memory that a kernel may take: `KERNEL_IMAGE_SIZE` where its place is
/// chosen at random, which is where its own mapping ends.
/// arch/x86/include/asm/page_64_types.h.
pub const KERNEL_IMAGE_SIZE: u64 = 1 << 30;
/// The most segments looked at; a kernel has four or five.
const SEGMENTS_MAX: u16 = 64;

/// Why an unpacked kernel can't be entered by itself.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
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
    pub fn read(file: &[u8]) -> Result<Self, Error> {
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

    /// The kernel as it is to lie in memory, from its start to the last byte that
    /// the file has something for, out of the `file` that it was read from.
    #[must_use]
    pub fn image(&self, mut file: Vec<u8>) -> Vec<u8> {
        let (moves, len) = self.moves();
        // Each segment comes down, onto nothing that is still wanted.
        let in_place = moves.iter().all(|(from, to)| *to <= from.offset());
        if !in_place {
            return self.image_aside(&file);
        }
        let mut done = 0;
        for (from, to) in moves {
            let (start, end) = (index(from.offset()), index(from.end()));
            file.copy_within(start..end, index(to));
            if let Some(gap) = file.get_mut(done..index(to)) {
                gap.fill(0);
            }
            done = index(to.saturating_add(from.len()));
        }
        file.truncate(index(len));
        file
    }

    /// Which bytes of the file go to which offsets, and where the last ends.
    fn moves(&self) -> (Vec<(FileRange, u64)>, u64) {
        let start = self.range.start();
        let to = |segment: &Segment| segment.range.start().saturating_sub(start);
        let moves: Vec<_> =
            self.segments.iter().map(|segment| (segment.file, to(segment))).collect();
        let len = moves.iter().map(|(from, to)| to.saturating_add(from.len())).max();
        (moves, len.unwrap_or_default())
    }

    fn image_aside(&self, file: &[u8]) -> Vec<u8> {
        let (moves, len) = self.moves();
        let mut image = vec![0; index(len)];
        for (from, to) in moves {
            let end = to.saturating_add(from.len());
            let target = image.get_mut(index(to)..index(end));
            let source = file.get(index(from.offset())..index(from.end()));
            if let (Some(target), Some(source)) = (target, source) {
                target.copy_from_slice(source);
            }
        }
        image
    }
}

fn header(file: &[u8]) -> Result<Header, Error> {
    let header: Header = file.pread_with(0, LE).map_err(|_too_short| Error::NotElf)?;
    let ident = &header.e_ident;
    let class = (ident.get(EI_CLASS).copied(), ident.get(EI_DATA).copied());
    let fits = ident.starts_with(ELFMAG)
        && class == (Some(ELFCLASS64), Some(ELFDATA2LSB))
        && header.e_machine == EM_X86_64
        && usize::from(header.e_phentsize) == SIZEOF_PHDR
        && usize::from(header.e_ehsize) == SIZEOF_EHDR;
    if fits { Ok(header) } else { Err(Error::NotElf) }
}

fn segments(file: &[u8], header: &Header) -> Result<Vec<Segment>, Error> {
    let found = header.e_phnum;
    if found == 0 || found > SEGMENTS_MAX {
        return Err(Error::Segments { found });
    }
    let table = headers_in(file, "program headers", header.e_phoff, (found, header.e_phentsize))?;
    let mut segments: Vec<Segment> = Vec::new();
    for number in 0..u64::from(found) {
        let offset = table.offset().saturating_add(number.saturating_mul(SIZEOF_PHDR as u64));
        let segment: ProgramHeader =
            file.pread_with(index(offset), LE).map_err(|_checked_above| Error::NotElf)?;
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

fn loaded(file: &[u8], header: &ProgramHeader) -> Result<Segment, Error> {
    let &ProgramHeader { p_paddr, p_memsz, p_filesz, p_offset, .. } = header;
    let len = file.len() as u64;
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
fn behind_section_headers(file: &[u8], header: &Header) -> Result<FileRange, Error> {
    let shape = (header.e_shnum, header.e_shentsize);
    let table = headers_in(file, "section headers", header.e_shoff, shape)?;
    let len = (file.len() as u64).saturating_sub(table.end());
    // A file without any has nothing to tell where the table would begin.
    let none = header.e_shoff == 0;
    Ok(FileRange::new(table.end(), len).filter(|_| !none).unwrap_or(FileRange::EMPTY))
}

fn headers_in(
    file: &[u8],
    what: &'static str,
    offset: u64,
    (count, size): (u16, u16),
) -> Result<FileRange, Error> {
    let len = file.len() as u64;
    let at = FileRange::new(offset, u64::from(count).saturating_mul(size.into()));
    match at {
        Some(at) if at.end() <= len => Ok(at),
        _ => Err(Error::HeadersOutside { what, at: at.unwrap_or(FileRange::EMPTY), len }),
    }
}

#[cfg(test)]
mod tests;
