//! Ends that only this engine has to tell apart, and how QEMU's own are told.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use firmware_less::machine::{SLEEP_CONTROL_S5, port};
use iced_x86::{IcedError, code_asm::CodeAssembler};
use ukivm::outcome::{CrashReport, End, ResetBy};

use super::{
    guest::{self, CODE, code, machine, out, stop},
    have_qemu, run,
};
use crate::support::{Ran, Scratch, sound_uki};

const LONG: Duration = Duration::from_mins(1);

fn end_of(write: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> End {
    run(&guest::plan(machine(), code(write)), LONG).0.end
}

#[test]
fn every_byte_written_to_the_exit_port_arrives() {
    if !have_qemu("every_byte_written_to_the_exit_port_arrives") {
        return;
    }
    // 52 and 105 are what power-off looks like on its own port and as QEMU's exit status.
    for status in [0, 1, 52, 63, 64, 105, 255] {
        let end = end_of(|a| {
            out(a, port::EXIT, status)?;
            stop(a)
        });
        assert_eq!(end, End::Status { status });
    }
}

#[test]
fn a_status_goes_before_the_power_off_that_follows() {
    if !have_qemu("a_status_goes_before_the_power_off_that_follows") {
        return;
    }
    let end = end_of(|a| {
        out(a, port::EXIT, 7)?;
        out(a, port::SLEEP_CONTROL, SLEEP_CONTROL_S5)?;
        stop(a)
    });
    assert_eq!(end, End::Status { status: 7 });
}

#[test]
fn the_keyboard_controller_resets() {
    if !have_qemu("the_keyboard_controller_resets") {
        return;
    }
    let end = end_of(|a| {
        out(a, 0x64, 0xfe)?;
        stop(a)
    });
    assert_eq!(end, End::Reset { by: ResetBy::Unknown });
}

#[test]
fn a_triple_fault_shows_registers_code_and_the_place() {
    if !have_qemu("a_triple_fault_shows_registers_code_and_the_place") {
        return;
    }
    let (outcome, _) = run(&guest::plan(machine(), code(CodeAssembler::ud2)), LONG);
    assert_eq!(outcome.end, End::TripleFault);
    let report = outcome.crash.unwrap();
    has(&report, &format!("RIP={CODE:016x}"));
    has(&report, "RSI=0505050505050505");
    has(&report, "Code: 0f 0b");
    has(&report, "physical 0x100000, in code+0x0");
}

#[test]
fn a_guest_that_is_ended_from_outside_shows_where_it_was() {
    if !have_qemu("a_guest_that_is_ended_from_outside_shows_where_it_was") {
        return;
    }
    let (outcome, _) = run(&guest::plan(machine(), code(stop)), Duration::from_secs(2));
    assert_eq!(outcome.end, End::TimeLimit);
    let report = outcome.crash.unwrap();
    has(&report, "HLT=1");
    has(&report, "in code+0x");
}

fn has(report: &CrashReport, text: &str) {
    assert!(report.lines.iter().any(|line| line.contains(text)), "no {text} in {report:#?}");
}

/// `ukivm run --engine tcg` with `program` as QEMU.
fn run_with_qemu(scratch: &Scratch, program: &Path) -> Ran {
    scratch.file("sound.efi", sound_uki());
    let mut ukivm = Command::new(env!("CARGO_BIN_EXE_ukivm"));
    ukivm.args(["run", "--engine=tcg", "sound.efi"]).stdin(Stdio::null());
    ukivm.current_dir(scratch.path()).env("UKIVM_QEMU", program).output().unwrap().into()
}

/// A script that says it is QEMU 7.2, and does `rest` when it is to run a guest.
fn false_qemu(scratch: &Scratch, rest: &str) -> PathBuf {
    let version = "[ \"$1\" = --version ] && echo 'QEMU emulator version 7.2.0' && exit";
    let script = scratch.file("qemu", format!("#!/bin/sh\n{version}\n{rest}\n"));
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

#[test]
fn a_missing_qemu_is_69_and_names_the_package() {
    let scratch = Scratch::new();
    let ran = run_with_qemu(&scratch, Path::new("/nowhere/qemu"));
    assert_eq!(ran.status, Some(69), "{ran:?}");
    let wanted = "/nowhere/qemu not found, try: apt-get install qemu-system-x86";
    assert!(ran.stderr.contains(wanted), "{ran:?}");
}

#[test]
fn a_qemu_that_refuses_its_arguments_is_105_and_is_quoted() {
    let scratch = Scratch::new();
    let qemu = false_qemu(&scratch, "echo 'qemu: -M q35: no such thing' >&2; exit 1");
    let ran = run_with_qemu(&scratch, &qemu);
    assert_eq!(ran.status, Some(105), "{ran:?}");
    let wanted = "QEMU ended with exit status: 1: qemu: -M q35: no such thing";
    assert!(ran.stderr.contains(wanted), "{ran:?}");
}

#[test]
fn a_qemu_that_is_killed_is_105() {
    let scratch = Scratch::new();
    let ran = run_with_qemu(&scratch, &false_qemu(&scratch, "kill -9 $$"));
    assert_eq!(ran.status, Some(105), "{ran:?}");
    assert!(ran.stderr.contains("QEMU ended with signal: 9 (SIGKILL)"), "{ran:?}");
}

#[test]
fn qemu_is_given_nothing_to_boot() {
    let scratch = Scratch::new();
    let ran = run_with_qemu(&scratch, &false_qemu(&scratch, "echo \"$@\" >&2"));
    assert_eq!(ran.status, Some(105), "{ran:?}");
    // All that it can write to.
    let given = ran.stderr;
    assert!(given.contains("-bios /proc/self/fd/"), "{given}");
    for option in ["-kernel", "-initrd", "-append", "-drive", "-fw_cfg"] {
        assert!(!given.split_whitespace().any(|argument| argument == option), "{given}");
    }
}
