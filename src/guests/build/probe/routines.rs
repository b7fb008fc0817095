//! What the probe calls again and again: printing, and the digest.

use iced_x86::code_asm::*;

use super::{Assembled, scratch, sha256};
use crate::machine::{FNV_BASIS, FNV_PRIME, SERIAL};

/// Registers of a 16550, and bits in them.
const FIFO_CONTROL: u32 = SERIAL as u32 + 2;
const FIFO_ENABLE: u32 = 1;
const LINE_STATUS: u32 = SERIAL as u32 + 5;
const TRANSMITTER_EMPTY: i32 = 1 << 5;
const ALL_SENT: i32 = 1 << 6;
/// What an empty transmitter takes at once.
const FIFO_LEN: u32 = 16;

/// Routines, and where they begin. None keeps any register but RBP and RSP.
pub(super) struct Routines {
    text: CodeLabel,
    number: CodeLabel,
    bytes: CodeLabel,
    put_byte: CodeLabel,
    put_char: CodeLabel,
    flush: CodeLabel,
    hash_start: CodeLabel,
    hash_more: CodeLabel,
    hash_end: CodeLabel,
    sum: CodeLabel,
    /// Where vCPUs begin that others started.
    pub(super) trampoline: CodeLabel,
}

impl Routines {
    pub(super) fn new(a: &mut CodeAssembler) -> Self {
        Self {
            text: a.create_label(),
            number: a.create_label(),
            bytes: a.create_label(),
            put_byte: a.create_label(),
            put_char: a.create_label(),
            flush: a.create_label(),
            hash_start: a.create_label(),
            hash_more: a.create_label(),
            hash_end: a.create_label(),
            sum: a.create_label(),
            trampoline: a.create_label(),
        }
    }

    /// Before anything is printed.
    pub(super) fn start_printing(a: &mut CodeAssembler) -> Assembled {
        a.mov(qword_ptr(scratch::FILLED), 0)?;
        a.mov(edx, FIFO_CONTROL)?;
        a.mov(eax, FIFO_ENABLE)?;
        a.out(dx, al)
    }

    /// After everything was printed: waits until it has left the port, for what
    /// is in there when the power goes off is lost.
    pub(super) fn end_printing(&self, a: &mut CodeAssembler) -> Assembled {
        a.call(self.flush)?;
        wait_for(a, ALL_SENT)
    }

    /// Prints `text`, which lies behind the call.
    pub(super) fn text(&self, a: &mut CodeAssembler, text: &str) -> Assembled {
        a.call(self.text)?;
        a.db(&[text.as_bytes(), &[0]].concat())
    }

    fn name(&self, a: &mut CodeAssembler, name: &str) -> Assembled {
        self.text(a, &format!("\nprobe: {name}="))
    }

    /// A line with the eight bytes at `place` as a number.
    pub(super) fn number(&self, a: &mut CodeAssembler, name: &str, place: u64) -> Assembled {
        self.name(a, name)?;
        a.mov(rsi, place)?;
        a.call(self.number)
    }

    /// A line with RCX bytes from RSI on.
    pub(super) fn bytes(&self, a: &mut CodeAssembler, name: &str) -> Assembled {
        a.push(rsi)?;
        a.push(rcx)?;
        self.name(a, name)?;
        a.pop(rcx)?;
        a.pop(rsi)?;
        a.call(self.bytes)
    }

    /// A line with the digest of RCX bytes from RSI on.
    pub(super) fn digest(&self, a: &mut CodeAssembler, name: &str) -> Assembled {
        self.hash_start(a)?;
        self.hash_more(a)?;
        self.hash_end(a, name)
    }

    /// A line with the cheap digest of RCX bytes from RSI on.
    pub(super) fn sum(&self, a: &mut CodeAssembler, name: &str) -> Assembled {
        a.call(self.sum)?;
        self.number(a, name, scratch::SUM)
    }

    /// Begins a digest. Keeps RSI and RCX.
    pub(super) fn hash_start(&self, a: &mut CodeAssembler) -> Assembled {
        a.call(self.hash_start)
    }

    /// Hashes whole blocks; RSI and RCX are what is left.
    pub(super) fn hash_more(&self, a: &mut CodeAssembler) -> Assembled {
        a.call(self.hash_more)
    }

    /// Hashes what is left; a line with the digest.
    pub(super) fn hash_end(&self, a: &mut CodeAssembler, name: &str) -> Assembled {
        a.call(self.hash_end)?;
        a.mov(rsi, scratch::STATE)?;
        a.mov(ecx, 32)?;
        self.bytes(a, name)
    }

    /// The routines themselves.
    pub(super) fn emit(&mut self, a: &mut CodeAssembler) -> Assembled {
        self.emit_text(a)?;
        self.emit_number(a)?;
        self.emit_bytes(a)?;
        self.emit_put_byte(a)?;
        self.emit_put_char(a)?;
        self.emit_flush(a)?;
        a.set_label(&mut self.hash_start)?;
        sha256::start(a)?;
        a.set_label(&mut self.hash_more)?;
        sha256::more(a)?;
        a.set_label(&mut self.hash_end)?;
        sha256::end(a, self.hash_more)?;
        self.emit_sum(a)
    }

