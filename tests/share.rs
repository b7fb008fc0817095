//! `--share`: what is wrong with one is said before there is a guest, a guest reads and writes
//! on both engines, and whoever serves it is missed when it ends, and not left when we do.

use std::{fs, path::Path, process::Command, time::Duration};

use sha2::{Digest as _, Sha256};
use ukivm::{attached::virtiofsd, digest::hex};

use crate::support::{
    Ran, Scratch, bed, built, engines,
    run::{Running, processes_with, within},
    skip, sound_uki,
    tiny::{guest, print, spin},
};

/// Whether folders can be shared here; if not, `test` is noted as skipped.
pub(crate) fn has_virtiofsd(test: &str) -> bool {
    // Namespaces are root's, for the one in C.
    let there = virtiofsd().is_some() && rustix::process::geteuid().is_root();
    if !there {
        skip(test, "virtiofsd is not installed (images/deps installs it), or we are not root");
    }
    there
}

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    scratch.file("spin.efi", guest(|a| print(a, "ready\n").and_then(|()| spin(a))));
    for folder in ["one", "two"] {
        fs::create_dir(scratch.path().join(folder)).expect("a folder");
    }
    scratch
}

#[test]
fn a_plan_shows_shares_behind_networks_and_before_the_source_of_random_numbers() {
    let test = "a_plan_shows_shares_behind_networks_and_before_the_source_of_random_numbers";
    if !has_virtiofsd(test) {
        return;
    }
    let scratch = scratch();
    let arguments = ["plan", "foo.efi", "--share", "one", "--share", "two:my,tag:ro"];
    let ran = scratch.ukivm(arguments.iter().chain(&["--net", "tap=tap7"]));
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let lines: Vec<_> = ran.stdout.lines().skip_while(|line| *line != "PCI").skip(2).collect();
    assert_eq!(lines[0], "  00:02.0  share  one  one");
    assert_eq!(lines[1], "  00:03.0  share  my,tag  two, ro");
    assert_eq!(lines[2], "  00:04.0  random");
    let ran = scratch.ukivm(arguments.iter().chain(&["--json"]));
    let plan: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(plan["devices"][1]["share"], "two");
    assert_eq!(plan["devices"][1]["tag"], "my,tag");
    assert_eq!(plan["devices"][1]["read_only"], true);
}

#[test]
fn a_folder_that_can_not_be_shared_is_refused_before_there_is_a_guest() {
    let scratch = scratch();
    let long = "l".repeat(37);
    fs::create_dir(scratch.path().join(&long)).expect("a folder");
    let refused = |options: &[&str]| {
        let ran = scratch.ukivm(["plan", "foo.efi"].iter().chain(options));
        let line = ran.stderr.lines().find(|line| line.contains("--share"));
        (ran.status, line.unwrap_or_default().to_owned())
    };
    let no_such = "ukivm: --share none: can't be opened: No such file or directory (os error 2)";
    assert_eq!(refused(&["--share", "none"]), (Some(74), no_such.into()));
    let file = "ukivm: --share foo.efi: is no folder";
    assert_eq!(refused(&["--share", "foo.efi"]), (Some(64), file.into()));
    let name = format!(
        "ukivm: --share {long}: its own name can't be its tag: the tag {long:?} has 37 bytes, and \
         there is room for 36"
    );
    assert_eq!(refused(&["--share", &long]), (Some(64), name));
    let root = "ukivm: --share /: its own name can't be its tag";
    assert_eq!(refused(&["--share", "/"]), (Some(64), root.into()));
    if has_virtiofsd("a_folder_that_can_not_be_shared_is_refused_before_there_is_a_guest") {
        let twice = "ukivm: --share two: the tag one is another share's already";
        let ran = refused(&["--share", "one", "--share", "two:one"]);
        assert_eq!(ran, (Some(64), twice.into()));
    }
}

/// The processes that serve what has `word` in its path.
fn daemons_of(word: &Path) -> Vec<u32> {
    processes_with(&["virtiofsd", &word.display().to_string()])
}

/// A guest on `engine` that runs on and on, with two shares that are served.
fn spinning(engine: &str) -> (Scratch, Running) {
    let scratch = scratch();
    let arguments = ["run", "spin.efi", "--memory", "64M", "--engine", engine];
    let shares = ["--share", "one", "--share", "two:ro"];
    let running = Running::ukivm(scratch.path(), arguments.iter().chain(&shares));
    running.wait_for("ready");
    (scratch, running)
}

