//! What can't be read: said, and left out.

use iced_x86::code_asm::*;

use super::{Assembled, Routines, scratch};

/// Gates for all exceptions. Intel SDM vol. 3A, 6.14.1: present, interrupt gate.
const GATES: u32 = 32;
const GATE: u64 = 0x8e00 << 32;

/// From now on a fault is said, and ends what is being reported; what follows goes
/// on where [`item`] says.
pub(super) fn catch(a: &mut CodeAssembler, routines: &Routines) -> Assembled {
    let (mut handler, mut begin) = (a.create_label(), a.create_label());
    let (mut next, mut ready) = (a.create_label(), a.create_label());
    a.jmp(begin)?;
    a.set_label(&mut handler)?;
    a.mov(rsp, scratch::STACK_END)?;
    a.mov(rax, cr2)?;
    a.mov(qword_ptr(scratch::SUM), rax)?;
    routines.number(a, "fault", scratch::SUM)?;
    a.jmp(qword_ptr(scratch::RECOVERY))?;
    a.set_label(&mut begin)?;
    a.lea(rax, ptr(ready))?;
    a.mov(qword_ptr(scratch::RECOVERY), rax)?;
    a.lea(rdx, ptr(handler))?;
    // The handler's lower half and the selector; flags; the handler's upper half.
    a.movzx(eax, dx)?;
    a.xor(ecx, ecx)?;
    a.mov(ecx, cs)?;
    a.shl(ecx, 16)?;
    a.or(eax, ecx)?;
    a.mov(rcx, GATE)?;
    a.or(rax, rcx)?;
    a.mov(ecx, edx)?;
    a.shr(ecx, 16)?;
    a.shl(rcx, 48)?;
    a.or(rax, rcx)?;
    a.shr(rdx, 32)?;
    a.mov(rdi, scratch::IDT)?;
    a.mov(ecx, GATES)?;
    a.set_label(&mut next)?;
    a.mov(qword_ptr(rdi), rax)?;
    a.mov(qword_ptr(rdi + 8), rdx)?;
    a.add(rdi, 16)?;
    a.dec(ecx)?;
    a.jnz(next)?;
    a.mov(word_ptr(scratch::IDTR), i32::try_from(16 * GATES - 1).expect("a limit"))?;
    a.mov(rax, scratch::IDT)?;
    a.mov(qword_ptr(scratch::IDTR + 2), rax)?;
    a.lidt(ptr(scratch::IDTR))?;
    a.set_label(&mut ready)?;
    a.nop()
}

/// Something to report that may not be there to be read.
pub(super) fn item(
    a: &mut CodeAssembler,
    report: impl FnOnce(&mut CodeAssembler) -> Assembled,
) -> Assembled {
    let mut behind = a.create_label();
    a.lea(rax, ptr(behind))?;
    a.mov(qword_ptr(scratch::RECOVERY), rax)?;
    report(a)?;
    a.set_label(&mut behind)?;
    a.nop()
}
