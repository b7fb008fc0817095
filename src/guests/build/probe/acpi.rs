//! ACPI tables, and whose they are.

use iced_x86::code_asm::*;

use super::{Assembled, EFI, Log, REAL, Routines, faults::item, scratch};
use crate::machine::{ACPI_TABLES_MAX, ACPI_WINDOW};

/// Offset of the RSDP's address in `boot_params`.
const RSDP: i32 = 0x70;
/// ACPI 6.5, 5.2.5.3: an RSDP of revision 2.
const RSDP_LEN: u32 = 36;
const OEM_ID: i32 = 9;
const REVISION: i32 = 15;
const RSDT: i32 = 16;
pub(super) const XSDT: i32 = 24;
/// ACPI 6.5, 5.2.6: what every other table begins with.
pub(super) const HEADER_LEN: i32 = 36;
pub(super) const LENGTH: i32 = 4;

/// Reports the RSDP, the header of each table that it leads to, and a digest of what
/// follows the RSDP.
pub(super) fn report(a: &mut CodeAssembler, routines: &Routines) -> Assembled {
    let mut none = a.create_label();
    routines.number(a, "rsdp_at", scratch::RSDP)?;
    a.cmp(qword_ptr(scratch::RSDP), 0)?;
    a.je(none)?;
    item(a, |a| {
        a.mov(rsi, qword_ptr(scratch::RSDP))?;
        a.mov(ecx, RSDP_LEN)?;
        routines.bytes(a, "rsdp")
    })?;
    item(a, |a| tables(a, routines))?;
    item(a, |a| {
        a.mov(rsi, qword_ptr(scratch::RSDP))?;
        a.mov(rcx, ACPI_WINDOW)?;
        routines.digest(a, "acpi_sha256")
    })?;
    a.set_label(&mut none)?;
    a.nop()
}

/// What the XSDT names, or before ACPI 2 the RSDT.
fn tables(a: &mut CodeAssembler, routines: &Routines) -> Assembled {
    let (mut next, mut done) = (a.create_label(), a.create_label());
    let mut counted = a.create_label();
    a.mov(rbx, qword_ptr(scratch::RSDP))?;
    a.mov(esi, dword_ptr(rbx + RSDT))?;
    a.mov(ecx, 2)?;
    a.cmp(byte_ptr(rbx + REVISION), 2)?;
    a.jb(counted)?;
    a.mov(rsi, qword_ptr(rbx + XSDT))?;
    a.mov(ecx, 3)?;
    a.set_label(&mut counted)?;
    a.test(rsi, rsi)?;
    a.jz(done)?;
    a.mov(qword_ptr(scratch::WIDTH), rcx)?;
    a.mov(eax, dword_ptr(rsi + LENGTH))?;
    a.sub(eax, HEADER_LEN)?;
    a.shr(eax, cl)?;
    a.cmp(eax, ACPI_TABLES_MAX.cast_signed())?;
    a.ja(done)?;
    a.mov(qword_ptr(scratch::LEFT), rax)?;
    a.add(rsi, HEADER_LEN)?;
    a.mov(qword_ptr(scratch::NODE), rsi)?;
    a.set_label(&mut next)?;
    a.dec(qword_ptr(scratch::LEFT))?;
    a.js(done)?;
    entry(a)?;
    routines.number(a, "acpi_table_at", scratch::ENTRY)?;
    a.mov(rsi, qword_ptr(scratch::ENTRY))?;
    a.mov(ecx, HEADER_LEN)?;
    routines.bytes(a, "acpi_table")?;
    a.jmp(next)?;
    a.set_label(&mut done)?;
    a.nop()
}

/// The next entry, as wide as it is.
fn entry(a: &mut CodeAssembler) -> Assembled {
    let mut whole = a.create_label();
    a.mov(rsi, qword_ptr(scratch::NODE))?;
    a.mov(rcx, qword_ptr(scratch::WIDTH))?;
    a.mov(eax, dword_ptr(rsi))?;
    a.cmp(ecx, 3)?;
    a.jb(whole)?;
    a.mov(rax, qword_ptr(rsi))?;
    a.set_label(&mut whole)?;
    a.mov(qword_ptr(scratch::ENTRY), rax)?;
    a.mov(eax, 1)?;
    a.shl(eax, cl)?;
    a.add(qword_ptr(scratch::NODE), rax)
}

