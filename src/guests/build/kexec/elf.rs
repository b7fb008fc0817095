//! [`executable`]: a program as the kernel's loader wants it. elf(5).

/// Where the file is mapped.
const BASE: u64 = 0x40_0000;
/// Where memory begins that the file says nothing of, zeros.
const ZEROS: u64 = 0x80_0000;
const HEADER_LEN: u16 = 64;
const SEGMENT_HEADER_LEN: u16 = 56;
const SEGMENTS: u16 = 2;
/// Where code begins in the file.
const CODE: u64 = HEADER_LEN as u64 + SEGMENTS as u64 * SEGMENT_HEADER_LEN as u64;
const PAGE: u64 = 0x1000;

/// `ET_EXEC`, `EM_X86_64`, `EV_CURRENT`, `PT_LOAD`.
const EXECUTABLE: u16 = 2;
const X86_64: u16 = 62;
const CURRENT: u32 = 1;
const LOAD: u32 = 1;
/// `PF_X`, `PF_W`, `PF_R`.
const EXECUTE: u32 = 1;
const WRITE: u32 = 2;
const READ: u32 = 4;

/// A program that begins with the first byte of `code`, and has `zeros` bytes of
/// memory from [`zeros_at`] on.
pub(super) fn executable(code: &[u8], zeros: u32) -> Vec<u8> {
    let len = CODE + u64::try_from(code.len()).expect("a few bytes");
    assert!(BASE + len <= ZEROS, "code and zeros must not overlap");
    let mut file = Vec::new();
    // 64 bits, little-endian, version 1, any system.
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend([EXECUTABLE, X86_64].map(u16::to_le_bytes).concat());
    file.extend(CURRENT.to_le_bytes());
    // Entry, program headers, no section headers.
    file.extend([BASE + CODE, HEADER_LEN.into(), 0].map(u64::to_le_bytes).concat());
    file.extend(0u32.to_le_bytes());
    let counts = [HEADER_LEN, SEGMENT_HEADER_LEN, SEGMENTS, 0, 0, 0];
    file.extend(counts.map(u16::to_le_bytes).concat());
    file.extend(segment(READ | EXECUTE, BASE, [len, len]));
    file.extend(segment(READ | WRITE, ZEROS, [0, zeros.into()]));
    file.extend(code);
    file
}

/// Where zeros begin.
pub(super) fn zeros_at() -> u64 {
    ZEROS
}

/// A program header: bytes in the file, from its start, and in memory.
fn segment(flags: u32, address: u64, [in_file, in_memory]: [u64; 2]) -> Vec<u8> {
    let fields = [0, address, address, in_file, in_memory, PAGE];
    [[LOAD, flags].map(u32::to_le_bytes).concat(), fields.map(u64::to_le_bytes).concat()].concat()
}
