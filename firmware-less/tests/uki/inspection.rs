//! What is said of a UKI, good, bad or hostile, and how much of it is read for that.

use firmware_less::{
    inspection::{Depth, Inspection, Warning},
    plan::FileId,
    read_at::ReadAt,
    testing::{Counted, Image, Random, bzimage, uki},
    uki::{
        Addon, Name, Selector,
        cpio::{Target, archive},
        handed::Choice,
        pcr11::{Bank, Pcr11},
    },
};

use crate::hostile;

/// Mutated images in all.
const MUTATIONS: usize = 100_000;

fn inspect(file: &[u8], choice: &Choice) -> Inspection {
    Inspection::read(&[&file.to_vec()], choice, Depth::Whole, &mut |_, _| {}).unwrap()
}

fn first_profile(image: &Image) -> Inspection {
    inspect(&image.build(), &Choice::default())
}

/// A UKI of `LEN` bytes whose initrd begins with `initrd`.
fn large<const LEN: u32>(initrd: Vec<u8>) -> Counted {
    let beginning = uki()
        .section(".osrel", "ID=test\n")
        .section(".linux", bzimage().build())
        .section(".initrd", initrd)
        .but(|section| {
            section.virtual_size = LEN - section.pointer_to_raw_data;
            section.size_of_raw_data = section.virtual_size;
        })
        .header(|header| header.size_of_image = u32::MAX)
        .build();
    Counted::sparse(beginning, LEN.into())
}

#[test]
fn without_digests_next_to_nothing_of_a_large_file_is_read() {
    let files: Vec<_> = (0..20_000).map(|number| format!("file-{number:05}")).collect();
    let files: Vec<_> = files.iter().map(|name| (name.as_str(), &[0x5a; 900][..])).collect();
    let many = archive(&Target::EXTRA, &files).unwrap();
    for initrd in [b"\x1f\x8b\x08".to_vec(), many, vec![0], Vec::new()] {
        let file = large::<{ 250 << 20 }>(initrd);
        let choice = Choice::default();
        let found = Inspection::read(&[&file], &choice, Depth::Headers, &mut |_, _| {}).unwrap();
        assert!(found.refused.is_none() && found.pcr11().is_none());
        assert!(file.bytes_read() < 256 << 10, "{} bytes read", file.bytes_read());
    }
}

#[test]
fn a_whole_file_is_hashed_once_and_progress_is_told() {
    let file = large::<{ 4 << 20 }>(b"\x1f\x8b\x08".to_vec());
    let mut told = Vec::new();
    let files: [&dyn ReadAt; 1] = [&file];
    let choice = Choice::default();
    Inspection::read(&files, &choice, Depth::Whole, &mut |done, all| told.push((done, all)))
        .unwrap();
    assert!(file.bytes_read() < file.len() + (256 << 10), "{} bytes read", file.bytes_read());
    assert!(told.is_sorted() && told.len() >= 16, "{}", told.len());
    assert!(told.iter().all(|&(done, all)| done <= all && all < file.len()));
}

#[test]
fn pcr_11_is_that_of_measure() {
    let image = hostile::image();
    let file = image.build();
    for number in [0, 1] {
        let choice = Choice { profile: Selector::Number(number), ..Choice::default() };
        let found = inspect(&file, &choice);
        let measured = Pcr11::read(&file, &found.sections(), &[Bank::Sha256]).unwrap();
        assert_eq!(found.pcr11(), measured.first().cloned());
    }
}

#[test]
fn a_profile_is_described_as_it_is_merged() {
    let image = uki()
        .section(".linux", bzimage().build())
        .section(".cmdline", "base")
        .section(".uname", "6.12\n")
        .section(".profile", "ID=a")
        .section(".profile", "ID=b")
        .section(".cmdline", "console=b")
        .section(".uname", "");
    let of = |profile| {
        let choice = Choice { profile, ..Choice::default() };
        let found = inspect(&image.build(), &choice);
        (found.profile, found.cmdline(), found.uname())
    };
    let a = (0, Some("base console=uart,io,0x3f8".into()), Some("6.12".into()));
    assert_eq!(of(Selector::default()), a);
    assert_eq!(of(Selector::Id("b".into())), (1, Some("console=b".into()), None));
}

#[test]
fn an_addon_is_part_of_what_is_described() {
    let file = uki().section(".linux", bzimage().build()).section(".cmdline", "a").build();
    let addon = uki().section(".cmdline", "console=b").section(".initrd", "070707").build();
    let choice =
        Choice { addons: vec![Addon::read(&addon, FileId(1)).unwrap()], ..Choice::default() };
    let found = Inspection::read(&[&file, &addon], &choice, Depth::Whole, &mut |_, _| {}).unwrap();
    assert_eq!(found.cmdline().as_deref(), Some("a console=b"));
    assert_eq!(found.initrd[0].segments[0].format.to_string(), "cpio of another kind");
    assert_eq!(found.initrd[0].digests, []);
}

/// The warnings about `image`, as text.
fn warnings(image: &Image) -> Vec<String> {
    first_profile(image).warnings.iter().map(Warning::to_string).collect()
}

fn sound() -> Image {
    uki().section(".linux", bzimage().build()).section(".cmdline", "console=ttyS0")
}

#[test]
fn nothing_is_said_against_a_sound_uki() {
    assert_eq!(warnings(&sound()), [""; 0]);
    let stub = "#### LoaderInfo: systemd-stub 257 ####\0";
    assert_eq!(warnings(&sound().section(".sdmagic", stub).section(".profile", "")), [""; 0]);
}

