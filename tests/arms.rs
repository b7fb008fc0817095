//! The arms of `ukivm bench` that are not ukivm's own hand-off.

/// Monitors that are not installed, by scripts that record what they are given.
mod fakes;

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::support::{
    Ran, Scratch, built, images,
    run::{Running, is_alive, within},
    skip,
};

/// Runs `ukivm bench` in `scratch`, where temporary files and the report go as well;
/// the run and the report's entries.
fn bench(scratch: &Scratch, arguments: &[&str]) -> (Ran, Vec<Value>) {
    let ran = Ran::from(command(scratch, arguments).output().expect("ukivm starts"));
    let report = fs::read_to_string(scratch.path().join("report.json"));
    let report = report.unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let entries = report["entries"].as_array().expect("entries").clone();
    (ran, entries)
}

fn command(scratch: &Scratch, arguments: &[&str]) -> Command {
    let temporary = scratch.path().join("temporary");
    fs::create_dir(&temporary).expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let runs = arguments.iter().any(|argument| argument.starts_with("--runs"));
    let runs = if runs { None } else { Some("--runs=1") };
    let mut command = Command::new(env!("CARGO_BIN_EXE_ukivm"));
    command
        .args(["bench", "--warmup=0", "--export-json=report.json"])
        .args(runs)
        .args(arguments)
        .current_dir(scratch.path())
        .stdin(std::process::Stdio::null())
        .env("PATH", format!("{}:{path}", scratch.path().display()))
        .env("TMPDIR", temporary)
        .env("UKIVM_OVMF", images().join("ovmf"));
    command
}

/// What is left where temporary files go.
fn left(scratch: &Scratch) -> Vec<String> {
    let folder = fs::read_dir(scratch.path().join("temporary")).expect("a folder").flatten();
    folder.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The demo, where it was made and QEMU can run it.
fn demo(test: &str) -> Option<String> {
    if let Err(error) = ukivm::engine::tcg::qemu() {
        skip(test, &format!("no TCG: {error}"));
        return None;
    }
    Some(built(test, "demo.efi")?.display().to_string())
}

/// Where the only trial's phases end, by name.
fn phases(entry: &Value) -> Vec<&str> {
    let spans = entry["trials"][0]["phases"].as_array();
    let spans = spans.unwrap_or_else(|| panic!("no trial: {entry:#}"));
    spans.iter().map(|span| span["phase"].as_str().expect("a name")).collect()
}

/// A part of what proves the only trial.
fn proof<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry["trials"][0]["proof"]["more"][name].as_str().unwrap_or_else(|| panic!("{entry:#}"))
}

#[test]
fn qemu_boots_what_ukivm_would_hand_over_and_a_monitor_that_is_not_there_stops_nobody() {
    let test = "qemu_boots_what_ukivm_would_hand_over_and_a_monitor_that_is_not_there_stops_nobody";
    let Some(uki) = demo(test) else { return };
    let scratch = Scratch::new();
    let arms = ["--arm=firecracker", "--arm=qemu", "--arm=cloud-hypervisor"];
    let options = ["--engine=tcg", "--append=loglevel=7", &uki];
    let (ran, entries) = bench(&scratch, &[&arms[..], &options].concat());
    // Installed or not, this engine is not theirs.
    for (entry, name) in [(&entries[0], "firecracker"), (&entries[2], "cloud-hypervisor")] {
        let why = entry["unavailable"].as_str().unwrap_or_else(|| panic!("{ran:?}"));
        assert!(why.contains(name) && why.contains("mend: "), "{why:?}");
    }
    assert_eq!(phases(&entries[1]), ["first-output", "linux-version", "init", "end"]);
    let cmdline = "console=ttyS0 quiet panic=-1 loglevel=7";
    assert_eq!(proof(&entries[1], "command line"), cmdline);
    assert_eq!(left(&scratch), [""; 0]);
}

#[test]
fn firmware_and_stub_boot_the_uki_with_the_words_that_are_appended() {
    let test = "firmware_and_stub_boot_the_uki_with_the_words_that_are_appended";
    let (Some(uki), Some(_)) = (demo(test), built(test, "ovmf")) else { return };
    let scratch = Scratch::new();
    let options = ["--arm=firmware", "--engine=tcg", "--append=loglevel=7 a=1,2", &uki];
    let (ran, entries) = bench(&scratch, &options);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert_eq!(phases(&entries[0]), ["firmware", "first-output", "linux-version", "init", "end"]);
    let cmdline = "console=ttyS0 quiet panic=-1 loglevel=7 a=1,2";
    assert_eq!(proof(&entries[0], "command line"), cmdline);
    assert_eq!(left(&scratch), [""; 0]);
}

#[test]
fn what_firmware_can_t_be_told_is_refused() {
    let test = "what_firmware_can_t_be_told_is_refused";
    let (Some(uki), Some(_)) = (demo(test), built(test, "ovmf")) else { return };
    for (option, value) in [("--cmdline", "quiet"), ("--initrd", &uki)] {
        let scratch = Scratch::new();
        let options = ["--arm=firmware", "--engine=tcg", option, value, &uki];
        let (ran, entries) = bench(&scratch, &options);
        assert_eq!(ran.status, Some(100), "{ran:?}");
        let why = entries[0]["failure"].to_string();
        assert!(why.contains(&format!("can't be told of {option}")), "{why}");
        assert_eq!(left(&scratch), [""; 0]);
    }
}

