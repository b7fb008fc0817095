//! What real tools write, or nobody reads differently, and so is accepted.

use firmware_less::{
    range::FileRange,
    testing::{Counted, bzimage, uki},
    uki::{Name, Uki},
};

fn sections(image: &firmware_less::testing::Image) -> Vec<(String, FileRange)> {
    let uki = Uki::read(&image.build()).unwrap();
    uki.sections().iter().map(|section| (section.raw_name.to_string(), section.range())).collect()
}

fn range(offset: u64, len: u64) -> FileRange {
    FileRange::new(offset, len).unwrap()
}

#[test]
fn only_the_headers_of_a_large_image_are_read() {
    let image = uki().section(".linux", "kernel").section(".initrd", "cpio").but(|section| {
        section.virtual_size = 200 << 20;
        section.size_of_raw_data = 200 << 20;
    });
    let start = image.header(|header| header.size_of_image = 256 << 20).build();
    let file = Counted::sparse(start, 201 << 20);
    let uki = Uki::read(&file).unwrap();
    assert_eq!(uki.base().entry(Name::Initrd).unwrap().range(), range(0x400, 200 << 20));
    assert!(file.bytes_read() <= 4096, "{} bytes read", file.bytes_read());
}

#[test]
fn headers_past_the_first_page_are_read_by_themselves() {
    let start = uki().pe_header_at(0x10_0000).section(".linux", "kernel").build();
    let file = Counted::new(start);
    assert!(Uki::read(&file).is_ok());
    assert!(file.bytes_read() <= 4096 + 512, "{} bytes read", file.bytes_read());
}

#[test]
fn a_section_is_virtual_size_bytes_without_its_padding() {
    assert_eq!(
        sections(&uki().section(".linux", "kernel").section(".cmdline", [b' '; 0x201])),
        [(".linux".to_owned(), range(0x200, 6)), (".cmdline".to_owned(), range(0x400, 0x201))]
    );
}

#[test]
fn any_order_and_any_gap() {
    let image = uki()
        .section(".sbat", "sbat,1")
        .section(".initrd", "cpio")
        .section(".linux", "kernel")
        .but(|section| section.virtual_address = 0x200_0000)
        .section(".osrel", "ID=a")
        .but(|section| section.virtual_address = 0x2_0000)
        .header(|header| header.size_of_image = 0x300_0000);
    assert_eq!(sections(&image).len(), 4);
}

#[test]
fn an_empty_section_at_its_neighbours_place() {
    let image = uki().section(".cmdline", "").section(".linux", "kernel");
    assert_eq!(sections(&image)[0], (".cmdline".to_owned(), range(0x200, 0)));
    let uki = Uki::read(&image.build()).unwrap();
    assert_eq!(uki.profile(0).unwrap().section(Name::Cmdline), None);
}

#[test]
fn an_empty_section_at_an_odd_place() {
    let image = uki().section(".linux", "kernel").section(".dtb", "").but(|section| {
        section.pointer_to_raw_data = 0xffff_ffff;
        section.virtual_address = 0xffff_ffff;
    });
    assert!(Uki::read(&image.build()).is_ok());
}

#[test]
fn names_that_nobody_resolves() {
    let image = uki()
        .section("/4", "")
        .section("//AAAAAA", "")
        .section("/nonsens", "")
        .section(".\u{ff}", "")
        .section("", "")
        .section("", "")
        .section(".linux", "kernel");
    let names: Vec<_> = sections(&image).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["/4", "//AAAAAA", "/nonsens", r".\xc3\xbf", "", "", ".linux"]);
}

#[test]
fn an_unknown_section_that_is_longer_in_memory_unaligned_or_there_twice() {
    let image = uki()
        .section(".data", "data")
        .but(|section| section.virtual_size = 0x800)
        .section(".data", [0; 0x200])
        .but(|section| section.pointer_to_raw_data = 0x201)
        .section(".linux", "kernel");
    assert!(Uki::read(&image.build()).is_ok());
}

#[test]
fn bytes_after_the_nul_of_an_unknown_name() {
    assert!(Uki::read(&uki().section(".foo\0bar", "").section(".linux", "k").build()).is_ok());
}

#[test]
fn bytes_after_the_last_section() {
    assert!(Uki::read(&uki().section(".linux", "kernel").followed_by([7; 99]).build()).is_ok());
}

#[test]
fn several_of_what_may_repeat() {
    let image = uki()
        .section(".linux", "kernel")
        .section(".dtbauto", "a")
        .section(".dtbauto", "b")
        .section(".efifw", "c")
        .section(".efifw", "d");
    assert!(Uki::read(&image.build()).is_ok());
}

#[test]
fn fewer_data_directories() {
    let mut file = uki().section(".linux", bzimage().build()).build();
    let (optional, table) = (0x58, 0x58 + 240);
    // Six directories, as many as the stub needs, and the table right after them.
    file[0x54..0x56].copy_from_slice(&(112_u16 + 6 * 8).to_le_bytes());
    file[optional + 108..optional + 112].copy_from_slice(&6_u32.to_le_bytes());
    file.copy_within(table..table + 40, optional + 112 + 6 * 8);
    assert!(Uki::read(&file).is_ok());
}

#[test]
fn as_many_sections_as_can_be_counted() {
    let mut image = uki().section(".linux", "kernel");
    for _ in 1..u16::MAX {
        image = image.section(".profile", "");
    }
    let uki = Uki::read(&image.build()).unwrap();
    assert_eq!(uki.profile_count(), 65534);
    assert!(uki.profile(65533).unwrap().linux().is_ok());
}

#[test]
fn an_empty_section_within_another_one() {
    let image = uki()
        .section(".linux", [b'a'; 0x600])
        .section(".osrel", "")
        .but(|section| {
            section.pointer_to_raw_data = 0x400;
            section.virtual_address = 0x1100;
        })
        .section(".cmdline", "quiet");
    assert!(Uki::read(&image.build()).is_ok());
}
