//! How runs end.

use std::time::{Duration, Instant};

use firmware_less::machine::{PVPANIC_PANICKED, RESET_VALUE, port};
use ukivm::{
    outcome::{End, ResetBy},
    session::Milestone,
};

use super::guest::{Guest, power_off, write_port};

#[test]
fn a_guest_powers_off() {
    let Some(ran) = Guest::new(power_off).run("a_guest_powers_off") else { return };
    assert_eq!(ran.outcome.end, End::PowerOff);
    assert_eq!(ran.outcome.crash, None);
}

#[test]
fn a_guest_resets_by_the_reset_register() {
    let guest = Guest::new(|a| write_port(a, port::RESET, RESET_VALUE));
    let Some(ran) = guest.run("a_guest_resets_by_the_reset_register") else { return };
    assert_eq!(ran.outcome.end, End::Reset { by: ResetBy::ResetRegister });
}

#[test]
fn a_guest_resets_by_the_keyboard_controller() {
    let guest = Guest::new(|a| write_port(a, 0x64, 0xfe));
    let Some(ran) = guest.run("a_guest_resets_by_the_keyboard_controller") else { return };
    assert_eq!(ran.outcome.end, End::Reset { by: ResetBy::KeyboardController });
}

#[test]
fn the_status_of_a_guest_arrives_as_it_was_written() {
    for status in [0, 1, 63, 255] {
        let guest = Guest::new(|a| write_port(a, port::EXIT, status));
        let Some(ran) = guest.run("the_status_of_a_guest_arrives_as_it_was_written") else {
            return;
        };
        assert_eq!(ran.outcome.end, End::Status { status });
    }
}

#[test]
fn a_power_off_after_a_reported_panic_is_a_panic() {
    let guest = Guest::new(|a| {
        write_port(a, port::PVPANIC, PVPANIC_PANICKED)?;
        power_off(a)
    });
    let Some(ran) = guest.run("a_power_off_after_a_reported_panic_is_a_panic") else { return };
    assert_eq!(ran.outcome.end, End::Panic);
}

#[test]
fn a_triple_fault_is_told_with_what_is_known_of_it() {
    use iced_x86::code_asm::CodeAssembler;
    let guest = Guest::new(CodeAssembler::ud2);
    let Some(ran) = guest.run("a_triple_fault_is_told_with_what_is_known_of_it") else { return };
    assert_eq!(ran.outcome.end, End::TripleFault);
    let crash = ran.crash();
    assert!(crash.starts_with("vCPU 0: triple fault (KVM_EXIT_SHUTDOWN)\n"), "{crash}");
    let known = crash.contains("in code+0x0\nCode: 0f 0b");
    let lost = crash.contains("registers: as after a reset");
    assert!(known || lost, "{crash}");
}

/// Nothing but us can end that, and it shows where the guest hung.
#[test]
fn a_guest_that_halts_for_good_is_ended_by_us() {
    let limit = Duration::from_millis(300);
    let guest = Guest::new(|a| {
        a.cli()?;
        a.hlt()?;
        a.ud2()
    });
    let start = Instant::now();
    let Some(ran) = guest.with_time_limit(limit).run("a_guest_that_halts_for_good_is_ended_by_us")
    else {
        return;
    };
    assert_eq!(ran.outcome.end, End::TimeLimit);
    assert!(start.elapsed() >= limit);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let crash = ran.crash();
    assert!(crash.starts_with("vCPU 0: still running\nRIP: 0010:0x0000000000100002"), "{crash}");
    assert!(crash.contains(", in code+0x2\nCode: 0f 0b"), "{crash}");
}

#[test]
fn a_guest_that_spins_is_ended_by_us() {
    let guest = Guest::new(|a| {
        let mut here = a.create_label();
        a.set_label(&mut here)?;
        a.jmp(here)
    });
    let limit = Duration::from_millis(100);
    let Some(ran) = guest.with_time_limit(limit).run("a_guest_that_spins_is_ended_by_us") else {
        return;
    };
    assert_eq!(ran.outcome.end, End::TimeLimit);
}

#[test]
fn exits_are_counted_and_milestones_timed() {
    let guest = Guest::new(|a| {
        use iced_x86::code_asm::*;
        a.in_(al, 0x80)?;
        a.mov(eax, ptr(0xd000_0000_u64))?;
        a.mov(ptr(0xd000_0000_u64), eax)?;
        write_port(a, port::MILESTONE, 7)?;
        write_port(a, port::MILESTONE, 9)?;
        power_off(a)
    });
    let Some(ran) = guest.run("exits_are_counted_and_milestones_timed") else { return };
    let exits = ran.outcome.exits.clone().expect("KVM counts");
    assert_eq!((exits.pio_in, exits.pio_out), (1, 3));
    assert_eq!((exits.mmio_read, exits.mmio_write), (1, 1));
    let numbers: Vec<_> = ran.timeline.guest().iter().map(|milestone| milestone.value).collect();
    assert_eq!(numbers, [7, 9]);
    let [entry, exit, end] =
        [Milestone::FirstEntry, Milestone::FirstExit, Milestone::End].map(|milestone| {
            ran.timeline.at(milestone).unwrap_or_else(|| panic!("{milestone:?} is timed"))
        });
    assert!(entry <= exit && exit <= end);
}
