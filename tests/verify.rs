//! `--verify` and its kind: whom a UKI must come from, and what follows from that.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use firmware_less::testing::{
    Image, bzimage,
    signing::{Signatory, signed},
    uki,
};
use serde_json::Value;

use crate::support::{Ran, Scratch, skip, sound_uki};

/// A folder with a signed UKI, `foo.efi`, and the certificate `cert.pem` of its signer.
struct Signed {
    scratch: Scratch,
    signer: Signatory,
}

impl Signed {
    fn new(image: &[u8]) -> Self {
        let (scratch, signer) = (Scratch::new(), Signatory::root("somebody"));
        scratch.file("foo.efi", signed(image, &signer, &[]));
        scratch.file("cert.pem", signer.pem());
        Self { scratch, signer }
    }

    fn plan(&self, options: &[&str]) -> Ran {
        let all = ["plan", "foo.efi", "--verify", "cert.pem"].iter().chain(options);
        self.scratch.ukivm(all)
    }

    fn refused(&self, options: &[&str], status: i32, message: &str) {
        let ran = self.plan(options);
        assert_eq!(ran.status, Some(status), "{ran:?}");
        assert!(ran.stderr.contains(message), "{ran:?}");
    }
}

fn without_cmdline() -> Image {
    uki().section(".linux", bzimage().build())
}

#[test]
fn a_signed_uki_is_planned_as_without_verification_and_its_signer_named() {
    let signed = Signed::new(&sound_uki());
    let seed = ["--rng-seed", &"00".repeat(32)];
    let plain = signed.scratch.ukivm(["plan", "foo.efi"].iter().chain(&seed));
    let verified = signed.plan(&seed);
    assert_eq!((verified.status, verified.stdout), (Some(0), plain.stdout));
    let said =
        "ukivm: foo.efi verified: signed by CN=somebody, whose certificate was given (sha256 ";
    assert!(verified.stderr.starts_with(said), "{}", verified.stderr);
    let json: Value = serde_json::from_str(&signed.plan(&["--json"]).stdout).expect("JSON");
    let origin = &json["verified"][0];
    assert_eq!(origin["by"], "signature");
    assert_eq!(origin["signer"], "CN=somebody");
    assert_eq!(origin["certificate"], "CN=somebody");
    assert_eq!(origin["digest"].as_str().map(str::len), Some(64));
}

#[test]
fn an_unsigned_uki_is_refused_with_the_way_to_sign_it() {
    let signed = Signed::new(&sound_uki());
    signed.scratch.file("foo.efi", sound_uki());
    signed.refused(&[], 65, "foo.efi: it is not signed, and its sha256 digest ");
    signed.refused(&[], 65, "hint: sign it, as with sbsign --key");
    let stderr = signed.plan(&[]).stderr;
    let (_, hash) = stderr.trim_end().rsplit_once("--allow-hash ").expect("a digest");
    let allowed = signed.plan(&["--allow-hash", hash]);
    assert_eq!(allowed.status, Some(0), "{allowed:?}");
    assert!(allowed.stderr.contains("foo.efi verified: its digest is allowed (sha256 "));
    let alone = signed.scratch.ukivm(["plan", "foo.efi", "--allow-hash", hash]);
    assert_eq!(alone.status, Some(0), "{alone:?}");
    signed.scratch.file("allowed", hash);
    assert_eq!(signed.plan(&["--allow-hash", "allowed"]).status, Some(0));
    signed.refused(&["--allow-hash", "allowed", "--dbx", "allowed"], 65, "is on a deny list");
}

#[test]
fn a_uki_signed_by_another_or_changed_is_refused() {
    let signed = Signed::new(&sound_uki());
    let mut file = fs::read(signed.scratch.path().join("foo.efi")).expect("the UKI");
    file[0x400] ^= 1;
    signed.scratch.file("foo.efi", file);
    signed.refused(&[], 65, "foo.efi: the file was changed after it was signed");
    let other = Signed::new(&sound_uki());
    other.scratch.file("cert.pem", signed.signer.pem());
    other.refused(&[], 65, "it is signed by CN=somebody, which leads to none of");
    other.refused(&[], 65, "hint: give --verify the certificate of the signer");
}

/// Sets the flag when it goes out of scope, be that by a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes one and the other into `path` in turns, page by page, until it `is_over`.
fn rewrite(path: &Path, images: [&[u8]; 2], is_over: &AtomicBool) {
    let file = fs::File::options().write(true).open(path).expect("the UKI");
    for image in images.into_iter().cycle() {
        for (page, at) in image.chunks(0x1000).zip((0_u64..).step_by(0x1000)) {
            file.write_all_at(page, at).expect("room");
        }
        thread::sleep(Duration::from_millis(2));
        if is_over.load(Ordering::Relaxed) {
            break;
        }
    }
}

