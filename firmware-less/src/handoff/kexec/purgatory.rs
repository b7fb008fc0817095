//! The purgatory segment, without its code: what the kernel finds in memory
//! after it and what the registers point to.
//!
//! A real purgatory checks the digest, loads its GDT and stack and jumps. Here
//! the monitor does all that, and leaves the data where Debian's 7.2 kernel has
//! it, since symbols inside a purgatory are the compiler's to place.

use crate::{
    cpu_state::DescriptorTable,
    range::{GuestRange, index},
};

/// Bytes of the segment, `.bss` included.
pub(in super::super) const LEN: u64 = 0x5000;
/// The GDT, four entries. arch/x86/purgatory/entry64.S.
const GDT: u64 = 0x1770;
const GDT_LEN: u16 = 4 * 8;
/// The end of the one-page stack. arch/x86/purgatory/stack.S.
const STACK_END: u64 = 0x3000;
/// `purgatory_sha_regions`: 16 of {start, length}.
const SHA_REGIONS: u64 = 0x30e0;
const SHA_REGIONS_MAX: usize = 16;
/// `purgatory_sha256_digest`.
const SHA_DIGEST: u64 = 0x31e0;

/// The SHA-256 of nothing: what a kexec that hashes no region stores.
pub const DIGEST_OF_NOTHING: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// The flat 64-bit code segment, `__BOOT_CS`, marked accessed as silicon does.
pub(in super::super) const CODE_DESCRIPTOR: u64 = 0x00af_9b00_0000_ffff;
/// The flat data segment, `__BOOT_DS`, likewise.
pub(in super::super) const DATA_DESCRIPTOR: u64 = 0x00cf_9300_0000_ffff;

const _: () = {
    assert!(GDT + GDT_LEN as u64 <= STACK_END - 0x1000, "the GDT lies below the stack");
    assert!(SHA_REGIONS >= STACK_END && SHA_REGIONS + 16 * 16 == SHA_DIGEST);
    assert!(SHA_DIGEST + 32 <= LEN);
};

/// The GDT register for a purgatory at `at`.
pub(in super::super) fn gdtr(at: GuestRange) -> DescriptorTable {
    DescriptorTable { base: at.start().saturating_add(GDT), limit: GDT_LEN.saturating_sub(1) }
}

/// The stack pointer for a purgatory at `at`.
pub(in super::super) fn stack_pointer(at: GuestRange) -> u64 {
    at.start().saturating_add(STACK_END)
}

/// Where a purgatory at `at` has its digest.
pub(in super::super) fn digest_address(at: GuestRange) -> u64 {
    at.start().saturating_add(SHA_DIGEST)
}

/// The segment's bytes, placed at `at`: the GDT, and `digest` over `regions`.
pub(in super::super) fn contents(
    at: GuestRange,
    regions: &[GuestRange],
    digest: &[u8; 32],
) -> Vec<u8> {
    let mut bytes = vec![0; index(SHA_DIGEST).saturating_add(digest.len())];
    write(&mut bytes, GDT, &gdt(at));
    write(&mut bytes, SHA_REGIONS, &region_table(regions));
    write(&mut bytes, SHA_DIGEST, digest);
    bytes
}

/// Entries 0 and 1 are never loaded: the space holds the GDT's own pointer,
/// limit and base, as in entry64.S.
fn gdt(at: GuestRange) -> Vec<u8> {
    let DescriptorTable { base, limit } = gdtr(at);
    let pointer = [limit.to_le_bytes().as_slice(), &base.to_le_bytes(), &[0; 6]].concat();
    [pointer.as_slice(), &CODE_DESCRIPTOR.to_le_bytes(), &DATA_DESCRIPTOR.to_le_bytes()].concat()
}

/// `struct kexec_sha_region { start, len }`, include/linux/purgatory.h.
fn region_table(regions: &[GuestRange]) -> Vec<u8> {
    regions
        .iter()
        .take(SHA_REGIONS_MAX)
        .flat_map(|region| [region.start().to_le_bytes(), region.len().to_le_bytes()].concat())
        .collect()
}

fn write(bytes: &mut [u8], at: u64, value: &[u8]) {
    for (to, from) in bytes.iter_mut().skip(index(at)).zip(value) {
        *to = *from;
    }
}
