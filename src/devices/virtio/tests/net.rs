//! A network card, its driver and its other end, all of them good and bad.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use firmware_less::testing::Random as Numbers;
use vm_memory::{Bytes as _, GuestAddress};

use super::{
    super::net::{FRAME_MAX, Mac, Net, Stream},
    rig::{BAR, NEEDS_RESET, NEXT, RAM, Rig, SIZE, WRITE},
};

const MERGEABLE: u64 = 1 << 15;
const HEADER: usize = 12;
const HEADER_LEN: u32 = 12;
/// The rings of what is received, and of what is sent: descriptors, available, used.
const RINGS: [[u64; 3]; 2] = [[0x1_0000, 0x2_0000, 0x3_0000], [0x4_0000, 0x5_0000, 0x6_0000]];
const RX: usize = 0;
const TX: usize = 1;

/// A card with its driver and its other end.
struct Card {
    rig: Rig,
    peer: UnixStream,
    offered: [u16; 2],
}

impl Card {
    fn found() -> Self {
        let (ours, peer) = UnixStream::pair().unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let wire = Arc::new(Mutex::new(Stream::new(ours)));
        let net = Net::new(0, Mac([2, 3, 4, 5, 6, 7]), 65520, wire);
        Self { rig: Rig::found(Box::new(net)), peer, offered: [0; 2] }
    }

    fn ready() -> Self {
        let mut card = Self::found();
        card.start(u64::MAX);
        card
    }

    fn start(&mut self, features: u64) {
        self.rig.agree(features);
        for (queue, rings) in (0..).zip(RINGS) {
            self.rig.set_up(queue, rings);
        }
        self.offered = [0; 2];
        self.rig.write(20, &[15]);
    }

    /// Makes the driver's buffers available as one request whose number is that of the first.
    fn offer(&mut self, queue: usize, first: u16, buffers: &[(u64, u32)]) {
        let writable = if queue == RX { WRITE } else { 0 };
        for (number, &(at, len)) in (first..).zip(buffers) {
            let is_last = usize::from(number - first) + 1 == buffers.len();
            let flags = writable | if is_last { 0 } else { NEXT };
            self.describe(queue, number, (at, len), [flags, number + 1]);
        }
        self.make_available(queue, first);
    }

    /// The flags come with the number of the next.
    fn describe(&self, queue: usize, number: u16, (at, len): (u64, u32), flags: [u16; 2]) {
        let flags = flags.map(u16::to_le_bytes).concat();
        let descriptor = [&at.to_le_bytes()[..], &len.to_le_bytes(), &flags];
        let place = RINGS[queue][0] + 16 * u64::from(number);
        self.rig.memory.write_slice(&descriptor.concat(), GuestAddress(place)).unwrap();
    }

    fn make_available(&mut self, queue: usize, head: u16) {
        let offered = &mut self.offered[queue];
        let slot = RINGS[queue][1] + 4 + 2 * u64::from(*offered % SIZE);
        self.rig.memory.write_obj(head, GuestAddress(slot)).unwrap();
        *offered = offered.wrapping_add(1);
        self.rig.memory.write_obj(*offered, GuestAddress(RINGS[queue][1] + 2)).unwrap();
        self.ring(queue);
    }

    fn ring(&self, queue: usize) {
        self.rig.write(0x3000 + 4 * queue as u64, &[0, 0]);
    }

    fn used(&self, queue: usize) -> u16 {
        self.rig.memory.read_obj(GuestAddress(RINGS[queue][2] + 2)).unwrap()
    }

    /// The head and the length of that entry of the ring.
    fn entry(&self, queue: usize, number: u16) -> (u32, u32) {
        let place = RINGS[queue][2] + 4 + 8 * u64::from(number % SIZE);
        let read = |at: u64| self.rig.memory.read_obj(GuestAddress(at)).unwrap();
        (read(place), read(place + 4))
    }

    fn wait_for_used(&self, queue: usize, count: u16) {
        let used = RINGS[queue][2] + 2;
        self.rig.wait_until(|rig| rig.memory.read_obj::<u16>(GuestAddress(used)).unwrap() == count);
    }

    fn wait_for_alarm(&self) {
        self.rig.wait_until(|rig| rig.status() & NEEDS_RESET != 0);
    }

    fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.rig.memory.read_slice(&mut bytes, GuestAddress(at)).unwrap();
        bytes
    }

    /// Sends a frame from the driver's side.
    fn send(&mut self, frame: &[u8]) {
        self.rig.memory.write_slice(&[0; HEADER], GuestAddress(0x10_0000)).unwrap();
        self.rig.memory.write_slice(frame, GuestAddress(0x20_0000)).unwrap();
        let len = u32::try_from(frame.len()).unwrap();
        self.offer(TX, 0, &[(0x10_0000, HEADER_LEN), (0x20_0000, len)]);
    }

    /// The next frame that came to the other end.
    fn heard(&mut self) -> Vec<u8> {
        let mut len = [0; 4];
        self.peer.read_exact(&mut len).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(len) as usize];
        self.peer.read_exact(&mut frame).unwrap();
        frame
    }

    /// Says a frame at the other end.
    fn say(&mut self, frame: &[u8]) {
        self.peer.write_all(&u32::try_from(frame.len()).unwrap().to_be_bytes()).unwrap();
        self.peer.write_all(frame).unwrap();
    }

    /// That it still carries frames both ways, after a reset.
    fn still_works(&mut self) {
        self.rig.reset();
        self.start(u64::MAX);
        // What is on its way from before comes first.
        self.peer.set_nonblocking(true).unwrap();
        let mut rest = [0; 4096];
        loop {
            match self.peer.read(&mut rest) {
                Ok(1..) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                other => panic!("{other:?}"),
            }
        }
        self.peer.set_nonblocking(false).unwrap();
        self.send(&[0x5a; 60]);
        assert_eq!(self.heard(), [0x5a; 60]);
        self.offer(RX, 0, &[(0x30_0000, 2048)]);
        self.say(&[0xa5; 70]);
        self.wait_for_used(RX, 1);
        assert_eq!(self.entry(RX, 0), (0, 82));
        assert_eq!(self.bytes(0x30_0000 + HEADER as u64, 70), [0xa5; 70]);
    }
}

#[test]
fn a_card_tells_its_address_and_how_long_packets_may_be() {
    let card = Card::found();
    assert_eq!(card.rig.read::<6>(0x2000), [2, 3, 4, 5, 6, 7]);
    assert_eq!(card.rig.read::<2>(0x2006), [1, 0], "its link is up");
    assert_eq!(u16::from_le_bytes(card.rig.read(0x200a)), 65520);
}

#[test]
fn frames_go_out_as_they_are_in_however_many_buffers() {
    let mut card = Card::ready();
    let frame: Vec<u8> = (0..200).collect();
    card.rig.memory.write_slice(&[0; HEADER], GuestAddress(0x10_0000)).unwrap();
    card.rig.memory.write_slice(&frame, GuestAddress(0x10_0000 + HEADER as u64)).unwrap();
    let at = |offset: u64| 0x10_0000 + offset;
    // The header and the frame in one, cut anywhere, and the header in pieces.
    for buffers in [
        vec![(at(0), 212)],
        vec![(at(0), 12), (at(12), 200)],
        vec![(at(0), 5), (at(5), 8), (at(13), 0), (at(13), 199)],
    ] {
        card.offer(TX, 0, &buffers);
        assert_eq!(card.heard(), frame, "{buffers:?}");
    }
    card.wait_for_used(TX, 3);
}

#[test]
fn what_comes_gets_a_header_and_no_more_room_than_it_takes() {
    let mut card = Card::ready();
    card.offer(RX, 0, &[(0x30_0000, 10), (0x31_0000, 30), (0x32_0000, 2000)]);
    let frame: Vec<u8> = (0..100).collect();
    card.say(&frame);
    card.wait_for_used(RX, 1);
    assert_eq!(card.entry(RX, 0), (0, 112));
    let pieces = [(0x30_0000, 10), (0x31_0000, 30), (0x32_0000, 72)];
    let came: Vec<u8> = pieces.iter().flat_map(|&(at, len)| card.bytes(at, len)).collect();
    let header = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    assert_eq!(came, [&header[..], &frame].concat());
}

#[test]
fn a_long_frame_takes_several_requests_that_the_driver_gets_at_once() {
    let mut card = Card::ready();
    for number in 0..3 {
        card.offer(RX, number, &[(0x30_0000 + 0x1_0000 * u64::from(number), 1000)]);
    }
    let frame: Vec<u8> = (0..2500).map(|number| u8::try_from(number % 251).unwrap()).collect();
    let used = GuestAddress(RINGS[RX][2] + 2);
    card.say(&frame);
    card.rig.wait_until(|rig| match rig.memory.read_obj::<u16>(used).unwrap() {
        0 => false,
        count => {
            assert_eq!(count, 3, "all or none");
            true
        }
    });
    assert_eq!([0, 1, 2].map(|number| card.entry(RX, number)), [(0, 1000), (1, 1000), (2, 512)]);
    assert_eq!(card.bytes(0x30_0000 + 10, 2), [3, 0]);
    let mut came = card.bytes(0x30_0000 + 12, 988);
    came.extend(card.bytes(0x31_0000, 1000));
    came.extend(card.bytes(0x32_0000, 512));
    assert_eq!(came, frame);
}

