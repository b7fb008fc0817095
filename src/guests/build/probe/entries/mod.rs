//! The older entries: in real mode, where a BIOS's boot loader goes, and in
//! protected mode. What they find is kept where the 64-bit entry keeps its own, and
//! what that takes for granted is made. Documentation/arch/x86/boot.rst.

mod real;

use iced_x86::code_asm::*;

use super::{
    Assembled, Log, PROTECTED, assemble_with,
    processor::{CONTROL, DEBUG, MSRS, SEGMENTS},
    scratch,
};

pub(super) use real::setup;

/// The 64-bit entry, and the one from real mode, from the start of the
/// protected-mode code.
const ENTRY_64: usize = 0x200;
const FROM_REAL_MODE: usize = 8;
/// What nobody should come to: HLT.
const NOTHING: u8 = 0xf4;
/// Where the 32-bit entry learns where it is: behind its first call.
const KNOWN_AT: u64 = 16;

/// Descriptors: none, none, code, data. Boot protocol, `__BOOT_CS`, `__BOOT_DS`.
const CODE_SELECTOR: i32 = 0x10;
const DATA_SELECTOR: i32 = 0x18;
const CODE_32: u64 = 0x00cf_9b00_0000_ffff;
const CODE_64: u64 = 0x00af_9b00_0000_ffff;
const DATA: u64 = 0x00cf_9300_0000_ffff;

/// Page-table entries: a table; a leaf of 2 MiB.
const TABLE: i32 = 0x63;
const LEAF: i32 = 0xe3;
const LEAF_LEN: i32 = 2 << 20;
/// The identity map of 4 GiB: one table, one of its own, four of those.
const PAGE: i32 = 0x1000;
const DIRECTORIES: i32 = 4;

/// General registers by their names in 64-bit code, in the order of PUSHAD.
const GENERAL: [(&str, AsmRegister32); 8] = [
    ("rax", eax),
    ("rcx", ecx),
    ("rdx", edx),
    ("rbx", ebx),
    ("rsp", esp),
    ("rbp", ebp),
    ("rsi", esi),
    ("rdi", edi),
];

fn low(place: u64) -> i32 {
    i32::try_from(place).expect("low memory")
}

/// The protected-mode code up to the 64-bit entry, and what follows that one's
/// `code_len` bytes, in which it is gone on at `converted`.
pub(super) fn protected_mode(log: &Log, code_len: usize, converted: u64) -> (Vec<u8>, Vec<u8>) {
    let behind = ENTRY_64 + code_len;
    let goal = i32::try_from(ENTRY_64 as u64 + converted).expect("near");
    let known = i32::try_from(behind as u64 + KNOWN_AT).expect("near");
    let (body, [known_at, from_real_mode]) =
        assemble_with(32, |a, labels| protected_body(a, labels, log, known, goal));
    assert_eq!(known_at, KNOWN_AT, "the instructions before are as long as ever");
    let mut before = vec![NOTHING; ENTRY_64];
    let mut jump = |from: usize, to: usize| {
        let distance = u32::try_from(to - from - 5).expect("near").to_le_bytes();
        before[from] = 0xe9;
        before[from + 1..from + 5].copy_from_slice(&distance);
    };
    jump(0, behind);
    jump(FROM_REAL_MODE, behind + usize::try_from(from_real_mode).expect("near"));
    (before, body)
}

/// At the entry nothing is known but flat segments; where it is, a call tells.
fn protected_body(
    a: &mut CodeAssembler,
    [known_at, from_real_mode]: &mut [CodeLabel; 2],
    log: &Log,
    known: i32,
    goal: i32,
) -> Assembled {
    let mut tables = a.create_label();
    a.mov(dword_ptr(low(log.of("rsp"))), esp)?;
    a.mov(esp, low(scratch::STACK_END))?;
    a.call(*known_at)?;
    a.set_label(known_at)?;
    a.pop(dword_ptr(low(scratch::BASE)))?;
    for (name, register) in GENERAL.into_iter().filter(|(name, _)| *name != "rsp") {
        a.mov(dword_ptr(low(log.of(name))), register)?;
    }
    a.mov(dword_ptr(low(log.of("boot_params_at"))), esi)?;
    a.pushfd()?;
    a.pop(dword_ptr(low(log.of("rflags"))))?;
    a.cli()?;
    a.cld()?;
    a.mov(ebx, dword_ptr(low(scratch::BASE)))?;
    a.sub(ebx, known)?;
    clear_upper_halves(a, log)?;
    a.mov(dword_ptr(low(log.of("rip"))), ebx)?;
    a.mov(dword_ptr(low(log.of("entry"))), PROTECTED)?;
    keep_processor(a, log)?;
    for (name, selector) in [("tr", true), ("ldtr", false)] {
        a.xor(eax, eax)?;
        if selector { a.str(ax) } else { a.sldt(ax) }?;
        a.mov(dword_ptr(low(log.of(name))), eax)?;
    }
    a.jmp(tables)?;
    a.set_label(from_real_mode)?;
    a.mov(esp, low(scratch::STACK_END))?;
    a.set_label(&mut tables)?;
    identity_map(a)?;
    long_mode(a, goal)
}

