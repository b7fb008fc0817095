//! The power button: a control-method one, pressed by an interrupt that a Generic Event
//! Device turns into its notification. ACPI 6.5, 4.8.2.2.1.2 and 5.6.9.
//!
//! The devices' methods also serve the PM1 registers of a chipset that has them, on
//! which the press is seen and has to be taken back; elsewhere their writes vanish.
//! ACPI 6.5, 4.8.3.1.

use acpi_tables::aml::{
    Arg, Device, EISAName, Equal, Field, FieldAccessType, FieldEntry, FieldLockRule,
    FieldUpdateRule, If, Interrupt, Method, Name, Notify, OpRegion, OpRegionSpace, Path,
    ResourceTemplate, Store,
};

use super::bytes;
use crate::machine::{PM1_POWER_BUTTON, POWER_BUTTON_IRQ, port};

/// What a notification of this value says: it was pressed. ACPI 6.5, table 5.165.
const PRESSED: u8 = 0x80;

/// The button, and what presses it.
pub(super) fn devices() -> [Vec<u8>; 2] {
    [button(), events()]
}

fn button() -> Vec<u8> {
    bytes(&Device::new(
        "PWRB".into(),
        vec![&Name::new("_HID".into(), &EISAName::new("PNP0C0C")), &Name::new("_UID".into(), &0u8)],
    ))
}

fn events() -> Vec<u8> {
    let line = u8::try_from(POWER_BUTTON_IRQ).unwrap_or(u8::MAX);
    let interrupt = Interrupt::new(true, true, false, false, POWER_BUTTON_IRQ);
    let status = OpRegion::new("PM1S".into(), OpRegionSpace::SystemIO, &port::PM1_STATUS, &4u8);
    let field = Field::new(
        "PM1S".into(),
        FieldAccessType::Word,
        FieldLockRule::NoLock,
        FieldUpdateRule::WriteAsZeroes,
        vec![FieldEntry::Named(*b"STS_", 16), FieldEntry::Named(*b"EN__", 16)],
    );
    let (sts, enabled, pressed) = (Path::new("STS_"), Path::new("EN__"), Path::new("PWRB"));
    let enable = Store::new(&enabled, &PM1_POWER_BUTTON);
    let clear = Store::new(&sts, &PM1_POWER_BUTTON);
    let notify = Notify::new(&pressed, &PRESSED);
    let is_ours = Equal::new(&Arg(0), &line);
    let event = If::new(&is_ours, vec![&clear, &notify]);
    bytes(&Device::new(
        "GED_".into(),
        vec![
            &Name::new("_HID".into(), &"ACPI0013"),
            &Name::new("_UID".into(), &0u8),
            &Name::new("_CRS".into(), &ResourceTemplate::new(vec![&interrupt])),
            &status,
            &field,
            &Method::new("_INI".into(), 0, false, vec![&enable]),
            &Method::new("_EVT".into(), 1, true, vec![&event]),
        ],
    ))
}