#[test]
fn what_comes_waits_until_the_driver_makes_room() {
    let mut card = Card::ready();
    card.say(&[1; 100]);
    card.say(&[2; 1500]);
    thread::sleep(Duration::from_millis(30));
    assert_eq!(card.used(RX), 0);
    card.offer(RX, 0, &[(0x30_0000, 1000)]);
    card.wait_for_used(RX, 1);
    // Not enough, and then.
    card.offer(RX, 1, &[(0x31_0000, 1000)]);
    thread::sleep(Duration::from_millis(30));
    assert_eq!(card.used(RX), 1);
    // It sleeps meanwhile, and does not look again and again: then it would want no bell, now
    // and then.
    for _ in 0..10_000 {
        let flags: u16 = card.rig.memory.read_obj(GuestAddress(RINGS[RX][2])).unwrap();
        assert_eq!(flags, 0);
    }
    card.offer(RX, 2, &[(0x32_0000, 1000)]);
    card.wait_for_used(RX, 3);
    assert_eq!([1, 2].map(|number| card.entry(RX, number)), [(1, 1000), (2, 512)]);
}

#[test]
fn a_frame_too_long_for_the_only_request_it_may_take_is_lost() {
    let mut card = Card::found();
    card.start(!MERGEABLE);
    card.offer(RX, 0, &[(0x30_0000, 500)]);
    card.offer(RX, 1, &[(0x31_0000, 500)]);
    card.say(&[1; 600]);
    card.say(&[2; 60]);
    card.wait_for_used(RX, 2);
    assert_eq!(card.entry(RX, 0), (0, 12), "nothing behind its header");
    assert_eq!(card.entry(RX, 1), (1, 72));
    assert_eq!(card.bytes(0x31_0000 + 10, 3), [1, 0, 2]);
}

#[test]
fn frames_of_no_sound_length_are_lost_and_nothing_else_is() {
    let mut card = Card::ready();
    card.rig.memory.write_slice(&vec![7; 1 << 18], GuestAddress(0x20_0000)).unwrap();
    let header = (0x20_0000, HEADER_LEN);
    let too_long = u32::try_from(FRAME_MAX + 1).unwrap();
    let mut count = 0;
    let mut give = |card: &mut Card, buffers: &[(u64, u32)]| {
        card.offer(TX, 0, buffers);
        count += 1;
        card.wait_for_used(TX, count);
    };
    for len in [0, 1, 13, too_long, 1 << 18] {
        give(&mut card, &[header, (0x20_0000, len)]);
    }
    // Not even a header.
    give(&mut card, &[(0x20_0000, 11)]);
    give(&mut card, &[header, (0x20_0000, 14)]);
    assert_eq!(card.heard().len(), 14);
    give(&mut card, &[header, (0x20_0000, too_long - 1)]);
    assert!(card.heard() == vec![7; FRAME_MAX]);
    // To be written to, where there is nothing to write.
    card.describe(TX, 0, (0x20_0000, 100), [WRITE, 0]);
    card.make_available(TX, 0);
    card.wait_for_used(TX, 9);
    card.still_works();
}

#[test]
fn a_driver_is_held_up_while_nobody_hears_it_and_can_be_reset() {
    let mut card = Card::ready();
    card.rig.memory.write_slice(&[0; HEADER], GuestAddress(0x10_0000)).unwrap();
    let mut sent = 0_u16;
    let mut last = 0;
    // Until nothing is taken any more.
    loop {
        while card.offered[TX].wrapping_sub(card.used(TX)) < SIZE {
            card.offer(TX, 0, &[(0x10_0000, HEADER_LEN), (0x20_0000, 60_000)]);
            sent += 1;
        }
        thread::sleep(Duration::from_millis(50));
        if card.used(TX) == last {
            break;
        }
        last = card.used(TX);
        assert!(u32::from(sent) * 60_000 < 16 << 20, "no end of memory");
    }
    // Once there is room, all comes.
    let mut peer = card.peer.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut all = vec![0; usize::from(sent) * 60_004];
            peer.read_exact(&mut all).unwrap();
        });
        card.wait_for_used(TX, sent);
    });
    for _ in 0..SIZE {
        card.offer(TX, 0, &[(0x10_0000, HEADER_LEN), (0x20_0000, 60_000)]);
    }
    card.rig.reset();
}

#[test]
fn a_reset_in_the_middle_of_a_frame_does_not_tear_it() {
    let mut card = Card::ready();
    card.offer(RX, 0, &[(0x30_0000, 2000)]);
    card.peer.write_all(&100_u32.to_be_bytes()).unwrap();
    card.peer.write_all(&[1; 50]).unwrap();
    thread::sleep(Duration::from_millis(30));
    card.rig.reset();
    card.start(u64::MAX);
    card.offer(RX, 0, &[(0x30_0000, 2000)]);
    card.peer.write_all(&[2; 50]).unwrap();
    card.wait_for_used(RX, 1);
    assert_eq!(card.bytes(0x30_0000 + 12, 100), [[1; 50], [2; 50]].concat());
    card.still_works();
}

