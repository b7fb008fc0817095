//! PE files without code. PE/COFF specification, "PE Format".

use super::kernel::{le32, put};

const FILE_ALIGNMENT: usize = 0x200;
const SECTION_ALIGNMENT: usize = 0x1000;
const PE_AT: usize = 0x40;
const OPTIONAL_HEADER_LEN: usize = 240;
const SECTION_HEADER_LEN: usize = 40;
/// Where section headers begin: behind signature, COFF header, optional header.
const TABLE: usize = PE_AT + 24 + OPTIONAL_HEADER_LEN;
/// Initialised data, readable.
const CHARACTERISTICS: u32 = 0x4000_0040;

/// A section's header.
pub(super) struct Section {
    name: &'static str,
    len: usize,
    address: usize,
    file_offset: usize,
}

impl Section {
    /// A section of `len` bytes, at `file_offset` in the file and at `address` in memory.
    pub(super) fn new(name: &'static str, len: usize, address: usize, file_offset: usize) -> Self {
        Self { name, len, address, file_offset }
    }
}

/// A file with these sections.
pub(super) fn image(contents: &[(&'static str, Vec<u8>)]) -> Vec<u8> {
    let table_len = contents.len().saturating_mul(SECTION_HEADER_LEN);
    let mut image = vec![0; TABLE.saturating_add(table_len).next_multiple_of(FILE_ALIGNMENT)];
    let mut sections = Vec::with_capacity(contents.len());
    let mut address = SECTION_ALIGNMENT;
    for (name, content) in contents {
        sections.push(Section::new(name, content.len(), address, image.len()));
        image.extend_from_slice(content);
        image.resize(image.len().next_multiple_of(FILE_ALIGNMENT), 0);
        address = address.saturating_add(content.len().next_multiple_of(SECTION_ALIGNMENT));
    }
    put_headers(&mut image, &sections, address);
    image
}

/// Puts all headers of a file that takes `image_len` bytes of memory.
pub(super) fn put_headers(image: &mut [u8], sections: &[Section], image_len: usize) {
    let table_len = sections.len().saturating_mul(SECTION_HEADER_LEN);
    let headers_len = TABLE.saturating_add(table_len).next_multiple_of(FILE_ALIGNMENT);
    put(image, 0, b"MZ");
    put(image, 0x3c, &le32(PE_AT));
    put(image, PE_AT, b"PE\0\0");
    let at = |field: usize| PE_AT.saturating_add(4).saturating_add(field);
    put(image, at(0), &0x8664_u16.to_le_bytes());
    put(image, at(2), &le32(sections.len())[..2]);
    put(image, at(16), &le32(OPTIONAL_HEADER_LEN)[..2]);
    // An executable image that may lie above 2 GiB, without symbols.
    put(image, at(18), &0x022e_u16.to_le_bytes());
    let at = |field: usize| PE_AT.saturating_add(24).saturating_add(field);
    put(image, at(0), &0x20b_u16.to_le_bytes());
    put(image, at(32), &le32(SECTION_ALIGNMENT));
    put(image, at(36), &le32(FILE_ALIGNMENT));
    put(image, at(56), &le32(image_len));
    put(image, at(60), &le32(headers_len));
    // An EFI application.
    put(image, at(68), &10_u16.to_le_bytes());
    put(image, at(108), &16_u32.to_le_bytes());
    for (place, section) in sections.iter().enumerate() {
        let header = TABLE.saturating_add(place.saturating_mul(SECTION_HEADER_LEN));
        let at = |field: usize| header.saturating_add(field);
        put(image, header, section.name.as_bytes());
        put(image, at(8), &le32(section.len));
        put(image, at(12), &le32(section.address));
        put(image, at(16), &le32(section.len.next_multiple_of(FILE_ALIGNMENT)));
        put(image, at(20), &le32(section.file_offset));
        put(image, at(36), &CHARACTERISTICS.to_le_bytes());
    }
}
