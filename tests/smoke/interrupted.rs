//! What a signal leaves, whenever it comes.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use rustix::fs::OFlags;

use super::{forms::result, guests::write};
use crate::support::{
    Scratch, engines,
    run::{Running, is_alive, within},
};

#[test]
fn an_interrupted_run_leaves_its_results() {
    if engines("an_interrupted_run_leaves_its_results").is_empty() {
        return;
    }
    let scratch = Scratch::new();
    write(&scratch, "up-and-idle");
    let options = ["smoke", "--memory=64M", "--output=out", "up-and-idle.efi"];
    let mut running = Running::ukivm(scratch.path(), options);
    running.wait_for("init started");
    running.signal("-INT");
    assert_eq!(running.status(), 130);
    let text = fs::read_to_string(scratch.path().join("out/result.json")).expect("a report");
    let report = result(&text);
    assert_eq!((&report["cause"], &report["exit_status"]), (&"interrupted".into(), &130.into()));
    assert!(scratch.path().join("out/junit.xml").is_file());
}

/// A pipe that nobody writes to: whoever reads it waits.
fn pipe(scratch: &Scratch, name: &str) {
    let made = Command::new("mkfifo").arg(scratch.path().join(name)).status();
    assert!(made.expect("mkfifo runs").success());
}

/// Waits until `process` has taken the signals that end it into its own hands.
fn wait_until_caught(process: u32) {
    const TERM: u64 = 1 << 14;
    let caught = || {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask & TERM != 0)
    };
    assert!(within(Duration::from_secs(30), caught));
}

/// The results that `folder` has.
fn results(folder: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(folder.join("result.json")).expect("a report");
    let whole = result(&text);
    match whole["images"].as_array() {
        Some(images) => {
            let runs = images.iter().flat_map(|image| image["runs"].as_array().expect("runs"));
            runs.cloned().collect()
        }
        None => vec![whole],
    }
}

/// That all of `options` is interrupted before any guest runs, and says so; what an
/// earlier run left is gone.
fn is_interrupted_early(options: &[&str], (signal, status): (&str, i32), runs: usize) {
    let scratch = Scratch::new();
    write(&scratch, "up");
    pipe(&scratch, "pipe");
    fs::create_dir(scratch.path().join("out")).expect("a folder");
    scratch.file("out/result.json", "stale");
    let fixed = ["smoke", "--memory=64M", "--output=out", "up.efi"];
    let mut running = Running::ukivm(scratch.path(), fixed.iter().chain(options));
    wait_until_caught(running.id());
    let begun =
        || runs == 1 || options.contains(&"--deny=pipe") || !running.descendants().is_empty();
    assert!(within(Duration::from_secs(30), begun), "{}", running.seen());
    running.descendants().into_iter().for_each(wait_until_caught);
    let parts = running.descendants();
    running.signal(signal);
    assert_eq!(running.status(), status, "{options:?} {signal}: {}", running.seen());
    assert!(within(Duration::from_secs(10), || !parts.iter().any(|part| is_alive(*part))));
    let results = results(&scratch.path().join("out"));
    assert_eq!(results.len(), runs);
    for result in results {
        let said = (&result["cause"], &result["exit_status"], &result["result"]);
        assert_eq!(said, (&"interrupted".into(), &status.into(), &"error".into()), "{result:#}");
    }
    let tap = fs::read_to_string(scratch.path().join("out/result.tap")).expect("TAP");
    assert_eq!(tap.matches("\nnot ok").count(), runs, "{tap}");
    assert!(scratch.path().join("out/junit.xml").is_file());
}

#[test]
fn a_signal_before_any_guest_runs_leaves_results_too() {
    // Who waits for the pipe: whoever reads the options, and one that is past that.
    for options in [&["--deny=pipe"][..], &["--deny=pipe", "--repeat=3"]] {
        let runs = if options.len() == 1 { 1 } else { 3 };
        is_interrupted_early(options, ("-INT", 130), runs);
        is_interrupted_early(options, ("-TERM", 143), runs);
    }
    for engine in engines("a_signal_before_any_guest_runs_leaves_results_too") {
        let engine = format!("--engine={engine}");
        is_interrupted_early(&["--system-map=pipe", &engine], ("-INT", 130), 1);
        is_interrupted_early(&["--system-map=pipe", &engine, "--repeat=3"], ("-TERM", 143), 3);
    }
}

