use super::*;
use crate::testing::{Random, vmlinux};

fn error(file: &[u8]) -> String {
    Vmlinux::read(file).unwrap_err().to_string()
}

#[test]
fn a_kernel_is_its_segments_with_zeros_between() {
    let file = vmlinux().build();
    let vmlinux = Vmlinux::read(&file).unwrap();
    assert_eq!(vmlinux.range(), GuestRange::constant(0x100_0000, 0x20_3210));
    assert_eq!(vmlinux.entry_offset(), 0x10);
    let mut wanted = vec![0xcc; 0x1800];
    wanted.resize(0x20_0000, 0);
    wanted.resize(0x20_0800, 0xda);
    // The second segment goes up: 2 MiB apart in memory, 8 KiB in the file.
    assert_eq!(vmlinux.image(file.clone()), wanted);
    assert_eq!(vmlinux.image_aside(&file), wanted);
}

#[test]
fn segments_that_come_down_are_moved_in_place() {
    let file = vmlinux()
        .segments(&[
            (0x100_0000, &[1; 0x1000], 0x1000),
            (0x100_1000, &[2; 0x10], 0x10),
            (0x100_1800, &[3; 0x1000], 0x9000),
        ])
        .build();
    let vmlinux = Vmlinux::read(&file).unwrap();
    let image = vmlinux.image(file.clone());
    assert_eq!(image, vmlinux.image_aside(&file));
    assert_eq!(image.len(), 0x2800);
    assert_eq!(image[0x1010..0x1800], [0; 0x7f0]);
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
        if let Ok(vmlinux) = Vmlinux::read(&file[..len]) {
            let image = vmlinux.image(file[..len].to_vec());
            assert!(image.len() as u64 <= vmlinux.range().len());
        }
    }
    let mut random = Random::seeded(11);
    for _ in 0..5_000 {
        let mut file = vmlinux().build();
        for _ in 0..=random.below(3) {
            let at = random.below(0xb0);
            file[at] = u8::try_from(random.below(256)).unwrap();
        }
        if let Ok(vmlinux) = Vmlinux::read(&file)
            && vmlinux.range().len() < 16 << 20
        {
            let image = vmlinux.image_aside(&file);
            assert!(image.len() as u64 <= vmlinux.range().len());
            assert_eq!(vmlinux.image(file), image);
        }
    }
}
