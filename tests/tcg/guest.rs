//! Guests of a few instructions, and plans that hold them.

use firmware_less::{
    cpu_state::CpuState,
    e820::MemoryMap,
    machine::{Board, Machine},
    plan::{BootPlan, Placement},
    range::GuestRange,
};
use iced_x86::{IcedError, code_asm::*};

use crate::support::cpu_state::cpu_state;

/// The memory of a tiny guest's machine.
pub(crate) const MEMORY: u64 = 64 << 20;
/// Where a tiny guest's code is, and its first instruction.
pub(crate) const CODE: u64 = 0x10_0000;
/// Where a tiny guest may leave what it found.
pub(crate) const FOUND: u64 = 0x20_0000;

const GDT: u64 = 0x1000;
const IDT: u64 = 0x3000;
const TSS: u64 = 0x4000;
const PAGE_TABLES: u64 = 0x9000;

/// A machine for tiny guests.
pub(crate) fn machine() -> Machine {
    Machine::new(MEMORY, 1).unwrap().with_board(Board::Q35)
}

/// A plan for `machine` that enters `code` in the state of [`cpu_state`].
pub(crate) fn plan(machine: Machine, code: Vec<u8>) -> BootPlan {
    let map = MemoryMap::of(&machine);
    let cpu = state(&machine);
    let placements = placements(&machine, code);
    BootPlan::new(machine, map, placements, cpu).unwrap()
}

/// [`cpu_state`], with the paging that `machine` wants.
pub(crate) fn state(machine: &Machine) -> CpuState {
    let la57 = if machine.five_level() { 1 << 12 } else { 0 };
    let cpu = cpu_state();
    CpuState { cr4: cpu.cr4 | la57, ..cpu }
}

/// What every tiny guest has.
pub(crate) fn placements(machine: &Machine, code: Vec<u8>) -> Vec<Placement> {
    let cpu = cpu_state();
    let gdt = [0, 0, cpu.cs.descriptor(), cpu.ds.descriptor()];
    let gdt = gdt.map(u64::to_le_bytes).concat();
    [
        ("gdt", GDT, gdt),
        ("idt", IDT, vec![0; 0x100]),
        ("tss", TSS, vec![0; 0x68]),
        ("page tables", PAGE_TABLES, page_tables(machine.five_level())),
        ("code", CODE, code),
    ]
    .map(|(name, start, bytes)| {
        let range = GuestRange::new(start, bytes.len() as u64).unwrap();
        Placement::of_bytes(name, range, bytes)
    })
    .into()
}

/// An identity map of the first, the fourth and the fifth GiB (RAM, the local
/// APIC, RAM above the hole) by 2 MiB leaves, accessed and dirty as kexec's.
fn page_tables(five_level: bool) -> Vec<u8> {
    const TABLE: u64 = 0x63;
    const LEAF: u64 = 0x1e3;
    let upper = if five_level { 2 } else { 1 };
    let table = |number: u64| (PAGE_TABLES + number * 0x1000) | TABLE;
    let leaf = |gib: u64, entry: u64| gib << 30 | entry << 21 | LEAF;
    let page = |entries: Vec<u64>| {
        let mut page: Vec<u8> = entries.into_iter().flat_map(u64::to_le_bytes).collect();
        page.resize(0x1000, 0);
        page
    };
    let mut pages: Vec<_> = (0..upper).map(|level| page(vec![table(level + 1)])).collect();
    pages.push(page(vec![table(upper + 1), 0, 0, table(upper + 2), table(upper + 3)]));
    pages.extend([0, 3, 4].map(|gib| page((0..512).map(|entry| leaf(gib, entry)).collect())));
    pages.concat()
}

/// The code that `write` writes.
pub(crate) fn code(write: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Vec<u8> {
    let mut assembler = CodeAssembler::new(64).unwrap();
    write(&mut assembler).unwrap();
    assembler.assemble(CODE).unwrap()
}

/// Writes `byte` to `port`.
pub(crate) fn out(a: &mut CodeAssembler, port: u16, byte: u8) -> Result<(), IcedError> {
    a.mov(edx, u32::from(port))?;
    a.mov(eax, u32::from(byte))?;
    a.out(dx, al)
}

/// Stops for good.
pub(crate) fn stop(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = a.create_label();
    a.cli()?;
    a.set_label(&mut again)?;
    a.hlt()?;
    a.jmp(again)
}
