//! A disk that is a file, byte for byte.

use std::{borrow::Cow, fs::File, io};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};
use vm_memory::VolatileSlice;

use super::storage::{Storage, split, total};
use crate::engine::kvm;

/// How many zeros are written at a time where the file system knows no better.
const ZEROS: usize = 1 << 16;

/// A file that holds a disk.
#[derive(Debug)]
pub struct Raw {
    file: File,
    len: u64,
}

impl Raw {
    /// The disk that is the first `len` bytes of `file`.
    #[must_use]
    pub fn new(file: File, len: u64) -> Self {
        Self { file, len }
    }

    fn zero_range(&self, flags: FallocateFlags, offset: u64, len: u64) -> Result<(), Errno> {
        fallocate(&self.file, flags | FallocateFlags::KEEP_SIZE, offset, len)
    }

    fn write_zeros(&self, offset: u64, len: u64) -> io::Result<()> {
        use std::os::unix::fs::FileExt as _;
        let zeros = vec![0; ZEROS];
        let mut done = 0_u64;
        while done < len {
            let left = usize::try_from(len.saturating_sub(done)).unwrap_or(ZEROS).min(ZEROS);
            self.file
                .write_all_at(zeros.get(..left).unwrap_or(&zeros), offset.saturating_add(done))?;
            done = done.saturating_add(left as u64);
        }
        Ok(())
    }
}

impl Storage for Raw {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&mut self, offset: u64, into: &[VolatileSlice<'_>]) -> io::Result<()> {
        whole(offset, into, |offset, into| kvm::preadv(&self.file, offset, into))
    }

    fn write(&mut self, offset: u64, from: &[VolatileSlice<'_>]) -> io::Result<()> {
        whole(offset, from, |offset, from| kvm::pwritev(&self.file, offset, from))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn discard(&mut self, offset: u64, len: u64) -> io::Result<()> {
        match self.zero_range(FallocateFlags::PUNCH_HOLE, offset, len) {
            // To keep the bytes is to forget them badly, and is allowed.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn write_zeroes(&mut self, offset: u64, len: u64, may_unmap: bool) -> io::Result<()> {
        let kind = if may_unmap { FallocateFlags::PUNCH_HOLE } else { FallocateFlags::ZERO_RANGE };
        match self.zero_range(kind, offset, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.write_zeros(offset, len),
            done => Ok(done?),
        }
    }
}

/// Has `transfer` move all of `slices`, to or from what is at `offset`: it may move less at a
/// time.
fn whole(
    offset: u64,
    slices: &[VolatileSlice<'_>],
    transfer: impl Fn(u64, &[VolatileSlice<'_>]) -> io::Result<usize>,
) -> io::Result<()> {
    let len = total(slices);
    let (mut done, mut rest) = (0, Cow::Borrowed(slices));
    while done < len {
        if done > 0 {
            rest = Cow::Owned(split(slices, done).1);
        }
        match transfer(offset.saturating_add(done), &rest) {
            // The file is shorter than it was.
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(moved) => done = done.saturating_add(moved as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
