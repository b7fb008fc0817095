//! Debian with systemd, by its own account.

use ukivm::engine::kvm;

use crate::support::{Ran, Scratch, built, run::Running, skip};

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
    let run = ["run", "--engine", engine, "--memory", "2G", "--timeout", "280"];
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
    let scratch = Scratch::new();
    let Some(command) = command(test, &scratch, "kvm") else { return };
    // In the bed it takes longer than anything there may.
    if !matches!(kvm::probe(), kvm::Support::Works) {
        skip(test, "this host's KVM can't run kernels");
        return;
    }
    has_what_it_was_told(&scratch.ukivm(command), "kvm");
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
