//! Benchmarks of guests of a few instructions: whether differences are found where
//! there are some, and none where there are none.

mod forms;

use std::{fs, path::Path, process::Command, time::Duration};

use firmware_less::testing::{bzimage, uki};
use iced_x86::code_asm::*;
use serde_json::Value;

use crate::support::{
    Ran, Scratch, engines,
    run::{Running, is_alive, within},
    skip,
    tiny::{self, power_off, print},
};

/// A UKI that looks at the end of its initrd, says a word and powers off; its initrd has so
/// many bytes.
fn image(initrd: usize) -> Vec<u8> {
    /// `ramdisk_image` and `ramdisk_size` in boot_params. Boot protocol, "The Real-Mode
    /// Kernel Header".
    const RAMDISK: [i32; 2] = [0x218, 0x21c];
    let code = tiny::protected_mode(|a: &mut CodeAssembler| {
        if initrd > 0 {
            a.mov(eax, dword_ptr(rsi + RAMDISK[0]))?;
            a.add(eax, dword_ptr(rsi + RAMDISK[1]))?;
            a.mov(al, byte_ptr(rax - 1))?;
        }
        print(a, "up\r\n")?;
        power_off(a)
    });
    let kernel = bzimage().protected_mode(code).build();
    let image = uki().section(".linux", kernel).section(".cmdline", "quiet");
    if initrd > 0 { image.section(".initrd", vec![0x5a; initrd]) } else { image }.build()
}

/// The engine that is quick here, KVM if there is one.
fn engine(test: &str) -> Option<&'static str> {
    engines(test).first().copied()
}

/// The phases in one of which a large initrd is waited for. On KVM it comes beside all of
/// them: the VM is being made, and the guest runs already.
const LOADS: [&str; 4] = ["vm", "load", "entry", "first-output"];

fn bench(scratch: &Scratch, engine: &str, arguments: &[&str]) -> Ran {
    let engine = format!("--engine={engine}");
    let fixed = ["bench", "--memory=128M", &engine];
    scratch.ukivm(fixed.iter().chain(arguments))
}

fn json(path: impl AsRef<Path>) -> Value {
    let text = fs::read_to_string(path).expect("a report");
    serde_json::from_str(&text).expect("JSON")
}

/// The metrics of the first comparison in which a difference is called, each with
/// which.
fn differences(report: &Value) -> Vec<(String, String)> {
    let metrics = report["comparisons"][0]["metrics"].as_array().expect("metrics");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let called = metrics.iter().filter(|one| one["verdict"] == "more" || one["verdict"] == "less");
    called.map(|one| (text(&one["metric"]), text(&one["verdict"]))).collect()
}

#[test]
fn the_same_twice_is_no_difference() {
    let Some(engine) = engine("the_same_twice_is_no_difference") else { return };
    let scratch = Scratch::new();
    scratch.file("a.efi", image(0));
    // One in a hundred may be called by chance: two in four are a fault.
    let mut called = Vec::new();
    for _ in 0..4 {
        let runs = ["--runs=12", "--export-json=r.json", "a.efi", "a.efi"];
        let ran = bench(&scratch, engine, &runs);
        assert_eq!(ran.status, Some(0), "{ran:?}");
        let report = json(scratch.path().join("r.json"));
        assert_eq!(report["comparisons"][0]["metrics"][0]["base_count"], 12);
        let found = differences(&report);
        called.extend((!found.is_empty()).then_some(found));
    }
    assert!(called.len() <= 1, "{called:?}");
}

