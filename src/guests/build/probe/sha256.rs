//! SHA-256 in assembly, over low memory as working space. FIPS 180-4.

use iced_x86::code_asm::*;

use super::{Assembled, scratch};

const BLOCK: i32 = 64;

/// The working variables a to h, in the first round.
const VARIABLES: [AsmRegister32; 8] = [r8d, r9d, r10d, r11d, r12d, r13d, r14d, r15d];

/// Puts the first state. Keeps RSI and RCX.
pub(super) fn start(a: &mut CodeAssembler) -> Assembled {
    for (word, at) in primes().map(square_root).zip(state()) {
        a.mov(dword_ptr(at), word.cast_signed())?;
    }
    a.mov(qword_ptr(scratch::HASHED), 0)?;
    a.ret()
}

/// Hashes whole blocks of the RCX bytes from RSI on, and advances both.
pub(super) fn more(a: &mut CodeAssembler) -> Assembled {
    let (mut next, mut done) = (a.create_label(), a.create_label());
    a.add(qword_ptr(scratch::HASHED), rcx)?;
    a.set_label(&mut next)?;
    a.cmp(rcx, BLOCK)?;
    a.jb(done)?;
    block(a)?;
    a.add(rsi, BLOCK)?;
    a.sub(rcx, BLOCK)?;
    a.jmp(next)?;
    a.set_label(&mut done)?;
    a.ret()
}

/// Hashes the RCX bytes from RSI on, less than a block, with what ends a
/// message; the digest takes the state's place.
pub(super) fn end(a: &mut CodeAssembler, more: CodeLabel) -> Assembled {
    let mut one_block = a.create_label();
    a.mov(rbx, rcx)?;
    a.mov(edi, low(scratch::BLOCKS))?;
    a.xor(eax, eax)?;
    a.mov(ecx, 2 * BLOCK / 8)?;
    a.rep().stosq()?;
    a.mov(edi, low(scratch::BLOCKS))?;
    a.mov(ecx, ebx)?;
    a.rep().movsb()?;
    a.mov(byte_ptr(rdi), 0x80)?;
    a.mov(rax, qword_ptr(scratch::HASHED))?;
    a.shl(rax, 3)?;
    a.bswap(rax)?;
    a.mov(ecx, BLOCK)?;
    // A bit and eight bytes of length must fit.
    a.cmp(ebx, BLOCK - 8)?;
    a.jb(one_block)?;
    a.mov(ecx, 2 * BLOCK)?;
    a.set_label(&mut one_block)?;
    a.mov(esi, low(scratch::BLOCKS))?;
    a.mov(qword_ptr(rsi + rcx - 8), rax)?;
    a.call(more)?;
    for at in state() {
        a.mov(eax, dword_ptr(at))?;
        a.bswap(eax)?;
        a.mov(dword_ptr(at), eax)?;
    }
    a.ret()
}

/// Hashes the block at RSI: all rounds, one after the other.
fn block(a: &mut CodeAssembler) -> Assembled {
    for (variable, at) in VARIABLES.into_iter().zip(state()) {
        a.mov(variable, dword_ptr(at))?;
    }
    for (constant, number) in primes().map(cube_root).zip(0..64) {
        schedule(a, number)?;
        round(a, number, constant)?;
    }
    for (variable, at) in VARIABLES.into_iter().zip(state()) {
        a.add(dword_ptr(at), variable)?;
    }
    Ok(())
}

/// The word of that round in EAX; the last sixteen are kept.
fn schedule(a: &mut CodeAssembler, number: usize) -> Assembled {
    let word = |number: usize| dword_ptr(scratch::SCHEDULE + 4 * (number as u64 % 16));
    if number < 16 {
        a.mov(eax, dword_ptr(rsi + i32::try_from(4 * number).expect("in a block")))?;
        a.bswap(eax)?;
    } else {
        a.mov(eax, word(number - 16))?;
        a.add(eax, word(number - 7))?;
        a.mov(ebx, word(number - 15))?;
        turn(a, ebx, [7, 18])?;
        a.shr(ebx, 3)?;
        a.xor(edx, ebx)?;
        a.add(eax, edx)?;
        a.mov(ebx, word(number - 2))?;
        turn(a, ebx, [17, 19])?;
        a.shr(ebx, 10)?;
        a.xor(edx, ebx)?;
        a.add(eax, edx)?;
    }
    a.mov(word(number), eax)
}

/// One round, its word in EAX. Variables keep their registers; it is their
/// names that move.
fn round(a: &mut CodeAssembler, number: usize, constant: u32) -> Assembled {
    let [va, vb, vc, vd, ve, vf, vg, vh] =
        std::array::from_fn(|name| VARIABLES[(name + 64 - number) % 8]);
    a.add(eax, constant.cast_signed())?;
    a.add(eax, vh)?;
    turn(a, ve, [6, 11])?;
    a.mov(edi, ve)?;
    a.ror(edi, 25)?;
    a.xor(edx, edi)?;
    a.add(eax, edx)?;
    // Choose: F where E has ones, G where zeros.
    a.mov(edx, vf)?;
    a.xor(edx, vg)?;
    a.and(edx, ve)?;
    a.xor(edx, vg)?;
    a.add(eax, edx)?;
    a.add(vd, eax)?;
    turn(a, va, [2, 13])?;
    a.mov(edi, va)?;
    a.ror(edi, 22)?;
    a.xor(edx, edi)?;
    a.add(eax, edx)?;
    // The majority of A, B and C.
    a.mov(edx, va)?;
    a.or(edx, vb)?;
    a.and(edx, vc)?;
    a.mov(edi, va)?;
    a.and(edi, vb)?;
    a.or(edx, edi)?;
    a.add(eax, edx)?;
    a.mov(vh, eax)
}

/// `source` turned right by one number of bits, and by another, combined in EDX.
fn turn(a: &mut CodeAssembler, source: AsmRegister32, by: [u32; 2]) -> Assembled {
    a.mov(edx, source)?;
    a.ror(edx, by[0])?;
    a.mov(edi, source)?;
    a.ror(edi, by[1])?;
    a.xor(edx, edi)
}

/// The places of the state's words.
fn state() -> impl Iterator<Item = u64> {
    (scratch::STATE..).step_by(4).take(VARIABLES.len())
}

fn low(address: u64) -> u32 {
    address.try_into().expect("low memory")
}

fn primes() -> impl Iterator<Item = u128> {
    (2..).filter(|number| (2..*number).all(|divisor| number % divisor != 0))
}

/// The first 32 bits of the fractional part of the square root.
fn square_root(number: u128) -> u32 {
    fraction((number << 64).isqrt())
}

/// The same of the cube root.
fn cube_root(number: u128) -> u32 {
    let cube = number << 96;
    let bits = (0..36).rev();
    fraction(
        bits.map(|bit| 1 << bit)
            .fold(0, |root: u128, bit| if (root | bit).pow(3) <= cube { root | bit } else { root }),
    )
}

/// The bits below the point of a number with 32 of them.
fn fraction(number: u128) -> u32 {
    u32::try_from(number & u128::from(u32::MAX)).expect("32 bits")
}
