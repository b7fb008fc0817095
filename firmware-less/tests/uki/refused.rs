//! What is refused although some reader of UKIs would take it, or might.

use firmware_less::{
    testing::{Image, bzimage, uki},
    uki::Uki,
};

/// A UKI with every section that most have.
fn whole() -> Image {
    uki()
        .section(".text", [0xcc; 0x100])
        .section(".cmdline", "quiet")
        .section(".linux", bzimage().build())
        .section(".initrd", "cpio")
}

#[track_caller]
fn refused(image: &Image, message: &str) {
    let error = Uki::read(&image.build()).expect_err(message);
    assert_eq!(error.to_string(), message);
}

#[test]
fn the_image_that_these_tests_spoil_is_accepted() {
    assert!(Uki::read(&whole().build()).is_ok());
}

#[test]
fn a_file_of_a_dos_header_in_part() {
    refused(
        &whole().cut_at(0x3f),
        "the file has 0x3f bytes, its DOS header alone has 0x40: it is cut short",
    );
}

#[test]
fn a_pe_header_within_the_dos_header() {
    refused(
        &whole().header(|header| header.e_lfanew = 0x3f),
        "the PE header is at 0x3f (e_lfanew), in a file of 0x1400 bytes",
    );
}

#[test]
fn a_pe_header_past_the_end() {
    refused(
        &whole().header(|header| header.e_lfanew = 0x13e9),
        "the PE header is at 0x13e9 (e_lfanew), in a file of 0x1400 bytes",
    );
    refused(
        &whole().header(|header| header.e_lfanew = u32::MAX),
        "the PE header is at 0xffffffff (e_lfanew), in a file of 0x1400 bytes",
    );
}

#[test]
fn another_signature_than_pe() {
    refused(
        &whole().header(|header| header.signature = *b"NE\0\0"),
        "the PE signature at 0x40 is 0x0000454e, expected 0x00004550 (\"PE\")",
    );
}

#[test]
fn pe32_in_a_64_bit_file() {
    refused(
        &whole().header(|header| header.magic = 0x10b),
        "the optional header's magic is 0x10b, expected 0x20b (PE32+)",
    );
}

#[test]
fn an_optional_header_of_no_bytes() {
    refused(
        &whole().header(|header| header.size_of_optional_header = 0),
        "SizeOfOptionalHeader is 0x0, a PE32+ file's is at least 0x70",
    );
}

#[test]
fn an_optional_header_past_the_end() {
    refused(
        &whole().header(|header| header.size_of_optional_header = 0xffff),
        "the optional header ends at 0x10057, past the end of the file at 0x1400",
    );
}

#[test]
fn an_optional_header_of_another_size_than_its_directories_make_it() {
    refused(
        &whole().header(|header| header.size_of_optional_header = 0xf8),
        "SizeOfOptionalHeader is 0xf8, with 0x10 data directories it must be 0xf0",
    );
    refused(
        &whole().header(|header| header.number_of_rva_and_sizes = 5),
        "SizeOfOptionalHeader is 0xf0, with 0x5 data directories it must be 0x98",
    );
}

#[test]
fn more_data_directories_than_there_are() {
    refused(
        &whole().header(|header| header.number_of_rva_and_sizes = u32::MAX),
        "NumberOfRvaAndSizes is 0xffffffff, there are at most 0x10 data directories",
    );
}

#[test]
fn another_subsystem_than_efi_application() {
    refused(
        &whole().header(|header| header.subsystem = 11),
        "the subsystem is 0xb, a UKI's is 0xa (EFI application)",
    );
}

#[test]
fn a_section_table_past_the_end() {
    refused(
        &whole().header(|header| header.number_of_sections = 0xffff),
        "the table of 0xffff sections ends at 0x280120, past the end of the file at 0x1400",
    );
}

#[test]
fn headers_that_end_before_the_section_table() {
    refused(
        &whole().header(|header| header.size_of_headers = 0x1e7),
        "SizeOfHeaders is 0x1e7, but the section table ends at 0x1e8",
    );
}

#[test]
fn headers_that_reach_into_a_section() {
    refused(
        &whole().header(|header| header.size_of_headers = 0x201),
        "section .text begins at 0x200, within the headers (SizeOfHeaders is 0x201)",
    );
}

#[test]
fn a_section_past_the_end_of_the_file() {
    refused(
        &whole().cut_at(0x13ff),
        "section .initrd ends at 0x1400, past the end of the file at 0x13ff",
    );
    refused(
        &whole().section(".foo", [1; 0x200]).cut_at(0x17ff),
        "section .foo ends at 0x1800, past the end of the file at 0x17ff",
    );
}

