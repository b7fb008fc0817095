//! The hand-off against what real kernels were seen to hand over.

mod shown;

use super::*;
use crate::{
    e820::{Entry, Kind},
    plan::FileId,
    range::{FileRange, index},
    uki::handed::{InitrdOrigin, InitrdPart},
};

/// A kernel that does nothing: two setup sectors, 64 KiB of code, and a header
/// like those of Debian's kernels.
fn kernel() -> Kernel {
    Kernel::read(&image(0x3c3_b000, 2047), FileRange::first(KERNEL_LEN)).expect("a sound kernel")
}

const KERNEL_LEN: u64 = 1024 + 0x1_0000;

fn image(init_size: u32, cmdline_size: u32) -> Vec<u8> {
    let mut image = vec![0; index(KERNEL_LEN)];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[1]); // setup_sects
    put(0x1f4, &0x1000u32.to_le_bytes()); // syssize
    put(0x1fe, &[0x55, 0xaa]);
    put(0x200, &[0xeb, 0x6a]);
    put(0x202, b"HdrS");
    put(0x206, &0x20fu16.to_le_bytes());
    put(0x211, &[1]); // loadflags
    put(0x214, &0x10_0000u32.to_le_bytes()); // code32_start
    put(0x22c, &0x7fff_ffffu32.to_le_bytes());
    put(0x230, &0x20_0000u32.to_le_bytes());
    put(0x234, &[1, 21]);
    put(0x236, &0x7fu16.to_le_bytes());
    put(0x238, &cmdline_size.to_le_bytes());
    put(0x258, &0x100_0000u64.to_le_bytes());
    put(0x260, &init_size.to_le_bytes());
    // Behind the header's end at 0x26c: must not be copied.
    put(0x26c, &[0xee; 4]);
    image
}

fn handed(cmdline: &str, initrd_len: u64) -> Handed {
    let slice = |len| FileSlice { file: FileId::UKI, range: FileRange::first(len) };
    let part = InitrdPart {
        origin: InitrdOrigin::User(0),
        content: Content::File(slice(initrd_len)),
        padded_len: initrd_len,
    };
    Handed {
        kernel: slice(KERNEL_LEN),
        initrd: if initrd_len == 0 { Vec::new() } else { vec![part] },
        cmdline: cmdline.into(),
        cmdline_padding: 0,
        notes: Vec::new(),
    }
}

/// The machine on which the vectors were measured: q35 with 512 MiB.
fn measured_platform() -> Platform {
    let entry = |&(start, end, kind): &(u64, u64, Kind)| Entry {
        range: GuestRange::between(start, end).unwrap(),
        kind,
    };
    let entries = [
        (0, 0x9_fc00, Kind::Ram),
        (0x9_fc00, 0xa_0000, Kind::Reserved),
        (0xf_0000, 0x10_0000, Kind::Reserved),
        (0x10_0000, 0x1ffe_0000, Kind::Ram),
        (0x1ffe_0000, 0x2000_0000, Kind::Reserved),
        (0xb000_0000, 0xc000_0000, Kind::Reserved),
        (0xfed1_c000, 0xfed2_0000, Kind::Reserved),
        (0xfffc_0000, 0x1_0000_0000, Kind::Reserved),
        (0xfd_0000_0000, 0x100_0000_0000, Kind::Reserved),
    ];
    let memory_map = MemoryMap::from_entries(entries.iter().map(entry).collect());
    Platform { memory_map, rsdp: 0xf_59e0, firmware: Vec::new() }
}

fn machine() -> Machine {
    Machine::new(512 << 20, 1).unwrap()
}

const SEED: [u8; SEED_LEN] = [0xa5; SEED_LEN];

fn options(flavour: Flavour) -> Options {
    Options { flavour, seed: SEED }
}

fn measured(flavour: Flavour) -> LaidOut {
    let handed = handed("console=ttyS0 probe=1", 0x3_0d8d);
    lay_out(&machine(), measured_platform(), &kernel(), &handed, &options(flavour)).unwrap()
}

