//! The values of PCR 11, for people and as JSON: what systemd-measure prints for
//! the same sections and options.

/// systemd-measure itself.
mod systemd;

use std::fs;

use firmware_less::testing::uki;
use serde_json::{Value, json};

use crate::support::{Ran, Scratch};

/// Nothing but a kernel that is not one: nobody boots it.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.file("foo.efi", uki().section(".linux", "KERNEL").build());
    scratch
}

fn measure(options: &[&str]) -> Ran {
    let ran = scratch().ukivm(["measure", "foo.efi"].iter().chain(options));
    assert_eq!(ran.status, Some(0), "{ran:?}");
    ran
}

const NO_PHASE: &str =
    "11:sha256=48ce0f5b58f021a07d22dd51576c402ec10cb7357fadb09340e725ac820afd30\n";
const ENTER_INITRD: &str = "fec6ae4b97c32acb0b4226209764d0a2342427f1dcc894dcad910f1f744afe35";

#[test]
fn each_value_is_a_line_and_each_phase_path_is_named_on_standard_error() {
    let ran = measure(&["--bank", "sha256", "--phase", ""]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (NO_PHASE, "# PCR[11] Phase <:>\n"));
}

#[test]
fn without_options_all_banks_and_the_four_paths_are_shown() {
    let ran = measure(&[]);
    let banks: Vec<_> = ran.stdout.lines().filter_map(|line| line.split('=').next()).collect();
    assert_eq!(banks, ["11:sha1", "11:sha256", "11:sha384", "11:sha512"].repeat(4));
    assert!(ran.stdout.contains(&format!("11:sha256={ENTER_INITRD}\n")), "{}", ran.stdout);
    assert_eq!(
        ran.stderr,
        "# PCR[11] Phase <enter-initrd>\n\
         # PCR[11] Phase <enter-initrd:leave-initrd>\n\
         # PCR[11] Phase <enter-initrd:leave-initrd:sysinit>\n\
         # PCR[11] Phase <enter-initrd:leave-initrd:sysinit:ready>\n"
    );
}

#[test]
fn banks_and_phases_are_sorted_and_each_shown_once() {
    let ran = measure(&[
        "--bank=sha512",
        "--bank=SHA1",
        "--bank=sha512",
        "--phase=b",
        "--phase=a::b",
        "--phase=:b",
    ]);
    let banks: Vec<_> = ran.stdout.lines().filter_map(|line| line.split('=').next()).collect();
    assert_eq!(banks, ["11:sha1", "11:sha512", "11:sha1", "11:sha512"]);
    assert_eq!(ran.stderr, "# PCR[11] Phase <a:b>\n# PCR[11] Phase <b>\n");
}

#[test]
fn json_has_the_shape_of_systemd_measures() {
    let options = ["--bank=sha256", "--phase=enter-initrd", "--phase="];
    let ran = measure(&[&options[..], &["--json"]].concat());
    let report: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let none = NO_PHASE.trim_end().trim_start_matches("11:sha256=");
    let expected = json!({
        "sha256": [
            { "pcr": 11, "hash": none },
            { "phase": "enter-initrd", "pcr": 11, "hash": ENTER_INITRD },
        ]
    });
    assert_eq!((report, ran.stderr.as_str()), (expected, ""));

    let scratch = scratch();
    let to_file = ["measure", "foo.efi", "--json=out.json"].iter().chain(&options);
    assert_eq!(scratch.ukivm(to_file).stdout, "");
    let written = fs::read_to_string(scratch.path().join("out.json")).expect("a file");
    assert_eq!(written, ran.stdout);
}

#[test]
fn what_cannot_be_measured_is_refused_as_elsewhere() {
    let scratch = scratch();
    let refused = |options: &[&str], status, message: &str| {
        let ran = scratch.ukivm(["measure"].iter().chain(options));
        assert_eq!(ran.status, Some(status), "{ran:?}");
        assert!(ran.stderr.contains(message), "{ran:?}");
    };
    refused(&["none.efi"], 74, "none.efi: can't be opened");
    refused(&["foo.efi", "--bank=md5"], 64, "md5");
    refused(&["foo.efi", "--profile=1"], 65, "foo.efi: there is no profile 1: this UKI has no");
    scratch.file("addon.efi", uki().section(".cmdline", "a").build());
    refused(&["addon.efi"], 65, "addon.efi: the file is an addon");
}
