//! [`Headers`]: the headers of a PE file, as far as any reader of UKIs looks.
//!
//! The structures are goblin's; its parser for whole files is not used, since it
//! looks into what a UKI's readers ignore (Rich header, symbols, long names,
//! certificates) and refuses good files, or panics, over what it finds there.

use std::io;

use goblin::pe::{
    header::{
        COFF_MACHINE_X86_64, CoffHeader, DOS_MAGIC, PE_MAGIC, PE_POINTER_OFFSET,
        SIZEOF_COFF_HEADER, SIZEOF_PE_MAGIC,
    },
    optional_header::{
        MAGIC_64, SIZEOF_STANDARD_FIELDS_64, SIZEOF_WINDOWS_FIELDS_64, StandardFields64,
        WindowsFields64,
    },
    section_table::SIZEOF_SECTION_TABLE,
};
use scroll::{
    Endian, LE, Pread as _,
    ctx::{SizeWith, TryFromCtx},
};

use super::{
    error::Error,
    identify::WrongFile,
    section::{RawName, Section},
};
use crate::{
    range::index,
    read_at::{ReadAt, fetch_prefix},
};

/// As much of the file as is read at once: it holds the headers of every UKI
/// but those with many profiles.
const PREFIX: u64 = 4096;
/// Where the DOS header says where the PE header is, `e_lfanew`.
const PE_POINTER: u64 = PE_POINTER_OFFSET as u64;
/// The size of the DOS header, and so the least `e_lfanew`.
const DOS_HEADER: u64 = 0x40;
/// The size of the PE signature and the COFF file header after it.
const COFF_HEADER: u64 = (SIZEOF_PE_MAGIC + SIZEOF_COFF_HEADER) as u64;
/// The size of a PE32+ optional header before its data directories.
const FIXED_OPTIONAL: u64 = (SIZEOF_STANDARD_FIELDS_64 + SIZEOF_WINDOWS_FIELDS_64) as u64;
/// The size of a data directory.
const DIRECTORY: u64 = 8;
/// The number of data directories that have a meaning.
const DIRECTORIES_MAX: u32 = 16;
/// The most that offsets of 32 bits can reach.
const FILE_MAX: u64 = 1 << 32;
/// The size of a section table entry.
const SECTION: u64 = SIZEOF_SECTION_TABLE as u64;
/// The same in fours of bytes.
const ENTRY: usize = SIZEOF_SECTION_TABLE / 4;
/// How much of the section table is read at once: what a processor's cache holds.
const AT_ONCE: u64 = 1000 * SECTION;
// systemd-stub reads section tables of at most 16 MiB (src/boot/pe.c); a 16-bit
// number of sections cannot pass that.
const _: () = assert!(u16::MAX as u64 * SECTION <= 16 << 20);

/// The headers of a PE32+ file for x86-64.
///
/// What is settled here holds for every reader of UKIs: the headers are where
/// they should be, of the right kind, and wholly inside the file. What they say
/// about the sections' content has not been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    /// The length of the file.
    pub file_len: u64,
    /// What the file is to run under.
    pub subsystem: u16,
    /// What every content's place in the file is a multiple of.
    pub file_alignment: u32,
    /// The size of the image in memory.
    pub size_of_image: u32,
    /// How many bytes firmware takes for headers.
    #[expect(clippy::struct_field_names, reason = "the PE format's own name for it")]
    pub size_of_headers: u32,
    /// The offset after the section table.
    pub table_end: u64,
    /// The offset of the optional header.
    pub optional_header: u64,
    /// The number of data directories that it ends with.
    pub data_directories: u32,
    /// The section table, in its order.
    pub sections: Vec<Section>,
}

impl Headers {
    /// Reads the headers of a file that some reading may accept as a UKI, or says
    /// what it is that none does.
    pub fn of_uki(source: &(impl ReadAt + ?Sized)) -> Result<Self, Error> {
        let headers = Self::read(source)?;
        match WrongFile::by_sections(source, &headers.sections)? {
            Some(wrong) => Err(wrong.into()),
            None => Ok(headers),
        }
    }

