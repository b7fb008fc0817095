//! The state of the CPU at the first instruction.

use firmware_less::{cpu_state::LocalApic, machine::LAPIC};
use iced_x86::code_asm::*;

use super::guest::{Assembled, CODE, Guest, SCRATCH, STACK, power_off, send};
use crate::support::cpu_state::cpu_state;

const IA32_MISC_ENABLE: u32 = 0x1a0;
const IA32_MTRR_DEF_TYPE: u32 = 0x2ff;
const IA32_EFER: u32 = 0xc000_0080;
const IA32_FS_BASE: u32 = 0xc000_0100;
const IA32_GS_BASE: u32 = 0xc000_0101;

/// Offsets of the local APIC's registers.
const TPR: u64 = 0x80;
const SPIV: u64 = 0xf0;
const LVT0: u64 = 0x350;
const LVT1: u64 = 0x360;

/// Where FXSAVE puts the control words.
const FXSAVE_FCW: usize = 0;
const FXSAVE_MXCSR: usize = 24;
const FXSAVE_LEN: usize = 512;
const FXSAVE_AT: u64 = SCRATCH + 0x1000;

/// Memory that fills up from the start.
struct Log {
    next: u64,
}

impl Log {
    fn slot(&mut self) -> u64 {
        let slot = self.next;
        self.next += 8;
        slot
    }

    /// Keeps RAX.
    fn rax(&mut self, a: &mut CodeAssembler) -> Assembled {
        a.mov(qword_ptr(self.slot()), rax)
    }

    fn msr(&mut self, a: &mut CodeAssembler, index: u32) -> Assembled {
        a.mov(ecx, index)?;
        a.rdmsr()?;
        a.shl(rdx, 32)?;
        a.or(rax, rdx)?;
        self.rax(a)
    }
}

/// Keeps everything, the general registers first, and sends it.
fn report(a: &mut CodeAssembler) -> Assembled {
    let mut log = Log { next: SCRATCH };
    for register in [rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15] {
        a.mov(qword_ptr(log.slot()), register)?;
    }
    a.mov(rsp, STACK)?;
    a.pushfq()?;
    a.pop(rax)?;
    log.rax(a)?;
    for control in [cr0, cr3, cr4] {
        a.mov(rax, control)?;
        log.rax(a)?;
    }
    for segment in [cs, ds, es, fs, gs, ss] {
        a.mov(eax, segment)?;
        log.rax(a)?;
    }
    a.xor(eax, eax)?;
    a.str(ax)?;
    log.rax(a)?;
    a.sldt(ax)?;
    log.rax(a)?;
    for msr in [IA32_EFER, IA32_FS_BASE, IA32_GS_BASE, IA32_MTRR_DEF_TYPE, IA32_MISC_ENABLE] {
        log.msr(a, msr)?;
    }
    for register in [TPR, SPIV, LVT0, LVT1] {
        a.mov(rbx, LAPIC.start() + register)?;
        a.mov(eax, dword_ptr(rbx))?;
        log.rax(a)?;
    }
    for pic_mask in [0x21, 0xa1] {
        a.xor(eax, eax)?;
        a.in_(al, pic_mask)?;
        log.rax(a)?;
    }
    a.sgdt(ptr(log.slot()))?;
    log.slot();
    a.sidt(ptr(log.slot()))?;
    log.slot();
    save_fpu(a)?;
    send(a, SCRATCH, usize::try_from(log.next - SCRATCH).expect("a short log"))?;
    send(a, FXSAVE_AT, FXSAVE_LEN)?;
    power_off(a)
}

/// Without CR4.OSFXSR, FXSAVE may leave MXCSR out.
fn save_fpu(a: &mut CodeAssembler) -> Assembled {
    const OSFXSR: i32 = 1 << 9;
    a.mov(rax, cr4)?;
    a.or(rax, OSFXSR)?;
    a.mov(cr4, rax)?;
    a.mov(rbx, FXSAVE_AT)?;
    a.fxsave64(ptr(rbx))
}

#[test]
fn every_register_is_as_planned() {
    let planned = cpu_state();
    assert_eq!(planned.registers.rip, CODE);
    let guest = Guest::new(report).with_cpu(&planned);
    let Some(ran) = guest.run("every_register_is_as_planned") else { return };
    let output = ran.powered_off();
    let (log, fxsave) = output.split_at(output.len() - FXSAVE_LEN);
    let mut words = log.chunks(8).map(|word| u64::from_le_bytes(word.try_into().expect("8")));
    let mut next = |name| words.next().unwrap_or_else(|| panic!("{name} is reported"));

    for (name, register) in planned.registers.general() {
        assert_eq!(next(name), register, "{name}");
    }
    for (name, register) in [
        ("rflags", planned.registers.rflags),
        ("cr0", planned.cr0),
        ("cr3", planned.cr3),
        ("cr4", planned.cr4),
    ] {
        assert_eq!(next(name), register, "{name}");
    }
    for (name, segment) in planned.segments() {
        assert_eq!(next(name), u64::from(segment.selector), "{name}");
    }
    for (name, value) in [
        ("efer", planned.efer),
        ("fs base", planned.fs.base),
        ("gs base", planned.gs.base),
        ("mtrr_def_type", planned.msrs.mtrr_def_type),
    ] {
        assert_eq!(next(name), value, "{name}");
    }
    let wanted = planned.msrs.misc_enable_set;
    assert_eq!(next("misc_enable") & wanted, wanted, "misc_enable");
    let LocalApic { tpr, spiv, lvt0, lvt1 } = planned.local_apic;
    for (name, value) in [("tpr", tpr), ("spiv", spiv), ("lvt0", lvt0), ("lvt1", lvt1)] {
        assert_eq!(next(name), u64::from(value), "{name}");
    }
    for name in ["master PIC", "slave PIC"] {
        assert_eq!(next(name), u64::from(planned.pic_mask), "{name}");
    }
    for (name, table) in [("gdtr", planned.gdtr), ("idtr", planned.idtr)] {
        let (low, high) = (next(name), next(name));
        assert_eq!(low & 0xffff, u64::from(table.limit), "{name} limit");
        assert_eq!(low >> 16 | high << 48, table.base, "{name} base");
    }
    assert_eq!(fxsave[FXSAVE_FCW..][..2], planned.fcw.to_le_bytes(), "fcw");
    assert_eq!(fxsave[FXSAVE_MXCSR..][..4], planned.mxcsr.to_le_bytes(), "mxcsr");
}
