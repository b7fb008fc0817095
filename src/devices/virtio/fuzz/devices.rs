//! Each device, by whatever is in its queues.

use std::{
    io::Write as _,
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use firmware_less::{range::index, testing::fuzz::Input};
use virtio_queue::{Queue as Ring, QueueT as _};
use vm_memory::{Bytes as _, GuestAddress};

use super::{
    APART, AVAILABLE, BEHIND, DESCRIPTORS, IMAGE, ISR_QUEUE, Interrupt, MEMORY, NEXT, Queue,
    Sectors, USED, WRITE, ring, walk,
};
use crate::{
    console::{Settling, Size},
    devices::{
        interrupt_line,
        virtio::{
            Broken, Device, Driver, Random,
            block::{Block, Overlay, Properties},
            console::{Console, Keyboard, Speaker},
            net::{Mac, Net, SharedWire, Stream},
            queue::ISR_CONFIG,
            settings::{Changer, Settings},
            vsock::{Listener, Vsock},
        },
    },
    engine::kvm::GuestMemory,
    session::Input as _,
};

/// Who listens to a guest, and has the device stop when that was enough: a guest may say all
/// of its RAM, many times over.
#[derive(Clone, Debug)]
struct Ear {
    heard: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
}

impl Ear {
    fn hear(&self, bytes: &[u8]) {
        let heard = self.heard.fetch_add(1 + bytes.len(), Ordering::Relaxed);
        self.stopping.fetch_or(heard > 1 << 20, Ordering::Relaxed);
    }
}

impl Speaker for Ear {
    fn say(&mut self, bytes: &[u8]) {
        assert!(!bytes.is_empty(), "that is nothing to pass on");
        self.hear(bytes);
    }
}

impl Listener for Ear {
    fn heard(&mut self, _: u32, bytes: &[u8]) {
        self.hear(bytes);
    }

    fn ended(&mut self, _: u32) {}
}

/// What the first byte stands for.
const KINDS: u8 = 6;
/// The port that is listened to.
const PORT: u32 = 1;

/// A device of any kind, what comes to it from the host, and whatever is in its queues: it
/// writes to used rings and to what is there to be written to, and nowhere else.
pub(in crate::devices) fn devices(bytes: &[u8]) {
    MEMORY.with(|memory| {
        serve(memory, &mut Input::new(bytes));
        // As it was, for whoever comes next.
        let zeros = memory.write_slice(&[0; IMAGE + BEHIND], GuestAddress(0));
        zeros.expect("it is RAM");
    });
}

fn serve(memory: &GuestMemory, input: &mut Input<'_>) -> Option<()> {
    let kind = input.byte() % KINDS;
    let features = input.number();
    let from_host = input.bytes();
    let count = match kind {
        0 | 1 | 4 => 1,
        2 | 3 => 2,
        _ => 3,
    };
    let rings = (0..count).map(|number| match input.byte() {
        0..0xf0 => ring(input, number),
        // One that the driver does not use.
        _ => Ring::new(16).ok(),
    });
    let rings: Vec<Ring> = rings.collect::<Option<_>>()?;
    while !input.is_over() {
        let at = input.number() % (IMAGE as u64);
        memory.write_slice(input.bytes(), GuestAddress(at)).expect("it is RAM");
    }
    let mut driver = driver(memory, features, &rings)?;
    let [before, may_change] = [image(memory), writable(memory, &rings)];
    let _broken = run(kind, from_host, &mut driver);
    let after = image(memory);
    // Where the driver had its tables changed by the device, what was to be written to is not
    // to be found out any more.
    if may_change == writable(memory, &rings) {
        for at in 0..before.len() {
            let is_sound = before[at] == after[at] || may_change[at] != 0;
            assert!(is_sound, "the device wrote to {at:#x}");
        }
    }
    Some(())
}

/// A driver that wants the device to stop once there is nothing to be done.
fn driver(memory: &GuestMemory, features: u64, rings: &[Ring]) -> Option<Driver> {
    let line = || interrupt_line().expect("an eventfd");
    let interrupt = |bit| Interrupt { signal: Some(line()), isr: Arc::default(), bit };
    let queue = |ring: &Ring| {
        let ring = Ring::try_from(ring.state()).expect("a ring");
        Queue::new(ring, memory.clone(), line(), interrupt(ISR_QUEUE))
    };
    let queues = rings.iter().map(queue).collect::<Option<_>>()?;
    let settings = Arc::new(Settings::new(&[0; 12]));
    let changer = Changer { settings, interrupt: interrupt(ISR_CONFIG) };
    let stop = line();
    stop.write(1).expect("room for it");
    Some(Driver::new((memory.clone(), features), queues, stop, changer).expect("files"))
}

/// Has the device of that kind serve `driver`.
fn run(kind: u8, from_host: &[u8], driver: &mut Driver) -> Result<(), Broken> {
    let ear = Ear { heard: Arc::default(), stopping: driver.stopping() };
    let properties = Properties { read_only: false, discard: true, serial: [b's'; 20] };
    let sectors = || Box::new(Sectors(vec![0x77; 4096]));
    match kind {
        0 => Block::new(0, sectors(), properties).serve(driver),
        1 => Block::new(0, Box::new(Overlay::new(sectors(), sectors())), properties).serve(driver),
        2 => {
            let (ours, mut theirs) = UnixStream::pair().expect("sockets");
            theirs.write_all(from_host).expect("room for it");
            let wire: SharedWire = Arc::new(Mutex::new(Stream::new(ours)));
            Net::new(0, Mac([2; 6]), 1500, wire).serve(driver)
        }
        3 => {
            let keyboard = Keyboard::new().expect("an eventfd");
            keyboard.take(from_host);
            keyboard.resize(Size { columns: 80, rows: 25 });
            let mut console = Console::new(Box::new(ear), keyboard, Some(Size::default()));
            // One that was left alone for long enough.
            let begun = Instant::now().checked_sub(Duration::from_secs(20));
            console.serve_until_stopped(driver, Settling::begun(begun.expect("an older host")))
        }
        4 => Random.serve(driver),
        _ => Vsock::new(PORT, Box::new(ear)).serve(driver),
    }
}

/// What is in the memory that is not zeros from the beginning.
fn image(memory: &GuestMemory) -> Vec<u8> {
    let mut image = vec![0; IMAGE + BEHIND];
    memory.read_slice(&mut image, GuestAddress(0)).expect("it is RAM");
    image
}

/// A byte each: not 0 where the driver lets a device write.
fn writable(memory: &GuestMemory, rings: &[Ring]) -> Vec<u8> {
    let mut map = vec![0; IMAGE + BEHIND];
    let mut mark = |at: u64, len: u64| {
        let len = index(len.min(map.len() as u64));
        let start = usize::try_from(at).unwrap_or(usize::MAX).min(map.len());
        let end = start.saturating_add(len).min(map.len());
        map[start..end].fill(1);
    };
    for ring in rings.iter().filter(|ring| ring.ready()) {
        mark(ring.used_ring(), 6 + 8 * u64::from(ring.size()));
        for head in 0..ring.size() {
            for (at, len, is_writable) in walk(memory, ring.desc_table(), ring.size(), head) {
                mark(at, if is_writable { len } else { 0 });
            }
        }
    }
    map
}

/// Bytes out of which [`devices`] takes a device of that kind, what comes from the host, and
/// two chains on each of its queues: of a buffer to read from, and of one to write to.
fn seed(kind: u8, queues: u64, from_host: &[u8], said: &[u8]) -> Vec<u8> {
    let len = |bytes: &[u8]| u8::try_from(bytes.len()).expect("it is short");
    let put =
        |at: u64, bytes: &[u8]| [&[2][..], &at.to_le_bytes()[..2], &[len(bytes)], bytes].concat();
    let describe = |at: u64, len: u32, flags: u16, next: u16| {
        let ends = [flags.to_le_bytes(), next.to_le_bytes()].concat();
        [&at.to_le_bytes()[..], &len.to_le_bytes(), &ends].concat()
    };
    // Features: buffers may be merged, and the size of a terminal is told.
    let mut bytes = [&[kind, 2, 1, 0x80, len(from_host)][..], from_host].concat();
    bytes.extend((0..queues).flat_map(|_| [0, 4, 0, 0, 0, 0]));
    bytes.extend(put(0x100, said));
    for queue in 0..queues {
        let at = queue * APART;
        let said = u32::from(len(said));
        // What a disk wants comes in one: a header, data, and room for a status.
        let table = [
            describe(0x100, said, if kind < 2 { NEXT } else { 0 }, 1),
            describe(
                0x10_0000,
                if kind < 2 { 512 } else { 100 },
                WRITE | if kind < 2 { NEXT } else { 0 },
                2,
            ),
            describe(0x3800 + 0x100, 1, WRITE, 0),
        ];
        bytes.extend(put(DESCRIPTORS + at, &table.concat()));
        // What is heard comes by the first queue, what is said by the second.
        let head = u8::from(queue == 0 && kind > 1);
        bytes.extend(put(AVAILABLE + at, &[0, 0, 2, 0, head, 0, head, 0]));
        bytes.extend(put(USED + at, &[0; 4]));
    }
    bytes
}

/// A device of each kind, with what it is used to.
pub(in crate::devices) fn seeds() -> Vec<Vec<u8>> {
    let disk = |kind: u32| [&kind.to_le_bytes()[..], &[0; 12]].concat();
    let frame = [&[0, 0, 0, 60][..], &[0x11; 60]].concat();
    let packet = |op: u16, len: u32| {
        let [from, to] = [3_u64, 2].map(u64::to_le_bytes);
        let ports = [7_u32, PORT, len].map(u32::to_le_bytes).concat();
        let kinds = [1, op].map(u16::to_le_bytes).concat();
        [&from[..], &to, &ports, &kinds, &[0; 12], &[b'x'; 8]].concat()
    };
    vec![
        seed(0, 1, &[], &disk(0)),
        seed(0, 1, &[], &disk(1)),
        seed(1, 1, &[], &disk(0)),
        seed(1, 1, &[], &disk(13)),
        seed(2, 2, &frame, &[[0; 12].as_slice(), &[0x22; 60]].concat()),
        // A frame for which there is too little room.
        seed(2, 2, &[&[0, 0, 0, 200][..], &[0x11; 200]].concat(), &[0; 72]),
        seed(3, 2, b"typed", b"said"),
        seed(4, 1, &[], &[]),
        seed(5, 3, &[], &packet(1, 0)),
        seed(5, 3, &[], &packet(5, 8)),
    ]
}
