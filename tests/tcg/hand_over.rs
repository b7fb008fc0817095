//! The state that the guest's first instruction finds.

use std::time::Duration;

use firmware_less::{
    cpu_state::Segment,
    machine::{Board, LAPIC, Machine, SLEEP_CONTROL_S5, port},
    plan::{BootPlan, Content, Placement},
    range::{GuestRange, index},
};
use iced_x86::code_asm::*;
use ukivm::outcome::{CrashReport, End};

use super::{
    bytes,
    guest::{self, CODE, FOUND, code, machine, out, stop},
    have_qemu, run,
};

const GIB: u64 = 1 << 30;
const LONG: Duration = Duration::from_mins(1);

#[test]
fn the_first_instruction_finds_the_registers_of_the_plan() {
    if !have_qemu("the_first_instruction_finds_the_registers_of_the_plan") {
        return;
    }
    for machine in [machine(), machine().with_five_level(true)] {
        let plan = guest::plan(machine, forever());
        let (dump, _) = at_first_instruction(&plan);
        check_registers(&plan, &dump);
        check_segments(&plan, &dump);
    }
}

#[test]
fn the_first_instruction_finds_the_memory_of_the_plan_and_zero_elsewhere() {
    if !have_qemu("the_first_instruction_finds_the_memory_of_the_plan_and_zero_elsewhere") {
        return;
    }
    let plan = guest::plan(machine(), forever());
    let (_, found) = at_first_instruction(&plan);
    let mut wanted = vec![0; index(guest::MEMORY)];
    for placement in plan.placements() {
        let [piece] = placement.pieces.as_slice() else { panic!("one piece each") };
        let Content::Bytes(bytes) = &piece.content else { panic!("bytes only") };
        wanted[index(placement.range.start())..][..bytes.len()].copy_from_slice(bytes);
    }
    let differs = (0..wanted.len()).find(|at| found[*at] != wanted[*at]);
    assert_eq!(differs.map(|at| format!("{at:#x}")), None);
}

#[test]
fn the_local_apic_and_msrs_are_those_of_the_plan() {
    if !have_qemu("the_local_apic_and_msrs_are_those_of_the_plan") {
        return;
    }
    let cpu = guest::state(&machine());
    let apic = cpu.local_apic;
    let plan = guest::plan(
        machine(),
        code(|a| {
            a.mov(rdi, FOUND)?;
            for register in [0x80, 0xf0, 0x350, 0x360] {
                a.mov(rsi, LAPIC.start() + register)?;
                a.mov(eax, dword_ptr(rsi))?;
                a.stosd()?;
            }
            // MTRR_DEF_TYPE, MISC_ENABLE.
            for msr in [0x2ff_u32, 0x1a0] {
                a.mov(ecx, msr)?;
                a.rdmsr()?;
                a.stosd()?;
            }
            out(a, port::SLEEP_CONTROL, SLEEP_CONTROL_S5)?;
            stop(a)
        }),
    );
    let (outcome, memory) = run(&plan, LONG);
    assert_eq!(outcome.end, End::PowerOff);
    let found = bytes(&memory, GuestRange::constant(FOUND, 24));
    let found: Vec<_> =
        found.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
    let (misc_enable, found) = found.split_last().unwrap();
    assert_eq!(found, [apic.tpr, apic.spiv, apic.lvt0, apic.lvt1, 0x806]);
    assert_eq!(misc_enable & 0x1_0001, 0x1_0001, "{misc_enable:#x}");
}

#[test]
fn ram_above_the_hole_is_where_the_plan_puts_it() {
    if !have_qemu("ram_above_the_hole_is_where_the_plan_puts_it") {
        return;
    }
    let machine = Machine::new(3 * GIB, 1).unwrap().with_board(Board::Q35);
    let code = code(|a| {
        a.mov(rsi, 4 * GIB + 0x1000)?;
        a.mov(al, byte_ptr(rsi))?;
        a.mov(dx, i32::from(port::EXIT))?;
        a.out(dx, al)?;
        stop(a)
    });
    let high = GuestRange::constant(4 * GIB + 0x1000, 1);
    let mut placements = guest::placements(&machine, code);
    placements.push(Placement::of_bytes("high", high, vec![42]));
    let like = guest::plan(machine.clone(), Vec::from(*b"."));
    let map = like.memory_map().clone();
    let plan = BootPlan::new(machine, map, placements, like.cpu().clone()).unwrap();
    assert_eq!(run(&plan, LONG).0.end, End::Status { status: 42 });
}

