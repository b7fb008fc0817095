//! A driver, as it should be and as it should not.
#![expect(clippy::arithmetic_side_effects, reason = "an overflow in a test fails it")]

mod console;
mod hostile;
mod net;
mod rig;

use std::{fs::File, os::unix::fs::FileExt as _};

use vm_memory::{Bytes as _, GuestAddress};

use self::rig::{BAR, NEXT, Rig, WRITE};
use super::{
    Device, Random,
    block::{Block, Properties, Raw},
};

const SECTORS: u64 = 2048;
const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;

/// A disk whose sectors each begin with their number, and its file.
fn disk(properties: Properties) -> (Box<dyn Device>, File) {
    let file = tempfile::tempfile().unwrap();
    file.set_len(SECTORS * 512).unwrap();
    for sector in 0..SECTORS {
        file.write_all_at(&sector.to_le_bytes(), sector * 512).unwrap();
    }
    let raw = Raw::new(file.try_clone().unwrap(), SECTORS * 512);
    (Box::new(Block::new(0, Box::new(raw), properties)), file)
}

#[test]
fn a_driver_reads_and_writes_a_disk() {
    let (disk, file) = disk(Properties::default());
    let mut rig = Rig::ready(disk);
    assert_eq!(u64::from_le_bytes(rig.read(0x2000)), SECTORS, "its capacity");
    assert_eq!(rig.request((IN, 5), (0x20_0000, 1024, WRITE)), 0);
    for sector in [5, 6] {
        let at = GuestAddress(0x20_0000 + (sector - 5) * 512);
        assert_eq!(rig.memory.read_obj::<u64>(at).unwrap(), sector);
    }
    rig.memory.write_slice(&[0x77; 512], GuestAddress(0x20_0000)).unwrap();
    assert_eq!(rig.request((OUT, 9), (0x20_0000, 512, 0)), 0);
    assert_eq!(rig.request((FLUSH, 0), (0x20_0000, 0, 0)), 0);
    let mut written = [0; 512];
    file.read_exact_at(&mut written, 9 * 512).unwrap();
    assert_eq!(written, [0x77; 512]);
}

#[test]
fn a_disk_tells_its_serial_number_and_refuses_what_it_can_not_do() {
    let serial = *b"a serial number\0\0\0\0\0";
    let (disk, file) = disk(Properties { read_only: true, discard: true, serial });
    let mut rig = Rig::ready(disk);
    assert_eq!(rig.request((GET_ID, 0), (0x20_0000, 20, WRITE)), 0);
    let mut told = [0; 20];
    rig.memory.read_slice(&mut told, GuestAddress(0x20_0000)).unwrap();
    assert_eq!(told, serial);
    assert_eq!(rig.request((OUT, 0), (0x20_0000, 512, 0)), 1, "it is read-only");
    assert_eq!(rig.request((DISCARD, 0), (0x20_0000, 16, 0)), 1, "that too");
    assert_eq!(rig.request((99, 0), (0x20_0000, 512, WRITE)), 2, "there is no such request");
    assert_eq!(rig.request((IN, SECTORS), (0x20_0000, 512, WRITE)), 1, "behind its end");
    assert_eq!(rig.request((IN, u64::MAX / 512), (0x20_0000, 512, WRITE)), 1, "far behind");
    assert_eq!(rig.request((IN, 0), (0x20_0000, 500, WRITE)), 1, "not whole sectors");
    let mut first = [0; 8];
    file.read_exact_at(&mut first, 512).unwrap();
    assert_eq!(u64::from_le_bytes(first), 1);
}

#[test]
fn what_is_discarded_is_taken_out_of_the_file() {
    let (disk, file) = disk(Properties { discard: true, ..Properties::default() });
    let mut rig = Rig::ready(disk);
    let range = [&8_u64.to_le_bytes()[..], &8_u32.to_le_bytes(), &[0; 4]].concat();
    rig.memory.write_slice(&range, GuestAddress(0x20_0000)).unwrap();
    assert_eq!(rig.request((DISCARD, 0), (0x20_0000, 16, 0)), 0);
    let mut sectors = [0x5a; 10 * 512];
    file.read_exact_at(&mut sectors, 7 * 512).unwrap();
    assert_eq!((sectors[0], sectors[9 * 512]), (7, 16), "not what is around it");
    assert!(sectors[512..9 * 512].iter().all(|byte| *byte == 0));
}

#[test]
fn interrupts_are_the_messages_that_the_driver_chose() {
    let (disk, _file) = disk(Properties::default());
    let mut rig = Rig::ready(disk);
    assert_eq!(rig.request((IN, 0), (0x20_0000, 512, WRITE)), 0);
    assert!(rig.wires.lines.lock().unwrap().is_empty(), "MSI-X is off");
    rig.wait_until(|rig| rig.read::<1>(0x5000) == [0b10]);
    let entry = [&0xfee0_1000_u64.to_le_bytes()[..], &0x4021_u32.to_le_bytes(), &[0; 4]].concat();
    rig.write(0x4010, &entry[..8]);
    rig.write(0x4018, &entry[8..]);
    let control = u64::from(rig.read_config::<1>(0x34)[0]) + 2;
    let [low, high] = rig.read_config(control);
    assert_eq!([low, high], [1, 0], "two vectors, and off");
    rig.write_config(control, &[low, 0x80]);
    let lines = rig.wires.lines.lock().unwrap();
    let (signal, message) = lines.get(&1).expect("the queue's line");
    assert_eq!((message.address, message.data), (0xfee0_1000, 0x4021));
    assert_eq!(signal.read().unwrap(), 1, "what came before was not forgotten");
    drop(lines);
    // Masked again.
    rig.write(0x401c, &[1]);
    assert!(rig.wires.lines.lock().unwrap().is_empty());
}