/// A placement's bytes as they will be in memory, from its start.
fn bytes_of(placement: &Placement) -> Vec<u8> {
    let mut memory = vec![0; index(placement.range.len())];
    for piece in &placement.pieces {
        if let Content::Bytes(bytes) = &piece.content {
            memory[index(piece.offset)..][..bytes.len()].copy_from_slice(bytes);
        }
    }
    memory
}

/// The fields that a hand-off measured on Linux 7.2 (modern) or 6.1 (legacy)
/// has in its params buffer; every byte not named is zero or the image's header.
fn measured_fields(flavour: Flavour) -> Vec<(usize, Vec<u8>)> {
    let (initrd, cmdline, seed) = match flavour {
        Flavour::Modern => (0x1ffa_8000u32, 0x1ffd_a000u32, 0x1ffd_a0b0u64),
        Flavour::Legacy => (0x1ffa_e000, 0x9_9000, 0x9_90b0),
    };
    let e820: Vec<u8> = measured_platform()
        .memory_map
        .entries()
        .iter()
        .flat_map(|entry| {
            let (start, len) = (entry.range.start().to_le_bytes(), entry.range.len().to_le_bytes());
            [start.as_slice(), &len, &(entry.kind as u32).to_le_bytes()].concat()
        })
        .collect();
    let initrd_fields = [initrd.to_le_bytes(), 0x3_0d8du32.to_le_bytes()].concat();
    vec![
        (0x002, vec![0x00, 0xfc]),
        (0x070, vec![0xe0, 0x59, 0x0f]),
        (0x1e0, vec![0x7f, 0xfb, 0x07, 0x00]),
        (0x1e8, vec![9]),
        (0x1f1, image(0x3c3_b000, 2047)[0x1f1..0x26c].to_vec()),
        (0x210, vec![0xd0, 0x00]),
        (0x218, initrd_fields),
        (0x228, cmdline.to_le_bytes().to_vec()),
        (0x250, seed.to_le_bytes().to_vec()),
        (0x2d0, e820),
        (0x1000, b"console=ttyS0 probe=1\0".to_vec()),
        (0x10b0, [0u64.to_le_bytes().as_slice(), &[9, 0, 0, 0, 32, 0, 0, 0], &SEED].concat()),
    ]
}

