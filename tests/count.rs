//! `ukivm bench --count`, on guests whose every instruction is known.

mod kernels;

use std::{fs, path::Path};

use iced_x86::{IcedError, code_asm::*};
use serde_json::Value;
use ukivm::engine::tcg;

use crate::support::{Ran, Scratch, skip, tiny};

/// Whether instructions can be counted here; if not, `test` is noted as skipped.
pub(crate) fn can_count(test: &str) -> bool {
    match tcg::qemu() {
        Ok(qemu) if qemu.version.starts_with("7.2.") => return true,
        Ok(qemu) => skip(test, &format!("counts are not verified with QEMU {}", qemu.version)),
        Err(error) => skip(test, &format!("no TCG: {error}")),
    }
    false
}

const LINUX_VERSION: &str = "[    0.000000] Linux version 6.1.0-tiny (a@b) #1\n";
const RUN_INIT: &str = "[    0.100000] Run /init as init process\n";
/// How many rounds of two instructions a boot takes before a line.
const WORK: u32 = 1_000_000;

/// A guest that works, says that it is Linux, works, says that it runs init, works,
/// and powers off.
fn boot(work: [u32; 3]) -> Vec<u8> {
    tiny::guest(|a| {
        spend(a, work[0])?;
        tiny::print(a, LINUX_VERSION)?;
        spend(a, work[1])?;
        tiny::print(a, RUN_INIT)?;
        spend(a, work[2])?;
        tiny::power_off(a)
    })
}

fn spend(a: &mut CodeAssembler, rounds: u32) -> Result<(), IcedError> {
    let mut again = a.create_label();
    a.mov(ecx, rounds)?;
    a.set_label(&mut again)?;
    a.dec(ecx)?;
    a.jnz(again)
}

/// Counts `arguments` and gives the report.
fn report(scratch: &Scratch, arguments: &[&str]) -> Value {
    let fixed = ["bench", "--count", "--memory=64M", "--export-json=report.json"];
    let Ran { status, stderr, stdout } = scratch.ukivm([&fixed[..], arguments].concat());
    assert_eq!(status, Some(0), "{stderr}{stdout}");
    read(&scratch.path().join("report.json"))
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a report")).expect("JSON")
}

/// Each phase of each boot of an entry, with its number of instructions.
fn phases(entry: &Value) -> Vec<Vec<(String, u64)>> {
    let trials = entry["trials"].as_array().expect("trials");
    let of = |trial: &Value| {
        let spans = trial["phases"].as_array().expect("phases").iter();
        let number = |value: &Value| value.as_u64().expect("a number");
        spans
            .map(|span| {
                let name = span["phase"].as_str().expect("a name").to_owned();
                (name, number(&span["end"]) - number(&span["start"]))
            })
            .collect()
    };
    trials.iter().map(of).collect()
}

#[test]
fn phases_are_told_to_the_instruction_and_the_same_every_time() {
    if !can_count("phases_are_told_to_the_instruction_and_the_same_every_time") {
        return;
    }
    let scratch = Scratch::new();
    scratch.file("a.efi", boot([10, 20, 30]));
    let report = report(&scratch, &["a.efi", "--runs=3"]);
    assert_eq!(report["settings"]["unit"], "instructions");
    // A port number, and two instructions a byte, of which the second writes it.
    let line = |text: &str| 2 * text.len() as u64 + 1;
    let loops = |rounds: u64| 2 * rounds + 1;
    let wanted = [
        ("first-output", loops(10) + 3),
        ("linux-version", line(LINUX_VERSION) - 3),
        ("init", loops(20) + line(RUN_INIT)),
        // Waits until all is out: one look; and writes the register.
        ("end", loops(30) + 4 + 3),
    ];
    let wanted: Vec<_> = wanted.map(|(name, count)| (name.to_owned(), count)).to_vec();
    assert_eq!(phases(&report["entries"][0]), vec![wanted; 3]);
}

