//! [`Unpacked`]: a kernel proper out of its bzImage, as it is to lie in memory.

use std::io;

use thiserror::Error;

use super::{
    Kernel,
    payload::{self, Compression, Payload},
    relocations::{self, Relocations},
    vmlinux::{self, KERNEL_IMAGE_SIZE, Vmlinux},
};
use crate::{
    range::{GuestRange, index},
    read_at::{ReadAt, fetch},
};

/// Why a kernel proper can't be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The setup header names none.
    #[error("the kernel's setup header names no payload that lies in the kernel")]
    NoPayload,
    /// It can't be read.
    #[error("the kernel's payload can't be read")]
    Read(#[source] io::Error),
    /// It can't be unpacked.
    #[error(transparent)]
    Payload(#[from] payload::Error),
    /// What it unpacks to can't be entered.
    #[error(transparent)]
    Vmlinux(#[from] vmlinux::Error),
    /// It takes more memory than there is.
    #[error("the unpacked kernel takes {found:#x} bytes of memory, {limit:#x} are accepted")]
    Large {
        /// How much it takes.
        found: u64,
        /// The most.
        limit: u64,
    },
    /// What it unpacks to can't be moved.
    #[error(transparent)]
    Relocations(#[from] relocations::Error),
}

/// A kernel proper: its bytes in memory, and what is to be known to enter and to
/// move it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    compression: Compression,
    vmlinux: Vmlinux,
    relocations: Vec<u8>,
    image: Vec<u8>,
}

impl Unpacked {
    /// Unpacks the payload of `kernel`, which was read from `source`, by up to
    /// `threads` threads. One that takes more than `limit` bytes is refused.
    pub fn read(
        source: &(impl ReadAt + ?Sized),
        kernel: &Kernel,
        limit: u64,
        threads: usize,
    ) -> Result<Self, Error> {
        let range = kernel.payload().ok_or(Error::NoPayload)?;
        let packed = fetch(source, range.offset(), range.len()).map_err(Error::Read)?;
        let payload = Payload::read(&packed, limit.min(KERNEL_IMAGE_SIZE))?;
        Self::of(payload.compression(), payload.unpack(threads)?, limit)
    }

    fn of(compression: Compression, file: Vec<u8>, limit: u64) -> Result<Self, Error> {
        let vmlinux = Vmlinux::read(&file)?;
        let found = vmlinux.range().len();
        if found > limit {
            return Err(Error::Large { found, limit });
        }
        let table = vmlinux.relocations();
        let table = file.get(index(table.offset())..index(table.end()));
        let relocations = table.unwrap_or_default().to_vec();
        let image = vmlinux.image(file);
        Ok(Self { compression, vmlinux, relocations, image })
    }

    /// How it was packed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The memory that it takes where it is linked to be, as physical addresses.
    #[must_use]
    pub fn linked(&self) -> GuestRange {
        self.vmlinux.range()
    }

    /// How far its first instruction is from its start.
    #[must_use]
    pub fn entry_offset(&self) -> u64 {
        self.vmlinux.entry_offset()
    }

    /// Whether it can run at virtual addresses that it is not linked for.
    #[must_use]
    pub fn is_relocatable(&self) -> bool {
        !self.relocations.is_empty()
    }

    /// Changes it to run `offset` bytes above the virtual addresses that it is
    /// linked for.
    pub fn relocate(&mut self, offset: u64) -> Result<(), relocations::Error> {
        let linked = self.linked().start();
        Relocations::read(&self.relocations)?.apply(&mut self.image, linked, offset)
    }

    /// Its bytes from its start; what follows is zero.
    #[must_use]
    pub fn into_image(self) -> Vec<u8> {
        self.image
    }
}
