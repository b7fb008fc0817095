//! What ukivm says of a UKI: golden text, JSON, sections extracted.

use std::{fs, os::unix::fs::FileExt as _, path::Path, process::Command, time::Duration};

use firmware_less::{
    testing::{
        Image, bzimage,
        signing::{Signatory, signed},
        uki,
    },
    uki::cpio::{Target, archive},
};
use serde_json::Value;

use crate::support::{
    Ran, Scratch, is_as_kept,
    run::{Running, open_files, within},
    sound_uki,
};

const SBAT: &str = "sbat,1,SBAT Version,sbat,1,https://example.org/SBAT.md\n\
    systemd-stub,1,The systemd Developers,systemd,257,https://systemd.io/\n";

/// A UKI with something of everything.
fn rich() -> Image {
    let mut initrd = archive(&Target::EXTRA, &[("early", b"microcode")]).expect("an archive");
    initrd.resize(1024, 0);
    initrd.extend(b"\x28\xb5\x2f\xfd not really compressed");
    uki()
        .section(".text", [0xcc; 0x10])
        .section(".sdmagic", "#### LoaderInfo: systemd-stub 257.13 ####\0")
        .section(".sbat", SBAT)
        .section(".osrel", "ID=test\nPRETTY_NAME=\"A test\"\nVERSION_ID=7\n")
        .section(".cmdline", "root=/dev/vda quiet\n")
        .section(".uname", "6.12.1-test")
        .section(".linux", bzimage().version("6.12.1-test (me@here) #1 SMP").build())
        .section(".ucode", archive(&Target::EXTRA, &[]).expect("an archive"))
        .section(".initrd", initrd)
        .section(".profile", "ID=main\nTITLE=The system\n")
        .section(".profile", "ID=debug\n")
        .section(".cmdline", "debug console=ttyS0")
}

fn inspect(file: &[u8], options: &[&str]) -> Ran {
    let scratch = Scratch::new();
    scratch.file("foo.efi", file);
    scratch.ukivm(["inspect", "foo.efi"].iter().chain(options))
}

fn golden(name: &str, file: &[u8], options: &[&str]) {
    let ran = inspect(file, options);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    is_as_kept(&format!("inspections/{name}"), &ran.stdout);
}

fn json(file: &[u8], options: &[&str]) -> Value {
    let ran = inspect(file, &[options, &["--json"]].concat());
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    serde_json::from_str(&ran.stdout).expect("JSON")
}

#[test]
fn a_description_reads_as_kept() {
    golden("plain.txt", &sound_uki(), &[]);
    golden("rich.txt", &rich().build(), &[]);
    golden("rich-debug-all.txt", &rich().build(), &["--profile", "debug", "--all"]);
    golden("rich-no-digests.txt", &rich().build(), &["--no-digests"]);
}

#[test]
fn a_description_in_json_is_as_kept() {
    golden("rich.json", &rich().build(), &["--json"]);
}

#[test]
fn what_is_odd_about_a_uki_is_said() {
    let odd = uki()
        .section(".sdmagic", "#### LoaderInfo: systemd-stub 255.4 ####")
        .section(".sbat", "uki,one\n")
        .section(".osrel", b"PRETTY_NAME=\"\xff\"\n")
        .section(".cmdline", "a\0b console=none")
        .but(|section| section.virtual_size -= 5)
        .section(".linux", "no kernel")
        .section(".ucode", "070701 but cut short")
        .section(".initrd", b"\x04\x22\x4d\x18 frames");
    golden("odd.txt", &odd.build(), &[]);
}

#[test]
fn a_file_that_is_refused_is_described_and_the_refusal_is_said() {
    let refused = uki()
        .section(".linux", bzimage().build())
        .section(".cmdline", "one")
        .section(".cmdline", b"two\xff")
        .section(".initrd", "12345")
        .but(|section| section.virtual_size = 0x1_0000);
    golden("refused.txt", &refused.build(), &[]);
    let report = json(&refused.build(), &[]);
    assert!(report["_refused"].as_str().expect("why").contains("VirtualSize 0x10000"), "{report}");
    assert_eq!(report[".cmdline"].as_array().expect("both").len(), 2);
    assert_eq!(report["_pcr11"], Value::Null);
}

