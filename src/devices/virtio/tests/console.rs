//! A virtio console and its driver, well-behaved and not.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use firmware_less::testing::Random as Numbers;
use vm_memory::{Bytes as _, GuestAddress};

use super::{
    super::console::{Console, Keyboard, Speaker},
    rig::{AVAILABLE, DESCRIPTORS, NEEDS_RESET, NEXT, RAM, Rig, SIZE, USED, WRITE},
};
use crate::{console::Size, session::Input as _};

/// The queues by their numbers.
const RX: u16 = 0;
const TX: u16 = 1;
/// How far the rings of one are from the other's.
const APART: u64 = 0x8000;
/// Where the configuration and its generation are.
const CONFIG: u64 = 0x2000;
const GENERATION: u64 = 21;
const F_SIZE: u32 = 1;
const TEXT: u64 = 0x20_0000;

#[derive(Clone, Debug, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Speaker for Heard {
    fn say(&mut self, bytes: &[u8]) {
        self.0.lock().unwrap().extend_from_slice(bytes);
    }
}

impl Heard {
    fn is(&self, text: &[u8]) -> bool {
        *self.0.lock().unwrap() == text
    }
}

/// A driver of both queues.
struct Guest {
    rig: Rig,
    keyboard: Arc<Keyboard>,
    offered: [u16; 2],
}

impl Guest {
    fn new(speaker: Box<dyn Speaker>, size: Option<Size>) -> Self {
        let keyboard = Keyboard::new().unwrap();
        let console = Console::new(speaker, Arc::clone(&keyboard), size);
        let mut guest = Self { rig: Rig::found(Box::new(console)), keyboard, offered: [0, 0] };
        guest.start();
        guest
    }

    fn start(&mut self) {
        let rig = &self.rig;
        self.offered = [0, 0];
        for at in [AVAILABLE, USED] {
            rig.memory.write_slice(&vec![0; 0x1_0000], GuestAddress(at)).unwrap();
        }
        rig.write(20, &[3]);
        for (half, features) in [(0_u32, self.features()), (1, 1)] {
            rig.write(8, &half.to_le_bytes());
            rig.write(12, &features.to_le_bytes());
        }
        rig.write(20, &[11]);
        for queue in [RX, TX] {
            rig.write(22, &queue.to_le_bytes());
            rig.write(24, &SIZE.to_le_bytes());
            for (at, ring) in [(32, DESCRIPTORS), (40, AVAILABLE), (48, USED)] {
                rig.write(at, &(ring + APART * u64::from(queue)).to_le_bytes());
            }
            rig.write(28, &[1, 0]);
        }
        rig.write(20, &[15]);
        assert_eq!(rig.status(), 15);
    }

    /// Of the device's own features those that it offers.
    fn features(&self) -> u32 {
        self.rig.write(0, &[0; 4]);
        u32::from_le_bytes(self.rig.read(4)) & F_SIZE
    }

    fn reset(&mut self) {
        self.rig.reset();
        self.start();
    }

    fn describe(&self, queue: u16, number: u16, place: (u64, u32), (flags, next): (u16, u16)) {
        // As far apart as the queues' tables are.
        let number = number + queue * u16::try_from(APART / 16).unwrap();
        self.rig.describe(number, place, flags, next);
    }

    fn offer(&mut self, queue: u16, head: u16) {
        let offered = &mut self.offered[usize::from(queue)];
        let ring = AVAILABLE + APART * u64::from(queue);
        let slot = ring + 4 + 2 * u64::from(*offered % SIZE);
        self.rig.memory.write_obj(head, GuestAddress(slot)).unwrap();
        *offered = offered.wrapping_add(1);
        self.rig.memory.write_obj(*offered, GuestAddress(ring + 2)).unwrap();
        self.ring(queue);
    }

    fn ring(&self, queue: u16) {
        self.rig.write(0x3000 + 4 * u64::from(queue), &queue.to_le_bytes());
    }

    fn used(&self, queue: u16) -> u16 {
        self.rig.memory.read_obj(GuestAddress(USED + APART * u64::from(queue) + 2)).unwrap()
    }

    /// How much the device wrote to the buffer that it gave back as that one, counted from 0.
    fn written(&self, queue: u16, number: u64) -> u32 {
        let at = USED + APART * u64::from(queue) + 4 + 8 * number + 4;
        self.rig.memory.read_obj(GuestAddress(at)).unwrap()
    }

    fn wait_until(&self, what: impl Fn(&Self) -> bool) {
        self.rig.wait_until(|_| what(self));
    }