#[test]
fn a_uki_that_is_rewritten_while_it_is_read_is_as_it_was_signed_or_refused() {
    let image = |byte: u8| {
        let cmdline = format!("console=ttyS0 {}", char::from(byte));
        let image = uki().section(".cmdline", cmdline).section(".linux", bzimage().build());
        image.section(".initrd", vec![byte; 300_000]).build()
    };
    let (ours, theirs) = (Signed::new(&image(b'o')), Signed::new(&image(b't')));
    let bytes = |of: &Signed| fs::read(of.scratch.path().join("foo.efi")).expect("the UKI");
    let (good, evil) = (bytes(&ours), bytes(&theirs));
    assert_eq!(good.len(), evil.len());
    let seed = ["--json", "--rng-seed", &"00".repeat(32)];
    let expected = ours.plan(&seed);
    assert_eq!(expected.status, Some(0), "{expected:?}");
    let (path, is_over) = (ours.scratch.path().join("foo.efi"), AtomicBool::new(false));
    let (mut taken, mut refused) = (0, 0);
    thread::scope(|scope| {
        let _over = Over(&is_over);
        scope.spawn(|| rewrite(&path, [&evil, &good], &is_over));
        // On most hosts both have come long before.
        while (taken + refused < 40 || taken == 0 || refused == 0) && taken + refused < 2000 {
            let ran = ours.plan(&seed);
            if ran.status == Some(0) {
                assert_eq!(ran, expected);
                taken += 1;
            } else {
                assert_eq!(ran.status, Some(65), "{ran:?}");
                refused += 1;
            }
        }
    });
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
}

#[test]
fn what_is_no_uki_is_refused_as_such_before_its_signature_and_that_before_the_rest() {
    let signed = Signed::new(&sound_uki());
    signed.scratch.file("foo.efi", uki().section(".cmdline", "a").build());
    signed.refused(&["--initrd", "none"], 65, "foo.efi: the file is an addon");
    signed.scratch.file("foo.efi", uki().section(".linux", "no kernel").build());
    signed.refused(&["--initrd", "none"], 65, "section .linux");
    signed.scratch.file("foo.efi", sound_uki());
    signed.refused(&["--initrd", "none"], 65, "it is not signed");
}

#[test]
fn deny_lists_and_generations_are_applied() {
    let signed = Signed::new(&sound_uki());
    signed.refused(&["--dbx", "cert.pem"], 65, "the certificate of CN=somebody, to which a");
    signed.scratch.file("level", "sbat,1,2024010900\nlinux.test,3\n");
    signed.refused(&["--sbat-level", "level"], 65, "the image has 0 sections .sbat");
    let image = without_cmdline().section(".sbat", "linux.test,2,a,b,1,c\n");
    let signed = Signed::new(&image.build());
    signed.scratch.file("level", "sbat,1,2024010900\nlinux.test,3\n");
    signed.refused(&["--sbat-level", "level"], 65, "linux.test has generation 2, the SbatLevel");
    signed.scratch.file("level", "sbat,1,2024010900\nlinux.test,2\n");
    assert_eq!(signed.plan(&["--sbat-level", "level"]).status, Some(0));
}

#[test]
fn files_that_say_what_to_trust_are_checked_first() {
    let signed = Signed::new(&sound_uki());
    signed.scratch.file("rubbish", "rubbish\n");
    signed.refused(&["--verify", "none.pem"], 74, "none.pem: can't be opened");
    signed.refused(&["--verify", "rubbish"], 65, "rubbish: there is no certificate in it");
    signed.refused(&["--dbx", "rubbish"], 65, "rubbish: line 1 is neither");
    signed.refused(&["--allow-hash", "rubbish"], 65, "rubbish: line 1 is neither");
    signed.refused(&["--allow-hash", "none"], 74, "none: there is no such file");
    signed.refused(&["--sbat-level", "rubbish"], 65, "rubbish: it is no SbatLevel");
    for option in ["--dbx", "--sbat-level"] {
        let ran = signed.scratch.ukivm(["plan", "foo.efi", option, "cert.pem"]);
        assert_eq!(ran.status, Some(64), "{ran:?}");
        assert!(ran.stderr.contains("give --verify or --allow-hash too"), "{ran:?}");
    }
}