    /// Reads the headers up to the section table's end, and nothing else.
    pub fn read(source: &(impl ReadAt + ?Sized)) -> Result<Self, Error> {
        let file = Buffered::new(source)?;
        let at = pe_header_offset(&file)?;
        let coff = coff_header(&file, at)?;
        let table = Table::of(&coff, at);
        if coff.machine != COFF_MACHINE_X86_64 {
            let sections = table.read(&file).unwrap_or_default();
            return Err(WrongFile::other_machine(coff.machine, &sections).into());
        }
        let optional = at.saturating_add(COFF_HEADER);
        let fields = optional_header(&file, optional, &coff)?;
        Ok(Self {
            file_len: file.len,
            subsystem: fields.subsystem,
            file_alignment: fields.file_alignment,
            size_of_image: fields.size_of_image,
            size_of_headers: fields.size_of_headers,
            table_end: table.end(),
            optional_header: optional,
            data_directories: fields.number_of_rva_and_sizes,
            sections: table.read(&file)?,
        })
    }
}

/// A file with its first bytes at hand.
struct Buffered<'a, R: ?Sized> {
    source: &'a R,
    len: u64,
    prefix: Vec<u8>,
}

impl<'a, R: ReadAt + ?Sized> Buffered<'a, R> {
    fn new(source: &'a R) -> Result<Self, Error> {
        Ok(Self { source, len: source.len(), prefix: fetch_prefix(source, PREFIX)? })
    }

    /// Fills `buffer` with what is there from `offset` on.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = index(offset).saturating_add(buffer.len());
        match self.prefix.get(index(offset)..end) {
            Some(bytes) => buffer.copy_from_slice(bytes),
            None => self.source.read_exact_at(offset, buffer)?,
        }
        Ok(())
    }

    /// One of goblin's structures, or an integer.
    fn structure<T>(&self, offset: u64) -> io::Result<T>
    where
        T: SizeWith<Endian> + for<'b> TryFromCtx<'b, Endian, Error = scroll::Error>,
    {
        let mut bytes = vec![0; T::size_with(&LE)];
        self.read(offset, &mut bytes)?;
        bytes.pread_with(0, LE).map_err(io::Error::other)
    }
}

/// Where the PE header is: wholly inside the file.
fn pe_header_offset(file: &Buffered<'_, impl ReadAt + ?Sized>) -> Result<u64, Error> {
    if !file.prefix.starts_with(&DOS_MAGIC.to_le_bytes()) {
        return Err(WrongFile::by_content(file.source)?.into());
    }
    if file.len > FILE_MAX {
        return Err(Error::TooLong { len: file.len, max: FILE_MAX });
    }
    if file.len < DOS_HEADER {
        return Err(Error::DosHeaderCut { len: file.len, need: DOS_HEADER });
    }
    let at = u64::from(file.structure::<u32>(PE_POINTER)?);
    if at < DOS_HEADER || at.saturating_add(COFF_HEADER) > file.len {
        return Err(Error::PeHeaderOutside { at, file_len: file.len });
    }
    Ok(at)
}

fn coff_header(
    file: &Buffered<'_, impl ReadAt + ?Sized>,
    pe_header: u64,
) -> Result<CoffHeader, Error> {
    let signature = file.structure::<u32>(pe_header)?;
    if signature != PE_MAGIC {
        return Err(Error::PeSignature { at: pe_header, found: signature });
    }
    Ok(file.structure(pe_header.saturating_add(SIZEOF_PE_MAGIC as u64))?)
}