    /// Says `text`, and waits until that was taken.
    fn say(&mut self, text: &[u8]) {
        self.rig.memory.write_slice(text, GuestAddress(TEXT)).unwrap();
        let len = u32::try_from(text.len()).unwrap();
        self.describe(TX, 0, (TEXT, len), (0, 0));
        let before = self.used(TX);
        self.offer(TX, 0);
        self.wait_until(|guest| guest.used(TX) == before.wrapping_add(1));
    }

    fn is_broken(&self) -> bool {
        self.rig.status() & NEEDS_RESET != 0
    }
}

fn guest() -> (Guest, Heard) {
    let heard = Heard::default();
    (Guest::new(Box::new(heard.clone()), None), heard)
}

const SMALL: Size = Size { columns: 80, rows: 25 };

#[test]
fn what_the_guest_says_is_heard_before_it_can_go_on() {
    let (mut guest, heard) = guest();
    guest.say(b"[    0.000000] Linux version");
    assert!(heard.is(b"[    0.000000] Linux version"));
    guest.rig.memory.write_slice(&[b'x'; 10_000], GuestAddress(TEXT)).unwrap();
    guest.describe(TX, 0, (TEXT, 9_000), (NEXT, 1));
    guest.describe(TX, 1, (TEXT, 0), (NEXT, 2));
    guest.describe(TX, 2, (TEXT, 1_000), (0, 0));
    guest.offer(TX, 0);
    guest.wait_until(|guest| guest.used(TX) == 2);
    assert!(heard.is(&[&b"[    0.000000] Linux version"[..], &[b'x'; 10_000]].concat()));
}

#[test]
fn what_is_typed_waits_for_the_guest_to_make_room() {
    let (mut guest, _) = guest();
    assert_eq!(guest.keyboard.take(b"uname"), 5);
    assert_eq!(guest.keyboard.take(b" -r\n"), 4);
    guest.describe(RX, 0, (TEXT, 4), (WRITE | NEXT, 1));
    guest.describe(RX, 1, (TEXT + 4, 1), (WRITE, 0));
    guest.describe(RX, 2, (TEXT + 5, 0x1000), (WRITE, 0));
    for head in [0, 2] {
        guest.offer(RX, head);
    }
    guest.wait_until(|guest| guest.used(RX) == 2);
    assert_eq!((guest.written(RX, 0), guest.written(RX, 1)), (5, 4));
    let mut typed = [0; 9];
    guest.rig.memory.read_slice(&mut typed, GuestAddress(TEXT)).unwrap();
    assert_eq!(&typed, b"uname -r\n");
    assert_eq!(guest.keyboard.take(&[b'x'; 10_000]), 4096, "no more than there is room for");
    assert_eq!(guest.keyboard.take(b"y"), 0);
}

#[test]
fn what_is_typed_outlasts_a_reset() {
    let (mut guest, heard) = guest();
    assert_eq!(guest.keyboard.take(b"early"), 5);
    guest.reset();
    guest.describe(RX, 0, (TEXT, 0x1000), (WRITE, 0));
    guest.offer(RX, 0);
    guest.wait_until(|guest| guest.used(RX) == 1);
    assert_eq!(guest.written(RX, 0), 5);
    guest.say(b"late");
    assert!(heard.is(b"late"));
}

#[test]
fn the_terminal_s_size_is_told_and_told_again() {
    let guest = Guest::new(Box::new(Heard::default()), Some(SMALL));
    assert_eq!(guest.features(), F_SIZE);
    assert_eq!(guest.rig.read::<8>(CONFIG), [80, 0, 25, 0, 0, 0, 0, 0]);
    let tells = |guest: &Guest| guest.rig.read::<1>(0x1000)[0] & 2 != 0;
    assert!(!tells(&guest), "it is too early for Linux");
    guest.wait_until(tells);
    let [generation] = guest.rig.read(GENERATION);
    guest.keyboard.resize(Size { columns: 300, rows: 70 });
    guest.wait_until(tells);
    assert_eq!(guest.rig.read::<4>(CONFIG), [44, 1, 70, 0]);
    assert_ne!(guest.rig.read(GENERATION), [generation]);
}

#[test]
fn without_a_terminal_there_is_no_size() {
    let (guest, _) = guest();
    assert_eq!(guest.features(), 0);
    guest.keyboard.resize(SMALL);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(guest.rig.read::<1>(0x1000), [0]);
    assert_eq!(guest.rig.read::<4>(CONFIG), [0; 4]);
}

