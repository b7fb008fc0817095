//! ACPI tables, and whose they are.

use iced_x86::code_asm::*;

use super::{Assembled, Routines, faults::item, scratch};
use crate::machine::{ACPI_TABLES_MAX, ACPI_WINDOW};

/// Offset of the RSDP's address in `boot_params`.
pub(super) const RSDP: i32 = 0x70;
/// ACPI 6.5, 5.2.5.3: an RSDP of revision 2.
const RSDP_LEN: u32 = 36;
const OEM_ID: i32 = 9;
pub(super) const XSDT: i32 = 24;
/// ACPI 6.5, 5.2.6: what every other table begins with.
pub(super) const HEADER_LEN: i32 = 36;
pub(super) const LENGTH: i32 = 4;

/// Reports the RSDP, the header of each table that the XSDT names, and a digest of
/// what follows the RSDP. RBP is `boot_params`.
pub(super) fn report(a: &mut CodeAssembler, routines: &Routines) -> Assembled {
    let mut none = a.create_label();
    a.cmp(qword_ptr(rbp + RSDP), 0)?;
    a.je(none)?;
    item(a, |a| {
        a.mov(rsi, qword_ptr(rbp + RSDP))?;
        a.mov(ecx, RSDP_LEN)?;
        routines.bytes(a, "rsdp")
    })?;
    item(a, |a| tables(a, routines))?;
    item(a, |a| {
        a.mov(rsi, qword_ptr(rbp + RSDP))?;
        a.mov(rcx, ACPI_WINDOW)?;
        routines.digest(a, "acpi_sha256")
    })?;
    a.set_label(&mut none)?;
    a.nop()
}

fn tables(a: &mut CodeAssembler, routines: &Routines) -> Assembled {
    let (mut next, mut done) = (a.create_label(), a.create_label());
    a.mov(rsi, qword_ptr(rbp + RSDP))?;
    a.mov(rsi, qword_ptr(rsi + XSDT))?;
    a.test(rsi, rsi)?;
    a.jz(done)?;
    a.mov(eax, dword_ptr(rsi + LENGTH))?;
    a.sub(eax, HEADER_LEN)?;
    a.shr(eax, 3)?;
    a.cmp(eax, ACPI_TABLES_MAX.cast_signed())?;
    a.ja(done)?;
    a.mov(qword_ptr(scratch::LEFT), rax)?;
    a.add(rsi, HEADER_LEN)?;
    a.mov(qword_ptr(scratch::NODE), rsi)?;
    a.set_label(&mut next)?;
    a.cmp(qword_ptr(scratch::LEFT), 0)?;
    a.je(done)?;
    a.dec(qword_ptr(scratch::LEFT))?;
    a.mov(rsi, qword_ptr(scratch::NODE))?;
    routines.number_at_rsi(a, "acpi_table_at")?;
    a.mov(rsi, qword_ptr(scratch::NODE))?;
    a.add(qword_ptr(scratch::NODE), 8)?;
    a.mov(rsi, qword_ptr(rsi))?;
    a.mov(ecx, HEADER_LEN)?;
    routines.bytes(a, "acpi_table")?;
    a.jmp(next)?;
    a.set_label(&mut done)?;
    a.nop()
}

/// Finds out whether the machine is ukivm's own, by the OEM that its RSDP names.
pub(super) fn recognise(a: &mut CodeAssembler) -> Assembled {
    let mut other = a.create_label();
    a.mov(qword_ptr(scratch::OURS), 0)?;
    a.mov(rsi, qword_ptr(rbp + RSDP))?;
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
