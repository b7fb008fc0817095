//! How many system calls it takes to the first instruction of a guest.
//!
//! A count by strace, and so exact where times are not. On one processor, since how
//! many threads read files depends on how many there are.

use std::{collections::BTreeMap, env, fs, path::Path, process::Command, thread, time::Duration};

use firmware_less::{
    machine::port,
    testing::{bzimage, uki, vmlinux},
};

use crate::support::{Scratch, engines, skip, tiny};

/// What it took when it was last looked at, by kind: a file for each way to boot and KVM
/// module, since it depends on that how much there is to set.
const KEPT: &str = "tests/syscalls";
/// The modules that there are.
const MODULES: [&str; 3] = ["kvm_intel", "kvm_amd", "kvm_pvm"];

type Counts = BTreeMap<String, usize>;

/// The system calls before the first KVM_RUN, by kind; the least of a few runs, since
/// threads that meet make some more. futex(2) is left out: it is nothing but that.
fn counts(scratch: &Scratch, options: &[&str]) -> Option<Counts> {
    let count = |_| {
        let log = scratch.path().join("strace.txt");
        let ran = Command::new("taskset")
            .args(["--cpu-list", "0", "strace", "--follow-forks", "--output"])
            .arg(&log)
            .arg(env!("CARGO_BIN_EXE_ukivm"))
            .args(["run", "foo.efi", "--engine", "kvm", "--timeout", "60"])
            .args(options)
            .env("XDG_CACHE_HOME", scratch.path().join("cache"))
            .current_dir(scratch.path())
            // Cargo's, in each of whose folders libraries would be looked for first.
            .env_remove("LD_LIBRARY_PATH")
            .output()
            .ok()?;
        let log = fs::read_to_string(log).ok()?;
        assert_eq!(ran.status.code(), Some(3), "{ran:?}");
        let calls = log.lines().take_while(|line| !line.contains("KVM_RUN"));
        let mut counts = Counts::new();
        for name in calls.filter_map(name).filter(|name| *name != "futex") {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
        Some(counts)
    };
    let runs: Option<Vec<Counts>> = (0..3).map(count).collect();
    runs?.into_iter().min_by_key(|counts| counts.values().sum::<usize>())
}

/// The system call that a line of strace's begins.
fn name(line: &str) -> Option<&str> {
    let (_, call) = line.split_once(' ')?;
    let (name, _) = call.trim_start().split_once('(')?;
    name.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit())
        .then_some(name)
}

fn text(counts: &Counts) -> String {
    let line = |(name, count): (&String, &usize)| format!("{count:4} {name}\n");
    counts.iter().map(line).collect()
}

#[test]
fn no_more_system_calls_are_made_before_the_first_instruction_than_there_were() {
    let test = "no_more_system_calls_are_made_before_the_first_instruction_than_there_were";
    let scratch = Scratch::new();
    scratch.file("foo.efi", tiny::guest(|a| tiny::write_port(a, port::EXIT, 3)));
    held_to_what_is_kept(test, (&scratch, &[]), "");
}

#[test]
fn no_more_are_made_for_a_kernel_that_is_entered_directly_afresh_and_out_of_the_cache() {
    let test = "no_more_are_made_for_a_kernel_that_is_entered_directly_afresh_and_out_of_the_cache";
    let scratch = Scratch::new();
    scratch.file("foo.efi", kernel_proper());
    held_to_what_is_kept(test, (&scratch, &["--handoff=direct", "--no-cache"]), "-direct");
    // Once to keep it; then, when it and the UKI have not changed for a while, once to find
    // that it is sound.
    let cached = ["--handoff=direct"];
    for _ in 0..2 {
        if engines(test).contains(&"kvm") && counts(&scratch, &cached).is_some() {
            thread::sleep(Duration::from_millis(2100));
        }
    }
    held_to_what_is_kept(test, (&scratch, &cached), "-cached");
}

/// A UKI whose kernel proper ends with status 3.
fn kernel_proper() -> Vec<u8> {
    let code = tiny::ending(3);
    let segments = [(0x100_0000, code.as_slice(), 0x8000)];
    let kernel =
        vmlinux().segments(&segments).entry(0x100_0000).relocations(&[&[0x8100_0ff0], &[]]);
    uki().section(".linux", bzimage().payload(&kernel.build()).build()).build()
}

/// The gate: what it takes with these `options` may not grow unnoticed.
fn held_to_what_is_kept(test: &str, (scratch, options): (&Scratch, &[&str]), way: &str) {
    if !engines(test).contains(&"kvm") {
        return;
    }
    // The least of three: on a busy host a thread that is still at its work as the guest is
    // entered may be counted, or not.
    let tries = (0..3).filter_map(|_| counts(scratch, options));
    let Some(counts) = tries.min_by_key(|counts| counts.values().sum::<usize>()) else {
        return skip(test, "no strace or no taskset: apt-get install strace util-linux");
    };
    let now = text(&counts);
    let is_loaded = |module: &&&str| Path::new("/sys/module").join(**module).exists();
    let module = MODULES.iter().find(is_loaded).copied().unwrap_or("kvm");
    let path = format!("{}/{KEPT}/{module}{way}.txt", env!("CARGO_MANIFEST_DIR"));
    if env::var_os("UKIVM_BLESS").is_some() {
        fs::write(&path, &now).expect("a place for the counts");
    }
    let Ok(kept) = fs::read_to_string(&path) else {
        return skip(test, &format!("nothing is kept of {module}; UKIVM_BLESS=1 does"));
    };
    let total = |text: &str| -> usize {
        let count = |line: &str| line.split_whitespace().next()?.parse::<usize>().ok();
        text.lines().filter_map(count).sum()
    };
    let (now_total, kept_total) = (total(&now), total(&kept));
    assert!(kept_total > 100, "{kept}");
    // One in a hundred.
    assert!(
        now_total * 100 <= kept_total * 101,
        "{now_total} system calls, there were {kept_total}; if that is what it takes, set \
         UKIVM_BLESS\nthere were:\n{kept}now:\n{now}"
    );
}
