//! virtio-net: a network card. Virtio 1.2, 5.1.
//!
//! What passes are frames as they are on a wire, whole, with their check sums: there are no
//! offloads. Where the other end takes long frames the guest is told so
//! (VIRTIO_NET_F_MTU), and sends 64 KiB at a time without them.

mod mac;
mod stream;
mod tap;
mod wire;

use std::{os::fd::AsRawFd as _, sync::PoisonError};

use virtio_bindings::{
    virtio_ids::VIRTIO_ID_NET,
    virtio_net::{
        VIRTIO_NET_F_MAC, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_MTU, VIRTIO_NET_F_STATUS,
        VIRTIO_NET_S_LINK_UP,
    },
};
use vm_memory::VolatileSlice;
use vmm_sys_util::epoll::EventSet;

pub use self::{
    mac::{Mac, MacError},
    stream::Stream,
    tap::Tap,
    wire::{FRAME_MAX, FRAME_MIN, SharedWire, Wire},
};
use super::{Broken, Device, Driver, Queue, Ready, block::split};

/// Entries of the queue of what is received, and of what is sent.
pub const QUEUES: [u16; 2] = [256, 256];
/// What is before each frame in guest memory: `struct virtio_net_hdr_v1`. Virtio 1.2, 5.1.6.
const HEADER_LEN: usize = 12;
/// Where in it the number of requests is that the frame takes.
const COUNT_AT: usize = 10;