#[test]
fn signatures_are_told_as_claims_that_are_or_are_not_about_the_file() {
    let file = signed(&sound_uki(), &Signatory::root("signer"), &[]);
    let signature = |file: &[u8], options: &[&str]| {
        let text = inspect(file, options).stdout;
        let (_, part) = text.split_once("\nsignature\n").expect("a signature");
        let claim = json(file, options)["_signature"]["signatures"][0].clone();
        (part.lines().next().expect("a line").to_owned(), claim["digest_matches"].as_bool())
    };
    let by = "  by CN=signer, issued by CN=signer, sha256";
    assert_eq!(signature(&file, &[]), (format!("{by}, digest matches"), Some(true)));
    assert_eq!(signature(&file, &["--no-digests"]), (by.into(), None));
    let mut changed = file.clone();
    changed[0x400] ^= 1;
    let other = (format!("{by}, digest is not that of this file"), Some(false));
    assert_eq!(signature(&changed, &[]), other);
    assert_eq!(signature(&sound_uki(), &[]), ("  (none)".into(), None));
}

#[test]
fn an_addon_is_described_too() {
    let addon = uki().section(".cmdline", "debug").section(".uname", "6.12.1");
    let report = json(&addon.build(), &[]);
    assert_eq!(report["_cmdline"], "debug");
    assert_eq!(report["_identity"]["uname"], "6.12.1");
    assert!(report["_refused"].as_str().expect("why").contains("addon"), "{report}");
}

#[test]
fn what_has_no_headers_is_refused() {
    let refused = |ran: &Ran, status, message: &str| {
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(status), ""));
        assert!(ran.stderr.contains(message), "{ran:?}");
    };
    refused(&inspect(b"text", &[]), 65, "foo.efi: the file is a text file");
    refused(&inspect(&rich().build(), &["--profile", "x"]), 65, "there is no profile \"x\"");
    refused(
        &inspect(&rich().build(), &["--section", ".nix"]),
        65,
        "foo.efi: profile 0 has no section .nix: there are .cmdline ",
    );
    refused(&Scratch::new().ukivm(["inspect", "none"]), 74, "none: can't be opened");
}

