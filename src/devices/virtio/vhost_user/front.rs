//! The front end of vhost-user: a device of somebody else's behind our registers.
//! QEMU's docs/interop/vhost-user.rst.

use std::{
    io,
    os::{
        fd::{AsRawFd as _, RawFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use virtio_queue::QueueT as _;
use vm_memory::{GuestMemoryBackend as _, GuestMemoryRegion as _};
use vmm_sys_util::sock_ctrl_msg::ScmSocket as _;

use super::{
    super::{Driver, Queue},
    EVENT_IDX, INDIRECT_DESC, VERSION_1,
    message::Message,
    request,
};
use crate::engine::kvm::GuestMemory;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Flags of a request: the version.
const VERSION: u32 = 1;
/// What the transport offers to every guest.
const OFFERED: u64 = VERSION_1 | INDIRECT_DESC | EVENT_IDX;

/// Whoever serves the queues, at the other end of a socket.
#[derive(Debug)]
pub struct Front {
    socket: UnixStream,
    features: u64,
    /// It was said that we are the owner. That may be said once.
    is_owned: bool,
}

impl Front {
    /// The front end to the back end at `socket`, when that has answered.
    pub fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut front = Self { socket, features: 0, is_owned: false };
        front.send(request::GET_FEATURES, &[], &[])?;
        front.features = front.answer(request::GET_FEATURES)?.u64(0);
        if front.features & OFFERED == OFFERED {
            return Ok(front);
        }
        let lacks = format!("it offers {:#x} of {OFFERED:#x}", front.features);
        Err(io::Error::new(io::ErrorKind::Unsupported, lacks))
    }

    /// Has the queues of `driver` served. Where the driver polls one, `lines` has what is
    /// signalled instead, by its number.
    pub(in super::super) fn start(&mut self, driver: &Driver, lines: &[RawFd]) -> io::Result<()> {
        if !self.is_owned {
            self.send(request::SET_OWNER, &[], &[])?;
            self.is_owned = true;
        }
        let features = driver.features & self.features;
        self.send(request::SET_FEATURES, &features.to_le_bytes(), &[])?;
        let (table, files) = memory_table(&driver.memory)?;
        self.send(request::SET_MEM_TABLE, &table, &files)?;
        for (number, (queue, line)) in (0..).zip(driver.queues.iter().zip(lines)) {
            if queue.is_used() {
                self.start_ring(number, queue, *line)?;
            }
        }
        Ok(())
    }

    fn start_ring(&self, number: u32, queue: &Queue, line: RawFd) -> io::Result<()> {
        let ring = queue.ring();
        let pair = |value: u32| [number, value].map(u32::to_le_bytes).concat();
        self.send(request::SET_VRING_NUM, &pair(ring.size().into()), &[])?;
        self.send(request::SET_VRING_BASE, &pair(ring.next_avail().into()), &[])?;
        // Where the guest has them is where we say that we have them.
        let addresses = [ring.desc_table(), ring.used_ring(), ring.avail_ring(), 0];
        let addresses = [pair(0), addresses.map(u64::to_le_bytes).concat()].concat();
        self.send(request::SET_VRING_ADDR, &addresses, &[])?;
        let index = u64::from(number).to_le_bytes();
        self.send(request::SET_VRING_CALL, &index, &[line])?;
        self.send(request::SET_VRING_KICK, &index, &[queue.bell().as_raw_fd()])
    }

    /// Has nothing served any more of the first `queues` queues: when this returns, nobody
    /// touches their memory.
    pub(in super::super) fn stop(&self, queues: u32) -> io::Result<()> {
        for number in 0..queues {
            let state = [number, 0].map(u32::to_le_bytes).concat();
            self.send(request::GET_VRING_BASE, &state, &[])?;
            self.answer(request::GET_VRING_BASE)?;
        }
        Ok(())
    }

    fn send(&self, request: u32, payload: &[u8], files: &[RawFd]) -> io::Result<()> {
        let size = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let header = [request, VERSION, size].map(u32::to_le_bytes).concat();
        let bytes = [header.as_slice(), payload].concat();
        // It is far shorter than what a socket takes at a time.
        let sent = self.socket.send_with_fds(&[bytes.as_slice()], files)?;
        if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// The answer to `request`.
    fn answer(&self, request: u32) -> io::Result<Message> {
        let answer = Message::receive(&self.socket)?;
        if answer.request == request { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

/// What the back end is told of `memory`, and the files that hold it.
fn memory_table(memory: &GuestMemory) -> io::Result<(Vec<u8>, Vec<RawFd>)> {
    let (mut regions, mut files) = (Vec::new(), Vec::new());
    for bank in memory.iter() {
        let place = bank.file_offset().ok_or(io::ErrorKind::Unsupported)?;
        let (guest, offset) = (bank.start_addr().0, place.start());
        regions.extend([guest, bank.len(), guest, offset].map(u64::to_le_bytes).concat());
        files.push(place.file().as_raw_fd());
    }
    let count = u32::try_from(files.len()).map_err(io::Error::other)?;
    Ok(([count.to_le_bytes(), [0; 4]].concat().into_iter().chain(regions).collect(), files))
}
