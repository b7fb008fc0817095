//! Sections that readings find differently, or not at all.

use firmware_less::{
    testing::{Image, uki},
    uki::{
        Reading::{
            Bls2023, BpfV7, KexecTools, KexecV1, KexecV2, KexecV3, Stub, SystemctlKexec, Uapi,
            Uapi2023,
        },
        cpio::{Target, archive},
    },
};

use super::{
    Case, PATCHES, SPEC, SPEC_2023, by_the_stub, exact, joined, kernel, os_release, padded, plain,
    verdict, whole, without_cmdline,
};

#[test]
fn one_file_is_handed_over_in_six_ways() {
    Case::of(&whole())
        .takes(&[Stub], &by_the_stub("initrd", "quiet"))
        .takes(&SPEC, &exact("initrd", "quiet\n"))
        .takes(&SPEC_2023, &exact("initrd", "quiet\n"))
        .takes(&PATCHES, &padded("initrd", "quiet\n"))
        .takes(&[KexecTools], &without_cmdline(padded("initrd", "")))
        .takes(&[SystemctlKexec], &exact("initrd", "quiet"))
        .takes(&[BpfV7], &padded("initrd", "quiet\n"))
        .and_that_is_all();
}

#[test]
fn without_an_initrd() {
    let image =
        uki().section(".osrel", "ID=test\n").section(".cmdline", "a").section(".linux", kernel());
    let missing = "section .initrd is missing";
    Case::of(&image)
        .takes(&[Stub], &exact(os_release(), "a"))
        .takes(&SPEC, &exact("", "a"))
        .takes(&[Bls2023], &exact("", "a"))
        .refuses(&[Uapi2023], missing, "not called optional, so mandatory (UAPI.5 of September")
        .refuses(&PATCHES, missing, "without it the file is no UKI, ENOEXEC (arch/x86/kernel/kex")
        .takes(&[KexecTools], &without_cmdline(padded("", "")))
        .takes(&[SystemctlKexec], &exact("", "a"))
        .refuses(&[BpfV7], missing, "kernel, initrd and command line must all be among the first")
        .and_that_is_all();
}

#[test]
fn without_a_command_line() {
    let image = uki()
        .section(".osrel", "ID=test\n")
        .section(".linux", kernel())
        .section(".initrd", "initrd");
    let missing = "section .cmdline is missing";
    Case::of(&image)
        .takes(&[Stub], &by_the_stub("initrd", ""))
        .takes(&SPEC, &exact("initrd", ""))
        .refuses(&[Uapi2023], missing, "not called optional, so mandatory")
        .refuses(&[Bls2023], missing, "a valid UKI must have it (UAPI.1 of September 2023")
        .refuses(&[KexecV1], missing, "without it the file is no UKI, ENOEXEC")
        .takes(&[KexecV2, KexecV3], &without_cmdline(padded("initrd", "")))
        .takes(&[KexecTools], &without_cmdline(padded("initrd", "")))
        .takes(&[SystemctlKexec], &exact("initrd", ""))
        .refuses(&[BpfV7], missing, "kernel, initrd and command line must all be")
        .and_that_is_all();
}

#[test]
fn without_an_os_release() {
    let image =
        uki().section(".cmdline", "a").section(".linux", kernel()).section(".initrd", "initrd");
    let missing = "section .osrel is missing";
    Case::of(&image)
        .takes(&[Stub], &exact("initrd", "a"))
        .takes(&SPEC, &exact("initrd", "a"))
        .takes(&[Uapi2023], &exact("initrd", "a"))
        .refuses(&[Bls2023], missing, "a valid UKI must have it (UAPI.1 of September 2023, Type #2")
        .takes(&PATCHES, &padded("initrd", "a"))
        .takes(&[KexecTools], &without_cmdline(padded("initrd", "")))
        .refuses(&[SystemctlKexec], missing, "without it there is no menu entry (systemd src/shar")
        .takes(&[BpfV7], &padded("initrd", "a"))
        .and_that_is_all();
}

#[test]
fn an_empty_command_line_is_one_for_some() {
    let image = uki()
        .section(".osrel", "ID=test\n")
        .section(".cmdline", "")
        .section(".linux", kernel())
        .section(".initrd", "initrd");
    let none = without_cmdline(padded("initrd", ""));
    Case::of(&image)
        .takes(&[Stub], &by_the_stub("initrd", ""))
        .takes(&SPEC, &exact("initrd", ""))
        .takes(&SPEC_2023, &exact("initrd", ""))
        .takes(&PATCHES, &none)
        .takes(&[KexecTools], &none)
        .takes(&[SystemctlKexec], &exact("initrd", ""))
        .refuses(&[BpfV7], "section .cmdline is missing", "kernel, initrd and command line must")
        .and_that_is_all();
}

