//! `--as`: whose reading of a UKI applies, and what is said of it.

use firmware_less::{
    testing::{Image, bzimage, uki},
    uki::Reading,
};
use serde_json::Value;

use crate::support::{Ran, Scratch, sound_uki};

/// Without `.initrd` and `.osrel`.
fn small() -> Image {
    uki().section(".linux", bzimage().build()).section(".cmdline", "quiet\n")
}

fn plan(image: &[u8], options: &[&str]) -> Ran {
    let scratch = Scratch::new();
    scratch.file("foo.efi", image);
    scratch.file("more.cpio", "more");
    scratch.ukivm(["plan", "--json", "foo.efi"].iter().chain(options))
}

/// The plan as JSON, and what was said.
fn planned(image: &[u8], options: &[&str]) -> (Value, String) {
    let ran = plan(image, options);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    (serde_json::from_str(&ran.stdout).expect("JSON"), ran.stderr)
}

fn refused(ran: &Ran, status: i32, message: &str) {
    let wanted = format!("ukivm: foo.efi: {message}\n");
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(status), wanted.as_str()));
}

#[test]
fn a_refusal_names_reading_rule_section_and_those_who_would_accept() {
    refused(
        &plan(&small().build(), &["--as", "kexec-v2"]),
        65,
        "section .initrd is missing; refused as kexec-v2: without it the file is no UKI, ENOEXEC \
         (arch/x86/kernel/kexec-uki.c, uki_probe); accepted with --as stub, uapi, bls, kexec-tools",
    );
    let twice = small().section(".initrd", "1").section(".initrd", "2").build();
    refused(
        &plan(&twice, &[]),
        65,
        "section .initrd occurs twice in one profile, as entries 0x2 and 0x3 of the section table; \
         refused as stub: the stub takes the first since systemd 257, and took the last before \
         (systemd src/boot/pe.c); accepted with --as uapi-2023, kexec-v1, kexec-v2, kexec-v3, \
         kexec-tools, bpf-v7",
    );
    let long = small().section(".osrel", "a").but(|section| section.virtual_size = 0x201).build();
    refused(
        &plan(&long, &[]),
        65,
        "section .osrel has VirtualSize 0x201, more than its SizeOfRawData 0x200: ukify and objcopy \
         write the content's exact length as VirtualSize; refused as stub: the stub sees zeros \
         there, bootctl the bytes that follow, ukify nothing (systemd src/shared/pe-binary.c, \
         ukify); accepted with --as uapi, bls, bls-2023, kexec-tools, systemctl-kexec",
    );
}

#[test]
fn the_users_options_are_refused_by_the_rules_of_their_original() {
    refused(
        &plan(&sound_uki(), &["--as", "kexec-v2", "--cmdline", "debug"]),
        65,
        "--cmdline is given, and section .cmdline has 0x14 bytes; refused as kexec-v2: a UKI does \
         not allow another command line, EPERM (arch/x86/kernel/kexec-uki.c, uki_load); accepted \
         with --as stub, kexec-v1, kexec-v3, kexec-tools, systemctl-kexec, bpf-v7",
    );
    refused(
        &plan(&sound_uki(), &["--as", "uapi", "--initrd", "more.cpio"]),
        65,
        "--initrd is given, and section .initrd has 0x1388 bytes; refused as uapi: the initrd is \
         that of the UKI and its addons, no other is provided for (UAPI.5, UKI Components, PE \
         Addons); accepted with --as stub, kexec-v1, kexec-tools, systemctl-kexec",
    );
}

