//! [`Handed`]: what the kernel is given, as systemd-stub would give it.

use std::{io, str::Utf8Error};

use thiserror::Error;

use super::{
    Name, Section, Uki,
    cmdline::{append, mangle},
};
use crate::{
    plan::{Content, FileId, FileSlice, Piece},
    range::align_up,
    read_at::{ReadAt, fetch},
};

/// The longest section of text that is read.
pub const TEXT_MAX: u32 = 64 << 10;
/// Several initrd parts are padded to a multiple of this. `src/boot/initrd.c`,
/// `combine_initrds`.
const INITRD_ALIGN: u64 = 4;

/// What the user asked for, beside the UKI itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Which profile, counted from 0.
    pub profile: usize,
    /// The command line instead of the UKI's. An empty one is one too: it leaves
    /// the kernel none, which nobody can ask of the stub.
    pub cmdline: Option<String>,
    /// Words for the end of the command line.
    pub append: Vec<String>,
    /// Further initrds, after the UKI's.
    pub initrds: Vec<FileSlice>,
}

/// Why the UKI's content cannot be handed to a kernel.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The profile does not exist, or has no kernel.
    #[error(transparent)]
    Uki(#[from] super::Error),
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
    #[error("section {section} has {found:#x} bytes of text, at most {max:#x} are read")]
    TextTooLong {
        /// Which section.
        section: Name,
        /// Its length.
        found: u32,
        /// The most there may be.
        max: u32,
    },
    /// The stub would drop some of it silently.
    #[error("section {section} is not valid UTF-8 at offset {:#x}", source.valid_up_to())]
    NotUtf8 {
        /// Which section.
        section: Name,
        /// Where and how.
        #[source]
        source: Utf8Error,
    },
    /// More than can be counted.
    #[error("the initrd parts together have more than 2⁶⁴ bytes")]
    InitrdTooLong,
}

/// Where a part of the initrd comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InitrdOrigin {
    /// A section of the UKI.
    Section(Name),
    /// One of the user's, counted from 0.
    User(usize),
}

/// A part of the initrd; the kernel sees them one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitrdPart {
    /// Where it comes from.
    pub origin: InitrdOrigin,
    /// Its bytes; never none.
    pub content: Content,
    /// Its length with the NULs that follow it.
    pub padded_len: u64,
}

/// What the kernel is given: bytes, not yet places for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// The kernel's file.
    pub kernel: FileSlice,
    /// The initrd, in order; no parts if there is none.
    pub initrd: Vec<InitrdPart>,
    /// The command line, without a NUL.
    pub cmdline: Vec<u8>,
}

impl Handed {
    /// What systemd-stub hands over of `uki`, which was read from `source`.
    pub fn read(
        source: &(impl ReadAt + ?Sized),
        uki: &Uki,
        choice: &Choice,
    ) -> Result<Self, Error> {
        let profile = uki.profile(choice.profile)?;
        let embedded = profile.section(Name::Cmdline);
        Ok(Self {
            kernel: slice(profile.linux()?),
            initrd: padded(initrd_parts(profile.section(Name::Initrd), &choice.initrds))?,
            cmdline: cmdline(source, embedded, choice)?.into_bytes(),
        })
    }

    /// The length of the whole initrd.
    #[must_use]
    pub fn initrd_len(&self) -> u64 {
        self.initrd.iter().fold(0, |sum, part| part.padded_len.saturating_add(sum))
    }

    /// The initrd's parts as pieces of one placement.
    #[must_use]
    pub fn initrd_pieces(&self) -> Vec<Piece> {
        let mut end = 0_u64;
        let pieces = self.initrd.iter().map(|part| {
            let offset = end;
            end = end.saturating_add(part.padded_len);
            Piece { offset, content: part.content.clone() }
        });
        pieces.collect()
    }
}

fn slice(section: Section) -> FileSlice {
    FileSlice { file: FileId::UKI, range: section.range() }
}

/// The command line: the user's, or else the UKI's, and what is appended.
///
/// `src/boot/stub.c`, `settle_command_line`, as it is without Secure Boot: a
/// command line that is passed replaces the embedded one.
fn cmdline(
    source: &(impl ReadAt + ?Sized),
    embedded: Option<Section>,
    choice: &Choice,
) -> Result<String, Error> {
    let not_utf8 = |source| Error::NotUtf8 { section: Name::Cmdline, source };
    let base = match (&choice.cmdline, embedded) {
        (Some(given), _) => given.clone().into_bytes(),
        (None, Some(section)) => text(source, Name::Cmdline, section)?,
        (None, None) => Vec::new(),
    };
    let mut cmdline = mangle(&base).map_err(not_utf8)?;
    for words in &choice.append {
        append(&mut cmdline, &mangle(words.as_bytes()).map_err(not_utf8)?);
    }
    Ok(cmdline)
}

fn text(source: &(impl ReadAt + ?Sized), name: Name, section: Section) -> Result<Vec<u8>, Error> {
    let found = section.virtual_size;
    if found > TEXT_MAX {
        return Err(Error::TextTooLong { section: name, found, max: TEXT_MAX });
    }
    fetch(source, section.range().offset(), found.into())
        .map_err(|source| Error::Read { section: name, source })
}

/// The parts that have any bytes, in the stub's order (`src/boot/stub.c`,
/// `run`): the UKI's own, then what was added.
fn initrd_parts(embedded: Option<Section>, added: &[FileSlice]) -> Vec<(InitrdOrigin, Content)> {
    let embedded = embedded.map(|section| (InitrdOrigin::Section(Name::Initrd), slice(section)));
    let added = added.iter().enumerate().map(|(number, file)| (InitrdOrigin::User(number), *file));
    let parts = embedded.into_iter().chain(added);
    parts
        .filter(|(_, file)| !file.range.is_empty())
        .map(|(origin, file)| (origin, Content::File(file)))
        .collect()
}

/// Pads each part if there are several; a single one is handed over as it is.
/// `src/boot/initrd.c`, `combine_initrds`.
fn padded(parts: Vec<(InitrdOrigin, Content)>) -> Result<Vec<InitrdPart>, Error> {
    let align = if parts.len() > 1 { INITRD_ALIGN } else { 1 };
    let mut total = 0_u64;
    let mut padded = Vec::with_capacity(parts.len());
    for (origin, content) in parts {
        let padded_len = align_up(content.len(), align).ok_or(Error::InitrdTooLong)?;
        total = total.checked_add(padded_len).ok_or(Error::InitrdTooLong)?;
        padded.push(InitrdPart { origin, content, padded_len });
    }
    Ok(padded)
}
