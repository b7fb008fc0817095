//! Whole kernels, counted.

use std::path::Path;

use firmware_less::uki::cpio::{RootFile, initrd};
use serde_json::Value;

use super::{can_count, phases, read};
use crate::support::{Ran, Scratch, built, skip};

/// What a count must not differ from what is kept by more than, in thousandths.
const DRIFT: u64 = 10;
/// What is kept: lines of a QEMU, a kernel's release, an arm, and the instructions to
/// init.
const KEPT: &str = include_str!("kept.txt");

/// Counts `image`, with a console that tells, until userspace shows that it runs or
/// the guest ends.
fn bench(scratch: &Scratch, image: &Path, arguments: &[&str]) -> Ran {
    let image = image.to_str().expect("a path of ours");
    let fixed = ["bench", "--count", "--memory=512M", "--append=loglevel=7", image];
    scratch.ukivm([&fixed[..], arguments].concat())
}

fn report(scratch: &Scratch, image: &Path, arguments: &[&str]) -> Value {
    let Ran { status, stdout, stderr } =
        bench(scratch, image, &[arguments, &["--export-json=report.json"]].concat());
    assert_eq!(status, Some(0), "{stderr}{stdout}");
    read(&scratch.path().join("report.json"))
}

fn names(phases: &[(String, u64)]) -> Vec<&str> {
    phases.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_kernel_is_counted_the_same_every_time_and_not_by_more_than_is_kept() {
    let test = "a_kernel_is_counted_the_same_every_time_and_not_by_more_than_is_kept";
    let Some(demo) = built(test, "demo.efi").filter(|_| can_count(test)) else { return };
    let report = report(&Scratch::new(), &demo, &["--arm=ukivm", "--arm=direct"]);
    let phases_of_kernel = ["decompress", "first-output", "linux-version", "init", "end"];
    for entry in report["entries"].as_array().expect("entries") {
        let boots = phases(entry);
        assert_eq!(boots.len(), 2);
        assert_eq!(boots[0], boots[1], "{}", entry["name"]);
        assert_eq!(names(&boots[0]), phases_of_kernel, "{}", entry["name"]);
        held_to_what_is_kept(test, entry, &boots[0]);
    }
    let [own, direct] = [0, 1].map(|entry| phases(&report["entries"][entry]).remove(0));
    assert!(own[0].1 > 100_000_000, "decompressed in {} instructions", own[0].1);
    assert_eq!(direct[0].1, 0, "the host unpacked it");
    let verdict = &report["comparisons"][0]["metrics"][0];
    assert_eq!((&verdict["metric"], &verdict["verdict"]), (&"total".into(), &"less".into()));
}

/// The gate: nothing that the guest does until init may grow unnoticed. A kernel or a
/// QEMU of which nothing is kept has nothing to be held to.
fn held_to_what_is_kept(test: &str, entry: &Value, phases: &[(String, u64)]) {
    let [qemu, release, arm] = [&entry["versions"]["QEMU"], &entry["release"], &entry["arm"]]
        .map(|value| value.as_str().unwrap_or("?"));
    let qemu = qemu.split('.').take(2).collect::<Vec<_>>().join(".");
    let key = format!("{qemu} {release} {arm} ");
    let to_init = phases.iter().take_while(|(name, _)| name != "end").map(|(_, count)| count);
    let found: u64 = to_init.sum();
    let Some(kept) = KEPT.lines().find_map(|line| line.strip_prefix(&key)) else {
        return skip(test, &format!("nothing to hold it to in tests/count/kept.txt: {key}{found}"));
    };
    let kept: u64 = kept.parse().expect("a count");
    let change = format!("{key}{found}, not {kept}; if wanted, keep it in tests/count/kept.txt");
    assert!(found.abs_diff(kept) * 1000 <= kept * DRIFT, "{change}");
}

#[test]
fn twenty_megabytes_more_of_initrd_are_found_in_the_phase_that_unpacks_them() {
    let test = "twenty_megabytes_more_of_initrd_are_found_in_the_phase_that_unpacks_them";
    let Some(demo) = built(test, "demo.efi").filter(|_| can_count(test)) else { return };
    let scratch = Scratch::new();
    let content: Vec<u8> = (0..20_000_000_u32).map(|at| at.to_le_bytes()[1]).collect();
    let files = [RootFile { name: "blob", mode: 0o644, content: &content }];
    scratch.file("more.cpio", initrd(&files).expect("short enough"));
    let base = report(&scratch, &demo, &[]);
    let ran = bench(&scratch, &demo, &["--initrd=more.cpio", "--compare=report.json"]);
    assert_eq!(ran.status, Some(1), "{}{}", ran.stderr, ran.stdout);
    assert!(ran.stdout.contains("phases that differ: init (+"), "{}", ran.stdout);
    assert!(base["notices"].as_array().is_some_and(Vec::is_empty), "{}", base["notices"]);
}
