//! [`unpack`]: a part of an initrd with all that is packed in it unpacked.

use std::{fmt, io};

use super::{
    ALIGN, Error, Format,
    follow::{Before, Next, congruent, follow},
    packed::member,
};
use crate::{
    range::{FileRange, index},
    read_at::{ReadAt, fetch},
};

/// How many bytes tell what something is.
const MAGIC: u64 = 2;

/// A part of an initrd, as the kernel comes to it: behind it whatever parts there are,
/// before it nothing that would be still open.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Its bytes. It begins at a multiple of 4 in the whole initrd.
    pub bytes: &'a [u8],
    /// Whether no other follows it.
    pub is_last: bool,
}

/// A part with all that could be unpacked unpacked.
#[derive(Debug)]
pub struct Unpacked {
    /// Its bytes now.
    pub bytes: Vec<u8>,
    /// How what was unpacked was packed, in order; none where nothing was.
    pub formats: Vec<Format>,
    /// What of it is as it was, if not all was followed to the end.
    pub rest: Option<Rest>,
}

/// A rest that is as it was, for the kernel to see to.
#[derive(Debug)]
pub struct Rest {
    /// Where it began in the part as it was.
    pub at: u64,
    /// Why.
    pub why: Why,
}

/// Why something is left to the kernel.
#[derive(Debug)]
pub enum Why {
    /// No archive that would be one from end to end.
    NoArchive,
    /// Nothing that is unpacked here, and perhaps nothing at all.
    Unknown,
    /// What it unpacks to is not archives.
    NotArchives(Format),
    /// It can't be unpacked.
    Packed(Error),
}

impl Rest {
    /// Whether it may stand behind what was unpacked. Behind packed data, and behind
    /// nothing, the kernel takes other packed data wherever they begin, but behind an
    /// archive only at multiples of 4: with such a rest no part is to be unpacked.
    #[must_use]
    pub fn is_aligned(&self) -> bool {
        self.at.is_multiple_of(ALIGN)
    }
}

impl fmt::Display for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at;
        match &self.why {
            Why::NoArchive => write!(f, "at {at:#x} is no archive that is whole and sound"),
            Why::Unknown => write!(f, "at {at:#x} is neither an archive nor gzip, xz, zstd or lz4"),
            Why::NotArchives(format) => {
                write!(f, "the {format} data at {at:#x} unpacks to something else than archives")
            }
            Why::Packed(error) => write!(f, "at {at:#x}: {error}"),
        }
    }
}

impl std::error::Error for Rest {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.why {
            Why::Packed(error) => std::error::Error::source(error),
            _ => None,
        }
    }
}

/// What is in a part, by a look at its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Archives, to the end.
    Archives,
    /// Archives and then something packed in a way that is undone here.
    Packed,
    /// Something that is left to the kernel.
    Other,
}

/// What is in `part` of `source`, by a look at its headers.
pub fn look(source: &(impl ReadAt + ?Sized), part: FileRange) -> io::Result<Look> {
    let window = Window { source, part };
    Ok(match follow(&window, 0, Before::Archive)? {
        Next::End => Look::Archives,
        Next::Odd(_) => Look::Other,
        Next::Other(at) => {
            let magic = fetch(&window, at, MAGIC.min(window.len().saturating_sub(at)))?;
            if Format::of(&magic).is_some() { Look::Packed } else { Look::Other }
        }
    })
}

/// A part of a file as if there were nothing else.
struct Window<'a, S: ?Sized> {
    source: &'a S,
    part: FileRange,
}

impl<S: ReadAt + ?Sized> ReadAt for Window<'_, S> {
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let rest = self.part.skip(offset).filter(|rest| rest.len() >= buf.len() as u64);
        let rest = rest.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.source.read_exact_at(rest.offset(), buf)
    }

    fn len(&self) -> u64 {
        self.part.len()
    }
}

