//! A kernel that reports over the serial port what it was handed, and powers off.

mod report;

use firmware_less::{
    layout,
    machine::{LAPIC, SLEEP_CONTROL_S5, port},
    testing::{Image, bzimage, uki},
};
use ukivm_guests::{PROBE, machine};

pub(crate) use report::Report;

/// The kernel's `init_size`: little, for it is hashed.
const INIT_SIZE: u32 = 0x6000;
/// Where the 64-bit entry is. Boot protocol, "64-bit Boot Protocol".
const ENTRY_64: usize = 0x200;

const _: () = {
    assert!(machine::SERIAL == port::SERIAL, "that is where it prints");
    assert!(machine::SLEEP_CONTROL == port::SLEEP_CONTROL, "that powers off");
    assert!(machine::SLEEP_CONTROL_S5 == SLEEP_CONTROL_S5, "that powers off");
    assert!(machine::LAPIC == LAPIC.start(), "that is where local APICs are");
    assert!(machine::SCRATCH_END <= layout::PAGE_TABLES, "plans use no lower memory");
};

/// A UKI with the probe as its kernel.
pub(crate) fn probe_uki() -> Image {
    let protected_mode = [&[0xf4; ENTRY_64], PROBE].concat();
    let kernel = bzimage().protected_mode(protected_mode).with(|header| {
        header.init_size = INIT_SIZE;
        // Fields that nobody looks at are copied all the same.
        header.root_flags = 0x0102;
        header.ram_size = 0x0304;
        header.vid_mode = 0x0506;
        header.root_dev = 0x0708;
        header.start_sys_seg = 0x090a;
        header.kernel_version = 0x0b0c;
        header.heap_end_ptr = 0x0d0e;
        header.ext_loader_type = 0x0f;
        // kexec zeroes this one.
        header.hardware_subarch = 0x1011_1213;
        header.hardware_subarch_data = 0x1415_1617_1819_1a1b;
    });
    uki().section(".linux", kernel.build())
}