#[test]
fn a_bar_that_moves_takes_registers_and_bells_along() {
    let (disk, _file) = disk(Properties::default());
    let mut rig = Rig::ready(disk);
    let bells = |rig: &Rig| rig.wires.bells.lock().unwrap().keys().copied().collect::<Vec<_>>();
    assert_eq!(bells(&rig), [BAR + 0x3000]);
    rig.write_config(0x10, &0xd000_0000_u32.to_le_bytes());
    assert_eq!(bells(&rig), [0xd000_3000]);
    assert_eq!(rig.read::<4>(0), [0xff; 4], "nobody is at the old place");
    let mut status = [0];
    rig.bus.read_memory(0xd000_0014, &mut status);
    assert_eq!(status, [15]);
    rig.write_config(0x10, &u32::try_from(BAR).unwrap().to_le_bytes());
    assert_eq!(rig.request((IN, 1), (0x20_0000, 512, WRITE)), 0);
    rig.write_config(0x04, &[0, 0]);
    assert!(bells(&rig).is_empty());
}

#[test]
fn the_window_in_configuration_space_shows_the_bar() {
    let (disk, _file) = disk(Properties::default());
    let rig = Rig::found(disk);
    let mut at = u64::from(rig.read_config::<1>(0x34)[0]);
    // The kind of a vendor-specific capability is its fourth byte: 5 is the window.
    while let [id, next, _, kind] = rig.read_config(at)
        && (id, kind) != (9, 5)
    {
        assert_ne!(next, 0, "there is one");
        at = next.into();
    }
    let (offset, len, data) = (at + 8, at + 12, at + 16);
    rig.write_config(offset, &0x2000_u32.to_le_bytes());
    rig.write_config(len, &4_u32.to_le_bytes());
    assert_eq!(u32::from_le_bytes(rig.read_config(data)), 2048, "the capacity's first half");
    rig.write_config(offset, &20_u32.to_le_bytes());
    rig.write_config(len, &1_u32.to_le_bytes());
    rig.write_config(data, &[3]);
    assert_eq!(rig.status(), 3);
}

#[test]
fn configuration_mechanism_1_reaches_the_same_registers() {
    let (disk, _file) = disk(Properties::default());
    let rig = Rig::found(disk);
    let select = |register: u32| {
        assert!(rig.bus.write_port(0xcf8, &(0x8000_0800 | register).to_le_bytes()));
    };
    let mut data = [0; 4];
    select(0);
    assert!(rig.bus.read_port(0xcfc, &mut data));
    assert_eq!(data, [0xf4, 0x1a, 0x42, 0x10]);
    assert!(rig.bus.read_port(0xcfe, &mut data[..1]));
    assert_eq!(data[0], 0x42);
    assert!(!rig.bus.write_port(0xcf9, &[6]), "that is the reset register");
    // Another function, another device, another bus, and none selected.
    for address in [0x8000_0900_u32, 0x8000_1000, 0x8001_0800, 0x0000_0800] {
        rig.bus.write_port(0xcf8, &address.to_le_bytes());
        assert!(rig.bus.read_port(0xcfc, &mut data));
        assert_eq!(data, [0xff; 4], "{address:#x}");
    }
}

#[test]
fn a_disk_is_as_new_after_a_reset() {
    let (disk, _file) = disk(Properties::default());
    let mut rig = Rig::ready(disk);
    for _ in 0..20 {
        assert_eq!(rig.request((IN, 3), (0x20_0000, 512, WRITE)), 0);
        rig.reset();
        rig.start([rig::DESCRIPTORS, rig::AVAILABLE, rig::USED]);
    }
}

#[test]
fn random_numbers_fill_what_is_asked_for_up_to_a_limit() {
    let mut rig = Rig::ready(Box::new(Random));
    rig.describe(0, (0x20_0000, 64), WRITE | NEXT, 1);
    rig.describe(1, (0x21_0000, 0x2000), WRITE, 0);
    rig.offer(0);
    rig.wait_until(|rig| rig.used() == 1);
    let written: u32 = rig.memory.read_obj(GuestAddress(rig::USED + 8)).unwrap();
    assert_eq!(written, 4096);
    let mut bytes = [0; 64];
    rig.memory.read_slice(&mut bytes, GuestAddress(0x20_0000)).unwrap();
    assert!(bytes.iter().any(|byte| *byte != 0));
}

#[test]
fn features_that_were_not_offered_and_old_drivers_are_refused() {
    let (disk, _file) = disk(Properties::default());
    let rig = Rig::found(disk);
    let agree = |low: u32, high: u32| {
        rig.write(20, &[0]);
        for (half, bits) in [(0_u32, low), (1, high)] {
            rig.write(8, &half.to_le_bytes());
            rig.write(12, &bits.to_le_bytes());
        }
        rig.write(20, &[8]);
        rig.status() & 8 != 0
    };
    assert!(agree(0, 1));
    assert!(!agree(0, 0), "no virtio 1");
    assert!(!agree(1 << 5, 1), "it is not read-only");
    assert!(!agree(0, 0x8000_0001));
    rig.write(20, &[4]);
    assert_eq!(rig.status() & 4, 0, "without features there is no driver");
}
