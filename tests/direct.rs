//! `--handoff direct`: kernels of a few instructions, and what can't be done directly.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use firmware_less::{
    machine::port,
    testing::{bzimage, uki, vmlinux},
};
use iced_x86::code_asm::*;
use serde_json::Value;

use crate::support::{Ran, Scratch, engines, sound_uki, tiny};

/// What the guest ends with where all is as it should be.
const GOOD: u8 = 7;
/// `loadflags`: the kernel's place was chosen at random. Boot protocol.
const KASLR_FLAG: u8 = 1 << 1;

/// A UKI whose kernel proper ends with a status of its own: [`GOOD`] if `flags` are in
/// `loadflags`, its BSS is zero and it was relocated by what the command line has.
fn guest(cmdline: &str, loadflags: u8) -> Vec<u8> {
    const BSS: u32 = 0x100;
    let mut a = CodeAssembler::new(64).expect("64 is a bitness");
    let mut assemble = || {
        let mut wrong = a.create_label();
        let mut end = a.create_label();
        let mut start = a.create_label();
        a.set_label(&mut start)?;
        a.cmp(byte_ptr(rsi + 0x211), i32::from(loadflags))?;
        a.jne(wrong)?;
        a.lea(rbx, ptr(start))?;
        a.cmp(qword_ptr(rbx + 0x1000 + BSS), 0)?;
        a.jne(wrong)?;
        tiny::write_port(&mut a, port::EXIT, GOOD)?;
        a.jmp(end)?;
        a.set_label(&mut wrong)?;
        tiny::write_port(&mut a, port::EXIT, 9)?;
        a.set_label(&mut end)?;
        tiny::halt(&mut a)
    };
    assemble().expect("instructions that exist");
    let mut code = a.assemble(0).expect("code that assembles");
    code.resize(0x1000, 0xcc);
    let kernel = vmlinux()
        .segments(&[(0x100_0000, &code, 0x8000)])
        .entry(0x100_0000)
        .relocations(&[&[0x8100_0ff0], &[0x8100_0fe0]])
        .build();
    let kernel = bzimage().payload(&kernel).build();
    uki().section(".linux", kernel).section(".cmdline", cmdline).build()
}

#[test]
fn a_kernel_proper_is_entered_with_its_memory_as_it_is_to_be() {
    let test = "a_kernel_proper_is_entered_with_its_memory_as_it_is_to_be";
    for engine in engines(test) {
        for (cmdline, flags) in [("quiet", KASLR_FLAG), ("quiet nokaslr", 0)] {
            let scratch = Scratch::new();
            scratch.file("foo.efi", guest(cmdline, flags));
            let ran = scratch.ukivm([
                "run",
                "foo.efi",
                "--engine",
                engine,
                "--handoff",
                "direct",
                "--digest",
                "--timeout",
                "60",
            ]);
            assert_eq!(ran.status, Some(GOOD.into()), "{engine} {cmdline}: {ran:?}");
        }
    }
}

#[test]
fn what_can_t_be_entered_directly_is_handed_over_as_kexec_does_and_said_why() {
    let test = "what_can_t_be_entered_directly_is_handed_over_as_kexec_does_and_said_why";
    let code = tiny::guest(|a| tiny::write_port(a, port::EXIT, 3));
    for engine in engines(test) {
        let scratch = Scratch::new();
        scratch.file("foo.efi", &code);
        let ran = scratch.ukivm([
            "run",
            "foo.efi",
            "--engine",
            engine,
            "--handoff",
            "direct",
            "--json=out.json",
            "--timeout",
            "60",
        ]);
        assert_eq!(ran.status, Some(3), "{ran:?}");
        let said = "handed over as kexec does, not directly: ";
        assert!(ran.stderr.contains(said), "{ran:?}");
        let report = fs::read_to_string(scratch.path().join("out.json")).expect("a report");
        let report: Value = serde_json::from_str(&report).expect("JSON");
        assert_eq!(report["handoff"]["kind"], "kexec");
        assert!(report["handoff"]["not_direct"].is_string(), "{report}");
    }
}

