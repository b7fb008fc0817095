//! What ukivm says of a plan: golden text and JSON.

use serde_json::Value;

use crate::support::{Scratch, is_as_kept, sound_uki};

/// So that the same plan comes out every time.
const SEED: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Compares what `arguments` print with the text kept in `tests/plans`.
fn golden(name: &str, arguments: &[&str]) {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    let ran = scratch.ukivm(["plan", "--rng-seed", SEED, "foo.efi"].iter().chain(arguments));
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    is_as_kept(&format!("plans/{name}"), &ran.stdout);
}

#[test]
fn a_plan_reads_as_kept() {
    golden("modern-1G.txt", &[]);
    golden("legacy-1G.txt", &["--flavour", "legacy"]);
    golden("modern-6G-2-cpus.txt", &["--memory", "6G", "--cpus", "2"]);
    golden("digest.txt", &["--digest"]);
}

#[test]
fn a_plan_in_json_is_as_kept() {
    golden("modern-1G.json", &["--json"]);
}

#[test]
fn a_plan_says_where_each_byte_comes_from() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    scratch.file("more.cpio", [1; 999]);
    let ran = scratch.ukivm(["plan", "--json", "--initrd", "more.cpio", "foo.efi"]);
    let plan: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let placements = plan["placements"].as_array().expect("placements");
    let initrd = placements.iter().find(|placement| placement["name"] == "initrd");
    let pieces = initrd.expect("an initrd")["pieces"].as_array().expect("pieces");
    let files: Vec<_> = pieces.iter().map(|piece| piece["file"].as_u64()).collect();
    // Between the two is /.extra/os-release, made of .osrel.
    assert_eq!(files, [Some(0), None, Some(1)]);
    assert_eq!(pieces[1]["offset"], 5000);
    assert_eq!(pieces[2]["offset"], 5400);
    assert_eq!(pieces[2]["len"], 999);
    let origins: Vec<_> = plan["initrd"]
        .as_array()
        .expect("parts")
        .iter()
        .map(|part| part["origin"].as_str().expect("an origin"))
        .collect();
    assert_eq!(origins, [".initrd", "/.extra/os-release (.osrel)", "--initrd"]);
}

#[test]
fn what_the_user_says_of_the_command_line_is_in_the_plan() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    let cmdline = |arguments: &[&str]| {
        let ran = scratch.ukivm(["plan", "--json", "foo.efi"].iter().chain(arguments));
        let plan: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        plan["cmdline"].as_str().expect("a string").to_owned()
    };
    assert_eq!(cmdline(&[]), "console=ttyS0 quiet");
    assert_eq!(cmdline(&["--append", "a=1", "--", "b", "c"]), "console=ttyS0 quiet a=1 b c");
    assert_eq!(cmdline(&["--console=none", "--cmdline", "ro"]), "ro");
    assert_eq!(cmdline(&["--console", "--cmdline", "ro", "--append", "x"]), "ro x console=ttyS0");
}

#[test]
fn no_two_guests_share_a_seed_unless_it_is_given() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    let digest = |arguments: &[&str]| {
        let ran = scratch.ukivm(["plan", "--json", "--digest", "foo.efi"].iter().chain(arguments));
        let plan: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        plan["digest"].as_str().expect("a digest").to_owned()
    };
    assert_ne!(digest(&[]), digest(&[]));
    assert_eq!(digest(&["--rng-seed", SEED]), digest(&["--rng-seed", SEED]));
}

#[test]
fn a_plan_written_to_a_file_is_the_plan_printed() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    let printed = scratch.ukivm(["plan", "--json", "--rng-seed", SEED, "foo.efi"]).stdout;
    let ran = scratch.ukivm(["plan", "--json=out.json", "--rng-seed", SEED, "foo.efi"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(0), ""));
    let written = std::fs::read_to_string(scratch.path().join("out.json")).expect("a file");
    assert_eq!(written, printed);
}
