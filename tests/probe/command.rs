//! `ukivm probe` itself: what it says, and what it makes of a difference.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use firmware_less::testing::{bzimage, uki};
use serde_json::Value;

use super::{CMDLINE, Case, SEED, initrd};
use crate::support::{Ran, Scratch, engines, probe::probe_uki, sound_uki};

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// What `report` says of that.
fn found<'a>(report: &'a Value, group: &str, name: &str) -> &'a Value {
    let pairs = report["report"].as_array().expect("pairs").iter();
    let mut pairs = pairs.filter(|pair| pair["group"] == group && pair["name"] == name);
    &pairs.next().unwrap_or_else(|| panic!("{group}, {name}"))["found"]
}

#[test]
fn the_probe_built_in_finds_what_is_planned() {
    let scratch = Scratch::new();
    for engine in engines("the_probe_built_in_finds_what_is_planned") {
        let ran = scratch.ukivm(["probe", "--engine", engine]);
        assert_eq!(ran.status, Some(0), "{engine}: {ran:?}");
        assert!(ran.stdout.contains("\nas planned: all of "), "{}", ran.stdout);
        assert!(ran.stdout.contains("text                   console=ttyS0 ukivm.probe\n"));
        assert!(!ran.stdout.contains("  planned\n"), "{}", ran.stdout);
    }
}

#[test]
fn a_probe_in_the_place_of_a_uki_s_kernel_finds_what_is_planned_for_that() {
    let test = "a_probe_in_the_place_of_a_uki_s_kernel_finds_what_is_planned_for_that";
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    for engine in engines(test) {
        for options in [
            ["--cpus", "2"].as_slice(),
            &["--flavour", "legacy", "--append", "more"],
            &["--memory", "6G", "--leaf-size", "2M"],
        ] {
            let given = [options, &["--json", "--engine", engine, "foo.efi"]].concat();
            let ran = scratch.ukivm(["probe"].iter().chain(&given));
            assert_eq!(ran.status, Some(0), "{engine} {options:?}: {ran:?}");
            let report = json(&ran);
            assert_eq!(report["as_planned"], true);
            assert_eq!(report["differences"], Value::Array(Vec::new()));
            // The plan for the UKI itself says the same of everything but the kernel.
            let plan = json(&scratch.ukivm(["plan"].iter().chain(&given)));
            let cpu = &plan["cpu"]["registers"];
            for register in ["rip", "rsi", "rsp"] {
                assert_eq!(*found(&report, "registers", register), cpu[register], "{register}");
            }
            for field in plan["boot_params"].as_array().expect("fields") {
                let name = field["name"].as_str().expect("a name");
                assert_eq!(*found(&report, "boot_params", name), field["value"], "{name}");
            }
        }
    }
}

#[test]
fn a_kernel_without_room_for_the_probe_is_refused() {
    let scratch = Scratch::new();
    let kernel = bzimage().with(|header| header.init_size = 0x1000);
    scratch.file("small.efi", uki().section(".linux", kernel.build()).build());
    let ran = scratch.ukivm(["probe", "small.efi"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(65), ""), "{ran:?}");
    assert!(ran.stderr.contains("small.efi: the probe can't take the kernel's place"));
    assert!(ran.stderr.contains("the range has 0x1000 bytes"), "{}", ran.stderr);
}

/// Runs a probe as a kernel of its own on `engine`: the UKI, and what it printed.
fn printed(engine: &str) -> (Scratch, String) {
    let (scratch, ran) = Case::new("printed", &[]).run(engine);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    (scratch, ran.stdout)
}