/// A network card.
#[derive(Debug)]
pub struct Net {
    name: String,
    wire: SharedWire,
    config: [u8; 12],
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Received {
    /// It is the driver's, or nobody's.
    Taken,
    /// The driver has to make room for it first.
    NoRoom,
}

impl Net {
    /// The card number `number` of the machine, plugged into `wire`.
    #[must_use]
    pub fn new(number: usize, mac: Mac, mtu: u16, wire: SharedWire) -> Self {
        let mut config = [0; 12];
        let status = u16::try_from(VIRTIO_NET_S_LINK_UP).unwrap_or(1).to_le_bytes();
        // Virtio 1.2, 5.1.4; between status and MTU is the number of pairs of queues, which
        // counts only where there may be more than one.
        let fields = mac.0.into_iter().chain(status).chain([0; 2]).chain(mtu.to_le_bytes());
        for (to, from) in config.iter_mut().zip(fields) {
            *to = from;
        }
        Self { name: format!("net{number}"), wire, config }
    }
}

impl Device for Net {
    fn id(&self) -> u32 {
        VIRTIO_ID_NET
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn features(&self) -> u64 {
        [VIRTIO_NET_F_MTU, VIRTIO_NET_F_MAC, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_STATUS]
            .into_iter()
            .fold(0, |all, bit| all | 1 << bit)
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUES
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn serve(&mut self, driver: &mut Driver) -> Result<(), Broken> {
        // Nobody else has it while this card is there.
        let mut wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        let mut watched = EventSet::empty();
        let served = exchange(&mut *wire, driver, &mut watched);
        driver.watch_for(&wire.as_fd().as_raw_fd(), watched, EventSet::empty()).ok();
        served
    }
}

/// Carries frames both ways until the driver is to stop. `watched` is what the wire is
/// watched for.
fn exchange(
    wire: &mut (dyn Wire + 'static),
    driver: &mut Driver,
    watched: &mut EventSet,
) -> Result<(), Broken> {
    let mergeable = driver.features & 1 << VIRTIO_NET_F_MRG_RXBUF != 0;
    while !driver.is_stopping() {
        let [rx, tx] = driver.queues.as_mut_slice() else { return Err(Broken) };
        let more_to_send = send(wire, tx)?;
        let received = receive(wire, rx, mergeable)?;
        let is_blocked = received == Some(Received::NoRoom);
        let more_to_receive = match received {
            Some(Received::Taken) => true,
            Some(Received::NoRoom) => rx.listen_for_room()?,
            None => false,
        };
        if more_to_send || more_to_receive {
            continue;
        }
        // What the driver has no room for stays where it is: whoever sends it waits.
        let mut wanted = EventSet::empty();
        wanted.set(EventSet::IN, !is_blocked && !wire.is_cut());
        wanted.set(EventSet::OUT, wire.has_unsent());
        let old = std::mem::replace(watched, wanted);
        let file = wire.as_fd().as_raw_fd();
        // It can fail for want of memory only; then the card is as good as broken.
        driver.watch_for(&file, old, wanted).map_err(|_no_memory| Broken)?;
        if driver.wait() == Ready::Stop {
            break;
        }
    }
    Ok(())
}

/// Sends what the driver has to send, as long as there is room on the wire; whether there is
/// more for which there is.
fn send(wire: &mut (dyn Wire + 'static), tx: &mut Queue) -> Result<bool, Broken> {
    tx.do_not_disturb()?;
    wire.flush();
    let mut sent = 0_u16;
    // No more than there is room for: others may want the device to stop.
    while sent < tx.size()
        && wire.has_room()
        && let Some(chain) = tx.take()?
    {
        let head = chain.head();
        let readable = chain.buffers().ok_or(Broken)?.readable;
        let (_, frame) = split(&readable, HEADER_LEN as u64);
        wire.send(&frame);
        tx.used(head, 0)?;
        sent = sent.saturating_add(1);
    }
    wire.flush();
    if sent > 0 {
        tx.tell()?;
    }
    if wire.has_room() { tx.listen() } else { Ok(false) }
}

/// Gives the driver what came, as many frames as its queue has entries at most; what became
/// of the last, if any was there.
fn receive(
    wire: &mut (dyn Wire + 'static),
    rx: &mut Queue,
    mergeable: bool,
) -> Result<Option<Received>, Broken> {
    rx.do_not_disturb()?;
    let (mut last, mut any) = (None, false);
    for _ in 0..rx.size() {
        let Some(frame) = wire.next() else {
            last = None;
            break;
        };
        let received = if rx.is_used() { deliver(rx, frame, mergeable)? } else { Received::Taken };
        last = Some(received);
        if received == Received::NoRoom {
            break;
        }
        any = true;
        wire.taken();
    }
    if any {
        rx.tell()?;
    }
    Ok(last)
}

/// Puts a frame where the driver wants it. One that does not fit into the only request that
/// it may take is lost.
fn deliver(rx: &mut Queue, frame: &[u8], mergeable: bool) -> Result<Received, Broken> {
    let len = frame.len().saturating_add(HEADER_LEN);
    let most = if mergeable { rx.size() } else { 1 };
    let Some(requests) = rx.take_room(len as u64, most)? else { return Ok(Received::NoRoom) };
    let count = u16::try_from(requests.len()).map_err(|_too_many| Broken)?;
    let mut header = [0; HEADER_LEN];
    for (to, from) in header.iter_mut().skip(COUNT_AT).zip(count.to_le_bytes()) {
        *to = from;
    }
    let room = requests.iter().fold(0_u64, |room, request| room.saturating_add(request.room()));
    let mut rest = [header.as_slice(), if room < len as u64 { &[] } else { frame }];
    let mut used = Vec::with_capacity(requests.len());
    for request in &requests {
        let mut written = 0_usize;
        for slice in &request.buffers.writable {
            written = written.saturating_add(put(slice, &mut rest));
        }
        used.push((request.head, u32::try_from(written).map_err(|_too_long| Broken)?));
    }
    drop(requests);
    rx.used_together(&used)?;
    Ok(Received::Taken)
}

/// Puts as much of `rest` into `slice` as there is room for; how much that was.
fn put(slice: &VolatileSlice<'_>, rest: &mut [&[u8]; 2]) -> usize {
    let mut done = 0_usize;
    for part in rest {
        let Ok(free) = slice.offset(done) else { break };
        let (now, later) = part.split_at(free.len().min(part.len()));
        free.copy_from(now);
        done = done.saturating_add(now.len());
        *part = later;
    }
    done
}
