//! Kernels of a few instructions, for runs of the whole program.

use std::io::Write as _;

use firmware_less::{
    machine::{SLEEP_CONTROL_S5, port},
    testing::{BzImage, bzimage, uki},
};
use iced_x86::{IcedError, code_asm::*};

/// Where the 64-bit entry is in the protected-mode code. Boot protocol, "64-bit
/// Boot Protocol".
const ENTRY_64: usize = 0x200;

/// The serial port's line status register.
const LINE_STATUS: u32 = port::SERIAL as u32 + 5;

/// A UKI whose kernel is `code`, entered in 64-bit mode.
pub(crate) fn guest(code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Vec<u8> {
    uki_of(kernel(code))
}

/// The same of a kernel that says that it was configured so.
pub(crate) fn configured_guest(
    config: &str,
    code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
) -> Vec<u8> {
    uki_of(kernel(code).configured(config))
}

pub(crate) fn kernel(code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> BzImage {
    bzimage().protected_mode(protected_mode(code))
}

fn uki_of(kernel: BzImage) -> Vec<u8> {
    uki().section(".linux", kernel.build()).section(".cmdline", "quiet").build()
}

/// The protected-mode code of such a kernel.
pub(crate) fn protected_mode(
    code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
) -> Vec<u8> {
    [vec![0xf4; ENTRY_64], assembled(code)].concat()
}

/// The code of a kernel proper that ends at once, with `status`.
pub(crate) fn ending(status: u8) -> Vec<u8> {
    assembled(|a| {
        write_port(a, port::EXIT, status)?;
        halt(a)
    })
}

fn assembled(code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Vec<u8> {
    let mut assembler = CodeAssembler::new(64).expect("64 is a bitness");
    code(&mut assembler).expect("instructions that exist");
    // Position-independent, so any address will do.
    assembler.assemble(0).expect("code that assembles")
}

/// Writes `text` to the serial port.
pub(crate) fn print(a: &mut CodeAssembler, text: &str) -> Result<(), IcedError> {
    a.mov(edx, u32::from(port::SERIAL))?;
    for byte in text.bytes() {
        a.mov(eax, u32::from(byte))?;
        a.out(dx, al)?;
    }
    Ok(())
}

/// Writes `value` to `port`.
pub(crate) fn write_port(a: &mut CodeAssembler, port: u16, value: u8) -> Result<(), IcedError> {
    a.mov(edx, u32::from(port))?;
    a.mov(eax, u32::from(value))?;
    a.out(dx, al)
}

/// Waits until all that was printed is out.
pub(crate) fn flush(a: &mut CodeAssembler) -> Result<(), IcedError> {
    const TRANSMITTER_EMPTY: u32 = 1 << 6;
    let mut sending = a.create_label();
    a.mov(edx, LINE_STATUS)?;
    a.set_label(&mut sending)?;
    a.in_(al, dx)?;
    a.test(al, TRANSMITTER_EMPTY)?;
    a.jz(sending)
}

/// Powers off once all that was printed is out, and stays.
pub(crate) fn power_off(a: &mut CodeAssembler) -> Result<(), IcedError> {
    flush(a)?;
    write_port(a, port::SLEEP_CONTROL, SLEEP_CONTROL_S5)?;
    halt(a)
}

/// Does nothing, without end.
pub(crate) fn spin(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut here = a.create_label();
    a.set_label(&mut here)?;
    a.pause()?;
    a.jmp(here)
}

/// Halts with interrupts off.
pub(crate) fn halt(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.cli()?;
    let mut here = a.create_label();
    a.set_label(&mut here)?;
    a.hlt()?;
    a.jmp(here)
}

/// Halts, and would take an interrupt. None comes: the timers were never set.
pub(crate) fn idle(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.sti()?;
    let mut here = a.create_label();
    a.set_label(&mut here)?;
    a.hlt()?;
    a.jmp(here)
}

/// Says "ready", then echoes each byte that it reads from the serial port, with
/// 0x40 added to control characters: ^C comes back as C. Powers off at `q`.
pub(crate) fn echo(a: &mut CodeAssembler) -> Result<(), IcedError> {
    // As a driver does that wants input; nothing is typed to one that does not.
    write_port(a, port::SERIAL + 1, 1)?;
    print(a, "ready\r\n")?;
    let (mut read, mut printable, mut done) =
        (a.create_label(), a.create_label(), a.create_label());
    a.set_label(&mut read)?;
    a.mov(edx, LINE_STATUS)?;
    a.in_(al, dx)?;
    a.test(al, 1)?;
    a.jz(read)?;
    a.mov(edx, u32::from(port::SERIAL))?;
    a.in_(al, dx)?;
    a.cmp(al, 0x71)?;
    a.je(done)?;
    a.cmp(al, 0x20)?;
    a.jae(printable)?;
    a.add(al, 0x40)?;
    a.set_label(&mut printable)?;
    a.out(dx, al)?;
    a.jmp(read)?;
    a.set_label(&mut done)?;
    power_off(a)
}

/// Prints without end.
pub(crate) fn chatter(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = a.create_label();
    a.set_label(&mut again)?;
    print(a, "chatter\r\n")?;
    a.jmp(again)
}

/// An interrupt without a table to find it in: a triple fault.
pub(crate) fn triple_fault(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.ud2()
}

/// `bytes` packed by gzip.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).expect("memory takes all");
    writer.finish().expect("memory takes all")
}
