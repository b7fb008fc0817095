//! What the kernel is handed: profiles, addons, credentials, console.

use std::fs;

use firmware_less::testing::{Image, bzimage, uki};
use serde_json::Value;

use crate::support::{Ran, Scratch};

/// A UKI with two profiles and the version of its kernel.
fn image() -> Image {
    uki()
        .section(".linux", bzimage().build())
        .section(".cmdline", "console=tty0")
        .section(".uname", "6.12.1")
        .section(".initrd", "12345")
        .section(".profile", "ID=main\nTITLE=\"The system\"\n")
        .section(".profile", "ID=debug\n")
        .section(".cmdline", "debug")
}

/// A folder with `foo.efi` in it.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.file("foo.efi", image().build());
    scratch
}

fn plan(scratch: &Scratch, options: &[&str]) -> Ran {
    scratch.ukivm(["plan", "--json", "foo.efi"].iter().chain(options))
}

/// The command line, the origins of the initrd's parts, and what was said.
fn handed(scratch: &Scratch, options: &[&str]) -> (String, Vec<String>, String) {
    let ran = plan(scratch, options);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let plan: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let parts = plan["initrd"].as_array().expect("parts").iter();
    let origins = parts.map(|part| part["origin"].as_str().expect("an origin").to_owned());
    (plan["cmdline"].as_str().expect("a string").to_owned(), origins.collect(), ran.stderr)
}

fn cmdline(scratch: &Scratch, options: &[&str]) -> String {
    handed(scratch, options).0
}

fn refused(ran: &Ran, status: i32, message: &str) {
    assert_eq!(ran.status, Some(status), "{ran:?}");
    assert!(ran.stderr.contains(message), "wanted {message:?} in {:?}", ran.stderr);
}

#[test]
fn a_profile_is_chosen_by_number_or_id_and_never_named_on_the_command_line() {
    let scratch = scratch();
    assert_eq!(cmdline(&scratch, &[]), "console=tty0");
    for profile in ["1", "debug"] {
        let chosen = cmdline(&scratch, &["--console=none", "--profile", profile]);
        assert_eq!(chosen, "debug");
    }
}

#[test]
fn a_profile_that_is_missing_is_answered_with_those_there_are() {
    let there = "this UKI has 0 (ID main, \"The system\"), 1 (ID debug)";
    for (profile, shown) in [("2", "2"), ("rescue", "\"rescue\"")] {
        let ran = plan(&scratch(), &["--profile", profile]);
        refused(&ran, 65, &format!("foo.efi: there is no profile {shown}: {there}"));
    }
}

#[test]
fn the_console_that_the_stub_appends_is_said() {
    let scratch = scratch();
    let (words, _, said) = handed(&scratch, &["--cmdline", "quiet"]);
    assert_eq!(words, "quiet console=uart,io,0x3f8");
    assert_eq!(
        said,
        "ukivm: the command line names no console: console=uart,io,0x3f8 added, as systemd-stub \
         does\n"
    );
    let (words, _, said) = handed(&scratch, &["--cmdline", "quiet", "--console"]);
    assert_eq!((words.as_str(), said.as_str()), ("quiet console=ttyS0", ""));
    assert_eq!(cmdline(&scratch, &["--console=hvc0"]), "console=tty0 console=hvc0");
    assert_eq!(cmdline(&scratch, &["--cmdline", "", "--console=none"]), "");
    refused(&plan(&scratch, &["--console=tty9"]), 64, "tty9");
}

#[test]
fn addons_are_applied_in_order() {
    let scratch = scratch();
    for name in ["1", "2"] {
        let addon =
            uki().section(".cmdline", name).section(".initrd", name).section(".ucode", name);
        scratch.file(&format!("{name}.efi"), addon.build());
    }
    let options = ["--addon", "2.efi", "--addon", "1.efi", "--append", "last"];
    let (words, origins, said) = handed(&scratch, &options);
    assert_eq!((words.as_str(), said.as_str()), ("console=tty0 2 1 last", ""));
    let addons = ["addon's .ucode", "addon's .ucode", ".initrd", "/.extra/profile (.profile)"];
    assert_eq!(origins, [&addons[..], &["addon's .initrd"; 2]].concat());

    let shown = scratch.ukivm(["plan", "foo.efi"].iter().chain(&options)).stdout;
    let ucode: Vec<_> = shown.lines().filter(|line| line.contains(".ucode")).collect();
    assert!(ucode[0].contains("+0x0: addon's .ucode, 1.efi ["), "{shown}");
    assert!(ucode[1].contains("+0x4: addon's .ucode, 2.efi ["), "{shown}");
    assert!(shown.contains("/.extra/profile (.profile), 400 B"), "{shown}");
}

