//! The other vCPUs: where they are before anybody starts them, and that they can
//! be started.

use iced_x86::code_asm::*;

use super::{
    Assembled, Routines,
    acpi::{HEADER_LEN, LENGTH, XSDT},
    assemble, scratch,
};
use crate::machine::LAPIC;

/// Offset of the local APIC's interrupt command register, lower half.
const ICR_LOW: u64 = 0x300;
/// To all but the sender: INIT, asserted; start-up, with the page to begin in.
const INIT: u32 = 0x000c_4500;
const START_UP: u32 = 0x000c_4600;

/// What firmware sets on every processor. Intel SDM vol. 4, 2.1.
const MSRS: [(&str, u32); 2] = [("other_misc_enable", 0x1a0), ("other_mtrr_def_type", 0x2ff)];

/// Reports how many vCPUs came to the kernel's entry; starts all others that the
/// MADT names, and reports how many of them came, and what MSRs the last one found.
/// Only on ukivm's own machine: another's might be at something.
pub(super) fn start(a: &mut CodeAssembler, routines: &Routines) -> Assembled {
    let (mut wait, mut alone) = (a.create_label(), a.create_label());
    let page = u32::try_from(scratch::TRAMPOLINE >> 12).expect("low memory");
    a.cmp(qword_ptr(scratch::OURS), 0)?;
    a.je(alone)?;
    routines.number(a, "started_before", scratch::STARTED)?;
    count(a)?;
    routines.number(a, "others", scratch::OTHERS)?;
    a.lea(rsi, ptr(routines.trampoline))?;
    a.mov(rdi, scratch::TRAMPOLINE)?;
    a.mov(ecx, u32::try_from(trampoline_code().len()).expect("a few bytes"))?;
    a.rep().movsb()?;
    a.mov(rbx, LAPIC + ICR_LOW)?;
    a.mov(dword_ptr(rbx), INIT.cast_signed())?;
    a.mov(dword_ptr(rbx), (START_UP | page).cast_signed())?;
    a.set_label(&mut wait)?;
    a.pause()?;
    a.mov(rax, qword_ptr(scratch::STARTED))?;
    a.cmp(rax, qword_ptr(scratch::OTHERS))?;
    a.jb(wait)?;
    routines.number(a, "started", scratch::STARTED)?;
    routines.number(a, "entries", scratch::ENTRIES)?;
    a.cmp(qword_ptr(scratch::OTHERS), 0)?;
    a.je(alone)?;
    for ((name, _), place) in MSRS.into_iter().zip(places()) {
        routines.number(a, name, place)?;
    }
    a.set_label(&mut alone)?;
    a.nop()
}

/// Counts the processors in the MADT that are enabled, and leaves out one, the
/// boot processor. ACPI 6.5, 5.2.12.2.
fn count(a: &mut CodeAssembler) -> Assembled {
    /// Behind the header: the local APICs' address, and flags.
    const STRUCTURES: i32 = HEADER_LEN + 8;
    const STRUCTURE_LENGTH: i32 = 1;
    const PROCESSOR: i32 = 0;
    const FLAGS: i32 = 4;
    const ENABLED: i32 = 1;
    let mut next_table = a.create_label();
    let (mut next, mut other, mut done) = (a.create_label(), a.create_label(), a.create_label());
    a.xor(edi, edi)?;
    a.mov(rsi, qword_ptr(scratch::RSDP))?;
    a.test(rsi, rsi)?;
    a.jz(done)?;
    a.mov(rsi, qword_ptr(rsi + XSDT))?;
    a.mov(ecx, dword_ptr(rsi + LENGTH))?;
    a.add(rcx, rsi)?;
    a.add(rsi, HEADER_LEN)?;
    a.set_label(&mut next_table)?;
    a.cmp(rsi, rcx)?;
    a.jae(done)?;
    a.mov(rdx, qword_ptr(rsi))?;
    a.add(rsi, 8)?;
    a.cmp(dword_ptr(rdx), i32::from_le_bytes(*b"APIC"))?;
    a.jne(next_table)?;
    a.mov(ecx, dword_ptr(rdx + LENGTH))?;
    a.add(rcx, rdx)?;
    a.lea(rsi, ptr(rdx + STRUCTURES))?;
    // The boot processor is not one of the others.
    a.dec(rdi)?;
    a.set_label(&mut next)?;
    a.cmp(rsi, rcx)?;
    a.jae(done)?;
    a.cmp(byte_ptr(rsi), PROCESSOR)?;
    a.jne(other)?;
    a.test(byte_ptr(rsi + FLAGS), ENABLED)?;
    a.jz(other)?;
    a.inc(rdi)?;
    a.set_label(&mut other)?;
    a.movzx(eax, byte_ptr(rsi + STRUCTURE_LENGTH))?;
    a.add(rsi, rax)?;
    a.jmp(next)?;
    a.set_label(&mut done)?;
    a.mov(qword_ptr(scratch::OTHERS), rdi)
}

/// The code that the others begin with, to be copied.
pub(super) fn trampoline(a: &mut CodeAssembler, routines: &mut Routines) -> Assembled {
    a.set_label(&mut routines.trampoline)?;
    a.db(&trampoline_code())
}

/// In real mode: keeps MSRs, counts itself, and halts.
fn trampoline_code() -> Vec<u8> {
    assemble(16, |a| {
        let low = |place: u64| i32::try_from(place).expect("low memory");
        a.xor(ax, ax)?;
        a.mov(ds, ax)?;
        for ((_, number), place) in MSRS.into_iter().zip(places()) {
            a.mov(ecx, number)?;
            a.rdmsr()?;
            a.mov(dword_ptr(low(place)), eax)?;
            a.mov(dword_ptr(low(place) + 4), edx)?;
        }
        a.lock().inc(dword_ptr(low(scratch::STARTED)))?;
        a.cli()?;
        a.hlt()
    })
}

/// Where those MSRs are kept.
fn places() -> impl Iterator<Item = u64> {
    (scratch::OTHER_MSRS..).step_by(8)
}
