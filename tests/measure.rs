//! The values of PCR 11, for people and as JSON: what systemd-measure prints for
//! the same sections and options.

/// systemd-measure itself.
mod systemd;

use std::fs;

use firmware_less::{
    testing::{Image, bzimage, uki},
    uki::{
        Uki,
        pcr11::{Bank, Pcr11, PhasePath},
        pcrsig::policy,
    },
};
use serde_json::{Value, json};

use crate::support::{Ran, Scratch, skip};

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

/// A UKI with a signature of its value after `enter-initrd`, by openssl.
///
/// Made with what anybody would use, not with what checks it.
fn with_pcrsig(scratch: &Scratch, measured: &Image) -> Option<Image> {
    let script = "set -e
        openssl genrsa -out key.pem 2048
        openssl rsa -in key.pem -pubout -out public.pem
        openssl rsa -in key.pem -RSAPublicKey_out -outform DER | sha256sum | cut -c1-64 >pkfp
        openssl dgst -sha256 -sign key.pem policy | base64 -w0 >sig";
    let key = |image: Image| {
        image.section(".pcrpkey", fs::read(scratch.path().join("public.pem")).expect("a key"))
    };
    let run = || {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", script]).current_dir(scratch.path()).output().expect("a shell")
    };
    scratch.file("policy", []);
    if !run().status.success() {
        return None;
    }
    let text = |name| fs::read_to_string(scratch.path().join(name)).expect("a file");
    let public = text("public.pem");
    let file = key(measured.clone()).build();
    let values = {
        let uki = Uki::read(&file).expect("a UKI");
        Pcr11::read(&file, &uki.profile(0).expect("profile 0"), &[Bank::Sha256]).expect("values")
    };
    let Ok(path) = "enter-initrd".parse::<PhasePath>();
    let pol = policy(&values[0].after(&path));
    let byte = |at| u8::from_str_radix(&pol[at..at + 2], 16).expect("hex");
    scratch.file("policy", (0..64).step_by(2).map(byte).collect::<Vec<_>>());
    let sign = "openssl dgst -sha256 -sign key.pem policy | base64 -w0";
    let mut shell = std::process::Command::new("sh");
    let signed = shell.args(["-c", sign]).current_dir(scratch.path()).output().expect("a shell");
    let sig = String::from_utf8(signed.stdout).expect("Base64");
    assert_eq!(text("public.pem"), public);
    let entry = json!({ "pcrs": [11], "pkfp": text("pkfp").trim(), "pol": pol, "sig": sig });
    Some(key(measured.clone()).section(".pcrsig", json!({ "sha256": [entry] }).to_string()))
}

#[test]
fn signatures_of_values_are_held_against_the_content() {
    let scratch = Scratch::new();
    let Some(image) = with_pcrsig(&scratch, &uki().section(".linux", "KERNEL")) else {
        return skip("measure::signatures_of_values_are_held_against_the_content", "no openssl");
    };
    scratch.file("foo.efi", image.build());
    let check =
        |options: &[&str]| scratch.ukivm(["measure", "--check", "foo.efi"].iter().chain(options));
    let ran = check(&[]);
    assert_eq!(
        (ran.status, ran.stdout.as_str()),
        (Some(0), "sha256 enter-initrd: good\n"),
        "{ran:?}"
    );
    let report: Value = serde_json::from_str(&check(&["--json"]).stdout).expect("JSON");
    assert_eq!((&report[0]["phase"], &report[0]["good"]), (&json!("enter-initrd"), &json!(true)));
    let values = scratch.ukivm(["measure", "foo.efi"]);
    assert!(values.stderr.ends_with("ukivm: .pcrsig: all 1 signatures are good\n"), "{values:?}");

    scratch.file("foo.efi", image.section(".cmdline", "changed").build());
    let ran = check(&[]);
    assert_eq!(ran.status, Some(65), "{ran:?}");
    assert!(ran.stdout.ends_with("is of no content here after any known phase path\n"), "{ran:?}");
    let values = scratch.ukivm(["measure", "foo.efi"]);
    assert_eq!(values.status, Some(0), "{values:?}");
    assert!(values.stderr.contains("ukivm: warning: .pcrsig: sha256 policy "), "{values:?}");
    let json = scratch.ukivm(["measure", "--json", "foo.efi"]);
    assert_eq!(json.stderr, "");
}

#[test]
fn a_description_says_whether_the_signatures_of_values_are_good() {
    let scratch = Scratch::new();
    let Some(image) = with_pcrsig(&scratch, &uki().section(".linux", bzimage().build())) else {
        return skip(
            "measure::a_description_says_whether_the_signatures_of_values_are_good",
            "no openssl",
        );
    };
    let describe = |image: &Image| {
        scratch.file("foo.efi", image.build());
        let text = scratch.ukivm(["inspect", "foo.efi"]).stdout;
        let json = scratch.ukivm(["inspect", "--json", "foo.efi"]).stdout;
        (text, serde_json::from_str::<Value>(&json).expect("JSON")["_pcrsig"].clone())
    };
    let (text, report) = describe(&image);
    assert!(text.contains("\n  .pcrsig: all signatures are good (1)\n"), "{text}");
    assert_eq!(report["good"], true);
    let (text, report) = describe(&image.section(".cmdline", "changed"));
    assert!(text.contains(": is of no content here after any known phase path\n"), "{text}");
    let wrong = json!(["is of no content here after any known phase path"]);
    assert_eq!((&report["good"], &report["signatures"][0]["wrong"]), (&json!(false), &wrong));
    let (text, report) = describe(&uki().section(".linux", "KERNEL").section(".pcrsig", "{"));
    assert!(text.contains("\n  .pcrsig: "), "{text}");
    assert!(report["error"].is_string(), "{report}");
}

#[test]
fn signatures_that_are_not_there_cannot_be_checked() {
    let ran = scratch().ukivm(["measure", "--check", "foo.efi"]);
    assert_eq!(ran.status, Some(65), "{ran:?}");
    assert!(ran.stderr.contains("foo.efi: there is no section .pcrsig to check"), "{ran:?}");
}
