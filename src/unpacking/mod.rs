//! What of a job is unpacked before it is handed over, out of the cache or afresh.

mod initrd;
mod kernel;

use std::{io, num::NonZero, thread};

use firmware_less::{
    range::FileRange,
    read_at::{ReadAt, fetch},
};

pub use kernel::NotDirect;

pub(crate) use {
    initrd::{Initrd, Parts, handed_with},
    kernel::kernel,
};

use crate::{
    cache::{Cache, Found, Key, Kind},
    files::OpenFile,
    messages::say,
};

/// The user's cache. Without one all is as it was, only slower.
pub(crate) fn cache() -> Option<Cache> {
    Cache::of_user().unwrap_or_else(|error| {
        say(&format!("what is unpacked is not kept: {error}"));
        None
    })
}

/// How many threads unpack at once.
fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Why there is nothing unpacked.
enum Failed<E> {
    /// The file can't be read.
    Read(io::Error),
    /// It can't be unpacked.
    Unpack(E),
}

/// Something that is wanted unpacked.
struct Wanted<'a> {
    kind: Kind,
    /// What it is called.
    name: &'a str,
    packed: &'a OpenFile,
    part: FileRange,
    /// The most bytes that it may unpack to.
    limit: u64,
}

impl Wanted<'_> {
    /// Out of the cache, or what `fresh` makes of it, which is kept there.
    fn get<E>(
        &self,
        cache: Option<&Cache>,
        fresh: impl FnOnce(&Excerpt) -> Result<Vec<u8>, E>,
    ) -> Result<OpenFile, Failed<E>> {
        if let Some(cache) = cache {
            let key = cache.key(self.kind, self.packed, self.part).map_err(Failed::Read)?;
            if let Some(file) = self.find(cache, &key) {
                return Ok(file);
            }
        }
        let excerpt = Excerpt::read(self.packed, self.part).map_err(Failed::Read)?;
        let bytes = fresh(&excerpt).map_err(Failed::Unpack)?;
        // The key of just these bytes: the file may have changed since it was looked at.
        let keep = |cache: &Cache| cache.keep(&excerpt.key(self.kind), &bytes);
        match cache.map(keep) {
            Some(Ok(file)) => Ok(file),
            Some(Err(error)) => {
                say(&format!("the unpacked {} is not kept: {error}", self.name));
                Ok(self.in_memory(bytes))
            }
            None => Ok(self.in_memory(bytes)),
        }
    }

    fn find(&self, cache: &Cache, key: &Key) -> Option<OpenFile> {
        let name = self.name;
        match cache.find(key) {
            Ok(Found::Unpacked(file)) => return Some(file).filter(|file| file.len <= self.limit),
            Ok(Found::Damaged) => {
                say(&format!("the {name} that was kept unpacked is damaged: it is unpacked anew"));
            }
            Ok(Found::Nothing) => {}
            Err(error) => say(&format!("the {name} that was kept unpacked can't be read: {error}")),
        }
        None
    }

    /// A file that is nowhere but in memory.
    fn in_memory(&self, bytes: Vec<u8>) -> OpenFile {
        let name = format!("{} ({} unpacked)", self.packed.path.display(), self.name);
        OpenFile::in_memory(&name, bytes)
    }
}

/// A part of a file, read once, at the offsets that it has there.
struct Excerpt {
    offset: u64,
    bytes: Vec<u8>,
}

impl Excerpt {
    fn read(file: &OpenFile, part: FileRange) -> io::Result<Self> {
        let bytes = fetch(file, part.offset(), part.len())?;
        Ok(Self { offset: part.offset(), bytes })
    }

    fn key(&self, kind: Kind) -> Key {
        Key::of_bytes(kind, &self.bytes)
    }
}

impl ReadAt for Excerpt {
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let offset = offset.checked_sub(self.offset).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.bytes.read_exact_at(offset, buf)
    }

    fn at_hand(&self, offset: u64, len: u64) -> Option<&[u8]> {
        self.bytes.as_slice().at_hand(offset.checked_sub(self.offset)?, len)
    }

    fn len(&self) -> u64 {
        self.offset.saturating_add(self.bytes.len() as u64)
    }
}
