//! A program that does a real kexec: process 1 of a guest, which loads the next
//! kernel by `kexec_file_load(2)` and goes there.
//!
//! It is a whole ELF file without libraries, so an initrd of one file will do, and
//! mounts nothing. Of its memory only [`BUFFER`] is more than its file.

mod elf;

use iced_x86::code_asm::*;

use super::{
    Assembled, assemble,
    kexec_steps::{Step, TO_THE_NEXT_KERNEL},
    machine::{EXIT, MILESTONE},
};

/// System calls. arch/x86/entry/syscalls/syscall_64.tbl.
const READ: u32 = 0;
const WRITE: u32 = 1;
const OPEN: u32 = 2;
const IOCTL: u32 = 16;
const PAUSE: u32 = 34;
const UNAME: u32 = 63;
const REBOOT: u32 = 169;
const IOPL: u32 = 172;
const KEXEC_FILE_LOAD: u32 = 320;

/// `ENOENT`, as a system call returns it.
const NO_SUCH_FILE: i32 = -2;
/// `KEXEC_FILE_NO_INITRAMFS`, include/uapi/linux/kexec.h.
const NO_INITRAMFS: u32 = 4;
/// include/uapi/linux/reboot.h.
const REBOOT_MAGIC_1: u32 = 0xfee1_dead;
const REBOOT_MAGIC_2: u32 = 672_274_793;
const REBOOT_KEXEC: u32 = 0x4558_4543;
const REBOOT_POWER_OFF: u32 = 0x4321_fedc;
/// All that is to be said goes there: the console, which the kernel opens for
/// process 1.
const CONSOLE: u32 = 1;

/// `TCSBRK`, include/uapi/asm-generic/ioctls.h: with an argument other than 0 it
/// waits until all is sent.
const TTY_BREAK: u32 = 0x5409;

/// Room for a command line: far more than any kernel takes, so that it is the
/// kernel that refuses.
const CMDLINE_MAX: u32 = 0x1_0000;
/// The fields of `struct new_utsname` have 65 bytes; the release is the third.
const UTS_FIELD: u32 = 65;
const UTS_LEN: u32 = 6 * UTS_FIELD;
const RELEASE: u32 = 2 * UTS_FIELD;
/// Memory that begins as zeros: the command line and a NUL, the kernel's names.
const BUFFER: u32 = CMDLINE_MAX + 8 + UTS_LEN;
/// Where in it the names are.
const NAMES: u32 = CMDLINE_MAX + 8;

/// The program, an ELF file.
pub(crate) fn program() -> Vec<u8> {
    let code = assemble(64, program_code);
    elf::executable(&code, BUFFER)
}

/// Registers that outlive system calls, and what they are for: descriptors of files
/// first. RBX is the status of the step that is being taken.
const KERNEL: AsmRegister64 = r12;
const INITRD: AsmRegister64 = r13;
const CMDLINE: AsmRegister64 = r14;
/// Bytes of the command line read so far.
const FILLED: AsmRegister64 = r15;
/// The buffer.
const AT: AsmRegister64 = rbp;

/// What is called or jumped to again and again.
struct Labels {
    fail: CodeLabel,
    say: CodeLabel,
}

fn program_code(a: &mut CodeAssembler) -> Assembled {
    let mut labels = Labels { fail: a.create_label(), say: a.create_label() };
    a.mov(AT, elf::zeros_at())?;
    introduce(a, &labels)?;
    open_files(a, &labels)?;
    read_cmdline(a, &labels)?;
    load(a, &labels)?;
    leave(a, &labels)?;
    fail(a, &mut labels)?;
    say(a, &mut labels)
}

/// Says which kernel this is.
fn introduce(a: &mut CodeAssembler, labels: &Labels) -> Assembled {
    a.lea(rdi, qword_ptr(AT + NAMES))?;
    system_call(a, UNAME)?;
    text(a, labels, "kexec: from Linux ")?;
    a.lea(rsi, qword_ptr(AT + NAMES + RELEASE))?;
    a.call(labels.say)?;
    text(a, labels, "\n")
}

