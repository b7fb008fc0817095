//! The probe in the hands of other loaders: QEMU's own, and firmware with systemd-stub.

use std::{fs, process::Command, time::Duration};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use ukivm::digest::hex;

use super::initrd;
use crate::support::{Scratch, built, images, run::Running, skip};

const LIMIT: Duration = Duration::from_mins(3);
const END: &str = "probe: end=";
const WORDS: &str = "console=ttyS0 probe.end=reset words of another \"loader\"";

/// A folder with the probe as a bzImage and an initrd, and QEMU; `None`, and `test`
/// noted as skipped, where there is no QEMU.
fn with_qemu(test: &str) -> Option<(Scratch, Command)> {
    let qemu = match ukivm::engine::tcg::qemu() {
        Ok(qemu) => qemu,
        Err(error) => {
            skip(test, &format!("no QEMU: {error}"));
            return None;
        }
    };
    let scratch = Scratch::new();
    assert_eq!(scratch.ukivm(["probe", "--write-bzimage", "probe"]).status, Some(0));
    scratch.file("initrd", initrd());
    let mut command = Command::new(qemu.path);
    command.current_dir(scratch.path()).args(["-accel", "tcg", "-m", "256M", "-display", "none"]);
    command.args(["-serial", "stdio", "-monitor", "none", "-no-reboot", "-net", "none"]);
    Some((scratch, command))
}

/// What the probe reports that `command` starts, as JSON.
fn report(scratch: &Scratch, command: Command) -> Value {
    let mut running = Running::start(command);
    running.wait_for_end_or(END, LIMIT);
    // It asked for a reset, and QEMU was told to end then.
    assert_eq!(running.status(), 0, "{}", running.seen());
    scratch.file("serial.log", running.seen());
    let ran = scratch.ukivm(["probe", "--read", "serial.log", "--json"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    serde_json::from_str(&ran.stdout).expect("JSON")
}

/// What it says of that.
fn found<'a>(report: &'a Value, group: &str, name: &str) -> &'a Value {
    let pairs = report["report"].as_array().expect("pairs").iter();
    let mut pairs = pairs.filter(|pair| pair["group"] == group && pair["name"] == name);
    &pairs.next().unwrap_or_else(|| panic!("{group}, {name} in {report}"))["found"]
}

fn assert_has_what_was_given(report: &Value) {
    assert_eq!(*found(report, "command line", "text"), WORDS);
    let digest = hex(&Sha256::digest(initrd()));
    assert_eq!(*found(report, "initrd", "SHA-256"), digest.as_str());
    assert_eq!(*found(report, "initrd", "length"), initrd().len());
    assert!(report["as_planned"].is_null(), "{report}");
}

/// Boots the bzImage by QEMU's own loader, in real mode.
fn by_qemu(scratch: &Scratch, mut command: Command) -> Value {
    command.args(["-kernel", "probe", "-initrd", "initrd", "-append", WORDS]);
    report(scratch, command)
}

#[test]
fn qemu_s_own_loader_enters_the_probe_in_real_mode() {
    let Some((scratch, command)) = with_qemu("qemu_s_own_loader_enters_the_probe_in_real_mode")
    else {
        return;
    };
    let report = by_qemu(&scratch, command);
    assert_has_what_was_given(&report);
    assert_eq!(*found(&report, "entry", "entered"), "in real mode");
    // linux_boot.S of QEMU: what the boot protocol says of the segments.
    assert_eq!(*found(&report, "segments", "cs"), 0x1020);
    assert_eq!(*found(&report, "segments", "ds"), 0x1000);
    assert_eq!(*found(&report, "boot_params", "type_of_loader"), 0xb0);
    assert_eq!(*found(&report, "e820", "0"), "0x000000000000  0x00000009fc00  usable");
    // By way of an RSDP without an XSDT.
    let table = found(&report, "ACPI", "0 FACP").as_str().expect("text");
    assert!(table.ends_with("BOCHS BXPC"), "{table}");
}

#[test]
fn a_loader_may_enter_the_probe_in_protected_mode() {
    let Some((scratch, command)) = with_qemu("a_loader_may_enter_the_probe_in_protected_mode")
    else {
        return;
    };
    // Its own setup code for a loader: to the entry itself, and not behind it.
    let mut kernel = fs::read(scratch.path().join("probe")).expect("a kernel");
    let to_entry = [0x66, 0x05, 0x08, 0, 0, 0];
    let at = kernel.windows(6).position(|window| window == to_entry).expect("ADD EAX, 8");
    kernel[at + 2] = 0;
    scratch.file("probe", kernel);
    let report = by_qemu(&scratch, command);
    assert_has_what_was_given(&report);
    assert_eq!(*found(&report, "entry", "entered"), "in protected mode");
    assert_eq!(*found(&report, "registers", "rip"), 0x10_0000);
    assert_eq!(*found(&report, "registers", "rsi"), 0x9000);
    assert_eq!(*found(&report, "segments", "cs"), 0x10);
    // Protection, but no paging.
    assert_eq!(
        found(&report, "control and debug registers", "cr0").as_u64().map(|cr0| cr0 & 0x8000_0001),
        Some(1)
    );
}

#[test]
fn firmware_and_systemd_stub_hand_over_to_the_probe() {
    let test = "firmware_and_systemd_stub_hand_over_to_the_probe";
    let Some((scratch, mut command)) = with_qemu(test) else { return };
    let Some(code) = built(test, "ovmf/code.fd") else { return };
    fs::copy(images().join("ovmf/variables.fd"), scratch.path().join("variables")).expect("a copy");
    let Some(ukify) = built(test, "tools-sid/ukify") else { return };
    let stub = images().join("tools-sid/linuxx64.efi.stub");
    let made = Command::new(ukify)
        .args(["build", "--linux=probe", "--initrd=initrd", "--uname=1", "--os-release=ID=x"])
        .arg(format!("--cmdline={WORDS}"))
        .arg(format!("--stub={}", stub.display()))
        .arg("--output=probe.efi")
        .current_dir(scratch.path())
        .output()
        .expect("ukify starts");
    assert!(made.status.success(), "{made:?}");
    let drive = format!("if=pflash,format=raw,readonly=on,file={}", code.display());
    command.args(["-M", "q35", "-drive", &drive]);
    command.args(["-drive", "if=pflash,format=raw,file=variables", "-kernel", "probe.efi"]);
    let report = report(&scratch, command);
    assert_eq!(*found(&report, "entry", "entered"), "by the EFI handover protocol");
    assert_eq!(*found(&report, "command line", "text"), WORDS);
    // With what the stub adds to it.
    let len = found(&report, "initrd", "length").as_u64();
    assert!(len > Some(initrd().len() as u64), "{len:?}");
    assert_eq!(
        found(&report, "registers", "rdx"),
        found(&report, "entry", "boot_params_at"),
        "it is the third argument"
    );
    let rsdp = found(&report, "ACPI", "RSDP").as_str().expect("text");
    assert!(rsdp.starts_with("BOCHS, revision 2"), "{rsdp}");
}
