//! What the user gives beside the UKI, and what becomes of it.

use firmware_less::{
    acceptance::{Accepted, Refusal},
    plan::{FileId, FileSlice},
    range::FileRange,
    testing::{Image, uki},
    uki::{
        Addon, Name,
        Reading::{self, BpfV7, KexecTools, KexecV1, KexecV2, KexecV3, Stub, SystemctlKexec, Uapi},
        Selector,
        handed::{Choice, Console, Credential, Input, Note},
    },
};

use super::{
    Bytes, Case, PATCHES, SPEC, SPEC_2023, USERS, exact, joined, kernel, padded, plain, whole,
    without_cmdline,
};

/// Without `.osrel`, of which the stub would make a part of the initrd: only for
/// readings that do not require it.
fn small() -> Image {
    uki().section(".cmdline", "quiet\n").section(".linux", kernel()).section(".initrd", "initrd")
}

fn line(cmdline: &str) -> Choice {
    Choice { cmdline: Some(cmdline.to_owned()), ..plain() }
}

fn words(words: &[&str]) -> Choice {
    Choice { append: words.iter().map(ToString::to_string).collect(), ..plain() }
}

fn initrds(count: usize) -> Choice {
    let slice = FileSlice { file: FileId(1), range: FileRange::first(USERS.len() as u64) };
    Choice { initrds: vec![slice; count], ..plain() }
}

/// The user's command line and the sections as those have them who count padding.
fn given(cmdline: &str) -> Bytes {
    Bytes { cmdline: cmdline.into(), ..without_cmdline(padded("initrd", "")) }
}

fn cmdline(image: &Image, reading: Reading, choice: &Choice) -> String {
    let accepted = Accepted::read(&image.build(), reading, choice);
    String::from_utf8(accepted.unwrap().handed.cmdline).unwrap()
}

fn refusal(image: &Image, reading: Reading, choice: &Choice) -> Refusal {
    Accepted::read(&image.build(), reading, choice).expect_err(reading.as_str())
}

fn notes(image: &Image, reading: Reading, choice: &Choice) -> Vec<Note> {
    Accepted::read(&image.build(), reading, choice).unwrap().handed.notes
}

#[test]
fn a_command_line_beside_the_sections() {
    let beside = "--cmdline is given, and section .cmdline has 0x6 bytes";
    let image = whole();
    let stub = Accepted::read(&image.build(), Stub, &line("de\tbug ")).unwrap();
    assert_eq!(stub.handed.cmdline, b"de bug");
    Case::of(&small())
        .with(line("de\tbug "))
        .takes(&[Stub], &exact("initrd", "de bug"))
        .refuses(
            &SPEC,
            beside,
            "only where .cmdline is absent may it be overridden locally (UAPI.5, UKI Components)",
        )
        .refuses(&[Reading::Uapi2023], beside, "the command line is .cmdline, an override is not")
        .refuses(&[Reading::Bls2023], "section .osrel is missing", "")
        .takes(&[KexecV1], &padded("initrd", "quiet\n"))
        .refuses(
            &[KexecV2],
            beside,
            "a UKI does not allow another command line, EPERM (arch/x86/kernel/kexec-uki.c, uki_load)",
        )
        .takes(&[KexecV3, KexecTools], &given("de\tbug "))
        .refuses(&[SystemctlKexec], "section .osrel is missing", "")
        .takes(&[BpfV7], &padded("initrd", "quiet\n"))
        .and_that_is_all();
    assert_eq!(cmdline(&whole(), SystemctlKexec, &line("debug")), "quiet debug");
    let bls = refusal(&whole(), Reading::Bls2023, &line("debug")).to_string();
    assert!(bls.contains(".cmdline is used instead of the options field"), "{bls}");
}

#[test]
fn a_command_line_where_the_uki_has_none() {
    let image = uki().section(".linux", kernel()).section(".initrd", "initrd");
    for reading in [Stub, Uapi, Reading::Bls, KexecV3, KexecTools] {
        assert_eq!(cmdline(&image, reading, &line("debug")), "debug", "{reading}");
    }
    let v2 = refusal(&image, KexecV2, &line("debug")).to_string();
    assert!(v2.starts_with("--cmdline is given; refused as kexec-v2: "), "{v2}");
}

