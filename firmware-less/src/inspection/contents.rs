//! [`Contents`]: what a section holds, for people to see and to compare.

use std::{collections::HashMap, io};

use sha2::{Digest as _, Sha256};

use crate::{
    range::{FileRange, index},
    read_at::{ReadAt, fetch},
    uki::{Headers, Name, Section},
};

/// A SHA-256.
pub type Digest = [u8; 32];

/// The longest text that is read; `.pcrsig` grows with each key, bank and phase.
const TEXT_MAX: u64 = 1 << 20;
/// How much is hashed at once.
const CHUNK: u64 = 1 << 18;

/// What is known of a section beside its table entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Where it is: VirtualSize bytes or SizeOfRawData, whichever is less, as
    /// ukify has it (`pe_section_size`), and as much of that as the file holds.
    pub range: FileRange,
    /// What the smaller of the two says, be it in the file or not.
    pub size: u64,
    /// Its bytes, if they are text and not too many.
    pub text: Option<Vec<u8>>,
    /// Its digest, if it was asked for.
    pub sha256: Option<Digest>,
}

impl Contents {
    /// The text as ukify's `inspect` shows it: NULs at the end cut, others made
    /// `\0`; an error where it is not UTF-8.
    #[must_use]
    pub fn shown(&self) -> Option<Result<String, std::str::Utf8Error>> {
        let mut text = self.text.as_deref()?;
        while let Some(shorter) = text.strip_suffix(&[0]) {
            text = shorter;
        }
        Some(str::from_utf8(text).map(|text| text.replace('\0', "\\0")))
    }

    /// The text, with what is not UTF-8 replaced.
    #[must_use]
    pub fn lossy(&self) -> Option<String> {
        self.text.as_deref().map(|text| String::from_utf8_lossy(text).into_owned())
    }
}

/// Whether sections of that name hold text.
#[must_use]
pub fn is_text(name: Name) -> bool {
    matches!(
        name,
        Name::Osrel
            | Name::Cmdline
            | Name::Uname
            | Name::Sbat
            | Name::Pcrsig
            | Name::Pcrpkey
            | Name::Profile
    )
}

/// The contents of every section, in the order of the table, without digests.
pub(super) fn read(
    source: &(impl ReadAt + ?Sized),
    headers: &Headers,
) -> io::Result<Vec<Contents>> {
    // Sections may overlap: no more is kept than the file has.
    let mut budget = headers.file_len;
    // Exactly as many as there are: a table may be all of its file.
    let mut contents = Vec::with_capacity(headers.sections.len());
    for section in &headers.sections {
        let (size, range) = place(section, headers.file_len);
        let wanted = section.name.is_some_and(|name| is_text(name) || name == Name::Sdmagic);
        let left = budget.checked_sub(range.len()).filter(|_| wanted && range.len() <= TEXT_MAX);
        let text = left.map(|_| fetch(source, range.offset(), range.len())).transpose()?;
        budget = left.unwrap_or(budget);
        contents.push(Contents { range, size, text, sha256: None });
    }
    Ok(contents)
}

/// The size of a section's content, and what the file has of it.
fn place(section: &Section, file_len: u64) -> (u64, FileRange) {
    let said = section.range().take(section.size_of_raw_data.into());
    let there = file_len.saturating_sub(said.offset());
    let range = if there == 0 { FileRange::EMPTY } else { said.take(there) };
    (said.len(), range)
}

/// Computes the digests of ranges of a file, each once.
pub(super) struct Hasher<'a, R: ?Sized> {
    source: &'a R,
    known: HashMap<FileRange, Digest>,
    buffer: Vec<u8>,
    /// How much more may be hashed: there are files with tens of thousands of
    /// sections that overlap.
    budget: u64,
    hashed: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<'a, R: ReadAt + ?Sized> Hasher<'a, R> {
    /// Tells `progress` after each piece how many bytes have been hashed.
    pub(super) fn new(source: &'a R, progress: &'a mut dyn FnMut(u64)) -> Self {
        let budget = source.len().saturating_mul(2);
        Self { source, known: HashMap::new(), buffer: Vec::new(), budget, hashed: 0, progress }
    }

    /// The digest of `range`; `None` where too much has been hashed already.
    pub(super) fn digest(&mut self, range: FileRange) -> io::Result<Option<Digest>> {
        if let Some(known) = self.known.get(&range) {
            return Ok(Some(*known));
        }
        let Some(left) = self.budget.checked_sub(range.len()) else { return Ok(None) };
        self.budget = left;
        let mut hash = Sha256::new();
        let mut rest = range;
        self.buffer.resize(index(CHUNK), 0);
        while !rest.is_empty() {
            let step = rest.len().min(CHUNK);
            let chunk = self.buffer.get_mut(..index(step)).unwrap_or_default();
            self.source.read_exact_at(rest.offset(), chunk)?;
            hash.update(&*chunk);
            self.hashed = self.hashed.saturating_add(step);
            (self.progress)(self.hashed);
            rest = rest.skip(step).unwrap_or(FileRange::EMPTY);
        }
        let digest = hash.finalize().into();
        self.known.insert(range, digest);
        Ok(Some(digest))
    }
}
