//! What a guest that has broken out could still do, and that nothing else is lost by it.

use std::{
    fs,
    io::Write as _,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::Command,
    time::Duration,
};

use crate::{
    network::has_passt,
    support::{
        Ran, Scratch, engines,
        run::{Running, within},
        skip,
        tiny::{echo, guest, power_off, print, spin, write_port},
    },
};

/// The port by which debug builds let a guest break the rules, see `src/sandbox/trial.rs`.
const TRIAL: u16 = 0xf6;
/// What it does there: executes a program, opens a file, the same with all signals blocked,
/// panics.
const EXECUTE: u8 = b'x';
const OPEN: u8 = b'o';
const OPEN_BLOCKED: u8 = b'b';
const PANIC: u8 = b'p';

/// Runs a guest that breaks the rules, then powers off if it still can.
fn broken(test: &str, how: u8, options: &[&str]) -> Option<Ran> {
    broken_by(test, how, options, &[])
}

/// The same where the program is started by `starter`.
fn broken_by(test: &str, how: u8, options: &[&str], starter: &[&str]) -> Option<Ran> {
    if !engines(test).contains(&"kvm") {
        return None;
    }
    if !cfg!(debug_assertions) {
        skip(test, "only a debug build breaks the rules");
        return None;
    }
    let scratch = Scratch::new();
    scratch.file("guest.efi", guest(|a| write_port(a, TRIAL, how).and_then(|()| power_off(a))));
    let arguments = ["run", "guest.efi", "--engine", "kvm", "--memory", "64M"];
    let words = [starter, &[env!("CARGO_BIN_EXE_ukivm")], &arguments, options].concat();
    let mut command = Command::new(words[0]);
    Some(Ran::of(command.args(&words[1..]).current_dir(scratch.path())))
}

#[test]
fn a_program_that_a_vcpu_would_execute_is_refused_by_name() {
    let test = "a_program_that_a_vcpu_would_execute_is_refused_by_name";
    let Some(ran) = broken(test, EXECUTE, &[]) else { return };
    assert_eq!(ran.status, Some(70), "{ran:?}");
    assert!(ran.stderr.contains("system call execve (59) of thread vcpu0"), "{ran:?}");
    assert!(ran.stderr.contains("--no-sandbox"), "{ran:?}");
}

#[test]
fn a_file_that_a_vcpu_would_open_is_refused_by_name() {
    let test = "a_file_that_a_vcpu_would_open_is_refused_by_name";
    let Some(ran) = broken(test, OPEN, &[]) else { return };
    assert_eq!(ran.status, Some(70), "{ran:?}");
    assert!(ran.stderr.contains("system call openat (257) of thread vcpu0"), "{ran:?}");
}

#[test]
fn a_call_is_refused_by_name_though_whoever_started_us_blocked_the_signal() {
    let test = "a_call_is_refused_by_name_though_whoever_started_us_blocked_the_signal";
    for blocked in ["--block-signal=SYS", "--ignore-signal=SYS"] {
        let Some(ran) = broken_by(test, OPEN, &[], &["env", blocked]) else { return };
        assert_eq!(ran.status, Some(70), "{blocked}: {ran:?}");
        assert!(ran.stderr.contains("system call openat (257) of thread vcpu0"), "{ran:?}");
    }
}

#[test]
fn a_thread_that_has_blocked_all_signals_is_ended_by_what_it_may_not() {
    let test = "a_thread_that_has_blocked_all_signals_is_ended_by_what_it_may_not";
    let Some(ran) = broken(test, OPEN_BLOCKED, &[]) else { return };
    // The kernel ends the process itself, and nobody is left to name the call.
    assert_eq!(ran.status, None, "{ran:?}");
    let Some(ran) = broken(test, OPEN_BLOCKED, &["--no-sandbox"]) else { return };
    assert_eq!(ran.status, Some(0), "the signals are blocked, and it goes on: {ran:?}");
}

#[test]
fn a_vcpu_that_panics_is_told_of_as_what_it_is() {
    let test = "a_vcpu_that_panics_is_told_of_as_what_it_is";
    let Some(ran) = broken(test, PANIC, &[]) else { return };
    assert_eq!(ran.status, Some(70), "{ran:?}");
    let says = |text| ran.stderr.contains(text);
    assert!(
        says("bug: thread vcpu0") && says("panicked at") && says("as the guest wants"),
        "{ran:?}"
    );
    assert!(!says("system call"), "{ran:?}");
}

#[test]
fn without_the_sandbox_it_is_said_what_is_given_up_and_nothing_is_refused() {
    let test = "without_the_sandbox_it_is_said_what_is_given_up_and_nothing_is_refused";
    let Some(ran) = broken(test, OPEN, &["--no-sandbox"]) else { return };
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("warning: --no-sandbox: a guest that breaks out"), "{ran:?}");
    let Some(ran) = broken(test, EXECUTE, &["--no-sandbox"]) else { return };
    assert_eq!(ran.status, Some(0), "it is /bin/true by then: {ran:?}");
}