#[test]
fn addons_beside_the_uki_are_listed_and_applied_only_if_asked() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", rich().build());
    fs::create_dir(scratch.path().join("foo.efi.extra.d")).expect("a folder");
    let addon = |words: &str| uki().section(".cmdline", words).build();
    scratch.file("foo.efi.extra.d/1.addon.efi", addon("one"));
    scratch.file("foo.efi.extra.d/2.addon.efi", "no addon");
    scratch.file(
        "foo.efi.extra.d/3.addon.efi",
        uki().section(".cmdline", "x").section(".uname", "5").build(),
    );
    let ran = scratch.ukivm(["inspect", "foo.efi", "--no-digests"]);
    let listed = "addons\n  \
        foo.efi.extra.d/1.addon.efi: not applied (--addons): .cmdline one\n  \
        foo.efi.extra.d/2.addon.efi: refused: the file is no addon to UKIs: the file is a text file";
    assert!(ran.stdout.contains(listed), "{}", ran.stdout);
    fs::remove_file(scratch.path().join("foo.efi.extra.d/2.addon.efi")).expect("a file");
    let ran = scratch.ukivm(["inspect", "foo.efi", "--addons"]);
    assert!(ran.stdout.contains("  root=/dev/vda quiet one console=uart"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("3.addon.efi: left out, for another kernel: .cmdline x"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_section_is_extracted_byte_for_byte() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", rich().build());
    let extract = |options: &[&str]| {
        let ran = scratch.ukivm(["inspect", "foo.efi", "--section"].iter().chain(options));
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{options:?}");
        ran.stdout
    };
    assert_eq!(extract(&[".cmdline"]), "root=/dev/vda quiet\n");
    assert_eq!(extract(&["cmdline", "--profile=debug"]), "debug console=ttyS0");
    assert_eq!(extract(&["profile", "--profile=1"]), "ID=debug\n");
    assert_eq!(extract(&[".sdmagic"]), "#### LoaderInfo: systemd-stub 257.13 ####\0");
    assert_eq!(extract(&[".linux", "-o", "kernel"]), "");
    let kernel = bzimage().version("6.12.1-test (me@here) #1 SMP").build();
    assert_eq!(fs::read(scratch.path().join("kernel")).expect("a file"), kernel);
    let left: Vec<_> = fs::read_dir(scratch.path()).expect("a folder").collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn the_uki_is_never_written_over() {
    let scratch = Scratch::new();
    let file = rich().build();
    scratch.file("foo.efi", &file);
    for options in [&["--section=.linux", "-o", "foo.efi"][..], &["--json=./foo.efi"]] {
        let ran = scratch.ukivm(["inspect", "foo.efi"].iter().chain(options));
        assert_eq!(ran.status, Some(64), "{ran:?}");
        assert_eq!(fs::read(scratch.path().join("foo.efi")).expect("the UKI"), file);
    }
    assert_eq!(scratch.ukivm(["inspect", "foo.efi", "-o", "x"]).status, Some(64));
}

/// A shell on a terminal of its own.
fn on_a_terminal(scratch: &Scratch, line: &str) -> String {
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", line, "/dev/null"]);
    command.current_dir(scratch.path()).env("SHELL", "/bin/sh");
    let running = Running::start(command);
    running.wait_for("end");
    running.seen()
}

#[test]
fn bytes_are_not_written_to_a_terminal_and_text_is() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", rich().build());
    let program = env!("CARGO_BIN_EXE_ukivm");
    let line = |section| {
        format!("{program} inspect foo.efi --section {section}; echo status=$?; echo en''d")
    };
    let seen = on_a_terminal(&scratch, &line(".linux"));
    assert!(
        seen.contains("section .linux is not text, and standard output is a terminal"),
        "{seen}"
    );
    assert!(seen.contains("hint: name a file with -o") && seen.contains("status=64"), "{seen}");
    let seen = on_a_terminal(&scratch, &line(".cmdline"));
    assert!(seen.contains("root=/dev/vda quiet") && seen.contains("status=0"), "{seen}");
}

#[test]
fn an_extraction_that_is_interrupted_leaves_nothing() {
    const LEN: u64 = 2 << 30;
    let scratch = Scratch::new();
    let path = scratch.file("foo.efi", uki().section(".linux", [0; 512]).build());
    // Longer than can be copied before the signal, and yet nearly all of it a hole.
    let long = fs::File::options().write(true).open(&path).expect("the file");
    long.set_len(LEN + (1 << 20)).expect("a hole");
    // The table begins behind the PE header at 0x40; VirtualSize and SizeOfRawData.
    for at in [0x148 + 8, 0x148 + 16] {
        let len = u32::try_from(LEN).expect("less than 4 GiB").to_le_bytes();
        long.write_all_at(&len, at).expect("the size");
    }
    let mut running =
        Running::ukivm(scratch.path(), ["inspect", "foo.efi", "--section", ".linux", "-o", "out"]);
    let count = || fs::read_dir(scratch.path()).expect("a folder").count();
    // It has no name until it is whole, where the file system has such files.
    let nameless =
        |file: &String| file.ends_with(" (deleted)") && Path::new(file).starts_with(scratch.path());
    let begun = || count() == 2 || open_files(running.id()).iter().any(nameless);
    assert!(within(Duration::from_mins(1), begun), "{}", running.seen());
    running.signal("-INT");
    assert_eq!(running.status(), 130, "{}", running.seen());
    assert_eq!(count(), 1);
}
