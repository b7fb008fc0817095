//! A user who is not root, and what they are given: access to /dev/kvm.

use std::{fs, os::unix::fs::MetadataExt as _, process::Command};

use firmware_less::machine::port;
use rustix::process::geteuid;

use crate::support::{
    Ran, Scratch, engines, program, skip,
    tiny::{guest, power_off, print, write_port},
};

/// Who has nothing: Debian's nobody, nogroup.
const NOBODY: &str = "65534";

/// `ukivm` with `arguments` as a user who is not root, in the folder of `scratch`, which is
/// theirs. As who runs the tests, where that is no root.
fn as_nobody(scratch: &Scratch, arguments: &[&str]) -> Ran {
    let mut command = if geteuid().is_root() {
        let kvm = fs::metadata("/dev/kvm").map_or(NOBODY.to_owned(), |kvm| kvm.gid().to_string());
        let owned = Command::new("chown").args(["-R", NOBODY]).arg(scratch.path()).status();
        assert!(owned.expect("chown runs").success());
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--groups", &kvm]);
        command.args(["--inh-caps=-all", "--bounding-set=-all"]).arg(program());
        command
    } else {
        Command::new(program())
    };
    command.args(arguments).current_dir(scratch.path()).env("HOME", scratch.path());
    Ran::of(command.env_remove("XDG_CACHE_HOME"))
}

/// Whether nobody can start the program at all: it may be in a folder of root's.
fn can_start(test: &str, scratch: &Scratch) -> bool {
    let can = as_nobody(scratch, &["--version"]).status == Some(0);
    if !can {
        skip(test, "the program is where only root may start it");
    }
    can
}

/// Whether it can be given to somebody, as its group or as anybody.
fn kvm_is_for_others(test: &str) -> bool {
    let mode = fs::metadata("/dev/kvm").map_or(0, |kvm| kvm.mode());
    let is_for_others = !geteuid().is_root() || mode & 0o060 == 0o060 || mode & 0o006 == 0o006;
    if !is_for_others {
        skip(test, &format!("/dev/kvm is root's alone: mode {:o}", mode & 0o777));
    }
    is_for_others
}

#[test]
fn a_user_who_is_not_root_runs_guests_and_gets_every_report() {
    let test = "a_user_who_is_not_root_runs_guests_and_gets_every_report";
    let scratch = Scratch::new();
    scratch.file("off.efi", guest(|a| print(a, "proof\n").and_then(|()| power_off(a))));
    scratch.file("reset.efi", guest(|a| write_port(a, port::RESET, 6)));
    scratch.file("disk.img", vec![0; 1 << 20]);
    if !can_start(test, &scratch) {
        return;
    }
    for engine in engines(test) {
        if engine == "kvm" && !kvm_is_for_others(test) {
            continue;
        }
        let common = ["--engine", engine, "--memory", "64M", "--timeout", "60"];
        let ran = |arguments: &[&str]| as_nobody(&scratch, &[arguments, &common].concat());
        let first = ran(&["run", "off.efi", "--json=out.json", "--disk", "disk.img"]);
        assert_eq!(first.status, Some(0), "{first:?}");
        let smoke = ran(&["smoke", "off.efi", "--expect", "proof", "--output", "results"]);
        assert_eq!(smoke.status, Some(0), "{smoke:?}");
        let ephemeral = ["--reboot", "restart=1", "--disk", "disk.img,ephemeral"];
        let again = ran(&[&["smoke", "reset.efi"], &ephemeral[..]].concat());
        assert!(again.stderr.contains("start 1 more"), "{again:?}");
        assert_eq!(again.status, Some(100), "{again:?}");
        for said in [&first.stderr, &smoke.stderr, &again.stderr] {
            assert!(!said.contains("warning") && !said.contains("writing it failed"), "{said}");
        }
        for report in ["out.json", "results/result.json", "results/junit.xml"] {
            let path = scratch.path().join(report);
            let written = fs::read_to_string(&path).expect(report);
            assert!(written.contains("off.efi"), "{report}: {written}");
            fs::remove_file(path).expect(report);
        }
    }
}