#[test]
fn an_option_that_has_no_place_is_wrong_usage() {
    let scratch = Scratch::new();
    scratch.file("a.cred", "secret");
    scratch.file("foo.efi", sound_uki());
    for (option, value) in [("--profile", "1"), ("--extra-credential", "a.cred")] {
        let ran = scratch.ukivm(["plan", "foo.efi", "--as", "kexec-v1", option, value]);
        assert_eq!(ran.status, Some(64), "{ran:?}");
        let wanted = format!(
            "ukivm: foo.efi: {option} has no place; refused as kexec-v1: only .linux, .initrd and \
             .cmdline are looked at (arch/x86/kernel/kexec-uki.c, uki_load)"
        );
        assert!(ran.stderr.starts_with(&wanted), "{}", ran.stderr);
    }
    for option in ["--console", "--addons"] {
        let ran = scratch.ukivm(["plan", "foo.efi", "--as", "kexec-tools", option]);
        assert_eq!(ran.status, Some(64), "{ran:?}");
        let wanted = format!("{option} has no place; refused as kexec-tools");
        assert!(ran.stderr.contains(&wanted), "{}", ran.stderr);
        let accepting = if option == "--console" { "stub\n" } else { "stub, uapi, bls\n" };
        assert!(ran.stderr.ends_with(&format!("accepted with --as {accepting}")), "{}", ran.stderr);
    }
    let unknown = plan(&sound_uki(), &["--as", "grub"]);
    assert_eq!(unknown.status, Some(64));
    assert!(unknown.stderr.contains("systemctl-kexec"), "{}", unknown.stderr);
}

#[test]
fn a_file_that_no_reading_accepts_is_named_for_what_it_is() {
    for reading in Reading::ALL {
        let ran = plan(b"text", &["--as", reading.as_str()]);
        assert_eq!(ran.status, Some(65), "{ran:?}");
        assert!(
            ran.stderr.contains("the file is a text file, expected a Unified"),
            "{}",
            ran.stderr
        );
        assert!(!ran.stderr.contains("accept"), "{}", ran.stderr);
    }
}

#[test]
fn another_reading_is_said_in_one_line_and_in_the_plan() {
    for reading in Reading::ALL {
        let (plan, said) = planned(&sound_uki(), &["--as", reading.as_str()]);
        assert_eq!(plan["reading"], reading.as_str());
        let line = format!("ukivm: read as {reading}: {}\n", reading.title());
        assert_eq!(said.contains(&line), reading != Reading::Stub, "{said}");
    }
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    let people = scratch.ukivm(["plan", "foo.efi", "--as", "kexec-v2"]).stdout;
    assert!(people.starts_with("reading\n  kexec-v2: kernel patch of 11 September"), "{people}");
    assert!(people.contains("command line\n  console=ttyS0 quiet\\n\n"), "{people}");
    assert!(scratch.ukivm(["plan", "foo.efi"]).stdout.starts_with("machine\n"));
}

#[test]
fn what_an_original_ignores_silently_is_ignored_and_said() {
    let options = ["--as", "kexec-v1", "--initrd", "more.cpio", "--", "debug"];
    let (plan, said) = planned(&sound_uki(), &options);
    assert_eq!(plan["cmdline"], "console=ttyS0 quiet\n");
    assert_eq!(plan["initrd"].as_array().expect("parts").len(), 1);
    assert!(said.contains("ukivm: --initrd is ignored, as kexec-v1 does\n"), "{said}");
    assert!(said.contains("ukivm: --append is ignored, as kexec-v1 does\n"), "{said}");

    let (plan, said) = planned(&sound_uki(), &["--as", "kexec-tools"]);
    assert_eq!(plan["cmdline"], "");
    assert!(
        said.ends_with(
            "ukivm: section .cmdline is not used, as kexec-tools does not use it: give the kernel a \
             command line with --cmdline\n"
        ),
        "{said}"
    );
    let options = ["--as", "kexec-tools", "--cmdline", "a", "--initrd", "more.cpio", "--", "b"];
    let (plan, said) = planned(&sound_uki(), &options);
    assert_eq!(plan["cmdline"], "a b");
    assert_eq!(plan["initrd"][0]["origin"], "--initrd");
    assert!(said.ends_with("section .initrd is not used beside --initrd\n"), "{said}");
}

#[test]
fn no_reading_but_the_stubs_appends_a_console() {
    let (plan, _) = planned(&sound_uki(), &["--as", "kexec-v3", "--cmdline", "quiet"]);
    assert_eq!(plan["cmdline"], "quiet");
}

/// Padding moves what follows it: the seed lies behind the command line.
#[test]
fn padding_is_handed_over_with_the_command_line() {
    let params = |reading| {
        let (plan, _) = planned(&sound_uki(), &["--as", reading]);
        let placements = plan["placements"].as_array().expect("placements").clone();
        let params = placements.into_iter().find(|placement| placement["name"] == "params");
        params.expect("params")["pieces"][0]["len"].as_u64().expect("a length")
    };
    assert!(params("kexec-v2") > params("uapi") + 0x1c0);
}
