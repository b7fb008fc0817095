//! The same UKIs booted by firmware and systemd-stub, under QEMU, and by ukivm,
//! and what their guests saw of it. The differences are those in the table in
//! README.md, no more and no fewer.

/// A disk to boot from.
mod disk;
/// The boot by firmware.
mod qemu;
/// What a guest saw, and how that differs.
mod seen;
/// The table in README.md.
mod table;

use std::{fs, thread};

use qemu::Firmware;
use seen::Seen;

use crate::support::{Scratch, built, images, skip};

/// Boots `features/NAME.efi` both ways, with `options` for ukivm that are meant
/// to do what `firmware` does, and compares. Gives what the guest of ukivm saw;
/// `None`, and `test` noted as skipped, where that can't be.
fn compare(test: &str, name: &str, firmware: Firmware<'_>, options: &[&str]) -> Option<Seen> {
    let uki = built(test, &format!("features/{name}.efi"))?;
    built(test, "ovmf")?;
    let qemu = match ukivm::engine::tcg::qemu() {
        Ok(qemu) => qemu,
        Err(error) => {
            skip(test, &format!("no QEMU: {error}"));
            return None;
        }
    };
    let image = uki.display().to_string();
    let mut arguments = vec!["run", "--engine", "tcg", "--timeout", "180", &image];
    arguments.extend(options);
    let (by_firmware, by_ukivm) = thread::scope(|scope| {
        let by_firmware = scope.spawn(|| firmware.boot(&qemu, &uki));
        let by_ukivm = Scratch::new().ukivm(&arguments);
        (by_firmware.join().expect("a boot by firmware"), by_ukivm)
    });
    let seen = Seen::of(&by_ukivm.stdout);
    let differences = Seen::of(&by_firmware).differences(&seen);
    let row = match firmware {
        Firmware::Disk(_) => format!("{name} on a disk in use"),
        _ => name.to_owned(),
    };
    assert_eq!(differences, table::explained(&row), "{name} {options:?}");
    Some(seen)
}

/// The path of a file of `features`, as an option's value.
fn beside(name: &str) -> String {
    images().join("features").join(name).display().to_string()
}

#[test]
fn a_plain_uki_is_handed_over_alike() {
    let test = "a_plain_uki_is_handed_over_alike";
    let Some(seen) = compare(test, "plain", Firmware::Partition, &[]) else { return };
    assert_eq!(seen.cmdline(), "console=ttyS0 quiet panic=-1");
    assert!(seen.has("/.extra/os-release"), "{seen:?}");
}

#[test]
fn each_profile_is_handed_over_alike() {
    let test = "each_profile_is_handed_over_alike";
    let of_base = "console=ttyS0 quiet panic=-1";
    let profiles = [
        ("0", of_base),
        ("words", "console=ttyS0 quiet panic=-1 ukivm.profile=words"),
        ("masks", "console=uart,io,0x3f8"),
        ("initrd", of_base),
    ];
    for (number, (profile, cmdline)) in profiles.into_iter().enumerate() {
        let selector = format!("@{number}");
        let options = ["--profile", profile];
        let Some(seen) = compare(test, "profiles", Firmware::Loader(&selector), &options) else {
            return;
        };
        assert_eq!(seen.cmdline(), cmdline);
        assert_eq!(seen.has("/kernel/x86/microcode/NoProcessor.bin"), profile != "masks");
        assert!(seen.has("/.extra/tpm2-pcr-signature.json"), "{seen:?}");
    }
}

#[test]
fn a_command_line_that_is_passed_replaces_the_uki_s_alike() {
    let test = "a_command_line_that_is_passed_replaces_the_uki_s_alike";
    let words = "console=ttyS0 quiet  passed";
    let passed = ["--cmdline", words];
    let Some(seen) = compare(test, "plain", Firmware::Loader(words), &passed) else { return };
    assert_eq!(seen.cmdline(), words);
    let both = format!("@1 {words}");
    let options = ["--profile", "1", "--cmdline", words];
    compare(test, "profiles", Firmware::Loader(&both), &options);
}

#[test]
fn words_in_smbios_and_words_appended_are_handed_over_alike() {
    let test = "words_in_smbios_and_words_appended_are_handed_over_alike";
    let words = "a.word another=1";
    let appended = ["--append", words];
    let Some(seen) = compare(test, "plain", Firmware::Smbios(words), &appended) else { return };
    assert_eq!(seen.cmdline(), "console=ttyS0 quiet panic=-1 a.word another=1");
}