/// The lines of a `/proc/…/status` that tell of a sandbox.
fn confinement(path: &str) -> Vec<String> {
    let status = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let wanted = ["NoNewPrivs", "Seccomp", "CapInh", "CapPrm", "CapEff", "CapAmb"];
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        wanted.contains(&name).then(|| format!("{name} {}", value.trim()))
    };
    status.lines().filter_map(line).collect()
}

fn fully() -> Vec<String> {
    let none = "0000000000000000";
    let capabilities = ["Inh", "Prm", "Eff", "Amb"].map(|set| format!("Cap{set} {none}"));
    let others = ["NoNewPrivs 1".to_owned(), "Seccomp 2".to_owned()];
    capabilities.into_iter().chain(others).collect()
}

/// Runs a guest that has written "ready" and goes on.
fn running(scratch: &Scratch, engine: &str) -> Running {
    scratch.file("guest.efi", guest(|a| print(a, "ready\n").and_then(|()| spin(a))));
    let arguments = ["run", "guest.efi", "--engine", engine, "--memory", "64M", "--cpus", "2"];
    let running = Running::ukivm(scratch.path(), arguments);
    running.wait_for("ready");
    running
}

fn tasks(running: &Running) -> String {
    format!("/proc/{}/task", running.id())
}

/// What its threads are called.
fn names(running: &Running) -> Vec<String> {
    let tasks = fs::read_dir(tasks(running)).expect("threads").flatten();
    tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok()).collect()
}

#[test]
fn every_thread_under_a_running_guest_is_confined() {
    for engine in engines("every_thread_under_a_running_guest_is_confined") {
        let scratch = Scratch::new();
        let mut running = running(&scratch, engine);
        let wanted = if engine == "kvm" { 2 } else { 0 };
        // The second vCPU's thread may come to its name after the first has run the guest.
        let named = || names(&running).iter().filter(|name| name.starts_with("vcpu")).count();
        let are_there = within(Duration::from_secs(5), || named() == wanted);
        assert!(are_there, "{:?}", names(&running));
        for task in fs::read_dir(tasks(&running)).expect("threads") {
            let path = task.expect("a thread").path();
            let name = fs::read_to_string(path.join("comm")).expect("a name");
            let status = path.join("status").display().to_string();
            let found = confinement(&status);
            let filtered = ["NoNewPrivs 1", "Seccomp 2"];
            assert!(filtered.iter().all(|line| found.contains(&(*line).to_owned())), "{name}");
            if name.starts_with("vcpu") {
                assert_eq!(found, fully(), "{name}");
            }
        }
        running.signal("-TERM");
        assert_eq!(running.status(), 143);
    }
}

#[test]
fn qemu_is_confined_too() {
    if !engines("qemu_is_confined_too").contains(&"tcg") {
        return;
    }
    let scratch = Scratch::new();
    let mut running = running(&scratch, "tcg");
    let qemu = running.descendants();
    assert_eq!(qemu.len(), 1);
    let tasks = fs::read_dir(format!("/proc/{}/task", qemu[0])).expect("threads");
    let paths = tasks.map(|task| task.expect("a thread").path().join("status"));
    let threads: Vec<_> = paths.map(|path| confinement(&path.display().to_string())).collect();
    // One of a vCPU at least, beside the one that started it.
    assert!(threads.len() > 1, "{threads:?}");
    assert!(threads.iter().all(|thread| *thread == fully()), "{threads:?}");
    let limits = fs::read_to_string(format!("/proc/{}/limits", qemu[0])).expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    let zeros = core.map(|line| line.matches(" 0 ").count());
    assert_eq!(zeros, Some(2), "{limits}");
    running.signal("-TERM");
    assert_eq!(running.status(), 143);
}

/// A program that stands in for QEMU: gives a version, and then does as `script` says.
fn ran_by(script: &str, options: &[&str]) -> Ran {
    let scratch = Scratch::new();
    scratch.file("secret", "of the user's");
    let tools = scratch.path().join("tools");
    fs::create_dir(&tools).expect("a folder");
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && {{ echo 'QEMU emulator version 9.0.0'; exit; }}\n{script}\n"
    );
    let program = scratch.file("tools/qemu", text);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program");
    scratch.file("guest.efi", guest(echo));
    let output = Command::new(env!("CARGO_BIN_EXE_ukivm"))
        .args(["run", "guest.efi", "--engine", "tcg", "--memory", "64M"])
        .args(options)
        .current_dir(scratch.path())
        .env("UKIVM_QEMU", &program)
        .output()
        .expect("ukivm starts");
    Ran::from(output)
}

