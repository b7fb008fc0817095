//! A device of ours behind somebody else's registers: the back end of vhost-user, by which
//! QEMU has the PCI function, and we its queues. QEMU's docs/interop/vhost-user.rst.
//!
//! What is asked of memory is asked of our own mapping; the front end's table of it says only
//! where its addresses are the guest's.

mod front;
mod message;
mod ring;

use std::{
    io,
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    sync::{Arc, atomic::Ordering},
};

use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

pub use self::front::Front;
use self::{message::Message, ring::Ring};
use super::{
    Device, Driver,
    queue::{ISR_CONFIG, Interrupt, Queue},
    settings::{Changer, Settings},
    transport::{EVENT_IDX, INDIRECT_DESC, VERSION_1},
    worker::{Alarm, Worker},
};
use crate::{devices::interrupt_line, engine::kvm::GuestMemory};

/// Requests.
mod request {
    pub(super) const GET_FEATURES: u32 = 1;
    pub(super) const SET_FEATURES: u32 = 2;
    pub(super) const SET_OWNER: u32 = 3;
    pub(super) const SET_MEM_TABLE: u32 = 5;
    pub(super) const SET_VRING_NUM: u32 = 8;
    pub(super) const SET_VRING_ADDR: u32 = 9;
    pub(super) const SET_VRING_BASE: u32 = 10;
    pub(super) const GET_VRING_BASE: u32 = 11;
    pub(super) const SET_VRING_KICK: u32 = 12;
    pub(super) const SET_VRING_CALL: u32 = 13;
    pub(super) const GET_PROTOCOL_FEATURES: u32 = 15;
    pub(super) const SET_VRING_ENABLE: u32 = 18;
    pub(super) const GET_CONFIG: u32 = 24;
}

/// A feature bit that is none of the device's: there are features of the protocol.
const PROTOCOL_FEATURES: u64 = 1 << 30;
/// A feature of the protocol: the configuration is ours.
const CONFIG: u64 = 1 << 9;
/// Instead of a file, in the number of a ring: there is none.
const NO_FILE: u64 = 1 << 8;
/// Bytes before those of a configuration: offset, size, flags.
const CONFIG_HEADER: usize = 12;

/// A range of guest memory, and where the front end has it.
#[derive(Clone, Copy, Debug)]
struct Region {
    guest: u64,
    size: u64,
    user: u64,
}

/// A device whose registers are at the other end of a socket.
///
/// The device gives every request back before it stops, as one that only answers does.
#[derive(Debug)]
pub struct VhostUser {
    socket: UnixStream,
    memory: GuestMemory,
    state: State,
    offered: u64,
    config: Vec<u8>,
    agreed: u64,
    regions: Vec<Region>,
    rings: Vec<Ring>,
}

/// Where the device is.
enum State {
    Idle(Box<dyn Device>),
    Serving(Worker),
    Lost,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Idle(_) => "Idle",
            Self::Serving(_) => "Serving",
            Self::Lost => "Lost",
        })
    }
}

impl VhostUser {
    /// `device` for the front end at the other end of `socket`, which has its first `queues`
    /// queues served here, over `memory`.
    pub fn new(
        socket: UnixStream,
        device: Box<dyn Device>,
        memory: GuestMemory,
        queues: usize,
    ) -> io::Result<Self> {
        let offered = device.features() | VERSION_1 | INDIRECT_DESC | EVENT_IDX;
        let config = device.config().to_vec();
        let rings = (0..queues).map(|_| Ring::new()).collect::<io::Result<_>>()?;
        let (agreed, regions) = (0, Vec::new());
        let state = State::Idle(device);
        Ok(Self { socket, memory, state, offered, config, agreed, regions, rings })
    }

    /// Does what the front end wants, until it hangs up.
    pub fn serve(mut self) {
        while self.wait().and_then(|()| self.take()).is_ok() {}
        self.stop();
    }

