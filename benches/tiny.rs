//! A kernel of a few instructions, for benchmarks of what comes before it.

use std::error::Error;

use firmware_less::{
    machine::{SLEEP_CONTROL_S5, port},
    testing::bzimage,
};
use iced_x86::code_asm::{CodeAssembler, al, dx, eax, edx};

/// Where the 64-bit entry point is. Boot protocol, "64-bit Boot Protocol".
const ENTRY_64: usize = 0x200;

/// A bzImage that writes a byte to the serial port and powers off.
pub(crate) fn kernel() -> Result<Vec<u8>, Box<dyn Error>> {
    let mut a = CodeAssembler::new(64)?;
    for (port, value) in [(port::SERIAL, b'.'), (port::SLEEP_CONTROL, SLEEP_CONTROL_S5)] {
        a.mov(edx, u32::from(port))?;
        a.mov(eax, u32::from(value))?;
        a.out(dx, al)?;
    }
    a.hlt()?;
    let code = [vec![0xf4; ENTRY_64], a.assemble(0)?].concat();
    Ok(bzimage().protected_mode(code).build())
}
