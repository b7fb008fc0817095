//! The command line: options, messages, exit statuses.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use firmware_less::testing::{bzimage, uki};

use crate::support::{Ran, Scratch, sound_uki};

fn failed(ran: &Ran, status: i32, message: &str) {
    assert_eq!(ran.status, Some(status), "{ran:?}");
    assert!(ran.stderr.contains(message), "wanted {message:?} in {:?}", ran.stderr);
    assert_eq!(ran.stdout, "", "messages are on standard error");
}

#[test]
fn help_and_version_are_answers() {
    let scratch = Scratch::new();
    for arguments in [&["--help"][..], &["--version"], &["run", "--help"], &["help", "plan"]] {
        let ran = scratch.ukivm(arguments);
        assert_eq!(ran.status, Some(0), "{arguments:?}");
        assert!(!ran.stdout.is_empty() && ran.stderr.is_empty(), "{arguments:?}: {ran:?}");
    }
    assert!(scratch.ukivm(["run", "--help"]).stdout.contains("Exit status:"));
}

#[test]
fn a_wrong_command_line_exits_with_64() {
    let scratch = Scratch::new();
    failed(&scratch.ukivm(["run"]), 64, "<IMAGE>");
    failed(&scratch.ukivm(["run", "--frobnicate", "x.efi"]), 64, "--frobnicate");
    failed(&scratch.ukivm(["boot", "x.efi"]), 64, "boot");
    failed(&scratch.ukivm(["run", "--memory", "1024", "x.efi"]), 64, "512M or 4G");
    failed(&scratch.ukivm(["run", "--rng-seed", "00", "x.efi"]), 64, "64 hex digits");
    assert_eq!(scratch.ukivm([] as [&str; 0]).status, Some(64));
}

#[test]
fn a_machine_that_cannot_be_exits_with_64() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    failed(&scratch.ukivm(["plan", "--cpus", "300", "foo.efi"]), 64, "300 vCPUs, need 1 to 254");
    failed(&scratch.ukivm(["plan", "--memory", "1M", "foo.efi"]), 64, "0x100000 bytes of memory");
}

#[test]
fn a_file_that_cannot_be_used_exits_with_74() {
    let scratch = Scratch::new();
    failed(&scratch.ukivm(["run", "none.efi"]), 74, "none.efi: can't be opened: No such file");
    failed(&scratch.ukivm(["run", "."]), 74, ".: is a directory, not a regular file");
    failed(&scratch.ukivm(["run", "/dev/null"]), 74, "/dev/null: is a device");
    scratch.file("foo.efi", sound_uki());
    failed(&scratch.ukivm(["plan", "--initrd", "none", "foo.efi"]), 74, "none: can't be opened");
    failed(
        &scratch.ukivm(["plan", "--json=none/x.json", "foo.efi"]),
        74,
        "none/x.json: writing it failed",
    );
}

#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let scratch = Scratch::new();
    let made = Command::new("mkfifo").arg(scratch.path().join("pipe")).status();
    assert!(made.expect("mkfifo runs").success());
    failed(&scratch.ukivm(["run", "pipe"]), 74, "pipe: is a pipe");
}

/// What people give it by mistake, and what must be in the answer.
fn wrong_files() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let program = fs::read(env!("CARGO_BIN_EXE_ukivm")).expect("our own program");
    let linux = || uki().section(".linux", bzimage().build());
    vec![
        ("an ELF file", program, "ELF"),
        ("a bare kernel", bzimage().build(), "bare kernel (bzImage)"),
        ("text", b"title Linux\nlinux /vmlinuz\n".to_vec(), "text"),
        ("an aarch64 UKI", linux().header(|header| header.machine = 0xaa64).build(), "aarch64"),
        ("an addon", uki().section(".cmdline", "quiet").build(), "addon"),
        ("an empty file", Vec::new(), "empty file"),
    ]
}

#[test]
fn a_wrong_file_is_named_for_what_it_is_and_exits_with_65() {
    let scratch = Scratch::new();
    for (what, bytes, message) in wrong_files() {
        scratch.file("foo.efi", bytes);
        let ran = scratch.ukivm(["run", "foo.efi"]);
        failed(&ran, 65, message);
        assert!(ran.stderr.contains("ukivm: foo.efi: "), "{what}: {}", ran.stderr);
        assert!(ran.stderr.contains("expected"), "{what}: {}", ran.stderr);
    }
}

#[test]
fn a_wrong_file_is_refused_within_10_ms() {
    let scratch = Scratch::new();
    for (what, bytes, _) in wrong_files() {
        scratch.file("foo.efi", bytes);
        let time = |_| {
            let start = Instant::now();
            assert_eq!(scratch.ukivm(["run", "foo.efi"]).status, Some(65));
            start.elapsed()
        };
        // The best of many: the machine has other things to do as well.
        let best = (0..40).map(time).min().expect("forty runs");
        assert!(best < Duration::from_millis(10), "{what} took {best:?}");
    }
}

#[test]
fn a_report_never_replaces_what_it_should_not() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    scratch.file("old.json", "{}");
    let link = scratch.path().join("link.json");
    std::os::unix::fs::symlink("old.json", &link).expect("a link");
    assert_eq!(scratch.ukivm(["plan", "--json=link.json", "foo.efi"]).status, Some(0));
    assert!(link.is_symlink(), "the link is still one");
    let written = fs::read(scratch.path().join("old.json")).expect("its target");
    assert!(written.len() > 100, "what it leads to was written");

    failed(&scratch.ukivm(["plan", "--json=foo.efi", "foo.efi"]), 64, "is a file of this very run");
    assert_eq!(fs::read(scratch.path().join("foo.efi")).expect("the UKI"), sound_uki());
}

