//! Hostile files, and odd ones: what they do to terminals, and to who asks for a part.

use std::fs;

use firmware_less::testing::{
    bzimage,
    signing::{Signatory, signed},
    uki,
};

use crate::support::{Ran, Scratch, sound_uki};

fn inspect(file: &[u8], options: &[&str]) -> Ran {
    let scratch = Scratch::new();
    scratch.file("foo.efi", file);
    scratch.ukivm(["inspect", "foo.efi"].iter().chain(options))
}

#[test]
fn nothing_from_the_file_reaches_a_terminal_as_a_control_character() {
    const EVIL: &str = "\x1b]0;title\x07\x1b[2J\u{9b}31m\u{202e}\x7f\r";
    let os_release = format!("PRETTY_NAME=\"{EVIL}\"\nVERSION_ID={EVIL}\n");
    let file = uki()
        .section(".e\x1b[1m", "x")
        .section(".sdmagic", format!("#### LoaderInfo: {EVIL} ####"))
        .section(".sbat", format!("{EVIL},1,a,b,c,{EVIL}"))
        .section(".osrel", os_release)
        .section(".uname", EVIL)
        .section(".cmdline", EVIL)
        .section(".linux", bzimage().version("\x1b[2J\u{9b}31m").build())
        .section(".profile", format!("ID={EVIL}\nTITLE={EVIL}\n"))
        .build();
    let scratch = Scratch::new();
    scratch.file("foo.efi", &file);
    scratch.file("bar.efi", sound_uki());
    scratch.file(EVIL, &file);
    let (signer, other) = (Signatory::root(EVIL), Signatory::root("other"));
    scratch.file("signed.efi", signed(&sound_uki(), &signer, &[]));
    scratch.file("signer.pem", signer.pem());
    scratch.file("other.pem", other.pem());
    fs::create_dir(scratch.path().join("bar.efi.extra.d")).expect("a folder");
    scratch.file("bar.efi.extra.d/\x1b]0;title\x07.addon.efi", "no addon");
    for arguments in [
        &["inspect", "foo.efi"][..],
        &["inspect", "foo.efi", "--all"],
        &["inspect", "foo.efi", "--all", "--json"],
        &["diff", "foo.efi", "bar.efi"],
        &["diff", "bar.efi", "foo.efi", "--json"],
        &["inspect", EVIL],
        &["inspect", "foo.efi", "--section", EVIL],
        &["plan", "foo.efi"],
        &["plan", "foo.efi", "--json"],
        &["plan", "bar.efi", "--initrd", EVIL],
        &["plan", "bar.efi", "--addon", EVIL],
        &["plan", "bar.efi", "--addons"],
        &["plan", "signed.efi", "--verify", "signer.pem"],
        &["plan", "signed.efi", "--verify", "other.pem"],
        &["inspect", "signed.efi"],
        &["measure", "foo.efi", "--profile", "none"],
    ] {
        let ran = scratch.ukivm(arguments);
        assert!(matches!(ran.status, Some(0 | 1 | 65)), "{ran:?}");
        let is_harmless = |c: char| c == '\n' || !c.is_control() && c != '\u{202e}';
        let text = ran.stdout + &ran.stderr;
        assert!(text.contains("title"), "{text}");
        assert!(text.chars().all(is_harmless), "{arguments:?}: {text:?}");
    }
}

#[test]
fn one_of_several_sections_of_a_name_is_extracted_by_its_number() {
    let file = uki().section(".linux", "x").section(".dtbauto", "a").section(".dtbauto", "b");
    assert_eq!(inspect(&file.build(), &["--section", ".dtbauto"]).stdout, "a");
    assert_eq!(inspect(&file.build(), &["--section", ".dtbauto@1"]).stdout, "b");
    let ran = inspect(&file.build(), &["--section", ".dtbauto@2"]);
    let message = "profile 0 has no section .dtbauto@2: there are .dtbauto (2) .linux";
    assert!(ran.stderr.contains(message), "{ran:?}");
}

#[test]
fn a_section_of_any_name_is_extracted_and_none_hides_those_of_ukis() {
    let file = uki()
        .section(".linux", "the kernel")
        .section("linux", "a decoy")
        .section(".efifw", "0")
        .section(".efifw", "1")
        .section(".efifw@1", "another decoy")
        .section("a@1", "at")
        .section("\n", "newline")
        .section("", "nameless");
    let extract = |name: &str| inspect(&file.build(), &[&format!("--section={name}")]).stdout;
    assert_eq!(extract("linux"), "the kernel");
    assert_eq!(extract(".efifw@1"), "1");
    assert_eq!(extract("a@1"), "at");
    assert_eq!(extract("a@1@0"), "at");
    assert_eq!(extract("\\n"), "newline");
    assert_eq!(extract(""), "nameless");
}

#[test]
fn a_folder_of_addons_that_nobody_asked_for_and_cannot_be_read_is_described() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    scratch.file("foo.efi.extra.d", "no folder");
    let ran = scratch.ukivm(["inspect", "foo.efi"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    let line = "addons\n  foo.efi.extra.d: refused: Not a directory (os error 20)\n";
    assert!(ran.stdout.contains(line), "{}", ran.stdout);
    let ran = scratch.ukivm(["inspect", "foo.efi", "--addons"]);
    assert_eq!(ran.status, Some(74), "{ran:?}");
}

#[test]
fn a_file_that_hides_its_length_is_refused_and_not_taken_for_empty() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    for arguments in [
        &["inspect", "/proc/version"][..],
        &["plan", "foo.efi", "--initrd", "/proc/version"],
        &["plan", "foo.efi", "--verify", "/proc/version"],
    ] {
        let ran = scratch.ukivm(arguments);
        assert_eq!(ran.status, Some(74), "{ran:?}");
        let message = "/proc/version: has content, but says that it has 0 bytes, as files in /proc do: give a copy of it";
        assert!(ran.stderr.contains(message), "{ran:?}");
    }
}
