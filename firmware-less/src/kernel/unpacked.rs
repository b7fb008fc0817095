//! [`Unpacked`]: a kernel proper out of its bzImage.

use std::{borrow::Cow, io, sync::Arc};

use thiserror::Error;

use super::{
    Kernel,
    payload::{self, Payload},
    relocations::{self, Relocation},
    vmlinux::{self, KERNEL_IMAGE_SIZE, Vmlinux},
};
use crate::{
    plan::{FileId, Piece},
    range::GuestRange,
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
}

/// Unpacks the payload of `kernel`, which was read from `source`, by up to `threads`
/// threads. One of more than `limit` bytes is refused.
pub fn unpack(
    source: &(impl ReadAt + ?Sized),
    kernel: &Kernel,
    limit: u64,
    threads: usize,
) -> Result<Vec<u8>, Error> {
    let range = kernel.payload().ok_or(Error::NoPayload)?;
    let packed = match source.at_hand(range.offset(), range.len()) {
        Some(packed) => Cow::Borrowed(packed),
        None => Cow::Owned(fetch(source, range.offset(), range.len()).map_err(Error::Read)?),
    };
    Ok(Payload::read(&packed, limit.min(KERNEL_IMAGE_SIZE))?.unpack(threads)?)
}

/// What is to be known of an unpacked kernel to enter and to move it, and which file
/// it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    file: FileId,
    vmlinux: Vmlinux,
    relocations: Arc<Vec<u8>>,
}

impl Unpacked {
    /// Reads the headers of an unpacked kernel, which is known as `file`.
    pub fn read(file: FileId, source: &(impl ReadAt + ?Sized)) -> Result<Self, Error> {
        Ok(Self { file, vmlinux: Vmlinux::read(source)?, relocations: Arc::default() })
    }

    /// The same with its table of relocations, read from `source` as the headers were: only
    /// a kernel that stays where it is linked for does without.
    pub fn with_relocations(self, source: &(impl ReadAt + ?Sized)) -> Result<Self, Error> {
        let table = self.vmlinux.relocations();
        let relocations = fetch(source, table.offset(), table.len()).map_err(Error::Read)?;
        Ok(Self { relocations: Arc::new(relocations), ..self })
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
        !self.vmlinux.relocations().is_empty()
    }

    /// What is to be changed for it to run `offset` bytes above the virtual addresses
    /// that it is linked for; nothing for none.
    pub fn relocation(&self, offset: u64) -> Result<Option<Relocation>, relocations::Error> {
        if offset == 0 {
            return Ok(None);
        }
        let linked = self.linked();
        let linked = (linked.start(), linked.len());
        Relocation::new(Arc::clone(&self.relocations), linked, offset).map(Some)
    }

    /// Its segments, from its start; what is between and behind them is zero.
    #[must_use]
    pub fn pieces(&self) -> Vec<Piece> {
        self.vmlinux.pieces(self.file)
    }
}
