use super::*;

const LIMIT: u64 = 64 << 20;
const ALL: [Format; 4] = [Format::Gzip, Format::Xz, Format::Lz4, Format::Zstd];

/// Nine and a half blocks of lz4, which are all others'.
fn content() -> Vec<u8> {
    (0..76_u32 << 20).map(|byte| (byte / 1021).to_le_bytes()[0]).collect()
}

fn unpacked(format: Format, packed: &[u8], limit: u64) -> Result<(Vec<u8>, usize), Error> {
    member(format, packed, limit, (2, true)).map(|member| (member.bytes, member.packed_len))
}

fn why(format: Format, packed: &[u8]) -> String {
    let error = unpacked(format, packed, LIMIT).expect_err("it is not to be unpacked");
    let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

#[test]
fn every_format_unpacks_to_what_was_packed_and_no_further() {
    let content = content();
    for format in ALL {
        let packed = format.pack(&content);
        assert_eq!(Format::of(&packed), Some(format));
        let (bytes, len) = unpacked(format, &packed, content.len() as u64).unwrap();
        assert!(bytes == content, "{format}");
        assert_eq!(len, packed.len(), "{format}");
        // NULs, and for all but lz4 anything, are for whoever comes next.
        let behind = [&packed[..], &[0; 5]].concat();
        assert_eq!(unpacked(format, &behind, LIMIT << 1).unwrap().1, packed.len(), "{format}");
    }
}

#[test]
fn what_unpacks_to_more_than_there_is_room_for_is_given_up() {
    let content = vec![0; 20 << 20];
    for format in ALL {
        let packed = format.pack(&content);
        let limit = content.len() as u64;
        assert!(unpacked(format, &packed, limit).is_ok(), "{format}");
        for limit in [limit - 1, 4096, 0] {
            let error = unpacked(format, &packed, limit).unwrap_err();
            assert_eq!(error.to_string(), format!("it unpacks to more than {limit:#x} bytes"));
        }
    }
}

#[test]
fn what_is_cut_or_changed_is_refused() {
    for format in ALL {
        let packed = format.pack(b"some content, some content, some content");
        // Of lz4 it shows in the middle of a block only.
        let first = if format == Format::Lz4 { 9 } else { 2 };
        for len in first..packed.len() {
            assert!(unpacked(format, &packed[..len], LIMIT).is_err(), "{format} {len}");
        }
    }
    let mut gzip = Format::Gzip.pack(b"content");
    *gzip.last_mut().unwrap() ^= 1;
    assert!(why(Format::Gzip, &gzip).starts_with("the gzip data is damaged, or not as"));
}

#[test]
fn what_the_kernel_s_decompressors_do_not_know_is_left_to_them() {
    let mut commented = Format::Gzip.pack(b"content");
    commented[3] |= 1 << 4;
    commented.splice(10..10, *b"comment\0");
    assert_eq!(
        why(Format::Gzip, &commented),
        "the kernel reads no gzip data with more than a name in its header"
    );
    let mut named = Format::Gzip.pack(b"content");
    named[3] |= 1 << 3;
    named.splice(10..10, *b"name\0");
    assert_eq!(unpacked(Format::Gzip, &named, LIMIT).unwrap().0, b"content");
    let crc64 = b"\xfd7zXZ\0\0\x04";
    assert_eq!(why(Format::Xz, crc64), "the kernel reads no xz data with a check other than CRC32");
}

#[test]
fn what_follows_lz4_is_a_block_to_the_kernel() {
    let packed = Format::Lz4.pack(b"content");
    let lz4 = |behind: &[u8], is_last| {
        let bytes = [&packed[..], behind].concat();
        member(Format::Lz4, &bytes, LIMIT, (1, is_last)).map(|member| member.packed_len)
    };
    // lib/decompress_unlz4.c: fewer than four bytes, or a block of none, are the end.
    assert_eq!(lz4(b"", true).unwrap(), packed.len());
    assert_eq!(lz4(b"\0\0\0", true).unwrap(), packed.len());
    assert_eq!(lz4(b"\0\0\0\x000701", true).unwrap(), packed.len());
    assert_eq!(lz4(b"\0\0\0\0", false).unwrap(), packed.len());
    assert!(lz4(b"", false).is_err());
    assert!(lz4(b"070701", true).is_err());
    assert_eq!(lz4(&packed, true).unwrap(), 2 * packed.len(), "frames may follow each other");
}

#[test]
fn what_a_decompressor_still_holds_when_its_input_ends_is_unpacked() {
    // Blocks of 128 KiB, but for the first and the last, so that the last one begins where
    // there is room for a few bytes, and ends where there is none.
    const FIRST: usize = (128 << 10) - 10;
    let content: Vec<u8> = (0..STEP + 5).map(|at| (at / 1021).to_le_bytes()[0]).collect();
    let mut compressor = zstd_safe::CCtx::create();
    let mut packed = Vec::with_capacity(STEP);
    let mut output = zstd_safe::OutBuffer::around(&mut packed);
    for (part, end) in [
        (&content[..FIRST], zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_flush),
        (&content[FIRST..], zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_end),
    ] {
        let mut input = zstd_safe::InBuffer::around(part);
        assert_eq!(compressor.compress_stream2(&mut output, &mut input, end), Ok(0));
    }
    let (bytes, len) = unpacked(Format::Zstd, &packed, LIMIT).unwrap();
    assert!(bytes == content, "{} bytes", bytes.len());
    assert_eq!(len, packed.len());
}
