//! Targets that take the bytes for what a well-formed file is made of.

use super::{Input, input::with_lengths};
use crate::{
    plan::{FileId, FileSlice},
    range::{FileRange, index},
    testing::{Image, assert_handed_is_sound, assert_handed_is_sound_for, uki},
    uki::{
        Addon, Handed, Name, Reading, Selector, Uki,
        cpio::{Target, archive},
        handed::{Choice, InitrdOrigin, Note},
    },
};

/// Sections in any order, and a profile of them: what holds for a profile is its own
/// section, or else the base's.
pub(super) fn profiles(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let wanted = match input.maybe_bytes() {
        Some(id) => Selector::Id(String::from_utf8_lossy(id).into_owned()),
        None => Selector::Number(input.byte().into()),
    };
    let mut sections: Vec<(Name, &[u8])> = Vec::new();
    while !input.is_over() && sections.len() < 64 {
        sections.push((input.one_of(&Name::ALL), input.bytes()));
    }
    let add = |image: Image, (name, content): &(Name, &[u8])| image.section(name.as_str(), content);
    let file = sections.iter().fold(uki().section(".linux", "kernel"), add).build();
    let Ok(uki) = Uki::read(&file) else { return };
    let Ok(number) = wanted.find(&file, &uki) else { return };
    let profile = uki.profile(number).expect("it was found");

    let parts: Vec<_> = sections.split(|(name, _)| *name == Name::Profile).collect();
    assert_eq!(uki.profile_count(), parts.len() - 1);
    for name in Name::ALL {
        let of = |part: &[(Name, &[u8])]| {
            part.iter().find(|(found, _)| *found == name).map(|(_, content)| content.len())
        };
        let own = parts.get(number + 1).and_then(|own| of(own));
        let expected = own.or_else(|| of(parts[0])).filter(|&len| len > 0);
        let found = profile.section(name).map(|section| section.virtual_size as usize);
        match name {
            // The base has one before all others; and the delimiter was cut away.
            Name::Linux | Name::Profile => {}
            _ => assert_eq!(found, expected, "{name} of profile {number}"),
        }
    }
}

pub(super) fn profile_seeds() -> Vec<Vec<u8>> {
    let place = |name| Name::ALL.iter().position(|found| *found == name).expect("it is there");
    let section = |name, content: &[u8]| {
        let place = u8::try_from(place(name)).expect("few names");
        [vec![place], with_lengths(&[content])].concat()
    };
    let sections = [
        section(Name::Cmdline, b"quiet"),
        section(Name::Profile, b"ID=main"),
        section(Name::Initrd, b"cpio"),
        section(Name::Profile, b"ID=other\nTITLE=Other"),
        section(Name::Cmdline, b""),
    ];
    vec![
        [&[0, 1][..], &sections.concat()].concat(),
        [&[1][..], &with_lengths(&[b"other"]), &sections.concat()].concat(),
    ]
}

/// Command lines, the UKI's and the user's, and initrds of any length, by any reading.
pub(super) fn cmdline(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let reading = input.one_of(&Reading::ALL);
    let enforced = input.flag();
    let image = uki().section(".osrel", "ID=a").section(".linux", "kernel");
    let image = image.section(".cmdline", input.bytes()).section(".initrd", input.bytes());
    let file = image.build();
    let uki = Uki::read_as(&file, reading).expect("a valid image, whatever its content");
    let cmdline = input.flag().then(|| input.text());
    let append = (0..input.byte() % 4).map(|_| input.text()).collect();
    let mut initrds = Vec::new();
    while !input.is_over() {
        let range = FileRange::new(input.number(), input.number());
        initrds.extend(range.map(|range| FileSlice { file: FileId(1), range }));
    }
    let choice = Choice { cmdline, append, initrds, enforced, ..Choice::default() };
    if let Ok(handed) = Handed::read(&file, &uki, &choice) {
        assert_handed_is_sound_for(reading, &handed);
        assert_eq!(handed.initrd_pieces().len(), handed.initrd.len());
    }
}

