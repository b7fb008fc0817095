//! Files that are no UKIs: the refusal says what they are.

use std::io;

use firmware_less::{
    testing::{bzimage, uki},
    uki::Uki,
};

const EXPECTED: &str = "expected a Unified Kernel Image, a PE file with a .linux section";

#[track_caller]
fn refused(file: impl AsRef<[u8]>, message: &str) {
    let error = Uki::read(file.as_ref()).expect_err(message);
    assert_eq!(error.to_string(), message);
}

#[test]
fn files_that_are_not_pe_files() {
    let named = |start: &[u8], what: &str| {
        let mut file = start.to_vec();
        file.resize(0x1000, 0);
        refused(file, &format!("the file is {what}"));
    };
    let ukify = ": make one with `ukify build --linux=… --initrd=…`";
    named(
        b"\x7fELF",
        &format!(
            "an ELF file (a vmlinux?), {EXPECTED}: \
             make one from the bzImage with `ukify build --linux=… --initrd=…`"
        ),
    );
    named(b"070701", &format!("a cpio archive (an initrd?), {EXPECTED}{ukify}"));
    let decompress = ": decompress it first";
    named(b"\x1f\x8b\x08", &format!("data compressed with gzip, {EXPECTED}{decompress}"));
    named(b"\xfd7zXZ\0", &format!("data compressed with xz, {EXPECTED}{decompress}"));
    named(b"\x28\xb5\x2f\xfd", &format!("data compressed with zstd, {EXPECTED}{decompress}"));
    named(b"#!/bin/sh\n", &format!("a script, {EXPECTED}"));
    named(b"\0\x01", &format!("of an unknown format, {EXPECTED}"));
}

#[test]
fn an_empty_file() {
    refused([], &format!("the file is an empty file, {EXPECTED}"));
}

#[test]
fn a_text_file() {
    refused("root=/dev/vda\n", &format!("the file is a text file, {EXPECTED}"));
}

#[test]
fn a_disk_image_and_a_cd_image() {
    let advice = ": UKIs lie in its EFI partition, in /EFI/Linux";
    let mut disk = vec![0; 0x9000];
    disk[0x200..0x208].copy_from_slice(b"EFI PART");
    refused(&disk, &format!("the file is a disk image, {EXPECTED}{advice}"));
    let mut cd = vec![0; 0x9000];
    cd[0x8001..0x8006].copy_from_slice(b"CD001");
    refused(&cd, &format!("the file is a CD image (ISO 9660), {EXPECTED}{advice}"));
}

#[test]
fn a_kernel_without_an_efi_stub() {
    refused(
        bzimage().build(),
        &format!(
            "the file is a bare kernel (bzImage), {EXPECTED}: \
             make one with `ukify build --linux=… --initrd=…`"
        ),
    );
}

#[test]
fn a_kernel_with_an_efi_stub() {
    let mut file = uki().section(".setup", [0; 0x400]).section(".text", "code").build();
    let kernel = bzimage().build();
    file[0x1f1..0x26c].copy_from_slice(&kernel[0x1f1..0x26c]);
    refused(
        file,
        "the file is a bare kernel (bzImage), expected a UKI: \
         make one with `ukify build --linux=… --initrd=…`",
    );
}

#[test]
fn a_kernel_that_unpacks_itself_as_an_efi_program() {
    let mut file = uki().section(".text", "code").build();
    file[4..8].copy_from_slice(b"zimg");
    refused(
        file,
        "the file is a compressed kernel in an EFI program (zboot), expected a UKI with a bzImage",
    );
}

#[test]
fn images_for_other_machines() {
    let image = uki().section(".linux", "kernel");
    refused(
        image.clone().header(|header| header.machine = 0xaa64).build(),
        "the file is a UKI for aarch64 (0xaa64), expected a UKI for x86-64 (0x8664)",
    );
    refused(
        image.header(|header| header.machine = 0x014c).build(),
        "the file is a UKI for ia32 (0x014c), expected a UKI for x86-64 (0x8664)",
    );
    refused(
        uki().section(".text", "code").header(|header| header.machine = 0x5064).build(),
        "the file is a PE file for riscv64 (0x5064), expected a UKI for x86-64 (0x8664)",
    );
    refused(
        uki().header(|header| header.machine = 0x1234).build(),
        "the file is a PE file for machine 0x1234, expected a UKI for x86-64 (0x8664)",
    );
}

#[test]
fn addons() {
    refused(
        uki()
            .section(".sdmagic", "#### LoaderInfo: systemd-addon 257 ####")
            .section(".cmdline", "debug")
            .build(),
        "the file is an addon to UKIs (section .cmdline, but no .linux), expected a UKI",
    );
    refused(
        uki().section(".initrd", "cpio").build(),
        "the file is an addon to UKIs (section .initrd, but no .linux), expected a UKI",
    );
}

#[test]
fn a_profile_by_itself() {
    refused(
        uki().section(".profile", "ID=a").section(".cmdline", "debug").build(),
        "the file is a profile of a UKI (section .profile, but no .linux), \
         expected a whole UKI: join it to one with `ukify build --join-profile=…`",
    );
}

#[test]
fn a_stub_without_a_kernel() {
    refused(
        uki().section(".sdmagic", "#### LoaderInfo: systemd-stub 257 ####").build(),
        "the file is a stub without a kernel (no .linux section), expected a UKI: \
         make one with `ukify build --stub=… --linux=… --initrd=…`",
    );
}

#[test]
fn a_boot_loader() {
    let message = "the file is a PE file without a .linux section, expected a UKI";
    refused(uki().section(".sdmagic", "#### LoaderInfo: systemd-boot 257 ####").build(), message);
    refused(uki().build(), message);
    let far = uki().section(".sdmagic", "").but(|section| {
        section.pointer_to_raw_data = u32::MAX;
        section.virtual_size = u32::MAX;
    });
    refused(far.build(), message);
}

#[test]
fn a_thin_image_of_lanzaboote() {
    refused(
        uki().section(".linux", r"\EFI\nixos\kernel.efi").section(".linuxh", [7; 32]).build(),
        "the file is a thin image of lanzaboote (section .linuxh), which names its kernel \
         and initrd by path, expected a UKI that holds them",
    );
}

#[test]
fn a_file_that_cannot_be_read() {
    struct Broken;
    impl firmware_less::read_at::ReadAt for Broken {
        fn read_exact_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
            Err(io::Error::other("the disk is on fire"))
        }
        fn len(&self) -> u64 {
            1 << 20
        }
    }
    let error = Uki::read(&Broken).unwrap_err();
    assert_eq!(error.to_string(), "the headers cannot be read");
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(cause.to_string(), "the disk is on fire");
}

#[test]
fn a_file_longer_than_its_offsets_can_reach() {
    struct Long;
    impl firmware_less::read_at::ReadAt for Long {
        fn read_exact_at(&self, _: u64, buf: &mut [u8]) -> io::Result<()> {
            buf.fill(0);
            buf[..2].copy_from_slice(b"MZ");
            Ok(())
        }
        fn len(&self) -> u64 {
            (1 << 32) + 1
        }
    }
    assert_eq!(
        Uki::read(&Long).unwrap_err().to_string(),
        "the file has 0x100000001 bytes, a PE file's offsets reach only 0x100000000"
    );
}