#[test]
fn cmpxchg16b_leaves_good_flags_or_is_not_offered() {
    const NOT_OFFERED: u8 = 1;
    const GOOD: u8 = 2;
    const BAD: u8 = 3;
    if !have_qemu("cmpxchg16b_leaves_good_flags_or_is_not_offered") {
        return;
    }
    let code = code(|a| {
        let (mut bad, mut not_offered) = (a.create_label(), a.create_label());
        a.mov(eax, 1)?;
        a.cpuid()?;
        a.bt(ecx, 13)?;
        a.jnc(not_offered)?;
        a.mov(rsp, FOUND)?;
        a.mov(rax, u64::MAX / 3)?;
        a.cmp(rax, rsp)?;
        a.cmpxchg16b(xmmword_ptr(FOUND))?;
        a.pushfq()?;
        a.pop(rax)?;
        // All but CF, PF, AF, ZF, SF and OF: only the bit that is always set.
        a.and(rax, !0x8d5)?;
        a.cmp(rax, 2)?;
        a.jne(bad)?;
        out(a, port::EXIT, GOOD)?;
        stop(a)?;
        a.set_label(&mut bad)?;
        out(a, port::EXIT, BAD)?;
        stop(a)?;
        a.set_label(&mut not_offered)?;
        out(a, port::EXIT, NOT_OFFERED)?;
        stop(a)
    });
    let end = run(&guest::plan(machine(), code), LONG).0.end;
    let expected = [NOT_OFFERED, GOOD].map(|status| End::Status { status });
    assert!(expected.contains(&end), "{end:?}");
}

/// Code whose first instruction jumps to itself.
fn forever() -> Vec<u8> {
    vec![0xeb, 0xfe]
}

/// Registers, and all of the memory, of a guest whose first instruction is its
/// last. It has as long to get there as a busy machine needs.
fn at_first_instruction(plan: &BootPlan) -> (CrashReport, Vec<u8>) {
    for tenths in [2, 10, 50, 200] {
        let (outcome, memory) = run(plan, Duration::from_millis(100 * tenths));
        let report = outcome.crash.unwrap_or_default();
        if numbers(&report, "RIP").first() == Some(&CODE) {
            let all = GuestRange::constant(0, guest::MEMORY);
            return (report, bytes(&memory, all));
        }
    }
    panic!("the guest did not reach its first instruction");
}

/// The numbers after `name` in QEMU's register dump.
fn numbers(dump: &CrashReport, name: &str) -> Vec<u64> {
    let label = format!("{name:<3}=");
    let mut after = dump.lines.iter().filter_map(|line| line.split_once(&label));
    let numbers = |text: &str| {
        text.split_whitespace().map_while(|word| u64::from_str_radix(word, 16).ok()).collect()
    };
    after.next().map(|(_, text)| numbers(text)).unwrap_or_default()
}

fn check_registers(plan: &BootPlan, dump: &CrashReport) {
    let cpu = plan.cpu();
    let registers = cpu.registers;
    let wanted = [
        ("RAX", registers.rax),
        ("RBX", registers.rbx),
        ("RCX", registers.rcx),
        ("RDX", registers.rdx),
        ("RSI", registers.rsi),
        ("RDI", registers.rdi),
        ("RBP", registers.rbp),
        ("RSP", registers.rsp),
        ("R8", registers.r8),
        ("R9", registers.r9),
        ("R10", registers.r10),
        ("R11", registers.r11),
        ("R12", registers.r12),
        ("R13", registers.r13),
        ("R14", registers.r14),
        ("R15", registers.r15),
        ("RIP", registers.rip),
        ("RFL", registers.rflags),
        ("CR0", cpu.cr0),
        ("CR2", 0),
        ("CR3", cpu.cr3),
        ("CR4", cpu.cr4),
        ("EFER", cpu.efer),
        ("FCW", cpu.fcw.into()),
        ("MXCSR", cpu.mxcsr.into()),
    ];
    for (name, value) in wanted {
        assert_eq!(numbers(dump, name), [value], "{name}");
    }
    for (name, table) in [("GDT", cpu.gdtr), ("IDT", cpu.idtr)] {
        assert_eq!(numbers(dump, name), [table.base, table.limit.into()], "{name}");
    }
}

fn check_segments(plan: &BootPlan, dump: &CrashReport) {
    /// QEMU does not keep a loaded TSS's busy bit; no instruction shows it.
    const BUSY: u64 = 1 << 9;
    let cpu = plan.cpu();
    let segments = [
        ("CS", cpu.cs, 0),
        ("DS", cpu.ds, 0),
        ("ES", cpu.es, 0),
        ("FS", cpu.fs, 0),
        ("GS", cpu.gs, 0),
        ("SS", cpu.ss, 0),
        ("TR", cpu.tr, BUSY),
    ];
    for (name, segment, unkept) in segments {
        let Segment { selector, base, limit, .. } = segment;
        let flags = (segment.descriptor() >> 32) & 0x00ff_ff00 & !unkept;
        let wanted = [u64::from(selector), base, limit.into(), flags];
        assert_eq!(numbers(dump, name), wanted, "{name}");
    }
    assert_eq!(numbers(dump, "LDT")[..3], [0, 0, 0]);
}