#[test]
fn a_log_that_is_a_pipe_nobody_reads_can_be_interrupted() {
    for repeat in ["--repeat=1", "--repeat=2"] {
        let scratch = Scratch::new();
        write(&scratch, "up");
        for folder in ["out", "out/001-up-run1"] {
            fs::create_dir(scratch.path().join(folder)).expect("a folder");
            pipe(&scratch, &format!("{folder}/serial.log"));
        }
        let options = ["smoke", "--memory=64M", "--output=out", repeat, "up.efi"];
        let mut running = Running::ukivm(scratch.path(), options);
        thread::sleep(Duration::from_millis(500));
        running.signal("-TERM");
        // Where nothing was begun, the signal ends it itself.
        let status = running.status();
        assert!([143, 15 - 256].contains(&status), "{repeat}: {status}, {}", running.seen());
    }
}

#[test]
fn a_guest_that_resets_itself_without_end_can_be_interrupted() {
    for engine in engines("a_guest_that_resets_itself_without_end_can_be_interrupted") {
        let scratch = Scratch::new();
        write(&scratch, "reset");
        let options = ["smoke", "--memory=64M", "--reboot=restart=1000000", "--output=out"];
        let engine = ["--engine", engine, "reset.efi"];
        let mut running = Running::ukivm(scratch.path(), options.iter().chain(&engine));
        running.wait_for("start 3 more");
        running.signal("-INT");
        assert_eq!(running.status(), 130, "{}", running.seen());
        let results = results(&scratch.path().join("out"));
        assert_eq!(results[0]["cause"], "interrupted", "{results:?}");
    }
}

/// The end of a pipe in which there is no room, and its other end.
fn full() -> (io::PipeReader, io::PipeWriter) {
    let (reader, writer) = io::pipe().expect("a pipe");
    let flags = |flags| rustix::fs::fcntl_setfl(&writer, flags).expect("a pipe");
    flags(OFlags::NONBLOCK);
    while (&writer).write(&[b'x'; 4096]).is_ok() {}
    while (&writer).write(b"x").is_ok() {}
    flags(OFlags::empty());
    (reader, writer)
}

#[test]
fn a_reader_that_reads_nothing_keeps_no_signal_from_ending_it_with_results() {
    if engines("a_reader_that_reads_nothing_keeps_no_signal_from_ending_it_with_results").is_empty()
    {
        return;
    }
    for options in [&[][..], &["--repeat=3"]] {
        let scratch = Scratch::new();
        write(&scratch, "up");
        let (_reader, writer) = full();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ukivm"))
            .args(["smoke", "--memory=64M", "--output=out", "up.efi"])
            .args(options)
            .current_dir(scratch.path())
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::null())
            .spawn()
            .expect("ukivm starts");
        // Far enough to print something.
        let log = if options.is_empty() { "out/serial.log" } else { "out/001-up-run1/junit.xml" };
        let log = scratch.path().join(log);
        assert!(within(Duration::from_mins(1), || !is_empty(&log)));
        thread::sleep(Duration::from_secs(1));
        let sent = Command::new("kill").arg(child.id().to_string()).status();
        assert!(sent.expect("kill runs").success());
        let over = || child.try_wait().expect("our child").is_some();
        let ended = within(Duration::from_secs(30), over);
        child.kill().ok();
        let status = child.wait().expect("our child");
        assert!(ended, "{options:?} goes on");
        assert!(status.code() == Some(143) || status.signal() == Some(15), "{status}");
        assert!(!results(&scratch.path().join("out")).is_empty());
    }
}

#[test]
fn several_end_with_whoever_started_them() {
    if engines("several_end_with_whoever_started_them").is_empty() {
        return;
    }
    for (signal, status) in [("-TERM", 143), ("-KILL", 9 - 256)] {
        let scratch = Scratch::new();
        write(&scratch, "up-and-idle");
        let options = ["smoke", "--memory=64M", "--jobs=2", "--output=out", "--repeat=4"];
        let mut running =
            Running::ukivm(scratch.path(), options.into_iter().chain(["up-and-idle.efi"]));
        let begun = || !is_empty(&scratch.path().join("out/001-up-and-idle-run1/serial.log"));
        assert!(within(Duration::from_secs(30), begun), "{}", running.seen());
        let parts = running.descendants();
        assert!(!parts.is_empty());
        running.signal(signal);
        assert_eq!(running.status(), status);
        let gone = || !parts.iter().any(|part| is_alive(*part));
        assert!(within(Duration::from_secs(10), gone), "{signal} left {parts:?}");
    }
}

fn is_empty(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |data| data.len() == 0)
}
