//! What the guests take for granted of the machine they run on. `ukivm` asserts
//! that it is what the machine has.

/// I/O port of the serial port's first register.
pub const SERIAL: u16 = 0x3f8;
/// I/O port of the ACPI sleep control register.
pub const SLEEP_CONTROL: u16 = 0x520;
/// What powers the machine off, written to [`SLEEP_CONTROL`].
pub const SLEEP_CONTROL_S5: u8 = 0x34;
/// I/O port to which a guest writes its own exit status.
pub const EXIT: u16 = 0xf4;
/// I/O port to which a guest writes milestones.
pub const MILESTONE: u16 = 0xf5;
/// Address of the local APIC.
pub const LAPIC: u64 = 0xfee0_0000;
/// Guests write to memory below this address, from 0x1000 on, and to no other.
pub const SCRATCH_END: u64 = 0x9000;

/// Bytes that the probe hashes from the RSDP on: all of ukivm's ACPI tables, and
/// zeros behind them.
pub const ACPI_WINDOW: u64 = 0x1000;
/// Where purgatory ends its stack, from its start on.
pub const PURGATORY_STACK_END: u64 = 0x3000;
/// Where purgatory has its table of hashed regions.
pub const PURGATORY_REGIONS: u64 = 0x30e0;
/// How many regions of 16 bytes the table has.
pub const PURGATORY_REGION_COUNT: u64 = 16;
/// Where purgatory has the digest.
pub const PURGATORY_DIGEST: u64 = PURGATORY_REGIONS + 16 * PURGATORY_REGION_COUNT;
