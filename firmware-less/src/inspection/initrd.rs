//! [`InitrdFacts`]: a part of the initrd, and what it consists of.

use std::io;

use super::{
    contents::Digest,
    segment::{RecordsMax, Segment, segments},
};
use crate::{
    plan::{Content, FileId, FileSlice},
    range::FileRange,
    read_at::ReadAt,
    uki::{Handed, Name, Profile, handed::InitrdOrigin},
};

/// A part of the initrd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitrdFacts {
    /// Where it comes from.
    pub origin: InitrdOrigin,
    /// Where it begins in the whole initrd.
    pub offset: u64,
    /// Its bytes.
    pub content: Content,
    /// What it consists of; places are those of its source.
    pub segments: Vec<Segment>,
    /// The digest of each segment in turn, if they were asked for.
    pub digests: Vec<Option<Digest>>,
}

/// The parts as they would be handed over; where nothing would be, `.ucode` and
/// `.initrd` of `profile`, as far as the file holds them.
pub(super) fn parts(handed: Option<&Handed>, profile: &Profile<'_>, len: u64) -> Vec<InitrdFacts> {
    let facts = |origin, offset, content| InitrdFacts {
        origin,
        offset,
        content,
        segments: Vec::new(),
        digests: Vec::new(),
    };
    if let Some(handed) = handed {
        let pieces = handed.initrd.iter().zip(handed.initrd_pieces());
        return pieces
            .map(|(part, piece)| facts(part.origin, piece.offset, piece.content))
            .collect();
    }
    let sections = [Name::Ucode, Name::Initrd].into_iter();
    let there = sections.filter_map(|name| Some((name, profile.section(name)?)));
    let parts = there.map(|(name, section)| {
        let said = section.range().take(section.size_of_raw_data.into());
        let range = said.take(len.saturating_sub(said.offset()));
        let content = Content::File(FileSlice { file: FileId::UKI, range });
        facts(InitrdOrigin::Section(name), 0, content)
    });
    parts.collect()
}

/// The segments of a part, which lies in one of `files` or at hand.
pub(super) fn of_part(
    content: &Content,
    files: &[&dyn ReadAt],
    records_max: RecordsMax,
) -> io::Result<Vec<Segment>> {
    match content {
        Content::Bytes(bytes) => {
            let whole = FileRange::first(bytes.len() as u64);
            segments(bytes, whole, records_max)
        }
        Content::File(slice) => {
            let file = files.get(slice.file.0).ok_or(io::ErrorKind::NotFound)?;
            segments(*file, slice.range, records_max)
        }
    }
}