/// Where an empty section is one, nothing overrides it.
#[test]
fn a_command_line_beside_an_empty_section() {
    let image =
        uki().section(".linux", kernel()).section(".initrd", "initrd").section(".cmdline", "");
    assert_eq!(cmdline(&image, Stub, &line("debug")), "debug");
    let uapi = refusal(&image, Uapi, &line("debug")).to_string();
    assert!(uapi.starts_with("--cmdline is given, and section .cmdline has 0x0 bytes"), "{uapi}");
    refusal(&image, KexecV2, &line("debug"));
    assert_eq!(cmdline(&image, KexecV3, &line("debug")), "debug");
    let enforced = |choice: Choice| Choice { enforced: true, ..choice };
    assert_eq!(cmdline(&image, Stub, &enforced(line("debug"))), "debug");
    refusal(&image, KexecV3, &enforced(line("debug")));
}

#[test]
fn an_empty_command_line_of_the_users_is_none_to_the_patches() {
    for reading in [KexecV1, KexecV2, KexecV3, BpfV7] {
        assert_eq!(cmdline(&small(), reading, &line("")), "quiet\n", "{reading}");
    }
    assert_eq!(cmdline(&small(), Stub, &line("")), "");
    refusal(&small(), Uapi, &line(""));
}

#[test]
fn appended_words_are_the_users_command_line_but_for_the_stub() {
    assert_eq!(cmdline(&small(), Stub, &words(&["a", "b"])), "quiet a b");
    for reading in [KexecV3, KexecTools] {
        assert_eq!(cmdline(&small(), reading, &words(&["a", "b"])), "a b", "{reading}");
        let both = Choice { append: vec!["b".into()], ..line("a") };
        assert_eq!(cmdline(&small(), reading, &both), "a b", "{reading}");
    }
    assert_eq!(cmdline(&whole(), SystemctlKexec, &words(&["a", "b"])), "quiet a b");
    for reading in [Uapi, KexecV2] {
        let refusal = refusal(&small(), reading, &words(&["a"])).to_string();
        assert!(
            refusal.starts_with("--append is given, and section .cmdline has 0x6"),
            "{refusal}"
        );
    }
}

#[test]
fn what_is_ignored_is_said() {
    let ignored = |input, reading| Note::Ignored { input, reading };
    for reading in [KexecV1, BpfV7] {
        let notes = |choice: &Choice| notes(&small(), reading, choice);
        assert_eq!(notes(&line("a")), [ignored(Input::Cmdline, reading)]);
        assert_eq!(notes(&words(&["a"])), [ignored(Input::Append, reading)]);
        assert_eq!(notes(&plain()), []);
    }
    assert_eq!(notes(&small(), KexecV1, &initrds(2)), [ignored(Input::Initrd, KexecV1)]);

    let unused = |section, reading| Note::SectionUnused { section, reading };
    let tools = |choice: &Choice| notes(&small(), KexecTools, choice);
    assert_eq!(tools(&plain()), [unused(Name::Cmdline, KexecTools)]);
    assert_eq!(tools(&line("a")), []);
    let both = Choice { cmdline: Some("a".into()), ..initrds(1) };
    assert_eq!(tools(&both), [unused(Name::Initrd, KexecTools)]);
}

#[test]
fn an_initrd_beside_the_sections() {
    let beside = "--initrd is given, and section .initrd has 0x6 bytes";
    Case::of(&small())
        .with(initrds(1))
        .takes(&[Stub], &exact(joined(&[b"initrd", USERS]), "quiet"))
        .refuses(&SPEC, beside, "the initrd is that of the UKI and its addons, no other is")
        .refuses(&[Reading::Uapi2023], beside, "the initrd is .initrd, no other is provided for")
        .refuses(&[Reading::Bls2023, SystemctlKexec], "section .osrel is missing", "")
        .takes(&[KexecV1], &padded("initrd", "quiet\n"))
        .refuses(&[KexecV2, KexecV3], beside, "a UKI does not allow another initrd, EPERM (arch/x")
        .takes(&[KexecTools], &Bytes { initrd: USERS.into(), ..given("") })
        .refuses(&[BpfV7], beside, "the UKI itself is passed in the initrd's place")
        .and_that_is_all();
    let file = whole().build();
    let systemctl = Accepted::read(&file, SystemctlKexec, &initrds(1)).unwrap().handed;
    assert_eq!(super::bytes(&file, &systemctl), exact(USERS, "quiet"));
}

#[test]
fn several_initrds_are_too_many_where_one_replaces_the_section() {
    assert_eq!(
        refusal(&small(), KexecTools, &initrds(2)).to_string(),
        "2 initrds are given; refused as kexec-tools: it hands over one initrd \
         (kexec/arch/x86_64/kexec-bzImage64.c)"
    );
    let systemctl = refusal(&whole(), SystemctlKexec, &initrds(2)).to_string();
    assert!(systemctl.contains("several initrds are not supported"), "{systemctl}");
}

