//! In real mode: what a BIOS's boot loader goes to.

use iced_x86::code_asm::*;

use super::{
    super::{
        Assembled, Log, REAL, assemble,
        processor::{CONTROL, DEBUG, MSRS, SEGMENTS},
        scratch,
    },
    CODE_32, CODE_SELECTOR, FROM_REAL_MODE, GENERAL, PAGE, load_data_segments, low, write_gdt,
};

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

/// Setup code: what a boot loader of a BIOS goes to, behind the header.
pub(in super::super) fn setup(log: &Log) -> Vec<u8> {
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