#[test]
fn an_offset_and_a_size_whose_sum_passes_32_bits() {
    refused(
        &whole().section(".osrel", "ID=a").but(|section| section.size_of_raw_data = 0xffff_ffff),
        "section .osrel ends at 0x1000015ff, past the end of the file at 0x1800",
    );
}

#[test]
fn a_virtual_size_past_the_raw_data() {
    refused(
        &whole().section(".osrel", "ID=a").but(|section| section.virtual_size = 0x201),
        "section .osrel has VirtualSize 0x201, more than its SizeOfRawData 0x200: \
         ukify and objcopy write the content's exact length as VirtualSize",
    );
    refused(
        &whole().section(".osrel", "ID=a").but(|section| section.virtual_size = 0xffff_f000),
        "section .osrel has VirtualSize 0xfffff000, more than its SizeOfRawData 0x200: \
         ukify and objcopy write the content's exact length as VirtualSize",
    );
}

#[test]
fn content_in_memory_only() {
    refused(
        &whole().section(".osrel", "ID=a").but(|section| section.size_of_raw_data = 0),
        "section .osrel has VirtualSize 0x4, more than its SizeOfRawData 0x0: \
         ukify and objcopy write the content's exact length as VirtualSize",
    );
}

#[test]
fn a_kernel_of_no_bytes() {
    let message = "section .linux is empty (VirtualSize 0x0): there is no kernel";
    refused(&uki().section(".linux", ""), message);
    refused(&uki().section(".linux", "kernel").but(|section| section.virtual_size = 0), message);
}

#[test]
fn a_section_twice_in_the_base() {
    refused(
        &whole().section(".cmdline", "debug"),
        "section .cmdline occurs twice in one profile, \
         as entries 0x1 and 0x4 of the section table",
    );
}

#[test]
fn a_section_twice_even_if_one_is_empty() {
    refused(
        &whole().section(".osrel", "").section(".osrel", "ID=a"),
        "section .osrel occurs twice in one profile, \
         as entries 0x4 and 0x5 of the section table",
    );
}

#[test]
fn a_section_twice_in_a_profile() {
    refused(
        &whole()
            .section(".profile", "ID=a")
            .section(".cmdline", "a")
            .section(".profile", "ID=b")
            .section(".cmdline", "b")
            .section(".cmdline", "c"),
        "section .cmdline occurs twice in one profile, \
         as entries 0x7 and 0x8 of the section table",
    );
}

#[test]
fn known_sections_that_share_bytes_of_the_file() {
    refused(
        &whole().section(".osrel", "ID=a").but(|section| section.pointer_to_raw_data = 0x1400),
        "section .osrel begins at 0x1400 in the file, before section .initrd ends at 0x1600",
    );
}

#[test]
fn sections_that_share_addresses() {
    refused(
        &whole().section(".osrel", "ID=a").but(|section| section.virtual_address = 0x1080),
        "section .osrel begins at address 0x1080, before section .text ends at 0x1100",
    );
}

#[test]
fn a_section_past_the_end_of_the_image() {
    refused(
        &whole().header(|header| header.size_of_image = 0x4003),
        "section .initrd ends at address 0x4004, past SizeOfImage 0x4003",
    );
    refused(
        &whole().section(".bss", "").but(|section| {
            section.virtual_address = 0xffff_f000;
            section.virtual_size = 0xffff_f000;
        }),
        "section .bss ends at address 0x1ffffe000, past SizeOfImage 0x5000",
    );
}

#[test]
fn content_that_some_tools_would_read_from_an_earlier_offset() {
    refused(
        &whole().section(".osrel", [b'#'; 0x200]).but(|section| {
            section.pointer_to_raw_data += 1;
            section.size_of_raw_data -= 1;
            section.virtual_size = 1;
        }),
        "section .osrel is at 0x1601 in the file, not at a multiple of FileAlignment 0x200",
    );
}

#[test]
fn a_file_alignment_that_aligns_nothing() {
    refused(
        &whole().header(|header| header.file_alignment = 0),
        "section .cmdline is at 0x400 in the file, not at a multiple of FileAlignment 0x0",
    );
}

#[test]
fn bytes_after_the_nul_of_a_known_name() {
    refused(
        &whole().section(".osrel\0x", "ID=a"),
        r#"section .osrel has other bytes than NUL after its name: ".osrel\x00x""#,
    );
}
