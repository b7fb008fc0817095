//! The params buffer: `boot_params`, the command line and `setup_data`, in one
//! segment, as arch/x86/kernel/kexec-bzimage64.c `bzImage64_load` lays it out
//! on a distribution kernel (EFI on, IMA and KHO off) that was not booted by EFI.

use linux_loader::loader::bootparam::{boot_e820_entry, boot_params};
use vm_memory::ByteValued;

use crate::{
    e820::{FIRST_MIB_END, MemoryMap},
    kernel::Kernel,
    range::{GuestRange, PAGE, index},
};

/// What kexec keeps free behind every command line for `elfcorehdr=0x…`
/// (`MAX_ELFCOREHDR_STR_LEN`), and takes off the kernel's limit.
pub const ELFCOREHDR_SLOT: u64 = 30;
/// What `boot_params` says of who loaded the kernel. Read by the kernel only: the
/// protocol calls these "write" fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Loader {
    pub(in super::super) type_of_loader: u8,
    pub(in super::super) loadflags: u8,
}

impl Loader {
    /// kexec, which drops `LOADED_HIGH`: only the real-mode code reads that.
    pub(super) const KEXEC: Self = Self { type_of_loader: 0xd << 4, loadflags: 0 };
}

/// The size of the EFI setup_data node that is reserved though unused:
/// 16 bytes of header, 96 of `struct efi_setup_data`.
const EFI_SLOT: u64 = 16 + 96;
/// `SETUP_RNG_SEED`, arch/x86/include/uapi/asm/setup_data.h.
const SETUP_RNG_SEED: u32 = 9;
/// Bytes of a random seed.
pub const SEED_LEN: usize = 32;
/// Bytes of the random seed's node.
const SEED_NODE_LEN: u64 = 16 + SEED_LEN as u64;
/// Where the setup header lies in `boot_params`. Boot protocol, "The real-mode
/// kernel header".
const SETUP_HEADER: usize = 0x1f1;

/// Offsets in the params buffer; they depend on the command line's length alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Offsets {
    pub(in super::super) cmdline: u64,
    pub(in super::super) seed_node: u64,
    pub(in super::super) end: u64,
}

impl Offsets {
    /// The offsets for a command line of `len` bytes without its NUL;
    /// `None` past 2⁶⁴.
    pub(in super::super) fn of(len: u64) -> Option<Self> {
        let cmdline_end = PAGE.checked_add(len)?.checked_add(1 + ELFCOREHDR_SLOT)?;
        // The EFI runtime map, of no bytes, begins here; its setup_data follows.
        let efi_map = cmdline_end.checked_next_multiple_of(16)?;
        let seed_node = efi_map.checked_add(EFI_SLOT)?;
        Some(Self { cmdline: PAGE, seed_node, end: seed_node.checked_add(SEED_NODE_LEN)? })
    }
}

/// What goes into the buffer.
#[derive(Debug)]
pub(in super::super) struct Inputs<'a> {
    pub(in super::super) kernel: &'a Kernel,
    pub(in super::super) loader: Loader,
    pub(in super::super) cmdline: &'a [u8],
    /// Its length with its padding, one NUL not counted.
    pub(in super::super) cmdline_len: u64,
    /// Guest address and length in bytes, both 0 for none.
    pub(in super::super) initrd: (u64, u64),
    pub(in super::super) memory_map: &'a MemoryMap,
    pub(in super::super) rsdp: u64,
    pub(in super::super) seed: [u8; SEED_LEN],
}

/// The buffer's bytes, to be placed at `at`.
pub(in super::super) fn buffer(at: u64, offsets: Offsets, inputs: &Inputs<'_>) -> Vec<u8> {
    let cmdline_at = at.saturating_add(offsets.cmdline);
    let seed_at = at.saturating_add(offsets.seed_node);
    let mut bytes = boot_params_of(inputs, cmdline_at, seed_at).as_slice().to_vec();
    bytes.extend_from_slice(inputs.cmdline);
    bytes.resize(index(offsets.seed_node), 0);
    bytes.extend_from_slice(&seed_node(&inputs.seed));
    bytes
}