#[test]
fn of_two_sections_of_a_name_some_take_the_first_and_some_the_last() {
    let image = whole().section(".initrd", "second").section(".cmdline", "debug");
    let twice = "section .initrd occurs twice in one profile, as entries 0x3 and 0x4 of the section \
                 table";
    Case::of(&image)
        .refuses(&[Stub], twice, "the stub takes the first since systemd 257, and took the last")
        .refuses(&SPEC, twice, "sections are singletons, in the base and in each profile (UAPI.5")
        .takes(&SPEC_2023, &exact("initrd", "quiet\n"))
        .takes(&PATCHES, &padded("initrd", "quiet\n"))
        .takes(&[KexecTools], &without_cmdline(padded("second", "")))
        .takes(&[SystemctlKexec], &exact("initrd", "quiet"))
        .takes(&[BpfV7], &padded("second", "debug"))
        .and_that_is_all();
}

#[test]
fn the_bpf_program_looks_at_sixteen_sections() {
    let stub = |count| (0..count).fold(uki(), |image, _| image.section(".text", "code"));
    let with = |image: Image| {
        image
            .section(".osrel", "ID=test\n")
            .section(".linux", kernel())
            .section(".initrd", "initrd")
            .section(".cmdline", "a")
    };
    let sixteen = with(stub(12)).build();
    assert_eq!(verdict(&sixteen, BpfV7, &plain()), Ok(padded("initrd", "a")));
    Case::of(&with(stub(13)))
        .takes(&[Stub], &by_the_stub("initrd", "a"))
        .takes(&SPEC, &exact("initrd", "a"))
        .takes(&SPEC_2023, &exact("initrd", "a"))
        .takes(&PATCHES, &padded("initrd", "a"))
        .takes(&[KexecTools], &without_cmdline(padded("initrd", "")))
        .takes(&[SystemctlKexec], &exact("initrd", "a"))
        .refuses(
            &[BpfV7],
            "section .cmdline is missing",
            "kernel, initrd and command line must all be among the first 16 sections, EINVAL \
             (kernel/kexec_bpf_loader.c, decompose_kexec_image)",
        )
        .and_that_is_all();
}

/// The ninth byte that the program compares is none of the file's.
#[test]
fn the_bpf_program_finds_a_command_line_of_any_length() {
    for len in [1, 0xff, 0x100, 0x101] {
        let cmdline = "a".repeat(len);
        let image = uki()
            .section(".cmdline", &cmdline)
            .section(".linux", kernel())
            .section(".initrd", "initrd");
        assert_eq!(verdict(&image.build(), BpfV7, &plain()), Ok(padded("initrd", &cmdline)));
    }
}

#[test]
fn bytes_after_a_name_hide_the_section_from_some() {
    let image = uki()
        .section(".osrel", "ID=test\n")
        .section(".cmdline", "a")
        .section(".linux\0x", kernel())
        .section(".initrd", "initrd");
    let found = r#"section .linux has other bytes than NUL after its name: ".linux\x00x""#;
    let missing = "section .linux is missing";
    Case::of(&image)
        .refuses(&[Stub], found, "the stub ignores what follows the NUL, bootctl and ukify do not")
        .refuses(
            &SPEC,
            "profile 0 has no kernel: .linux is missing or masked by an empty one",
            "only .linux is required (UAPI.5, UKI Components)",
        )
        .refuses(&[Uapi2023], missing, "not called optional, so mandatory")
        .refuses(&[Bls2023], missing, "a UKI is a stub, a kernel, an initrd and a command line")
        .takes(&PATCHES, &padded("initrd", "a"))
        .takes(&[KexecTools], &without_cmdline(padded("initrd", "")))
        .refuses(&[SystemctlKexec], missing, "without it the file is no UKI")
        .takes(&[BpfV7], &padded("initrd", "a"))
        .and_that_is_all();
}

