//! Packers, for this crate's own tests.

use std::io::Write as _;

use crate::kernel::payload::{LZ4_BLOCK, LZ4_MAGIC};

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).expect("memory takes all");
    writer.finish().expect("memory takes all")
}

/// With the check that the kernel knows.
pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut options = lzma_rust2::XzOptions::with_preset(0);
    options.set_check_sum_type(lzma_rust2::CheckType::Crc32);
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).expect("memory takes all");
    writer.write_all(bytes).expect("memory takes all");
    writer.finish().expect("memory takes all")
}

/// The legacy frame.
pub(crate) fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut frame = LZ4_MAGIC.to_le_bytes().to_vec();
    for block in bytes.chunks(LZ4_BLOCK) {
        let block = lz4::block::compress(block, None, false).expect("memory takes all");
        frame.extend(u32::try_from(block.len()).expect("memory takes all").to_le_bytes());
        frame.extend(block);
    }
    frame
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut packed = vec![0; zstd_safe::compress_bound(bytes.len())];
    let len = zstd_safe::compress(packed.as_mut_slice(), bytes, 1).expect("memory takes all");
    packed.truncate(len);
    packed
}
