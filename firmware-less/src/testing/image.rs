//! Hand-made PE files.

use super::put;
use crate::uki::{RawName, Section};

/// The header fields that readers of UKIs look at, to be made wrong.
#[derive(Clone, Copy, Debug)]
pub struct PeHeader {
    /// Where the DOS header says that the PE header is.
    pub e_lfanew: u32,
    /// "PE\0\0".
    pub signature: [u8; 4],
    /// The architecture.
    pub machine: u16,
    /// The number of section table entries.
    pub number_of_sections: u16,
    /// The size of the optional header.
    pub size_of_optional_header: u16,
    /// The kind of optional header.
    pub magic: u16,
    /// What content's place in the file is a multiple of.
    pub file_alignment: u32,
    /// The size of the image in memory.
    pub size_of_image: u32,
    /// The size of all headers.
    pub size_of_headers: u32,
    /// What the file runs under.
    pub subsystem: u16,
    /// The number of data directories.
    pub number_of_rva_and_sizes: u32,
}

/// Which section to change, and how.
type SectionEdit = (usize, fn(&mut Section));

/// A PE file like those that ukify writes.
#[derive(Clone, Debug)]
#[must_use]
pub struct Image {
    sections: Vec<(RawName, Vec<u8>)>,
    pe_header_at: usize,
    header_edits: Vec<fn(&mut PeHeader)>,
    section_edits: Vec<SectionEdit>,
    after: Vec<u8>,
    len: Option<usize>,
}

const FILE_ALIGNMENT: usize = 0x200;
const SECTION_ALIGNMENT: u32 = 0x1000;
/// Initialised data, readable.
const CHARACTERISTICS: u32 = 0x4000_0040;

/// An image without any section; a UKI once it has `.linux`.
pub fn uki() -> Image {
    Image {
        sections: Vec::new(),
        pe_header_at: 0x40,
        header_edits: Vec::new(),
        section_edits: Vec::new(),
        after: Vec::new(),
        len: None,
    }
}

impl Image {
    /// Adds a section with that content.
    pub fn section(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let mut raw = [0; 8];
        raw[..name.len()].copy_from_slice(name.as_bytes());
        self.sections.push((RawName(raw), content.as_ref().to_vec()));
        self
    }

    /// Changes the table entry of the section added last.
    pub fn but(mut self, edit: fn(&mut Section)) -> Self {
        let last = self.sections.len() - 1;
        self.section_edits.push((last, edit));
        self
    }

    /// Changes header fields.
    pub fn header(mut self, edit: fn(&mut PeHeader)) -> Self {
        self.header_edits.push(edit);
        self
    }

    /// Puts the PE header there, and says so.
    pub fn pe_header_at(mut self, offset: usize) -> Self {
        self.pe_header_at = offset;
        self
    }

    /// Adds bytes after the last section.
    pub fn followed_by(mut self, after: impl AsRef<[u8]>) -> Self {
        self.after = after.as_ref().to_vec();
        self
    }

    /// Cuts the file short.
    pub fn cut_at(mut self, len: usize) -> Self {
        self.len = Some(len);
        self
    }

    /// The file's bytes.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let (mut header, mut sections) = self.lay_out();
        let table = self.pe_header_at + 24 + usize::from(header.size_of_optional_header);
        self.header_edits.iter().for_each(|edit| edit(&mut header));
        let mut file = Vec::new();
        for ((_, content), section) in self.sections.iter().zip(&sections) {
            put(&mut file, section.pointer_to_raw_data as usize, content);
            file.resize(file.len().next_multiple_of(FILE_ALIGNMENT), 0);
        }
        file.extend(&self.after);
        for (place, edit) in &self.section_edits {
            edit(&mut sections[*place]);
        }
        put_header(&mut file, self.pe_header_at, &header);
        for (place, section) in sections.iter().enumerate() {
            put_section(&mut file, table + 40 * place, section);
        }
        file.truncate(self.len.unwrap_or(file.len()));
        file
    }

    /// Everything where ukify would put it: content in the order given, aligned
    /// in the file and in memory.
    fn lay_out(&self) -> (PeHeader, Vec<Section>) {
        let count = self.sections.len();
        let headers = (self.pe_header_at + 24 + 240 + 40 * count).next_multiple_of(FILE_ALIGNMENT);
        let (mut offset, mut address) = (number(headers), SECTION_ALIGNMENT);
        let place = |(raw_name, content): &(RawName, Vec<u8>)| {
            let section = Section {
                raw_name: *raw_name,
                name: raw_name.known(),
                virtual_size: number(content.len()),
                virtual_address: address,
                size_of_raw_data: number(content.len().next_multiple_of(FILE_ALIGNMENT)),
                pointer_to_raw_data: offset,
                characteristics: CHARACTERISTICS,
            };
            offset += section.size_of_raw_data;
            address += section.virtual_size.next_multiple_of(SECTION_ALIGNMENT);
            section
        };
        let sections = self.sections.iter().map(place).collect();
        let header = PeHeader {
            e_lfanew: number(self.pe_header_at),
            signature: *b"PE\0\0",
            machine: 0x8664,
            number_of_sections: count.try_into().expect("at most 65535 sections"),
            size_of_optional_header: 240,
            magic: 0x20b,
            file_alignment: number(FILE_ALIGNMENT),
            size_of_image: address,
            size_of_headers: number(headers),
            subsystem: 10,
            number_of_rva_and_sizes: 16,
        };
        (header, sections)
    }
}

fn number(value: usize) -> u32 {
    value.try_into().expect("a file of at most 4 GiB")
}

fn put_header(file: &mut Vec<u8>, at: usize, header: &PeHeader) {
    put(file, 0, b"MZ");
    put(file, 0x3c, &header.e_lfanew.to_le_bytes());
    put(file, at, &header.signature);
    put(file, at + 4, &header.machine.to_le_bytes());
    put(file, at + 6, &header.number_of_sections.to_le_bytes());
    put(file, at + 20, &header.size_of_optional_header.to_le_bytes());
    let optional = at + 24;
    put(file, optional, &header.magic.to_le_bytes());
    put(file, optional + 32, &SECTION_ALIGNMENT.to_le_bytes());
    put(file, optional + 36, &header.file_alignment.to_le_bytes());
    put(file, optional + 56, &header.size_of_image.to_le_bytes());
    put(file, optional + 60, &header.size_of_headers.to_le_bytes());
    put(file, optional + 68, &header.subsystem.to_le_bytes());
    put(file, optional + 108, &header.number_of_rva_and_sizes.to_le_bytes());
    put(file, optional + 239, &[0]);
}

fn put_section(file: &mut Vec<u8>, at: usize, section: &Section) {
    put(file, at, &section.raw_name.0);
    put(file, at + 8, &section.virtual_size.to_le_bytes());
    put(file, at + 12, &section.virtual_address.to_le_bytes());
    put(file, at + 16, &section.size_of_raw_data.to_le_bytes());
    put(file, at + 20, &section.pointer_to_raw_data.to_le_bytes());
    put(file, at + 24, &[0; 12]);
    put(file, at + 36, &section.characteristics.to_le_bytes());
}
