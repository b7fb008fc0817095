//! A machine without a processor: the test is the guest.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use firmware_less::machine::{ECAM, Machine};
use vm_memory::{Bytes as _, GuestAddress};
use vmm_sys_util::eventfd::EventFd;

use crate::{
    devices::{
        pci::{Bus, Message, Wiring},
        virtio::Device,
    },
    engine::kvm::GuestMemory,
};

/// RAM, from 0.
pub(super) const RAM: u64 = 64 << 20;
/// Where the first function's memory is put.
pub(super) const BAR: u64 = 0xc000_0000;
/// Where the rings of the one queue are.
pub(super) const DESCRIPTORS: u64 = 0x1_0000;
pub(super) const AVAILABLE: u64 = 0x2_0000;
pub(super) const USED: u64 = 0x3_0000;
/// How many entries they have.
pub(super) const SIZE: u16 = 16;

pub(super) const NEXT: u16 = 1;
pub(super) const WRITE: u16 = 2;
pub(super) const INDIRECT: u16 = 4;
pub(super) const NEEDS_RESET: u8 = 0x40;
const VERSION_1: u64 = 1 << 32;

/// Remembers what is tied to what.
#[derive(Debug, Default)]
pub(super) struct Wires {
    pub(super) lines: Mutex<BTreeMap<u32, (EventFd, Message)>>,
    pub(super) bells: Mutex<BTreeMap<u64, EventFd>>,
}

impl Wiring for Wires {
    fn connect(&self, line: u32, signal: &EventFd, message: Message) -> io::Result<()> {
        let old = self.lines.lock().unwrap().insert(line, (signal.try_clone()?, message));
        assert!(old.is_none(), "line {line} was connected");
        Ok(())
    }

    fn reroute(&self, line: u32, message: Message) -> io::Result<()> {
        self.lines.lock().unwrap().get_mut(&line).expect("a connected line").1 = message;
        Ok(())
    }

    fn disconnect(&self, line: u32, _: &EventFd) -> io::Result<()> {
        self.lines.lock().unwrap().remove(&line).expect("a connected line");
        Ok(())
    }

    fn hang_bell(&self, address: u64, bell: &EventFd) -> io::Result<()> {
        // As KVM does.
        if self.bells.lock().unwrap().contains_key(&address) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.bells.lock().unwrap().insert(address, bell.try_clone()?);
        Ok(())
    }

    fn take_bell(&self, address: u64, _: &EventFd) -> io::Result<()> {
        self.bells.lock().unwrap().remove(&address).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }
}

/// A bus with one device, and its guest.
pub(super) struct Rig {
    pub(super) bus: Bus,
    pub(super) memory: GuestMemory,
    pub(super) wires: Arc<Wires>,
    available: u16,
}

impl Rig {
    pub(super) fn new(device: Box<dyn Device>) -> Self {
        let memory = GuestMemory::new(&Machine::new(RAM, 1).unwrap()).unwrap();
        let wires = Arc::new(Wires::default());
        let wiring: Arc<dyn Wiring> = wires.clone();
        let bus = Bus::new(vec![device], &memory, &wiring).unwrap();
        Self { bus, memory, wires, available: 0 }
    }

    /// A driver that has found the device and put its memory at [`BAR`].
    pub(super) fn found(device: Box<dyn Device>) -> Self {
        let rig = Self::new(device);
        rig.write_config(0x10, &u32::try_from(BAR).unwrap().to_le_bytes());
        rig.write_config(0x04, &[0x06, 0]);
        rig
    }

    /// One that is ready, its queue where it should be.
    pub(super) fn ready(device: Box<dyn Device>) -> Self {
        let mut rig = Self::found(device);
        rig.start([DESCRIPTORS, AVAILABLE, USED]);
        rig
    }

