//! In what two UKIs differ.

use firmware_less::testing::{
    Image, bzimage,
    signing::{Signatory, signed},
    uki,
};
use serde_json::Value;

use crate::support::{Ran, Scratch, is_as_kept};

fn image(cmdline: &str, version: &'static str, initrd: &[u8]) -> Image {
    uki()
        .section(".sdmagic", "#### LoaderInfo: systemd-stub 257 ####")
        .section(".osrel", format!("ID=test\nPRETTY_NAME=Test\nBUILD_ID={version}\n"))
        .section(".cmdline", cmdline)
        .section(".uname", version)
        .section(".linux", bzimage().version(version).build())
        .section(".initrd", initrd)
}

fn old() -> Image {
    image("root=/dev/vda quiet ro", "6.12.1", b"\x1f\x8b\x08 packed")
        .section(".profile", "ID=main")
        .section(".profile", "ID=debug")
        .section(".cmdline", "debug console=ttyS0")
        .section(".profile", "ID=gone")
}

fn new() -> Image {
    image("ro root=/dev/vda splash", "6.12.2", b"\x28\xb5\x2f\xfd packed with another")
        .section(".profile", "ID=main")
        .section(".profile", "ID=come")
        .section(".profile", "ID=debug")
        .section(".cmdline", "debug console=hvc0")
}

fn diff(old: &[u8], new: &[u8], options: &[&str]) -> Ran {
    let scratch = Scratch::new();
    scratch.file("old.efi", old);
    scratch.file("new.efi", new);
    scratch.ukivm(["diff", "old.efi", "new.efi"].iter().chain(options))
}

#[test]
fn differences_read_as_kept() {
    let ran = diff(&old().build(), &new().build(), &[]);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(1), ""));
    is_as_kept("inspections/diff.txt", &ran.stdout);
}

#[test]
fn files_that_are_the_same_differ_in_nothing() {
    let ran = diff(&old().build(), &old().build(), &[]);
    assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));
}

#[test]
fn differences_in_json_name_both_sides() {
    let ran = diff(&old().build(), &new().build(), &["--json"]);
    assert_eq!(ran.status, Some(1));
    let report: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let all = report["differences"].as_array().expect("a list");
    let kernel = all.iter().find(|one| one["what"] == "kernel" && one["name"] == "version");
    let kernel = kernel.expect("the version");
    assert_eq!((kernel["old"].as_str(), kernel["new"].as_str()), (Some("6.12.1"), Some("6.12.2")));
    let words = all.iter().filter(|one| one["what"] == "command line" && one["profile"] == "debug");
    let words: Vec<_> = words.map(|one| (one["old"].as_str(), one["new"].as_str())).collect();
    assert_eq!(words, [(Some("console=ttyS0"), None), (None, Some("console=hvc0"))]);
}

#[test]
fn bytes_that_are_in_no_section_differ_too() {
    let plain = image("a", "1", b"x").build();
    let mut longer = plain.clone();
    longer.extend(b"signature");
    let ran = diff(&plain, &longer, &[]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.stdout.contains("bytes outside of sections\n  - length  0x"), "{}", ran.stdout);
    let mut padded = plain.clone();
    *padded.last_mut().expect("padding") = 7;
    let ran = diff(&plain, &padded, &[]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.stdout.contains("on:  0x07"), "{}", ran.stdout);
}

#[test]
fn a_signature_is_a_difference() {
    let plain = image("a", "1", b"x").build();
    let ran = diff(&plain, &signed(&plain, &Signatory::root("signer"), &[]), &[]);
    assert_eq!(ran.status, Some(1));
    assert!(
        ran.stdout.ends_with("\nsignature\n  + 0  by CN=signer, issued by CN=signer\n"),
        "{ran:?}"
    );
}

#[test]
fn what_cannot_be_described_cannot_be_compared() {
    let ran = diff(&old().build(), b"text", &[]);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(65), ""));
    assert!(ran.stderr.contains("new.efi: the file is a text file"), "{ran:?}");
}
