//! The processor's registers as the first instruction finds them.

use iced_x86::code_asm::*;

use super::{Assembled, EFI, LONG, Log, PROTECTED, REAL, entries, scratch};
use crate::machine::LAPIC;

/// Model-specific registers by number. Intel SDM vol. 4, 2.1.
pub(super) const MSRS: [(&str, u32); 6] = [
    ("efer", 0xc000_0080),
    ("fs_base", 0xc000_0100),
    ("gs_base", 0xc000_0101),
    ("apic_base", 0x1b),
    ("misc_enable", 0x1a0),
    ("mtrr_def_type", 0x2ff),
];

/// Registers of the local APIC, by their offsets.
const LAPIC_REGISTERS: [(&str, u64); 4] =
    [("tpr", 0x80), ("spiv", 0xf0), ("lvt0", 0x350), ("lvt1", 0x360)];

/// The interrupt masks of both 8259s.
const PIC_MASKS: [(&str, u32); 2] = [("pic_master", 0x21), ("pic_slave", 0xa1)];

/// CR4: FXSAVE keeps MXCSR too.
const OSFXSR: i32 = 1 << 9;

/// Control, debug and segment registers.
pub(super) const CONTROL: [(&str, AsmRegisterCr); 5] =
    [("cr0", cr0), ("cr2", cr2), ("cr3", cr3), ("cr4", cr4), ("cr8", cr8)];
pub(super) const DEBUG: [(&str, AsmRegisterDr); 6] =
    [("dr0", dr0), ("dr1", dr1), ("dr2", dr2), ("dr3", dr3), ("dr6", dr6), ("dr7", dr7)];
pub(super) const SEGMENTS: [(&str, AsmRegisterSegment); 6] =
    [("cs", cs), ("ds", ds), ("es", es), ("fs", fs), ("gs", gs), ("ss", ss)];

/// Keeps everything, with the general registers first. From then on there is a
/// stack, and the local APIC is mapped. `efi` is where firmware's own loaders go;
/// at `converted` go on those that were entered in an older way.
pub(super) fn keep(
    a: &mut CodeAssembler,
    log: &mut Log,
    [efi, converted]: &mut [CodeLabel; 2],
) -> Assembled {
    let (mut entry, mut begin) = (a.create_label(), a.create_label());
    let (mut here, mut not_efi) = (a.create_label(), a.create_label());
    let mut mapped = a.create_label();
    let kind = log.slot("entry");
    a.set_label(&mut entry)?;
    a.mov(qword_ptr(kind), LONG)?;
    a.jmp(begin)?;
    a.set_label(efi)?;
    a.mov(qword_ptr(kind), EFI)?;
    a.set_label(&mut begin)?;
    keep_general(a, log)?;
    a.cli()?;
    a.cld()?;
    a.lock().inc(qword_ptr(scratch::ENTRIES))?;
    a.lea(rax, ptr(entry))?;
    log.rax(a, "rip")?;
    let rip = log.of("rip");
    // EFI handover protocol: boot_params in RDX, behind image and system table.
    a.mov(rax, qword_ptr(log.of("rsi")))?;
    a.cmp(qword_ptr(kind), EFI)?;
    a.jne(not_efi)?;
    a.lea(rax, ptr(*efi))?;
    a.mov(qword_ptr(rip), rax)?;
    a.mov(rax, qword_ptr(log.of("rdx")))?;
    a.set_label(&mut not_efi)?;
    log.rax(a, "boot_params_at")?;
    keep_control(a, log)?;
    keep_segments(a, log)?;
    for (name, number) in MSRS {
        a.mov(ecx, number)?;
        a.rdmsr()?;
        a.shl(rdx, 32)?;
        a.or(rax, rdx)?;
        log.rax(a, name)?;
    }
    a.jmp(here)?;
    a.set_label(converted)?;
    entries::load_data_segments(a)?;
    a.mov(rsp, scratch::STACK_END)?;
    a.set_label(&mut here)?;
    keep_fpu(a, log)?;
    // Page tables from the older entries are ours, and map it.
    for older in [PROTECTED, REAL] {
        a.cmp(qword_ptr(kind), older)?;
        a.je(mapped)?;
    }
    map_lapic(a)?;
    a.set_label(&mut mapped)?;
    for (name, register) in LAPIC_REGISTERS {
        read_lapic(a, log, register)?;
        log.rax(a, name)?;
    }
    for (name, port) in PIC_MASKS {
        a.xor(eax, eax)?;
        a.in_(al, port)?;
        log.rax(a, name)?;
    }
    Ok(())
}

/// Moves change no flag, so RFLAGS can wait for a stack.
fn keep_general(a: &mut CodeAssembler, log: &mut Log) -> Assembled {
    for (name, register) in [
        ("rax", rax),
        ("rbx", rbx),
        ("rcx", rcx),
        ("rdx", rdx),
        ("rsi", rsi),
        ("rdi", rdi),
        ("rbp", rbp),
        ("rsp", rsp),
        ("r8", r8),
        ("r9", r9),
        ("r10", r10),
        ("r11", r11),
        ("r12", r12),
        ("r13", r13),
        ("r14", r14),
        ("r15", r15),
    ] {
        a.mov(qword_ptr(log.slot(name)), register)?;
    }
    a.mov(rsp, scratch::STACK_END)?;
    a.pushfq()?;
    a.pop(rax)?;
    log.rax(a, "rflags")
}

fn keep_control(a: &mut CodeAssembler, log: &mut Log) -> Assembled {
    for (name, register) in CONTROL {
        a.mov(rax, register)?;
        log.rax(a, name)?;
    }
    for (name, register) in DEBUG {
        a.mov(rax, register)?;
        log.rax(a, name)?;
    }
    Ok(())
}

