//! The SHA-256 that purgatory would check: computed over what is to be placed,
//! and again over guest memory.

use std::{io, path::PathBuf};

pub use firmware_less::bytes::hex;

use firmware_less::{
    plan::{Content, FileSlice, Placement},
    range::{FileRange, GuestRange, index},
    read_at::ReadAt as _,
};
use sha2::{Digest as _, Sha256};

use crate::{error::Error, files::Files};

/// A SHA-256.
pub type Digest = [u8; 32];

/// How much is read at once.
const CHUNK: usize = 1 << 18;

/// The digest of `placements` as they are to be: each whole range, in order,
/// zeros where there is no content.
///
/// kernel/kexec_file.c `kexec_calculate_store_digests`.
pub fn of_sources(placements: &[Placement], files: &Files) -> Result<Digest, Error> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    for placement in placements {
        let mut hashed = 0;
        for piece in &placement.pieces {
            zeros(&mut hash, piece.offset.saturating_sub(hashed));
            match &piece.content {
                Content::Bytes(bytes) => hash.update(bytes),
                Content::File(slice) => file(&mut hash, *slice, files, &mut buffer)?,
            }
            hashed = piece.offset.saturating_add(piece.content.len());
        }
        zeros(&mut hash, placement.range.len().saturating_sub(hashed));
    }
    Ok(hash.finalize().into())
}

/// The digest of `ranges` as they are in guest memory, which `read` shows.
pub fn of_memory(
    ranges: &[GuestRange],
    mut read: impl FnMut(GuestRange, &mut dyn FnMut(&[u8])) -> io::Result<()>,
) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    for range in ranges {
        read(*range, &mut |bytes| hash.update(bytes))?;
    }
    Ok(hash.finalize().into())
}

fn zeros(hash: &mut Sha256, mut count: u64) {
    const ZEROS: [u8; 4096] = [0; 4096];
    while count > 0 {
        let step = count.min(ZEROS.len() as u64);
        hash.update(ZEROS.get(..index(step)).unwrap_or_default());
        count = count.saturating_sub(step);
    }
}

fn file(
    hash: &mut Sha256,
    slice: FileSlice,
    files: &Files,
    buffer: &mut [u8],
) -> Result<(), Error> {
    let path = || files.get(slice.file).map_or_else(PathBuf::new, |open| open.path.clone());
    let mut rest = slice.range;
    while !rest.is_empty() {
        let step = rest.len().min(buffer.len() as u64);
        let chunk = buffer.get_mut(..index(step)).unwrap_or_default();
        let open = files.get(slice.file).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
        open.and_then(|open| open.read_exact_at(rest.offset(), chunk))
            .map_err(|source| Error::Read { path: path(), source })?;
        hash.update(&*chunk);
        rest = rest.skip(step).unwrap_or(FileRange::EMPTY);
    }
    Ok(())
}
