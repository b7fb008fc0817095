//! The guest addresses that are the same in every plan. What depends on sizes
//! is placed by the hand-off ([`crate::handoff`]); no other file knows an address.
//!
//! ```text
//! 0x0000_0000  page 0         RAM, never used: the kernel trims it
//! 0x0000_9000  page tables    grow upwards with RAM: last of what lies here
//! 0x0009_fc00  end of low RAM (legacy kexec puts its segments just below)
//! 0x000e_0000  ACPI tables    RSDP first, where a scan finds it too
//! 0x000f_7000  SMBIOS tables  if any; the anchor first, where a scan finds it
//! 0x000f_fff0  reset vector   code that resets, unless a ROM is there
//! 0x0010_0000  RAM            everything else, by the hand-off's own rule
//! ```

use crate::{
    e820::{FIRST_MIB_END, LOW_RAM_END},
    range::GuestRange,
};

/// Where page tables start.
pub const PAGE_TABLES: u64 = 0x9000;

/// Where page tables must end at the latest.
pub const PAGE_TABLES_END_MAX: u64 = LOW_RAM_END & !0xfff;

/// The ACPI tables' area: within what q35 leaves as RAM below 1 MiB.
pub const ACPI: GuestRange = GuestRange::constant(0xe_0000, 0x1_0000);

/// The SMBIOS tables' area: where their anchor is looked for, and what is left there
/// by code that starts a processor from [`RESET_VECTOR`].
pub const SMBIOS: GuestRange = GuestRange::constant(0xf_7000, 0x8f00);

/// Where a PC starts, and where Linux jumps to reboot by the BIOS.
pub const RESET_VECTOR: GuestRange = GuestRange::constant(0xf_fff0, 0x10);

const _: () = {
    assert!(ACPI.end() <= SMBIOS.start() && SMBIOS.end() <= RESET_VECTOR.start());
    assert!(RESET_VECTOR.end() == FIRST_MIB_END);
    assert!(PAGE_TABLES < PAGE_TABLES_END_MAX);
    assert!(LOW_RAM_END <= ACPI.start(), "tables must not lie in usable RAM");
    assert!(ACPI.end() <= FIRST_MIB_END, "tables must lie in the reserved range");
    assert!(ACPI.start().is_multiple_of(16), "the RSDP is found at multiples of 16");
    assert!(SMBIOS.start() >= 0xf_0000, "the anchor is looked for in the last 64 KiB");
    assert!(SMBIOS.start().is_multiple_of(16), "the anchor is found at multiples of 16");
};
