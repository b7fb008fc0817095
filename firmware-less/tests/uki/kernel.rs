//! Kernels that load, and those that do not.

use firmware_less::{
    kernel::{Error, Kernel},
    range::FileRange,
    testing::{BzImage, bzimage},
};

fn read(kernel: &BzImage) -> Result<Kernel, Error> {
    read_bytes(&kernel.clone().build())
}

/// Reads a kernel that does not begin where its file does.
fn read_bytes(kernel: &[u8]) -> Result<Kernel, Error> {
    let file = [&[0xff; 0x600], kernel, &[0xff; 0x1000]].concat();
    Kernel::read(&file, FileRange::new(0x600, kernel.len() as u64).unwrap())
}

#[track_caller]
fn refused(kernel: &BzImage, message: &str) {
    assert_eq!(read(kernel).expect_err(message).to_string(), message);
}

#[track_caller]
fn refused_bytes(kernel: impl AsRef<[u8]>, message: &str) {
    assert_eq!(read_bytes(kernel.as_ref()).expect_err(message).to_string(), message);
}

#[test]
fn the_header_says_how_to_load_it() {
    let kernel = read(&bzimage()).unwrap();
    assert_eq!(kernel.version(), 0x20f);
    assert_eq!(kernel.kern16_size(), 0x800);
    assert_eq!(kernel.init_size(), 3 << 20);
    assert_eq!(kernel.kernel_alignment(), 2 << 20);
    assert_eq!(kernel.pref_address(), 16 << 20);
    assert_eq!(kernel.cmdline_size(), 2047);
    assert_eq!(kernel.xloadflags(), 0x7f);
    assert!(kernel.allows_five_level());
    assert_eq!(kernel.protected_mode(), FileRange::new(0xe00, 0x400).unwrap());
    assert_eq!(kernel.payload(), FileRange::new(0x1100, 0x100));
}

#[test]
fn the_headers_own_length_says_how_much_is_copied() {
    let bytes = bzimage().build();
    let kernel = read_bytes(&bytes).unwrap();
    assert_eq!(kernel.header_bytes(), &bytes[0x1f1..0x26c]);
    let short = read(&bzimage().with(|header| header.jump = 0x62eb)).unwrap();
    assert_eq!(short.header_bytes().len(), 0x264 - 0x1f1);
}

#[test]
fn a_header_never_reaches_past_its_place_in_boot_params() {
    let kernel = read(&bzimage().with(|header| header.jump = 0xffeb)).unwrap();
    assert_eq!(kernel.header_bytes().len(), 0x290 - 0x1f1);
    let nothing = read(&bzimage().with(|header| header.jump = 0x00eb)).unwrap();
    assert_eq!(nothing.header_bytes().len(), 0x202 - 0x1f1);
}

#[test]
fn no_setup_sectors_means_four() {
    let kernel = read(&bzimage().with(|header| header.setup_sects = 0)).unwrap();
    assert_eq!(kernel.kern16_size(), 5 * 512);
}

#[test]
fn what_follows_the_code_is_loaded_with_it() {
    let kernel = read(&bzimage().followed_by([7; 0x5c0])).unwrap();
    assert_eq!(kernel.protected_mode().len(), 0x400 + 0x5c0);
}

#[test]
fn a_payload_outside_the_kernel_is_none() {
    let payload = |kernel: &BzImage| read(kernel).unwrap().payload();
    assert!(payload(&bzimage().with(|header| header.payload_length = 0x101)).is_none());
    assert!(payload(&bzimage().with(|header| header.payload_offset = u32::MAX)).is_none());
    assert!(payload(&bzimage().with(|header| header.payload_length = 0)).is_none());
}

#[test]
fn less_than_two_sectors() {
    refused(&bzimage().cut_at(1023), "the kernel has 0x3ff bytes, a bzImage has at least 0x400");
    refused_bytes([], "the kernel has 0x0 bytes, a bzImage has at least 0x400");
}

#[test]
fn no_header() {
    refused(
        &bzimage().with(|header| header.header = 0),
        "the kernel has 0x00000000 at 0x202, expected 0x53726448 (\"HdrS\")",
    );
}

#[test]
fn no_boot_flag() {
    refused(
        &bzimage().with(|header| header.boot_flag = 0x55aa),
        "the kernel's boot_flag is 0x55aa, expected 0xaa55",
    );
}

#[test]
fn an_old_boot_protocol() {
    refused(
        &bzimage().with(|header| header.version = 0x20b),
        "the kernel speaks boot protocol 2.11, expected 2.12 or later",
    );
}

