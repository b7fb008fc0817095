//! What ukivm plans for the same inputs.

use std::collections::BTreeMap;

use firmware_less::{
    cpu_state::{CpuState, Segment},
    e820::{Entry, Kind, MemoryMap},
    handoff::{
        LaidOut,
        kexec::{Error, Flavour, Options, Platform, SEED_LEN, lay_out},
    },
    kernel::Kernel,
    machine::{LeafSize, Machine},
    plan::{BootPlan, Content, FileId, FileSlice, Placement},
    range::{FileRange, GuestRange, PAGE, index},
    read_at::ReadAt as _,
    uki::handed::{Handed, InitrdOrigin, InitrdPart},
};
use sha2::{Digest as _, Sha256};
use ukivm::{
    digest::{self, hex},
    files::{Files, OpenFile},
};

use super::{
    allowed,
    cases::Case,
    mapping::{Entries, mapping},
    record::{Outcome, Record},
};
use crate::support::Scratch;

const EINVAL: i32 = 22;
const ENOEXEC: i32 = 8;

/// What no plan says because reset leaves it so. Intel SDM vol. 3A, "Processor State
/// After Reset" and "Local APIC State After Power-Up or Reset".
const LEFT_BY_RESET: [(&str, &str); 27] = [
    ("cr2", "0x0"),
    ("dr0", "0x0"),
    ("dr1", "0x0"),
    ("dr2", "0x0"),
    ("dr3", "0x0"),
    ("dr6", "0xffff0ff0"),
    ("dr7", "0x400"),
    ("fsw", "0x0"),
    ("ftw", "0x0"),
    ("st", "0"),
    ("xmm", "0"),
    ("lapic lvtpc", "0x10000"),
    ("lapic lvterr", "0x10000"),
    ("lapic lvtthmr", "0x10000"),
    ("lapic lvtt", "0x10000"),
    ("lapic icr", "0x0"),
    ("lapic icr2", "0x0"),
    ("lapic esr", "0x0"),
    ("lapic isr", "(none)"),
    ("lapic irr", "(none)"),
    ("lapic apr", "0x0"),
    ("lapic dfr", "0xf"),
    ("lapic ldr", "0x0"),
    ("lapic dcr", "0x0"),
    ("lapic initial count", "0"),
    ("ioapic pins not masked", ""),
    ("mapped to elsewhere", ""),
];

/// What a real kexec was given beside the case itself, by its own record.
struct Given {
    memory_map: MemoryMap,
    rsdp: u64,
    seed: [u8; SEED_LEN],
}

impl Given {
    /// Read from the `boot_params` and `setup_data` in the params segment.
    fn of(record: &Record) -> Self {
        let entries = (0..record.number::<1>(0x1e8)).map(|entry| {
            let at = 0x2d0 + 20 * index(entry);
            let (start, len) = (record.number::<8>(at), record.number::<8>(at + 8));
            let kind = match record.number::<4>(at + 16) {
                1 => Kind::Ram,
                2 => Kind::Reserved,
                other => panic!("an e820 range of kind {other}"),
            };
            Entry { range: GuestRange::new(start, len).expect("a range"), kind }
        });
        // The first node of the list is the seed's.
        let params = u64::from_str_radix(&record.values["rsi"][2..], 16).expect("an address");
        let node = index(record.number::<8>(0x250) - params);
        let seed = &record.params[node + 16..][..SEED_LEN];
        Self {
            memory_map: MemoryMap::from_entries(entries.collect()),
            rsdp: record.number::<8>(0x70),
            seed: seed.try_into().expect("a seed"),
        }
    }

    /// For a case of which there is no record, since it was refused.
    fn nothing(machine: &Machine) -> Self {
        let Platform { memory_map, rsdp, .. } = Platform::of(machine);
        Self { memory_map, rsdp, seed: [0; SEED_LEN] }
    }
}

