//! The probe as a UKI.
//!
//! It has no code for firmware to run: that is systemd-stub's, and `ukify` adds it.

use super::kernel::{bzimage, le32, put};

/// The command line in it.
pub const CMDLINE: &str = "console=ttyS0 ukivm.probe";
const OSREL: &str = "ID=ukivm-probe\nNAME=\"ukivm probe\"\nPRETTY_NAME=\"ukivm probe\"\n";
/// An odd number of bytes, for which each digest takes another step.
const INITRD_LEN: usize = 4096 + 59;

const FILE_ALIGNMENT: usize = 0x200;
const SECTION_ALIGNMENT: usize = 0x1000;
const PE_AT: usize = 0x40;
const OPTIONAL_HEADER_LEN: usize = 240;
const SECTION_HEADER_LEN: usize = 40;
/// Where section headers begin: signature, COFF header, optional header.
const TABLE: usize = PE_AT + 24 + OPTIONAL_HEADER_LEN;
/// Initialised data, readable.
const CHARACTERISTICS: u32 = 0x4000_0040;

/// The initrd in it: bytes of which none is like its neighbours.
#[must_use]
pub fn initrd() -> Vec<u8> {
    (0..251).cycle().step_by(7).take(INITRD_LEN).collect()
}

/// A UKI with the probe as its kernel. PE/COFF specification, "PE Format".
#[must_use]
pub fn uki() -> Vec<u8> {
    let sections: [(&[u8], Vec<u8>); 4] = [
        (b".osrel", OSREL.into()),
        (b".cmdline", CMDLINE.into()),
        (b".initrd", initrd()),
        (b".linux", bzimage()),
    ];
    let table_len = sections.len().saturating_mul(SECTION_HEADER_LEN);
    let headers_len = TABLE.saturating_add(table_len).next_multiple_of(FILE_ALIGNMENT);
    let mut image = vec![0; headers_len];
    let mut address = SECTION_ALIGNMENT;
    for (place, (name, content)) in sections.iter().enumerate() {
        let header = TABLE.saturating_add(place.saturating_mul(SECTION_HEADER_LEN));
        let raw_len = content.len().next_multiple_of(FILE_ALIGNMENT);
        let at = |field: usize| header.saturating_add(field);
        let content_at = image.len();
        put(&mut image, header, name);
        put(&mut image, at(8), &le32(content.len()));
        put(&mut image, at(12), &le32(address));
        put(&mut image, at(16), &le32(raw_len));
        put(&mut image, at(20), &le32(content_at));
        put(&mut image, at(36), &CHARACTERISTICS.to_le_bytes());
        image.extend_from_slice(content);
        image.resize(content_at.saturating_add(raw_len), 0);
        address = address.saturating_add(content.len().next_multiple_of(SECTION_ALIGNMENT));
    }
    put_headers(&mut image, sections.len(), headers_len, address);
    image
}

fn put_headers(image: &mut [u8], sections: usize, headers_len: usize, image_len: usize) {
    put(image, 0, b"MZ");
    put(image, 0x3c, &le32(PE_AT));
    put(image, PE_AT, b"PE\0\0");
    let coff = PE_AT.saturating_add(4);
    let at = |field: usize| coff.saturating_add(field);
    put(image, coff, &0x8664_u16.to_le_bytes());
    put(image, at(2), &le32(sections)[..2]);
    put(image, at(16), &le32(OPTIONAL_HEADER_LEN)[..2]);
    // An executable image that may lie above 2 GiB, without symbols.
    put(image, at(18), &0x022e_u16.to_le_bytes());
    let at = |field: usize| coff.saturating_add(20).saturating_add(field);
    put(image, at(0), &0x20b_u16.to_le_bytes());
    put(image, at(32), &le32(SECTION_ALIGNMENT));
    put(image, at(36), &le32(FILE_ALIGNMENT));
    put(image, at(56), &le32(image_len));
    put(image, at(60), &le32(headers_len));
    // An EFI application.
    put(image, at(68), &10_u16.to_le_bytes());
    put(image, at(108), &16_u32.to_le_bytes());
}
