//! `Error`: why a file is not accepted as a UKI.

use std::io;

use thiserror::Error;

use super::{
    identify::WrongFile,
    section::{Name, RawName},
};

/// Why a file is not accepted as a UKI.
///
/// Refused is what systemd-stub, bootctl, ukify and the firmware would read
/// differently or not at all; accepted is everything that ukify, objcopy and
/// signing tools write.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The headers cannot be read.
    #[error("the headers cannot be read")]
    Read(#[from] io::Error),
    /// Not a UKI for this machine at all.
    #[error(transparent)]
    WrongFile(#[from] WrongFile),
    /// Longer than a PE file can be.
    #[error("the file has {len:#x} bytes, a PE file's offsets reach only {max:#x}")]
    TooLong {
        /// The file's length.
        len: u64,
        /// The longest there can be.
        max: u64,
    },
    /// Ends within the DOS header.
    #[error("the file has {len:#x} bytes, its DOS header alone has {need:#x}: it is cut short")]
    DosHeaderCut {
        /// The file's length.
        len: u64,
        /// The header's.
        need: u64,
    },
    /// The PE header is not in the file, or within the DOS header.
    #[error("the PE header is at {at:#x} (e_lfanew), in a file of {file_len:#x} bytes")]
    PeHeaderOutside {
        /// Where it should be.
        at: u64,
        /// The file's length.
        file_len: u64,
    },
    /// No PE header where it should be.
    #[error("the PE signature at {at:#x} is {found:#010x}, expected 0x00004550 (\"PE\")")]
    PeSignature {
        /// Where it should be.
        at: u64,
        /// What is there.
        found: u32,
    },
    /// The optional header lacks fields that images must have.
    #[error("SizeOfOptionalHeader is {found:#x}, a PE32+ file's is at least {need:#x}")]
    OptionalHeaderCut {
        /// Its size.
        found: u16,
        /// The size of the fields before the data directories.
        need: u64,
    },
    /// The optional header is not wholly in the file.
    #[error("the optional header ends at {end:#x}, past the end of the file at {file_len:#x}")]
    OptionalHeaderPastEnd {
        /// Where it ends.
        end: u64,
        /// The file's length.
        file_len: u64,
    },
    /// A 32-bit PE file that says it is for x86-64.
    #[error("the optional header's magic is {found:#x}, expected 0x20b (PE32+)")]
    NotPe32Plus {
        /// The magic.
        found: u16,
    },
    /// More data directories than have a meaning.
    #[error("NumberOfRvaAndSizes is {found:#x}, there are at most {max:#x} data directories")]
    Directories {
        /// Their number.
        found: u32,
        /// The most there can be.
        max: u32,
    },
    /// Tools would find the section table in different places.
    #[error(
        "SizeOfOptionalHeader is {found:#x}, with {directories:#x} data directories it must be \
         {wanted:#x}"
    )]
    OptionalHeaderSize {
        /// The size it says.
        found: u16,
        /// The number of data directories.
        directories: u32,
        /// The size they make it.
        wanted: u64,
    },
    /// The section table is not wholly in the file.
    #[error(
        "the table of {sections:#x} sections ends at {end:#x}, past the end of the file at \
         {file_len:#x}"
    )]
    TablePastEnd {
        /// The number of sections.
        sections: u16,
        /// Where the table ends.
        end: u64,
        /// The file's length.
        file_len: u64,
    },
    /// Not an EFI application.
    #[error("the subsystem is {found:#x}, a UKI's is {wanted:#x} (EFI application)")]
    Subsystem {
        /// The subsystem.
        found: u16,
        /// The one for EFI applications.
        wanted: u16,
    },
    /// Firmware would not find all of the section table.
    #[error("SizeOfHeaders is {size_of_headers:#x}, but the section table ends at {table_end:#x}")]
    HeadersCut {
        /// The size of all headers.
        size_of_headers: u32,
        /// Where the section table ends.
        table_end: u64,
    },
    /// A section begins within the headers.
    #[error(
        "section {section} begins at {pointer:#x}, within the headers (SizeOfHeaders is \
         {size_of_headers:#x})"
    )]
    WithinHeaders {
        /// Which section.
        section: RawName,
        /// Where it begins.
        pointer: u32,
        /// The size of all headers.
        size_of_headers: u32,
    },
    /// Some tools ignore what follows a name's NUL, others take it for another name.
    #[error("section {name} has other bytes than NUL after its name: {raw:?}")]
    BytesAfterName {
        /// The name up to the NUL.
        name: Name,
        /// All of it.
        raw: RawName,
    },
    /// A section that the file does not hold.
    #[error("section {section} ends at {end:#x}, past the end of the file at {file_len:#x}")]
    PastEndOfFile {
        /// Which section.
        section: RawName,
        /// Where it ends.
        end: u64,
        /// The file's length.
        file_len: u64,
    },
    /// Content that is not all in the file; no two tools agree on the rest of it.
    #[error(
        "section {section} has VirtualSize {virtual_size:#x}, more than its SizeOfRawData \
         {size_of_raw_data:#x}: ukify and objcopy write the content's exact length as VirtualSize"
    )]
    VirtualSize {
        /// Which section.
        section: RawName,
        /// Its length in memory.
        virtual_size: u32,
        /// Its length in the file.
        size_of_raw_data: u32,
    },
    /// Some tools round such an offset down.
    #[error(
        "section {section} is at {pointer:#x} in the file, not at a multiple of FileAlignment \
         {file_alignment:#x}"
    )]
    Unaligned {
        /// Which section.
        section: RawName,
        /// Where it begins.
        pointer: u32,
        /// What that should be a multiple of.
        file_alignment: u32,
    },
    /// Firmware would not load it.
    #[error("section {section} ends at address {end:#x}, past SizeOfImage {size_of_image:#x}")]
    PastImage {
        /// Which section.
        section: RawName,
        /// Where it ends in memory.
        end: u64,
        /// Where the image ends in memory.
        size_of_image: u32,
    },
    /// Two sections of one name, of which some tools take the first and some the last.
    #[error(
        "section {section} occurs twice in one profile, as entries {first:#x} and {second:#x} of \
         the section table"
    )]
    Duplicate {
        /// Which section.
        section: Name,
        /// Place of the first in the section table.
        first: usize,
        /// Place of the second.
        second: usize,
    },
    /// Two sections share bytes of the file.
    #[error(
        "section {second} begins at {second_start:#x} in the file, before section {first} ends at \
         {first_end:#x}"
    )]
    OverlapInFile {
        /// The one that begins earlier.
        first: RawName,
        /// Where it ends.
        first_end: u64,
        /// The one that begins within it.
        second: RawName,
        /// Where it begins.
        second_start: u64,
    },
    /// Two sections share addresses: firmware would load one over the other.
    #[error(
        "section {second} begins at address {second_start:#x}, before section {first} ends at \
         {first_end:#x}"
    )]
    OverlapInMemory {
        /// The one that begins earlier.
        first: RawName,
        /// Where it ends.
        first_end: u64,
        /// The one that begins within it.
        second: RawName,
        /// Where it begins.
        second_start: u64,
    },
    /// A kernel of no bytes.
    #[error("section .linux is empty (VirtualSize 0x0): there is no kernel")]
    EmptyLinux,
    /// A kernel in some profiles, but not in this one.
    #[error("profile {profile} has no kernel: .linux is missing or masked by an empty one")]
    NoLinux {
        /// Which profile.
        profile: usize,
    },
    /// A profile that there is not.
    #[error("there is no profile {wanted}: {}", available(*.count))]
    NoSuchProfile {
        /// Its number.
        wanted: usize,
        /// How many there are.
        count: usize,
    },
}

fn available(count: usize) -> String {
    match count.checked_sub(1) {
        None => "this UKI has no profiles, so only 0 will do".to_owned(),
        Some(0) => "this UKI has only profile 0".to_owned(),
        Some(last) => format!("this UKI has profiles 0 to {last}"),
    }
}