/// Upper halves, and all of what there is in 64-bit code only.
fn clear_upper_halves(a: &mut CodeAssembler, log: &Log) -> Assembled {
    for name in &log.names {
        a.mov(dword_ptr(low(log.of(name)) + 4), 0)?;
    }
    for name in ["r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cr8"] {
        a.mov(dword_ptr(low(log.of(name))), 0)?;
    }
    Ok(())
}

/// What is kept by the same instructions in both modes. Leaves EBX.
fn keep_processor(a: &mut CodeAssembler, log: &Log) -> Assembled {
    for (name, register) in CONTROL.into_iter().filter(|(name, _)| *name != "cr8") {
        a.mov(eax, register)?;
        a.mov(dword_ptr(low(log.of(name))), eax)?;
    }
    for (name, register) in DEBUG {
        a.mov(eax, register)?;
        a.mov(dword_ptr(low(log.of(name))), eax)?;
    }
    for (name, register) in SEGMENTS {
        a.xor(eax, eax)?;
        a.mov(eax, register)?;
        a.mov(dword_ptr(low(log.of(name))), eax)?;
    }
    for (base, limit) in [("gdtr_base", "gdtr_limit"), ("idtr_base", "idtr_limit")] {
        let table = low(scratch::TABLE);
        if base == "gdtr_base" { a.sgdt(ptr(table)) } else { a.sidt(ptr(table)) }?;
        a.movzx(eax, word_ptr(table))?;
        a.mov(dword_ptr(low(log.of(limit))), eax)?;
        a.mov(eax, dword_ptr(table + 2))?;
        a.mov(dword_ptr(low(log.of(base))), eax)?;
    }
    for (name, number) in MSRS {
        a.mov(ecx, number)?;
        a.rdmsr()?;
        a.mov(dword_ptr(low(log.of(name))), eax)?;
        a.mov(dword_ptr(low(log.of(name)) + 4), edx)?;
    }
    Ok(())
}

/// All segments but code's.
pub(super) fn load_data_segments(a: &mut CodeAssembler) -> Assembled {
    a.mov(eax, DATA_SELECTOR)?;
    for register in [ds, es, fs, gs, ss] {
        a.mov(register, eax)?;
    }
    Ok(())
}

fn identity_map(a: &mut CodeAssembler) -> Assembled {
    let mut next = a.create_label();
    let tables = low(scratch::PAGE_TABLES);
    a.mov(edi, tables)?;
    a.xor(eax, eax)?;
    a.mov(ecx, 2 * PAGE / 4)?;
    a.rep().stosd()?;
    a.mov(dword_ptr(tables), tables + PAGE + TABLE)?;
    for directory in 0..DIRECTORIES {
        let entry = tables + (2 + directory) * PAGE + TABLE;
        a.mov(dword_ptr(tables + PAGE + 8 * directory), entry)?;
    }
    a.mov(edi, tables + 2 * PAGE)?;
    a.mov(eax, LEAF)?;
    a.mov(ecx, DIRECTORIES * 512)?;
    a.set_label(&mut next)?;
    a.mov(dword_ptr(edi), eax)?;
    a.mov(dword_ptr(edi + 4), 0)?;
    a.add(eax, LEAF_LEN)?;
    a.add(edi, 8)?;
    a.dec(ecx)?;
    a.jnz(next)
}

/// Enters the 64-bit code, at `goal` from the start of the protected-mode code,
/// which is in EBX. Intel SDM vol. 3A, 10.8.5.
fn long_mode(a: &mut CodeAssembler, goal: i32) -> Assembled {
    const EFER: u32 = 0xc000_0080;
    const LME: i32 = 1 << 8;
    const PAE: i32 = 1 << 5;
    const PG_AND_PE: u32 = 1 << 31 | 1;
    write_gdt(a, CODE_64, |a, place, value| a.mov(dword_ptr(place), value))?;
    a.lgdt(ptr(low(scratch::GDTR)))?;
    a.mov(eax, cr4)?;
    a.or(eax, PAE)?;
    a.mov(cr4, eax)?;
    a.mov(eax, low(scratch::PAGE_TABLES))?;
    a.mov(cr3, eax)?;
    a.mov(ecx, EFER)?;
    a.rdmsr()?;
    a.or(eax, LME)?;
    a.wrmsr()?;
    a.mov(eax, cr0)?;
    a.or(eax, PG_AND_PE)?;
    a.mov(cr0, eax)?;
    a.add(ebx, goal)?;
    a.push(CODE_SELECTOR)?;
    a.push(ebx)?;
    a.retf()
}

/// A GDT of ours, and what LGDT loads.
fn write_gdt(
    a: &mut CodeAssembler,
    code: u64,
    put: fn(&mut CodeAssembler, i32, u32) -> Assembled,
) -> Assembled {
    let halves = |value: u64| [value & 0xffff_ffff, value >> 32];
    let words = [0, code, DATA].map(halves).concat();
    // The first descriptor is never looked at.
    let words = [0, 0].into_iter().chain(words);
    let gdt = low(scratch::GDT);
    for (place, word) in (gdt..).step_by(4).zip(words) {
        put(a, place, u32::try_from(word).expect("half"))?;
    }
    let gdtr = low(scratch::GDTR);
    // The limit, and the lower half of the address.
    put(a, gdtr, 31 | u32::try_from(scratch::GDT).expect("low memory") << 16)?;
    put(a, gdtr + 4, 0)
}
