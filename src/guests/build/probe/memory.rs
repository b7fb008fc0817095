//! What memory holds: all that `boot_params` and the registers lead to.

use iced_x86::code_asm::*;

use super::{Assembled, Log, Routines, scratch};
use crate::machine::{
    ACPI_WINDOW, PURGATORY_DIGEST, PURGATORY_REGION_COUNT, PURGATORY_REGIONS, PURGATORY_STACK_END,
};

/// Fields of `boot_params`, with their upper halves.
/// Documentation/arch/x86/zero-page.rst.
const PAGE_LEN: u32 = 4096;
const RSDP: i32 = 0x70;
const RAMDISK_IMAGE: (i32, i32) = (0x218, 0xc0);
const RAMDISK_SIZE: (i32, i32) = (0x21c, 0xc4);
const CMD_LINE_PTR: (i32, i32) = (0x228, 0xc8);
const SETUP_DATA: i32 = 0x250;

pub(super) fn report(a: &mut CodeAssembler, routines: &Routines, log: &Log) -> Assembled {
    // No routine changes RBP.
    a.mov(rbp, qword_ptr(log.of("rsi")))?;
    a.mov(rsi, rbp)?;
    a.mov(ecx, PAGE_LEN)?;
    routines.bytes(a, "boot_params")?;
    cmdline(a, routines)?;
    setup_data(a, routines)?;
    initrd(a, routines)?;
    purgatory(a, routines, log)?;

    a.mov(rsi, qword_ptr(log.of("gdtr_base")))?;
    a.mov(rcx, qword_ptr(log.of("gdtr_limit")))?;
    a.inc(rcx)?;
    routines.bytes(a, "gdt")?;
    page_tables(a, routines, log)?;
    a.mov(rsi, qword_ptr(rbp + RSDP))?;
    a.mov(rcx, ACPI_WINDOW)?;
    routines.digest(a, "acpi_sha256")
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
    let (mut next, mut done) = (a.create_label(), a.create_label());
    load(a, CMD_LINE_PTR)?;
    a.mov(rsi, rax)?;
    a.xor(ecx, ecx)?;
    a.set_label(&mut next)?;
    a.cmp(byte_ptr(rsi + rcx), 0)?;
    a.je(done)?;
    a.inc(rcx)?;
    a.jmp(next)?;
    a.set_label(&mut done)?;
    routines.bytes(a, "cmdline")
}

/// Every `struct setup_data` of the list, header and all.
fn setup_data(a: &mut CodeAssembler, routines: &Routines) -> Assembled {
    const LEN: i32 = 12;
    const HEADER_LEN: i32 = 16;
    let (mut next, mut done) = (a.create_label(), a.create_label());
    a.mov(rax, qword_ptr(rbp + SETUP_DATA))?;
    a.set_label(&mut next)?;
    a.test(rax, rax)?;
    a.jz(done)?;
    a.mov(qword_ptr(scratch::NODE), rax)?;
    routines.number(a, "setup_data_at", scratch::NODE)?;
    a.mov(rsi, qword_ptr(scratch::NODE))?;
    a.mov(ecx, dword_ptr(rsi + LEN))?;
    a.add(rcx, HEADER_LEN)?;
    routines.bytes(a, "setup_data")?;
    a.mov(rax, qword_ptr(scratch::NODE))?;
    a.mov(rax, qword_ptr(rax))?;
    a.jmp(next)?;
    a.set_label(&mut done)?;
    a.nop()
}

fn initrd(a: &mut CodeAssembler, routines: &Routines) -> Assembled {
    load(a, RAMDISK_IMAGE)?;
    a.mov(rsi, rax)?;
    load(a, RAMDISK_SIZE)?;
    a.mov(rcx, rax)?;
    routines.digest(a, "initrd_sha256")
}

/// Purgatory's table and digest as it left them, and the digest of what the
/// table names now.
fn purgatory(a: &mut CodeAssembler, routines: &Routines, log: &Log) -> Assembled {
    let offset = |place: u64| {
        i32::try_from(place.cast_signed() - PURGATORY_STACK_END.cast_signed()).expect("near RSP")
    };
    a.mov(rax, qword_ptr(log.of("rsp")))?;
    a.lea(rsi, ptr(rax + offset(PURGATORY_REGIONS)))?;
    a.mov(rcx, PURGATORY_DIGEST - PURGATORY_REGIONS)?;
    routines.bytes(a, "regions")?;
    a.mov(rax, qword_ptr(log.of("rsp")))?;
    a.lea(rsi, ptr(rax + offset(PURGATORY_DIGEST)))?;
    a.mov(ecx, 32)?;
    routines.bytes(a, "digest")?;
    routines.hash_start(a)?;
    for region in 0..PURGATORY_REGION_COUNT {
        let entry = offset(PURGATORY_REGIONS + 16 * region);
        a.mov(rax, qword_ptr(log.of("rsp")))?;
        a.mov(rsi, qword_ptr(rax + entry))?;
        a.mov(rcx, qword_ptr(rax + entry + 8))?;
        routines.hash_more(a)?;
    }
    // Whole pages, so no bytes are left.
    routines.hash_end(a, "regions_sha256")
}

/// The tables from CR3 on, as far as there are any: each has a first entry.
fn page_tables(a: &mut CodeAssembler, routines: &Routines, log: &Log) -> Assembled {
    let (mut next, mut done) = (a.create_label(), a.create_label());
    routines.hash_start(a)?;
    a.mov(rsi, qword_ptr(log.of("cr3")))?;
    a.set_label(&mut next)?;
    a.cmp(qword_ptr(rsi), 0)?;
    a.je(done)?;
    a.mov(ecx, PAGE_LEN)?;
    routines.hash_more(a)?;
    a.jmp(next)?;
    a.set_label(&mut done)?;
    a.xor(ecx, ecx)?;
    routines.hash_end(a, "page_tables_sha256")
}
