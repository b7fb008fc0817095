//! Malformed files, by whole runs: with what `plan` refuses each, signed or not, and
//! that `inspect` describes it or refuses it likewise.

use firmware_less::{
    testing::{
        Image, bzimage,
        signing::{Signatory, signed},
        uki,
    },
    uki::Section,
};

use crate::support::{Ran, Scratch};

/// A UKI with every section that most have.
fn whole() -> Image {
    uki()
        .section(".text", [0xcc; 0x100])
        .section(".cmdline", "console=ttyS0")
        .section(".linux", bzimage().build())
        .section(".initrd", "cpio")
}

/// The same, and a section that is known, with another header than it should have.
fn with_osrel(edit: fn(&mut Section)) -> Vec<u8> {
    whole().section(".osrel", "ID=a").but(edit).build()
}

/// What `ukivm` says of `file`.
fn ukivm(file: &[u8], arguments: &[&str]) -> Ran {
    let scratch = Scratch::new();
    scratch.file("foo.efi", file);
    scratch.file("cert.pem", Signatory::root("somebody").pem());
    scratch.ukivm(arguments)
}

const PLAN: [&str; 2] = ["plan", "foo.efi"];
const VERIFY: [&str; 4] = ["plan", "foo.efi", "--verify", "cert.pem"];

#[track_caller]
fn fails_with(ran: &Ran, message: &str) {
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(65), ""), "{ran:?}");
    assert!(ran.stderr.starts_with(&format!("ukivm: foo.efi: {message}")), "{ran:?}");
}

/// Refused by all, and not even described.
#[track_caller]
fn unreadable(file: &[u8], message: &str) {
    for arguments in [&PLAN[..], &VERIFY, &["inspect", "foo.efi"], &["measure", "foo.efi"]] {
        fails_with(&ukivm(file, arguments), message);
    }
}

