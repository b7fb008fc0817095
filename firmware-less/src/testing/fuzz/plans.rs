//! A target that takes the bytes for a machine, and for a kernel and what it is handed.

use super::Input;
use crate::{
    handoff::{
        direct::{self, Wish},
        kexec::{self, Flavour, Options, Platform},
    },
    kernel::{Kernel, Unpacked},
    machine::{Board, LeafSize, Machine},
    pci::Kind,
    plan::{BootPlan, Content, FileId, FileSlice},
    range::FileRange,
    testing::{bzimage, vmlinux},
    uki::{
        Handed,
        handed::{InitrdOrigin, InitrdPart, TEXT_MAX},
    },
};

const MIB: u64 = 1 << 20;

/// Any hand-off that is laid out is one that a kernel can be entered by.
pub(super) fn plan(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let Some(machine) = machine(&mut input) else { return };
    let flavour = input.one_of(&[Flavour::Modern, Flavour::Legacy]);
    let wish = input.one_of(&[Wish::Off, Wish::On([7; 32]), Wish::VirtualOnly([9; 32])]);
    let is_direct = input.flag();
    let linked = input.number();
    let memsz = input.number();
    let handed = handed(&mut input);
    let image = kernel(&mut input);
    let whole = FileRange::first(image.len() as u64);
    let Ok(kernel) = Kernel::read(&image, whole) else { return };
    let handed = Handed { kernel: FileSlice { file: FileId::UKI, range: whole }, ..handed };
    let options = Options { flavour, seed: [0x5a; 32] };
    let platform = Platform::of(&machine);
    let laid_out = if is_direct {
        let linked = linked.saturating_mul(2 * MIB);
        let file = vmlinux().segments(&[(linked, &[0xcc; 0x20], memsz)]).entry(linked);
        let file = file.relocations(&[]).build();
        let unpacked = Unpacked::read(FileId(1), &file);
        let Ok(unpacked) = unpacked.and_then(|unpacked| unpacked.with_relocations(&file)) else {
            return;
        };
        let who = (&kernel, &unpacked);
        direct::lay_out((&machine, platform), who, &handed, &options, wish)
            .ok()
            .map(|direct| direct.laid_out)
    } else {
        kexec::lay_out(&machine, platform, &kernel, &handed, &options).ok()
    };
    if let Some(laid_out) = laid_out {
        // A kernel that stays where it is linked for may be linked for where the page
        // tables are; the plan is then refused, and says so.
        let Ok(plan) = laid_out.plan(None) else {
            assert!(is_direct, "what kexec places freely overlaps");
            return;
        };
        assert_plan_is_sound(&machine, &plan, &handed);
    }
}

fn machine(input: &mut Input<'_>) -> Option<Machine> {
    // Larger ones are the same, but for many page tables.
    let memory = (input.number() % 12_000).checked_mul(2 * MIB)?;
    let machine = Machine::new(memory, 1 + u32::from(input.byte())).ok()?;
    let kinds = [Kind::Disk, Kind::Network, Kind::Share, Kind::Random, Kind::Console, Kind::Vsock];
    let devices = (0..input.byte() % 32).map(|_| input.one_of(&kinds)).collect();
    let machine = machine
        .with_leaf_size(input.one_of(&[LeafSize::Mib2, LeafSize::Gib1]))
        .with_five_level(input.flag())
        .with_board(input.one_of(&[Board::Bare, Board::Q35]))
        .with_power_button(input.flag());
    machine.with_devices(devices).ok()
}

fn handed(input: &mut Input<'_>) -> Handed {
    let initrd = match input.number() {
        0 => Vec::new(),
        len => vec![InitrdPart {
            origin: InitrdOrigin::User(0),
            content: Content::File(FileSlice { file: FileId(1), range: FileRange::first(len) }),
            padded_len: len,
        }],
    };
    Handed {
        kernel: FileSlice { file: FileId::UKI, range: FileRange::EMPTY },
        initrd,
        cmdline: input.bytes().to_vec(),
        // Of a section no more is read than that.
        cmdline_padding: input.number() % u64::from(TEXT_MAX),
        notes: Vec::new(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "any bits do")]
fn kernel(input: &mut Input<'_>) -> Vec<u8> {
    let edited = bzimage().with(|header| {
        header.init_size = input.number() as u32;
        header.pref_address = input.number();
        header.kernel_alignment = 1 << (input.byte() % 32);
        header.cmdline_size = input.number() as u32;
        header.initrd_addr_max = input.number() as u32;
        header.xloadflags = u16::from(input.byte());
        header.relocatable_kernel = u8::from(input.flag());
    });
    edited.build()
}

fn assert_plan_is_sound(machine: &Machine, plan: &BootPlan, handed: &Handed) {
    let ranges: Vec<_> = plan.placements().iter().map(|placement| placement.range).collect();
    for pair in ranges.windows(2) {
        assert!(pair[0].end() <= pair[1].start(), "{pair:?}");
    }
    for range in &ranges {
        assert!(machine.ram().any(|ram| ram.contains(*range)), "{range} is no RAM");
    }
    let kernel = plan.placement("kernel").expect("there is a kernel").range;
    assert!(kernel.contains_address(plan.cpu().registers.rip));
    let tables = plan.placement("page tables").expect("there are page tables").range;
    assert_eq!(plan.cpu().cr3 & !0xfff, tables.start());
    let initrd = plan.placement("initrd").map(|placement| placement.range.len());
    match handed.initrd_len() {
        0 => assert_eq!(initrd, None),
        len => assert!(initrd.is_some_and(|found| (len..len + 4096).contains(&found))),
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let number = |number: u64| [&[8][..], &number.to_le_bytes()].concat();
    let seed = |memory: u64, is_direct: u8| {
        [
            &number(memory)[..],
            // One vCPU, two devices, leaves, levels, board, button.
            &[0, 2, 0, 1, 0, 0, 0, 1],
            // Flavour, wish, direct.
            &[0, 1, is_direct],
            &number(8),
            &number(0x30_0000),
            &number(0x12_3456),
            &[5, b'q', b'u', b'i', b'e', b't', 0],
            &number(3 << 20),
            &number(16 << 20),
            &[21],
            &number(2047),
            &number(0x7fff_ffff),
            &[0x7f, 1],
        ]
        .concat()
    };
    vec![seed(256, 0), seed(256, 1), seed(3000, 0), seed(16, 1)]
}
