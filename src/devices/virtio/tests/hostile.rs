//! Guests that mean harm: no panic, no hang, no access outside of RAM.

use std::{
    io,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use firmware_less::{machine::ECAM, testing::Random as Numbers};
use vm_memory::{Bytes as _, GuestAddress, VolatileSlice};

use super::{
    super::block::{Block, Properties, Storage},
    DISCARD, IN, OUT, disk,
    rig::{AVAILABLE, BAR, DESCRIPTORS, INDIRECT, NEEDS_RESET, NEXT, RAM, Rig, SIZE, USED, WRITE},
};

/// That the device behind `rig` still does what it is asked to, after a reset.
fn still_works(rig: &mut Rig) {
    rig.reset();
    rig.start([DESCRIPTORS, AVAILABLE, USED]);
    assert_eq!(rig.request((IN, 1), (0x20_0000, 512, WRITE)), 0);
    assert_eq!(rig.memory.read_obj::<u64>(GuestAddress(0x20_0000)).unwrap(), 1);
}

#[test]
fn a_chain_that_loops_ends() {
    let mut rig = Rig::ready(disk(Properties::default()).0);
    rig.describe(0, (0x20_0000, 16), NEXT, 0);
    rig.offer(0);
    rig.wait_until(|rig| rig.status() & NEEDS_RESET != 0);
    rig.reset();
    rig.start([DESCRIPTORS, AVAILABLE, USED]);
    // To write to, so that there is room for an answer.
    rig.describe(0, (0x20_0000, 0x1000), WRITE | NEXT, 0);
    rig.offer(0);
    rig.wait_until(|rig| rig.used() == 1);
    still_works(&mut rig);
}

#[test]
fn an_indirect_table_that_refers_to_itself_ends() {
    let mut rig = Rig::ready(disk(Properties::default()).0);
    rig.describe(0, (DESCRIPTORS, 16 * u32::from(SIZE)), INDIRECT, 0);
    rig.offer(0);
    rig.wait_until(|rig| rig.status() & NEEDS_RESET != 0);
    still_works(&mut rig);
}

#[test]
fn buffers_outside_of_ram_break_the_queue_and_nothing_else() {
    for (at, len) in [
        (RAM, 512),
        (RAM - 256, 512),
        (BAR, 512),
        (ECAM.start(), 512),
        (u64::MAX - 511, 512),
        (u64::MAX, u32::MAX),
        (0, u32::MAX),
    ] {
        let mut rig = Rig::ready(disk(Properties::default()).0);
        for flags in [0, WRITE] {
            rig.describe(0, (0x10_0000, 16), NEXT, 1);
            rig.describe(1, (at, len), flags | NEXT, 2);
            rig.describe(2, (0x10_1000, 1), WRITE, 0);
            rig.offer(0);
            rig.wait_until(|rig| rig.status() & NEEDS_RESET != 0);
            still_works(&mut rig);
        }
    }
}

#[test]
fn rings_outside_of_ram_are_never_used() {
    for wrong in [RAM, RAM - 16, 0xfee0_0000, !0xf, 1] {
        for which in 0..3 {
            let mut rig = Rig::found(disk(Properties::default()).0);
            let mut rings = [DESCRIPTORS, AVAILABLE, USED];
            rings[which] = wrong;
            rig.start(rings);
            assert_ne!(rig.status() & NEEDS_RESET, 0, "{wrong:#x} for ring {which}");
            rig.ring();
            still_works(&mut rig);
        }
    }
}

#[test]
fn more_requests_than_the_queue_has_room_for_break_it() {
    let mut rig = Rig::ready(disk(Properties::default()).0);
    rig.memory.write_obj(SIZE + 1, GuestAddress(AVAILABLE + 2)).unwrap();
    rig.ring();
    rig.wait_until(|rig| rig.status() & NEEDS_RESET != 0);
    still_works(&mut rig);
}

#[test]
fn requests_of_every_wrong_length_are_answered_or_break_the_queue() {
    for kind in [IN, OUT, 8, DISCARD, 13] {
        for len in [0, 1, 15, 16, 17, 511, 513, 272, 1 << 20] {
            let mut rig = Rig::ready(disk(Properties { discard: true, ..Properties::default() }).0);
            for flags in [0, WRITE] {
                let status = rig.request((kind, 0), (0x40_0000, len, flags));
                assert!(status <= 2, "request {kind} of {len} bytes: {status:#x}");
            }
            // No header, or no room for an answer.
            for flags in [0, WRITE] {
                rig.describe(0, (0x10_0000, len), flags, 0);
                let before = rig.used();
                rig.offer(0);
                rig.wait_until(|rig| rig.used() != before || rig.status() & NEEDS_RESET != 0);
                rig.reset();
                rig.start([DESCRIPTORS, AVAILABLE, USED]);
            }
        }
    }
}

/// A disk that takes as long as the test wants, and says when it begins.
#[derive(Debug)]
struct Slow {
    begun: Sender<()>,
    go: Receiver<()>,
}

impl Storage for Slow {
    fn len(&self) -> u64 {
        1 << 20
    }

    fn read(&mut self, _: u64, into: &[VolatileSlice<'_>]) -> io::Result<()> {
        self.begun.send(()).unwrap();
        self.go.recv().unwrap();
        for slice in into {
            slice.copy_from(&vec![0x42_u8; slice.len()]);
        }
        Ok(())
    }

    fn write(&mut self, _: u64, _: &[VolatileSlice<'_>]) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&mut self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn write_zeroes(&mut self, _: u64, _: u64, _: bool) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reset_in_the_middle_of_a_request_waits_for_it_and_nothing_is_written_afterwards() {
    let ((begun, has_begun), (let_go, go)) = (channel(), channel());
    let block = Block::new(0, Box::new(Slow { begun, go }), Properties::default());
    let mut rig = Rig::ready(Box::new(block));
    rig.describe(0, (0x10_0000, 16), NEXT, 1);
    rig.describe(1, (0x20_0000, 512), WRITE | NEXT, 2);
    rig.describe(2, (0x10_1000, 1), WRITE, 0);
    rig.memory.write_slice(&[0; 16], GuestAddress(0x10_0000)).unwrap();
    rig.offer(0);
    has_begun.recv().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(50));
            let_go.send(()).unwrap();
        });
        rig.reset();
    });
    // Memory is the driver's again: what it writes there stays.
    rig.memory.write_slice(&[0; 512], GuestAddress(0x20_0000)).unwrap();
    rig.ring();
    thread::sleep(Duration::from_millis(20));
    assert_eq!(rig.memory.read_obj::<u64>(GuestAddress(0x20_0000)).unwrap(), 0);
    rig.start([DESCRIPTORS, AVAILABLE, USED]);
    let_go.send(()).unwrap();
    assert_eq!(rig.request((IN, 0), (0x20_0000, 512, WRITE)), 0);
}