/// What is planned for `case` where `found` is what `kernel` did.
pub(super) fn planned(kernel: &str, case: &Case, found: &Outcome) -> Outcome {
    let scratch = Scratch::new();
    let mut files = Files::default();
    let mut open = |name, bytes: Vec<u8>| {
        let range = FileRange::first(bytes.len() as u64);
        let path = scratch.file(name, bytes);
        FileSlice { file: files.push(OpenFile::open(&path).expect("a file")), range }
    };
    let handed = Handed {
        kernel: open("kernel", case.kernel()),
        initrd: initrd(open("initrd", case.initrd_bytes())),
        cmdline: case.cmdline.clone().into_bytes(),
        cmdline_padding: 0,
        notes: Vec::new(),
    };
    let leaf_size = if case.gib_pages { LeafSize::Gib1 } else { LeafSize::Mib2 };
    let machine = Machine::new(case.memory_mib << 20, 1).expect("a machine");
    let machine = machine.with_five_level(case.five_level).with_leaf_size(leaf_size);
    let given = match found {
        Outcome::Refused(_) => Given::nothing(&machine),
        Outcome::Handed(record) => Given::of(record),
    };
    let platform =
        Platform { memory_map: given.memory_map, rsdp: given.rsdp, firmware: Vec::new() };
    let flavour = if kernel == "6.1" { Flavour::Legacy } else { Flavour::Modern };
    let options = Options { flavour, seed: given.seed };
    let image = case.kernel();
    let read = Kernel::read(image.as_slice(), handed.kernel.range).expect("a kernel");
    match (lay_out(&machine, platform, &read, &handed, &options), found) {
        (Err(Error::CmdlineTooLong { .. }), _) => Outcome::Refused(EINVAL),
        (Err(Error::NoFiveLevel { .. }), _) => Outcome::Refused(ENOEXEC),
        (Err(error), _) => panic!("{}: {error}", case.name),
        // A real kexec refuses, this one can do it and only warns.
        (Ok(kexec), _) if !kexec.warnings().is_empty() => Outcome::Refused(EINVAL),
        (Ok(kexec), Outcome::Handed(found)) => Outcome::Handed(record(kexec, &files, found)),
        // What it would have been doesn't matter.
        (Ok(_), Outcome::Refused(_)) => Outcome::Handed(Record::default()),
    }
}

fn initrd(slice: FileSlice) -> Vec<InitrdPart> {
    let part = InitrdPart {
        origin: InitrdOrigin::User(0),
        content: Content::File(slice),
        padded_len: slice.range.len(),
    };
    if slice.range.is_empty() { Vec::new() } else { vec![part] }
}

fn record(kexec: LaidOut, files: &Files, found: &Record) -> Record {
    let mut values: BTreeMap<String, String> =
        LEFT_BY_RESET.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let mut put = |name: &str, value| values.insert(name.to_owned(), value);
    for (number, segment) in kexec.digested().iter().enumerate() {
        let (start, len) = (segment.range.start(), segment.range.len());
        put(&format!("region {number}"), format!("{start:#x} {len:#x}"));
        if number > 0 {
            let digest = Sha256::digest(bytes(segment, files));
            put(&format!("region {number} sha256"), hex(&digest));
        }
    }
    let params = bytes(&kexec.digested()[0], files);
    let digest = digest_with(&kexec, files, &params, found);
    put("digest", hex(&digest));
    put("digest of memory", hex(&digest));
    put("purgatory", format!("{:#x}", kexec.layout().purgatory.start()));
    let plan = kexec.plan(Some(digest)).expect("a plan");
    registers(plan.cpu(), &mut values);
    gdt(&plan, files, &mut values);
    tables(&plan, files, &mut values);
    Record { params, values }
}

