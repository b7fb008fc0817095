//! Debian with systemd, by its own account.

mod whole;

use crate::support::{Ran, Scratch, bed, built, run::Running, skip};

const IMAGE: &str = "debian/initrd.efi";

/// What the guest tells of itself.
fn told(console: &str) -> Vec<&str> {
    let lines = console.lines().filter_map(|line| line.trim_end().split("ukivm-guest: ").nth(1));
    lines.collect()
}

/// A run with credentials of every kind, whose guest gives its own status; `None`, and
/// `test` noted as skipped, where the image was not made.
fn command(test: &str, scratch: &Scratch, engine: &str) -> Option<Vec<String>> {
    let image = built(test, IMAGE)?.display().to_string();
    let key = scratch.file("id.pub", "ssh-ed25519 AAAA me@here").display().to_string();
    let script = scratch.file("script", "cat $CREDENTIALS_DIRECTORY/ukivm.own\n");
    let script = format!("ukivm.script:{}", script.display());
    let run = ["run", "--engine", engine, "--memory", "2G", "--timeout", "600"];
    let system = ["--hostname", "web-1", "--ssh-key", &key, "--root-password", "hello"];
    let own = ["--load-credential", &script, "--set-credential", r"ukivm.own:a\tb\n"];
    let end = ["--append", "ukivm.end=status:7", &image];
    Some([&run[..], &system, &own, &end].concat().into_iter().map(str::to_owned).collect())
}

fn has_what_it_was_told(ran: &Ran, virtualization: &str) {
    let told = told(&ran.stdout);
    let credentials: Vec<&str> = told
        .iter()
        .filter_map(|line| line.strip_prefix("credential=")?.split_whitespace().next())
        .collect();
    let wanted = [
        "passwd.plaintext-password.root",
        "ssh.authorized_keys.root",
        "system.hostname",
        "ukivm.own",
        "ukivm.script",
    ];
    let mut sorted = credentials.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, wanted, "{ran:?}");
    for line in [
        "state=running",
        "hostname=web-1",
        "key=ssh-ed25519 AAAA me@here",
        "password=P",
        "script=a\tb",
        &format!("virtualization={virtualization}"),
    ] {
        assert!(told.contains(&line), "{line}: {ran:?}");
    }
    assert_eq!(ran.status, Some(7), "{ran:?}");
}

#[test]
fn systemd_on_tcg_takes_its_credentials_and_gives_a_status() {
    let test = "systemd_on_tcg_takes_its_credentials_and_gives_a_status";
    let scratch = Scratch::new();
    let Some(command) = command(test, &scratch, "tcg") else { return };
    if let Err(error) = ukivm::engine::tcg::qemu() {
        skip(test, &format!("no TCG: {error}"));
        return;
    }
    has_what_it_was_told(&scratch.ukivm(command), "qemu");
}

#[test]
fn systemd_on_kvm_takes_its_credentials_and_gives_a_status() {
    let test = "systemd_on_kvm_takes_its_credentials_and_gives_a_status";
    let scratch = Scratch::seen_in_the_bed();
    let Some(command) = command(test, &scratch, "kvm") else { return };
    if takes_too_long(test) {
        return;
    }
    let Some(ran) = patiently(test, &command, &scratch) else { return };
    has_what_it_was_told(&ran, "kvm");
}

/// Runs `ukivm` with `command` on KVM, which may say nothing for minutes: its own limits are
/// what ends it.
fn patiently(test: &str, command: &[String], scratch: &Scratch) -> Option<Ran> {
    let script = "while sleep 20; do echo waiting >&2; done &\n\
                  \"$@\"\nstatus=$?\nkill $!\nexit $status\n";
    bed::on_kvm_by(test, Some(&scratch.file("wait.sh", script)), command, scratch.path())
}

/// Whether a boot on KVM takes minutes here that nobody asked for, noted as skipped.
fn takes_too_long(test: &str) -> bool {
    if !bed::runs_all() {
        skip(test, "minutes in the bed: tests/run --all");
    }
    !bed::runs_all()
}

#[test]
fn systemd_on_tcg_powers_off_when_its_button_is_pressed() {
    let test = "systemd_on_tcg_powers_off_when_its_button_is_pressed";
    let Some(image) = built(test, IMAGE) else { return };
    if let Err(error) = ukivm::engine::tcg::qemu() {
        skip(test, &format!("no TCG: {error}"));
        return;
    }
    let image = image.to_str().expect("UTF-8");
    let options = ["run", "--engine", "tcg", "--memory", "2G", "--grace", "2m"];
    let rest = ["--append", "ukivm.end=wait", image];
    let scratch = Scratch::new();
    let mut running = Running::ukivm(scratch.path(), options.iter().chain(&rest));
    running.wait_for_end_or("ukivm-guest: ready", std::time::Duration::from_mins(4));
    running.signal("-TERM");
    running.wait_for_end_or("reboot: Power down", std::time::Duration::from_mins(2));
    assert_eq!(running.status(), 0, "{}", running.seen());
}

#[test]
fn systemd_on_kvm_powers_off_when_its_button_is_pressed() {
    let test = "systemd_on_kvm_powers_off_when_its_button_is_pressed";
    let Some(image) = built(test, IMAGE) else { return };
    if takes_too_long(test) {
        return;
    }
    let scratch = Scratch::seen_in_the_bed();
    let out = scratch.path().join("out").display().to_string();
    let script = scratch.file(
        "press.sh",
        format!(
            "\"$@\" >{out} 2>&1 &\n\
             until grep -q 'ukivm-guest: ready' {out}; do kill -0 $! || break; echo; sleep 5; done\n\
             kill -TERM $!\nwait $!\nstatus=$?\ncat {out}\nexit $status\n"
        ),
    );
    let options = ["run", "--engine", "kvm", "--memory", "2G", "--grace", "2m"];
    let rest = ["--append", "ukivm.end=wait", image.to_str().expect("UTF-8")];
    let command: Vec<_> = options.iter().chain(&rest).map(|word| (*word).to_owned()).collect();
    let Some(ran) = bed::on_kvm_by(test, Some(&script), &command, scratch.path()) else { return };
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("reboot: Power down"), "{ran:?}");
}

/// A command with Debian on its disk, which stays as it is, and that initrd.
fn on_disk(test: &str, (start, maker): (&[&str], &str), end: &str) -> Option<Vec<String>> {
    let disk = format!("--disk={}", built(test, "debian/disk.raw")?.display());
    let image = built(test, &format!("debian/{maker}.efi"))?.display().to_string();
    let rest = [&disk, "--ephemeral", &image, "--", end];
    Some(start.iter().chain(&rest).map(|word| (*word).to_owned()).collect())
}

#[test]
fn systemd_on_a_disk_boots_by_either_initrd_on_tcg() {
    let test = "systemd_on_a_disk_boots_by_either_initrd_on_tcg";
    if let Err(error) = ukivm::engine::tcg::qemu() {
        return skip(test, &format!("no TCG: {error}"));
    }
    for maker in ["initramfs-tools", "dracut"] {
        let start = ["run", "--engine=tcg", "--timeout=280", "--hostname=on-disk"];
        let Some(command) = on_disk(test, (&start, maker), "ukivm.end=status:7") else { return };
        let ran = Scratch::new().ukivm(command);
        assert_eq!(ran.status, Some(7), "{maker}: {ran:?}");
        for line in ["state=running", "root=ext4", "hostname=on-disk"] {
            assert!(told(&ran.stdout).contains(&line), "{maker}, {line}: {ran:?}");
        }
    }
}
