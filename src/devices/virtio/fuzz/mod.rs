//! Targets for fuzzing: a queue as any driver may set it up and fill it, with a disk behind
//! it, and each device behind its queues.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a target stops where something does not hold"
)]

mod devices;

use std::{io, sync::Arc};

use firmware_less::{machine::Machine, range::index, testing::fuzz::Input};
use virtio_queue::{Queue as Ring, QueueT as _};
use vm_memory::{Bytes as _, GuestAddress, GuestMemoryBackend as _, VolatileSlice};

pub(in crate::devices) use self::devices::{devices, seeds as device_seeds};
use super::{
    Chain, Queue,
    block::{Block, Properties, Storage},
    queue::{ISR_QUEUE, Interrupt},
};
use crate::{devices::interrupt_line, engine::kvm::GuestMemory};

/// RAM, from 0.
const RAM: u64 = 32 << 20;
/// What of it is as the bytes say; the rest is zeros.
const IMAGE: usize = 0x3c00;
/// The most that may be written behind it.
const BEHIND: usize = 0x100;
const DESCRIPTORS: u64 = 0x1000;
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

thread_local! {
    static MEMORY: GuestMemory =
        GuestMemory::new(&Machine::new(RAM, 1).expect("a machine")).expect("memory");
}

/// A few sectors in memory.
#[derive(Debug)]
struct Sectors(Vec<u8>);