#[test]
fn under_enforcement_the_stub_leaves_nothing_to_the_user_that_it_would_drop() {
    let enforced = |choice: Choice| Choice { enforced: true, ..choice };
    let console = Choice { console: Console::TtyS0, ..Choice::default() };
    let rule = "under enforcement the stub drops the user's words where .cmdline is set (systemd \
                src/boot/stub.c, settle_command_line)";
    for (choice, input) in
        [(line("a"), "--cmdline"), (words(&["a"]), "--append"), (console, "--console")]
    {
        assert_eq!(
            refusal(&small(), Stub, &enforced(choice)).to_string(),
            format!(
                "{input} is given, and section .cmdline has 0x6 bytes; refused as stub: {rule}"
            )
        );
    }
    let initrd = refusal(&small(), Stub, &enforced(initrds(1))).to_string();
    assert!(initrd.contains("under enforcement nothing joins the UKI's initrd"), "{initrd}");

    let free = uki().section(".linux", kernel());
    for choice in [line("a"), words(&["a"])] {
        assert_eq!(cmdline(&free, Stub, &enforced(choice)), "a");
    }
    let default = enforced(Choice::default());
    assert_eq!(cmdline(&small(), Stub, &default), "quiet console=uart,io,0x3f8");
}

#[test]
fn locked_down_the_third_patch_refuses_a_command_line_beside_the_sections() {
    let enforced = Choice { enforced: true, ..line("a") };
    assert_eq!(
        refusal(&small(), KexecV3, &enforced).to_string(),
        "--cmdline is given, and section .cmdline has 0x6 bytes; refused as kexec-v3: locked down, \
         a UKI with .cmdline does not allow another command line, EPERM \
         (arch/x86/kernel/kexec-uki.c, uki_load)"
    );
    let free = uki().section(".linux", kernel()).section(".initrd", "initrd");
    assert_eq!(cmdline(&free, KexecV3, &enforced), "a");
}

#[test]
fn what_a_reading_knows_nothing_of_has_no_place() {
    let addon = Addon::read(&uki().section(".cmdline", "a").build(), FileId(1)).unwrap();
    let credential = Credential::new("a.cred", Vec::new()).unwrap();
    let choices = [
        (Choice { profile: Selector::Number(1), ..plain() }, "--profile"),
        (Choice { addons: vec![addon], ..plain() }, "--addon"),
        (Choice { credentials: vec![credential], ..plain() }, "--extra-credential"),
        (Choice { console: Console::TtyS0, ..plain() }, "--console"),
    ];
    let few = [&SPEC_2023[..], &PATCHES, &[KexecTools, SystemctlKexec, BpfV7]].concat();
    for (choice, input) in &choices {
        for &reading in &few {
            let refusal = refusal(&whole(), reading, choice);
            let wanted = format!("{input} has no place; refused as {reading}: ");
            assert!(refusal.to_string().starts_with(&wanted), "{refusal}");
            assert!(refusal.is_usage(), "{refusal}");
        }
    }
    for (choice, input) in &choices[2..] {
        let refusal = refusal(&whole(), Uapi, choice).to_string();
        assert!(refusal.starts_with(&format!("{input} has no place; refused as uapi: ")));
    }
}

/// It is a device first: that the guest has one takes no word on the command line.
#[test]
fn a_virtio_console_has_its_place_where_no_word_may_be_appended() {
    let hvc0 = Choice { console: Console::Hvc0, ..plain() };
    for reading in [&SPEC_2023[..], &PATCHES, &[Uapi]].concat() {
        assert_eq!(cmdline(&whole(), reading, &hvc0), cmdline(&whole(), reading, &plain()));
    }
}

/// Nothing in the specification speaks of the kernel's version there.
#[test]
fn the_specification_applies_addons_for_any_kernel() {
    let image = small().section(".uname", "6.12.1");
    let addon = uki()
        .section(".uname", "6.1")
        .section(".cmdline", "debug")
        .section(".initrd", "addon")
        .build();
    let choice = Choice { addons: vec![Addon::read(&addon, FileId(1)).unwrap()], ..plain() };
    let read = |reading| Accepted::read(&image.build(), reading, &choice).unwrap().handed;
    assert_eq!((read(Stub).cmdline, read(Stub).initrd.len()), (b"quiet".to_vec(), 1));
    assert_eq!((read(Uapi).cmdline, read(Uapi).initrd.len()), (b"quiet\n debug".to_vec(), 2));
}

#[test]
fn only_the_stub_appends_a_console() {
    for reading in Reading::ALL {
        let handed = Accepted::read(&whole().build(), reading, &Choice::default()).unwrap().handed;
        let appended = handed.cmdline.ends_with(b"console=uart,io,0x3f8");
        assert_eq!(appended, reading == Stub, "{reading}");
    }
}
