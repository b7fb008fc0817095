use super::*;
use crate::testing::{Random, vmlinux};

fn error(file: &[u8]) -> String {
    Vmlinux::read(file).unwrap_err().to_string()
}

#[test]
fn a_kernel_s_segments_go_where_they_are_linked_for_apart() {
    let vmlinux = Vmlinux::read(&vmlinux().build()).unwrap();
    assert_eq!(vmlinux.range(), GuestRange::constant(0x100_0000, 0x20_3210));
    assert_eq!(vmlinux.entry_offset(), 0x10);
    let piece = |offset, from, len| Piece {
        offset,
        content: Content::File(FileSlice {
            file: FileId(3),
            range: FileRange::new(from, len).unwrap(),
        }),
    };
    let wanted = [piece(0, 0x1000, 0x1800), piece(0x20_0000, 0x3000, 0x800)];
    assert_eq!(vmlinux.pieces(FileId(3)), wanted);
}

#[test]
fn a_segment_of_zeros_alone_is_no_piece() {
    let file = vmlinux().segments(&[(0x100_0000, &[1; 32], 32), (0x110_0000, &[], 0x4000)]);
    let vmlinux = Vmlinux::read(&file.build()).unwrap();
    assert_eq!(vmlinux.range(), GuestRange::constant(0x100_0000, 0x10_4000));
    assert_eq!(vmlinux.pieces(FileId::UKI).len(), 1);
}

#[test]
fn what_follows_the_section_headers_is_the_table_of_relocations() {
    let file = vmlinux().build();
    let table = Vmlinux::read(&file).unwrap().relocations();
    assert_eq!((table.end(), table.len()), (file.len() as u64, 16));
    let file = vmlinux().relocations(&[]).build();
    assert!(Vmlinux::read(&file).unwrap().relocations().is_empty());
}

#[test]
fn what_no_kernel_is_is_said() {
    assert_eq!(
        error(b"\x7fELF"),
        "what the kernel's payload unpacks to is no 64-bit ELF file for x86-64"
    );
    assert_eq!(error(&vmlinux().machine(183).build()), error(b""));
    assert_eq!(
        error(&vmlinux().segments(&[]).build()),
        "the unpacked kernel has 0 program headers, expected 1 to 64"
    );
    assert_eq!(
        error(&vmlinux().entry(0x200_0000).build()),
        "the unpacked kernel's entry point 0x2000000 is not in [0x1000000, 0x1203210)"
    );
    let over = vmlinux().segments(&[(0x100_0000, &[1], 0x2000), (0x100_1000, &[1], 1)]);
    assert_eq!(
        error(&over.build()),
        "the unpacked kernel's segment at [0x1001000, 0x1001001) is not above the one at \
         [0x1000000, 0x1002000)"
    );
    let large = vmlinux().segments(&[(0x100_0000, &[1], 0x20), (0x6000_0000, &[1], 1)]);
    assert!(error(&large.build()).contains("a kernel takes 0x40000000 at most"));
    let less = vmlinux().segments(&[(0x100_0000, &[1; 0x20], 0x1f)]);
    assert!(error(&less.build()).contains("takes 0x1f bytes of memory and 0x20 from"));
}

#[test]
fn a_file_cut_or_changed_anywhere_is_read_or_refused_and_never_more() {
    let file = vmlinux().build();
    for len in (0..file.len()).step_by(7) {
        assert_is_sound(&file[..len]);
    }
    let mut random = Random::seeded(11);
    for _ in 0..20_000 {
        let mut file = vmlinux().build();
        for _ in 0..=random.below(3) {
            let at = random.below(0xb0);
            file[at] = u8::try_from(random.below(256)).unwrap();
        }
        assert_is_sound(&file);
    }
}

/// That what is read of `file`, if anything, is in it, in order and in its range.
fn assert_is_sound(file: &[u8]) {
    let Ok(vmlinux) = Vmlinux::read(file) else { return };
    let mut end = 0;
    for piece in vmlinux.pieces(FileId::UKI) {
        let Content::File(slice) = piece.content else { panic!("{piece:?}") };
        assert!(slice.range.end() <= file.len() as u64);
        assert!(piece.offset >= end);
        end = piece.offset + slice.range.len();
    }
    assert!(end <= vmlinux.range().len());
    assert!(vmlinux.entry_offset() < vmlinux.range().len());
    assert!(vmlinux.relocations().end() <= file.len() as u64);
}

#[test]
fn headers_of_another_size_are_of_no_kernel() {
    let sound = vmlinux().build();
    // e_ident, e_ehsize and e_phentsize.
    for at in [0, 4, 5, 0x34, 0x36] {
        let mut file = sound.clone();
        file[at] ^= 1;
        assert!(matches!(Vmlinux::read(&file), Err(Error::NotElf)), "{at:#x}");
    }
}

#[test]
fn a_kernel_has_up_to_64_segments_which_may_touch_and_be_empty() {
    let with = |count: u64| {
        let bytes = [1_u8];
        let segments: Vec<_> =
            (0..count).map(|number| (0x100_0000 + number * 16, &bytes[..], 16)).collect();
        Vmlinux::read(&vmlinux().segments(&segments).build())
    };
    assert_eq!(with(64).unwrap().range(), GuestRange::constant(0x100_0000, 0x400));
    assert!(matches!(with(65), Err(Error::Segments { found: 65 })));
    let empty = vmlinux().segments(&[(0x100_0000, &[1; 32], 32), (0x900_0000, &[], 0)]).build();
    assert_eq!(Vmlinux::read(&empty).unwrap().range(), GuestRange::constant(0x100_0000, 32));
    let mut note = vmlinux().build();
    // The second segment's p_type: PT_NOTE.
    note[64 + 56] = 4;
    assert_eq!(Vmlinux::read(&note).unwrap().range(), GuestRange::constant(0x100_0000, 0x1800));
}
