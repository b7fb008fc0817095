//! What holds a disk's bytes.

use std::{fmt, io};

use vm_memory::VolatileSlice;

/// What holds a disk's bytes. Offsets and lengths are whole sectors, and lie in it.
pub trait Storage: fmt::Debug + Send {
    /// How many bytes it holds, for good.
    fn len(&self) -> u64;

    /// Whether it holds none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `into` with the bytes from `offset` on.
    fn read(&mut self, offset: u64, into: &[VolatileSlice<'_>]) -> io::Result<()>;

    /// Keeps the bytes of `from` from `offset` on.
    fn write(&mut self, offset: u64, from: &[VolatileSlice<'_>]) -> io::Result<()>;

    /// Comes back when all that was written will outlast a crash of the host.
    fn flush(&mut self) -> io::Result<()>;

    /// Forgets these bytes; whatever they read as afterwards.
    fn discard(&mut self, offset: u64, len: u64) -> io::Result<()>;

    /// Makes these bytes zero, and gives up the room they take if `may_unmap`.
    fn write_zeroes(&mut self, offset: u64, len: u64, may_unmap: bool) -> io::Result<()>;
}

/// How many bytes `slices` have.
pub(super) fn total(slices: &[VolatileSlice<'_>]) -> u64 {
    slices.iter().fold(0, |total, slice| total.saturating_add(slice.len() as u64))
}

/// The first `len` bytes of `slices`, and the rest.
pub(in super::super) fn split<'m>(
    slices: &[VolatileSlice<'m>],
    len: u64,
) -> (Vec<VolatileSlice<'m>>, Vec<VolatileSlice<'m>>) {
    let (mut front, mut back) = (Vec::with_capacity(slices.len()), Vec::new());
    let mut left = len;
    for slice in slices {
        let here = usize::try_from(left).map_or(slice.len(), |left| left.min(slice.len()));
        if let Ok((first, second)) = slice.split_at(here) {
            front.extend((!first.is_empty()).then_some(first));
            back.extend((!second.is_empty()).then_some(second));
        }
        left = left.saturating_sub(here as u64);
    }
    (front, back)
}
