//! Faults of the host: files that fail or change under us, a KVM that refuses.
//!
//! strace injects them into the program as it is, in the call that is asked for.

use std::{fs, path::Path, process::Command};

use firmware_less::{machine::port, testing::uki};

use crate::support::{
    Ran, Scratch, engines,
    run::Running,
    skip,
    tiny::{echo, kernel, write_port},
};

/// More calls than there are before the first instruction.
const CALLS_MAX: usize = 200;

/// A UKI with an initrd whose guest ends with status 3.
fn image(scratch: &Scratch) -> String {
    let kernel = kernel(|a| write_port(a, port::EXIT, 3)).build();
    let image = uki().section(".linux", kernel).section(".initrd", vec![0x5a; 100_000]).build();
    scratch.file("foo.efi", image).display().to_string()
}

/// A run on KVM with a fault, as strace has it, in calls about the file `only`, and the
/// lines of strace's that tell of it. `None`, and `test` noted as skipped, where there is no strace.
fn with_fault(
    test: &str,
    scratch: &Scratch,
    fault: &str,
    only: &str,
    arguments: &[&str],
) -> Option<(Ran, Vec<String>)> {
    // A file for each thread: a line is whole then.
    let logs = tempfile::tempdir_in(scratch.path()).expect("a folder");
    let mut command = Command::new("strace");
    command.args(["--follow-forks", "--output-separately", &format!("--inject={fault}")]);
    command.arg("--output").arg(logs.path().join("strace"));
    if !only.is_empty() {
        command.args(["--trace-path", only]);
    }
    command.arg(env!("CARGO_BIN_EXE_ukivm")).args(arguments);
    command.args(["--engine", "kvm", "--timeout", "60", "--memory", "64M"]);
    // strace makes the call fail by making it number -1, which a filter of calls refuses.
    let help = scratch.ukivm(["run", "--help"]).stdout;
    command.args(help.contains("--no-sandbox").then_some("--no-sandbox"));
    let Ok(output) = command.output() else {
        skip(test, "no strace: apt-get install strace");
        return None;
    };
    let logs = fs::read_dir(logs.path()).expect("strace's logs");
    let read = |log: std::io::Result<fs::DirEntry>| fs::read_to_string(log?.path());
    let calls: String = logs.map(read).collect::<Result<_, _>>().expect("strace's logs");
    let faults = calls.lines().filter(|line| line.contains("(INJECTED)")).map(str::to_owned);
    Some((Ran::from(output), faults.collect()))
}

#[test]
fn a_uki_that_can_t_be_read_is_74_and_named_wherever_that_happens() {
    let test = "a_uki_that_can_t_be_read_is_74_and_named_wherever_that_happens";
    if !engines(test).contains(&"kvm") {
        return;
    }
    let scratch = Scratch::new();
    let path = image(&scratch);
    for number in 1..CALLS_MAX {
        let fault = format!("pread64:error=EIO:when={number}");
        let Some((ran, faults)) = with_fault(test, &scratch, &fault, &path, &["run", &path]) else {
            return;
        };
        if faults.is_empty() {
            assert_eq!(ran.status, Some(3), "{ran:?}");
            assert!(number > 3, "it is read by pread64, and more than {number} times");
            return;
        }
        assert_eq!(ran.status, Some(74), "{number}: {ran:?}");
        let says = |text| ran.stderr.contains(text);
        assert!(says("foo.efi") && says("Input/output error"), "{number}: {ran:?}");
    }
    panic!("there is no end of them");
}

#[test]
fn a_read_that_is_interrupted_is_made_again() {
    let test = "a_read_that_is_interrupted_is_made_again";
    if !engines(test).contains(&"kvm") {
        return;
    }
    let scratch = Scratch::new();
    let path = image(&scratch);
    let fault = "pread64:error=EINTR:when=1..2";
    let Some((ran, faults)) = with_fault(test, &scratch, fault, &path, &["run", &path]) else {
        return;
    };
    assert!(faults.len() >= 2, "{faults:?}");
    assert_eq!(ran.status, Some(3), "{ran:?}");
}

#[test]
fn a_kvm_that_refuses_any_of_its_calls_is_69_and_afterwards_105() {
    let test = "a_kvm_that_refuses_any_of_its_calls_is_69_and_afterwards_105";
    if !engines(test).contains(&"kvm") {
        return;
    }
    let scratch = Scratch::new();
    let mut refused = Vec::new();
    for number in 1..CALLS_MAX {
        let fault = format!("ioctl:error=EIO:when={number}");
        let Some((ran, faults)) = with_fault(test, &scratch, &fault, "", &["probe"]) else {
            return;
        };
        if faults.is_empty() {
            break;
        }
        let runs = faults.iter().any(|fault| fault.contains("KVM_RUN"));
        // The console's are others' concern.
        if faults.iter().all(|fault| fault.contains("KVM_")) {
            let wanted = if runs { 105 } else { 69 };
            assert_eq!(ran.status, Some(wanted), "{number}: {faults:?}: {ran:?}");
            assert!(ran.stderr.contains("KVM"), "{number}: {faults:?}: {ran:?}");
        }
        refused.extend(faults);
        if runs {
            break;
        }
    }
    let was_refused = |call: &str| refused.iter().any(|line| line.contains(call));
    for call in
        ["KVM_CREATE_VM", "KVM_SET_USER_MEMORY_REGION", "KVM_SET_MSRS", "KVM_SET_LAPIC", "KVM_RUN"]
    {
        assert!(was_refused(call), "{call} is not among {refused:?}");
    }
}

#[test]
fn a_guest_that_runs_does_not_see_what_becomes_of_its_uki() {
    for engine in engines("a_guest_that_runs_does_not_see_what_becomes_of_its_uki") {
        let changes: [fn(&Path); 3] = [
            |path| fs::write(path, "").expect("it is cut"),
            |path| fs::write(path, vec![0xff; 300_000]).expect("it is written over"),
            |path| fs::remove_file(path).expect("it is removed"),
        ];
        for (number, change) in changes.iter().enumerate() {
            let scratch = Scratch::new();
            let image = uki().section(".linux", kernel(echo).build());
            let image = image.section(".initrd", vec![0x5a; 100_000]).build();
            let path = scratch.file("foo.efi", image);
            let arguments = ["run", "--engine", engine, "--memory", "64M", "foo.efi"];
            let mut running = Running::ukivm(scratch.path(), arguments);
            running.wait_for("ready");
            change(&path);
            running.type_in(b"seen");
            running.wait_for("seen");
            running.type_in(b"q");
            assert_eq!(running.status(), 0, "{engine}, {number}: {}", running.seen());
        }
    }
}
