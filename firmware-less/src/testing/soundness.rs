//! What must hold of whatever was accepted, however hostile its source.

use std::collections::BTreeSet;

use crate::{
    acceptance::verdicts,
    kernel::Kernel,
    plan::{Content, FileId},
    range::FileRange,
    uki::{Handed, Name, Reading, Selector, Uki, handed::Choice, reading::Length},
};

/// How many profiles are looked at; a hostile file may have 65535.
const PROFILES: usize = 4;

/// Reads a UKI and everything in it that a kernel is handed; whatever is
/// accepted must be sound. Returns whether it was accepted, kernel and all.
#[must_use]
pub fn assert_uki_is_sound(file: &[u8]) -> bool {
    let Ok(uki) = Uki::read(file) else { return false };
    let whole = FileRange::new(0, file.len() as u64).expect("a length alone does not pass 2⁶⁴");
    assert_sections_are_sound(&uki, whole);
    let numbers = 0..uki.profile_count().clamp(1, PROFILES);
    numbers.filter(|&number| assert_profile_is_sound(file, &uki, number)).count() > 0
}

fn assert_sections_are_sound(uki: &Uki, whole: FileRange) {
    let mut begins = BTreeSet::new();
    let mut ends = BTreeSet::new();
    for section in uki.sections().iter().filter(|section| section.name.is_some()) {
        if section.is_set() {
            assert!(inside(section.raw_range(), whole), "{section:?} in {whole}");
            assert!(inside(section.range(), section.raw_range()), "{section:?}");
            assert!(begins.insert(section.range().offset()), "{section:?}");
            assert!(ends.insert(section.raw_range().end()), "{section:?}");
        }
    }
    let free_of_overlaps = begins.iter().skip(1).zip(&ends).all(|(begin, end)| end <= begin);
    assert!(free_of_overlaps, "{:?}", uki.sections());
}

fn assert_profile_is_sound(file: &[u8], uki: &Uki, number: usize) -> bool {
    let profile = uki.profile(number).expect("its number is below the count");
    for name in Name::ALL {
        if let Some(section) = profile.section(name) {
            assert!(section.is_set() && section.name == Some(name), "{section:?}");
            assert!(uki.sections().contains(&section), "{section:?}");
        }
    }
    let choice = Choice { profile: Selector::Number(number), ..Choice::default() };
    let Ok(handed) = Handed::read(file, uki, &choice) else { return false };
    assert_handed_is_sound(&handed);
    assert!(handed.kernel.range.end() <= file.len() as u64);
    assert_kernel_is_sound(file, handed.kernel.range)
}

/// What is handed over must be sound: a kernel, initrd parts one after the other,
/// a command line without anything but text.
pub fn assert_handed_is_sound(handed: &Handed) {
    assert_handed_is_sound_for(Reading::Stub, handed);
}

/// The same for any reading: some leave the command line as it is, but none has a
/// NUL in it.
pub fn assert_handed_is_sound_for(reading: Reading, handed: &Handed) {
    assert_eq!(handed.kernel.file, FileId::UKI);
    let parts = &handed.initrd;
    let lengths = parts.iter().map(|part| (part.content.len(), part.padded_len));
    for (len, padded_len) in lengths.clone() {
        let wanted = if parts.len() > 1 { len.next_multiple_of(4) } else { len };
        let zeros_may_follow = reading.rules().payload.length == Length::Loaded;
        assert!(padded_len == wanted || (zeros_may_follow && padded_len > wanted), "{parts:?}");
        assert!(len > 0 && (parts.len() == 1 || padded_len % 4 == 0), "{parts:?}");
    }
    let total = lengths.map(|(_, padded_len)| u128::from(padded_len)).sum::<u128>();
    assert_eq!(u128::from(handed.initrd_len()), total);
    assert!(!handed.cmdline.contains(&0), "{handed:?}");
    if reading == Reading::Stub {
        assert!(!handed.kernel.range.is_empty());
        let cmdline = str::from_utf8(&handed.cmdline).expect("a command line is text");
        assert!(!cmdline.contains(|c: char| c < ' ' || c == '\x7f'), "{cmdline:?}");
        assert_eq!(cmdline.trim_matches(' '), cmdline);
        assert_eq!(handed.cmdline_padding, 0);
    }
}

/// Every reading's verdict on `file`; what is accepted must be sound, and inside
/// the file. Returns whether any reading accepted it.
#[must_use]
pub fn assert_verdicts_are_sound(file: &[u8]) -> bool {
    let mut any = false;
    for (reading, verdict) in verdicts(file, &Choice::default()).unwrap_or_default() {
        let accepted = match verdict {
            Ok(accepted) => accepted,
            Err(refusal) => {
                assert!(!refusal.to_string().is_empty() && !refusal.is_io(), "{refusal}");
                continue;
            }
        };
        any = true;
        assert_handed_is_sound_for(reading, &accepted.handed);
        let parts = accepted.handed.initrd.iter().map(|part| &part.content);
        let slices = parts.filter_map(|content| match content {
            Content::File(slice) => Some(slice.range),
            Content::Bytes(_) => None,
        });
        for range in slices.chain([accepted.handed.kernel.range]) {
            assert!(range.end() <= file.len() as u64, "{reading}: {range:?}");
        }
    }
    any
}

/// Reads a kernel; what is accepted must be sound. Returns whether it was.
#[must_use]
pub fn assert_kernel_is_sound(file: &[u8], range: FileRange) -> bool {
    let Ok(kernel) = Kernel::read(file, range) else { return false };
    let protected_mode = kernel.protected_mode();
    assert_eq!(protected_mode.offset(), range.offset() + kernel.kern16_size());
    assert_eq!(protected_mode.end(), range.end());
    assert!(protected_mode.len() <= kernel.init_size().next_multiple_of(4096));
    assert!(kernel.payload().is_none_or(|payload| inside(payload, protected_mode)));
    assert!(kernel.header_bytes().len() <= 0x290 - 0x1f1);
    let offset = usize::try_from(range.offset()).expect("a file in memory") + 0x1f1;
    assert!(file[offset..].starts_with(kernel.header_bytes()));
    assert!(kernel.kernel_alignment().is_power_of_two() && kernel.kernel_alignment() >= 4096);
    let end = kernel.pref_address().checked_next_multiple_of(kernel.kernel_alignment());
    assert!(end.and_then(|start| start.checked_add(kernel.init_size())).is_some());
    true
}

fn inside(inner: FileRange, outer: FileRange) -> bool {
    outer.offset() <= inner.offset() && inner.end() <= outer.end()
}
