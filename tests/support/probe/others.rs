//! The other vCPUs: where they are before anybody starts them, and that they can
//! be started.

use firmware_less::machine::LAPIC;
use iced_x86::code_asm::*;

use super::{Assembled, Routines, assemble, scratch};

/// Offset of the local APIC's interrupt command register, lower half.
const ICR_LOW: u64 = 0x300;
/// To all but the sender: INIT, asserted; start-up, with the page to begin in.
const INIT: u32 = 0x000c_4500;
const START_UP: u32 = 0x000c_4600;

/// What firmware sets on every processor. Intel SDM vol. 4, 2.1.
const MSRS: [(&str, u32); 2] = [("other_misc_enable", 0x1a0), ("other_mtrr_def_type", 0x2ff)];

/// Reports how many vCPUs came to the kernel's entry; starts all others, and
/// reports how many of them came, and what MSRs the last one found.
pub(super) fn start(a: &mut CodeAssembler, routines: &Routines, cpus: u32) -> Assembled {
    let page = u32::try_from(scratch::TRAMPOLINE >> 12).expect("low memory");
    routines.number(a, "started_before", scratch::STARTED)?;
    a.lea(rsi, ptr(routines.trampoline))?;
    a.mov(rdi, scratch::TRAMPOLINE)?;
    a.mov(ecx, u32::try_from(trampoline_code().len()).expect("a few bytes"))?;
    a.rep().movsb()?;
    a.mov(rbx, LAPIC.start() + ICR_LOW)?;
    a.mov(dword_ptr(rbx), INIT.cast_signed())?;
    a.mov(dword_ptr(rbx), (START_UP | page).cast_signed())?;
    let mut wait = a.create_label();
    a.set_label(&mut wait)?;
    a.pause()?;
    a.cmp(qword_ptr(scratch::STARTED), (cpus - 1).cast_signed())?;
    a.jb(wait)?;
    routines.number(a, "started", scratch::STARTED)?;
    routines.number(a, "entries", scratch::ENTRIES)?;
    if cpus > 1 {
        for ((name, _), place) in MSRS.into_iter().zip(places()) {
            routines.number(a, name, place)?;
        }
    }
    Ok(())
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
