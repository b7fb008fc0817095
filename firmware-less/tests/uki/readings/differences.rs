//! That the readings do differ, and how little it takes.

use firmware_less::{
    acceptance::{Accepted, Cause},
    plan::{FileId, FileSlice},
    range::FileRange,
    testing::{Image, uki},
    uki::{
        self, Name, Reading, Selector,
        handed::{self, Choice, Console, Note},
    },
};

use super::{USERS, kernel, plain, verdict, whole};

/// Files and choices that are read differently.
fn jobs() -> Vec<(Image, Choice)> {
    let line = Choice { cmdline: Some("debug".into()), ..plain() };
    let linux = || uki().section(".linux", kernel());
    vec![
        (whole(), plain()),
        (linux(), plain()),
        (linux().section(".initrd", "a"), plain()),
        (linux().section(".initrd", "a").section(".cmdline", "a"), line),
        (linux().section(".osrel", "a").section(".cmdline", "a"), plain()),
        (whole().section(".initrd", "b"), plain()),
    ]
}

/// Since 2025 UAPI.1 leaves it to UAPI.5 what a UKI is.
#[test]
fn any_two_readings_differ_but_for_the_specifications_of_today() {
    let jobs: Vec<_> = jobs().into_iter().map(|(image, choice)| (image.build(), choice)).collect();
    let all = |reading| {
        let verdicts = jobs.iter().map(|(file, choice)| verdict(file, reading, choice).ok());
        verdicts.collect::<Vec<_>>()
    };
    for (place, one) in Reading::ALL.into_iter().enumerate() {
        for other in Reading::ALL.into_iter().skip(place + 1) {
            let same = (one, other) == (Reading::Uapi, Reading::Bls);
            assert_eq!(all(one) == all(other), same, "{one} and {other}");
        }
    }
}

#[test]
fn an_empty_kernel_is_refused_by_every_reading() {
    let image = uki()
        .section(".osrel", "ID=test\n")
        .section(".cmdline", "a")
        .section(".initrd", "a")
        .section(".linux", "");
    let file = image.build();
    for reading in Reading::ALL {
        let refusal = verdict(&file, reading, &plain()).expect_err(reading.as_str());
        let wanted = match reading {
            Reading::Stub => {
                "section .linux is empty (VirtualSize 0x0): there is no kernel; refused"
            }
            Reading::BpfV7 => "section .linux is missing; refused as bpf-v7",
            _ => "section .linux: the kernel has 0x0 bytes, a bzImage has at least",
        };
        assert!(refusal.starts_with(wanted), "{reading}: {refusal}");
    }
}

fn cmdline(image: &Image, reading: Reading, choice: &Choice) -> String {
    let accepted = Accepted::read(&image.build(), reading, choice).unwrap();
    String::from_utf8(accepted.handed.cmdline).unwrap()
}

#[test]
fn the_word_for_a_virtio_console_is_appended_where_nothing_is_locked() {
    let choice = |enforced| Choice { console: Console::Hvc0, enforced, ..plain() };
    let of = |enforced| cmdline(&whole(), Reading::Stub, &choice(enforced));
    assert_eq!((of(false), of(true)), ("quiet console=hvc0".into(), "quiet".into()));
}

#[test]
fn a_command_line_that_is_not_used_may_be_of_any_length() {
    let image = uki().section(".linux", kernel()).section(".cmdline", vec![b'a'; (64 << 10) + 1]);
    assert_eq!(cmdline(&image, Reading::KexecTools, &plain()), "");
    assert!(verdict(&image.build(), Reading::Stub, &plain()).is_err());
}

#[test]
fn an_initrd_is_unused_only_where_there_is_one_and_the_users_takes_its_place() {
    let slice = FileSlice { file: FileId(1), range: FileRange::first(USERS.len() as u64) };
    let choice = Choice { initrds: vec![slice], ..plain() };
    let unused = |image: &Image, reading| {
        let notes = Accepted::read(&image.build(), reading, &choice).unwrap().handed.notes;
        let note = Note::SectionUnused { section: Name::Initrd, reading };
        notes.iter().filter(|found| **found == note).count()
    };
    let without = uki().section(".linux", kernel());
    assert_eq!(unused(&whole(), Reading::KexecTools), 1);
    assert_eq!(unused(&without, Reading::KexecTools), 0);
    assert_eq!(unused(&whole(), Reading::Stub), 0);
}

#[test]
fn a_profile_without_a_kernel_is_refused_by_its_number() {
    let image = whole().section(".profile", "").section(".profile", "").section(".linux", "");
    let choice = Choice { profile: Selector::Number(1), ..plain() };
    let refusal = Accepted::read(&image.build(), Reading::Stub, &choice).unwrap_err();
    assert!(
        matches!(
            refusal.cause,
            Cause::Handed(handed::Error::Uki(uki::Error::NoLinux { profile: 1 }))
                | Cause::Uki(uki::Error::NoLinux { profile: 1 })
        ),
        "{refusal:?}"
    );
}

/// As those of signing tools and boot loaders may be, and no reader of the patches minds.
#[test]
fn what_only_the_stub_s_reading_checks_no_other_refuses() {
    let within = whole().header(|header| header.size_of_headers = 0x1000);
    let over = whole().section(".more", "a").but(|section| section.virtual_address = 0x1000);
    for image in [within, over] {
        assert!(verdict(&image.build(), Reading::Stub, &plain()).is_err());
        assert!(verdict(&image.build(), Reading::KexecTools, &plain()).is_ok());
    }
}
