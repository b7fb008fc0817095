//! A wire that is a tap device of the host's: each read and each write is a frame.
//! Documentation/networking/tuntap.rst.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::{AsFd, BorrowedFd},
};

use vm_memory::VolatileSlice;

use super::wire::{self, FRAME_MAX, FRAME_MIN, Wire};

/// The wire.
#[derive(Debug)]
pub struct Tap {
    /// Non-blocking.
    file: File,
    incoming: Vec<u8>,
    /// How long the frame in `incoming` is that was not taken yet.
    came: Option<usize>,
    outgoing: Vec<u8>,
    is_cut: bool,
}

impl Tap {
    /// The wire that is `file`, which does not block.
    #[must_use]
    pub fn new(file: File) -> Self {
        let incoming = vec![0; FRAME_MAX];
        Self { file, incoming, came: None, outgoing: Vec::new(), is_cut: false }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Wire for Tap {
    fn send(&mut self, frame: &[VolatileSlice<'_>]) {
        self.outgoing.clear();
        if wire::gather(frame, &mut self.outgoing) {
            // A write takes a frame whole. One that the host has no room for, or no interface
            // that is up, is lost.
            self.file.write_all(&self.outgoing).ok();
        }
    }

    fn flush(&mut self) {}

    fn has_room(&self) -> bool {
        true
    }

    fn has_unsent(&self) -> bool {
        false
    }

    fn next(&mut self) -> Option<&[u8]> {
        while self.came.is_none() {
            match wire::now(self.file.read(&mut self.incoming)) {
                Ok(Some(len)) if len >= FRAME_MIN => self.came = Some(len),
                // Not a frame, and not the end either.
                Ok(Some(len)) if len > 0 => {}
                Ok(None) => return None,
                Ok(Some(_)) | Err(_) => {
                    // The interface is gone.
                    self.is_cut = true;
                    return None;
                }
            }
        }
        self.incoming.get(..self.came?)
    }

    fn taken(&mut self) {
        self.came = None;
    }

    fn is_cut(&self) -> bool {
        self.is_cut
    }
}