    /// FNV-1a over words of eight bytes, the last one filled up with zeros: five
    /// instructions a word, where SHA-256 takes some three hundred.
    fn emit_sum(&mut self, a: &mut CodeAssembler) -> Assembled {
        let (mut next, mut rest, mut done) = (a.create_label(), a.create_label(), a.create_label());
        a.set_label(&mut self.sum)?;
        a.mov(rbx, FNV_BASIS)?;
        a.mov(r8, FNV_PRIME)?;
        a.mov(rdx, rcx)?;
        a.shr(rcx, 3)?;
        a.jz(rest)?;
        a.set_label(&mut next)?;
        a.lodsq()?;
        a.xor(rbx, rax)?;
        a.imul_2(rbx, r8)?;
        a.dec(rcx)?;
        a.jnz(next)?;
        a.set_label(&mut rest)?;
        a.and(edx, 7)?;
        a.jz(done)?;
        a.mov(qword_ptr(scratch::SUM), 0)?;
        a.mov(rdi, scratch::SUM)?;
        a.mov(ecx, edx)?;
        a.rep().movsb()?;
        a.xor(rbx, qword_ptr(scratch::SUM))?;
        a.imul_2(rbx, r8)?;
        a.set_label(&mut done)?;
        a.mov(qword_ptr(scratch::SUM), rbx)?;
        a.ret()
    }

    fn emit_text(&mut self, a: &mut CodeAssembler) -> Assembled {
        let (mut next, mut done) = (a.create_label(), a.create_label());
        a.set_label(&mut self.text)?;
        a.pop(rsi)?;
        a.set_label(&mut next)?;
        a.lodsb()?;
        a.test(al, al)?;
        a.jz(done)?;
        a.call(self.put_char)?;
        a.jmp(next)?;
        a.set_label(&mut done)?;
        a.jmp(rsi)
    }

    fn emit_number(&mut self, a: &mut CodeAssembler) -> Assembled {
        let mut next = a.create_label();
        a.set_label(&mut self.number)?;
        a.mov(ecx, 8)?;
        a.set_label(&mut next)?;
        a.mov(al, byte_ptr(rsi + rcx - 1))?;
        a.call(self.put_byte)?;
        a.dec(ecx)?;
        a.jnz(next)?;
        a.ret()
    }

    fn emit_bytes(&mut self, a: &mut CodeAssembler) -> Assembled {
        let (mut next, mut done) = (a.create_label(), a.create_label());
        a.set_label(&mut self.bytes)?;
        a.test(rcx, rcx)?;
        a.jz(done)?;
        a.set_label(&mut next)?;
        a.lodsb()?;
        a.call(self.put_byte)?;
        a.dec(rcx)?;
        a.jnz(next)?;
        a.set_label(&mut done)?;
        a.ret()
    }

    /// Prints AL in hex; keeps RSI and RCX.
    fn emit_put_byte(&mut self, a: &mut CodeAssembler) -> Assembled {
        let (mut digit, mut decimal) = (a.create_label(), a.create_label());
        a.set_label(&mut self.put_byte)?;
        a.mov(bl, al)?;
        a.shr(al, 4)?;
        a.call(digit)?;
        a.mov(al, bl)?;
        a.and(al, 0xf)?;
        a.set_label(&mut digit)?;
        a.add(al, i32::from(b'0'))?;
        a.cmp(al, i32::from(b'9'))?;
        a.jbe(decimal)?;
        a.add(al, i32::from(b'a' - b'0' - 10))?;
        a.set_label(&mut decimal)?;
        a.jmp(self.put_char)
    }

    /// Prints AL, later if not now; keeps RSI, RCX and BL.
    fn emit_put_char(&mut self, a: &mut CodeAssembler) -> Assembled {
        let mut later = a.create_label();
        a.set_label(&mut self.put_char)?;
        a.mov(rdx, qword_ptr(scratch::FILLED))?;
        let output = i32::try_from(scratch::OUTPUT).expect("low memory");
        a.mov(byte_ptr(rdx + output), al)?;
        a.inc(edx)?;
        a.mov(qword_ptr(scratch::FILLED), rdx)?;
        a.cmp(edx, FIFO_LEN)?;
        a.jb(later)?;
        a.call(self.flush)?;
        a.set_label(&mut later)?;
        a.ret()
    }

    /// Sends what was printed so far; keeps RSI, RCX and BL.
    fn emit_flush(&mut self, a: &mut CodeAssembler) -> Assembled {
        a.set_label(&mut self.flush)?;
        wait_for(a, TRANSMITTER_EMPTY)?;
        a.mov(edx, u32::from(SERIAL))?;
        a.push(rsi)?;
        a.push(rcx)?;
        a.mov(rsi, scratch::OUTPUT)?;
        a.mov(rcx, qword_ptr(scratch::FILLED))?;
        a.rep().outsb()?;
        a.mov(qword_ptr(scratch::FILLED), 0)?;
        a.pop(rcx)?;
        a.pop(rsi)?;
        a.ret()
    }
}

/// Waits until the serial port says that.
fn wait_for(a: &mut CodeAssembler, status: i32) -> Assembled {
    let mut wait = a.create_label();
    a.mov(edx, LINE_STATUS)?;
    a.set_label(&mut wait)?;
    a.in_(al, dx)?;
    a.test(al, status)?;
    a.jz(wait)
}