/// The digest of what is planned, with those bytes of the params from `found` that
/// a plan may have otherwise.
fn digest_with(kexec: &LaidOut, files: &Files, params: &[u8], found: &Record) -> [u8; 32] {
    let mut segments = kexec.digested().to_vec();
    let mut params = params.to_vec();
    for range in allowed::free_params() {
        params[range.clone()].copy_from_slice(&found.params[range]);
    }
    segments[0] = Placement::of_bytes("params", segments[0].range, params);
    digest::of_sources(&segments, files).expect("a digest")
}

fn registers(cpu: &CpuState, values: &mut BTreeMap<String, String>) {
    let r = cpu.registers;
    let apic = cpu.local_apic;
    let numbers = [
        ("rip", r.rip),
        ("rflags", r.rflags),
        ("cr0", cpu.cr0),
        ("cr3", cpu.cr3),
        ("cr4", cpu.cr4),
        ("efer", cpu.efer),
        ("gdtr base", cpu.gdtr.base),
        ("gdtr limit", cpu.gdtr.limit.into()),
        ("idtr base", cpu.idtr.base),
        ("idtr limit", cpu.idtr.limit.into()),
        ("lapic tpr", apic.tpr.into()),
        // With nothing in service, the same.
        ("lapic ppr", apic.tpr.into()),
        ("lapic spiv", apic.spiv.into()),
        ("lapic lvt0", apic.lvt0.into()),
        ("lapic lvt1", apic.lvt1.into()),
        ("pic0 mask", cpu.pic_mask.into()),
        ("pic1 mask", cpu.pic_mask.into()),
        ("fcw", cpu.fcw.into()),
        ("mxcsr", cpu.mxcsr.into()),
    ];
    let numbers = r.general().into_iter().chain(numbers);
    values.extend(numbers.map(|(name, value)| (name.to_owned(), format!("{value:#x}"))));
    for (name, segment) in cpu.segments() {
        let Segment { selector, base, limit, .. } = segment;
        let attributes = segment.descriptor() >> 32 & super::found::ATTRIBUTES;
        let parts = [
            ("selector", u64::from(selector)),
            ("base", base),
            ("limit", limit.into()),
            ("attributes", attributes),
        ];
        values.extend(parts.map(|(part, value)| (format!("{name} {part}"), format!("{value:#x}"))));
    }
}

fn gdt(plan: &BootPlan, files: &Files, values: &mut BTreeMap<String, String>) {
    let purgatory = plan.placement("purgatory").expect("in every plan");
    let at = index(plan.cpu().gdtr.base - purgatory.range.start());
    let gdt = &bytes(purgatory, files)[at..at + 32];
    for (entry, at) in gdt.as_chunks().0.iter().zip((0..).step_by(8)) {
        values.insert(format!("gdt {at:#04x}"), format!("{:#x}", u64::from_le_bytes(*entry)));
    }
}

fn tables(plan: &BootPlan, files: &Files, values: &mut BTreeMap<String, String>) {
    let placement = plan.placement("page tables").expect("in every plan");
    let memory = bytes(placement, files);
    let levels = if plan.machine().five_level() { 5 } else { 4 };
    let mut table = |at: u64| {
        let offset = index(at - placement.range.start());
        Entries::of(&memory[offset..offset + index(PAGE)])
    };
    mapping(plan.cpu().cr3, levels, &mut table).put(values);
}

/// A placement's bytes as they are to be, zeros where it has no content.
fn bytes(placement: &Placement, files: &Files) -> Vec<u8> {
    let mut memory = vec![0; index(placement.range.len())];
    for piece in &placement.pieces {
        let place = &mut memory[index(piece.offset)..][..index(piece.content.len())];
        match &piece.content {
            Content::Bytes(bytes) => place.copy_from_slice(bytes),
            Content::File(FileSlice { file: FileId(file), range }) => {
                let file = files.get(FileId(*file)).expect("one of the files");
                file.read_exact_at(range.offset(), place).expect("a read");
            }
        }
    }
    memory
}