/// The PE32+ optional header at `offset`, but for its data directories.
///
/// Its size must be what the number of data directories makes it, neither more
/// nor less: systemd's rule (`src/shared/pe-binary.c`, `pe_load_headers`). Where
/// the two differ, tools find the section table in different places.
fn optional_header(
    file: &Buffered<'_, impl ReadAt + ?Sized>,
    offset: u64,
    coff: &CoffHeader,
) -> Result<WindowsFields64, Error> {
    let found = coff.size_of_optional_header;
    if u64::from(found) < FIXED_OPTIONAL {
        return Err(Error::OptionalHeaderCut { found, need: FIXED_OPTIONAL });
    }
    let end = offset.saturating_add(found.into());
    if end > file.len {
        return Err(Error::OptionalHeaderPastEnd { end, file_len: file.len });
    }
    let standard: StandardFields64 = file.structure(offset)?;
    if standard.magic != MAGIC_64 {
        return Err(Error::NotPe32Plus { found: standard.magic });
    }
    let fields: WindowsFields64 =
        file.structure(offset.saturating_add(SIZEOF_STANDARD_FIELDS_64 as u64))?;
    let directories = fields.number_of_rva_and_sizes;
    if directories > DIRECTORIES_MAX {
        return Err(Error::Directories { found: directories, max: DIRECTORIES_MAX });
    }
    let wanted = DIRECTORY.saturating_mul(directories.into()).saturating_add(FIXED_OPTIONAL);
    if u64::from(found) != wanted {
        return Err(Error::OptionalHeaderSize { found, directories, wanted });
    }
    Ok(fields)
}

/// Where the section table is.
struct Table {
    offset: u64,
    count: u16,
}

impl Table {
    fn of(coff: &CoffHeader, pe_header: u64) -> Self {
        let optional: u64 = coff.size_of_optional_header.into();
        Self {
            offset: pe_header.saturating_add(COFF_HEADER).saturating_add(optional),
            count: coff.number_of_sections,
        }
    }

    fn len(&self) -> u64 {
        SECTION.saturating_mul(self.count.into())
    }

    fn end(&self) -> u64 {
        self.offset.saturating_add(self.len())
    }

    fn read(&self, file: &Buffered<'_, impl ReadAt + ?Sized>) -> Result<Vec<Section>, Error> {
        if self.end() > file.len {
            return Err(Error::TablePastEnd {
                sections: self.count,
                end: self.end(),
                file_len: file.len,
            });
        }
        // As many as there are: a table may be all of its file, and a vector that
        // grows takes twice what it holds.
        let mut sections = Vec::with_capacity(self.count.into());
        let mut buffer = vec![0; index(self.len().min(AT_ONCE))];
        let mut offset = self.offset;
        while offset < self.end() {
            let rest = index(self.end().saturating_sub(offset));
            buffer.truncate(rest);
            file.read(offset, &mut buffer)?;
            let (entries, _) = buffer.as_chunks::<4>().0.as_chunks::<ENTRY>();
            sections.extend(entries.iter().map(section));
            offset = offset.saturating_add(AT_ONCE);
        }
        Ok(sections)
    }
}

/// PE format, "Section Table (Section Headers)": a name of eight bytes, then numbers,
/// all of it in fours of bytes.
///
/// Not by goblin, which looks names like `/4` up in a string table, as no reader of
/// UKIs does, and takes ten times as long: there are files with tens of thousands of
/// sections.
#[inline]
fn section(entry: &[[u8; 4]; ENTRY]) -> Section {
    let [name, name_end, size, address, raw_size, pointer, _, _, _, characteristics] = *entry;
    // Not by way of arrays: in a program made small they stay in memory, written by halves
    // and read whole, and a processor waits for that.
    let name_start = u64::from(u32::from_le_bytes(name));
    let name_end = u64::from(u32::from_le_bytes(name_end));
    let raw_name = RawName((name_end << 32 | name_start).to_le_bytes());
    Section {
        raw_name,
        name: raw_name.known(),
        virtual_size: u32::from_le_bytes(size),
        virtual_address: u32::from_le_bytes(address),
        size_of_raw_data: u32::from_le_bytes(raw_size),
        pointer_to_raw_data: u32::from_le_bytes(pointer),
        characteristics: u32::from_le_bytes(characteristics),
    }
}
