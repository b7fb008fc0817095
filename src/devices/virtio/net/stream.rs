//! A wire that is a socket: each frame behind its length, four bytes, the highest first. So
//! speak passt(1) and QEMU's `-netdev stream` (net/stream.c, `net_stream_receive`).

use std::{
    io,
    ops::Range,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{RecvFlags, SendFlags, recv, send},
};
use vm_memory::VolatileSlice;

use super::wire::{self, FRAME_MAX, FRAME_MIN, Wire};

const LEN_LEN: usize = 4;
/// As much is read at a time: some of the longest frames.
const IN_LEN: usize = 4 * (LEN_LEN + FRAME_MAX);
/// With so much not sent yet, no more is taken.
const OUT_FULL: usize = 1 << 17;
/// Frames are sent together that have so much or less.
const PIECE: usize = 1 << 15;

/// The wire.
#[derive(Debug)]
pub struct Stream {
    socket: UnixStream,
    /// What came; [`Stream::came`] says where in it.
    incoming: Vec<u8>,
    came: Range<usize>,
    /// What of a frame that is too long is still to come.
    skip: usize,
    /// The socket was empty, and nobody has waited since.
    is_drained: bool,
    outgoing: Vec<u8>,
    /// How much of it is to be sent at once.
    piece: usize,
    is_cut: bool,
}