#[test]
fn a_stub_that_does_not_know_a_section_is_warned_of() {
    let stub = |text| {
        sound()
            .section(".sdmagic", text)
            .section(".profile", "ID=a")
            .section(".ucode", archive(&Target::EXTRA, &[]).unwrap())
    };
    let of = |text| warnings(&stub(text));
    assert_eq!(of("#### LoaderInfo: systemd-stub 262.1 ####"), [""; 0]);
    assert_eq!(
        of("#### LoaderInfo: systemd-stub 255.4-1ubuntu8 ####"),
        [
            "systemd-stub 255.4-1ubuntu8 is older than 257: of sections with names that begin alike \
             it takes the last",
            "systemd-stub 255.4-1ubuntu8 ignores section .ucode, which is known since 256",
            "systemd-stub 255.4-1ubuntu8 ignores section .profile, which is known since 257",
        ]
    );
}

#[test]
fn duplicates_are_told_by_profile_and_those_that_may_repeat_are_not() {
    let image = sound()
        .section(".dtbauto", "a")
        .section(".dtbauto", "b")
        .section(".profile", "")
        .section(".cmdline", "console=x")
        .section(".profile", "")
        .section(".cmdline", "console=y")
        .section(".cmdline", "console=z");
    let found = first_profile(&image);
    assert!(found.refused.is_some());
    let duplicate = Warning::Duplicate { section: Name::Cmdline, entries: vec![7, 8] };
    assert_eq!(found.warnings, [duplicate]);
}

#[test]
fn padding_that_is_more_than_padding_is_told() {
    let long = sound().section(".uname", [b'a'; 0x400]).but(|section| section.virtual_size = 4);
    assert_eq!(
        warnings(&long),
        [
            "section .uname is followed by 0x3fc bytes of padding, more than FileAlignment 0x200 \
             asks for",
            "section .uname is followed by 0x3fc bytes of padding that are not all NUL: readers \
             that go by SizeOfRawData take them for content",
        ]
    );
}

#[test]
fn sections_that_overlap_are_hashed_up_to_twice_the_file() {
    let mut image = uki().section(".linux", vec![1; 0x10000]);
    for _ in 0..3000 {
        image = image.section(".x", "").but(|section| {
            section.pointer_to_raw_data = section.virtual_address / 0x1000 + 0x200;
            section.virtual_size = 0x8000;
            section.size_of_raw_data = 0x8000;
        });
    }
    let file = image.build();
    let mut hashed = 0;
    let files: [&dyn ReadAt; 1] = [&file];
    let found =
        Inspection::read(&files, &Choice::default(), Depth::Whole, &mut |done, _| hashed = done);
    assert!(hashed <= 2 * file.len() as u64, "{hashed}");
    let told = found.unwrap().warnings.iter().any(|w| matches!(w, Warning::NotHashed { .. }));
    assert!(told || hashed < 2 * file.len() as u64);
}

/// Everything that is said of a file, if anything can be. Hashing and planning take
/// longer than all else, and are done only for some.
fn describe(file: &[u8], profile: usize, thoroughly: bool) -> bool {
    let choice = Choice { profile: Selector::Number(profile), ..Choice::default() };
    let file = file.to_vec();
    let depth = if thoroughly { Depth::Whole } else { Depth::Headers };
    let Ok(found) = Inspection::read(&[&file], &choice, depth, &mut |_, _| {}) else {
        return false;
    };
    assert_eq!(found.contents.len(), found.headers.sections.len());
    for contents in &found.contents {
        assert!(contents.range.end() <= file.len() as u64 || contents.range.is_empty());
        assert!(contents.range.len() <= contents.size);
        assert!(contents.shown().is_none_or(
            |text| text.is_ok_and(|t| t.len() <= 2 * file.len()) || contents.lossy().is_some()
        ));
    }
    let kept: usize = found.contents.iter().filter_map(|c| c.text.as_ref()).map(Vec::len).sum();
    assert!(kept <= file.len(), "{kept} bytes of text of {}", file.len());
    let _said = (found.cmdline(), found.uname(), found.stub(), found.sbat(), found.os_release());
    let _warned: Vec<_> = found.warnings.iter().map(ToString::to_string).collect();
    let _pcr11 = found.pcr11();
    let _least = thoroughly.then(|| found.least_memory());
    true
}

#[test]
fn mutated_files_never_panic_and_most_are_described() {
    let initrd = archive(&Target::EXTRA, &[("a", b"content")]).unwrap();
    let image = hostile::image().section(".ucode", initrd).section(".sbat", "a,1,b,c,d,e\n");
    let file = image.build();
    assert!(describe(&file, 1, true));
    let ucode = file.windows(6).position(|window| window == b"070701").unwrap();
    let mut fields = hostile::fields();
    fields.extend((0..14).map(|place| (ucode + 6 + 8 * place, 8)));
    let mut random = Random::seeded(0x696e_7370_6563);
    let mut described = 0;
    for number in 0..MUTATIONS {
        let mut file = file.clone();
        for _ in 0..=random.below(4) {
            if random.below(4) == 0 {
                let at = random.below(file.len());
                file[at] = u8::try_from(random.number() >> 56).unwrap();
            } else {
                let field = random.one_of(&fields);
                hostile::mutate(&mut random, &mut file, field);
            }
        }
        if random.below(8) == 0 {
            file.truncate(random.below(file.len()));
        }
        described += usize::from(describe(&file, random.below(3), number % 32 == 0));
    }
    assert!(described > MUTATIONS / 4, "{described} described");
}