#[test]
fn a_daemon_that_ends_before_the_guest_ends_the_run_which_says_so() {
    let test = "a_daemon_that_ends_before_the_guest_ends_the_run_which_says_so";
    if !has_virtiofsd(test) {
        return;
    }
    for engine in engines(test) {
        let (scratch, mut running) = spinning(engine);
        let daemons = daemons_of(&scratch.path().join("two"));
        assert!(!daemons.is_empty(), "{engine}: {}", running.seen());
        Command::new("kill")
            .arg("-9")
            .args(daemons.iter().map(u32::to_string))
            .status()
            .expect("kill");
        assert_eq!(running.status(), 105, "{engine}: {}", running.seen());
        let said =
            "ukivm: the engine failed: virtiofsd, of --share two, has ended before the guest";
        assert!(running.seen().contains(said), "{engine}: {}", running.seen());
        let ended = within(Duration::from_secs(10), || daemons_of(scratch.path()).is_empty());
        assert!(ended, "{engine}");
    }
}

#[test]
fn no_virtiofsd_is_left_however_the_run_ends() {
    let test = "no_virtiofsd_is_left_however_the_run_ends";
    if !has_virtiofsd(test) {
        return;
    }
    for engine in engines(test) {
        for signal in ["-TERM", "-KILL"] {
            let (scratch, mut running) = spinning(engine);
            assert!(!daemons_of(scratch.path()).is_empty(), "{engine}");
            running.signal(signal);
            running.status();
            let ended = within(Duration::from_secs(10), || daemons_of(scratch.path()).is_empty());
            assert!(ended, "{engine} {signal}");
        }
    }
}

/// What the guest does: reads, writes, and tries to write where it can't.
const SCRIPT: &str = "
mkdir -p /one /two
mount -t virtiofs one /one || tell error=one
mount -t virtiofs second /two || tell error=two
tell read=$(sha256sum </one/data)
cat /one/data /one/data >/one/twice
sync
tell seen=$(sha256sum </two/twice)
echo no 2>/dev/null >/two/no && tell error=written
rm /two/data 2>/dev/null && tell error=removed
mkdir /two/made 2>/dev/null && tell error=made
umount /one
";

/// A guest that shares a folder with the host, once as it is and once read-only.
struct Sharing {
    scratch: Scratch,
    arguments: Vec<String>,
    data: Vec<u8>,
}

impl Sharing {
    /// `None`, and `test` noted as skipped, where that can't be.
    fn new(test: &str, engine: &str) -> Option<Self> {
        let image = built(test, "devices-6.12.efi")?;
        if !has_virtiofsd(test) {
            return None;
        }
        let scratch = Scratch::seen_in_the_bed();
        let initrd = scratch.doing(SCRIPT);
        let data: Vec<u8> =
            (0..1_000_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
        scratch.file("data", &data);
        let folder = scratch.path().display();
        let arguments = [
            format!("run {} --engine {engine} --timeout 110", image.display()),
            format!(
                "--initrd={} --share={folder}:one --share={folder}:second:ro",
                initrd.display()
            ),
        ];
        let arguments = arguments.join(" ").split(' ').map(str::to_owned).collect();
        Some(Self { scratch, arguments, data })
    }

    fn assert(&self, ran: &Ran) {
        assert_eq!(ran.status, Some(0), "{ran:?}");
        // As sha256sum(1) has it, between whose words the shell leaves one blank.
        let digest = |data: &[u8]| hex(&<[u8; 32]>::from(Sha256::digest(data))) + " -";
        let twice = self.data.repeat(2);
        assert_eq!(ran.told("error"), [""; 0], "{ran:?}");
        assert_eq!(ran.told("read"), [digest(&self.data)], "{ran:?}");
        assert_eq!(ran.told("seen"), [digest(&twice)], "{ran:?}");
        let file = |name| fs::read(self.scratch.path().join(name)).expect("a file");
        assert!(file("twice") == twice, "what was written is there");
        assert!(file("data") == self.data, "what can't be written is as it was");
        assert!(!self.scratch.path().join("no").exists());
        let line = ran.stdout.lines().rev().find(|line| line.contains("requests.0"));
        assert!(line.is_some_and(|line| line.contains("MSI")), "{ran:?}");
    }
}

#[test]
fn guests_read_and_write_in_a_folder_of_the_hosts_on_tcg() {
    let test = "guests_read_and_write_in_a_folder_of_the_hosts_on_tcg";
    let Some(sharing) = Sharing::new(test, "tcg") else { return };
    sharing.assert(&sharing.scratch.ukivm(&sharing.arguments));
}

#[test]
fn guests_read_and_write_in_a_folder_of_the_hosts_on_kvm() {
    let test = "guests_read_and_write_in_a_folder_of_the_hosts_on_kvm";
    let Some(sharing) = Sharing::new(test, "kvm") else { return };
    let folder = sharing.scratch.path();
    let Some(ran) = bed::on_kvm_writing(test, &sharing.arguments, folder) else { return };
    sharing.assert(&ran);
}