#[test]
fn what_a_locked_reader_would_not_take_from_the_user_is_refused() {
    let signed = Signed::new(&sound_uki());
    signed.refused(&["--cmdline", "debug"], 65, ".cmdline");
    signed.scratch.file("more", [0; 64]);
    signed.refused(&["--initrd", "more"], 65, "--initrd");
    let free = Signed::new(&without_cmdline().build());
    let ran = free.plan(&["--json", "--cmdline", "debug"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
}

#[test]
fn an_addon_is_verified_too() {
    let signed_uki = Signed::new(&sound_uki());
    let addon = uki().section(".cmdline", "debug").build();
    signed_uki.scratch.file("a.efi", &addon);
    signed_uki.refused(&["--addon", "a.efi"], 65, "a.efi: it is not signed");
    signed_uki.scratch.file("a.efi", signed(&addon, &Signatory::root("other"), &[]));
    signed_uki.refused(&["--addon", "a.efi"], 65, "a.efi: it is signed by CN=other, which leads");
    signed_uki.scratch.file("a.efi", signed(&addon, &signed_uki.signer, &[]));
    let ran = signed_uki.plan(&["--addon", "a.efi", "--json"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let json: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(json["verified"][1]["file"], "a.efi");
    assert_eq!(json["cmdline"], "console=ttyS0 quiet debug");
}

#[test]
fn the_report_never_replaces_what_was_verified() {
    let signed = Signed::new(&sound_uki());
    signed.refused(&["--json=foo.efi"], 64, "is a file of this very run");
}

#[test]
fn a_long_and_hollow_file_is_refused_before_a_copy_is_made_of_it() {
    let signed = Signed::new(&sound_uki());
    let path = signed.scratch.path().join("foo.efi");
    let file = fs::File::options().write(true).open(path).expect("the UKI");
    file.set_len(4 << 30).expect("a hole");
    let start = Instant::now();
    signed.refused(&[], 65, "the file at 0x100000000");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn what_is_neither_a_digest_nor_a_file_is_said_to_be_neither() {
    let signed = Signed::new(&sound_uki());
    let message =
        "0123: there is no such file, and it is no SHA-256 digest, which has 64 hex digits";
    signed.refused(&["--allow-hash", "0123"], 74, message);
}

/// Runs a tool in that folder; whether there is one.
fn tool(scratch: &Scratch, words: &[&str]) -> bool {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(scratch.path()).stdin(Stdio::null());
    match command.output() {
        Ok(output) => {
            assert!(output.status.success(), "{words:?}: {output:?}");
            true
        }
        Err(_) => false,
    }
}

#[test]
fn what_sbsign_signed_is_verified() {
    const TEST: &str = "verify::what_sbsign_signed_is_verified";
    let scratch = Scratch::new();
    scratch.file("plain.efi", sound_uki());
    scratch.file("ca.ext", "basicConstraints=critical,CA:TRUE\n");
    let run = |line: &str| tool(&scratch, &line.split(' ').collect::<Vec<_>>());
    if !run("openssl version") {
        return skip(TEST, "no openssl");
    }
    if !run("sbsign --version") {
        return skip(TEST, "no sbsign");
    }
    run("openssl req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -subj /CN=root");
    run("openssl req -newkey rsa:3072 -nodes -keyout signer.key -out signer.csr -subj /CN=signer");
    run("openssl x509 -req -in signer.csr -CA root.pem -CAkey root.key -CAcreateserial \
         -out signer.pem -days 2 -sha384");
    run("sbsign --key signer.key --cert signer.pem --output foo.efi plain.efi");
    for (certificate, leads) in [
        ("root.pem", "signed by CN=signer, who leads to CN=root ("),
        ("signer.pem", "signed by CN=signer, whose certificate was given ("),
    ] {
        let ran = scratch.ukivm(["plan", "foo.efi", "--verify", certificate]);
        assert_eq!(ran.status, Some(0), "{ran:?}");
        assert!(ran.stderr.contains(leads), "{ran:?}");
    }
    run("sbsign --key root.key --cert root.pem --output twice.efi foo.efi");
    for file in ["twice.efi", "foo.efi"] {
        let ran = scratch.ukivm(["plan", file, "--verify", "root.pem"]);
        assert_eq!(ran.status, Some(0), "{ran:?}");
    }
    let good = fs::read(scratch.path().join("foo.efi")).expect("the signed UKI");
    for at in (0..good.len()).step_by(211).chain([good.len() - 1]) {
        let mut file = good.clone();
        file[at] ^= 0x10;
        scratch.file("changed.efi", file);
        let ran = scratch.ukivm(["plan", "changed.efi", "--verify", "root.pem"]);
        assert_eq!(ran.status, Some(65), "changed at {at:#x}: {ran:?}");
    }
}
