//! What memory holds: all that `boot_params` and the registers lead to.

use iced_x86::code_asm::*;

use super::{Assembled, Log, Routines, acpi, faults::item, scratch};
use crate::machine::{
    CMDLINE_MAX, GDT_MAX, PURGATORY_DIGEST, PURGATORY_REGION_COUNT, PURGATORY_REGIONS,
    PURGATORY_STACK_END, RESET_WORDS, SETUP_DATA_LEN_MAX, SETUP_DATA_MAX, SHA256_MAX,
};

/// Fields of `boot_params`, with their upper halves.
/// Documentation/arch/x86/zero-page.rst.
const PAGE_LEN: u32 = 4096;
const RAMDISK_IMAGE: (i32, i32) = (0x218, 0xc0);
const RAMDISK_SIZE: (i32, i32) = (0x21c, 0xc4);
const CMD_LINE_PTR: (i32, i32) = (0x228, 0xc8);
const SETUP_DATA: i32 = 0x250;

/// Reports it. Leaves `boot_params` in RBP, which no routine changes.
pub(super) fn report(a: &mut CodeAssembler, routines: &Routines, log: &Log) -> Assembled {
    a.mov(rbp, qword_ptr(log.of("boot_params_at")))?;
    item(a, |a| acpi::find(a, log))?;
    item(a, |a| {
        a.mov(rsi, rbp)?;
        a.mov(ecx, PAGE_LEN)?;
        routines.bytes(a, "boot_params")
    })?;
    item(a, acpi::recognise)?;
    a.mov(qword_ptr(scratch::RESET), 0)?;
    item(a, |a| cmdline(a, routines))?;
    item(a, |a| setup_data(a, routines))?;
    item(a, |a| initrd(a, routines))?;
    item(a, |a| purgatory(a, routines, log))?;
    item(a, |a| {
        a.mov(rsi, qword_ptr(log.of("gdtr_base")))?;
        a.mov(rcx, qword_ptr(log.of("gdtr_limit")))?;
        a.inc(rcx)?;
        at_most(a, GDT_MAX)?;
        routines.bytes(a, "gdt")
    })?;
    item(a, |a| page_tables(a, routines, log))
}

/// Bounds RCX.
fn at_most(a: &mut CodeAssembler, max: u64) -> Assembled {
    a.mov(rax, max)?;
    a.cmp(rcx, rax)?;
    a.cmova(rcx, rax)
}

/// A field in two halves, in RAX.
fn load(a: &mut CodeAssembler, (lower, upper): (i32, i32)) -> Assembled {
    a.mov(eax, dword_ptr(rbp + lower))?;
    a.mov(ecx, dword_ptr(rbp + upper))?;
    a.shl(rcx, 32)?;
    a.or(rax, rcx)
}

/// What there is up to the NUL.
fn cmdline(a: &mut CodeAssembler, routines: &Routines) -> Assembled {
    let (mut next, mut done, mut none) = (a.create_label(), a.create_label(), a.create_label());
    load(a, CMD_LINE_PTR)?;
    a.test(rax, rax)?;
    a.jz(none)?;
    a.mov(rsi, rax)?;
    a.xor(ecx, ecx)?;
    a.set_label(&mut next)?;
    a.cmp(byte_ptr(rsi + rcx), 0)?;
    a.je(done)?;
    a.inc(rcx)?;
    a.cmp(rcx, CMDLINE_MAX.cast_signed())?;
    a.jb(next)?;
    a.set_label(&mut done)?;
    a.push(rsi)?;
    a.push(rcx)?;
    routines.bytes(a, "cmdline")?;
    a.pop(rcx)?;
    a.pop(rsi)?;
    find_reset(a)?;
    a.set_label(&mut none)?;
    a.nop()
}

/// Looks for the words that ask for a reset in RCX bytes from RSI on.
fn find_reset(a: &mut CodeAssembler) -> Assembled {
    let (first, last) = (&RESET_WORDS[..8], &RESET_WORDS[RESET_WORDS.len() - 8..]);
    let eight = |text: &[u8]| u64::from_le_bytes(text.try_into().expect("eight bytes"));
    let (mut next, mut other, mut done) = (a.create_label(), a.create_label(), a.create_label());
    let len = i32::try_from(RESET_WORDS.len()).expect("short");
    a.mov(rax, eight(first))?;
    a.mov(rdx, eight(last))?;
    a.set_label(&mut next)?;
    a.cmp(rcx, len)?;
    a.jl(done)?;
    a.cmp(qword_ptr(rsi), rax)?;
    a.jne(other)?;
    a.cmp(qword_ptr(rsi + (len - 8)), rdx)?;
    a.jne(other)?;
    a.mov(qword_ptr(scratch::RESET), 1)?;
    a.jmp(done)?;
    a.set_label(&mut other)?;
    a.inc(rsi)?;
    a.dec(rcx)?;
    a.jmp(next)?;
    a.set_label(&mut done)?;
    a.nop()
}

