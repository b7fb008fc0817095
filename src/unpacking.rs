//! The kernel proper of a job, for the direct hand-off: out of the cache, or unpacked.

use std::{
    fs::File,
    io::{self, Write as _},
    num::NonZero,
    path::{Path, PathBuf},
    thread,
};

use firmware_less::{
    kernel::{Kernel, Unpacked, unpack, unpacked},
    plan::FileSlice,
};
use rustix::fs::{MemfdFlags, memfd_create};
use thiserror::Error;

use crate::{
    files::{Files, OpenFile},
    kernel_cache::{Found, KernelCache, key},
    messages::say,
};

/// Why there is no unpacked kernel.
#[derive(Debug, Error)]
pub enum NotDirect {
    /// It can't be unpacked.
    #[error(transparent)]
    Unpack(#[from] unpacked::Error),
    /// There is no place for what it unpacks to.
    #[error("no place to unpack the kernel to")]
    Place(#[source] io::Error),
}

/// Adds the unpacked kernel to `files`: `slice` of them, of which `kernel` is the
/// header. What unpacks to more than `limit` bytes is refused.
pub(crate) fn unpacked(
    files: &mut Files,
    (slice, kernel): (FileSlice, &Kernel),
    limit: u64,
    with_cache: bool,
) -> Result<Unpacked, NotDirect> {
    let packed = files.get(slice.file).unwrap_or(files.uki());
    let cache = if with_cache { cache() } else { None };
    let file = match cache {
        Some(cache) => cached(&cache, packed, (slice, kernel), limit)?,
        None => in_memory(&packed.path, &fresh(packed, kernel, limit)?)?,
    };
    let id = files.push(file);
    Ok(Unpacked::read(id, files.get(id).unwrap_or(files.uki()))?)
}

/// The user's cache. Without one all is as it was, only slower.
fn cache() -> Option<KernelCache> {
    KernelCache::of_user().unwrap_or_else(|error| {
        say(&format!("unpacked kernels are not kept: {error}"));
        None
    })
}

/// Out of the cache, or unpacked and kept there.
fn cached(
    cache: &KernelCache,
    packed: &OpenFile,
    (slice, kernel): (FileSlice, &Kernel),
    limit: u64,
) -> Result<OpenFile, NotDirect> {
    let key = key(packed, slice).map_err(unpacked::Error::Read)?;
    match cache.find(&key) {
        Ok(Found::Kernel(file)) if file.len <= limit => return Ok(file),
        Ok(Found::Damaged) => {
            say("the kernel that was kept unpacked is damaged: it is unpacked anew");
        }
        Ok(Found::Kernel(_) | Found::Nothing) => {}
        Err(error) => say(&format!("the kernel that was kept unpacked can't be read: {error}")),
    }
    let bytes = fresh(packed, kernel, limit)?;
    // What can't be entered is not kept: nobody would ask for it twice.
    Unpacked::read(slice.file, &bytes)?;
    match cache.keep(&key, &bytes) {
        Ok(file) => Ok(file),
        Err(error) => {
            say(&format!("the unpacked kernel is not kept: {error}"));
            in_memory(&packed.path, &bytes)
        }
    }
}

fn fresh(packed: &OpenFile, kernel: &Kernel, limit: u64) -> Result<Vec<u8>, NotDirect> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    Ok(unpack(packed, kernel, limit, threads)?)
}

/// A file that is nowhere but in memory.
fn in_memory(of: &Path, bytes: &[u8]) -> Result<OpenFile, NotDirect> {
    let make = || {
        let mut file = File::from(memfd_create("ukivm-kernel", MemfdFlags::CLOEXEC)?);
        file.write_all(bytes).map(|()| file)
    };
    let file = make().map_err(NotDirect::Place)?;
    let path = PathBuf::from(format!("{} (kernel unpacked)", of.display()));
    Ok(OpenFile { path, file, len: bytes.len() as u64 })
}
