use std::io::Write as _;

use super::*;
use crate::testing::{
    Random,
    pack::{gzip, lz4, xz, zstd},
};

const LIMIT: u64 = 64 << 20;

/// More than two blocks of lz4, neither all alike nor all different.
fn kernel() -> Vec<u8> {
    let mut random = Random::seeded(7);
    let line = |number: u32| {
        let word = u8::try_from(random.below(256)).unwrap();
        [&number.to_le_bytes()[..], b"a kernel proper", &[word]].concat()
    };
    let bytes: Vec<u8> = (0..900_000).flat_map(line).collect();
    assert!(bytes.len() > 2 * LZ4_BLOCK);
    bytes
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn lzma(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::LzmaOptions::with_preset(0);
    let mut writer = lzma_rust2::LzmaWriter::new_use_header(Vec::new(), &options, None).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn with_size(packed: Vec<u8>, size: usize) -> Vec<u8> {
    [packed, u32::try_from(size).unwrap().to_le_bytes().to_vec()].concat()
}

/// `bytes` as a bzImage's payload, in every way that can be unpacked.
fn payloads(bytes: &[u8]) -> [(Compression, Vec<u8>); 6] {
    let sized = |packed| with_size(packed, bytes.len());
    [
        (Compression::Gzip, gzip(bytes)),
        (Compression::Bzip2, sized(bzip2(bytes))),
        (Compression::Lzma, sized(lzma(bytes))),
        (Compression::Xz, sized(xz(bytes))),
        (Compression::Lz4, sized(lz4(bytes))),
        (Compression::Zstd, sized(zstd(bytes))),
    ]
}

#[test]
fn what_was_packed_in_any_way_comes_out_again() {
    let kernel = kernel();
    for (compression, payload) in payloads(&kernel) {
        let read = Payload::read(&payload, LIMIT).unwrap();
        assert_eq!(read.compression(), compression);
        assert!(read.unpack(1).unwrap() == kernel, "{compression}");
    }
}

#[test]
fn blocks_come_out_the_same_by_any_number_of_threads() {
    let kernel = kernel();
    let payload = with_size(lz4(&kernel), kernel.len());
    for threads in [0, 1, 2, 3, 64] {
        let unpacked = Payload::read(&payload, LIMIT).unwrap().unpack(threads).unwrap();
        assert!(unpacked == kernel, "{threads}");
    }
}

#[test]
fn what_is_not_packed_is_taken_as_it_is() {
    let payload = b"\x7fELF and so on";
    let read = Payload::read(payload, LIMIT).unwrap();
    assert_eq!(read.compression(), Compression::None);
    assert_eq!(read.unpack(1).unwrap(), payload);
}

#[test]
fn the_size_it_says_is_the_size_it_has() {
    let bytes = [b'k'; 10_000];
    for (compression, payload) in payloads(&bytes) {
        let at = payload.len() - SIZE_LEN;
        for (size, wanted) in [(9_999u32, "more"), (10_001, "fewer")] {
            let mut payload = payload.clone();
            payload[at..].copy_from_slice(&size.to_le_bytes());
            let error = Payload::read(&payload, LIMIT).unwrap().unpack(1).unwrap_err();
            // zstd and lz4 say that there is no room, gzip that its own size is wrong.
            let damaged = matches!(error, Error::Damaged { .. });
            assert!(damaged || error.to_string().contains(wanted), "{compression}: {error}");
        }
    }
}

#[test]
fn no_memory_is_taken_for_more_than_the_limit() {
    let payload = with_size(zstd(b"small"), u32::MAX as usize);
    assert_eq!(
        Payload::read(&payload, LIMIT).unwrap_err().to_string(),
        "the kernel's payload unpacks to 0xffffffff bytes, 0x4000000 are accepted"
    );
}

#[test]
fn a_window_larger_than_any_kernel_s_is_refused() {
    // Properties, a window of 4 GiB, size unknown. lzma-specification, "LZMA file format header".
    let header = [&[0x5d, 0x00, 0x00, 0x00, 0xf0][..], &[0xff; 8], &[0; 32]].concat();
    let payload = with_size(header, 100);
    let error = Payload::read(&payload, LIMIT).unwrap().unpack(1).unwrap_err();
    assert!(matches!(error, Error::Damaged { by: Compression::Lzma, .. }), "{error}");
}

#[test]
fn what_can_t_be_unpacked_says_why() {
    let refused = |payload: &[u8]| {
        let read = Payload::read(payload, LIMIT);
        read.and_then(|read| read.unpack(1)).unwrap_err().to_string()
    };
    assert_eq!(
        refused(b"MZ, not packed"),
        "the kernel's payload is packed in no way that is known: it begins with \
         [4d, 5a, 2c, 20, 6e, 6f, 74, 20]"
    );
    assert_eq!(
        refused(b"\x89LZO and so on"),
        "the kernel's payload is packed by lzo, which can't be unpacked here"
    );
    assert_eq!(refused(b"\x1f\x8b"), "the kernel's payload has 2 bytes, too few to be anything");
    let cut = zstd(&[b'k'; 10_000]);
    assert_eq!(
        refused(&with_size(cut[..cut.len() - 1].to_vec(), 10_000)),
        "the kernel's payload, packed by zstd, is damaged"
    );
}

/// Whatever comes out, nothing panics, hangs, or is larger than it says.
#[test]
fn damaged_payloads_are_survived() {
    let bytes: Vec<u8> = kernel()[..50_000].to_vec();
    let mut random = Random::seeded(11);
    let mut refused = 0;
    for (_, payload) in payloads(&bytes) {
        for _ in 0..300 {
            let mut payload = payload.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(payload.len());
                payload[at] = u8::try_from(random.below(256)).unwrap();
            }
            payload.truncate(payload.len() - random.below(40));
            let unpacked = Payload::read(&payload, 1 << 20).and_then(|read| read.unpack(2));
            refused += usize::from(unpacked.is_err());
        }
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn a_small_kernel_comes_out_again_too() {
    for (compression, payload) in payloads(b"a small kernel") {
        let limit = b"a small kernel".len() as u64;
        let read = Payload::read(&payload, limit).unwrap();
        assert_eq!(read.unpack(1).unwrap(), b"a small kernel", "{compression}");
        assert!(Payload::read(&payload, limit - 1).is_err(), "{compression}");
    }
}

#[test]
fn what_has_no_check_of_its_own_unpacks_to_less_or_more_than_it_says() {
    let bytes = [b'k'; 10_000];
    for (compression, payload) in payloads(&bytes) {
        let unpacked = |size: u32| {
            let packed = &payload[..payload.len() - SIZE_LEN];
            let payload = with_size(packed.to_vec(), size as usize);
            Payload::read(&payload, LIMIT).unwrap().unpack(1).unwrap_err()
        };
        if matches!(compression, Compression::Bzip2 | Compression::Xz) {
            assert!(matches!(unpacked(10_001), Error::Less { size: 10_001 }), "{compression}");
            assert!(matches!(unpacked(9_999), Error::More { size: 9_999 }), "{compression}");
        }
    }
}

#[test]
fn there_are_as_many_blocks_of_lz4_as_there_is_room_for() {
    let one = lz4(b"a small kernel");
    let unpacked = |packed: &[u8], size| {
        let payload = with_size(packed.to_vec(), size);
        Payload::read(&payload, LIMIT).unwrap().unpack(1).unwrap_err()
    };
    let full = lz4(&vec![0; LZ4_BLOCK]);
    assert!(matches!(unpacked(&full, LZ4_BLOCK + 1), Error::Less { .. }));
    assert!(matches!(unpacked(&[&one[..], &one].concat(), 14), Error::More { .. }));
    assert!(matches!(unpacked(&one[..one.len() - 1], 14), Error::Damaged { .. }));
}