fn open_files(a: &mut CodeAssembler, labels: &Labels) -> Assembled {
    let (mut there, mut done) = (a.create_label(), a.create_label());
    open(a, "/kernel")?;
    check(a, labels, Step::OpenKernel)?;
    a.mov(KERNEL, rax)?;
    open(a, "/initrd")?;
    a.cmp(rax, NO_SUCH_FILE)?;
    a.jne(there)?;
    a.mov(INITRD, -1i64)?;
    a.jmp(done)?;
    a.set_label(&mut there)?;
    check(a, labels, Step::OpenInitrd)?;
    a.mov(INITRD, rax)?;
    a.set_label(&mut done)?;
    a.nop()
}

/// Reads the command line; what is behind it is zero, so a NUL ends it.
fn read_cmdline(a: &mut CodeAssembler, labels: &Labels) -> Assembled {
    let (mut more, mut done) = (a.create_label(), a.create_label());
    open(a, "/cmdline")?;
    check(a, labels, Step::OpenCmdline)?;
    a.mov(CMDLINE, rax)?;
    a.xor(r15d, r15d)?;
    a.set_label(&mut more)?;
    a.mov(rdi, CMDLINE)?;
    a.lea(rsi, qword_ptr(AT + FILLED))?;
    a.mov(edx, CMDLINE_MAX)?;
    a.sub(rdx, FILLED)?;
    system_call(a, READ)?;
    check(a, labels, Step::ReadCmdline)?;
    a.test(rax, rax)?;
    a.jz(done)?;
    a.add(FILLED, rax)?;
    a.jmp(more)?;
    a.set_label(&mut done)?;
    a.nop()
}

fn load(a: &mut CodeAssembler, labels: &Labels) -> Assembled {
    let mut with_initrd = a.create_label();
    a.xor(r8d, r8d)?;
    a.test(INITRD, INITRD)?;
    a.jns(with_initrd)?;
    a.mov(r8d, NO_INITRAMFS)?;
    a.set_label(&mut with_initrd)?;
    a.mov(rdi, KERNEL)?;
    a.mov(rsi, INITRD)?;
    // With its NUL.
    a.lea(rdx, qword_ptr(FILLED + 1))?;
    a.mov(r10, AT)?;
    system_call(a, KEXEC_FILE_LOAD)?;
    check(a, labels, Step::Load)?;
    text(a, labels, "kexec: loaded\n")
}

/// Says by the milestone port that all is ready, and goes to the next kernel.
fn leave(a: &mut CodeAssembler, labels: &Labels) -> Assembled {
    a.mov(edi, 3)?;
    system_call(a, IOPL)?;
    check(a, labels, Step::Ports)?;
    drain(a)?;
    write_port(a, MILESTONE, TO_THE_NEXT_KERNEL)?;
    reboot(a, REBOOT_KEXEC)?;
    // It has not come back unless it failed.
    a.mov(ebx, u32::from(Step::Reboot.status()))?;
    a.jmp(labels.fail)
}

/// Says what failed with which error, leaves EBX as the guest's exit status, and
/// powers off. RAX is the error.
fn fail(a: &mut CodeAssembler, labels: &mut Labels) -> Assembled {
    let (mut digit, mut wait) = (a.create_label(), a.create_label());
    a.set_label(&mut labels.fail)?;
    a.mov(r12, rax)?;
    a.neg(r12)?;
    text(a, labels, "kexec: error: ")?;
    for step in Step::ALL {
        let mut other = a.create_label();
        a.cmp(ebx, u32::from(step.status()))?;
        a.jne(other)?;
        text(a, labels, step.name())?;
        a.set_label(&mut other)?;
        a.nop()?;
    }
    text(a, labels, ": errno ")?;
    // In decimal, from its last digit on, in front of what is zero.
    a.lea(rsi, qword_ptr(AT + NAMES - 1))?;
    a.mov(byte_ptr(rsi), 0)?;
    a.mov(rax, r12)?;
    a.mov(ecx, 10)?;
    a.set_label(&mut digit)?;
    a.xor(edx, edx)?;
    a.div(rcx)?;
    a.add(dl, i32::from(b'0'))?;
    a.dec(rsi)?;
    a.mov(byte_ptr(rsi), dl)?;
    a.test(rax, rax)?;
    a.jnz(digit)?;
    a.call(labels.say)?;
    text(a, labels, "\n")?;
    drain(a)?;
    leave_status(a)?;
    reboot(a, REBOOT_POWER_OFF)?;
    // Process 1 must not end.
    a.set_label(&mut wait)?;
    system_call(a, PAUSE)?;
    a.jmp(wait)
}