#[test]
fn the_same_uki_twice_shows_no_difference() {
    if !can_count("the_same_uki_twice_shows_no_difference") {
        return;
    }
    let scratch = Scratch::new();
    scratch.file("a.efi", boot([WORK; 3]));
    let report = report(&scratch, &["a.efi", "a.efi", "--runs=8"]);
    let [one, two] = [0, 1].map(|entry| phases(&report["entries"][entry]));
    // All sixteen boots alike: no way to pair them could show a difference.
    assert_eq!(one.len() + two.len(), 16);
    assert!(one.iter().chain(&two).all(|boot| *boot == one[0]));
    let metrics = report["comparisons"][0]["metrics"].as_array().expect("metrics");
    assert!(metrics.len() >= 6, "{metrics:?}");
    assert!(metrics.iter().all(|metric| metric["verdict"] == "same"), "{metrics:?}");
}

/// What the comparison of `other` with the base calls different: the metric, and
/// whether it is more.
fn differing(scratch: &Scratch, other: [u32; 3]) -> Vec<(String, String)> {
    scratch.file("a.efi", boot([WORK; 3]));
    scratch.file("b.efi", boot(other));
    let report = report(scratch, &["a.efi", "b.efi"]);
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let metrics = report["comparisons"][0]["metrics"].as_array().expect("metrics").iter();
    metrics
        .map(|metric| (text(&metric["metric"]), text(&metric["verdict"])))
        .filter(|(_, verdict)| verdict != "same")
        .collect()
}

#[test]
fn a_regression_of_two_in_a_thousand_is_found_in_its_phase() {
    if !can_count("a_regression_of_two_in_a_thousand_is_found_in_its_phase") {
        return;
    }
    let scratch = Scratch::new();
    let more = |metrics: &[&str]| -> Vec<_> {
        metrics.iter().map(|metric| ((*metric).to_owned(), "more".to_owned())).collect()
    };
    // Of the total; of a phase it is six in a thousand.
    let regression = WORK / 1000 * 6;
    let found = differing(&scratch, [WORK, WORK + regression, WORK]);
    assert_eq!(found, more(&["total", "until init", "init"]));
    let found = differing(&scratch, [WORK, WORK, WORK + regression]);
    assert_eq!(found, more(&["total", "end"]));
    // Nobody is woken for two in ten thousand.
    assert_eq!(differing(&scratch, [WORK + WORK / 2000, WORK, WORK]), []);
}

#[test]
fn a_gate_over_an_earlier_count_fails_with_a_regression_only() {
    if !can_count("a_gate_over_an_earlier_count_fails_with_a_regression_only") {
        return;
    }
    let scratch = Scratch::new();
    scratch.file("a.efi", boot([WORK; 3]));
    scratch.file("b.efi", boot([WORK, WORK + WORK / 100, WORK]));
    report(&scratch, &["a.efi"]);
    let gate = |image: &str| {
        let arguments = ["bench", "--count", "--memory=64M", "--compare=report.json", image];
        scratch.ukivm(arguments)
    };
    let same = gate("a.efi");
    assert_eq!(same.status, Some(0), "{}{}", same.stderr, same.stdout);
    let more = gate("b.efi");
    assert_eq!(more.status, Some(1), "{}{}", more.stderr, more.stdout);
    assert!(more.stdout.contains("0.33 % more instructions"), "{}", more.stdout);
}

#[test]
fn what_is_not_counted_is_refused_with_what_would_be() {
    let scratch = Scratch::new();
    scratch.file("a.efi", boot([1; 3]));
    for (option, found) in [("--engine=kvm", "--engine kvm"), ("--cpus=2", "--cpus 2")] {
        let ran = scratch.ukivm(["bench", "--count", option, "a.efi"]);
        assert_eq!(ran.status, Some(64), "{}", ran.stderr);
        let wanted = format!("ukivm: --count needs one vCPU on the TCG engine, not {found}\n");
        assert_eq!(ran.stderr, wanted);
    }
}

#[test]
fn a_guest_that_ends_by_its_own_status_says_why_it_has_no_count() {
    if !can_count("a_guest_that_ends_by_its_own_status_says_why_it_has_no_count") {
        return;
    }
    let scratch = Scratch::new();
    let guest = tiny::guest(|a| {
        tiny::write_port(a, 0xf4, 0)?;
        tiny::halt(a)
    });
    scratch.file("a.efi", guest);
    let ran = scratch.ukivm(["bench", "--count", "--memory=64M", "a.efi"]);
    assert_eq!(ran.status, Some(100), "{}", ran.stderr);
    assert!(ran.stderr.contains("the end was never seen: only power-off"), "{}", ran.stderr);
}
