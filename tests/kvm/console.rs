//! The serial port as a guest sees it.

use firmware_less::machine::port;
use iced_x86::code_asm::*;

use super::guest::SCRATCH;
use super::guest::{Assembled, Guest, power_off, send};

#[test]
fn a_guest_prints() {
    let text = b"hello from a guest\n";
    let guest = Guest::new(|a| {
        send(a, SCRATCH, text.len())?;
        power_off(a)
    });
    let Some(ran) = guest.with("text", SCRATCH, text.to_vec()).run("a_guest_prints") else {
        return;
    };
    assert_eq!(ran.text(), "hello from a guest\n");
}

/// More than the FIFO holds, typed faster than the guest reads.
#[test]
fn a_guest_echoes_all_that_was_typed() {
    let typed: Vec<u8> = (b' '..=b'~').cycle().take(1000).chain([b'\n']).collect();
    let guest = Guest::new(echo_a_line);
    let Some(ran) = guest.run_typing("a_guest_echoes_all_that_was_typed", &typed) else { return };
    assert_eq!(ran.powered_off(), typed);
}

/// Polls the line status for input and sends it back, up to the first newline.
fn echo_a_line(a: &mut CodeAssembler) -> Assembled {
    const LINE_STATUS: u32 = port::SERIAL as u32 + 5;
    let mut poll = a.create_label();
    a.set_label(&mut poll)?;
    a.mov(edx, LINE_STATUS)?;
    a.in_(al, dx)?;
    a.test(al, 1)?;
    a.jz(poll)?;
    a.mov(edx, u32::from(port::SERIAL))?;
    a.in_(al, dx)?;
    a.out(dx, al)?;
    a.cmp(al, i32::from(b'\n'))?;
    a.jne(poll)?;
    power_off(a)
}
