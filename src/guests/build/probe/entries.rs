//! The older entries: in real mode, where a BIOS's boot loader goes, and in
//! protected mode. What they find is kept where the 64-bit entry keeps its own, and
//! what that takes for granted is made. Documentation/arch/x86/boot.rst.

use iced_x86::code_asm::*;

use super::{
    Assembled, Log, PROTECTED, REAL, assemble, assemble_with,
    processor::{CONTROL, DEBUG, MSRS, SEGMENTS},
    scratch,
};

/// The 64-bit entry, and the one from real mode, from the start of the
/// protected-mode code.
const ENTRY_64: usize = 0x200;
const FROM_REAL_MODE: usize = 8;
/// What nobody should come to: HLT.
const NOTHING: u8 = 0xf4;
/// Where the 32-bit entry learns where it is: behind its first call.
const KNOWN_AT: u64 = 16;

/// In the header, from the start of the boot sector.
const HEADER: i32 = 0x1f1;
const HEADER_LEN: i32 = 0x201;
const HEADER_MAGIC: i32 = 0x202;
const CODE32_START: i32 = 0x214;
const SETUP_ENTRY: i32 = 0x200;
/// In the zero page.
const E820_ENTRIES: i32 = 0x1e8;
const E820_TABLE: i32 = 0x2d0;
const E820_ENTRIES_MAX: i32 = 128;
const E820_ENTRY_LEN: i32 = 20;

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

/// Setup code: what a boot loader of a BIOS goes to, behind the header.
pub(super) fn setup(log: &Log) -> Vec<u8> {
    assemble(16, |a| {
        keep_real(a, log)?;
        zero_page(a)?;
        memory_map(a)?;
        enter_protected_mode(a)
    })
}

/// Keeps what there is. Leaves ES at 0 and DS where the boot sector is.
fn keep_real(a: &mut CodeAssembler, log: &Log) -> Assembled {
    let keep = |a: &mut CodeAssembler, name: &str| a.mov(dword_ptr(low(log.of(name))).es(), eax);
    a.pushfd()?;
    a.pushad()?;
    a.push(ds)?;
    a.push(es)?;
    a.mov(bp, sp)?;
    a.cli()?;
    a.cld()?;
    a.xor(eax, eax)?;
    a.mov(es, ax)?;
    a.mov(di, low(scratch::LOG))?;
    a.mov(cx, low(scratch::LOG_END - scratch::LOG) / 4)?;
    a.rep().stosd()?;
    for (place, (name, _)) in GENERAL.iter().rev().enumerate() {
        a.mov(eax, dword_ptr(bp + (4 + 4 * i32::try_from(place).expect("few"))))?;
        if *name == "rsp" {
            // PUSHFD came first.
            a.add(eax, 4)?;
        }
        keep(a, name)?;
    }
    a.mov(eax, dword_ptr(bp + 36))?;
    keep(a, "rflags")?;
    a.movzx(eax, word_ptr(bp))?;
    keep(a, "es")?;
    for (name, register) in SEGMENTS.into_iter().filter(|(name, _)| *name != "es") {
        a.mov(ax, register)?;
        a.movzx(eax, ax)?;
        keep(a, name)?;
    }
    a.mov(ax, ds)?;
    a.movzx(eax, ax)?;
    a.shl(eax, 4)?;
    a.add(eax, SETUP_ENTRY)?;
    keep(a, "rip")?;
    for (name, register) in CONTROL.into_iter().filter(|(name, _)| *name != "cr8") {
        a.mov(eax, register)?;
        keep(a, name)?;
    }
    for (name, register) in DEBUG {
        a.mov(eax, register)?;
        keep(a, name)?;
    }
    for (name, number) in MSRS {
        a.mov(ecx, number)?;
        a.rdmsr()?;
        keep(a, name)?;
        a.mov(dword_ptr(low(log.of(name)) + 4).es(), edx)?;
    }
    keep_real_tables(a, log)?;
    a.mov(eax, REAL)?;
    keep(a, "entry")?;
    a.mov(eax, low(scratch::ZERO_PAGE))?;
    keep(a, "boot_params_at")
}