/// Unpacks what is packed in `part`, up to where the kernel would stop or it is not
/// known what it does. What would come to more than `limit` bytes stays packed.
///
/// What comes out means to the kernel what `part` does: what was packed stands at
/// multiples of 4, as it counts from its own start; what was not is aligned as it was;
/// and between them are NULs, which are skipped.
#[must_use]
pub fn unpack(part: Part<'_>, limit: u64, threads: usize) -> Unpacked {
    let mut unpacking = Unpacking { part, limit, threads, out: Vec::new(), formats: Vec::new() };
    match unpacking.run() {
        Ok(()) => Unpacked { bytes: unpacking.out, formats: unpacking.formats, rest: None },
        Err(rest) => unpacking.stopped(rest),
    }
}

struct Unpacking<'a> {
    part: Part<'a>,
    limit: u64,
    threads: usize,
    out: Vec<u8>,
    formats: Vec<Format>,
}

impl Unpacking<'_> {
    fn run(&mut self) -> Result<(), Rest> {
        let bytes = self.part.bytes;
        let (mut at, mut before) = (0, Before::Archive);
        while at < bytes.len() as u64 {
            let stop = |at, why| Rest { at, why };
            // Nothing is read but memory: it can't fail.
            let next = follow(bytes, at, before).unwrap_or(Next::Odd(at));
            let end = match next {
                Next::End => bytes.len() as u64,
                Next::Other(end) | Next::Odd(end) => end,
            };
            self.keep(at, end);
            match next {
                Next::End => break,
                Next::Odd(_) => return Err(stop(end, Why::NoArchive)),
                Next::Other(_) => {}
            }
            let packed = bytes.get(index(end)..).unwrap_or_default();
            let format = Format::of(packed).ok_or_else(|| stop(end, Why::Unknown))?;
            let len = self.member(format, packed).map_err(|why| stop(end, why))?;
            (at, before) = (end.saturating_add(len), Before::Packed);
        }
        Ok(())
    }

    /// Adds what is as it was, from `start` to `end`.
    fn keep(&mut self, start: u64, end: u64) {
        let place = congruent(self.out.len() as u64, start).unwrap_or(start);
        self.out.resize(index(place), 0);
        let kept = self.part.bytes.get(index(start)..index(end));
        self.out.extend_from_slice(kept.unwrap_or_default());
    }

    /// Adds what `packed` begins with, unpacked; says how many bytes that was.
    fn member(&mut self, format: Format, packed: &[u8]) -> Result<u64, Why> {
        let place = congruent(self.out.len() as u64, 0).unwrap_or_default();
        let limit = self.limit.saturating_sub(place);
        let how = (self.threads, self.part.is_last);
        let member = member(format, packed, limit, how).map_err(|error| match error {
            // To the caller it is all one.
            Error::Large { .. } => Why::Packed(Error::Large { limit: self.limit }),
            error => Why::Packed(error),
        })?;
        // The kernel would take what begins otherwise only now and then for archives.
        let is_archives = member.bytes.starts_with(b"0")
            && follow(&member.bytes, 0, Before::Archive).is_ok_and(|next| next == Next::End);
        if !is_archives {
            return Err(Why::NotArchives(format));
        }
        self.out.resize(index(place), 0);
        if self.out.is_empty() {
            self.out = member.bytes;
        } else {
            self.out.extend_from_slice(&member.bytes);
        }
        self.formats.push(format);
        Ok(member.packed_len as u64)
    }

    /// With the rest as it was, if it may stand there.
    fn stopped(mut self, rest: Rest) -> Unpacked {
        let bytes = self.part.bytes;
        if !rest.is_aligned() || self.formats.is_empty() {
            return Unpacked { bytes: bytes.to_vec(), formats: Vec::new(), rest: Some(rest) };
        }
        let place = congruent(self.out.len() as u64, rest.at).unwrap_or_default();
        self.out.resize(index(place), 0);
        self.out.extend_from_slice(bytes.get(index(rest.at)..).unwrap_or_default());
        Unpacked { bytes: self.out, formats: self.formats, rest: Some(rest) }
    }
}

#[cfg(test)]
mod tests;
