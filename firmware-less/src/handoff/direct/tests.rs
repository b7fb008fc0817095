use super::*;
use crate::{
    cpu_state::CpuState,
    kernel::unpack,
    plan::{BootPlan, Content, FileId, FileSlice},
    range::{FileRange, index},
    testing::{bzimage, vmlinux},
};

const SEED: [u8; 32] = [0x5a; 32];
const MIB: u64 = 1 << 20;

fn image(payload: &[u8]) -> Vec<u8> {
    bzimage().payload(payload).build()
}

/// The hand-off of a kernel in a hand-made bzImage, with an initrd of 1 MiB.
fn direct(machine: &Machine, image: &[u8], cmdline: &str, wish: Wish) -> Result<Direct, Error> {
    let range = FileRange::first(image.len() as u64);
    let kernel = Kernel::read(image, range).unwrap();
    let file = unpack(image, &kernel, machine.memory(), 2).unwrap();
    let unpacked = Unpacked::read(FileId(1), &file).unwrap().with_relocations(&file).unwrap();
    let handed = handed(range, cmdline);
    let options = kexec::Options { flavour: kexec::Flavour::Modern, seed: SEED };
    let platform = Platform::of(machine);
    lay_out((machine, platform), (&kernel, &unpacked), &handed, &options, wish)
}

fn handed(kernel: FileRange, cmdline: &str) -> Handed {
    use crate::uki::handed::{InitrdOrigin, InitrdPart};
    let slice = |range| FileSlice { file: FileId::UKI, range };
    Handed {
        kernel: slice(kernel),
        initrd: vec![InitrdPart {
            origin: InitrdOrigin::User(0),
            content: Content::File(slice(FileRange::first(MIB))),
            padded_len: MIB,
        }],
        cmdline: cmdline.into(),
        cmdline_padding: 0,
        notes: Vec::new(),
    }
}

fn machine() -> Machine {
    Machine::new(512 * MIB, 1).unwrap()
}

fn plan(direct: Direct) -> BootPlan {
    direct.laid_out.plan(None).unwrap()
}

/// The byte of `boot_params` at `offset`.
fn boot_params(plan: &BootPlan, offset: usize) -> u8 {
    match plan.placement("params").unwrap().pieces.first().map(|piece| &piece.content) {
        Some(Content::Bytes(bytes)) => bytes[offset],
        other => panic!("params are {other:?}"),
    }
}

/// The kernel as it is to be in memory, out of the `file` that it is unpacked to.
fn kernel_bytes(plan: &BootPlan, file: &[u8]) -> Vec<u8> {
    let kernel = plan.placement("kernel").unwrap();
    let mut bytes = vec![0; index(kernel.range.len())];
    for piece in &kernel.pieces {
        let Content::File(slice) = piece.content else { panic!("{piece:?}") };
        assert_eq!(slice.file, FileId(1));
        let part = &file[index(slice.range.offset())..index(slice.range.end())];
        bytes[index(piece.offset)..][..part.len()].copy_from_slice(part);
    }
    kernel.relocation.as_ref().expect("it is moved").apply(bytes.as_mut_slice());
    bytes
}

#[test]
fn without_kaslr_a_kernel_is_entered_where_it_is_linked_for() {
    let direct = direct(&machine(), &image(&vmlinux().build()), "", Wish::Off).unwrap();
    assert_eq!(direct.kaslr, Kaslr { physical: 16 * MIB, virtual_offset: None });
    let plan = plan(direct);
    assert_eq!(plan.cpu().registers.rip, 0x100_0010);
    assert_eq!(plan.placement("kernel").unwrap().range, GuestRange::constant(16 * MIB, 0x20_4000));
    // type_of_loader, loadflags
    assert_eq!((boot_params(&plan, 0x210), boot_params(&plan, 0x211)), (0xff, 0));
}

#[test]
fn all_but_the_kernel_is_where_kexec_puts_it_and_the_processor_as_it_leaves_it() {
    let image = image(&vmlinux().build());
    let kernel = Kernel::read(&image[..], FileRange::first(image.len() as u64)).unwrap();
    let options = kexec::Options { flavour: kexec::Flavour::Modern, seed: SEED };
    let machine = machine();
    let handed = handed(FileRange::first(image.len() as u64), "quiet");
    let kexec =
        kexec::lay_out(&machine, Platform::of(&machine), &kernel, &handed, &options).unwrap();
    let kexec = kexec.plan(None).unwrap();
    let direct = plan(direct(&machine, &image, "quiet", Wish::Off).unwrap());
    for name in ["purgatory", "page tables"] {
        assert_eq!(kexec.placement(name), direct.placement(name), "{name}");
    }
    assert_eq!(kexec.placement("params").unwrap().range, direct.placement("params").unwrap().range);
    let without_rip = |plan: &BootPlan| {
        let mut cpu: CpuState = plan.cpu().clone();
        cpu.registers.rip = 0;
        cpu
    };
    assert_eq!(without_rip(&kexec), without_rip(&direct));
}