    pub(super) fn read_config<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut data = [0x5a; N];
        self.bus.read_memory(ECAM.start() + (1 << 15) + at, &mut data);
        data
    }

    pub(super) fn write_config(&self, at: u64, data: &[u8]) {
        self.bus.write_memory(ECAM.start() + (1 << 15) + at, data);
    }

    pub(super) fn read<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut data = [0x5a; N];
        self.bus.read_memory(BAR + at, &mut data);
        data
    }

    pub(super) fn write(&self, at: u64, data: &[u8]) {
        self.bus.write_memory(BAR + at, data);
    }

    pub(super) fn status(&self) -> u8 {
        self.read::<1>(20)[0]
    }

    pub(super) fn reset(&mut self) {
        self.write(20, &[0]);
        assert_eq!(self.status(), 0);
    }

    /// Agrees to all that is offered, sets the queue up with vector 1 at these addresses, and
    /// says that it is ready.
    pub(super) fn start(&mut self, rings: [u64; 3]) {
        self.available = 0;
        self.agree(u64::MAX);
        self.set_up(0, rings);
        self.write(20, &[15]);
    }

    /// Agrees to what is offered and wanted.
    pub(super) fn agree(&self, wanted: u64) {
        self.write(20, &[1]);
        self.write(20, &[3]);
        let mut offered = 0;
        for half in [0, 1] {
            self.write(0, &u32::to_le_bytes(half));
            offered |= u64::from(u32::from_le_bytes(self.read(4))) << (32 * half);
        }
        assert_ne!(offered & VERSION_1, 0);
        // Without event indices: every request is told of.
        let agreed = offered & wanted & !(1 << 29);
        for half in [0, 1] {
            self.write(8, &u32::to_le_bytes(half));
            self.write(12, &agreed.to_le_bytes()[usize::try_from(half * 4).unwrap()..][..4]);
        }
        self.write(20, &[11]);
        assert_eq!(self.status(), 11, "the features are agreed upon");
    }

    /// Sets that queue up, with the vector behind its number, at these addresses.
    pub(super) fn set_up(&self, queue: u16, rings: [u64; 3]) {
        for at in [rings[1], rings[2]] {
            // Where there is no memory, the device is to find that out.
            self.memory.write_slice(&[0; 0x1000], GuestAddress(at)).ok();
        }
        self.write(22, &queue.to_le_bytes());
        self.write(24, &SIZE.to_le_bytes());
        self.write(26, &(queue + 1).to_le_bytes());
        for (at, ring) in [32, 40, 48].into_iter().zip(rings) {
            self.write(at, &ring.to_le_bytes());
        }
        self.write(28, &[1, 0]);
    }

    /// Writes the descriptor of that number.
    pub(super) fn describe(&self, number: u16, (at, len): (u64, u32), flags: u16, next: u16) {
        let descriptor =
            [&at.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()];
        let place = DESCRIPTORS + 16 * u64::from(number);
        self.memory.write_slice(&descriptor.concat(), GuestAddress(place)).unwrap();
    }

    /// Makes the chain that begins with `head` available, and rings.
    pub(super) fn offer(&mut self, head: u16) {
        let slot = AVAILABLE + 4 + 2 * u64::from(self.available % SIZE);
        self.memory.write_obj(head, GuestAddress(slot)).unwrap();
        self.available = self.available.wrapping_add(1);
        self.memory.write_obj(self.available, GuestAddress(AVAILABLE + 2)).unwrap();
        self.ring();
    }

    pub(super) fn ring(&self) {
        self.write(0x3000, &[0, 0]);
    }

    pub(super) fn used(&self) -> u16 {
        self.memory.read_obj(GuestAddress(USED + 2)).unwrap()
    }

    /// Waits until `what` is so, which must not take long.
    pub(super) fn wait_until(&self, what: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !what(self) {
            assert!(start.elapsed() < Duration::from_secs(20), "it does not come to that");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Has a request of one header, one buffer and a status carried out; the status.
    pub(super) fn request(&mut self, header: (u32, u64), (at, len, flags): (u64, u32, u16)) -> u8 {
        self.describe(0, (0x10_0000, 16), NEXT, 1);
        self.describe(1, (at, len), flags | NEXT, 2);
        self.describe(2, (0x10_1000, 1), WRITE, 0);
        let header = [&header.0.to_le_bytes()[..], &[0; 4], &header.1.to_le_bytes()].concat();
        self.memory.write_slice(&header, GuestAddress(0x10_0000)).unwrap();
        self.memory.write_slice(&[0xee], GuestAddress(0x10_1000)).unwrap();
        let before = self.used();
        self.offer(0);
        self.wait_until(|rig| rig.used() == before.wrapping_add(1));
        self.memory.read_obj(GuestAddress(0x10_1000)).unwrap()
    }
}
