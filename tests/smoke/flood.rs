//! Guests that write more, and faster, than anybody reads.

use std::{
    fs::{self, File},
    io::{BufReader, Read as _},
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    guests::{FLOOD, POURED, POURED_AT_ONCE, pours, write},
    smoke,
};
use crate::support::{Scratch, engines, run::Running};

#[test]
fn a_flood_is_in_the_log_to_the_last_byte() {
    if engines("a_flood_is_in_the_log_to_the_last_byte").is_empty() {
        return;
    }
    let scratch = Scratch::new();
    write(&scratch, "flood");
    let ran = smoke(&scratch, &["--output=out", "--expect=^end$"], &["flood.efi"]);
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    let log = fs::read(scratch.path().join("out/serial.log")).expect("a log");
    assert_eq!(log.len(), FLOOD + "\r\nend\r\n".len());
}

/// What a program holds at its peak beside the guest's memory, in KiB, on a busy machine.
const PEAK_MAX: u64 = 24 << 10;

/// The peak of the resident memory of `process` that is its own, guest memory excluded;
/// `None` once it is gone.
fn anonymous(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// That `log` is what was poured, to the last byte.
fn is_whole(log: &Path, times: u32) {
    let lines = POURED.repeat(POURED_AT_ONCE).into_bytes();
    let mut file = BufReader::new(File::open(log).expect("a log"));
    let mut found = vec![0; lines.len()];
    for time in 0..times {
        file.read_exact(&mut found).unwrap_or_else(|error| panic!("{time}: {error}"));
        assert!(found == lines, "differs at the {time}th piece");
    }
    let mut rest = Vec::new();
    file.read_to_end(&mut rest).expect("a log");
    assert_eq!(String::from_utf8_lossy(&rest), "end\r\n");
}

/// Pours so many bytes on `engine`, as fast as it goes.
fn pour(engine: &str, bytes: usize) {
    let times = u32::try_from(bytes / (POURED.len() * POURED_AT_ONCE)).expect("a number");
    let scratch = Scratch::new();
    scratch.file("pours.efi", pours(times));
    let options = ["--output=out", "--expect=^end$", "--timeout=off", "--boot-timeout=off"];
    let fixed = ["smoke", "--memory=64M", "--engine", engine, "pours.efi"];
    let start = Instant::now();
    let mut running = Running::ukivm(scratch.path(), fixed.iter().chain(&options));
    let mut peak = 0;
    while let Some(now) = anonymous(running.id()) {
        peak = peak.max(now);
        std::thread::sleep(Duration::from_millis(20));
    }
    let took = start.elapsed();
    assert_eq!(running.status(), 0, "{}", running.seen());
    assert!(peak < PEAK_MAX, "{engine}: {peak} KiB at its peak");
    is_whole(&scratch.path().join("out/serial.log"), times);
    let lines = u64::from(times) * POURED_AT_ONCE as u64 + 1;
    let report = fs::read_to_string(scratch.path().join("out/result.json")).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["console"]["lines"], lines);
    let text = BufReader::new(File::open(scratch.path().join("out/serial.txt")).expect("a log"));
    assert_eq!(std::io::BufRead::lines(text).count() as u64, lines);
    eprintln!("{engine}: {bytes} bytes in {took:?}, {peak} KiB at its peak");
}

#[test]
fn what_a_guest_pours_is_whole_and_takes_no_memory() {
    for engine in engines("what_a_guest_pours_is_whole_and_takes_no_memory") {
        // A nested KVM exits for each byte.
        pour(engine, if engine == "kvm" { 1 << 18 } else { 1 << 21 });
    }
}