#[test]
fn a_driver_that_never_stops_asking_does_not_keep_the_device_from_being_reset() {
    let mut rig = Rig::ready(disk(Properties::default()).0);
    rig.describe(0, (0x10_0000, 16), NEXT, 1);
    rig.describe(1, (0x10_1000, 1), WRITE, 0);
    let memory = rig.memory.clone();
    let (over, is_over) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            // Another processor of the guest's, as fast as it can.
            while is_over.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                let used: u16 = memory.read_obj(GuestAddress(USED + 2)).unwrap();
                memory.write_obj(used.wrapping_add(SIZE), GuestAddress(AVAILABLE + 2)).unwrap();
            }
        });
        rig.wait_until(|rig| {
            rig.ring();
            rig.used() > 100
        });
        rig.reset();
        drop(over);
    });
    still_works(&mut rig);
}

#[test]
fn a_bar_over_ram_or_over_ecam_hides_neither() {
    let rig = Rig::found(disk(Properties::default()).0);
    for base in [0x10_0000_u32, 0xb000_8000, 0xfee0_0000, 0xffff_8000] {
        rig.write_config(0x10, &base.to_le_bytes());
        assert_eq!(rig.read_config::<2>(0), [0xf4, 0x1a], "{base:#x}");
        let mut data = [0; 8];
        rig.bus.read_memory(base.into(), &mut data);
        rig.bus.write_memory(u64::from(base) + 0x7ffc, &[0xff; 8]);
        rig.bus.read_memory(u64::from(base) + 0x7ffc, &mut data);
    }
    rig.write_config(0x10, &u32::try_from(BAR).unwrap().to_le_bytes());
    assert_eq!(rig.status(), 0);
}

#[test]
fn anything_at_all_written_anywhere_neither_panics_nor_hangs() {
    let mut numbers = Numbers::seeded(7);
    for _ in 0..40 {
        let mut rig = Rig::ready(disk(Properties::default()).0);
        for _ in 0..4000 {
            let number = numbers.number();
            let (width, offset) = (1 + numbers.below(8), (number >> 8) % 0x8000);
            let data = numbers.number().to_le_bytes();
            // Bits that matter, more often than not.
            let data = if number & 1 << 40 == 0 { data } else { [0x0f; 8] };
            let mut read = [0; 8];
            match (number >> 32) % 8 {
                0 => rig.write_config(offset % 0x140, &data[..width]),
                1 => rig.bus.read_memory(ECAM.start() + offset * 37, &mut read[..width]),
                2 => rig.write(0x4000 + offset % 0x40, &data[..width]),
                3 => rig.write(offset, &data[..width]),
                4 => rig.bus.read_memory(BAR + offset, &mut read[..width]),
                5 => {
                    let port = numbers.one_of(&[0xcf8, 0xcf9, 0xcfa, 0xcfc, 0xcfd, 0xcff]);
                    rig.bus.write_port(port, &data[..width.min(4)]);
                }
                6 => {
                    let place = numbers.one_of(&[DESCRIPTORS, AVAILABLE]);
                    rig.memory.write_slice(&data, GuestAddress(place + offset % 64)).unwrap();
                    rig.ring();
                }
                _ => rig.write(offset % 0x38, &data[..width]),
            }
        }
        // Whatever it is at by now.
        rig.write_config(0x10, &u32::try_from(BAR).unwrap().to_le_bytes());
        rig.write_config(0x04, &[0x06, 0]);
        still_works(&mut rig);
    }
}