#[test]
fn a_report_from_elsewhere_is_read_and_compared() {
    for engine in engines("a_report_from_elsewhere_is_read_and_compared") {
        let (scratch, log) = printed(engine);
        scratch.file("serial.log", &log);
        let compare = ["--engine", engine, "--rng-seed", SEED, "probe.efi"];
        let read =
            |log: &str, more: &[&str]| scratch.ukivm(["probe", "--read", log].iter().chain(more));
        let ran = read("serial.log", &compare);
        assert_eq!(ran.status, Some(0), "{ran:?}");
        assert!(ran.stdout.contains("\nas planned: all of "), "{}", ran.stdout);
        let ran = read("serial.log", &[]);
        assert_eq!(ran.status, Some(0), "{ran:?}");
        assert!(!ran.stdout.contains("planned"), "{}", ran.stdout);

        // A bit of CR4, a byte of the command line, and the whole of CR2.
        let line = |name: &str| {
            log.lines().find(|line| line.starts_with(&format!("probe: {name}="))).expect("a line")
        };
        let changed = log
            .replace(line("cr4"), "probe: cr4=0000000000001020")
            .replace(line("cmdline"), &line("cmdline").replacen("=63", "=43", 1))
            .replace(&format!("{}\n", line("cr2")), "");
        scratch.file("changed.log", changed);
        let ran = read("changed.log", &compare);
        assert_eq!(ran.status, Some(1), "{ran:?}");
        for text in [
            "  cr4                    0x1020\n                         0x20  planned\n",
            "  text                   Console=ttyS0",
            "  cr2                    –\n                         0x0  planned\n",
            "\nnot as planned: 3 of ",
            "  control and debug registers, cr4\n",
        ] {
            assert!(ran.stdout.contains(text), "{text:?} in {}", ran.stdout);
        }
        let ran = read("changed.log", &[compare.as_slice(), &["--json"]].concat());
        let differences = &json(&ran)["differences"];
        assert_eq!(differences.as_array().map(Vec::len), Some(3), "{differences}");
        assert_eq!(differences[0]["found"], 0x1020);
        assert_eq!(differences[0]["planned"], 0x20);
    }
}

#[test]
fn what_is_no_report_is_refused() {
    let scratch = Scratch::new();
    scratch.file("nothing.log", "login: ");
    scratch.file("cut.log", "probe: begin=0000000000000001\nprobe: rax=0000000000000000\n");
    for (log, status, message) in [
        ("nothing.log", 65, "nothing.log: there is no report of a probe"),
        ("cut.log", 65, "cut.log: the report ends at rax"),
        ("missing.log", 74, "missing.log: reading it failed"),
    ] {
        let ran = scratch.ukivm(["probe", "--read", log]);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(status), ""), "{ran:?}");
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    }
}

#[test]
fn the_probe_written_out_boots_and_its_report_is_read_from_a_pipe() {
    let test = "the_probe_written_out_boots_and_its_report_is_read_from_a_pipe";
    let scratch = Scratch::new();
    for arguments in [["--write-uki", "probe.efi"], ["--write-bzimage", "probe"]] {
        let ran = scratch.ukivm(["probe"].iter().chain(&arguments));
        assert_eq!(ran, Ran { status: Some(0), stdout: String::new(), stderr: String::new() });
    }
    let kernel = fs::read(scratch.path().join("probe")).expect("a kernel");
    let own = uki().section(".cmdline", CMDLINE).section(".initrd", initrd());
    scratch.file("own.efi", own.section(".linux", kernel).build());
    for engine in engines(test) {
        for image in ["probe.efi", "own.efi"] {
            let options = ["--engine", engine, "--rng-seed", SEED, image];
            let ran = scratch.ukivm(["run", "--timeout", "3m"].iter().chain(&options));
            assert_eq!(ran.status, Some(0), "{ran:?}");
            let mut reader = Command::new(env!("CARGO_BIN_EXE_ukivm"))
                .args(["probe", "--read", "-"])
                .args(options)
                .current_dir(scratch.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("ukivm starts");
            let mut input = reader.stdin.take().expect("a pipe");
            input.write_all(ran.stdout.as_bytes()).expect("it is read");
            drop(input);
            let read = reader.wait_with_output().expect("it ends");
            assert_eq!(read.status.code(), Some(0), "{engine} {image}: {read:?}");
        }
    }
    // The kernel of the tests is as much the probe as that one.
    assert!(probe_uki().build().windows(64).any(|window| window == &ukivm_guests::PROBE[..64]));
}
