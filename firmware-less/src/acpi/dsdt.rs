//! Differentiated System Description Table: the devices that can't be probed.
//! ACPI 6.5, 5.2.11.1.

use acpi_tables::{
    Aml,
    aml::{Device, EISAName, IO, Interrupt, Name, Package, ResourceTemplate, Scope},
};

use super::{bytes, pci, power_button, table};
use crate::machine::{Machine, RTC_IRQ, SERIAL_IRQ, SLEEP_TYPE_S5, port};

/// The table of `machine`.
pub(super) fn dsdt(machine: &Machine) -> Vec<u8> {
    let mut devices = vec![serial(), pvpanic()];
    if machine.rtc() {
        devices.push(rtc());
    }
    if machine.has_pci() {
        devices.extend([pci::host_bridge(), pci::board()]);
    }
    if machine.has_power_button() {
        devices.extend(power_button::devices());
    }
    let mut body = bytes(&sleep_s5());
    body.extend(in_system_bus(&devices));
    // Revision 2: integers are 64-bit.
    table(*b"DSDT", 2, &body)
}

/// `\_S5_`: what to write to the sleep control register to power off.
/// ACPI 6.5, 7.4.2.6.
fn sleep_s5() -> Name {
    let package = Package::new(vec![&SLEEP_TYPE_S5, &SLEEP_TYPE_S5, &0u8, &0u8]);
    Name::new("_S5_".into(), &package)
}

/// `Scope (\_SB_) { devices }`.
fn in_system_bus(devices: &[Vec<u8>]) -> Vec<u8> {
    let raw: Vec<Raw<'_>> = devices.iter().map(|device| Raw(device)).collect();
    bytes(&Scope::new("_SB_".into(), raw.iter().map(|device| device as &dyn Aml).collect()))
}

/// AML that is already bytes.
struct Raw<'a>(&'a [u8]);

impl Aml for Raw<'_> {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        sink.vec(self.0);
    }
}

/// COM1, a 16550. Its interrupt is edge-triggered and active high, as ISA's.
fn serial() -> Vec<u8> {
    let io = IO::new(port::SERIAL, port::SERIAL, 1, low_8(port::SERIAL_LEN));
    let interrupt = Interrupt::new(true, true, false, false, SERIAL_IRQ);
    bytes(&Device::new(
        "COM1".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0501")),
            &Name::new("_UID".into(), &0u8),
            &Name::new("_STA".into(), &PRESENT),
            &Name::new("_CRS".into(), &ResourceTemplate::new(vec![&io, &interrupt])),
        ],
    ))
}

/// The panic device, by the hardware ID that Linux's pvpanic-mmio driver knows
/// (drivers/misc/pvpanic/pvpanic-mmio.c).
fn pvpanic() -> Vec<u8> {
    let io = IO::new(port::PVPANIC, port::PVPANIC, 1, 1);
    bytes(&Device::new(
        "PEVT".into(),
        vec![
            &Name::new("_HID".into(), &"QEMU0001"),
            &Name::new("_STA".into(), &PRESENT),
            &Name::new("_CRS".into(), &ResourceTemplate::new(vec![&io])),
        ],
    ))
}

/// The PC's real-time clock.
fn rtc() -> Vec<u8> {
    let io = IO::new(port::RTC, port::RTC, 1, 2);
    let interrupt = Interrupt::new(true, true, false, false, RTC_IRQ);
    bytes(&Device::new(
        "RTC_".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0B00")),
            &Name::new("_STA".into(), &PRESENT),
            &Name::new("_CRS".into(), &ResourceTemplate::new(vec![&io, &interrupt])),
        ],
    ))
}

/// `_STA`: present, enabled, shown, functioning. ACPI 6.5, 6.3.7.
const PRESENT: u8 = 0xf;

const fn low_8(count: u16) -> u8 {
    assert!(count <= u8::MAX as u16, "a resource descriptor counts ports in a byte");
    #[expect(clippy::cast_possible_truncation, reason = "just asserted")]
    {
        count as u8
    }
}