/// Refused with 65 before its signature is looked at; described, with the refusal.
#[track_caller]
fn refused(file: &[u8], message: &str) {
    for arguments in [&PLAN[..], &VERIFY] {
        fails_with(&ukivm(file, arguments), message);
    }
    let ran = ukivm(file, &["inspect", "foo.efi"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let rows = ran.stdout.split_once("\nreadings\n").expect("the readings").1;
    assert!(
        rows.contains(&format!("stub             refuses  {message}"))
            || rows.contains(&format!("none accepts it: {message}")),
        "{rows}"
    );
}

/// Accepted, with that command line.
#[track_caller]
fn accepted(file: &[u8], cmdline: &str) {
    let ran = ukivm(file, &PLAN);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.stdout.contains(&format!("command line\n  {cmdline}\n")), "{ran:?}");
    let ran = ukivm(file, &["inspect", "foo.efi"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("  stub             accepts  kernel "), "{ran:?}");
}

#[test]
fn the_file_that_these_tests_spoil_is_accepted() {
    accepted(&whole().build(), "console=ttyS0");
    accepted(&with_osrel(|_| {}), "console=ttyS0");
}

#[test]
fn headers_that_cannot_be_read() {
    unreadable(b"", "the file is an empty file, expected a Unified Kernel Image");
    unreadable(&[0; 0x1000], "the file is of an unknown format, expected");
    let header = |edit| whole().header(edit).build();
    unreadable(&header(|header| header.signature = *b"NE\0\0"), "the PE signature at 0x40 is");
    unreadable(&header(|header| header.e_lfanew = 0x3f), "the PE header is at 0x3f (e_lfanew)");
    unreadable(&header(|header| header.e_lfanew = 0x4000), "the PE header is at 0x4000");
    unreadable(&header(|header| header.magic = 0x10b), "the optional header's magic is 0x10b");
    unreadable(
        &header(|header| header.size_of_optional_header = 0),
        "SizeOfOptionalHeader is 0x0, a PE32+ file's is at least 0x70",
    );
    unreadable(
        &header(|header| header.size_of_optional_header = 0xffff),
        "the optional header ends at 0x10057, past the end of the file",
    );
    unreadable(
        &header(|header| header.number_of_rva_and_sizes = 5),
        "SizeOfOptionalHeader is 0xf0, with 0x5 data directories it must be 0x98",
    );
    unreadable(
        &header(|header| header.number_of_sections = 0xffff),
        "the table of 0xffff sections ends at 0x280120, past the end of the file",
    );
    unreadable(&header(|header| header.machine = 0x014c), "the file is a UKI for ia32 (0x014c)");
    unreadable(&header(|header| header.machine = 0xaa64), "the file is a UKI for aarch64 (0xaa64)");
}

#[test]
fn headers_that_are_refused() {
    let header = |edit| whole().header(edit).build();
    refused(
        &header(|header| header.number_of_sections = 0),
        "the file is a PE file without a .linux section",
    );
    refused(&header(|header| header.subsystem = 11), "the subsystem is 0xb, a UKI's is 0xa");
    refused(&header(|header| header.size_of_image = 0x2000), "section .cmdline ends at address");
    refused(
        &header(|header| header.size_of_headers = 0x1e7),
        "SizeOfHeaders is 0x1e7, but the section table ends at 0x1e8",
    );
    refused(
        &header(|header| header.size_of_headers = 0x1000),
        "section .text begins at 0x200, within the headers (SizeOfHeaders is 0x1000)",
    );
}

#[test]
fn sections_that_are_not_where_they_say() {
    refused(&whole().cut_at(0x13ff).build(), "section .initrd ends at 0x1400, past the end of");
    refused(
        &with_osrel(|section| section.size_of_raw_data = u32::MAX),
        "section .osrel ends at 0x1000015ff, past the end of the file",
    );
    refused(
        &with_osrel(|section| section.pointer_to_raw_data = 0x1400),
        "section .osrel begins at 0x1400 in the file, before section .initrd ends at 0x1600",
    );
    refused(
        &with_osrel(|section| section.virtual_address = 0x1080),
        "section .osrel begins at address 0x1080, before section .text ends at 0x1100",
    );
    refused(
        &with_osrel(|section| section.pointer_to_raw_data = 0x1401),
        "section .osrel is at 0x1401 in the file, not at a multiple of FileAlignment 0x200",
    );
}

#[test]
fn sections_whose_sizes_are_read_in_several_ways() {
    for (edit, size, raw) in [
        ((|section| section.virtual_size = 0x201) as fn(&mut Section), 0x201, 0x200),
        (|section| section.virtual_size = 0xffff_f000, 0xffff_f000_u32, 0x200),
        (|section| section.size_of_raw_data = 0, 4, 0),
    ] {
        refused(
            &with_osrel(edit),
            &format!(
                "section .osrel has VirtualSize {size:#x}, more than its SizeOfRawData {raw:#x}"
            ),
        );
    }
    let empty = whole().section(".osrel", "ID=a").but(|section| section.virtual_size = 0);
    accepted(&empty.build(), "console=ttyS0");
    let linux = uki().section(".linux", bzimage().build());
    refused(
        &linux.but(|section| section.virtual_size = 0).build(),
        "section .linux is empty (VirtualSize 0x0): there is no kernel",
    );
    let linux = uki().section(".linux", bzimage().build());
    refused(
        &linux.but(|section| section.virtual_size = 0xbff).build(),
        "section .linux: the kernel has 0xbff bytes, its setup_sects and syssize make it 0xc00",
    );
}

#[test]
fn names_that_are_read_in_several_ways() {
    let twice = "section .cmdline occurs twice in one profile";
    refused(&whole().section(".cmdline", "other").build(), twice);
    refused(&whole().section(".cmdline", "").build(), twice);
    let profiles = whole().section(".profile", "ID=a").section(".cmdline", "console=tty0");
    accepted(&profiles.build(), "console=tty0");
    refused(
        &uki().section(".linux\0x", bzimage().build()).build(),
        "section .linux has other bytes than NUL after its name",
    );
    for name in ["/4", ".\u{ff}", "\x1b[2J"] {
        accepted(&whole().section(name, "unknown").build(), "console=ttyS0");
    }
    let mut many = uki().section(".linux", bzimage().build());
    for _ in 1..u16::MAX {
        many = many.section("/4", "");
    }
    accepted(&many.build(), "console=uart,io,0x3f8");
}

#[test]
fn command_lines_that_are_read_in_several_ways() {
    let with = |cmdline: &[u8]| {
        uki().section(".linux", bzimage().build()).section(".cmdline", cmdline).build()
    };
    accepted(&with(b"console=ttyS0\0evil"), "console=ttyS0");
    let warning = "section .cmdline has a NUL at offset 0x1: what follows it is ignored\n";
    let ran = ukivm(&with(b"a\0evil"), &["inspect", "foo.efi"]);
    assert!(ran.stdout.contains(&format!("\n  {warning}")), "{ran:?}");
    let ran = ukivm(&with(b"a\0evil"), &PLAN);
    assert!(ran.stderr.contains(&format!("ukivm: warning: {warning}")), "{ran:?}");
    let ran = ukivm(&with(b"a\0evil"), &["plan", "foo.efi", "--as", "systemctl-kexec"]);
    assert_eq!(ran.status, Some(65), "{ran:?}");
    let invalid = "section .cmdline is not valid UTF-8";
    fails_with(&ukivm(&with(b"a\xff"), &PLAN), invalid);
    fails_with(&ukivm(&with(b"a\xff"), &VERIFY), "it is not signed");
    let ran = ukivm(&with(b"a\xff"), &["inspect", "foo.efi"]);
    assert!(ran.stdout.contains(&format!("stub             refuses  {invalid}")), "{ran:?}");
}

#[test]
fn kernels_that_are_none() {
    let kernel = |start: &[u8]| uki().section(".linux", [start, &[0; 0x1000]].concat()).build();
    for (start, what) in [
        (&b"\x7fELF"[..], "an ELF file (a vmlinux?)"),
        (b"\x1f\x8b", "data compressed with gzip"),
        (b"\xfd7zXZ\0", "data compressed with xz"),
        (b"MZ\0\0zimg", "a compressed kernel in an EFI program (zboot)"),
    ] {
        refused(&kernel(start), &format!("section .linux: the kernel is {what}"));
    }
    let text = uki().section(".linux", "vmlinuz".repeat(100)).build();
    refused(&text, "section .linux: the kernel is a text file");
    let thin = uki().section(".linux", r"\EFI\nixos\kernel.efi").section(".linuxh", [7; 32]);
    refused(&thin.build(), "the file is a thin image of lanzaboote (section .linuxh)");
    let addon = uki().section(".cmdline", "debug");
    refused(&addon.build(), "the file is an addon to UKIs (section .cmdline, but no .linux)");
}

#[test]
fn what_is_asked_for_and_not_there_or_too_large() {
    let profiles = whole().section(".profile", "ID=a").section(".profile", "ID=b").build();
    let message = "there is no profile 2: this UKI has 0 (ID a), 1 (ID b)";
    for command in ["plan", "inspect", "measure"] {
        fails_with(&ukivm(&profiles, &[command, "foo.efi", "--profile", "2"]), message);
    }
    let large = whole().section(".ucode", vec![0; 65 << 20]).build();
    let ran = ukivm(&large, &["plan", "foo.efi", "--memory", "64M"]);
    fails_with(&ran, "the kernel can't be handed over: no room for initrd: it needs 0x4100");
    assert!(ran.stderr.contains("hint: give the machine more memory with --memory"), "{ran:?}");
}

#[test]
fn bytes_after_the_last_section_are_accepted_but_not_under_verification() {
    let file = whole().followed_by([7; 99]).build();
    accepted(&file, "console=ttyS0");
    fails_with(&ukivm(&file, &VERIFY), "the sections end at 0x1400, the file at 0x1463");
    let scratch = Scratch::new();
    let somebody = Signatory::root("somebody");
    scratch.file("cert.pem", somebody.pem());
    let mut file = signed(&whole().build(), &somebody, &[]);
    scratch.file("foo.efi", &file);
    assert_eq!(scratch.ukivm(VERIFY).status, Some(0));
    file.extend([0; 8]);
    scratch.file("foo.efi", &file);
    fails_with(&scratch.ukivm(VERIFY), "the certificate table is said to be");
}
