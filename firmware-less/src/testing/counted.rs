//! [`Counted`]: a file that knows what was read of it.

use std::{cell::Cell, io, iter};

use crate::{range::index, read_at::ReadAt};

/// A file that counts what is read of it. Behind its beginning there are NULs, and a read past
/// its end panics.
#[derive(Debug)]
pub struct Counted {
    beginning: Vec<u8>,
    len: u64,
    reads: Cell<u32>,
    bytes: Cell<u64>,
}

impl Counted {
    /// A file of these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        Self::sparse(bytes, len)
    }

    /// A file of `len` bytes that begins so.
    #[must_use]
    pub fn sparse(beginning: Vec<u8>, len: u64) -> Self {
        Self { beginning, len, reads: Cell::new(0), bytes: Cell::new(0) }
    }

    /// How often it was read.
    #[must_use]
    pub fn reads(&self) -> u32 {
        self.reads.get()
    }

    /// How many bytes were read of it.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes.get()
    }
}

impl ReadAt for Counted {
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        assert!(offset + buf.len() as u64 <= self.len, "a read past the end");
        self.reads.set(self.reads.get() + 1);
        self.bytes.set(self.bytes.get() + buf.len() as u64);
        let beginning = self.beginning.iter().skip(index(offset));
        for (to, from) in buf.iter_mut().zip(beginning.chain(iter::repeat(&0))) {
            *to = *from;
        }
        Ok(())
    }

    fn len(&self) -> u64 {
        self.len
    }
}