/// Finds the RSDP: where `boot_params`, in RBP, says it is; or else where a kernel
/// looks for it that was started by a BIOS's loader, or by firmware's.
pub(super) fn find(a: &mut CodeAssembler, log: &Log) -> Assembled {
    let (mut by_efi, mut done) = (a.create_label(), a.create_label());
    a.mov(rsi, qword_ptr(rbp + RSDP))?;
    a.mov(qword_ptr(scratch::RSDP), rsi)?;
    a.test(rsi, rsi)?;
    a.jnz(done)?;
    a.cmp(qword_ptr(log.of("entry")), EFI)?;
    a.je(by_efi)?;
    a.cmp(qword_ptr(log.of("entry")), REAL)?;
    a.jne(done)?;
    in_bios(a, done)?;
    a.set_label(&mut by_efi)?;
    in_system_table(a, log, done)?;
    a.set_label(&mut done)?;
    a.nop()
}

/// ACPI 6.5, 5.2.5.1.
fn in_bios(a: &mut CodeAssembler, done: CodeLabel) -> Assembled {
    const AREA: u32 = 0xe_0000;
    const AREA_END: i32 = 0x10_0000;
    let (mut next, mut found) = (a.create_label(), a.create_label());
    a.mov(rax, u64::from_le_bytes(*b"RSD PTR "))?;
    a.mov(esi, AREA)?;
    a.set_label(&mut next)?;
    a.cmp(qword_ptr(rsi), rax)?;
    a.je(found)?;
    a.add(esi, 16)?;
    a.cmp(esi, AREA_END)?;
    a.jb(next)?;
    a.jmp(done)?;
    a.set_label(&mut found)?;
    a.mov(qword_ptr(scratch::RSDP), rsi)?;
    a.jmp(done)
}

/// By the GUID of ACPI 2.0 and later. ACPI 6.5, 5.2.5.2; UEFI 2.10, 4.3 and 4.6: the
/// system table is the handover protocol's second argument.
fn in_system_table(a: &mut CodeAssembler, log: &Log, done: CodeLabel) -> Assembled {
    const ENTRIES: i32 = 104;
    const TABLE: i32 = 112;
    const ENTRY_LEN: i32 = 24;
    const GUID: [u64; 2] = [0x11d3_e4f1_8868_e871, 0x8188_3cc7_8000_22bc];
    let (mut next, mut other) = (a.create_label(), a.create_label());
    a.mov(rsi, qword_ptr(log.of("rsi")))?;
    a.mov(rcx, qword_ptr(rsi + ENTRIES))?;
    a.mov(rsi, qword_ptr(rsi + TABLE))?;
    a.set_label(&mut next)?;
    a.dec(rcx)?;
    a.js(done)?;
    for (place, half) in [0, 8].into_iter().zip(GUID) {
        a.mov(rax, half)?;
        a.cmp(qword_ptr(rsi + place), rax)?;
        a.jne(other)?;
    }
    a.mov(rax, qword_ptr(rsi + 16))?;
    a.mov(qword_ptr(scratch::RSDP), rax)?;
    a.jmp(done)?;
    a.set_label(&mut other)?;
    a.add(rsi, ENTRY_LEN)?;
    a.jmp(next)
}

/// Finds out whether the machine is ukivm's own, by the OEM that its RSDP names.
pub(super) fn recognise(a: &mut CodeAssembler) -> Assembled {
    let mut other = a.create_label();
    a.mov(qword_ptr(scratch::OURS), 0)?;
    a.mov(rsi, qword_ptr(scratch::RSDP))?;
    a.test(rsi, rsi)?;
    a.jz(other)?;
    a.cmp(dword_ptr(rsi + OEM_ID), i32::from_le_bytes(*b"UKIV"))?;
    a.jne(other)?;
    a.cmp(word_ptr(rsi + OEM_ID + 4), i32::from(u16::from_le_bytes(*b"M ")))?;
    a.jne(other)?;
    a.inc(qword_ptr(scratch::OURS))?;
    a.set_label(&mut other)?;
    a.nop()
}
