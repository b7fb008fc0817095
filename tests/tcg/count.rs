//! Counting a guest's instructions.

use std::time::Duration;

use firmware_less::machine::{Machine, SLEEP_CONTROL_S5, port};
use iced_x86::{IcedError, code_asm::*};
use ukivm::{
    engine::tcg::{Counted, Vm, count},
    files::Files,
    outcome::{End, ResetBy},
    sandbox::Sandbox,
};

use super::{
    guest::{self, code, machine, out, stop},
    session,
};
use crate::count::can_count;

const LONG: Duration = Duration::from_mins(1);

fn count(write: impl Fn(&mut CodeAssembler) -> Result<(), IcedError>) -> Counted {
    let plan = guest::plan(machine(), code(write));
    let vm = Vm::create(plan.machine()).unwrap().load(&plan, &Files::default()).unwrap();
    vm.count(&session(LONG), &Sandbox::none()).unwrap()
}

/// Powers off, with `bytes` written to the serial port before, each after as many
/// instructions more as are wanted, three at least.
fn counting(a: &mut CodeAssembler, bytes: &[(u8, usize)]) -> Result<(), IcedError> {
    for (byte, instructions) in bytes {
        for _ in 3..*instructions {
            a.nop()?;
        }
        out(a, port::SERIAL, *byte)?;
    }
    out(a, port::SLEEP_CONTROL, SLEEP_CONTROL_S5)?;
    stop(a)
}

#[test]
fn each_byte_is_told_with_the_instructions_that_were_executed_for_it() {
    if !can_count("each_byte_is_told_with_the_instructions_that_were_executed_for_it") {
        return;
    }
    let counted = count(|a| counting(a, &[(b'a', 3), (b'b', 10), (b'c', 1000)]));
    assert_eq!(counted.outcome.end, End::PowerOff);
    let counts = counted.counts.unwrap();
    let console: Vec<_> = counts.console().collect();
    assert_eq!(console, [(b'a', 3), (b'b', 13), (b'c', 1013)]);
    assert_eq!(counts.executed(), 1016);
}

/// Spends as many rounds of two instructions as it is told, and says so.
fn work(a: &mut CodeAssembler, rounds: u32) -> Result<(), IcedError> {
    let mut again = a.create_label();
    a.mov(ecx, rounds)?;
    a.set_label(&mut again)?;
    a.dec(ecx)?;
    a.jnz(again)?;
    counting(a, &[(b'!', 3)])
}

#[test]
fn a_loop_counts_as_often_as_it_runs_whatever_the_host_does_meanwhile() {
    if !can_count("a_loop_counts_as_often_as_it_runs_whatever_the_host_does_meanwhile") {
        return;
    }
    for rounds in [1, 1_000_000, 100_000_001] {
        let counts = count(|a| work(a, rounds)).counts.unwrap();
        let wanted = u64::from(rounds) * 2 + 4;
        assert_eq!(counts.console().collect::<Vec<_>>(), [(b'!', wanted)]);
    }
}

#[test]
fn what_a_guest_reads_from_clocks_and_random_numbers_is_the_same_every_time() {
    if !can_count("what_a_guest_reads_from_clocks_and_random_numbers_is_the_same_every_time") {
        return;
    }
    // The bytes of a random number, of the time-stamp counter, and of the clock's seconds.
    let reads = |a: &mut CodeAssembler| {
        let print = |a: &mut CodeAssembler| {
            a.mov(edx, u32::from(port::SERIAL))?;
            a.mov(ecx, 8)?;
            let mut again = a.create_label();
            a.set_label(&mut again)?;
            a.out(dx, al)?;
            a.shr(rax, 8)?;
            a.dec(ecx)?;
            a.jnz(again)
        };
        a.rdrand(rax)?;
        print(a)?;
        a.rdtsc()?;
        print(a)?;
        a.mov(eax, 0)?;
        a.out(0x70, al)?;
        a.in_(al, 0x71)?;
        print(a)?;
        counting(a, &[])
    };
    let first = count(reads).counts.unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(count(reads).counts.unwrap(), first);
}

#[test]
fn a_guest_that_is_ended_from_outside_has_been_counted_until_then() {
    if !can_count("a_guest_that_is_ended_from_outside_has_been_counted_until_then") {
        return;
    }
    let silent = code(|a| {
        out(a, port::SERIAL, b'.')?;
        stop(a)
    });
    let plan = guest::plan(machine(), silent);
    let vm = Vm::create(plan.machine()).unwrap().load(&plan, &Files::default()).unwrap();
    let counted = vm.count(&session(Duration::from_millis(500)), &Sandbox::none()).unwrap();
    assert_eq!(counted.outcome.end, End::TimeLimit);
    assert_eq!(counted.counts.unwrap().console().collect::<Vec<_>>(), [(b'.', 3)]);
}

#[test]
fn a_reset_is_the_last_instruction_that_is_counted() {
    if !can_count("a_reset_is_the_last_instruction_that_is_counted") {
        return;
    }
    for (port, value) in [(port::RESET, 6), (0x64, 0xfe)] {
        let counted = count(|a| {
            out(a, port::SERIAL, b'.')?;
            out(a, port, value)?;
            stop(a)
        });
        assert_eq!(counted.outcome.end, End::Reset { by: ResetBy::Unknown });
        assert_eq!(counted.counts.unwrap().executed(), 6, "port {port:#x}");
    }
}

#[test]
fn a_guest_with_a_triple_fault_is_told_as_ever() {
    if !can_count("a_guest_with_a_triple_fault_is_told_as_ever") {
        return;
    }
    let counted = count(CodeAssembler::ud2);
    assert_eq!(counted.outcome.end, End::TripleFault);
    assert!(counted.outcome.crash.is_some());
    assert_eq!(counted.counts.unwrap().console().len(), 0);
}

#[test]
fn a_guest_is_counted_up_to_an_instruction() {
    if !can_count("a_guest_is_counted_up_to_an_instruction") {
        return;
    }
    let written = code(|a| {
        a.mov(ecx, 1000)?;
        let mut again = a.create_label();
        a.set_label(&mut again)?;
        a.dec(ecx)?;
        a.jnz(again)?;
        counting(a, &[(b'.', 3)])
    });
    // Behind the loop: the three instructions take 5, 2 and 2 bytes.
    let behind = guest::CODE + 9;
    let count_to = |address| {
        let plan = guest::plan(machine(), written.clone());
        let vm = Vm::create(plan.machine()).unwrap().load(&plan, &Files::default()).unwrap();
        vm.count_to(address, &session(LONG), &Sandbox::none()).unwrap()
    };
    assert_eq!(count_to(guest::CODE), Some(0));
    assert_eq!(count_to(behind), Some(2001));
    assert_eq!(count_to(guest::FOUND), None, "it never comes there");
}

#[test]
fn several_vcpus_are_not_counted() {
    if !can_count("several_vcpus_are_not_counted") {
        return;
    }
    let machine = Machine::new(guest::MEMORY, 2).unwrap();
    let plan = guest::plan(machine.with_board(firmware_less::machine::Board::Q35), vec![0xf4]);
    let vm = Vm::create(plan.machine()).unwrap().load(&plan, &Files::default()).unwrap();
    let error = vm.count(&session(LONG), &Sandbox::none()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, count::Error::Cpus { found: 2 }.to_string());
}