#[test]
fn a_card_whose_other_end_is_gone_takes_what_it_is_given() {
    let mut card = Card::ready();
    let (_, other) = UnixStream::pair().unwrap();
    drop(std::mem::replace(&mut card.peer, other));
    for count in 1..40 {
        card.send(&[1; 100]);
        card.wait_for_used(TX, count);
    }
    card.rig.reset();
    card.start(u64::MAX);
    card.send(&[1; 100]);
    card.wait_for_used(TX, 1);
}

#[test]
fn chains_that_loop_or_lie_outside_of_ram_break_the_card_until_it_is_reset() {
    let mut card = Card::ready();
    // To be read: as long as a chain can be, whatever is in it.
    card.describe(TX, 0, (0x20_0000, 16), [NEXT, 0]);
    card.make_available(TX, 0);
    card.wait_for_used(TX, 1);
    card.still_works();
    for (at, len) in [(RAM, 512), (RAM - 256, 512), (BAR, 512), (u64::MAX, u32::MAX), (0, u32::MAX)]
    {
        card.offer(TX, 0, &[(at, len)]);
        card.wait_for_alarm();
        card.still_works();
        card.offer(RX, 1, &[(at, len)]);
        card.say(&[1; 100]);
        card.wait_for_alarm();
        // The frame that it had in hand comes first.
        card.rig.reset();
        card.start(u64::MAX);
        card.offer(RX, 0, &[(0x30_0000, 2048)]);
        card.wait_for_used(RX, 1);
        card.still_works();
    }
}

#[test]
fn a_frame_for_which_all_room_is_not_enough_is_lost() {
    let mut card = Card::ready();
    for number in 0..SIZE {
        card.offer(RX, number, &[(0x30_0000, 1)]);
    }
    card.say(&[1; 100]);
    card.wait_for_used(RX, SIZE);
    card.offer(RX, 0, &[(0x30_0000, 2048)]);
    card.say(&[2; 100]);
    card.wait_for_used(RX, SIZE + 1);
    assert_eq!(card.bytes(0x30_0000 + 12, 100), [2; 100]);
    card.still_works();
}

#[test]
fn a_driver_that_never_stops_sending_does_not_keep_the_card_from_being_reset() {
    let mut card = Card::ready();
    card.describe(TX, 0, (0x20_0000, 10), [0, 0]);
    let memory = card.rig.memory.clone();
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while is_over.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                let used: u16 = memory.read_obj(GuestAddress(RINGS[TX][2] + 2)).unwrap();
                let available = GuestAddress(RINGS[TX][1] + 2);
                memory.write_obj(used.wrapping_add(SIZE), available).unwrap();
            }
        });
        card.ring(TX);
        card.rig.wait_until(|rig| {
            rig.write(0x3004, &[0, 0]);
            rig.memory.read_obj::<u16>(GuestAddress(RINGS[TX][2] + 2)).unwrap() > 100
        });
        card.rig.reset();
        drop(over);
    });
    card.still_works();
}

#[test]
fn anything_at_all_written_to_a_card_neither_panics_nor_hangs() {
    let mut numbers = Numbers::seeded(11);
    for _ in 0..20 {
        let mut card = Card::ready();
        let mut peer = card.peer.try_clone().unwrap();
        peer.set_nonblocking(true).unwrap();
        for _ in 0..2000 {
            let number = numbers.number();
            let (width, offset) = (1 + numbers.below(8), (number >> 8) % 0x4000);
            let data = numbers.number().to_le_bytes();
            match (number >> 32) % 6 {
                0 => card.rig.write(offset % 0x38, &data[..width]),
                1 => card.rig.write(offset, &data[..width]),
                2 | 3 => {
                    let queue = usize::from(number & 1 << 40 != 0);
                    let place = RINGS[queue][usize::from(number & 1 << 41 != 0)];
                    let at = GuestAddress(place + offset % 64);
                    card.rig.memory.write_slice(&data, at).unwrap();
                    card.ring(queue);
                }
                // Whole frames only: the wire outlasts the driver.
                4 => {
                    let sent = peer.write(&[0, 0, 0, 14, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5]);
                    assert!(matches!(sent, Ok(18) | Err(_)), "{sent:?}");
                }
                _ => {
                    let mut rest = [0; 4096];
                    let read = peer.read(&mut rest);
                    assert!(matches!(read, Ok(1..) | Err(_)), "{read:?}");
                }
            }
        }
        card.rig.write_config(0x10, &u32::try_from(BAR).unwrap().to_le_bytes());
        card.rig.write_config(0x04, &[0x06, 0]);
        card.rig.reset();
    }
}
