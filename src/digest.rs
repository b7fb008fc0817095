//! The SHA-256 that purgatory would check: computed over what is to be placed,
//! and again over guest memory.

use std::{io, slice};

pub use firmware_less::bytes::hex;

use firmware_less::{
    plan::Placement,
    range::{GuestRange, index},
};
use sha2::{Digest as _, Sha256};

use crate::{
    content::{Chunk, Memory},
    error::Error,
    files::Files,
};

/// A SHA-256.
pub type Digest = [u8; 32];

/// The digest of `placements` as they are to be: each whole range, in order,
/// zeros where there is no content.
///
/// kernel/kexec_file.c `kexec_calculate_store_digests`.
pub fn of_sources(placements: &[Placement], files: &Files) -> Result<Digest, Error> {
    let mut hash = Sha256::new();
    for placement in placements {
        Memory::new(slice::from_ref(placement), files).each(placement.range, &mut |chunk| {
            add(&mut hash, chunk);
            Ok(())
        })?;
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

/// Adds what comes next to `hash`.
pub(crate) fn add(hash: &mut Sha256, chunk: Chunk<'_>) {
    const ZEROS: [u8; 4096] = [0; 4096];
    match chunk {
        Chunk::Bytes(bytes) => hash.update(bytes),
        Chunk::Zeros(mut count) => {
            while count > 0 {
                let step = count.min(ZEROS.len() as u64);
                hash.update(ZEROS.get(..index(step)).unwrap_or_default());
                count = count.saturating_sub(step);
            }
        }
    }
}