#[test]
fn addons_beside_the_uki_are_found_as_the_stub_finds_them() {
    let scratch = scratch();
    let folder = scratch.path().join("foo.efi.extra.d");
    fs::create_dir_all(folder.join("dir.addon.efi")).expect("a folder");
    for name in ["b.addon.efi", "A.ADDON.EFI", "c.efi", ".d.addon.efi", "é.addon.efi"] {
        scratch.file(&format!("foo.efi.extra.d/{name}"), uki().section(".cmdline", name).build());
    }
    scratch.file("named.efi", uki().section(".cmdline", "named").build());
    let words = cmdline(&scratch, &["--addon", "named.efi", "--addons"]);
    assert_eq!(words, "console=tty0 A.ADDON.EFI b.addon.efi named");
    assert_eq!(cmdline(&scratch, &[]), "console=tty0", "nobody asked for them");

    fs::copy(scratch.path().join("foo.efi"), scratch.path().join("foo+3-1.efi")).expect("a copy");
    let counted = scratch.ukivm(["plan", "--addons", "foo+3-1.efi"]);
    assert!(counted.stdout.contains("console=tty0 A.ADDON.EFI b.addon.efi"), "{counted:?}");
}

#[test]
fn without_a_folder_there_are_no_addons_and_that_is_said() {
    let (words, _, said) = handed(&scratch(), &["--addons"]);
    assert_eq!(words, "console=tty0");
    assert_eq!(said, "ukivm: no addons: there is no folder foo.efi.extra.d\n");
}

#[test]
fn an_addon_that_will_not_do_is_refused_by_name() {
    let scratch = scratch();
    let wrong = [
        ("uki.efi", image(), "uki.efi: the file is a UKI (section .linux)"),
        (
            "arm.efi",
            uki().section(".cmdline", "a").header(|header| header.machine = 0xaa64),
            "arm.efi: the file is for aarch64 (0xaa64)",
        ),
        ("empty.efi", uki().section(".uname", "6"), "empty.efi: the file has none of .cmdline"),
    ];
    for (name, image, message) in wrong {
        scratch.file(name, image.build());
        refused(&plan(&scratch, &["--addon", name]), 65, message);
    }
    scratch.file("text.efi", "text");
    refused(&plan(&scratch, &["--addon", "text.efi"]), 65, "text.efi: the file is no addon");
    refused(&plan(&scratch, &["--addon", "none.efi"]), 74, "none.efi: can't be opened");
}

#[test]
fn an_addon_for_another_kernel_is_left_out_by_name() {
    let scratch = scratch();
    scratch.file("old.efi", uki().section(".cmdline", "a").section(".uname", "6.12").build());
    let (words, _, said) = handed(&scratch, &["--addon", "old.efi"]);
    assert_eq!(words, "console=tty0");
    assert_eq!(said, "ukivm: old.efi left out: it is for Linux 6.12, the UKI has 6.12.1\n");
}

#[test]
fn credentials_are_handed_over_between_initrd_and_extra_files() {
    let scratch = scratch();
    scratch.file("a.cred", "secret");
    let (_, origins, _) = handed(&scratch, &["--extra-credential", "a.cred"]);
    assert_eq!(origins, [".initrd", "/.extra/credentials", "/.extra/profile (.profile)"]);

    scratch.file("a.txt", "secret");
    let ran = plan(&scratch, &["--extra-credential", "a.txt"]);
    refused(&ran, 65, "a.txt: the name \"a.txt\" is not one that systemd-stub takes");
    let twice = ["--extra-credential", "a.cred", "--extra-credential", "./a.cred"];
    refused(&plan(&scratch, &twice), 65, "two credentials are called a.cred");
    scratch.file("long.cred", vec![0; 0x12_0001]);
    refused(&plan(&scratch, &["--extra-credential", "long.cred"]), 65, "0x120001 bytes");
}