#[test]
fn the_params_buffer_is_byte_for_byte_what_real_kernels_hand_over() {
    for flavour in [Flavour::Modern, Flavour::Legacy] {
        let kexec = measured(flavour);
        let mut wanted = vec![0; 0x2000];
        for (at, bytes) in measured_fields(flavour) {
            wanted[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        let found = bytes_of(&kexec.digested()[0]);
        let differing: Vec<_> = (0..0x2000)
            .filter(|&at| found[at] != wanted[at])
            .map(|at| format!("{at:#x}"))
            .collect();
        assert!(differing.is_empty(), "{flavour:?} differs at {differing:?}");
        // Content ends with the seed's node.
        assert_eq!(kexec.digested()[0].pieces[0].content.len(), 0x10e0);
    }
}

#[test]
fn segments_lie_where_real_kernels_put_them() {
    let starts = |flavour| {
        let layout = measured(flavour).layout().clone();
        let Layout { purgatory, params, kernel, initrd, .. } = layout;
        [purgatory, params, kernel, initrd.unwrap()].map(GuestRange::start)
    };
    assert_eq!(starts(Flavour::Modern), [0x1ffd_b000, 0x1ffd_9000, 0x1c20_0000, 0x1ffa_8000]);
    assert_eq!(starts(Flavour::Legacy), [0x9_a000, 0x9_8000, 0x1c20_0000, 0x1ffa_e000]);
}

#[test]
fn registers_point_where_purgatory_leaves_them() {
    let cpu = measured(Flavour::Modern).plan(None).unwrap().cpu().clone();
    assert_eq!(cpu.registers.rip, 0x1c20_0200);
    assert_eq!(cpu.registers.rsi, 0x1ffd_9000);
    assert_eq!(cpu.registers.rsp, 0x1ffd_e000);
    assert_eq!(cpu.gdtr.base, 0x1ffd_c770);
    assert_eq!(cpu.gdtr.limit, 0x1f);
    assert_eq!(cpu.cr3, layout::PAGE_TABLES);
    assert_eq!((cpu.cr0, cpu.cr4, cpu.efer), (0x8000_0033, 0x20, 0xd01));
}

/// What is mapped with leaves of 1 GiB on the machine of the measurements with so much
/// RAM, and by leaves of which size.
fn mapped_by(flavour: Flavour, ram_end: u64) -> Vec<(u64, u64, u64)> {
    let entry =
        |start, end| Entry { range: GuestRange::between(start, end).unwrap(), kind: Kind::Ram };
    let map = MemoryMap::from_entries(vec![entry(0, 0x9_fc00), entry(0x10_0000, ram_end)]);
    let machine = Machine::new(2 << 30, 1).unwrap().with_leaf_size(LeafSize::Gib1);
    let tables = identity_map(&machine, &map, flavour).unwrap();
    let entry_at = |table: u64, slot: u64| {
        let at = index(table - tables.root + 8 * slot);
        u64::from_le_bytes(tables.bytes[at..at + 8].try_into().unwrap())
    };
    let gibs = (0..512).map(|gib| (gib << 30, entry_at(tables.root + 0x1000, gib)));
    let leaves = |(start, entry): (u64, u64)| match entry {
        0 => None,
        // A leaf: present, writable, accessed, dirty, large, global.
        leaf if leaf & 0xfff == 0x1e3 => Some((start, start + (1 << 30), 1 << 30)),
        table => {
            let leaves = (0..512).filter(|slot| entry_at(table & !0xfff, *slot) != 0).count();
            Some((start, start + ((leaves as u64) << 21), 2 << 20))
        }
    };
    gibs.filter_map(leaves).collect()
}

#[test]
fn pages_of_1_gib_are_where_real_kernels_map_them() {
    let (gib, small) = (1 << 30, 2 << 20);
    // 6.12 and 7.3: a GiB of which the last 128 KiB are no RAM is no whole one.
    assert_eq!(mapped_by(Flavour::Modern, 0x1ffe_0000), [(0, 0x2000_0000, small)]);
    assert_eq!(mapped_by(Flavour::Modern, 0x7ffe_0000), [(0, gib, gib), (gib, 2 * gib, small)]);
    // 6.1: every GiB that has RAM.
    assert_eq!(mapped_by(Flavour::Legacy, 0x1ffe_0000), [(0, gib, gib)]);
    assert_eq!(mapped_by(Flavour::Legacy, 0x7ffe_0000), [(0, gib, gib), (gib, 2 * gib, gib)]);
}

fn on_own_machine(machine: &Machine, handed: &Handed) -> Result<LaidOut, Error> {
    lay_out(machine, Platform::of(machine), &kernel(), handed, &options(Flavour::Modern))
}

#[test]
fn nothing_lies_in_the_window_into_which_the_kernel_unpacks_itself() {
    for mib in [256, 512, 1024, 2048, 6144] {
        for initrd_len in [0, 1, 0x3_0d8d, 100 << 20] {
            for flavour in [Flavour::Modern, Flavour::Legacy] {
                let machine = Machine::new(mib << 20, 1).unwrap();
                let handed = handed("quiet", initrd_len);
                let options = options(flavour);
                let kexec = lay_out(&machine, Platform::of(&machine), &kernel(), &handed, &options);
                let kernel = kexec.as_ref().unwrap().layout().kernel;
                assert!(kernel.len() >= 0x3c3_b000);
                // `BootPlan::new` refuses every overlap.
                kexec.unwrap().plan(None).unwrap();
            }
        }
    }
}

#[test]
fn an_initrd_of_no_bytes_makes_no_segment_and_no_fields() {
    let kexec = on_own_machine(&machine(), &handed("", 0)).unwrap();
    assert_eq!(kexec.layout().initrd, None);
    let params = bytes_of(&kexec.digested()[0]);
    assert_eq!(params[0x218..0x220], [0; 8]);
    assert_eq!(params[0xc0..0xc8], [0; 8]);
}

#[test]
fn an_initrd_above_four_gib_has_its_high_halves_written() {
    let machine = Machine::new(6 << 30, 1).unwrap();
    let kexec = on_own_machine(&machine, &handed("", 0x3_0d8d)).unwrap();
    let initrd = kexec.layout().initrd.unwrap();
    assert!(initrd.start() > 4 << 30);
    let params = bytes_of(&kexec.digested()[0]);
    let u32_at = |at: usize| u32::from_le_bytes(params[at..at + 4].try_into().unwrap());
    let (low, high) = (u64::from(u32_at(0x218)), u64::from(u32_at(0xc0)));
    assert_eq!(high << 32 | low, initrd.start());
    assert_eq!(u32_at(0xc8), 1, "ext_cmd_line_ptr");
}

#[test]
fn the_command_line_may_be_2016_characters_and_no_more() {
    let with = |len: usize| on_own_machine(&machine(), &handed(&"x".repeat(len), 0));
    assert!(with(2016).is_ok());
    assert_eq!(
        with(2017).unwrap_err().to_string(),
        "the command line has 2017 bytes, kexec takes 2016: the kernel's cmdline_size 2047 less \
         1 for the NUL and 30 for the elfcorehdr= slot"
    );
}

#[test]
fn a_nul_in_the_command_line_is_refused() {
    let error = on_own_machine(&machine(), &handed("quiet\0ro", 0)).unwrap_err();
    assert_eq!(error, Error::CmdlineNul { at: 5 });
}

#[test]
fn too_little_memory_is_said_with_what_is_needed() {
    let small = Machine::new(64 << 20, 1).unwrap();
    assert_eq!(
        on_own_machine(&small, &handed("", 0)).unwrap_err().to_string(),
        "no room for kernel: it needs 0x3c3b000 bytes of free RAM at or above 0x1000000, aligned \
         to 0x200000"
    );
}

#[test]
fn what_a_real_kexec_would_refuse_is_a_warning() {
    let small = Machine::new(128 << 20, 1).unwrap();
    assert!(on_own_machine(&machine(), &handed("", 0)).unwrap().warnings().is_empty());
    let warnings = on_own_machine(&small, &handed("", 8 << 20)).unwrap().warnings();
    // purgatory, params, kernel, initrd.
    let total = 0x5000 + 0x2000 + 0x3c3_b000 + (8 << 20);
    assert_eq!(warnings, [Warning::OverHalfOfRam { total, memory: 128 << 20 }]);
    // Half of it to the byte is taken: 64 MiB.
    let rest = (64 << 20) - (0x5000 + 0x2000 + 0x3c3_b000);
    let warnings = |initrd| on_own_machine(&small, &handed("", initrd)).unwrap().warnings();
    assert_eq!(warnings(rest), []);
    assert_eq!(warnings(rest + 1).len(), 1);
}

#[test]
fn page_tables_of_64_gib_and_more_fit_low_memory() {
    for gib in [64, 128] {
        let machine = Machine::new(gib << 30, 1).unwrap();
        on_own_machine(&machine, &handed("", 1 << 20)).unwrap().plan(None).unwrap();
    }
    let huge = Machine::new(1 << 40, 1).unwrap();
    let error = on_own_machine(&huge, &handed("", 0)).unwrap_err();
    assert!(error.to_string().contains("1 GiB leaves need less"), "{error}");
    on_own_machine(&huge.with_leaf_size(LeafSize::Gib1), &handed("", 0)).unwrap();
}

/// What building page tables for so many GiB without a hole comes to.
fn tables_of(gib: u64) -> Result<u64, Error> {
    let ram = Entry { range: GuestRange::constant(0, gib << 30), kind: Kind::Ram };
    let map = MemoryMap::from_entries(vec![ram]);
    let machine = Machine::new(gib << 30, 1).unwrap();
    identity_map(&machine, &map, Flavour::Modern).map(|tables| tables.range().len())
}

#[test]
fn page_tables_may_fill_their_room_to_its_last_page() {
    let room = layout::PAGE_TABLES_END_MAX - layout::PAGE_TABLES;
    // One page for each GiB, and one of each of the two levels above.
    let gib = room / PAGE - 2;
    assert_eq!(tables_of(gib), Ok(room));
    for (gib, len) in [(gib + 1, room + PAGE), (gib + 2, room + 2 * PAGE)] {
        assert_eq!(tables_of(gib), Err(Error::PageTables { len, room }), "{gib} GiB");
    }
    // Without those above, which are not made any more.
    let len = (gib + 3) * PAGE;
    assert_eq!(tables_of(gib + 3), Err(Error::PageTables { len, room }));
}

#[test]
fn ranges_that_touch_or_overlap_are_mapped_as_one_and_others_as_they_are() {
    let map = |ranges: &[(u64, u64)]| {
        let entry = |&(start, end): &(u64, u64)| Entry {
            range: GuestRange::between(start, end).unwrap(),
            kind: Kind::Ram,
        };
        let map = MemoryMap::from_entries(ranges.iter().map(entry).collect());
        let mapped = mapped(&map, Flavour::Modern, LeafSize::Gib1);
        mapped.iter().map(|range| (range.start(), range.end())).collect::<Vec<_>>()
    };
    assert_eq!(map(&[(0, 0x9_fc00), (0x10_0000, 0x20_0000)]), [(0, 0x20_0000)]);
    assert_eq!(map(&[(0, 0x9_fc00)]), [(0, 0x10_0000)]);
    let apart = [(0, 0x10_0000), (0x10_1000, 0x20_0000)];
    assert_eq!(map(&[(0, 0x9_fc00), (0x10_1000, 0x20_0000)]), apart);
}

#[test]
fn five_levels_need_a_kernel_that_allows_them() {
    let five = machine().with_five_level(true);
    let cpu = on_own_machine(&five, &handed("", 0)).unwrap().plan(None).unwrap().cpu().clone();
    assert_eq!(cpu.cr4, 0x1020);
    let mut image = image(0x3c3_b000, 2047);
    image[0x236] = 0x1f;
    let old = Kernel::read(&image, FileRange::first(KERNEL_LEN)).unwrap();
    let refused =
        lay_out(&five, Platform::of(&five), &old, &handed("", 0), &options(Flavour::Modern));
    assert_eq!(refused.unwrap_err(), Error::NoFiveLevel { xloadflags: 0x1f });
}

#[test]
fn a_digest_and_its_regions_lie_where_purgatory_has_them() {
    let kexec = measured(Flavour::Modern);
    let regions: Vec<_> = kexec.digested().iter().map(|segment| segment.range).collect();
    assert_eq!(regions.len(), 3);
    let plan = kexec.clone().plan(Some([0xd1; 32])).unwrap();
    let purgatory = bytes_of(plan.placement("purgatory").unwrap());
    for (number, region) in regions.iter().enumerate() {
        let at = 0x30e0 + 16 * number;
        assert_eq!(purgatory[at..at + 8], region.start().to_le_bytes());
        assert_eq!(purgatory[at + 8..at + 16], region.len().to_le_bytes());
    }
    assert_eq!(purgatory[0x31e0..0x3200], [0xd1; 32]);
    let start = plan.placement("purgatory").unwrap().range.start();
    assert_eq!(kexec.digest_address(), start + 0x31e0);

    let plan = kexec.plan(None).unwrap();
    let purgatory = bytes_of(plan.placement("purgatory").unwrap());
    assert!(purgatory[0x30e0..0x31e0].iter().all(|byte| *byte == 0));
    assert_eq!(purgatory[0x31e0..0x3200], DIGEST_OF_NOTHING);
}

#[test]
fn the_gdt_in_purgatory_is_where_its_register_points_and_has_the_boot_segments() {
    let plan = measured(Flavour::Modern).plan(None).unwrap();
    let placement = plan.placement("purgatory").unwrap();
    let at = index(plan.cpu().gdtr.base - placement.range.start());
    let gdt = &bytes_of(placement)[at..=at + usize::from(plan.cpu().gdtr.limit)];
    // Its own limit and base, 0x1ffd_c770, are where no descriptor is.
    let pointer = [0x1f, 0, 0x70, 0xc7, 0xfd, 0x1f, 0, 0, 0, 0];
    assert_eq!((&gdt[..10], &gdt[10..16]), (&pointer[..], &[0; 6][..]));
    assert_eq!(gdt[16..24], [0xff, 0xff, 0, 0, 0, 0x9b, 0xaf, 0]);
    assert_eq!(gdt[24..], [0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0]);
}

#[test]
fn the_plan_of_the_same_input_is_the_same() {
    let plan = || measured(Flavour::Modern).plan(None).unwrap();
    assert_eq!(plan(), plan());
}
