//! Messages of a front end, and answers to them. QEMU's docs/interop/vhost-user.rst.

use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixStream},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recv, recvmsg, send,
};

/// Request, flags and size.
const HEADER_LEN: usize = 12;
/// Flags: the version, and that this is an answer.
const ANSWER: u32 = 1 | 1 << 2;
/// The longest payload: a table of memory has 264 bytes, a configuration 268.
const PAYLOAD_MAX: usize = 4096;
/// The most files that may come with a message.
const FILES_MAX: usize = 8;

/// What a front end wants.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) request: u32,
    pub(super) payload: Vec<u8>,
    pub(super) files: Vec<OwnedFd>,
}

impl Message {
    /// The next message, waiting for it; an error at the end too.
    pub(super) fn receive(socket: &UnixStream) -> io::Result<Self> {
        let mut header = [0; HEADER_LEN];
        let mut files = Vec::new();
        let mut got = 0;
        while let Some(rest) = header.get_mut(got..).filter(|rest| !rest.is_empty()) {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut rest = [IoSliceMut::new(rest)];
            let received = recvmsg(socket, &mut rest, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(more) = message {
                    files.extend(more);
                }
            }
            got = whole(got, received.bytes)?;
        }
        let [a, b, c, d, _, _, _, _, size @ ..] = header;
        let size = usize::try_from(u32::from_le_bytes(size)).unwrap_or(usize::MAX);
        if size > PAYLOAD_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut payload = vec![0; size];
        let mut got = 0;
        while let Some(rest) = payload.get_mut(got..).filter(|rest| !rest.is_empty()) {
            let (read, _) = recv(socket, rest, RecvFlags::empty())?;
            got = whole(got, read)?;
        }
        Ok(Self { request: u32::from_le_bytes([a, b, c, d]), payload, files })
    }

    /// The number of 32 bits at `at` of the payload; 0 where there is none.
    pub(super) fn u32(&self, at: usize) -> u32 {
        let bytes = self.payload.get(at..).and_then(<[u8]>::first_chunk);
        bytes.copied().map_or(0, u32::from_le_bytes)
    }

    /// The number of 64 bits there.
    pub(super) fn u64(&self, at: usize) -> u64 {
        let bytes = self.payload.get(at..).and_then(<[u8]>::first_chunk);
        bytes.copied().map_or(0, u64::from_le_bytes)
    }

    /// Answers it.
    pub(super) fn answer(&self, socket: &UnixStream, payload: &[u8]) -> io::Result<()> {
        let size = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let header = [self.request, ANSWER, size].map(u32::to_le_bytes).concat();
        let bytes = [header.as_slice(), payload].concat();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let sent = send(socket, rest, SendFlags::NOSIGNAL)?;
            rest = rest.get(sent..).unwrap_or_default();
        }
        Ok(())
    }
}

/// How much is there by now, unless that was the end.
fn whole(got: usize, more: usize) -> io::Result<usize> {
    if more == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(got.saturating_add(more)) }
}
