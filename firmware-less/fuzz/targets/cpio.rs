//! Any files: the archive made of them has them all, one behind the other.
#![no_main]

use firmware_less::uki::cpio::{Target, archive};
use libfuzzer_sys::fuzz_target;

/// One record of a newc archive: its mode, name and content, and what follows.
fn record(bytes: &[u8]) -> (u32, &[u8], &[u8], &[u8]) {
    assert_eq!(&bytes[..6], b"070701");
    let field = |number: usize| {
        let digits = str::from_utf8(&bytes[6 + 8 * number..14 + 8 * number]).expect("digits");
        u32::from_str_radix(digits, 16).expect("a number")
    };
    let (size, name_size) = (field(6) as usize, field(11) as usize);
    let content = (110 + name_size).next_multiple_of(4);
    let end = (content + size).next_multiple_of(4);
    let (name, nul) = bytes[110..110 + name_size].split_at(name_size - 1);
    assert_eq!(nul, [0]);
    (field(1), name, &bytes[content..content + size], &bytes[end..])
}

fuzz_target!(|files: Vec<(String, Vec<u8>)>| {
    let files: Vec<_> =
        files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    for (target, folders) in [(Target::EXTRA, 1), (Target::CREDENTIALS, 2)] {
        let archive = archive(&target, &files).expect("files of less than 4 GiB");
        assert_eq!(archive.len() % 4, 0);
        let mut rest = archive.as_slice();
        for _ in 0..folders {
            let (mode, name, content, after) = record(rest);
            assert!(mode & 0o170_000 == 0o040_000 && content.is_empty());
            assert!(target.dir.as_bytes().starts_with(name));
            rest = after;
        }
        for (name, content) in &files {
            let (mode, found, bytes, after) = record(rest);
            assert_eq!(mode, 0o100_000 | target.file_mode);
            assert_eq!(found, format!("{}/{name}", target.dir).as_bytes());
            assert_eq!(bytes, *content);
            rest = after;
        }
        let (_, name, _, rest) = record(rest);
        assert!(name == b"TRAILER!!!" && rest.is_empty());
    }
});
