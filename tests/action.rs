//! The scripts of the GitHub Action, as a runner runs them.

use std::{fs, process::Command};

use firmware_less::testing::{bzimage, uki};

use crate::support::{Ran, Scratch};

/// The folder of the action.
const ACTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.github/actions/smoke");

/// Boots `images`, with no engine there; its outcome, and what it gives out.
fn boot(scratch: &Scratch, images: &str, arguments: &str) -> (Ran, String) {
    let given = scratch.file("given", "");
    let output = Command::new(format!("{ACTION}/boot"))
        .arg(env!("CARGO_BIN_EXE_ukivm"))
        .envs([("IMAGES", images), ("ARGUMENTS", arguments)])
        .envs([("ENGINE", "tcg"), ("OUTPUT", "out"), ("UKIVM_QEMU", "/nonexistent/qemu")])
        .env("GITHUB_OUTPUT", &given)
        .env_remove("GITHUB_STEP_SUMMARY")
        .current_dir(scratch.path())
        .output();
    let ran = Ran::from(output.expect("bash runs it"));
    (ran, fs::read_to_string(given).expect("what was given out"))
}

#[test]
fn each_line_is_a_pattern_or_an_argument_and_the_status_is_given_out() {
    let scratch = Scratch::new();
    let image = uki().section(".linux", bzimage().build()).build();
    for name in ["a.efi", "b.efi", "c d.efi", "-e.efi"] {
        scratch.file(name, &image);
    }
    let arguments = "--skip-without-engine\n--expect=two words\n\n--\nword\n";
    let (ran, given) = boot(&scratch, "[ab].efi\n\nc d.efi\n-e.efi\n", arguments);
    assert_eq!((ran.status, given.as_str()), (Some(77), "exit-status=77\n"), "{ran:?}");
    let text = fs::read_to_string(scratch.path().join("out/result.json")).expect("a result");
    let suite: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let names: Vec<_> = (0..5).map(|at| suite["images"][at]["name"].as_str()).collect();
    assert_eq!(names, [Some("a.efi"), Some("b.efi"), Some("c d.efi"), Some("./-e.efi"), None]);
    assert!(ran.stdout.contains("::notice file=a.efi"), "{ran:?}");
}

#[test]
fn a_pattern_that_matches_nothing_is_an_error() {
    let scratch = Scratch::new();
    let (ran, given) = boot(&scratch, "*.efi\n", "");
    assert_eq!((ran.status, given.as_str()), (Some(74), ""), "{ran:?}");
    assert_eq!(ran.stdout, "::error::no file matches *.efi\n");
}

#[test]
fn the_readme_has_the_action_s_udev_rule() {
    let script = fs::read_to_string(format!("{ACTION}/open-kvm")).expect("the script");
    let rule = script.lines().find_map(|line| line.strip_prefix("rule=")).expect("a rule");
    assert!(include_str!("../README.md").contains(rule), "{rule}");
}
