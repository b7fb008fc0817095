//! The SHA-256 that purgatory would check: computed over what is to be placed,
//! and again over guest memory.

use std::{io, slice, sync::OnceLock};

pub use firmware_less::bytes::hex;

use firmware_less::{
    handoff::LaidOut,
    plan::{BootPlan, Placement},
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

/// The digest that guest memory is to have, which purgatory has too.
///
/// To hash a kernel takes longer than to load it, and guest memory is hashed as well. On KVM
/// both are done beside each other, so a plan may be loaded before its digest is known.
#[derive(Debug)]
pub struct Expected {
    laid_out: LaidOut,
    digest: OnceLock<Digest>,
}

impl Expected {
    pub(crate) fn of(laid_out: LaidOut) -> Self {
        Self { laid_out, digest: OnceLock::new() }
    }

    /// The digest, where it is known.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest.get().copied()
    }

    /// The digest over what is in `files`, computed once.
    pub fn compute(&self, files: &Files) -> Result<Digest, Error> {
        if let Some(digest) = self.digest() {
            return Ok(digest);
        }
        let digest = of_sources(self.laid_out.digested(), files)?;
        Ok(*self.digest.get_or_init(|| digest))
    }

    /// What it covers, in order.
    #[must_use]
    pub fn ranges(&self) -> Vec<GuestRange> {
        self.laid_out.digested().iter().map(|part| part.range).collect()
    }

    /// The guest address at which memory has it.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.laid_out.digest_address()
    }

    /// The plan, with zeros where a digest is not known yet.
    pub(crate) fn plan(&self, files: &Files) -> Result<BootPlan, Error> {
        let plan = self.laid_out.clone().plan(Some(self.digest().unwrap_or_default()));
        plan.map_err(|source| Error::Plan { path: files.uki().path.clone(), source })
    }
}

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
