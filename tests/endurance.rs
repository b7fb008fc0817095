//! Many boots, one after another and side by side: nothing is left of them.

use std::{
    env, fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use firmware_less::machine::port;

use crate::support::{
    Scratch, engines, program,
    run::{Running, is_alive, open_files, within},
    tiny::{guest, idle, print, write_port},
};

/// Whether all is to be run that takes long.
fn all() -> bool {
    env::var_os("UKIVM_ALL").is_some()
}

/// The longest that thousands of boots may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(25);

/// The end of what was said.
fn last(seen: &str) -> &str {
    seen.char_indices().rev().nth(2000).map_or(seen, |(at, _)| &seen[at..])
}

/// What a process has of what could leak.
#[derive(Debug)]
struct Held {
    resident_kib: u64,
    files: usize,
    threads: u64,
    children: usize,
}

impl Held {
    fn by(running: &Running) -> Self {
        let process = running.id();
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
        let number = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            line.split_whitespace().next().expect(name).parse().expect(name)
        };
        Self {
            resident_kib: number("VmRSS:"),
            files: open_files(process).len(),
            threads: number("Threads:"),
            children: running.descendants().len(),
        }
    }

    /// The same at moments of a start or two, which hold more or less of the guest's memory.
    fn at_times_by(running: &Running) -> impl Iterator<Item = Self> {
        (0..20).map(|_| {
            thread::sleep(Duration::from_millis(5));
            Self::by(running)
        })
    }
}

#[test]
fn a_guest_that_resets_itself_again_and_again_leaks_nothing() {
    /// Room for what differs from one moment of a start to another.
    const SLACK_KIB: u64 = 1 << 10;
    let test = "a_guest_that_resets_itself_again_and_again_leaks_nothing";
    if !engines(test).contains(&"kvm") {
        return;
    }
    let (early, late) = if all() { (1000, 10_000) } else { (50, 300) };
    let scratch = Scratch::new();
    scratch.file("guest.efi", guest(|a| write_port(a, port::RESET, 6)));
    let mut command = Command::new(program());
    // Not confined: what is another's, its files can't be seen.
    command.args(["smoke", "guest.efi", "--engine", "kvm", "--memory", "64M", "--no-sandbox"]);
    command.args(["--timeout=off", "--boot-timeout=off", "--silence-timeout=off", "--reboot"]);
    command.arg(format!("restart={}", late + 50)).current_dir(scratch.path());
    let start = Instant::now();
    let mut running = Running::start(command);
    running.wait_for_end_or(&format!("start {early} more"), PATIENCE);
    let before = Held::at_times_by(&running).max_by_key(|held| held.resident_kib).expect("some");
    running.wait_for_end_or(&format!("start {late} more"), PATIENCE);
    assert!(running.seen().contains(&format!("start {late} more")), "{}", last(&running.seen()));
    let after = Held::at_times_by(&running).min_by_key(|held| held.resident_kib).expect("some");
    eprintln!("{late} starts in {:?}: {before:?}, then {after:?}", start.elapsed());
    assert_eq!(running.status(), 100, "it is a loop");
    assert!(after.resident_kib <= before.resident_kib + SLACK_KIB, "{before:?}, then {after:?}");
    // A start is a few files and threads at a time.
    assert!(after.files <= before.files + 8, "{before:?}, then {after:?}");
    assert!(after.threads <= before.threads + 4, "{before:?}, then {after:?}");
    assert_eq!(after.children, 0, "{after:?}");
}

#[test]
fn runs_one_after_another_leave_no_process_and_no_file() {
    let test = "runs_one_after_another_leave_no_process_and_no_file";
    let count: u32 = if all() { 10_000 } else { 20 };
    for engine in engines(test) {
        let count = if engine == "tcg" { count.div_ceil(100) } else { count };
        let scratch = Scratch::new();
        scratch.file("guest.efi", guest(|a| write_port(a, port::EXIT, 3)));
        let temporary = scratch.path().join("tmp");
        fs::create_dir(&temporary).expect("a folder");
        let system = || {
            let numbers = fs::read_to_string("/proc/sys/fs/file-nr").expect("/proc");
            numbers.split_whitespace().next().expect("a number").parse::<i64>().expect("a number")
        };
        let before = system();
        for number in 0..count {
            let output = Command::new(program())
                .args(["run", "guest.efi", "--engine", engine, "--memory", "64M", "--json=r.json"])
                .current_dir(scratch.path())
                .env("TMPDIR", &temporary)
                .env("XDG_CACHE_HOME", &temporary)
                .output()
                .expect("it starts");
            assert_eq!(output.status.code(), Some(3), "{number}: {output:?}");
        }
        eprintln!("{count} runs on {engine}: {before} files of the system, then {}", system());
        let names = |folder| -> Vec<_> {
            let entries = fs::read_dir(folder).expect("a folder").flatten();
            let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(scratch.path()), ["guest.efi", "r.json", "tmp"]);
        assert!(names(&temporary).is_empty(), "{:?}", names(&temporary));
    }
}

#[test]
fn vms_side_by_side_all_run_and_all_end() {
    let test = "vms_side_by_side_all_run_and_all_end";
    if !engines(test).contains(&"kvm") {
        return;
    }
    let count = if all() { 200 } else { 40 };
    let scratch = Scratch::new();
    scratch.file("guest.efi", guest(|a| print(a, "here\n").and_then(|()| idle(a))));
    let arguments = ["run", "guest.efi", "--engine", "kvm", "--memory", "32M"];
    let start = Instant::now();
    let mut vms: Vec<_> = (0..count).map(|_| Running::ukivm(scratch.path(), arguments)).collect();
    for vm in &vms {
        vm.wait_for("here");
    }
    let up = start.elapsed();
    let ids: Vec<_> = vms.iter().map(Running::id).collect();
    for vm in &vms {
        vm.signal("-TERM");
    }
    for vm in &mut vms {
        assert_eq!(vm.status(), 143, "{}", vm.seen());
    }
    eprintln!("{count} VMs: all up after {up:?}, all ended after {:?}", start.elapsed());
    assert!(within(Duration::from_secs(5), || !ids.iter().any(|id| is_alive(*id))));
    let left: Vec<_> = fs::read_dir(scratch.path()).expect("a folder").flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
