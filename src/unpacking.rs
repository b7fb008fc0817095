//! The kernel proper of a job, for the direct hand-off: out of the cache, or unpacked.

use std::{io, num::NonZero, thread};

use firmware_less::{
    kernel::{Kernel, Unpacked, unpack, unpacked},
    plan::FileSlice,
    range::FileRange,
    read_at::{ReadAt, fetch},
};
use thiserror::Error;

use crate::{
    cache::{Cache, Found, Key, Kind},
    files::{Files, OpenFile},
    messages::say,
};

/// Why there is no unpacked kernel.
#[derive(Debug, Error)]
pub enum NotDirect {
    /// It can't be unpacked.
    #[error(transparent)]
    Unpack(#[from] unpacked::Error),
    /// What it is in can't be read.
    #[error("the kernel can't be read")]
    Read(#[source] io::Error),
    /// There is no place for what it unpacks to.
    #[error("no place to unpack the kernel to")]
    Place(#[source] io::Error),
}

/// The kernel proper in `slice` of `files`, of which `kernel` is the header. What
/// unpacks to more than `limit` bytes is refused.
pub(crate) fn unpacked(
    files: &mut Files,
    (slice, kernel): (FileSlice, &Kernel),
    limit: u64,
    with_cache: bool,
) -> Result<Unpacked, NotDirect> {
    let packed = files.get(slice.file).unwrap_or(files.uki());
    let cache = if with_cache { cache() } else { None };
    let fresh = |excerpt: &Excerpt| {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let bytes = unpack(excerpt, kernel, limit, threads)?;
        // What can't be entered is not kept: nobody would ask for it twice.
        Unpacked::read(slice.file, &bytes)?;
        Ok(bytes)
    };
    let wanted = Wanted { kind: Kind::Kernel, name: "kernel", packed, part: slice.range, limit };
    let file = wanted.get(cache.as_ref(), fresh)?;
    let id = files.push(file);
    Ok(Unpacked::read(id, files.get(id).unwrap_or(files.uki()))?)
}

/// The user's cache. Without one all is as it was, only slower.
fn cache() -> Option<Cache> {
    Cache::of_user().unwrap_or_else(|error| {
        say(&format!("what is unpacked is not kept: {error}"));
        None
    })
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
    fn get(
        &self,
        cache: Option<&Cache>,
        fresh: impl FnOnce(&Excerpt) -> Result<Vec<u8>, NotDirect>,
    ) -> Result<OpenFile, NotDirect> {
        if let Some(cache) = cache {
            let key = Key::of_file(self.kind, self.packed, self.part);
            let found = self.find(cache, &key.map_err(NotDirect::Read)?);
            if let Some(file) = found {
                return Ok(file);
            }
        }
        let excerpt = Excerpt::read(self.packed, self.part).map_err(NotDirect::Read)?;
        let bytes = fresh(&excerpt)?;
        // The key of just these bytes: the file may have changed since it was looked at.
        let keep = |cache: &Cache| cache.keep(&excerpt.key(self.kind), &bytes);
        match cache.map(keep) {
            Some(Ok(file)) => Ok(file),
            Some(Err(error)) => {
                say(&format!("the unpacked {} is not kept: {error}", self.name));
                self.in_memory(&bytes)
            }
            None => self.in_memory(&bytes),
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
    fn in_memory(&self, bytes: &[u8]) -> Result<OpenFile, NotDirect> {
        let name = format!("{} ({} unpacked)", self.packed.path.display(), self.name);
        OpenFile::in_memory(&name, bytes).map_err(NotDirect::Place)
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

    fn len(&self) -> u64 {
        self.offset.saturating_add(self.bytes.len() as u64)
    }
}
