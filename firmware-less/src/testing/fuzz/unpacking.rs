//! Targets that take the bytes for something packed.

use std::io::Write as _;

use crate::{
    initrd::{Part, model::Kernel, unpack},
    kernel::{Config, Payload, Unpacked},
    plan::FileId,
    testing::{cpio::archive, vmlinux},
};

/// The most that anything unpacks to.
const LIMIT: u64 = 1 << 16;

/// A kernel's payload, or a kernel proper.
pub(super) fn payload(bytes: &[u8]) {
    kernel_proper(bytes);
    let Ok(payload) = Payload::read(bytes, LIMIT) else { return };
    assert!(payload.size() as u64 <= LIMIT.max(bytes.len() as u64));
    if let Ok(unpacked) = payload.unpack(2) {
        assert_eq!(unpacked.len(), payload.size());
        kernel_proper(&unpacked);
        drop(Config::find(&unpacked));
    }
}

fn kernel_proper(file: &[u8]) {
    let kernel = Unpacked::read(FileId(1), file);
    let Ok(kernel) = kernel.and_then(|kernel| kernel.with_relocations(file)) else { return };
    let linked = kernel.linked();
    assert!(kernel.entry_offset() < linked.len());
    let mut end = 0;
    for piece in kernel.pieces() {
        assert!(piece.offset >= end, "pieces ascend");
        end = piece.offset.checked_add(piece.content.len()).expect("a piece does not wrap");
    }
    assert!(end <= linked.len());
    if let Ok(Some(relocation)) = kernel.relocation(0x20_0000) {
        // As much of it as is at hand: what lies behind is left alone.
        relocation.apply(file.to_vec().as_mut_slice());
    }
}

pub(super) fn payloads() -> Vec<Vec<u8>> {
    let small = vmlinux().segments(&[(0x100_0000, &[0xcc; 0x400], 0x400)]);
    let small = small.relocations(&[&[0x8100_0100], &[0x8100_0200], &[0x8100_0300]]).build();
    let sized = |packed: Vec<u8>| {
        let size = u32::try_from(small.len()).expect("it is small");
        [packed, size.to_le_bytes().to_vec()].concat()
    };
    let lz4 = [&0x184c_2102_u32.to_le_bytes()[..], &lz4_block(b"content")].concat();
    vec![gzip(&small), sized(zstd(&small)), sized(lz4), small.clone()]
}

/// A part of an initrd: unpacked it is to the kernel what it was.
pub(super) fn initrd(bytes: &[u8]) {
    let was = Kernel::of(bytes, LIMIT);
    let unpacked = unpack(Part { bytes, is_last: true }, LIMIT, 1);
    assert_eq!(Kernel::of(&unpacked.bytes, LIMIT), was);
    if unpacked.formats.is_empty() {
        assert_eq!(unpacked.bytes, bytes);
    }
}

pub(super) fn initrds() -> Vec<Vec<u8>> {
    let root = archive(&[("init", b"#!/bin/sh"), ("a/b", b"")]);
    let microcode = archive(&[("kernel/x86/microcode/AuthenticAMD.bin", b"code")]);
    let lz4 = [&0x184c_2102_u32.to_le_bytes()[..], &lz4_block(&root)].concat();
    vec![
        root.clone(),
        [&microcode[..], &[0; 8], &gzip(&root)].concat(),
        [zstd(&microcode), gzip(&root)].concat(),
        [gzip(&microcode), vec![0], lz4].concat(),
        [&root[..], b"BZh9"].concat(),
    ]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).expect("memory takes all");
    writer.finish().expect("memory takes all")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut packed = vec![0; zstd_safe::compress_bound(bytes.len())];
    let len = zstd_safe::compress(packed.as_mut_slice(), bytes, 1).expect("memory takes all");
    packed.truncate(len);
    packed
}

/// A block of a legacy frame that is all literals, behind its length.
/// lz4_Block_format.md, "Sequences".
fn lz4_block(bytes: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    match bytes.len().checked_sub(15) {
        None => block.push(u8::try_from(bytes.len() << 4).expect("below 15")),
        Some(more) => {
            block.push(0xf0);
            block.extend(std::iter::repeat_n(0xff, more / 255));
            block.push(u8::try_from(more % 255).expect("a remainder"));
        }
    }
    block.extend(bytes);
    let len = u32::try_from(block.len()).expect("it is short");
    [&len.to_le_bytes()[..], &block].concat()
}