/// The zero page. The header comes from the image, as long as its own length
/// byte says; every other field is zero or written here.
fn boot_params_of(inputs: &Inputs<'_>, cmdline_at: u64, seed_at: u64) -> boot_params {
    let mut page = boot_params::default();
    let header = inputs.kernel.header_bytes();
    for (to, from) in page.as_mut_slice().iter_mut().skip(SETUP_HEADER).zip(header) {
        *to = *from;
    }
    page.hdr.type_of_loader = inputs.loader.type_of_loader;
    page.hdr.loadflags = inputs.loader.loadflags;
    (page.hdr.ramdisk_image, page.ext_ramdisk_image) = halves(inputs.initrd.0);
    (page.hdr.ramdisk_size, page.ext_ramdisk_size) = halves(inputs.initrd.1);
    (page.hdr.cmd_line_ptr, page.ext_cmd_line_ptr) = halves(cmdline_at);
    page.hdr.hardware_subarch = 0;
    page.hdr.setup_data = seed_at;
    page.acpi_rsdp_addr = inputs.rsdp;
    write_memory_map(&mut page, inputs.memory_map);
    page
}

fn write_memory_map(page: &mut boot_params, map: &MemoryMap) {
    let mut table = [boot_e820_entry::default(); crate::e820::ENTRIES_MAX];
    let mut count = 0u8;
    for (slot, entry) in table.iter_mut().zip(map.boot_entries()) {
        *slot = entry;
        count = count.saturating_add(1);
    }
    page.e820_table = table;
    page.e820_entries = count;
    if let Some(kib) = kib_above_first_mib(map) {
        page.alt_mem_k = u32::try_from(kib).unwrap_or(u32::MAX);
        page.screen_info.ext_mem_k = u16::try_from(kib.min(0xfc00)).unwrap_or(0xfc00);
    }
}

/// KiB of RAM from 1 MiB up, counted as kexec counts: to the last byte, and
/// rounded down, so one less than there are.
fn kib_above_first_mib(map: &MemoryMap) -> Option<u64> {
    let spans = |range: &GuestRange| {
        range.start() <= FIRST_MIB_END && range.end().saturating_sub(1) > FIRST_MIB_END
    };
    let last = map.ram().rfind(spans)?.end().checked_sub(1)?;
    (last >> 10).checked_sub(FIRST_MIB_END >> 10)
}

/// The low and the high half.
#[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
fn halves(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}

/// A `struct setup_data` with a random seed, the last of the list.
fn seed_node(seed: &[u8; SEED_LEN]) -> Vec<u8> {
    let next = 0u64.to_le_bytes();
    let kind = SETUP_RNG_SEED.to_le_bytes();
    let len = 32u32.to_le_bytes();
    [next.as_slice(), &kind, &len, seed].concat()
}
const _: () = assert!(SEED_LEN == 32);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::e820::{Entry, Kind};

    #[test]
    fn a_nul_and_the_slot_for_elfcorehdr_are_behind_every_command_line() {
        let seed_node = |len| Offsets::of(len).map(|offsets| offsets.seed_node);
        // 0x1000 + 1 + 31 is a multiple of 16, and 112 bytes follow.
        assert_eq!(seed_node(1), Some(0x1020 + 112));
        assert_eq!(seed_node(2), Some(0x1030 + 112));
        assert_eq!(seed_node(u64::MAX), None);
    }

    #[test]
    fn the_kib_from_1_mib_on_are_of_the_ram_that_is_there_and_goes_on() {
        let kib = |ranges: &[(u64, u64)]| {
            let entry = |&(start, end): &(u64, u64)| Entry {
                range: GuestRange::between(start, end).expect("a range"),
                kind: Kind::Ram,
            };
            kib_above_first_mib(&MemoryMap::from_entries(ranges.iter().map(entry).collect()))
        };
        let (low, mib) = ((0, 0x9_fc00), FIRST_MIB_END);
        assert_eq!(kib(&[low, (mib, 4 * mib), (8 * mib, 9 * mib)]), Some(3 * 1024 - 1));
        assert_eq!(kib(&[(0, 4 * mib)]), Some(3 * 1024 - 1));
        assert_eq!(kib(&[(mib, mib + 2)]), Some(0));
        for without in [low, (mib, mib + 1), (mib + 1, 4 * mib)] {
            assert_eq!(kib(&[without]), None, "{without:x?}");
        }
    }

    #[test]
    fn the_seed_s_node_has_its_header_and_the_seed() {
        let offsets = Offsets::of(0).unwrap();
        assert_eq!(offsets.end - offsets.seed_node, 16 + 32);
        assert_eq!(offsets.cmdline, 0x1000);
    }
}