#[test]
fn a_zimage() {
    refused(
        &bzimage().with(|header| header.loadflags = 0xfe),
        "the kernel's loadflags are 0xfe, without LOADED_HIGH (0x1): a zImage",
    );
}

#[test]
fn a_32_bit_kernel() {
    refused(
        &bzimage().with(|header| header.xloadflags = 0x7e),
        "the kernel's xloadflags are 0x7e, without XLF_KERNEL_64 (0x1): a 32-bit kernel",
    );
}

#[test]
fn a_kernel_that_must_stay_low() {
    refused(
        &bzimage().with(|header| header.xloadflags = 0x7d),
        "the kernel's xloadflags are 0x7d, without XLF_CAN_BE_LOADED_ABOVE_4G (0x2): \
         not relocatable",
    );
}

#[test]
fn the_checks_come_in_kexecs_order() {
    let wrong = bzimage().with(|header| {
        header.boot_flag = 0;
        header.version = 0;
        header.loadflags = 0;
        header.xloadflags = 0;
        header.init_size = 0;
    });
    assert!(matches!(read(&wrong), Err(Error::BootFlag { .. })));
    let wrong = wrong.with(|header| header.boot_flag = 0xaa55);
    assert!(matches!(read(&wrong), Err(Error::Version { .. })));
    let wrong = wrong.with(|header| header.version = 0x20f);
    assert!(matches!(read(&wrong), Err(Error::NotLoadedHigh { .. })));
    let wrong = wrong.with(|header| header.loadflags = 1);
    assert!(matches!(read(&wrong), Err(Error::Not64Bit { .. })));
    let wrong = wrong.with(|header| header.xloadflags = 1);
    assert!(matches!(read(&wrong), Err(Error::NotAbove4G { .. })));
}

#[test]
fn a_kernel_of_setup_sectors_only() {
    refused(
        &bzimage().cut_at(0x7ff),
        "the kernel has 0x7ff bytes, its real-mode part alone has 0x800",
    );
}

#[test]
fn a_kernel_that_is_cut_short() {
    refused(
        &bzimage().cut_at(0xbff),
        "the kernel has 0xbff bytes, its setup_sects and syssize make it 0xc00: \
         it is cut short",
    );
    refused(
        &bzimage().with(|header| header.syssize = u32::MAX),
        "the kernel has 0xc00 bytes, its setup_sects and syssize make it 0x10000007f0: \
         it is cut short",
    );
}

#[test]
fn a_kernel_that_wants_no_memory() {
    refused(&bzimage().with(|header| header.init_size = 0), "the kernel's init_size is 0");
}

#[test]
fn a_kernel_that_does_not_fit_the_memory_it_wants() {
    let with_len =
        |len| bzimage().with(|header| header.init_size = 0x1001).protected_mode(vec![1; len]);
    assert!(read(&with_len(0x2000)).is_ok());
    refused(
        &with_len(0x2010),
        "the kernel's protected-mode part has 0x2010 bytes, \
         more than init_size makes room for: 0x2000",
    );
}

#[test]
fn an_alignment_that_is_none() {
    let message =
        |found| format!("kernel_alignment is {found}, expected a power of two from 0x1000 on");
    refused(&bzimage().with(|header| header.kernel_alignment = 0), &message("0x0"));
    refused(&bzimage().with(|header| header.kernel_alignment = 0x800), &message("0x800"));
    refused(&bzimage().with(|header| header.kernel_alignment = 0x30_0000), &message("0x300000"));
}

#[test]
fn an_address_that_no_machine_has() {
    refused(
        &bzimage().with(|header| header.pref_address = u64::MAX),
        "the kernel's pref_address is 0xffffffffffffffff, expected at most 0x10000000000000",
    );
}

#[test]
fn other_things_than_kernels() {
    let long = |start: &[u8]| [start, &[0; 0x1000]].concat();
    refused_bytes(
        long(b"\x7fELF"),
        "the kernel is an ELF file (a vmlinux?), expected a bzImage: \
         give ukify the bzImage (arch/x86/boot/bzImage), not vmlinux",
    );
    refused_bytes(
        long(b"\x1f\x8b"),
        "the kernel is data compressed with gzip, expected a bzImage: \
         decompress it before giving it to ukify",
    );
    refused_bytes(
        long(b"MZ\0\0zimg"),
        "the kernel is a compressed kernel in an EFI program (zboot), \
         expected a bzImage: unpack it before giving it to ukify",
    );
    refused_bytes("hello\n", "the kernel is a text file, expected a bzImage");
    refused_bytes(
        r"\EFI\nixos\kernel.efi",
        "the section .linux holds the path of a kernel (\"\\\\EFI\\\\nixos\\\\kernel.efi\"), \
         expected a bzImage",
    );
}
