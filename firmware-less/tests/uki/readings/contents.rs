//! Sections whose bytes readings see differently.

use firmware_less::{
    testing::{bzimage, uki},
    uki::Reading::{
        Bls, Bls2023, BpfV7, KexecTools, KexecV1, KexecV2, KexecV3, Stub, SystemctlKexec, Uapi,
        Uapi2023,
    },
};

use super::{
    ALIGN, Bytes, Case, PATCHES, SPEC, SPEC_2023, by_the_stub, exact, kernel, padded, plain,
    verdict, without_cmdline,
};

/// No padding to take the NUL.
#[test]
fn a_command_line_without_padding_loses_its_last_byte_to_the_patches() {
    let image = uki()
        .section(".osrel", "ID=test\n")
        .section(".linux", kernel())
        .section(".initrd", "initrd")
        .section(".cmdline", "quiet")
        .but(|section| section.size_of_raw_data = section.virtual_size);
    let with =
        |cmdline: &str| Bytes { cmdline: cmdline.into(), ..without_cmdline(padded("initrd", "")) };
    Case::of(&image)
        .takes(&[Stub], &by_the_stub("initrd", "quiet"))
        .takes(&SPEC, &exact("initrd", "quiet"))
        .takes(&SPEC_2023, &exact("initrd", "quiet"))
        .takes(&PATCHES, &with("quie"))
        .takes(&[KexecTools], &with(""))
        .takes(&[SystemctlKexec], &exact("initrd", "quiet"))
        .takes(&[BpfV7], &with("quiet"))
        .and_that_is_all();
}

#[test]
fn a_section_longer_in_memory_has_four_lengths() {
    let image = uki()
        .section(".osrel", "ID=test\n")
        .section(".cmdline", "a")
        .section(".linux", kernel())
        .section(".initrd", vec![7; ALIGN])
        .but(|section| section.virtual_size += 3);
    let raw = [7; ALIGN];
    let loaded = [&raw[..], &[0; 3]].concat();
    let long = "section .initrd has VirtualSize 0x203, more than its SizeOfRawData 0x200: ukify and \
                objcopy write the content's exact length as VirtualSize";
    Case::of(&image)
        .refuses(&[Stub], long, "the stub sees zeros there, bootctl the bytes that follow, ukify")
        .takes(&SPEC, &exact(&loaded, "a"))
        .takes(&SPEC_2023, &exact(&loaded, "a"))
        .takes(&PATCHES, &padded(raw, "a"))
        .takes(&[KexecTools], &without_cmdline(padded(raw, "")))
        .takes(&[SystemctlKexec], &exact(raw, "a"))
        .takes(&[BpfV7], &padded(raw, "a"))
        .and_that_is_all();
}

#[test]
fn the_boot_menu_reads_on_past_a_section_that_is_longer_in_memory() {
    let spaces = " ".repeat(ALIGN - 1);
    let image = uki()
        .section(".osrel", "ID=test\n")
        .section(".cmdline", format!("a{spaces}"))
        .but(|section| section.virtual_size += 6)
        .section(".initrd", "initrd")
        .section(".linux", kernel());
    let file = image.build();
    let read = |reading| verdict(&file, reading, &plain()).unwrap().cmdline;
    assert_eq!(read(SystemctlKexec), format!("a{spaces}initrd").into_bytes());
    assert_eq!(read(Uapi), format!("a{spaces}").into_bytes());
    assert_eq!(read(KexecV1), format!("a{}", " ".repeat(ALIGN - 2)).into_bytes());
}

#[test]
fn text_after_a_nul_is_cut_off_or_refused() {
    let image = uki()
        .section(".osrel", "ID=test\n")
        .section(".cmdline", "a\0b")
        .section(".linux", kernel())
        .section(".initrd", "initrd");
    let padding = (ALIGN - 2) as u64;
    let cut = Bytes { cmdline_padding: padding, ..padded("initrd", "a") };
    Case::of(&image)
        .takes(&[Stub], &by_the_stub("initrd", "a"))
        .takes(&SPEC, &exact("initrd", "a"))
        .takes(&SPEC_2023, &exact("initrd", "a"))
        .takes(&PATCHES, &cut)
        .takes(&[KexecTools], &without_cmdline(padded("initrd", "")))
        .refuses(
            &[SystemctlKexec],
            "section .cmdline has a NUL at offset 0x1, and text after it",
            "text has no NUL within (systemd src/shared/pe-binary.c, pe_read_section_data)",
        )
        .takes(&[BpfV7], &cut)
        .and_that_is_all();
}

#[test]
fn what_is_not_utf8_is_refused_by_the_stub_only() {
    let image = uki()
        .section(".osrel", "ID=test\n")
        .section(".cmdline", b"a \xff")
        .section(".linux", kernel())
        .section(".initrd", "initrd");
    let cmdline = b"a \xff";
    Case::of(&image)
        .refuses(
            &[Stub],
            "section .cmdline is not valid UTF-8 at offset 0x2: invalid utf-8 sequence of 1 bytes \
             from index 2",
            "the stub drops silently what is not UTF-8 (systemd src/boot/efi-string.c)",
        )
        .takes(&SPEC, &exact("initrd", cmdline))
        .takes(&SPEC_2023, &exact("initrd", cmdline))
        .takes(&PATCHES, &padded("initrd", cmdline))
        .takes(&[KexecTools], &without_cmdline(padded("initrd", "")))
        .takes(&[SystemctlKexec], &exact("initrd", cmdline))
        .takes(&[BpfV7], &padded("initrd", cmdline))
        .and_that_is_all();
}

/// 2047 bytes, less one for the NUL and 30 that kexec keeps.
#[test]
fn padding_counts_in_the_length_of_the_command_line() {
    let cmdline = "a".repeat(2000);
    let image = uki()
        .section(".osrel", "ID=test\n")
        .section(".cmdline", &cmdline)
        .section(".linux", kernel())
        .section(".initrd", "initrd");
    let file = image.build();
    for reading in [Stub, Uapi, Bls, Uapi2023, Bls2023, SystemctlKexec] {
        assert_eq!(verdict(&file, reading, &plain()).unwrap().cmdline, cmdline.as_bytes());
    }
    for reading in [KexecV1, KexecV2, KexecV3, BpfV7] {
        let refusal = verdict(&file, reading, &plain()).unwrap_err();
        assert!(
            refusal.starts_with("the command line has 2047 bytes, kexec takes 2016"),
            "{refusal}"
        );
    }
}

#[test]
fn a_kernel_that_reaches_into_its_padding_is_whole_to_those_who_count_it() {
    let kernel = bzimage().build();
    let image = uki()
        .section(".osrel", "ID=test\n")
        .section(".cmdline", "a")
        .section(".initrd", "initrd")
        .section(".linux", &kernel)
        .but(|section| section.virtual_size -= 0x100);
    let file = image.build();
    for reading in [Stub, Uapi, Bls, Uapi2023, Bls2023, SystemctlKexec] {
        let refusal = verdict(&file, reading, &plain()).unwrap_err();
        assert!(refusal.starts_with("section .linux: the kernel has 0xb00 bytes"), "{refusal}");
    }
    for reading in [KexecV1, KexecV2, KexecV3, KexecTools, BpfV7] {
        assert_eq!(verdict(&file, reading, &plain()).unwrap().kernel, kernel);
    }
}