impl Stream {
    /// The wire that is `socket`.
    #[must_use]
    pub fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            incoming: Vec::new(),
            came: 0..0,
            skip: 0,
            is_drained: false,
            outgoing: Vec::new(),
            piece: 0,
            is_cut: false,
        }
    }

    /// Where the first frame is that is here wholly, if one is. What can't be one is skipped.
    fn frame(&mut self) -> Option<Range<usize>> {
        loop {
            let skipped = self.skip.min(self.came.len());
            self.skip = self.skip.saturating_sub(skipped);
            self.came.start = self.came.start.saturating_add(skipped);
            let here = self.incoming.get(self.came.clone())?;
            let (len, rest) = here.split_first_chunk::<LEN_LEN>()?;
            let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
            if !(FRAME_MIN..=FRAME_MAX).contains(&len) {
                self.skip = len.saturating_add(LEN_LEN);
                continue;
            }
            let start = self.came.start.saturating_add(LEN_LEN);
            return (rest.len() >= len).then(|| start..start.saturating_add(len));
        }
    }

    /// How long the frames are, from `start` on, that are to be sent together: one, or some short
    /// ones.
    fn together(&self, start: usize) -> usize {
        let mut len = 0_usize;
        loop {
            let next = self.outgoing.get(start.saturating_add(len)..).unwrap_or_default();
            let Some(frame) = next.first_chunk() else { return len };
            let frame = usize::try_from(u32::from_be_bytes(*frame)).unwrap_or(usize::MAX);
            let more = len.saturating_add(LEN_LEN).saturating_add(frame);
            if len > 0 && more > PIECE {
                return len;
            }
            len = more;
        }
    }

    /// Whether the socket is as empty as it has to be to take the longest frame whole: three
    /// quarters (net/unix/af_unix.c, `unix_writable`).
    fn takes_a_frame(&self) -> bool {
        let mut asked = [PollFd::new(&self.socket, PollFlags::OUT)];
        poll(&mut asked, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Takes more from the socket; whether anything came.
    fn fill(&mut self) -> bool {
        if self.is_cut || self.is_drained {
            return false;
        }
        self.incoming.copy_within(self.came.clone(), 0);
        self.came = 0..self.came.len();
        self.incoming.resize(IN_LEN, 0);
        let room = self.incoming.get_mut(self.came.end..).unwrap_or_default();
        let wanted = room.len();
        let read = recv(&self.socket, room, RecvFlags::DONTWAIT);
        match wire::now(read.map(|(read, _)| read).map_err(io::Error::from)) {
            Ok(Some(0)) | Err(_) => self.is_cut = true,
            Ok(Some(read)) => {
                self.came.end = self.came.end.saturating_add(read.min(wanted));
                self.is_drained = read < wanted;
                return true;
            }
            Ok(None) => self.is_drained = true,
        }
        false
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Wire for Stream {
    fn send(&mut self, frame: &[VolatileSlice<'_>]) {
        if self.is_cut {
            return;
        }
        let start = self.outgoing.len();
        let len = u32::try_from(wire::len(frame)).unwrap_or(u32::MAX);
        self.outgoing.extend(len.to_be_bytes());
        if !wire::gather(frame, &mut self.outgoing) {
            self.outgoing.truncate(start);
        }
    }

    /// A frame is sent when there is room for all of it: a passt of 2023 takes the rest of one
    /// that comes in pieces for the next (tap.c, `tap_handler_passt`), and resets connections.
    fn flush(&mut self) {
        let mut sent = 0_usize;
        while sent < self.outgoing.len() && self.takes_a_frame() {
            if self.piece == 0 {
                self.piece = self.together(sent);
            }
            let end = sent.saturating_add(self.piece).min(self.outgoing.len());
            let piece = self.outgoing.get(sent..end).unwrap_or_default();
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match wire::now(send(&self.socket, piece, flags).map_err(io::Error::from)) {
                Ok(Some(count)) => {
                    sent = sent.saturating_add(count);
                    self.piece = self.piece.saturating_sub(count);
                }
                Ok(None) => break,
                Err(_) => {
                    self.is_cut = true;
                    sent = self.outgoing.len();
                }
            }
        }
        self.outgoing.drain(..sent.min(self.outgoing.len()));
    }

    fn has_room(&self) -> bool {
        self.outgoing.len() < OUT_FULL
    }

    fn has_unsent(&self) -> bool {
        !self.outgoing.is_empty()
    }

    fn next(&mut self) -> Option<&[u8]> {
        let frame = loop {
            match self.frame() {
                Some(frame) => break frame,
                None if self.fill() => {}
                None => {
                    // Whoever asks again has waited.
                    self.is_drained = false;
                    return None;
                }
            }
        };
        self.incoming.get(frame)
    }

    fn taken(&mut self) {
        if let Some(frame) = self.frame() {
            self.came.start = frame.end;
        }
    }

    fn is_cut(&self) -> bool {
        self.is_cut
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn wire() -> (Stream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Stream::new(ours), theirs)
    }

    fn framed(frame: &[u8]) -> Vec<u8> {
        [&u32::try_from(frame.len()).unwrap().to_be_bytes(), frame].concat()
    }

    fn next(wire: &mut Stream) -> Option<Vec<u8>> {
        let frame = wire.next()?.to_vec();
        wire.taken();
        Some(frame)
    }

    #[test]
    fn frames_come_as_they_were_sent_however_they_are_cut() {
        let (mut wire, mut peer) = wire();
        let frames = [vec![1; FRAME_MIN], vec![2; 1514], vec![3; 100]];
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| framed(frame)).collect();
        let mut came = Vec::new();
        for piece in bytes.chunks(7) {
            peer.write_all(piece).unwrap();
            came.extend(next(&mut wire));
        }
        came.extend(std::iter::from_fn(|| next(&mut wire)));
        assert_eq!(came, frames);
        assert!(!wire.is_cut());
        drop(peer);
        assert_eq!(next(&mut wire), None);
        assert!(wire.is_cut());
    }

    #[test]
    fn frames_of_no_sound_length_are_skipped() {
        let (mut wire, mut peer) = wire();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for len in [0, 13, FRAME_MAX + 1, 1 << 20, 14] {
                    peer.write_all(&framed(&vec![9; len])).unwrap();
                }
            });
            let mut frame = None;
            while frame.is_none() {
                frame = next(&mut wire);
            }
            assert_eq!(frame, Some(vec![9; 14]));
        });
        assert_eq!(next(&mut wire), None);
    }

    #[test]
    fn the_longest_frame_comes_whole_and_one_after_the_other() {
        let (mut wire, mut peer) = wire();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for byte in 0..20 {
                    peer.write_all(&framed(&vec![byte; FRAME_MAX])).unwrap();
                }
            });
            for byte in 0..20 {
                let mut frame = None;
                while frame.is_none() {
                    frame = next(&mut wire);
                }
                assert!(frame.unwrap() == vec![byte; FRAME_MAX], "{byte}");
            }
        });
    }

    #[test]
    fn what_a_peer_does_not_take_waits_and_what_is_no_frame_is_not_sent() {
        let (mut wire, mut peer) = wire();
        let mut frame = vec![7; 60_000];
        let mut count = 0;
        while wire.has_room() {
            wire.send(&[VolatileSlice::from(frame.as_mut_slice())]);
            wire.flush();
            count += 1;
            assert!(count < 1000, "a socket takes no end");
        }
        wire.send(&[]);
        wire.send(&[VolatileSlice::from([1; 13].as_mut_slice())]);
        wire.send(&[VolatileSlice::from(vec![1; FRAME_MAX + 1].as_mut_slice())]);
        let mut got = vec![0; count * (frame.len() + LEN_LEN)];
        std::thread::scope(|scope| {
            scope.spawn(|| peer.read_exact(&mut got).unwrap());
            while wire.has_unsent() {
                wire.flush();
            }
        });
        assert!(got == framed(&frame).repeat(count));
        drop(peer);
        wire.send(&[VolatileSlice::from(frame.as_mut_slice())]);
        wire.flush();
        assert!(wire.is_cut() && !wire.has_unsent(), "nothing is kept for nobody");
    }
}
