//! The same values from systemd-measure itself, for UKIs that ukify made.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::support::{Scratch, built, images};

/// The sections that systemd-measure has options for; all but `.pcrsig` that the
/// stub knows.
const MEASURED: [&str; 13] = [
    "linux", "osrel", "cmdline", "initrd", "ucode", "splash", "dtb", "uname", "sbat", "pcrpkey",
    "profile", "dtbauto", "hwids",
];

const PHASES: [&[&str]; 2] = [&[], &["--phase=", "--phase=enter-initrd:a-phase"]];

/// What `systemd-measure calculate` makes of the sections in `folder`.
fn by_systemd(folder: &Path, options: &[&str]) -> Value {
    let sections = MEASURED.iter().filter(|section| folder.join(section).exists());
    let output = Command::new(images().join("tools-sid/systemd-measure"))
        .args(["calculate", "--json=short", "--bank=sha1", "--bank=sha256"])
        .args(["--bank=sha384", "--bank=sha512"])
        .args(sections.map(|section| format!("--{section}={}", folder.join(section).display())))
        .args(options)
        .output()
        .expect("systemd-measure starts");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn by_ukivm(uki: &Path, profile: &str, options: &[&str]) -> Value {
    let image = uki.display().to_string();
    let arguments = ["measure", "--json", "--profile", profile, &image];
    let ran = Scratch::new().ukivm(arguments.iter().chain(options));
    assert_eq!(ran.status, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).expect("JSON")
}

/// The sections of `profile`, each in a file.
fn sections(uki: &Path, profile: &str) -> Scratch {
    let folder = Scratch::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/measure/sections.py");
    let status = Command::new("/usr/bin/python3")
        .env("PYTHONPATH", images().join("tools-sid/python"))
        .args([script.as_path(), uki, Path::new(profile), folder.path()])
        .status();
    assert!(status.expect("Python starts").success());
    folder
}

/// Compares the values for each of those profiles of `features/NAME.efi`; where
/// one can't be, `test` is noted as skipped and ends.
fn compare(test: &str, profiles: &[(&str, &str)]) {
    if built(test, "tools-sid").is_none() {
        return;
    }
    for (name, profile) in profiles {
        let Some(uki) = built(test, &format!("features/{name}.efi")) else { return };
        let folder = sections(&uki, profile);
        for options in PHASES {
            let systemd = by_systemd(folder.path(), options);
            assert_eq!(by_ukivm(&uki, profile, options), systemd, "{name} {profile} {options:?}");
            assert_eq!(systemd.as_object().map(serde_json::Map::len), Some(4), "{systemd}");
        }
    }
}

#[test]
fn values_are_those_of_systemd_measure() {
    let names = [
        "plain",
        "addons",
        "signed",
        "pcrsig",
        "ucode",
        "no-cmdline",
        "no-initrd",
        "linux-only",
        "odd-cmdline",
        "objcopy",
    ];
    compare("values_are_those_of_systemd_measure", &names.map(|name| (name, "0")));
}

#[test]
fn values_of_each_profile_are_those_of_systemd_measure() {
    let test = "values_of_each_profile_are_those_of_systemd_measure";
    compare(test, &["0", "1", "2", "3"].map(|profile| ("profiles", profile)));
}
