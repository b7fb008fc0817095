//! Fixed ACPI Description Table. ACPI 6.5, 5.2.9.

use acpi_tables::{
    fadt::{FADT, FADTBuilder, Flags},
    gas::{AccessSize, AddressSpace, GAS},
};

use super::{OEM_ID, OEM_REVISION, OEM_TABLE_ID};
use crate::machine::{Machine, RESET_VALUE, port};

/// IAPC_BOOT_ARCH: there is no VGA to probe. ACPI 6.5, table 5.11.
const NO_VGA: u16 = 1 << 2;
/// IAPC_BOOT_ARCH: there is no CMOS RTC. Without this bit Linux waits about a
/// second for an absent one, whose all-ones look like an update in progress.
const NO_CMOS_RTC: u16 = 1 << 5;

/// The table of `machine`, with the DSDT at `dsdt`.
///
/// Hardware-reduced; the only fixed hardware is sleep, reset and the PM timer,
/// by which a guest without kvmclock calibrates its TSC. The bits for 8042 and
/// legacy devices are clear: neither is there.
pub(super) fn fadt(machine: &Machine, dsdt: u64) -> FADT {
    let mut fadt = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION)
        .dsdt_64(dsdt)
        .flag(Flags::HwReducedAcpi)
        .flag(Flags::ResetRegSup)
        // Set means: no such fixed button.
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::Wbinvd);
    fadt.iapc_boot_arch = (NO_VGA | if machine.rtc() { 0 } else { NO_CMOS_RTC }).into();
    fadt.reset_reg = byte_port(port::RESET);
    fadt.reset_value = RESET_VALUE;
    fadt.sleep_control_reg = byte_port(port::SLEEP_CONTROL);
    fadt.sleep_status_reg = byte_port(port::SLEEP_STATUS);
    fadt.x_pm_tmr_blk =
        GAS::new(AddressSpace::SystemIo, 32, 0, AccessSize::DwordAccess, u64::from(port::PM_TIMER));
    fadt.pm_tmr_len = 4;
    fadt.finalize()
}

/// An 8-bit register at an I/O port.
fn byte_port(port: u16) -> GAS {
    GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, u64::from(port))
}
