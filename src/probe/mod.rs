//! The probe: a guest in the kernel's place that reports what it was handed.
//!
//! What it prints is a [`Report`], be it caught here or elsewhere; the plan gives
//! another, of what it should have printed ([`planned()`]). Both are put into words
//! by the same code ([`Row`]), and so compared ([`compare()`]).

mod acpi;
mod boot_params;
mod compare;
mod kernel;
mod pe;
mod planned;
mod report;
mod rows;
mod uki;

use firmware_less::{
    layout,
    machine::{LAPIC, SLEEP_CONTROL_S5, port},
};
use ukivm_guests::machine;

pub use compare::{Comparison, Pair, compare};
pub use kernel::bzimage;
pub use planned::planned;
pub use report::{Error, Line, Report};
pub use rows::{Row, Value, rows};
pub use uki::{CMDLINE, initrd, uki};

const _: () = {
    assert!(machine::SERIAL == port::SERIAL, "that is where it prints");
    assert!(machine::SLEEP_CONTROL == port::SLEEP_CONTROL, "that powers off");
    assert!(machine::SLEEP_CONTROL_S5 == SLEEP_CONTROL_S5, "that powers off");
    assert!(machine::LAPIC == LAPIC.start(), "that is where local APICs are");
    assert!(machine::SCRATCH_END <= layout::PAGE_TABLES, "plans use no lower memory");
};