pub(super) fn cmdline_seeds() -> Vec<Vec<u8>> {
    let readings = 0..u8::try_from(Reading::ALL.len()).expect("few readings");
    let embedded = with_lengths(&["root=/dev/vda\tquiet \u{e4}\n".as_bytes(), b"0707"]);
    let given = [&[1], &with_lengths(&[b"debug"])[..], &[1], &with_lengths(&[b"a=b"])].concat();
    let ranges = [1, 4, 2, 0, 16, 0, 1, 9];
    let seed = |reading| [&[reading, 0][..], &embedded, &given, &ranges].concat();
    readings.map(seed).collect()
}

/// Addons to a UKI: those for its kernel give their words in order, and their microcode
/// in reverse.
pub(super) fn addons(bytes: &[u8]) {
    const NAMES: [&str; 4] = [".uname", ".cmdline", ".initrd", ".ucode"];
    let mut input = Input::new(bytes);
    let mut image = uki().section(".linux", "kernel").section(".cmdline", "base");
    if let Some(uname) = input.maybe_bytes() {
        image = image.section(".uname", uname);
    }
    let file = image.build();
    let base = Uki::read(&file).expect("a valid image, whatever its content");
    let mut addons = Vec::new();
    for number in 1..=16 {
        if input.is_over() {
            break;
        }
        let addon = uki().section(".sdmagic", "#### LoaderInfo: systemd-addon 257 ####");
        let addon = NAMES.into_iter().fold(addon, |addon, name| match input.maybe_bytes() {
            Some(content) => addon.section(name, content),
            None => addon,
        });
        addons.extend(Addon::read(&addon.build(), FileId(number)));
    }
    let given = addons.len();
    let choice = Choice { addons, ..Choice::default() };
    let Ok(handed) = Handed::read(&file, &base, &choice) else { return };
    assert_handed_is_sound(&handed);
    let left_out = handed.notes.iter().filter(|note| matches!(note, Note::AddonLeftOut { .. }));
    assert!(left_out.count() <= given);
    let of = |name| {
        let parts = handed.initrd.iter().filter_map(move |part| match part.origin {
            InitrdOrigin::Addon(file, found) if found == name => Some(file.0),
            _ => None,
        });
        parts.collect::<Vec<_>>()
    };
    assert!(of(Name::Initrd).is_sorted());
    assert!(of(Name::Ucode).is_sorted_by(|a, b| a >= b));
    assert!(handed.cmdline.starts_with(b"base"));
}

pub(super) fn addon_seeds() -> Vec<Vec<u8>> {
    let some = |content: &[u8]| [vec![1], with_lengths(&[content])].concat();
    let addon = |uname: &[u8]| [some(uname), some(b"debug"), some(b"0707"), some(b"0701")].concat();
    vec![
        [some(b"6.12.0"), addon(b"6.12.0"), addon(b"6.1.0"), addon(b"6.12.0")].concat(),
        [vec![0], vec![0], some(b"debug"), vec![0, 0]].concat(),
    ]
}

/// Files: the archive made of them has them all, one behind the other.
pub(super) fn cpio(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut files = Vec::new();
    while !input.is_over() {
        files.push((input.text(), input.bytes()));
    }
    let files: Vec<_> = files.iter().map(|(name, content)| (name.as_str(), *content)).collect();
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
}

/// One record of a newc archive: its mode, name and content, and what follows.
fn record(bytes: &[u8]) -> (u32, &[u8], &[u8], &[u8]) {
    assert_eq!(&bytes[..6], b"070701");
    let field = |number: usize| {
        let digits = str::from_utf8(&bytes[6 + 8 * number..14 + 8 * number]).expect("digits");
        u32::from_str_radix(digits, 16).expect("a number")
    };
    let (size, name_size) = (index(field(6).into()), index(field(11).into()));
    let content = (110 + name_size).next_multiple_of(4);
    let end = (content + size).next_multiple_of(4);
    let (name, nul) = bytes[110..110 + name_size].split_at(name_size - 1);
    assert_eq!(nul, [0]);
    (field(1), name, &bytes[content..content + size], &bytes[end..])
}

pub(super) fn cpio_seeds() -> Vec<Vec<u8>> {
    vec![with_lengths(&[b"os-release", b"ID=a\n", b"empty", b"", b"odd", b"abcde"])]
}
