//! Guest memory and CPU state before the first instruction, as files.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::support::{Scratch, is_as_kept, sound_uki};

const SEED: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// What a dump of `foo.efi` with `arguments` comes to.
fn sha256(scratch: &Scratch, folder: &str, arguments: &[&str]) -> String {
    let command = ["plan", "--json", "--dump", folder];
    let ran = scratch.ukivm(command.iter().chain(arguments));
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let plan: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    plan["dump"]["sha256"].as_str().expect("a digest").to_owned()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn a_dump_is_as_kept_and_as_sha256sum_finds_it() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    let found = sha256(&scratch, "dump", &["--rng-seed", SEED, "--digest", "foo.efi"]);
    let folder = scratch.path().join("dump");
    let sums = fs::read_to_string(folder.join("SHA256SUMS")).expect("sums");
    is_as_kept("plans/SHA256SUMS", &sums);
    let check = ["--check", "--strict", "--quiet", "SHA256SUMS"];
    assert!(check_in(&folder, Command::new("sha256sum").args(check)).0, "{sums}");
    let own = check_in(&folder, Command::new("sha256sum").arg("SHA256SUMS")).1;
    assert_eq!(own, format!("{found}  SHA256SUMS\n"));
    let listed = sums.lines().filter_map(|line| Some(line.split_once("  ")?.1.to_owned()));
    let mut listed: Vec<_> = listed.chain(["SHA256SUMS".to_owned()]).collect();
    listed.sort();
    assert_eq!(names(&folder), listed);
}

/// Whether `command` succeeds in that folder, and what it prints.
fn check_in(folder: &Path, command: &mut Command) -> (bool, String) {
    let output = command.current_dir(folder).output().expect("coreutils");
    (output.status.success(), String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn a_dump_has_each_byte_where_the_map_says() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    sha256(&scratch, "dump", &["foo.efi"]);
    let folder = scratch.path().join("dump");
    let json = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(folder.join(name)).expect("a file")).expect("JSON")
    };
    let (map, cpu) = (json("map.json"), json("cpu.json"));
    let number = |value: &Value| value.as_u64().expect("a number");
    // What is at an address, from there to the end of what it lies in.
    let at = |address: u64| -> Vec<u8> {
        let parts = map["memory"].as_array().expect("parts").iter();
        let mut holds =
            parts.filter(|part| (number(&part["start"])..number(&part["end"])).contains(&address));
        let part = holds.next().expect("something lies there");
        let bytes = fs::read(folder.join(part["file"].as_str().expect("a name"))).expect("a file");
        let (start, end) = (number(&part["start"]), number(&part["end"]));
        assert_eq!(bytes.len() as u64, end - start, "{part}");
        bytes[usize::try_from(address - start).expect("an offset")..].to_vec()
    };
    let params = at(number(&cpu["registers"]["rsi"]));
    let field = |place: usize| {
        u64::from(u32::from_le_bytes(params[place..place + 4].try_into().expect("four bytes")))
    };
    assert_eq!(field(0x202), u64::from(u32::from_le_bytes(*b"HdrS")));
    assert!(at(field(0x228)).starts_with(b"console=ttyS0 quiet\0"));
    assert!(at(field(0x218)).starts_with(&[0x5a; 5000]));
    assert!(at(field(0x70)).starts_with(b"RSD PTR "));
    // Present and writable.
    assert_eq!(at(number(&cpu["cr3"]))[0] & 3, 3);
    let node = at(field(0x250));
    assert_eq!(node[16..48], [0; 32], "the seed is zeros where none is given");
}

#[test]
fn a_dump_depends_on_what_is_handed_over_and_on_nothing_else() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    let usual = sha256(&scratch, "0", &["foo.efi"]);
    fs::create_dir(scratch.path().join("empty")).expect("a folder");
    scratch.file("other name.efi", sound_uki());
    assert_eq!(sha256(&scratch, "empty", &["other name.efi"]), usual);
    assert_eq!(sha256(&scratch, "1", &["foo.efi", "--rng-seed", &"0".repeat(64)]), usual);
    let mut all = vec![usual];
    for (number, arguments) in [
        ["--rng-seed", SEED].as_slice(),
        &["--memory", "512M"],
        &["--cpus", "2"],
        &["--flavour", "legacy"],
        &["--flavour", "legacy", "--memory", "6G"],
        &["--memory", "6G"],
        &["--append", "x"],
        &["--digest"],
        &["--five-level"],
        &["--leaf-size", "1G"],
        &["--engine", "tcg"],
        &["--as", "uapi"],
    ]
    .iter()
    .enumerate()
    {
        let folder = format!("more-{number}");
        all.push(sha256(&scratch, &folder, &[["foo.efi"].as_slice(), arguments].concat()));
    }
    let several = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), several, "each option changes the dump");
}

#[test]
fn a_dump_goes_into_a_folder_of_its_own_or_nowhere() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    scratch.file("used", "a file");
    fs::create_dir(scratch.path().join("full")).expect("a folder");
    scratch.file("full/mine", "kept");
    for (folder, status, message) in [
        ("full", 64, "full: is not empty"),
        ("used", 74, "used: writing it failed"),
        ("none/dump", 74, "none/dump: writing it failed"),
    ] {
        let ran = scratch.ukivm(["plan", "--dump", folder, "foo.efi"]);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(status), ""), "{folder}: {ran:?}");
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    }
    assert_eq!(names(&scratch.path().join("full")), ["mine"]);
    assert_eq!(names(scratch.path()), ["foo.efi", "full", "used"]);
    let ran = scratch.ukivm(["plan", "--dump", "dump", "--memory", "32M", "foo.efi"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let ran = scratch.ukivm(["plan", "--dump", "dump", "foo.efi"]);
    assert_eq!(ran.status, Some(64), "{ran:?}");
    assert!(ran.stderr.contains("hint: remove it, or name another"), "{}", ran.stderr);
}