/// Every `struct setup_data` of the list, header and all, as far as bounds allow.
fn setup_data(a: &mut CodeAssembler, routines: &Routines) -> Assembled {
    const LEN: i32 = 12;
    const HEADER_LEN: i32 = 16;
    let (mut next, mut done) = (a.create_label(), a.create_label());
    a.mov(qword_ptr(scratch::LEFT), SETUP_DATA_MAX.cast_signed())?;
    a.mov(rax, qword_ptr(rbp + SETUP_DATA))?;
    a.set_label(&mut next)?;
    a.test(rax, rax)?;
    a.jz(done)?;
    a.dec(qword_ptr(scratch::LEFT))?;
    a.js(done)?;
    a.mov(qword_ptr(scratch::NODE), rax)?;
    routines.number(a, "setup_data_at", scratch::NODE)?;
    a.mov(rsi, qword_ptr(scratch::NODE))?;
    a.mov(ecx, dword_ptr(rsi + LEN))?;
    a.add(rcx, HEADER_LEN)?;
    at_most(a, SETUP_DATA_LEN_MAX)?;
    routines.bytes(a, "setup_data")?;
    a.mov(rax, qword_ptr(scratch::NODE))?;
    a.mov(rax, qword_ptr(rax))?;
    a.jmp(next)?;
    a.set_label(&mut done)?;
    a.nop()
}

/// A cheap digest of all of it, and SHA-256 of as much as does not take minutes
/// where every instruction is emulated.
fn initrd(a: &mut CodeAssembler, routines: &Routines) -> Assembled {
    let place = |a: &mut CodeAssembler| {
        load(a, RAMDISK_IMAGE)?;
        a.mov(rsi, rax)?;
        load(a, RAMDISK_SIZE)?;
        a.mov(rcx, rax)
    };
    place(a)?;
    routines.sum(a, "initrd_fnv")?;
    place(a)?;
    at_most(a, SHA256_MAX)?;
    routines.digest(a, "initrd_sha256")
}

/// Purgatory's table and digest as it left them, and the digest of what the table
/// names now, where that is not much. Only on ukivm's own machine: where a
/// compiled purgatory has them is not known.
fn purgatory(a: &mut CodeAssembler, routines: &Routines, log: &Log) -> Assembled {
    let offset = |place: u64| {
        i32::try_from(place.cast_signed() - PURGATORY_STACK_END.cast_signed()).expect("near RSP")
    };
    let mut none = a.create_label();
    a.cmp(qword_ptr(scratch::OURS), 0)?;
    a.je(none)?;
    a.mov(rax, qword_ptr(log.of("rsp")))?;
    a.lea(rsi, ptr(rax + offset(PURGATORY_REGIONS)))?;
    a.mov(rcx, PURGATORY_DIGEST - PURGATORY_REGIONS)?;
    routines.bytes(a, "regions")?;
    a.mov(rax, qword_ptr(log.of("rsp")))?;
    a.lea(rsi, ptr(rax + offset(PURGATORY_DIGEST)))?;
    a.mov(ecx, 32)?;
    routines.bytes(a, "digest")?;
    a.mov(rax, qword_ptr(log.of("rsp")))?;
    a.xor(ecx, ecx)?;
    for region in 0..PURGATORY_REGION_COUNT {
        a.add(rcx, qword_ptr(rax + offset(PURGATORY_REGIONS + 16 * region) + 8))?;
    }
    a.mov(rax, SHA256_MAX)?;
    a.cmp(rcx, rax)?;
    a.ja(none)?;
    routines.hash_start(a)?;
    for region in 0..PURGATORY_REGION_COUNT {
        let entry = offset(PURGATORY_REGIONS + 16 * region);
        a.mov(rax, qword_ptr(log.of("rsp")))?;
        a.mov(rsi, qword_ptr(rax + entry))?;
        a.mov(rcx, qword_ptr(rax + entry + 8))?;
        routines.hash_more(a)?;
    }
    // Whole pages, so no bytes are left.
    routines.hash_end(a, "regions_sha256")?;
    a.set_label(&mut none)?;
    a.nop()
}

/// The tables from CR3 on, one behind the other as far as there are any: each has a
/// first entry.
fn page_tables(a: &mut CodeAssembler, routines: &Routines, log: &Log) -> Assembled {
    let (mut next, mut done, mut none) = (a.create_label(), a.create_label(), a.create_label());
    // CR0.PG.
    a.bt(dword_ptr(log.of("cr0")), 31)?;
    a.jnc(none)?;
    routines.hash_start(a)?;
    a.mov(rsi, qword_ptr(log.of("cr3")))?;
    a.and(rsi, -4096)?;
    a.set_label(&mut next)?;
    a.mov(rax, SHA256_MAX)?;
    a.cmp(qword_ptr(scratch::HASHED), rax)?;
    a.jae(done)?;
    a.cmp(qword_ptr(rsi), 0)?;
    a.je(done)?;
    a.mov(ecx, PAGE_LEN)?;
    routines.hash_more(a)?;
    a.jmp(next)?;
    a.set_label(&mut done)?;
    a.xor(ecx, ecx)?;
    routines.hash_end(a, "page_tables_sha256")?;
    a.set_label(&mut none)?;
    a.nop()
}
