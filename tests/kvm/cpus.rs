//! More than one vCPU.

use firmware_less::machine::{LAPIC, port};
use iced_x86::code_asm::*;

use super::guest::{Assembled, Guest, assemble, power_off, write_port};

/// Where a started vCPU begins, in real mode: a page number is all that it is
/// told.
const AP_PAGE: u8 = 0x60;
/// Counts the vCPUs that were started.
const STARTED: u64 = 0x5_f000;

/// Offset of the local APIC's interrupt command register, lower half.
const ICR_LOW: u64 = 0x300;
/// To all but the sender: INIT, asserted; start-up, with the page to begin in.
const INIT: u32 = 0x000c_4500;
const START_UP: u32 = 0x000c_4600;

#[test]
fn every_vcpu_starts_and_knows_its_number() {
    for cpus in [2, 4] {
        let guest = Guest::new(|a| start_others(a, cpus - 1)).with_machine(64 << 20, cpus).with(
            "trampoline",
            u64::from(AP_PAGE) << 12,
            assemble(16, 0, say_number),
        );
        let Some(ran) = guest.run("every_vcpu_starts_and_knows_its_number") else { return };
        let exits = ran.outcome.exits.clone().expect("KVM counts");
        let mut numbers = ran.powered_off();
        numbers.sort_unstable();
        let expected: Vec<u8> = (b'1'..).take(cpus as usize - 1).collect();
        assert_eq!(numbers, expected);
        assert_eq!(exits.pio_out, u64::from(cpus), "one a vCPU, and the power-off");
    }
}

/// Starts all other vCPUs and powers off when they have said who they are.
fn start_others(a: &mut CodeAssembler, others: u32) -> Assembled {
    a.mov(rbx, LAPIC.start() + ICR_LOW)?;
    a.mov(dword_ptr(rbx), INIT.cast_signed())?;
    a.mov(dword_ptr(rbx), (START_UP | u32::from(AP_PAGE)).cast_signed())?;
    let mut wait = a.create_label();
    a.set_label(&mut wait)?;
    a.pause()?;
    a.cmp(dword_ptr(STARTED), others.cast_signed())?;
    a.jne(wait)?;
    power_off(a)
}

/// Real-mode code: prints the APIC ID that CPUID gives, and halts.
fn say_number(a: &mut CodeAssembler) -> Assembled {
    a.mov(eax, 1)?;
    a.cpuid()?;
    a.shr(ebx, 24)?;
    a.lea(ax, word_ptr(bx + i32::from(b'0')))?;
    a.mov(dx, i32::from(port::SERIAL))?;
    a.out(dx, al)?;
    a.mov(ax, i32::try_from(STARTED >> 4).expect("below 1 MiB"))?;
    a.mov(ds, ax)?;
    a.lock().inc(dword_ptr(0))?;
    a.cli()?;
    a.hlt()
}

#[test]
fn a_vcpu_that_waits_to_be_started_does_not_hold_up_the_end() {
    let guest = Guest::new(|a| write_port(a, port::EXIT, 3)).with_machine(64 << 20, 4);
    let test = "a_vcpu_that_waits_to_be_started_does_not_hold_up_the_end";
    let Some(ran) = guest.run(test) else { return };
    assert_eq!(ran.outcome.end.run_status(), 3);
}
