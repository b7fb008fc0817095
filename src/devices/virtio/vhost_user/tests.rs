//! Front ends, good and bad.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::mpsc::{Receiver, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use firmware_less::{machine::Machine, testing::Random as Numbers};
use rustix::fs::{MemfdFlags, memfd_create};

use super::{VhostUser, request};
use crate::{
    devices::virtio::vsock::{Listener, Vsock},
    engine::kvm::GuestMemory,
};

const RAM: u64 = 64 << 20;

/// Nobody.
struct Deaf;

impl Listener for Deaf {
    fn heard(&mut self, _: u32, _: &[u8]) {}
    fn ended(&mut self, _: u32) {}
}

/// A device that is served, and our end of it.
struct Front {
    socket: UnixStream,
    over: Receiver<()>,
    server: JoinHandle<()>,
}

impl Front {
    fn new() -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let file = File::from(memfd_create("ram", MemfdFlags::CLOEXEC).unwrap());
        file.set_len(RAM).unwrap();
        let memory = GuestMemory::shared(&Machine::new(RAM, 1).unwrap(), &file).unwrap();
        let device = VhostUser::new(theirs, Box::new(Vsock::new(1, Box::new(Deaf))), memory, 2);
        let (end, over) = channel();
        let server = thread::spawn(move || {
            device.unwrap().serve();
            end.send(()).unwrap();
        });
        Self { socket, over, server }
    }

    fn ask(&mut self, request: u32, payload: &[u8]) {
        let size = u32::try_from(payload.len()).unwrap();
        let header = [request, 1, size].map(u32::to_le_bytes).concat();
        // It may have hung up.
        self.socket.write_all(&[&header, payload].concat()).ok();
    }

    fn answer<const N: usize>(&mut self) -> [u8; N] {
        let mut answer = [0; N];
        self.socket.read_exact(&mut answer).unwrap();
        answer
    }

    /// That it ends when we hang up.
    fn end(self) {
        drop(self.socket);
        self.over.recv_timeout(Duration::from_secs(20)).expect("it ends");
        self.server.join().unwrap();
    }
}

#[test]
fn a_front_end_is_told_features_and_configuration() {
    let mut front = Front::new();
    front.ask(request::GET_FEATURES, &[]);
    let [request, _, _, _, 5, _, _, _, 8, _, _, _, features @ ..] = front.answer::<20>() else {
        panic!("an answer of eight bytes");
    };
    assert_eq!(u32::from(request), request::GET_FEATURES);
    let wanted = 1 << 32 | 1 << 30 | 1 << 29 | 1 << 28;
    assert_eq!(u64::from_le_bytes(features), wanted);
    let config = [[0, 0, 0, 0], [8, 0, 0, 0], [0; 4], [9; 4], [9; 4]].concat();
    front.ask(request::GET_CONFIG, &config);
    assert_eq!(front.answer::<32>()[24..], [3, 0, 0, 0, 0, 0, 0, 0], "the guest's address");
    // Before there is a ring.
    front.ask(request::GET_VRING_BASE, &[1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(front.answer::<20>()[12..], [1, 0, 0, 0, 0, 0, 0, 0]);
    front.end();
}

#[test]
fn a_message_that_is_too_long_or_is_cut_ends_it() {
    let mut front = Front::new();
    front.socket.write_all(&[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]).unwrap();
    front.over.recv_timeout(Duration::from_secs(20)).expect("it ends");
    let mut front = Front::new();
    front.socket.write_all(&[5, 0, 0, 0, 1, 0, 0, 0, 100, 0, 0, 0, 1, 2, 3]).unwrap();
    front.end();
}

#[test]
fn anything_at_all_that_a_front_end_sends_neither_panics_nor_hangs() {
    let mut numbers = Numbers::seeded(3);
    for _ in 0..20 {
        let mut front = Front::new();
        let mut sink = front.socket.try_clone().unwrap();
        let drain = thread::spawn(move || while sink.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {});
        for _ in 0..500 {
            let request = u32::try_from(numbers.below(42)).unwrap();
            let len = numbers.below(64);
            let payload: Vec<u8> =
                (0..len).map(|_| numbers.one_of(&[0, 0, 0, 1, 2, 0x80, 0xff])).collect();
            front.ask(request, &payload);
        }
        front.socket.shutdown(std::net::Shutdown::Both).unwrap();
        drain.join().unwrap();
        front.end();
    }
}