#[test]
fn with_kaslr_a_kernel_is_moved_relocated_and_told_so() {
    let place = 0x8100_0100u64;
    let code = {
        let mut code = vec![0; 0x1000];
        code[0x100..0x108].copy_from_slice(&(0xffff_ffff_0000_0000 | place).to_le_bytes());
        code[0x200..0x204].copy_from_slice(&0x8100_0300u32.to_le_bytes());
        code
    };
    let payload = vmlinux().segments(&[(0x100_0000, &code, 0x30_0000)]).build();
    let direct = direct(&machine(), &image(&payload), "quiet", Wish::On(SEED)).unwrap();
    let Kaslr { physical, virtual_offset: Some(offset) } = direct.kaslr else {
        panic!("{:?}", direct.kaslr)
    };
    assert!(physical > 16 * MIB && physical.is_multiple_of(2 * MIB), "{physical:#x}");
    assert!(offset > 0 && offset.is_multiple_of(2 * MIB), "{offset:#x}");
    let plan = plan(direct);
    assert_eq!(plan.cpu().registers.rip, physical + 0x10);
    assert_eq!(boot_params(&plan, 0x211), 2);
    let bytes = kernel_bytes(&plan, &payload);
    let wide = u64::from_le_bytes(bytes[0x100..0x108].try_into().unwrap());
    let narrow = u32::from_le_bytes(bytes[0x200..0x204].try_into().unwrap());
    assert_eq!(wide, 0xffff_ffff_8100_0100 + offset);
    assert_eq!(u64::from(narrow), 0x8100_0300 + offset);
}

#[test]
fn the_same_seed_gives_the_same_addresses_and_another_gives_others() {
    let image = image(&vmlinux().build());
    let kaslr = |wish| direct(&machine(), &image, "", wish).unwrap().kaslr;
    assert_eq!(kaslr(Wish::On(SEED)), kaslr(Wish::On(SEED)));
    assert_ne!(kaslr(Wish::On(SEED)), kaslr(Wish::On([1; 32])));
}

#[test]
fn the_command_line_and_a_kernel_without_relocations_rule_kaslr_out() {
    let fixed = Kaslr { physical: 16 * MIB, virtual_offset: None };
    let kaslr = |payload: &[u8], line| {
        direct(&machine(), &image(payload), line, Wish::On(SEED)).unwrap().kaslr
    };
    assert_eq!(kaslr(&vmlinux().build(), "nokaslr"), fixed);
    assert_eq!(kaslr(&vmlinux().relocations(&[]).build(), ""), fixed);
    let limited = kaslr(&vmlinux().build(), "mem=256M");
    assert_eq!(limited.physical, 16 * MIB);
    assert!(limited.virtual_offset.is_some());
}

#[test]
fn what_stands_in_the_way_is_said() {
    let error = |machine: &Machine, image: &[u8], wish| {
        direct(machine, image, "", wish).unwrap_err().to_string()
    };
    let odd = vmlinux().segments(&[(0x100_1000, &[1; 0x100], 0x100)]).entry(0x100_1000);
    assert_eq!(
        error(&machine(), &image(&odd.build()), Wish::Off),
        "the unpacked kernel is linked for 0x1001000, which is no multiple of 2 MiB"
    );
    let small = Machine::new(32 * MIB, 1).unwrap();
    let large = vmlinux().segments(&[(0x100_0000, &[1], 20 << 20)]).build();
    for wish in [Wish::Off, Wish::On(SEED)] {
        assert_eq!(
            error(&small, &image(&large), wish),
            "no room for the unpacked kernel: it needs 0x1400000 bytes of free RAM at or above \
             0x1000000, aligned to 0x200000"
        );
    }
    let elsewhere = vmlinux().relocations(&[&[0x8800_0000], &[]]);
    assert!(
        error(&machine(), &image(&elsewhere.build()), Wish::On(SEED))
            .contains("is not in the kernel")
    );
    let five = machine().with_five_level(true);
    let old = bzimage().payload(&vmlinux().build()).with(|header| header.xloadflags = 0x3f);
    assert!(error(&five, &old.build(), Wish::Off).contains("XLF_5LEVEL_ENABLED"));
}

#[test]
fn five_levels_are_asked_of_the_kernel_only_where_the_machine_has_them() {
    let cr4 = |machine: &Machine, xloadflags| {
        let kernel = bzimage().payload(&vmlinux().build());
        let image = kernel.with(|header| header.xloadflags = xloadflags).build();
        direct(machine, &image, "", Wish::Off).map(|direct| plan(direct).cpu().cr4)
    };
    for xloadflags in [0x1f, 0x3f, 0x7f] {
        assert_eq!(cr4(&machine(), xloadflags).unwrap(), 0x20, "{xloadflags:#x}");
    }
    let five = machine().with_five_level(true);
    assert_eq!(cr4(&five, 0x7f).unwrap(), 0x1020);
    assert!(cr4(&five, 0x1f).unwrap_err().to_string().contains("without XLF_5LEVEL:"));
}

#[test]
fn an_initrd_has_a_place_and_none_has_none() {
    let image = image(&vmlinux().build());
    let range = FileRange::first(image.len() as u64);
    let kernel = Kernel::read(&image[..], range).unwrap();
    let file = vmlinux().build();
    let unpacked = Unpacked::read(FileId(1), &file).unwrap().with_relocations(&file).unwrap();
    let machine = machine();
    let options = kexec::Options { flavour: kexec::Flavour::Modern, seed: SEED };
    let initrd = |handed: &Handed, wish| {
        let (platform, parts) = (Platform::of(&machine), (&kernel, &unpacked));
        let direct = lay_out((&machine, platform), parts, handed, &options, wish).unwrap();
        direct.laid_out.layout().initrd
    };
    let with = handed(range, "quiet");
    let without = Handed { initrd: Vec::new(), ..with.clone() };
    for wish in [Wish::Off, Wish::On(SEED)] {
        let range = initrd(&with, wish).expect("a place");
        assert!(range.start() >= 16 * MIB && range.len() == MIB, "{range}");
        assert_eq!(initrd(&without, wish), None);
    }
}