#[test]
fn profiles_are_more_sections_to_those_who_know_none() {
    let image = whole()
        .section(".profile", "ID=main")
        .section(".cmdline", "main")
        .section(".profile", "ID=other")
        .section(".cmdline", "other")
        .section(".initrd", "second");
    let profile = archive(&Target::EXTRA, &[("profile", b"ID=main")]).unwrap();
    Case::of(&image)
        .takes(&[Stub], &exact(joined(&[b"initrd", &os_release(), &profile]), "main"))
        .takes(&SPEC, &exact("initrd", "main"))
        .takes(&SPEC_2023, &exact("initrd", "quiet\n"))
        .takes(&PATCHES, &padded("initrd", "quiet\n"))
        .takes(&[KexecTools], &without_cmdline(padded("second", "")))
        .takes(&[SystemctlKexec], &exact("initrd", "main"))
        .takes(&[BpfV7], &padded("second", "other"))
        .and_that_is_all();
}

#[test]
fn an_empty_section_of_a_profile_masks_or_replaces_the_bases() {
    let image = whole().section(".profile", "").section(".cmdline", "");
    let file = image.build();
    let read = |reading| verdict(&file, reading, &plain()).unwrap().cmdline;
    assert_eq!((read(Stub), read(Uapi)), (Vec::new(), Vec::new()));
    assert_eq!(read(SystemctlKexec), b"");
    assert_eq!(read(KexecV1), b"quiet\n");
    assert_eq!(read(BpfV7), b"quiet\n");
}

#[test]
fn a_section_that_is_not_in_the_file_is_passed_over_by_the_bpf_program() {
    let image =
        whole().section(".initrd", "second").but(|section| section.pointer_to_raw_data = 0x10_0000);
    let past = "section .initrd ends at 0x100200, past the end of the file at 0x1a00";
    Case::of(&image)
        .refuses(&[Stub], past, "firmware loads no file that is cut short")
        .refuses(
            &SPEC,
            "section .initrd occurs twice in one profile, as entries 0x3 and 0x4 of the section \
             table",
            "sections are singletons",
        )
        .takes(&SPEC_2023, &exact("initrd", "quiet\n"))
        .takes(&PATCHES, &padded("initrd", "quiet\n"))
        .refuses(&[KexecTools], past, "what is not in the file can't be handed over (any reading)")
        .refuses(&[SystemctlKexec], past, "a section must lie in the file")
        .takes(&[BpfV7], &padded("initrd", "quiet\n"))
        .and_that_is_all();
}

#[test]
fn the_subsystem_is_looked_at_by_some() {
    let image = whole().header(|header| header.subsystem = 3);
    let found = "the subsystem is 0x3, a UKI's is 0xa (EFI application)";
    Case::of(&image)
        .refuses(&[Stub, SystemctlKexec], found, "a UKI is an EFI application")
        .refuses(&SPEC, found, "the subsystem of UKIs should be EFI application")
        .takes(&SPEC_2023, &exact("initrd", "quiet\n"))
        .takes(&PATCHES, &padded("initrd", "quiet\n"))
        .takes(&[KexecTools], &without_cmdline(padded("initrd", "")))
        .takes(&[BpfV7], &padded("initrd", "quiet\n"))
        .and_that_is_all();
}

#[test]
fn a_section_table_past_the_headers_is_refused_by_firmware_and_the_patches() {
    let image = whole().header(|header| header.size_of_headers = 0x180);
    let found = "SizeOfHeaders is 0x180, but the section table ends at 0x1e8";
    Case::of(&image)
        .refuses(&[Stub], found, "firmware finds no section header past SizeOfHeaders")
        .refuses(&PATCHES, found, "a section table past SizeOfHeaders is bad, ELIBBAD (verify_pe")
        .takes(&SPEC, &exact("initrd", "quiet\n"))
        .takes(&SPEC_2023, &exact("initrd", "quiet\n"))
        .takes(&[KexecTools], &without_cmdline(padded("initrd", "")))
        .takes(&[SystemctlKexec], &exact("initrd", "quiet"))
        .takes(&[BpfV7], &padded("initrd", "quiet\n"))
        .and_that_is_all();
}

#[test]
fn microcode_comes_first_for_the_stub_and_the_specification_of_today() {
    let image = whole().section(".ucode", "microcode");
    Case::of(&image)
        .takes(&[Stub], &exact(joined(&[b"microcode", b"initrd", &os_release()]), "quiet"))
        .takes(&SPEC, &exact(joined(&[b"microcode", b"initrd"]), "quiet\n"))
        .takes(&SPEC_2023, &exact("initrd", "quiet\n"))
        .takes(&PATCHES, &padded("initrd", "quiet\n"))
        .takes(&[KexecTools], &without_cmdline(padded("initrd", "")))
        .takes(&[SystemctlKexec], &exact("initrd", "quiet"))
        .takes(&[BpfV7], &padded("initrd", "quiet\n"))
        .and_that_is_all();
}