#[test]
fn chains_that_make_no_sense_break_a_console_until_it_is_reset() {
    let (mut guest, heard) = guest();
    for (queue, place, flags) in [
        // What is outside of RAM, and what is to be read after what is to be written.
        (TX, (RAM - 8, 16), (0, 0)),
        (TX, (u64::MAX - 8, u32::MAX), (0, 0)),
        (RX, (RAM, 16), (WRITE, 0)),
        (RX, (TEXT, 16), (WRITE | NEXT, 1)),
    ] {
        // The second one of those that have one.
        guest.describe(queue, 1, (TEXT, 16), (0, 0));
        guest.describe(queue, 0, place, flags);
        guest.keyboard.take(b"x");
        guest.offer(queue, 0);
        guest.wait_until(Guest::is_broken);
        guest.reset();
    }
    guest.say(b"well");
    assert!(heard.is(b"well"));
}

#[test]
fn a_chain_that_loops_says_so_much_and_no_more() {
    let (mut guest, heard) = guest();
    guest.rig.memory.write_slice(b"loop", GuestAddress(TEXT)).unwrap();
    guest.describe(TX, 0, (TEXT, 4), (NEXT, 0));
    guest.offer(TX, 0);
    guest.wait_until(|guest| guest.used(TX) == 1);
    assert!(heard.is(&b"loop".repeat(SIZE.into())));
}

#[test]
fn buffers_without_room_are_given_back_and_ask_for_no_end() {
    let (mut guest, _) = guest();
    guest.keyboard.take(b"abc");
    // To be read from, though it is the guest that is to read.
    guest.describe(RX, 0, (TEXT, 16), (0, 0));
    guest.describe(RX, 1, (TEXT, 0), (WRITE, 0));
    guest.describe(RX, 2, (TEXT, 1), (WRITE, 0));
    for (head, len) in [(0, 0), (1, 0), (2, 1)] {
        guest.offer(RX, head);
        guest.ring(RX);
        guest.wait_until(|guest| guest.used(RX) == head + 1);
        assert_eq!(guest.written(RX, head.into()), len);
    }
}

/// Passes nothing on until it is told to.
#[derive(Debug)]
struct Slow {
    begun: Sender<()>,
    go: Mutex<Receiver<()>>,
}

impl Speaker for Slow {
    fn say(&mut self, _: &[u8]) {
        self.begun.send(()).ok();
        self.go.lock().unwrap().recv().ok();
    }
}

#[test]
fn a_reset_does_not_wait_for_all_that_a_guest_said_of_its_ram() {
    let ((begun, has_begun), (let_go, go)) = (channel(), channel());
    let mut guest = Guest::new(Box::new(Slow { begun, go: Mutex::new(go) }), None);
    for number in 0..SIZE {
        let next = if number + 1 < SIZE { (NEXT, number + 1) } else { (0, 0) };
        guest.describe(TX, number, (0, u32::try_from(RAM).unwrap()), next);
    }
    guest.offer(TX, 0);
    has_begun.recv().unwrap();
    let freed = thread::scope(|scope| {
        let resets = scope.spawn(|| guest.rig.write(20, &[0]));
        thread::sleep(Duration::from_millis(50));
        let_go.send(()).unwrap();
        // The rest, of which there is a gigabyte, is not passed on.
        resets.join().is_ok()
    });
    assert!(freed);
    assert!(has_begun.try_iter().count() <= 1);
    assert_eq!(guest.rig.status(), 0);
}

#[test]
fn anything_at_all_written_to_a_console_neither_panics_nor_hangs() {
    let mut numbers = Numbers::seeded(11);
    for _ in 0..20 {
        let (mut guest, _) = guest();
        for _ in 0..2000 {
            let number = numbers.number();
            let data = numbers.number().to_le_bytes();
            let width = 1 + numbers.below(8);
            let queue = (number & 1 << 50 != 0).into();
            match (number >> 32) % 6 {
                0 => guest.rig.write((number >> 8) % 0x8000, &data[..width]),
                1 => guest.rig.write((number >> 8) % 0x38, &data[..width]),
                2 => guest.describe(
                    queue,
                    numbers.one_of(&[0, 1, 2, 15]),
                    (
                        numbers.one_of(&[0, TEXT, RAM - 16, RAM]),
                        numbers.one_of(&[0, 1, 4096, u32::MAX]),
                    ),
                    (
                        numbers.one_of(&[0, NEXT, WRITE, NEXT | WRITE, 4]),
                        numbers.one_of(&[0, 1, 2, 99]),
                    ),
                ),
                3 => guest.offer(queue, numbers.one_of(&[0, 1, 2, 15, 16, 0xffff])),
                4 => drop(guest.keyboard.take(&data)),
                _ => guest.ring(queue),
            }
        }
        guest.rig.write_config(0x04, &[0x06, 0]);
        guest.reset();
    }
}