fn keep_segments(a: &mut CodeAssembler, log: &mut Log) -> Assembled {
    for (name, register) in SEGMENTS {
        a.xor(eax, eax)?;
        a.mov(eax, register)?;
        log.rax(a, name)?;
    }
    a.xor(eax, eax)?;
    a.str(ax)?;
    log.rax(a, "tr")?;
    a.sldt(ax)?;
    log.rax(a, "ldtr")?;
    a.sgdt(ptr(scratch::TABLE))?;
    keep_table(a, log, "gdtr_base", "gdtr_limit")?;
    a.sidt(ptr(scratch::TABLE))?;
    keep_table(a, log, "idtr_base", "idtr_limit")
}

fn keep_table(
    a: &mut CodeAssembler,
    log: &mut Log,
    base: &'static str,
    limit: &'static str,
) -> Assembled {
    a.mov(rax, qword_ptr(scratch::TABLE + 2))?;
    log.rax(a, base)?;
    a.movzx(eax, word_ptr(scratch::TABLE))?;
    log.rax(a, limit)
}

/// By FXSAVE: a KVM that emulates instructions has no STMXCSR.
/// Intel SDM vol. 1, table 10-2.
fn keep_fpu(a: &mut CodeAssembler, log: &mut Log) -> Assembled {
    a.mov(rax, cr4)?;
    a.or(rax, OSFXSR)?;
    a.mov(cr4, rax)?;
    a.fxsave64(ptr(scratch::FXSAVE))?;
    a.movzx(eax, word_ptr(scratch::FXSAVE))?;
    log.rax(a, "fcw")?;
    a.mov(eax, dword_ptr(scratch::FXSAVE + 24))?;
    log.rax(a, "mxcsr")
}

/// A register of the local APIC, in RAX: in x2APIC mode (EXTD) it is an MSR.
/// Intel SDM vol. 3A, 11.12.1.
fn read_lapic(a: &mut CodeAssembler, log: &Log, register: u64) -> Assembled {
    const EXTD: u32 = 10;
    let (mut by_msr, mut done) = (a.create_label(), a.create_label());
    a.bt(dword_ptr(log.of("apic_base")), EXTD)?;
    a.jc(by_msr)?;
    a.mov(rbx, LAPIC + register)?;
    a.mov(eax, dword_ptr(rbx))?;
    a.jmp(done)?;
    a.set_label(&mut by_msr)?;
    a.mov(ecx, 0x800 + u32::try_from(register >> 4).expect("a small number"))?;
    a.rdmsr()?;
    a.set_label(&mut done)?;
    a.mov(eax, eax)
}

/// Goes over to page tables that also map the local APIC: copies of those down to
/// the first PDPT, and of the PD of its fourth entry, the GiB of the local APIC; an
/// empty one if it has none.
fn map_lapic(a: &mut CodeAssembler) -> Assembled {
    const PAGE_WORDS: u32 = 512;
    const PAGE: i32 = 4096;
    const LA57: u32 = 12;
    /// Present, writable, accessed, dirty.
    const TABLE: i32 = 0x63;
    /// Present, writable, not cached, large.
    const DEVICE: u64 = 0x9b;
    const LAPIC_SLOT: i32 = (LAPIC >> 21 & 511) as i32;

    /// Of an entry: the address, that it is there, that it maps memory itself.
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
    const PRESENT: i32 = 1;
    const LARGE: i32 = 0x80;

    let (mut four_levels, mut empty) = (a.create_label(), a.create_label());
    let (mut filled, mut mapped) = (a.create_label(), a.create_label());
    // The table at RSI to RDI, which goes on behind it.
    let copy = |a: &mut CodeAssembler| {
        a.mov(rax, ADDRESS)?;
        a.and(rsi, rax)?;
        a.mov(ecx, PAGE_WORDS)?;
        a.rep().movsq()
    };
    // The same of the table that the last one's first entry points to.
    let copy_next = |a: &mut CodeAssembler| {
        a.mov(rsi, qword_ptr(rdi - PAGE))?;
        a.lea(rax, ptr(rdi + TABLE))?;
        a.mov(qword_ptr(rdi - PAGE), rax)?;
        copy(a)
    };
    a.mov(rdi, scratch::PAGE_TABLES)?;
    a.mov(rsi, cr3)?;
    copy(a)?;
    a.mov(rax, cr4)?;
    a.bt(eax, LA57)?;
    a.jnc(four_levels)?;
    copy_next(a)?;
    a.set_label(&mut four_levels)?;
    copy_next(a)?;
    a.mov(rbx, rdi)?;
    a.mov(rsi, qword_ptr(rbx - PAGE + 3 * 8))?;
    a.test(esi, PRESENT)?;
    a.jz(empty)?;
    a.test(esi, LARGE)?;
    a.jnz(mapped)?;
    copy(a)?;
    a.jmp(filled)?;
    a.set_label(&mut empty)?;
    a.xor(eax, eax)?;
    a.mov(ecx, PAGE_WORDS)?;
    a.rep().stosq()?;
    a.set_label(&mut filled)?;
    a.lea(rax, ptr(rbx + TABLE))?;
    a.mov(qword_ptr(rbx - PAGE + 3 * 8), rax)?;
    a.test(dword_ptr(rbx + LAPIC_SLOT * 8), PRESENT)?;
    a.jnz(mapped)?;
    a.mov(rax, (LAPIC & !0x1f_ffff) | DEVICE)?;
    a.mov(qword_ptr(rbx + LAPIC_SLOT * 8), rax)?;
    a.set_label(&mut mapped)?;
    a.mov(rax, scratch::PAGE_TABLES)?;
    a.mov(cr3, rax)
}
