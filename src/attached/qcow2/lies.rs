//! Images that lie.
#![expect(clippy::arithmetic_side_effects, reason = "an overflow in a test fails it")]

use std::{fs::File, os::unix::fs::FileExt as _};

use firmware_less::testing::Random;
use imago::{FormatCreateBuilder as _, file::File as ImageFile, qcow2::Qcow2 as Image};
use vm_memory::VolatileSlice;

use super::disk_len;
use crate::devices::virtio::block::{Qcow2, Storage as _};

/// An image of a disk of 8 MiB, of which some is written.
fn image() -> File {
    let file = tempfile::tempfile().unwrap();
    let storage = ImageFile::try_from(file.try_clone().unwrap()).unwrap();
    Image::<ImageFile>::create_builder(storage).size(8 << 20).create().unwrap();
    let mut bytes = vec![0xaa; 0x2_0000];
    let mut disk = Qcow2::open(file.try_clone().unwrap(), true).unwrap();
    disk.write(0x1_0000, &[VolatileSlice::from(bytes.as_mut_slice())]).unwrap();
    file
}

/// Writes over some places of `file`: the header above all, and where its tables are, each of
/// which begins a cluster.
fn spoil(file: &File, random: &mut Random) {
    let len = usize::try_from(file.metadata().unwrap().len()).unwrap();
    for _ in 0..=random.below(4) {
        let bytes = random.edge(0x1_0000, len as u64).to_be_bytes();
        let place = match random.below(3) {
            0 => random.below(112),
            1 => (random.below(len >> 16) << 16) + 8 * random.below(4),
            _ => random.below(len),
        };
        let some = random.below(9);
        file.write_all_at(&bytes[8 - some..], place as u64).unwrap();
    }
}

fn use_disk(file: &File, is_written: bool) {
    let Ok(mut disk) = Qcow2::open(file.try_clone().unwrap(), is_written) else { return };
    let mut bytes = [1; 4096];
    let slices = [VolatileSlice::from(bytes.as_mut_slice())];
    let len = disk.len();
    for offset in [0, 0x1_f000, 2 << 20].into_iter().filter(|at| at + 4096 <= len) {
        disk.read(offset, &slices).ok();
        disk.write(offset, &slices).ok();
        disk.discard(offset, 4096).ok();
    }
    disk.flush().ok();
}

/// Whatever stands in its tables, an image is refused, or its disk can be used or not: no panic,
/// no recursion and no wait without end.
#[test]
fn images_that_lie_are_refused_or_do_no_harm() {
    let mut random = Random::seeded(7);
    let mut taken = 0;
    for number in 0..600 {
        let file = image();
        spoil(&file, &mut random);
        let is_written = number % 3 != 0;
        if disk_len(&file, is_written).is_ok() {
            taken += 1;
            use_disk(&file, is_written);
        }
    }
    assert!((50..550).contains(&taken), "{taken}");
}