/// Where the tables of descriptors and of interrupts are.
fn keep_real_tables(a: &mut CodeAssembler, log: &Log) -> Assembled {
    let table = low(scratch::TABLE);
    for (base, limit) in [("gdtr_base", "gdtr_limit"), ("idtr_base", "idtr_limit")] {
        let place = ptr(table).es();
        if base == "gdtr_base" { a.sgdt(place) } else { a.sidt(place) }?;
        a.movzx(eax, word_ptr(table).es())?;
        a.mov(dword_ptr(low(log.of(limit))).es(), eax)?;
        // Without an operand of 32 bits there are 24 of the address.
        a.mov(eax, dword_ptr(table + 2).es())?;
        a.and(eax, 0xff_ffff)?;
        a.mov(dword_ptr(low(log.of(base))).es(), eax)?;
    }
    Ok(())
}

/// Puts the header, as long as it says, where `boot_params` has it.
fn zero_page(a: &mut CodeAssembler) -> Assembled {
    let page = low(scratch::ZERO_PAGE);
    a.mov(di, page)?;
    a.xor(eax, eax)?;
    a.mov(cx, PAGE / 4)?;
    a.rep().stosd()?;
    a.mov(si, HEADER)?;
    a.mov(di, page + HEADER)?;
    a.movzx(cx, byte_ptr(HEADER_LEN))?;
    a.add(cx, HEADER_MAGIC - HEADER)?;
    a.rep().movsb()
}

/// Asks the BIOS for the memory map. ACPI 6.5, 15.1.
fn memory_map(a: &mut CodeAssembler) -> Assembled {
    const SMAP: u32 = u32::from_be_bytes(*b"SMAP");
    let (mut next, mut done) = (a.create_label(), a.create_label());
    let page = low(scratch::ZERO_PAGE);
    a.xor(ebx, ebx)?;
    a.mov(di, page + E820_TABLE)?;
    a.set_label(&mut next)?;
    a.mov(eax, 0xe820)?;
    a.mov(edx, SMAP)?;
    a.mov(ecx, E820_ENTRY_LEN)?;
    a.int(0x15)?;
    a.jc(done)?;
    a.cmp(eax, SMAP)?;
    a.jne(done)?;
    a.inc(byte_ptr(page + E820_ENTRIES).es())?;
    a.add(di, E820_ENTRY_LEN)?;
    a.cmp(byte_ptr(page + E820_ENTRIES).es(), E820_ENTRIES_MAX)?;
    a.jae(done)?;
    a.test(ebx, ebx)?;
    a.jnz(next)?;
    a.set_label(&mut done)?;
    a.nop()
}

/// Goes where the header says that the protected-mode code is.
fn enter_protected_mode(a: &mut CodeAssembler) -> Assembled {
    /// Fast A20, and not its neighbour, the reset.
    const PORT_A: u32 = 0x92;
    let pointer = u16::try_from(scratch::FAR_POINTER).expect("low memory").to_le_bytes();
    a.cli()?;
    a.in_(al, PORT_A)?;
    a.or(al, 2)?;
    a.and(al, 0xfe)?;
    a.out(PORT_A, al)?;
    write_gdt(a, CODE_32, |a, place, value| a.mov(dword_ptr(place).es(), value))?;
    a.mov(ebx, dword_ptr(CODE32_START))?;
    a.mov(eax, ebx)?;
    a.add(eax, i32::try_from(FROM_REAL_MODE).expect("near"))?;
    a.mov(dword_ptr(low(scratch::FAR_POINTER)).es(), eax)?;
    a.mov(word_ptr(low(scratch::FAR_POINTER) + 4).es(), CODE_SELECTOR)?;
    a.lgdt(ptr(low(scratch::GDTR)).es())?;
    // As the 32-bit entry would have it.
    a.mov(esi, low(scratch::ZERO_PAGE))?;
    a.mov(eax, cr0)?;
    a.or(al, 1)?;
    a.mov(cr0, eax)?;
    load_data_segments(a)?;
    // JMP FAR, of 32 bits, by that pointer in ES.
    a.db(&[0x66, 0x26, 0xff, 0x2e, pointer[0], pointer[1]])
}