#[test]
fn each_reason_why_not_is_told_apart() {
    let why = |payload: &[u8]| {
        let scratch = Scratch::new();
        let kernel = bzimage().payload(payload).build();
        scratch.file("foo.efi", uki().section(".linux", kernel).build());
        let ran = scratch.ukivm(["plan", "foo.efi", "--handoff", "direct"]);
        assert_eq!(ran.status, Some(0), "{ran:?}");
        let line = ran.stderr.lines().find_map(|line| line.split("not directly: ").nth(1));
        line.expect("a reason").to_owned()
    };
    assert_eq!(
        why(b"\x89LZO and so on"),
        "the kernel's payload is packed by lzo, which can't be unpacked here"
    );
    assert!(why(b"what is this?").starts_with("the kernel's payload is packed in no way"));
    assert!(why(&[0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3, 4, 9, 0, 0, 0]).contains("zstd, is damaged"));
    assert!(why(&vmlinux().machine(40).build()).contains("no 64-bit ELF file for x86-64"));
    let large = vmlinux().segments(&[(0x100_0000, &[1; 64], 0x3fff_0000)]).entry(0x100_0000);
    assert!(why(&large.build()).starts_with("no room for the unpacked kernel"));
}

#[test]
fn a_plan_says_where_the_kernel_came_to_be() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", guest("quiet", 0));
    let seed = "5a".repeat(32);
    let plan = |options: &[&str]| {
        let arguments = ["plan", "foo.efi", "--handoff", "direct"];
        scratch.ukivm(arguments.iter().chain(options))
    };
    let off = plan(&["--kaslr", "off"]).stdout;
    assert!(
        off.contains("direct: the kernel unpacked, at 0x1000000, its virtual addresses as linked"),
        "{off}"
    );
    let seeded = plan(&["--kaslr", &seed, "--rng-seed", &seed]).stdout;
    assert!(seeded.contains(" above those it is linked for"), "{seeded}");
    assert_eq!(seeded, plan(&["--kaslr", &seed, "--rng-seed", &seed]).stdout);
    assert_eq!(seeded, plan(&["--kaslr", "on", "--rng-seed", &seed]).stdout);
}

#[test]
fn kaslr_is_the_kernel_s_own_when_kexec_hands_over() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    let ran = scratch.ukivm(["plan", "foo.efi", "--kaslr", "on"]);
    assert_eq!(ran.status, Some(64), "{ran:?}");
    assert!(ran.stderr.contains("--kaslr is for --handoff direct"), "{ran:?}");
    let ran = scratch.ukivm(["plan", "foo.efi", "--handoff", "direct", "--kaslr", "maybe"]);
    assert_eq!(ran.status, Some(64), "{ran:?}");
    assert!(ran.stderr.contains("give on or off, or for a seed 64 hex digits"), "{ran:?}");
}

/// A UKI whose kernel ends with [`GOOD`], and a place for its cache.
fn cached() -> Scratch {
    let scratch = Scratch::new();
    scratch.file("foo.efi", guest("quiet", KASLR_FLAG));
    scratch
}

const DIRECTLY: [&str; 6] = ["run", "foo.efi", "--handoff", "direct", "--timeout", "60"];

fn run(scratch: &Scratch, engine: &str, options: &[&str]) -> Ran {
    let ran = scratch.ukivm(DIRECTLY.iter().chain(&["--engine", engine]).chain(options));
    assert_eq!(ran.status, Some(GOOD.into()), "{ran:?}");
    ran
}

fn kept(scratch: &Scratch) -> Vec<PathBuf> {
    let folder = scratch.path().join("cache/ukivm/unpacked");
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|it| it == "vmlinux")).collect()
}