impl Storage for Sectors {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&mut self, offset: u64, into: &[VolatileSlice<'_>]) -> io::Result<()> {
        let mut at = index(offset);
        for slice in into {
            slice.copy_from(&self.0[at..at + slice.len()]);
            at += slice.len();
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, from: &[VolatileSlice<'_>]) -> io::Result<()> {
        let mut at = index(offset);
        for slice in from {
            slice.copy_to(&mut self.0[at..at + slice.len()]);
            at += slice.len();
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&mut self, offset: u64, len: u64) -> io::Result<()> {
        self.write_zeroes(offset, len, true)
    }

    fn write_zeroes(&mut self, offset: u64, len: u64, _: bool) -> io::Result<()> {
        let [start, end] = [offset, offset + len].map(index);
        self.0[start..end].fill(0);
        Ok(())
    }
}

/// Requests of any kind. Each is walked as a model walks it, and answered by a disk.
pub(in crate::devices) fn queue(bytes: &[u8]) {
    MEMORY.with(|memory| {
        let used = serve(memory, &mut Input::new(bytes));
        // As it was, for whoever comes next.
        let zeros = memory.write_slice(&[0; IMAGE + BEHIND], GuestAddress(0));
        zeros.expect("it is RAM");
        assert!(used <= 16, "more was used than the queue has room for");
    });
}

fn serve(memory: &GuestMemory, input: &mut Input<'_>) -> usize {
    let Some(ring) = ring(input, 0) else { return 0 };
    let read_only = input.flag();
    while !input.is_over() {
        let at = input.number() % (IMAGE as u64);
        memory.write_slice(input.bytes(), GuestAddress(at)).expect("it is RAM");
    }
    let (table, size) = (ring.desc_table(), ring.size());
    let line = || interrupt_line().expect("an eventfd");
    let interrupt = Interrupt { signal: Some(line()), isr: Arc::default(), bit: ISR_QUEUE };
    let Some(mut queue) = Queue::new(ring, memory.clone(), line(), interrupt) else { return 0 };
    let properties = Properties { read_only, discard: true, serial: [b's'; 20] };
    let mut disk = Block::new(0, Box::new(Sectors(vec![0x77; 4096])), properties);
    let mut used = 0;
    while used < usize::from(size)
        && let Ok(Some(chain)) = queue.take()
    {
        let head = chain.head();
        assert_walked(memory, (table, size), &chain);
        let Ok(written) = disk.answer(chain) else { break };
        if queue.used(head, written).is_err() {
            break;
        }
        used += 1;
    }
    // The guest may have broken it by now.
    let _broken = queue.tell().and_then(|()| queue.listen());
    used
}

/// How far the rings of one queue are from those of the next.
const APART: u64 = 0x400;

/// The queue of that number as the driver sets it up, if it can be one.
fn ring(input: &mut Input<'_>, number: u64) -> Option<Ring> {
    let mut ring = Ring::new(16).ok()?;
    ring.try_set_size(1 << (input.byte() % 5)).ok()?;
    ring.set_event_idx(input.flag());
    // At the usual places, more often than not.
    let mut place = |usual| match input.byte() {
        0..0xf0 => GuestAddress(usual + number * APART),
        _ => GuestAddress(input.number()),
    };
    ring.try_set_desc_table_address(place(DESCRIPTORS)).ok()?;
    ring.try_set_avail_ring_address(place(AVAILABLE)).ok()?;
    ring.try_set_used_ring_address(place(USED)).ok()?;
    ring.set_ready(true);
    Some(ring)
}

/// Places and lengths of buffers.
type Places = Vec<(usize, usize)>;

/// That the request with that head has the buffers that the model finds.
pub(super) fn assert_walked(memory: &GuestMemory, (table, size): (u64, u16), chain: &Chain<'_>) {
    let start = memory.get_slice(GuestAddress(0), 1).expect("it is RAM");
    let start = start.ptr_guard().as_ptr() as usize;
    let places = |slices: Vec<VolatileSlice<'_>>| -> Places {
        let place = |slice: &VolatileSlice<'_>| slice.ptr_guard().as_ptr() as usize - start;
        slices.iter().map(|slice| (place(slice), slice.len())).collect()
    };
    let found = chain.clone().buffers();
    let found = found.map(|found| (places(found.readable), places(found.writable)));
    assert_eq!(found, buffers(&walk(memory, table, size, chain.head())));
}

/// A descriptor: where its buffer is, how long, and whether it is written to.
type Described = (u64, u64, bool);

/// The descriptors of a request, as far as the driver keeps to the rules.
/// Virtio 1.2, 2.7.5.
fn walk(memory: &GuestMemory, table: u64, size: u16, head: u16) -> Vec<Described> {
    let (mut table, mut size, mut at) = (table, u64::from(size), u64::from(head));
    let (mut left, mut is_indirect, mut bytes) = (size, false, 0_u64);
    let mut found = Vec::new();
    while left > 0 && at < size {
        let mut read = [0; 16];
        let Some(place) = table.checked_add(16 * at) else { break };
        if memory.read_slice(&mut read, GuestAddress(place)).is_err() {
            break;
        }
        let field = |at: usize, len: usize| {
            read[at..at + len].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let (address, len, flags) = (field(0, 8), field(8, 4), field(12, 2));
        if flags & u64::from(INDIRECT) != 0 {
            // A table in a table, one with a part of a descriptor, or one of too many.
            if is_indirect || !len.is_multiple_of(16) || len / 16 > u16::MAX.into() {
                break;
            }
            (table, size, at) = (address, len / 16, 0);
            (left, is_indirect) = (size, true);
            continue;
        }
        bytes += len;
        if bytes > u32::MAX.into() {
            break;
        }
        found.push((address, len, flags & u64::from(WRITE) != 0));
        left = if flags & u64::from(NEXT) == 0 { 0 } else { left - 1 };
        at = field(14, 2);
    }
    found
}

/// Those to read from and those to write to; nothing where one is outside of RAM, or where
/// one to read from comes behind one to write to.
fn buffers(described: &[Described]) -> Option<(Places, Places)> {
    let (mut readable, mut writable) = (Vec::new(), Vec::new());
    let mut was_writable = false;
    for &(address, len, is_writable) in described {
        if was_writable && !is_writable {
            return None;
        }
        let is_ram = address.checked_add(len).is_some_and(|end| end <= RAM);
        let to = if is_writable { &mut writable } else { &mut readable };
        if len > 0 {
            to.push(is_ram.then_some((index(address), index(len)))?);
            was_writable |= is_writable;
        }
    }
    Some((readable, writable))
}

/// Bytes out of which [`queue`] takes a request: of that kind, with these descriptors.
fn request(kind: u32, descriptors: &[(u64, u32, u16, u16)]) -> Vec<u8> {
    let put = |at: u64, bytes: &[u8]| {
        let len = u8::try_from(bytes.len()).expect("it is short");
        [&[2][..], &at.to_le_bytes()[..2], &[len], bytes].concat()
    };
    let describe = |(place, &(at, len, flags, next)): (u64, &(u64, u32, u16, u16))| {
        let parts = [&at.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes()];
        put(DESCRIPTORS + 16 * place, &[&parts.concat()[..], &next.to_le_bytes()].concat())
    };
    let described: Vec<u8> = (0..).zip(descriptors).flat_map(describe).collect();
    let header = put(0x100, &kind.to_le_bytes());
    // Two requests of the same head.
    let available = put(AVAILABLE, &[0, 0, 2, 0, 0, 0, 0, 0]);
    [&[4, 0, 0, 0, 0, 0][..], &header, &described, &available].concat()
}

/// Requests of each kind, one in a table of its own, and one that never ends.
pub(in crate::devices) fn seeds() -> Vec<Vec<u8>> {
    let of = |kind, flags| {
        let data = (0x10_0000, 512, flags | NEXT, 2);
        request(kind, &[(0x100, 16, NEXT, 1), data, (0x3808, 1, WRITE, 0)])
    };
    let indirect = [
        (DESCRIPTORS + 16, 48, INDIRECT, 0),
        (0x100, 16, NEXT, 1),
        (0x200, 512, WRITE | NEXT, 2),
        (0x3808, 1, WRITE, 0),
    ];
    let endless = [(0x100, 16, NEXT, 1), (0x200, 16, WRITE | NEXT, 1)];
    vec![
        of(0, WRITE),
        of(1, 0),
        of(4, 0),
        of(8, WRITE),
        of(11, 0),
        of(13, 0),
        request(0, &indirect),
        request(0, &endless),
    ]
}
