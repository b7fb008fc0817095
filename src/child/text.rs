//! What a child process writes that is read afterwards.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use firmware_less::range::index;
use rustix::fs::MemfdFlags;

/// An anonymous file that a child writes text to.
#[derive(Debug)]
pub(crate) struct Text(File);

impl Text {
    /// A file in which there is nothing yet.
    pub(crate) fn create() -> io::Result<Self> {
        anonymous_file().map(Self)
    }

    /// A second handle to it, for the child.
    pub(crate) fn handle(&self) -> io::Result<File> {
        self.0.try_clone()
    }

    /// The end of what was written so far.
    pub(crate) fn tail(&self) -> String {
        const MAX: u64 = 1 << 16;
        let len = self.0.metadata().map_or(0, |metadata| metadata.len());
        let mut bytes = vec![0; index(len.min(MAX))];
        match self.0.read_exact_at(&mut bytes, len.saturating_sub(MAX)) {
            Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(_) => String::new(),
        }
    }
}

/// A file without a name, that ends with the last who has it open.
pub(crate) fn anonymous_file() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("ukivm", MemfdFlags::CLOEXEC)?.into())
}