#[test]
fn an_initrd_20_mb_larger_is_found_in_what_loads_it() {
    let Some(engine) = engine("an_initrd_20_mb_larger_is_found_in_what_loads_it") else { return };
    let scratch = Scratch::new();
    scratch.file("small.efi", image(1000));
    scratch.file("large.efi", image(20 << 20));
    let runs = ["--runs=40", "--export-json=r.json", "small.efi", "large.efi"];
    let ran = bench(&scratch, engine, &runs);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let found = differences(&json(scratch.path().join("r.json")));
    let is_more = |name: &str| found.iter().any(|(metric, is)| metric == name && is == "more");
    assert!(
        is_more("total") && LOADS.iter().any(|phase| is_more(phase)),
        "{found:?}\n{}",
        ran.stdout
    );
    // Nothing before that has anything to do with it.
    assert!(!found.iter().any(|(metric, _)| metric == "plan"), "{found:?}");
    let verdict = ran.stdout.lines().find(|line| line.starts_with("large.efi, compared with"));
    assert!(
        verdict.is_some_and(|line| LOADS.iter().any(|phase| line.contains(&format!("{phase} (+")))),
        "{}",
        ran.stdout
    );
}

#[test]
fn an_interrupted_benchmark_leaves_what_there_is_and_no_process() {
    let test = "an_interrupted_benchmark_leaves_what_there_is_and_no_process";
    let Some(engine) = engine(test) else { return };
    let scratch = Scratch::new();
    scratch.file("a.efi", image(0));
    let arguments = ["bench", "--engine", engine, "--memory=64M", "--runs=10000", "a.efi"];
    let exports = ["--export-json=r.json", "--export-html=r.html"];
    let mut running = Running::ukivm(scratch.path(), arguments.into_iter().chain(exports));
    running.wait_for("round 3: a.efi: ");
    let started = running.descendants();
    running.signal("-INT");
    assert_eq!(running.status(), 130);
    let report = json(scratch.path().join("r.json"));
    assert_eq!(report["interrupted"], "INT");
    let trials = report["entries"][0]["trials"].as_array().expect("trials").len();
    assert!((3..1000).contains(&trials), "{trials}");
    assert!(
        fs::read_to_string(scratch.path().join("r.html"))
            .is_ok_and(|page| page.contains("Interrupted"))
    );
    let alive = || started.iter().any(|process| is_alive(*process));
    assert!(within(Duration::from_secs(10), || !alive()), "{started:?}");
    let left: Vec<_> = fs::read_dir(scratch.path()).expect("the folder").flatten().collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn one_that_fails_is_named_and_the_others_are_measured() {
    let Some(engine) = engine("one_that_fails_is_named_and_the_others_are_measured") else {
        return;
    };
    let scratch = Scratch::new();
    scratch.file("a.efi", image(0));
    scratch.file("bad.efi", tiny::guest(tiny::triple_fault));
    let ran = bench(&scratch, engine, &["--runs=2", "--export-json=r.json", "bad.efi", "a.efi"]);
    assert_eq!(ran.status, Some(100), "{ran:?}");
    assert!(ran.stderr.contains("bad.efi is given up: the guest did not end well: triple fault"));
    let report = json(scratch.path().join("r.json"));
    assert_eq!(report["entries"][0]["failure"]["round"], 0);
    assert_eq!(report["entries"][1]["trials"].as_array().map(Vec::len), Some(2));
}

#[test]
fn what_became_slower_fails_a_comparison_and_what_did_not_passes() {
    let test = "what_became_slower_fails_a_comparison_and_what_did_not_passes";
    let Some(engine) = engine(test) else { return };
    let scratch = Scratch::new();
    scratch.file("a.efi", image(0));
    scratch.file("b.efi", image(40 << 20));
    let measured = |image: &str, to: &str| {
        let export = format!("--export-json={to}");
        assert_eq!(bench(&scratch, engine, &["--runs=20", &export, image]).status, Some(0));
    };
    measured("a.efi", "a.json");
    measured("b.efi", "b.json");
    let compared = |old: &str, new: &str| scratch.ukivm(["bench", "--compare", old, new]);
    let same = compared("a.json", "a.json");
    assert_eq!(same.status, Some(0), "{same:?}");
    let slower = compared("a.json", "b.json");
    assert_eq!(slower.status, Some(1), "{slower:?}");
    assert!(slower.stdout.contains("+ total "), "{}", slower.stdout);
    let faster = compared("b.json", "a.json").stdout;
    assert!(faster.contains("- total "), "what is faster is no reason");
    // And with boots of its own.
    let ran = bench(&scratch, engine, &["--runs=20", "--compare=a.json", "b.efi"]);
    assert_eq!(ran.status, Some(1), "{ran:?}");
}

#[test]
fn what_can_not_be_compared_is_refused_and_not_passed() {
    let test = "what_can_not_be_compared_is_refused_and_not_passed";
    let Some(engine) = engine(test) else { return };
    let scratch = Scratch::new();
    scratch.file("a.efi", image(0));
    let ran = bench(&scratch, engine, &["--runs=1", "--export-json=a.json", "a.efi"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let edited = |from: &str, to: &str| {
        let old = fs::read_to_string(scratch.path().join("a.json")).expect("a report");
        assert!(old.contains(from), "{from}");
        scratch.file("b.json", old.replace(from, to));
        let ran = scratch.ukivm(["bench", "--compare", "a.json", "b.json"]);
        assert_eq!(ran.status, Some(65), "{ran:?}");
        ran.stderr
    };
    let other = if engine == "kvm" { "tcg" } else { "kvm" };
    let engines = edited(&format!("\"engine\": \"{engine}\""), &format!("\"engine\": \"{other}\""));
    assert!(engines.contains("different engines"), "{engines}");
    assert!(edited("\"cpu\": \"", "\"cpu\": \"Z80 ").contains("different hosts: processor"));
    assert!(edited("\"memory\": 134217728", "\"memory\": 1").contains("other --memory"));
    assert!(edited("\"schema\": 1", "\"schema\": 2").contains("this program reads schema 1"));
    assert!(edited("\"schema\"", "\"scheme\"").contains("no report of `ukivm bench"));
    assert!(edited("{", "{{").contains("no JSON"));
    let missing = scratch.ukivm(["bench", "--compare", "nowhere.json", "a.json"]);
    assert_eq!(missing.status, Some(74), "{missing:?}");
}

#[test]
fn nothing_is_booted_where_something_is_wrong_from_the_start() {
    let scratch = Scratch::new();
    scratch.file("a.efi", image(0));
    scratch.file("no.efi", "no UKI");
    let status = |arguments: &[&str]| {
        let ran = scratch.ukivm(["bench", "--engine=tcg"].iter().chain(arguments));
        assert!(!ran.stderr.contains("warm-up"), "{ran:?}");
        ran.status
    };
    assert_eq!(status(&["a.efi", "no.efi"]), Some(65));
    assert_eq!(status(&["a.efi", "nowhere.efi"]), Some(74));
    assert_eq!(status(&["a.efi", "--export-html=nowhere/r.html"]), Some(74));
    assert_eq!(status(&["a.efi", "--export-csv=a.efi"]), Some(64));
    assert_eq!(status(&["a.efi", "--runs=0"]), Some(64));
    assert_eq!(status(&["a.efi", "--arm=rocket"]), Some(64));
    assert_eq!(status(&[]), Some(64));
    assert_eq!(fs::read(scratch.path().join("a.efi")).expect("still there"), image(0));
}

#[test]
fn a_bar_is_drawn_on_a_terminal_and_taken_away() {
    let Some(engine) = engine("a_bar_is_drawn_on_a_terminal_and_taken_away") else { return };
    if Command::new("script").arg("--version").output().is_err() {
        skip("a_bar_is_drawn_on_a_terminal_and_taken_away", "no script(1)");
        return;
    }
    let scratch = Scratch::new();
    scratch.file("a.efi", image(0));
    let line = format!(
        "{} bench --engine {engine} --memory 64M --runs 2 a.efi >out.txt; echo status=$?",
        env!("CARGO_BIN_EXE_ukivm")
    );
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command.current_dir(scratch.path()).env("SHELL", "/bin/sh");
    let running = Running::start(command);
    running.wait_for("status=0");
    let seen = running.seen();
    assert!(
        seen.contains("\r\u{1b}[2K[------------------------------] 0/3  a.efi, warm-up"),
        "{seen}"
    );
    assert!(seen.contains("a.efi, round 2\r\u{1b}[2K"), "{seen}");
    let out = fs::read_to_string(scratch.path().join("out.txt")).expect("the report");
    assert!(out.contains("2 boots, no outliers"), "{out}");
}