#[test]
fn qemu_reads_and_writes_nothing_but_its_installation() {
    let test = "qemu_reads_and_writes_nothing_but_its_installation";
    if !has_landlock() {
        return skip(test, "no Landlock");
    }
    for script in ["cat secret >&2", "cat guest.efi >&2", "echo x > new", "cat /etc/passwd >&2"] {
        let ran = ran_by(script, &[]);
        assert_eq!(ran.status, Some(105), "{ran:?}");
        assert!(ran.stderr.contains("Permission denied"), "{script}: {ran:?}");
        assert!(!ran.stderr.contains("of the user's") && !ran.stderr.contains("root:"), "{ran:?}");
    }
    let ran = ran_by("cat secret >&2", &["--no-sandbox"]);
    assert!(ran.stderr.contains("of the user's"), "{ran:?}");
}

fn has_landlock() -> bool {
    let ran = Scratch::new().ukivm(["doctor"]);
    ran.stdout.contains("ok    Landlock")
}

#[test]
fn a_qemu_without_a_sandbox_says_how_to_go_on() {
    if !engines("a_qemu_without_a_sandbox_says_how_to_go_on").contains(&"tcg") {
        return;
    }
    // system/vl.c of QEMU, where it is built without seccomp.
    let ran =
        ran_by("echo 'qemu: -sandbox support is not enabled in this QEMU binary' >&2; exit 1", &[]);
    assert_eq!(ran.status, Some(105), "{ran:?}");
    let says = |text| ran.stderr.contains(text);
    assert!(
        says("not enabled in this QEMU binary") && says("--no-sandbox does without"),
        "{ran:?}"
    );
}

#[test]
fn a_report_is_written_from_within() {
    for engine in engines("a_report_is_written_from_within") {
        let scratch = Scratch::new();
        scratch.file("guest.efi", guest(power_off));
        fs::create_dir(scratch.path().join("results")).expect("a folder");
        for json in ["--json=out.json", "--json=results/out.json"] {
            let arguments = ["run", "guest.efi", "--engine", engine, "--memory", "64M", json];
            let ran = scratch.ukivm(arguments);
            assert_eq!(ran.status, Some(0), "{ran:?}");
            let path = scratch.path().join(&json[7..]);
            assert!(fs::read_to_string(path).is_ok_and(|text| text.contains("power-off")));
        }
    }
}

#[test]
fn a_descriptor_that_was_inherited_is_closed_before_the_guest_runs() {
    for engine in engines("a_descriptor_that_was_inherited_is_closed_before_the_guest_runs") {
        let scratch = Scratch::new();
        scratch.file("guest.efi", guest(|a| print(a, "ready\n").and_then(|()| spin(a))));
        let line = format!(
            "exec 9<guest.efi; exec {} run guest.efi --engine {engine} --memory 64M",
            env!("CARGO_BIN_EXE_ukivm")
        );
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &line]).current_dir(scratch.path()).process_group(0);
        let mut running = Running::start(command);
        running.wait_for("ready");
        let inherited = format!("/proc/{}/fd/9", running.id());
        let is_gone = || !fs::read_link(&inherited).is_ok_and(|to| to.ends_with("guest.efi"));
        assert!(within(Duration::from_secs(5), is_gone));
        running.signal("-TERM");
        assert_eq!(running.status(), 143);
    }
}

#[test]
fn a_guest_that_resets_itself_is_started_again_within() {
    let test = "a_guest_that_resets_itself_is_started_again_within";
    for engine in engines(test) {
        let scratch = Scratch::new();
        scratch.file("guest.efi", guest(|a| write_port(a, firmware_less::machine::port::RESET, 6)));
        scratch.file("disk.img", vec![0; 1 << 20]);
        let arguments = ["smoke", "guest.efi", "--engine", engine, "--memory", "64M"];
        let restarted = ["--reboot", "restart=2"];
        let disk = ["--disk", "disk.img,ephemeral", "--disk", "disk.img,ro"];
        let mut all = vec![&disk[..0], &disk[..2], &disk[2..]];
        // passt is watched, by somebody who is started again too.
        if has_passt(test) {
            all.push(&["--net", "user"]);
        }
        for more in all {
            let ran = scratch.ukivm(arguments.iter().chain(&restarted).chain(more));
            assert!(ran.stderr.contains("start 2 more"), "{ran:?}");
            assert_eq!(ran.status, Some(100), "{ran:?}");
        }
    }
}

#[test]
fn what_the_host_can_do_for_it_is_told() {
    let ran = Scratch::new().ukivm(["doctor"]);
    std::io::stderr().write_all(ran.stdout.as_bytes()).ok();
    for what in ["seccomp, for the sandbox", "Landlock, for the sandbox"] {
        assert!(ran.stdout.contains(what), "{ran:?}");
    }
}