    /// Waits for a message, and passes bells and interrupts on meanwhile.
    fn wait(&self) -> io::Result<()> {
        let watched = Epoll::new()?;
        let watch = |file, data| {
            let event = EpollEvent::new(EventSet::IN, data);
            watched.ctl(ControlOperation::Add, file, event)
        };
        // Numbered, two to a ring; the socket is the one behind.
        let sources = self.rings.iter().flat_map(Ring::sources);
        let mut count = 0;
        for source in sources {
            source.map_or(Ok(()), |file| watch(file, count))?;
            count = count.saturating_add(1);
        }
        watch(self.socket.as_raw_fd(), count)?;
        let mut events = [EpollEvent::default(); 8];
        loop {
            let ready = match watched.wait(-1, &mut events) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                ready => ready?,
            };
            for event in events.iter().take(ready) {
                if event.data() == count {
                    return Ok(());
                }
                let number = usize::try_from(event.data()).unwrap_or(usize::MAX);
                if let Some(ring) = self.rings.get(number.div_euclid(2)) {
                    ring.pass_on(number.rem_euclid(2));
                }
            }
        }
    }

    /// Takes a message.
    fn take(&mut self) -> io::Result<()> {
        let message = Message::receive(&self.socket)?;
        match message.request {
            request::GET_FEATURES => {
                let features = self.offered | PROTOCOL_FEATURES;
                return message.answer(&self.socket, &features.to_le_bytes());
            }
            request::GET_PROTOCOL_FEATURES => {
                return message.answer(&self.socket, &CONFIG.to_le_bytes());
            }
            request::GET_CONFIG => return self.tell_config(&message),
            request::GET_VRING_BASE => return self.stop_ring(&message),
            request::SET_FEATURES => self.agreed = message.u64(0) & self.offered,
            request::SET_MEM_TABLE => self.regions = regions(&message),
            _ => self.set_up(message),
        }
        self.start_if_ready();
        Ok(())
    }

    fn tell_config(&self, message: &Message) -> io::Result<()> {
        let (offset, size) = (message.u32(0) as usize, message.u32(4) as usize);
        let mut answer = message.payload.clone();
        let room = answer.get_mut(CONFIG_HEADER..).unwrap_or_default();
        let bytes = self.config.iter().chain(std::iter::repeat(&0)).skip(offset).take(size);
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
        message.answer(&self.socket, &answer)
    }

    /// Stops the device, and tells what would have come next on a ring.
    fn stop_ring(&mut self, message: &Message) -> io::Result<()> {
        self.stop();
        let number = message.u32(0);
        let next = self.rings.get(number as usize).and_then(|ring| self.used(ring)).unwrap_or(0);
        if let Some(ring) = self.rings.get_mut(number as usize) {
            ring.kick = None;
        }
        let answer = [number, u32::from(next)].map(u32::to_le_bytes).concat();
        message.answer(&self.socket, &answer)
    }

    /// Sets a ring up.
    fn set_up(&mut self, mut message: Message) {
        let (number, value) = (message.u64(0) & 0xff, message.u32(4));
        // Descriptors, available, used; there the last comes before the second.
        let addresses = [8, 24, 16].map(|at| message.u64(at));
        let file = message.files.pop().filter(|_| message.u64(0) & NO_FILE == 0);
        let place = usize::try_from(number).ok().and_then(|number| self.rings.get_mut(number));
        let Some(ring) = place else { return };
        match message.request {
            request::SET_VRING_NUM => ring.size = u16::try_from(value).unwrap_or(0),
            request::SET_VRING_ADDR => ring.addresses = addresses,
            request::SET_VRING_KICK => ring.kick = file,
            request::SET_VRING_CALL => ring.call = file,
            request::SET_VRING_ENABLE => ring.is_enabled = value != 0,
            // What else there is, is nothing to us.
            _ => {}
        }
    }

    /// Has the device begin, once all its rings are there.
    fn start_if_ready(&mut self) {
        let is_ready = self.rings.iter().all(|ring| ring.kick.is_some() && ring.is_enabled);
        if !is_ready || !matches!(self.state, State::Idle(_)) {
            return;
        }
        let Some(driver) = self.driver() else { return };
        let State::Idle(device) = std::mem::replace(&mut self.state, State::Lost) else { return };
        let config = Interrupt { signal: None, isr: Arc::default(), bit: ISR_CONFIG };
        let alarm = Alarm { needs_reset: Arc::default(), config };
        if let Ok(worker) = Worker::start(device, driver, alarm) {
            self.state = State::Serving(worker);
        }
    }

    /// The driver at the rings; nothing where they are not in guest memory.
    fn driver(&self) -> Option<Driver> {
        let queues = self.rings.iter().map(|ring| {
            let addresses = ring.addresses.map(|address| self.guest(address));
            let [Some(descriptors), Some(available), Some(used)] = addresses else { return None };
            let with_event_index = self.agreed & EVENT_IDX != 0;
            let next = self.used(ring)?;
            let queue = ring.queue([descriptors, available, used], next, with_event_index)?;
            let (bell, interrupt) = ring.ends().ok()?;
            Queue::new(queue, self.memory.clone(), bell, interrupt)
        });
        let queues = queues.collect::<Option<_>>()?;
        let stop = interrupt_line().ok()?;
        let settings = Arc::new(Settings::new(&self.config));
        let interrupt = Interrupt { signal: None, isr: Arc::default(), bit: ISR_CONFIG };
        let changer = Changer { settings, interrupt };
        Driver::new((self.memory.clone(), self.agreed), queues, stop, changer).ok()
    }

    /// How many requests were given back on `ring`, as far as 16 bits go.
    fn used(&self, ring: &Ring) -> Option<u16> {
        let [_, _, used] = ring.addresses;
        let place = GuestAddress(self.guest(used)?.checked_add(2)?);
        Bytes::load(&self.memory, place, Ordering::Acquire).ok().map(u16::from_le)
    }

    /// Where the front end's `address` is in the guest.
    fn guest(&self, address: u64) -> Option<u64> {
        self.regions.iter().find_map(|region| {
            let offset = address.checked_sub(region.user).filter(|offset| *offset < region.size)?;
            region.guest.checked_add(offset)
        })
    }

    fn stop(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Lost) {
            State::Serving(worker) => worker.stop().map_or(State::Lost, State::Idle),
            other => other,
        };
    }
}

/// The table of memory. Its files are closed: that memory is mapped here already.
fn regions(message: &Message) -> Vec<Region> {
    const REGION_LEN: usize = 32;
    let count = message.u32(0) as usize;
    let places = (8..message.payload.len()).step_by(REGION_LEN).take(count);
    let region = |at: usize| Region {
        guest: message.u64(at),
        size: message.u64(at.saturating_add(8)),
        user: message.u64(at.saturating_add(16)),
    };
    places.map(region).collect()
}

#[cfg(test)]
mod tests;