#[test]
fn a_report_into_a_pipe_that_nobody_reads_is_refused_and_not_waited_for() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    let made = Command::new("mkfifo").arg(scratch.path().join("pipe")).status();
    assert!(made.expect("mkfifo runs").success());
    failed(&scratch.ukivm(["plan", "--json=pipe", "foo.efi"]), 74, "pipe: writing it failed");
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    let full = || fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    for arguments in [&["plan", "foo.efi"][..], &["plan", "--json", "foo.efi"], &["doctor"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_ukivm"))
            .args(arguments)
            .current_dir(scratch.path())
            .stdout(full())
            .output();
        failed(&Ran::from(output.expect("ukivm starts")), 74, "standard output: writing it failed");
    }
}

#[test]
fn nothing_is_left_of_a_report_that_was_not_written() {
    let scratch = Scratch::new();
    scratch.file("text.efi", "no UKI");
    scratch.file("out.json", "of an earlier run");
    assert_eq!(scratch.ukivm(["run", "--json=out.json", "text.efi"]).status, Some(65));
    let left: Vec<_> = fs::read_dir(scratch.path()).expect("the folder").flatten().collect();
    assert!(!left.iter().any(|file| file.file_name().to_string_lossy().contains("part")));
}

#[test]
fn a_command_line_over_kexec_s_limit_is_refused_naming_the_slot() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    let with = |len: usize| {
        let text = "x".repeat(len);
        scratch.ukivm(["plan", "--console=none", "--cmdline", &text, "foo.efi"])
    };
    assert_eq!(with(2016).status, Some(0));
    failed(&with(2017), 65, "2017 bytes, kexec takes 2016");
    failed(&with(2017), 65, "30 for the elfcorehdr= slot");
}

#[test]
fn too_little_memory_is_refused_with_a_way_out() {
    let scratch = Scratch::new();
    let big = bzimage().with(|header| header.init_size = 60 << 20).build();
    scratch.file("foo.efi", uki().section(".linux", big).build());
    let ran = scratch.ukivm(["plan", "--memory", "64M", "foo.efi"]);
    failed(&ran, 65, "no room for kernel");
    assert!(ran.stderr.contains("hint: give the machine more memory"), "{}", ran.stderr);
}

#[test]
fn a_reader_that_goes_away_is_no_error_of_ours() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    let line = format!("{} plan foo.efi | head -n 1", env!("CARGO_BIN_EXE_ukivm"));
    let output =
        Command::new("sh").arg("-c").arg(line).current_dir(scratch.path()).output().expect("sh");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_doctor_looks_at_everything_and_says_how_to_mend_what_fails() {
    let scratch = Scratch::new();
    let ran = scratch.ukivm(["doctor", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let checks = report["checks"].as_array().expect("checks");
    assert_eq!(checks.len(), 8);
    let usable = report["engine"].is_object();
    assert_eq!(ran.status, Some(if usable { 0 } else { 69 }));
    let text = scratch.ukivm(["doctor"]).stdout;
    for check in checks {
        let name = check["name"].as_str().expect("a name");
        assert!(text.contains(name), "{name} is missing in {text}");
    }
}

#[test]
fn a_report_of_the_host_says_what_matters_and_not_whose_it_is() {
    let scratch = Scratch::new();
    let ran = scratch.ukivm(["doctor", "--report=host.txt"]);
    assert!(ran.stdout.is_empty() && [Some(0), Some(69)].contains(&ran.status), "{ran:?}");
    let text = fs::read_to_string(scratch.path().join("host.txt")).expect("a report");
    for name in ["ukivm", "build", "KVM can run kernels", "kernel", "model name", "flags", "CapEff"]
    {
        assert!(
            text.lines().any(|line| line.starts_with(&format!("{name}: "))),
            "{name} in {text}"
        );
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let folder = scratch.path().to_string_lossy().into_owned();
    let user = std::env::var("HOME").unwrap_or_default();
    for private in [host.trim(), &folder, &user].into_iter().filter(|word| word.len() > 3) {
        assert!(!text.contains(private), "{private} in {text}");
    }
    let both = scratch.ukivm(["doctor", "--report", "--json"]);
    assert_eq!(both.status, Some(64), "{both:?}");
}

#[test]
fn a_host_without_qemu_is_told_the_package_by_the_doctor() {
    let output = Command::new(env!("CARGO_BIN_EXE_ukivm"))
        .arg("doctor")
        .env("UKIVM_QEMU", "/nonexistent/qemu")
        .output()
        .expect("ukivm starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("FAIL  QEMU"), "{text}");
    assert!(text.contains("mend: apt-get install qemu-system-x86"), "{text}");
}

#[test]
fn tcg_without_qemu_names_the_package() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    let output = Command::new(env!("CARGO_BIN_EXE_ukivm"))
        .args(["run", "--engine", "tcg", "foo.efi"])
        .current_dir(scratch.path())
        .env("UKIVM_QEMU", "/nonexistent/qemu")
        .output();
    failed(&Ran::from(output.expect("ukivm starts")), 69, "qemu-system-x86");
}
