//! That every rule of the sandbox is needed: of calls that no job makes, none is allowed.
//!
//! strace tells which thread made which call after it was confined.

mod trace;

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
};

use firmware_less::{machine::port, testing::uki};
use imago::{FormatCreateBuilder as _, file::File as ImageFile, qcow2::Qcow2};
use ukivm::sandbox::{ioctls, rules};

use self::trace::Trace;
use crate::support::{
    Scratch, engines, skip,
    tiny::{chatter, echo, guest, kernel, power_off, spin, triple_fault, write_port},
};

/// What is not in every trace, and may be made all the same: by which threads, and why.
const AT_TIMES: &[(&[&str], &str, &str)] = &[
    (
        &["mmap", "munmap", "mprotect", "madvise", "brk", "mremap"],
        "KQVPWR",
        "malloc, in whoever asks",
    ),
    (&["futex", "sched_yield"], "KQVPWR", "a lock that another thread has"),
    (&["rt_sigprocmask", "sigaltstack", "exit"], "KQVPWR", "a thread's end"),
    (&["rt_sigreturn", "sendto", "restart_syscall"], "KQVPWR", "a signal comes to any thread"),
    (&["exit_group"], "KQVPWR", "only who broke the rules, or panicked, ends the process"),
    (&["prctl"], "VPWR", "only who broke the rules is asked for its name"),
    (&["clock_gettime"], "KQVPWR", "hosts whose clock is not in the vDSO"),
    (&["TCSETS", "TCSETS2", "TIOCGPGRP", "getpgrp"], "KQVPWR", "a panic restores the terminal"),
    (&["TCGETS", "TCGETS2", "TCSETS", "TCSETS2"], "KQ", "older C libraries make the first"),
    (&["TIOCGWINSZ"], "KQ", "a terminal that changes its size"),
    (&["getrandom"], "KQVPWR", "the first table of a hash in a thread"),
    (&["poll", "ppoll", "write", "ioctl"], "KQVPWR", "a message, of whoever has one"),
    (&["close", "fcntl"], "WR", "the last that has a file closes it; asked in debug builds"),
    (&["rt_sigaction", "getpid", "tgkill"], "Q", "a signal when the run is over, which ends us"),
    (&["clock_nanosleep"], "Q", "QEMU is waited for"),
    (&["fstat", "newfstatat"], "KQ", "hosts that have no statx, or hide it"),
    (
        &["landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"],
        "KQ",
        "who writes results may fence itself in before the others, or after them",
    ),
    (&["lseek", "newfstatat"], "KQ", "hosts without Landlock: why no kernel could run"),
    (&["openat", "rename", "unlink"], "Q", "file systems that have no file without a name"),
    (&["rename", "unlink"], "K", "file systems that have no file without a name"),
    (&["KVM_SET_XCRS"], "K", "processors with XSAVE"),
    (
        &["epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "eventfd2"],
        "KQ",
        "devices that are ours, once a kernel's drivers are there",
    ),
];

/// The guests, by file name.
fn guests(scratch: &Scratch) {
    let reset = |a: &mut _| write_port(a, port::RESET, 6);
    scratch.file("echo.efi", guest(echo));
    scratch.file("off.efi", guest(power_off));
    scratch.file("reset.efi", guest(reset));
    scratch.file("spin.efi", guest(spin));
    scratch.file("chatter.efi", guest(chatter));
    scratch.file("fault.efi", guest(triple_fault));
    let initrd = vec![0x5a; 40 << 20];
    let large = uki().section(".linux", kernel(reset).build());
    scratch.file("large-reset.efi", large.section(".initrd", &*initrd).build());
    let large = uki().section(".linux", kernel(power_off).build());
    scratch.file("large.efi", large.section(".initrd", initrd).build());
}

/// A disk of 1 MiB in a qcow2 image.
fn qcow2(scratch: &Scratch) {
    let path = scratch.file("disk.qcow2", []);
    let file = fs::File::options().read(true).write(true).open(path).expect("a file");
    let storage = ImageFile::try_from(file).expect("a file");
    Qcow2::<ImageFile>::create_builder(storage).size(1 << 20).create().expect("an image");
}

/// What is run, as a shell has it; `$run` and `$smoke` begin with the program.
const JOBS: [&str; 16] = [
    "(sleep 1; echo a; sleep 1; echo q) | $run echo.efi --json=out.json",
    "$smoke reset.efi --reboot restart=2 --output results",
    "$smoke large-reset.efi --reboot restart=1 --disk disk.img,ephemeral",
    "$smoke reset.efi --reboot restart=1 --disk disk.qcow2",
    "$run fault.efi",
    "$smoke spin.efi --silence-timeout 1s --boot-timeout off --output results",
    "$smoke off.efi --format junit",
    "$run chatter.efi --timeout 2s | head -c 100000 >/dev/null",
    "$run large.efi",
    "$run off.efi --disk disk.img",
    "$run off.efi --net user",
    "$run off.efi --notify",
    "mkdir shared; $smoke reset.efi --reboot restart=1 --share shared",
    "$run spin.efi & sleep 1; kill -STOP $!; sleep 0.3; kill -CONT $!; sleep 0.3; kill $!; wait",
    "$run spin.efi --grace 300ms & sleep 1; kill $!; wait",
    "script --quiet --return --command \"$run off.efi\" /dev/null </dev/null",
];

/// The trace of one of the jobs.
fn traced(scratch: &Scratch, engine: &str, job: &str) -> Option<Trace> {
    let log = scratch.path().join("strace.txt");
    let program = env!("CARGO_BIN_EXE_ukivm");
    let common = format!("--engine {engine} --memory 64M");
    let line = format!("run='{program} run {common}'; smoke='{program} smoke {common}'; {job}");
    Command::new("strace")
        .args(["--follow-forks", "--signal=none", "--string-limit=64", "--output"])
        .arg(&log)
        .args(["/bin/sh", "-c", &line])
        .current_dir(scratch.path())
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let supervisor = if engine == "kvm" { 'K' } else { 'Q' };
    let vcpu =
        if ["--disk", "--net", "--share", "--notify"].iter().any(|device| job.contains(device)) {
            'P'
        } else {
            'V'
        };
    Some(Trace::read(&fs::read_to_string(log).ok()?, program, supervisor, vcpu))
}

/// Whose rules those are that devices on PCI need, and their supervisor, which may no less.
const OF_DISKS: &str = "KP";

/// Rules that `letter` has, but for those of devices, and that nothing in `made` needs: calls and ioctls by name.
fn unused(letter: char, made: &BTreeSet<String>) -> Vec<&'static str> {
    let is_its = |threads: &str| threads.contains(letter) && threads != OF_DISKS;
    let calls = rules::TABLE.iter().filter(|rule| is_its(rule.threads));
    let ioctls = ioctls::TABLE.iter().filter(|ioctl| is_its(ioctl.threads));
    let names = calls.map(rules::Rule::name).chain(ioctls.map(|ioctl| ioctl.name));
    let is_excused = |name: &&str| {
        AT_TIMES.iter().any(|(names, letters, _)| names.contains(name) && letters.contains(letter))
    };
    names.filter(|name| !made.contains(*name)).filter(|name| !is_excused(name)).collect()
}

#[test]
fn no_rule_is_there_that_no_job_needs() {
    let test = "no_rule_is_there_that_no_job_needs";
    let mut problems = Vec::new();
    for engine in engines(test) {
        let scratch = Scratch::new();
        guests(&scratch);
        scratch.file("disk.img", vec![0; 1 << 20]);
        qcow2(&scratch);
        let mut all = Trace::default();
        for job in JOBS {
            let Some(trace) = traced(&scratch, engine, job) else {
                return skip(test, "no strace: apt-get install strace");
            };
            all.extend(trace);
        }
        let letters = if engine == "kvm" { "VWRK" } else { "QWR" };
        for letter in letters.chars() {
            // Who supervises is asked for what its threads do, too.
            let made = if "KQ".contains(letter) { all.of_any() } else { all.of(letter) };
            assert!(made.len() > 3, "{engine}: hardly a call of {letter}: {made:?}");
            problems.push((engine, letter, unused(letter, &made)));
        }
    }
    problems.retain(|(_, _, unused)| !unused.is_empty());
    assert!(problems.is_empty(), "nothing needs these rules: {problems:#?}");
}
