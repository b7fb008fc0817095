//! [`Addon`]: a PE file that adds to a UKI.

use std::{io, str::Utf8Error};

use thiserror::Error;

use super::{
    Headers, Machine, Name, Reading, Section, WrongFile, cmdline::mangle, handed::TEXT_MAX, strict,
};
use crate::{
    plan::{FileId, FileSlice},
    read_at::{ReadAt, fetch},
};

/// What an addon adds, checked as a UKI is.
///
/// Addons know no profiles: of each name the first section in the whole table
/// holds (`src/boot/stub.c`, `load_addons`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addon {
    /// Its file.
    pub file: FileId,
    /// Words for the command line, mangled.
    pub cmdline: Option<String>,
    /// An initrd that follows the UKI's.
    pub initrd: Option<FileSlice>,
    /// Microcode that precedes the UKI's.
    pub ucode: Option<FileSlice>,
    /// The version of the only kernel that it is for.
    pub uname: Option<Release>,
}

/// Why a file is not accepted as an addon.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// For another machine.
    #[error("the file is for {0}, expected an addon for x86-64 (0x8664)")]
    OtherMachine(Machine),
    /// Not a PE file, or not a sound one.
    #[error("the file is no addon to UKIs")]
    File(#[source] super::Error),
    /// A UKI.
    #[error("the file is a UKI (section .linux), expected an addon, which has no kernel")]
    Kernel,
    /// The stub would pass it by.
    #[error("the file has none of .cmdline, .initrd and .ucode: it adds nothing for a kernel")]
    Nothing,
    /// A section cannot be read.
    #[error("section {section} cannot be read")]
    Read {
        /// Which one.
        section: Name,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Longer than any text should be.
    #[error("section {section} has {found:#x} bytes of text, at most {TEXT_MAX:#x} are read")]
    TextTooLong {
        /// Which section.
        section: Name,
        /// Its length.
        found: u32,
    },
    /// The stub would drop some of it silently.
    #[error("section .cmdline is not valid UTF-8 at offset {:#x}", .0.valid_up_to())]
    NotUtf8(#[source] Utf8Error),
}

impl Addon {
    /// Reads the addon in `file`, or says why it is not accepted as one.
    pub fn read(source: &(impl ReadAt + ?Sized), file: FileId) -> Result<Self, Error> {
        let headers = Headers::read(source).map_err(|error| match error {
            super::Error::WrongFile(WrongFile::OtherMachine { machine, .. }) => {
                Error::OtherMachine(machine)
            }
            error => Error::File(error),
        })?;
        let section = |name| {
            let mut all = headers.sections.iter().filter(|section| section.is(name));
            all.next().copied().filter(Section::is_set)
        };
        if section(Name::Linux).is_some() {
            return Err(Error::Kernel);
        }
        strict::check(&headers, Reading::Stub.rules()).map_err(Error::File)?;
        if [Name::Cmdline, Name::Initrd, Name::Ucode]
            .into_iter()
            .all(|name| section(name).is_none())
        {
            return Err(Error::Nothing);
        }
        let bytes = |name| section(name).map(|found| text(source, name, found)).transpose();
        let mangled = |raw: Vec<u8>| mangle(&raw).map_err(Error::NotUtf8);
        let slice = |name| section(name).map(|found| FileSlice { file, range: found.range() });
        Ok(Self {
            file,
            cmdline: bytes(Name::Cmdline)?.map(mangled).transpose()?,
            initrd: slice(Name::Initrd),
            ucode: slice(Name::Ucode),
            uname: bytes(Name::Uname)?.map(|raw| Release::new(&raw)),
        })
    }

    /// Whether it is for a UKI whose kernel has that version. Where either names
    /// none, it is.
    ///
    /// The stub compares only as many characters as the addon has, so that "6.1"
    /// would fit "6.12"; here, as the documentation has it, they must be equal.
    #[must_use]
    pub fn is_for(&self, kernel: Option<&Release>) -> bool {
        match (&self.uname, kernel) {
            (Some(wanted), Some(found)) => wanted == found,
            _ => true,
        }
    }
}

/// A kernel's version, from `.uname`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release(String);

impl Release {
    /// The version in `raw`, without what surrounds it.
    #[must_use]
    pub fn new(raw: &[u8]) -> Self {
        let text = String::from_utf8_lossy(raw);
        Self(text.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned())
    }

    /// The version as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_debug())
    }
}

fn text(source: &(impl ReadAt + ?Sized), name: Name, section: Section) -> Result<Vec<u8>, Error> {
    let found = section.virtual_size;
    if found > TEXT_MAX {
        return Err(Error::TextTooLong { section: name, found });
    }
    fetch(source, section.range().offset(), found.into())
        .map_err(|source| Error::Read { section: name, source })
}
