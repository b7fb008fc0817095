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
pub const SCRATCH_END: u64 = 0x7000;

/// What the probe's report begins with: it grows when something is taken away or
/// changes its meaning.
pub const REPORT_VERSION: u64 = 1;
/// The most that the probe hashes by SHA-256 at once: some hundred instructions a
/// byte take minutes where each is emulated.
pub const SHA256_MAX: u64 = 64 << 10;
/// The cheap digest, over words of eight bytes instead of bytes: FNV-1a.
pub const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
/// Its factor.
pub const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
/// What in the command line has the probe reset a machine that is not ours at the end;
/// at least eight bytes, at most sixteen.
pub const RESET_WORDS: &[u8] = b"probe.end=reset";
/// The longest command line that the probe reports.
pub const CMDLINE_MAX: u32 = 1 << 16;
/// The most bytes of a GDT.
pub const GDT_MAX: u64 = 256;
/// The most entries of the list of `setup_data`.
pub const SETUP_DATA_MAX: u32 = 16;
/// The most bytes of each, its header counted.
pub const SETUP_DATA_LEN_MAX: u64 = 4096;
/// The most ACPI tables.
pub const ACPI_TABLES_MAX: u32 = 64;

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