#[test]
fn addons_are_handed_over_alike() {
    let test = "addons_are_handed_over_alike";
    let Some(seen) = compare(test, "addons", Firmware::Partition, &["--addons"]) else { return };
    let words = "addon.words=10 addon.this-kernel=40 addon.capitals=A";
    assert_eq!(seen.cmdline(), format!("console=ttyS0 quiet panic=-1 {words}"));
}

#[test]
fn credentials_are_handed_over_alike() {
    let test = "credentials_are_handed_over_alike";
    let [a, b] = ["a.cred", "b.cred"].map(|name| beside(&format!("extras.efi.extra.d/{name}")));
    let options = ["--extra-credential", &b, "--extra-credential", &a];
    let Some(seen) = compare(test, "extras", Firmware::Partition, &options) else { return };
    assert!(seen.has("/.extra/credentials/a.cred"), "{seen:?}");
}

#[test]
fn what_else_is_on_the_disk_changes_only_what_the_table_says() {
    let test = "what_else_is_on_the_disk_changes_only_what_the_table_says";
    if let Some(program) = disk::missing() {
        return skip(test, &format!("no {program}: images/deps installs it"));
    }
    let Some(addon) = built(test, "features/addons.efi.extra.d/10-words.addon.efi") else { return };
    let global = fs::read(&addon).expect("an addon");
    let files: [(&str, &[u8]); 4] = [
        ("loader/addons/words.addon.efi", &global),
        ("loader/credentials/global.cred", b"not encrypted"),
        ("loader/extensions/global.raw", b"no system extension"),
        ("loader/extensions/global.confext.raw", b"no configuration extension"),
    ];
    let options = ["--addon", &addon.display().to_string()];
    let Some(seen) = compare(test, "plain", Firmware::Disk(&files), &options) else { return };
    assert_eq!(seen.cmdline(), "console=ttyS0 quiet panic=-1 addon.words=10");
}

#[test]
fn signatures_change_nothing_and_are_files_to_the_guest() {
    let test = "signatures_change_nothing_and_are_files_to_the_guest";
    let Some(signed) = compare(test, "signed", Firmware::Partition, &[]) else { return };
    assert!(!signed.has("/.extra/tpm2-pcr-signature.json"), "{signed:?}");
    let Some(seen) = compare(test, "pcrsig", Firmware::Partition, &[]) else { return };
    for name in ["tpm2-pcr-signature.json", "tpm2-pcr-public-key.pem"] {
        assert!(seen.has(&format!("/.extra/{name}")), "{seen:?}");
    }
}

#[test]
fn microcode_precedes_the_initrd_alike() {
    let test = "microcode_precedes_the_initrd_alike";
    let Some(seen) = compare(test, "ucode", Firmware::Partition, &[]) else { return };
    assert!(seen.has("/kernel/x86/microcode/NoProcessor.bin"), "{seen:?}");
}

#[test]
fn without_a_command_line_the_same_console_is_named() {
    let test = "without_a_command_line_the_same_console_is_named";
    let Some(seen) = compare(test, "no-cmdline", Firmware::Partition, &[]) else { return };
    assert_eq!(seen.cmdline(), "console=uart,io,0x3f8");
}

#[test]
fn kernels_without_an_initrd_panic_alike() {
    let test = "kernels_without_an_initrd_panic_alike";
    let Some(seen) = compare(test, "no-initrd", Firmware::Partition, &[]) else { return };
    // For /.extra/os-release alone.
    assert_eq!(seen.fact("initrd"), Some("1 pages"));
    assert!(
        seen.fact("panic").is_some_and(|why| why.contains("Unable to mount root fs")),
        "{seen:?}"
    );
    let Some(seen) = compare(test, "linux-only", Firmware::Partition, &[]) else { return };
    assert_eq!(seen.fact("initrd"), None);
}

#[test]
fn what_objcopy_made_is_handed_over_alike() {
    compare("what_objcopy_made_is_handed_over_alike", "objcopy", Firmware::Partition, &[]);
}

#[test]
fn odd_command_lines_are_mangled_alike() {
    let test = "odd_command_lines_are_mangled_alike";
    let Some(seen) = compare(test, "odd-cmdline", Firmware::Partition, &[]) else { return };
    assert_eq!(seen.cmdline(), "console=ttyS0 quiet    panic=-1  ukivm.image=öd€");
    compare(test, "astral", Firmware::Partition, &[]);
}
