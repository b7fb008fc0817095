//! Hosts that have no room for what is written, no memory, nobody who reads; whose
//! clock jumps; whose QEMU is killed.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use firmware_less::machine::port;

use crate::support::{
    Ran, Scratch, engines, program,
    run::Running,
    tiny::{chatter, guest, power_off, print, spin, write_port},
};

/// A folder with guests.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    let three = guest(|a| print(a, "three\n").and_then(|()| write_port(a, port::EXIT, 3)));
    scratch.file("three.efi", three);
    scratch.file("off.efi", guest(|a| print(a, "proof\n").and_then(|()| power_off(a))));
    scratch.file("chatter.efi", guest(chatter));
    scratch
}

/// What a shell makes of `line`, where `$run` and `$smoke` begin with the program.
fn shell(scratch: &Scratch, engine: &str, line: &str) -> Ran {
    let common = format!("--engine {engine} --timeout 60");
    let program = program().display().to_string();
    let line = format!("run='{program} run {common}'; smoke='{program} smoke {common}'; {line}");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &line]).current_dir(scratch.path());
    Ran::from(command.output().expect("a shell"))
}

#[test]
fn a_report_without_room_is_74_and_named() {
    for engine in engines("a_report_without_room_is_74_and_named") {
        let scratch = scratch();
        for (line, file) in [
            ("$run off.efi --json=/dev/full", "/dev/full"),
            ("$smoke off.efi --expect proof --format junit >/dev/full", "standard output"),
        ] {
            let ran = shell(&scratch, engine, line);
            assert_eq!(ran.status, Some(74), "{line}: {ran:?}");
            let says = format!("{file}: writing it failed: No space left on device");
            assert!(ran.stderr.contains(&says), "{line}: {ran:?}");
        }
    }
}

#[test]
fn a_console_that_takes_no_more_ends_the_run_and_is_said() {
    for engine in engines("a_console_that_takes_no_more_ends_the_run_and_is_said") {
        let ran = shell(&scratch(), engine, "$run chatter.efi >/dev/full");
        assert_eq!(ran.status, Some(74), "{ran:?}");
        assert!(ran.stderr.contains("or it is full"), "{ran:?}");
    }
}

#[test]
fn a_log_without_room_is_said_and_the_verdict_stands() {
    for engine in engines("a_log_without_room_is_said_and_the_verdict_stands") {
        let scratch = scratch();
        let folder = scratch.path().join("out");
        fs::create_dir(&folder).expect("a folder");
        for name in ["serial.log", "serial.txt", "events.jsonl"] {
            symlink("/dev/full", folder.join(name)).expect("a link");
        }
        let ran = shell(&scratch, engine, "$smoke off.efi --expect proof --output out");
        assert_eq!(ran.status, Some(0), "{ran:?}");
        for name in ["serial.log", "serial.txt", "events.jsonl"] {
            assert!(ran.stderr.contains(&format!("{name}: writing it failed")), "{name}: {ran:?}");
        }
        let result = fs::read_to_string(folder.join("result.json")).expect("a result");
        assert!(result.contains("\"pass\""), "{result}");
    }
}

#[test]
fn closed_standard_files_change_no_status() {
    for engine in engines("closed_standard_files_change_no_status") {
        for closed in ["2>&-", "<&-", "<&- 2>&-"] {
            let ran = shell(&scratch(), engine, &format!("$run three.efi {closed}"));
            assert_eq!(ran.status, Some(3), "{closed}: {ran:?}");
        }
    }
}

#[test]
fn guest_memory_that_the_host_has_not_is_69() {
    for engine in engines("guest_memory_that_the_host_has_not_is_69") {
        let line = "ulimit -v 600000; $run three.efi --memory 8G";
        let ran = shell(&scratch(), engine, line);
        assert!(matches!(ran.status, Some(69 | 105)), "{engine}: {ran:?}");
        assert!(ran.stderr.contains("llocate memory"), "{engine}: {ran:?}");
    }
}

#[test]
fn a_qemu_that_is_killed_is_105_and_said() {
    if !engines("a_qemu_that_is_killed_is_105_and_said").contains(&"tcg") {
        return;
    }
    let scratch = Scratch::new();
    scratch.file("spin.efi", guest(|a| print(a, "ready\n").and_then(|()| spin(a))));
    let arguments = ["run", "spin.efi", "--engine", "tcg", "--memory", "64M"];
    let mut running = Running::ukivm(scratch.path(), arguments);
    running.wait_for("ready");
    for qemu in running.descendants() {
        let killed = Command::new("kill").args(["-KILL", &qemu.to_string()]).status();
        assert!(killed.expect("kill runs").success());
    }
    assert_eq!(running.status(), 105, "{}", running.seen());
    assert!(running.seen().contains("signal: 9 (SIGKILL)"), "{}", running.seen());
}

/// Where the clock that may jump has its place: the age of files, the date of a benchmark.
const DATES: [&str; 2] = ["src/cache", "src/bench/report.rs"];

/// Other sources under `folder` that name it.
fn name_the_wall_clock(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            name_the_wall_clock(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            let names = ["SystemTime", "ClockId::Realtime", "CLOCK_REALTIME"];
            let shown = path.display().to_string();
            if names.iter().any(|name| text.contains(name))
                && !DATES.iter().any(|date| shown.contains(date))
            {
                found.push(shown);
            }
        }
    }
}

#[test]
fn no_limit_and_no_measurement_goes_by_a_clock_that_jumps() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src", "firmware-less/src"] {
        name_the_wall_clock(&root.join(folder), &mut found);
    }
    assert_eq!(found, Vec::<String>::new(), "std::time::Instant does not jump");
}