#[test]
fn a_kernel_is_unpacked_once_and_then_taken_from_the_cache() {
    let test = "a_kernel_is_unpacked_once_and_then_taken_from_the_cache";
    for engine in engines(test) {
        let scratch = cached();
        run(&scratch, engine, &["--no-cache"]);
        assert_eq!(kept(&scratch), [] as [PathBuf; 0]);
        run(&scratch, engine, &[]);
        let [kernel] = &kept(&scratch)[..] else { panic!("one kernel") };
        let other = guest("quiet", 0x55);
        let inode = |path: &Path| fs::metadata(path).expect("it is there").ino();
        let before = inode(kernel);
        run(&scratch, engine, &[]);
        assert_eq!(inode(kernel), before, "it is not made again");
        scratch.file("foo.efi", other);
        let ran = scratch.ukivm(DIRECTLY.iter().chain(&["--engine", engine]));
        assert_eq!(ran.status, Some(9), "another kernel is not taken for it: {ran:?}");
        assert_eq!(kept(&scratch).len(), 2);
    }
}

#[test]
fn a_plan_keeps_nothing() {
    let scratch = cached();
    let ran = scratch.ukivm(["plan", "foo.efi", "--handoff", "direct"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert_eq!(kept(&scratch), [] as [PathBuf; 0]);
}

#[test]
fn a_kept_kernel_with_a_flipped_byte_is_unpacked_anew_and_that_is_said() {
    let test = "a_kept_kernel_with_a_flipped_byte_is_unpacked_anew_and_that_is_said";
    for engine in engines(test) {
        let scratch = cached();
        run(&scratch, engine, &[]);
        let kernel = kept(&scratch).remove(0);
        let sound = fs::read(&kernel).expect("the kernel");
        let mut flipped = sound.clone();
        flipped[0x1100] ^= 1;
        fs::write(&kernel, flipped).expect("the kernel is ours");
        let ran = run(&scratch, engine, &[]);
        assert!(ran.stderr.contains("kept unpacked is damaged: it is unpacked anew"), "{ran:?}");
        assert_eq!(fs::read(&kernel).expect("the kernel"), sound);
        let ran = run(&scratch, engine, &[]);
        assert!(!ran.stderr.contains("damaged"), "{ran:?}");
    }
}

#[test]
fn twenty_runs_at_once_some_of_them_killed_leave_a_sound_cache() {
    let test = "twenty_runs_at_once_some_of_them_killed_leave_a_sound_cache";
    let Some(engine) = engines(test).into_iter().find(|engine| *engine == "kvm") else { return };
    let scratch = cached();
    let start = || {
        std::process::Command::new(env!("CARGO_BIN_EXE_ukivm"))
            .args(DIRECTLY.iter().chain(&["--engine", engine]))
            .current_dir(scratch.path())
            .env("XDG_CACHE_HOME", scratch.path().join("cache"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ukivm starts")
    };
    let mut runs: Vec<_> = (0..20).map(|_| start()).collect();
    for (number, run) in runs.iter_mut().enumerate().filter(|(number, _)| number % 3 == 0) {
        std::thread::sleep(Duration::from_millis(number as u64));
        run.kill().expect("it can be killed, or is over");
    }
    for (number, run) in runs.iter_mut().enumerate() {
        let status = run.wait().expect("it ends").code();
        assert!(status == Some(GOOD.into()) || (number % 3 == 0 && status.is_none()), "{status:?}");
    }
    let ran = run(&scratch, engine, &[]);
    assert!(!ran.stderr.contains("damaged"), "{ran:?}");
    assert_eq!(kept(&scratch).len(), 1);
}

#[test]
fn a_cache_that_others_can_write_to_is_not_used_and_that_is_said() {
    let test = "a_cache_that_others_can_write_to_is_not_used_and_that_is_said";
    let Some(engine) = engines(test).into_iter().next() else { return };
    let scratch = cached();
    run(&scratch, engine, &[]);
    let kernel = kept(&scratch).remove(0);
    let folder = kernel.parent().expect("a folder");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("it is ours");
    let ran = run(&scratch, engine, &[]);
    assert!(ran.stderr.contains("what is unpacked is not kept: "), "{ran:?}");
    assert!(ran.stderr.contains("chmod 700 mends it"), "{ran:?}");
}
