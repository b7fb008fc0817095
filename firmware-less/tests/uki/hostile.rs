//! Images made by chance and malice: nothing panics, and what is accepted is sound.

use firmware_less::{
    testing::{
        Image, Random, assert_kernel_is_sound, assert_uki_is_sound, assert_verdicts_are_sound,
        bzimage, uki,
    },
    uki::Uki,
};

/// Mutated images in all.
const MUTATIONS: usize = 200_000;
/// Where the PE header of the images here is.
const PE_HEADER: usize = 0x40;
/// Where their section table is.
const TABLE: usize = PE_HEADER + 24 + 240;
/// Where, by hand, the fields of the headers before the section table are.
const HEADER_FIELDS: [(usize, usize); 16] = [
    (0, 2),
    (0x3c, 4),
    (PE_HEADER, 4),
    (PE_HEADER + 4, 2),
    (PE_HEADER + 6, 2),
    (PE_HEADER + 12, 4),
    (PE_HEADER + 16, 4),
    (PE_HEADER + 20, 2),
    (PE_HEADER + 22, 2),
    (PE_HEADER + 24, 2),
    (PE_HEADER + 24 + 32, 4),
    (PE_HEADER + 24 + 36, 4),
    (PE_HEADER + 24 + 56, 4),
    (PE_HEADER + 24 + 60, 4),
    (PE_HEADER + 24 + 68, 2),
    (PE_HEADER + 24 + 108, 4),
];
/// The fields of a section table entry.
const SECTION_FIELDS: [(usize, usize); 7] =
    [(0, 8), (6, 2), (8, 4), (12, 4), (16, 4), (20, 4), (36, 4)];
/// The setup header's fields, from the kernel's start.
const KERNEL_FIELDS: [(usize, usize); 16] = [
    (0x1f1, 1),
    (0x1f4, 4),
    (0x1fe, 2),
    (0x201, 1),
    (0x202, 4),
    (0x206, 2),
    (0x211, 1),
    (0x230, 4),
    (0x234, 1),
    (0x236, 2),
    (0x238, 4),
    (0x248, 4),
    (0x24c, 4),
    (0x258, 8),
    (0x260, 4),
    (0x264, 4),
];

pub(crate) fn image() -> Image {
    uki()
        .section(".text", [0xcc; 0x10])
        .section(".sdmagic", "#### LoaderInfo: systemd-stub 257 ####")
        .section(".osrel", "ID=a")
        .section(".cmdline", "root=/dev/vda quiet\n")
        .section(".linux", bzimage().build())
        .section(".initrd", "cpio")
        .section(".profile", "ID=main")
        .section(".profile", "ID=other")
        .section(".cmdline", "")
}

/// Every field of the image's headers: where it is, and how many bytes it has.
pub(crate) fn fields() -> Vec<(usize, usize)> {
    let entries = (0..9).map(|place| TABLE + 40 * place);
    let in_entries =
        entries.flat_map(|entry| SECTION_FIELDS.map(|(offset, len)| (entry + offset, len)));
    HEADER_FIELDS.into_iter().chain(in_entries).collect()
}

pub(crate) fn mutate(random: &mut Random, file: &mut [u8], (offset, len): (usize, usize)) {
    let mut field = [0; 8];
    field[..len].copy_from_slice(&file[offset..offset + len]);
    let value = random.edge(u64::from_le_bytes(field), file.len() as u64);
    file[offset..offset + len].copy_from_slice(&value.to_le_bytes()[..len]);
}

/// Changes one to four of `fields` at a time; returns how many were accepted.
fn mutations(original: &[u8], fields: &[(usize, usize)], is_sound: fn(&[u8]) -> bool) -> usize {
    mutations_of(original, MUTATIONS, fields, is_sound)
}

fn mutations_of(
    original: &[u8],
    count: usize,
    fields: &[(usize, usize)],
    is_sound: fn(&[u8]) -> bool,
) -> usize {
    let mut random = Random::seeded(0x756b_6976_6d00);
    let mut accepted = 0;
    for _ in 0..count {
        let mut file = original.to_vec();
        for _ in 0..=random.below(4) {
            let field = random.one_of(fields);
            mutate(&mut random, &mut file, field);
        }
        accepted += usize::from(is_sound(&file));
    }
    accepted
}

#[test]
fn mutated_headers_never_panic_and_what_is_accepted_is_sound() {
    let file = image().build();
    assert!(assert_uki_is_sound(&file));
    let accepted = mutations(&file, &fields(), assert_uki_is_sound);
    assert!((MUTATIONS / 100..MUTATIONS / 2).contains(&accepted), "{accepted} accepted");
}

/// Fewer, since there are eleven readings.
#[test]
fn mutated_headers_never_panic_by_any_reading() {
    let file = image().build();
    assert!(assert_verdicts_are_sound(&file));
    let accepted = mutations_of(&file, MUTATIONS / 10, &fields(), assert_verdicts_are_sound);
    assert!((MUTATIONS / 100..MUTATIONS / 10).contains(&accepted), "{accepted} accepted");
}

#[test]
fn mutated_setup_headers_never_panic_and_what_is_accepted_is_sound() {
    let is_sound = |file: &[u8]| {
        let whole = firmware_less::range::FileRange::new(0, file.len() as u64).unwrap();
        assert_kernel_is_sound(file, whole)
    };
    let accepted = mutations(&bzimage().build(), &KERNEL_FIELDS, is_sound);
    assert!((MUTATIONS / 100..MUTATIONS * 3 / 4).contains(&accepted), "{accepted} accepted");
}

#[test]
fn a_byte_changed_anywhere_in_the_headers_never_panics() {
    let file = image().build();
    for offset in 0..TABLE + 9 * 40 {
        for value in [0, 1, 0x2f, 0x7f, 0x80, 0xff] {
            let mut file = file.clone();
            file[offset] = value;
            let _accepted = assert_uki_is_sound(&file);
        }
    }
}

#[test]
fn an_image_cut_anywhere_is_refused() {
    let file = image().build();
    let content = u64::from(Uki::read(&file).unwrap().headers().size_of_headers);
    let last = usize::try_from(content).unwrap() + 1;
    for len in (0..last).chain([file.len() - 0x200, file.len() - 1]) {
        assert!(Uki::read(&file[..len]).is_err(), "cut at {len:#x}");
    }
}

#[test]
fn names_that_point_everywhere_cost_nothing() {
    let mut image = uki().section(".linux", "kernel");
    for _ in 1..u16::MAX {
        image = image.section("/0", "");
    }
    assert_eq!(Uki::read(&image.build()).unwrap().sections().len(), 65535);
}