/// Writes EBX to the exit port, if ports may be written to at all.
fn leave_status(a: &mut CodeAssembler) -> Assembled {
    let mut denied = a.create_label();
    a.mov(edi, 3)?;
    system_call(a, IOPL)?;
    a.test(rax, rax)?;
    a.js(denied)?;
    a.mov(edx, u32::from(EXIT))?;
    a.mov(eax, ebx)?;
    a.out(dx, al)?;
    a.set_label(&mut denied)?;
    a.nop()
}

/// Waits until all that was said is sent: neither the next kernel nor the end of
/// the machine would.
fn drain(a: &mut CodeAssembler) -> Assembled {
    a.mov(edi, CONSOLE)?;
    a.mov(esi, TTY_BREAK)?;
    a.mov(edx, 1)?;
    system_call(a, IOCTL)
}

/// Says the text at RSI, which a NUL ends. Keeps RBX, RBP and R12 to R15.
fn say(a: &mut CodeAssembler, labels: &mut Labels) -> Assembled {
    let (mut next, mut end) = (a.create_label(), a.create_label());
    a.set_label(&mut labels.say)?;
    a.xor(edx, edx)?;
    a.set_label(&mut next)?;
    a.cmp(byte_ptr(rsi + rdx), 0)?;
    a.je(end)?;
    a.inc(rdx)?;
    a.jmp(next)?;
    a.set_label(&mut end)?;
    a.mov(edi, CONSOLE)?;
    system_call(a, WRITE)?;
    a.ret()
}

/// Says `text`.
fn text(a: &mut CodeAssembler, labels: &Labels, text: &str) -> Assembled {
    lea_text(a, rsi, text)?;
    a.call(labels.say)
}

/// Opens that file to read it; RAX is the descriptor or the error.
fn open(a: &mut CodeAssembler, path: &str) -> Assembled {
    lea_text(a, rdi, path)?;
    a.xor(esi, esi)?;
    system_call(a, OPEN)
}

/// The address of `text`, which lies here and is jumped over.
fn lea_text(a: &mut CodeAssembler, to: AsmRegister64, text: &str) -> Assembled {
    let (mut here, mut behind) = (a.create_label(), a.create_label());
    a.lea(to, ptr(here))?;
    a.jmp(behind)?;
    a.set_label(&mut here)?;
    a.db(&[text.as_bytes(), &[0]].concat())?;
    a.set_label(&mut behind)?;
    a.nop()
}

/// Goes on if RAX is no error, else says that `step` failed.
fn check(a: &mut CodeAssembler, labels: &Labels, step: Step) -> Assembled {
    a.mov(ebx, u32::from(step.status()))?;
    a.test(rax, rax)?;
    a.js(labels.fail)
}

/// `reboot(2)`, which returns only if it fails.
fn reboot(a: &mut CodeAssembler, how: u32) -> Assembled {
    a.mov(edi, REBOOT_MAGIC_1)?;
    a.mov(esi, REBOOT_MAGIC_2)?;
    a.mov(edx, how)?;
    a.xor(r10d, r10d)?;
    system_call(a, REBOOT)
}

fn write_port(a: &mut CodeAssembler, port: u16, value: u8) -> Assembled {
    a.mov(edx, u32::from(port))?;
    a.mov(eax, u32::from(value))?;
    a.out(dx, al)
}

/// The system call of that number; RAX is what it returns. RCX and R11 are lost.
fn system_call(a: &mut CodeAssembler, number: u32) -> Assembled {
    a.mov(eax, number)?;
    a.syscall()
}