#[test]
fn a_real_kexec_is_measured_from_the_jump_and_shown_to_lead_to_the_uki_s_parts() {
    let test = "a_real_kexec_is_measured_from_the_jump_and_shown_to_lead_to_the_uki_s_parts";
    let Some(uki) = demo(test) else { return };
    let scratch = Scratch::new();
    // Quiet, as the demo is: the boot before shows what the measured one does not.
    let (ran, entries) = bench(&scratch, &["--arm=kexec", "--engine=tcg", &uki]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert_eq!(phases(&entries[0]), ["shutdown", "first-output", "end"]);
    let said = proof(&entries[0], "the first kernel said");
    assert!(said.contains("kexec_core: Starting new kernel"), "{said}");
    let release = proof(&entries[0], "release, in a boot before");
    assert_eq!(release, entries[0]["release"]);
    let digest = proof(&entries[0], "initrd's SHA-256 in guest memory, in a boot before");
    assert_eq!(digest.len(), 64, "{digest}");
    assert!(entries[0]["trials"][0]["unseen"]["purgatory"].is_string());
}

/// One after the other, since counts are the same twice whatever else the host does.
#[test]
fn instructions_of_other_ways_are_the_same_twice() {
    let test = "instructions_of_other_ways_are_the_same_twice";
    let (Some(uki), Some(_)) = (demo(test), built(test, "ovmf")) else { return };
    let scratch = Scratch::new();
    let arms = ["--arm=kexec", "--arm=firmware", "--arm=qemu"];
    let (ran, entries) = bench(&scratch, &[&arms[..], &["--count", "--runs=2", &uki]].concat());
    if ran.stdout.contains("verified: QEMU") {
        return skip(test, "another QEMU than those whose logs are known");
    }
    assert_eq!(ran.status, Some(0), "{ran:?}");
    for entry in &entries {
        let ends = |trial: usize| {
            let spans = entry["trials"][trial]["phases"].as_array().expect("phases");
            spans.iter().map(|span| span["end"].as_u64().expect("a count")).collect::<Vec<_>>()
        };
        assert_eq!(ends(0), ends(1), "{}", entry["arm"]);
        assert!(ends(0).last().is_some_and(|total| *total > 1_000_000_000), "{entry:#}");
    }
}

#[test]
fn a_kernel_that_says_nothing_is_not_taken_for_the_uki_s_after_a_kexec() {
    let test = "a_kernel_that_says_nothing_is_not_taken_for_the_uki_s_after_a_kexec";
    let Some(uki) = demo(test) else { return };
    let scratch = Scratch::new();
    let options = ["--arm=kexec", "--engine=tcg", "--cmdline=console=tty0 panic=-1", &uki];
    let (ran, entries) = bench(&scratch, &options);
    assert_eq!(ran.status, Some(100), "{ran:?}");
    let why = entries[0]["failure"].to_string();
    assert!(why.contains("the second kernel was never seen"), "{why}");
    assert!(why.contains("console=ttyS0"), "{why}");
}

#[test]
fn an_interruption_leaves_neither_process_nor_file() {
    let test = "an_interruption_leaves_neither_process_nor_file";
    let (Some(uki), Some(_)) = (demo(test), built(test, "ovmf")) else { return };
    for arm in ["--arm=firmware", "--arm=kexec"] {
        let scratch = Scratch::new();
        let mut running = Running::start(command(&scratch, &[arm, "--engine=tcg", &uki]));
        let program = ukivm::engine::tcg::qemu().expect("it was there").path;
        let program = fs::canonicalize(program).expect("a program");
        let is_qemu = |process: &u32| {
            fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|exe| exe == program)
        };
        let started = || running.descendants().iter().any(is_qemu);
        assert!(within(std::time::Duration::from_mins(1), started), "{}", running.seen());
        let descendants = running.descendants();
        running.signal("-INT");
        assert_eq!(running.status(), 130, "{}", running.seen());
        for process in descendants {
            let gone = || !is_alive(process);
            assert!(within(std::time::Duration::from_secs(10), gone), "{arm}: {process} is left");
        }
        assert_eq!(left(&scratch), [""; 0], "{arm}");
    }
}

#[test]
fn a_boot_that_takes_too_long_leaves_no_file() {
    let test = "a_boot_that_takes_too_long_leaves_no_file";
    let (Some(uki), Some(_)) = (demo(test), built(test, "ovmf")) else { return };
    let scratch = Scratch::new();
    let options = ["--arm=firmware", "--engine=tcg", "--time-limit=500ms", &uki];
    let (ran, entries) = bench(&scratch, &options);
    assert_eq!(ran.status, Some(100), "{ran:?}");
    assert!(entries[0]["failure"].to_string().contains("time limit"), "{entries:?}");
    assert_eq!(left(&scratch), [""; 0]);
}

/// Whether KVM can at least be asked for by name.
fn has_kvm(test: &str) -> bool {
    let kvm = fs::File::options().read(true).write(true).open(Path::new("/dev/kvm"));
    if let Err(error) = &kvm {
        skip(test, &format!("no KVM: /dev/kvm: {error}"));
    }
    kvm.is_ok()
}
