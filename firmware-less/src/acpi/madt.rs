//! Multiple APIC Description Table. ACPI 6.5, 5.2.12.

use acpi_tables::madt::{
    EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic,
};

use super::{OEM_ID, OEM_REVISION, OEM_TABLE_ID, low_32};
use crate::machine::{IOAPIC, LAPIC, Machine};

/// Every vCPU's local APIC and the one I/O APIC, whose GSIs count from 0.
pub(super) fn madt(machine: &Machine) -> MADT {
    let mut madt = MADT::new(
        OEM_ID,
        OEM_TABLE_ID,
        OEM_REVISION,
        LocalInterruptController::Address(low_32(LAPIC.start())),
    );
    for id in (0..machine.cpus()).filter_map(|cpu| u8::try_from(cpu).ok()) {
        madt.add_structure(ProcessorLocalApic::new(id, id, EnabledStatus::Enabled));
    }
    madt.add_structure(IoApic::new(0, low_32(IOAPIC.start()), 0));
    madt
}
