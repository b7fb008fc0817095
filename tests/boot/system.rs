//! What a kernel finds of SMBIOS, and where systemd looks for it.

use std::fs;

use firmware_less::uki::cpio::{RootFile, initrd};

use crate::support::{Ran, Scratch, bed, built, skip};

const IMAGE: &str = "corpus/6.12-zstd-ukify.efi";

/// Tells what the kernel shows of SMBIOS.
const INIT: &str = r#"#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
echo 1 >/proc/sys/kernel/printk
for file in sys_vendor product_name product_uuid bios_vendor bios_date; do
    read -r value </sys/class/dmi/id/$file && echo "told: $file=$value"
done
tr '\0' '\n' </sys/firmware/dmi/entries/11-0/raw | while read -r line; do
    # The first comes behind the structure's header.
    case $line in *io.systemd*) echo "told: io.systemd${line#*io.systemd}" ;; esac
done
stty cs8
poweroff -f
"#;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me@here\n";

/// What is told, in order.
const TOLD: [&str; 9] = [
    "sys_vendor=ukivm",
    "product_name=ukivm",
    "bios_vendor=ukivm",
    "bios_date=01/01/2026",
    "io.systemd.credential:my.own=x = y",
    "io.systemd.credential.binary:loaded=/wA=",
    "io.systemd.credential:system.hostname=web-1",
    "io.systemd.credential.binary:ssh.authorized_keys.root=\
     c3NoLWVkMjU1MTkgQUFBQUMzTnphQzFsWkRJMU5URTUgbWVAaGVyZQo=",
    "io.systemd.credential:passwd.plaintext-password.root=pass word",
];

/// A run by each hand-off; `None`, and `test` noted as skipped, where the UKI was not
/// made.
fn commands(test: &str, scratch: &Scratch, engine: &str) -> Option<Vec<Vec<String>>> {
    let image = built(test, IMAGE)?.display().to_string();
    let files = [RootFile { name: "init", mode: 0o755, content: INIT.as_bytes() }];
    let part = scratch.file("more.cpio", initrd(&files).expect("a small file"));
    let key = scratch.file("id.pub", KEY).display().to_string();
    let load = format!("loaded:{}", scratch.file("loaded", [0xff, 0]).display());
    let part = part.display().to_string();
    let command = |handoff: &&str| {
        let run = ["run", "--engine", engine, "--timeout", "110", "--handoff", handoff];
        let files = ["--initrd", &part, "--load-credential", &load, "--ssh-key", &key];
        let texts = ["--set-credential", "my.own:x\\s= y", "--hostname", "web-1"];
        let rest = ["--root-password", "pass word", "--append", "quiet panic=-1", &image];
        [&run[..], &files, &texts, &rest].concat().into_iter().map(str::to_owned).collect()
    };
    Some(["kexec", "direct"].iter().map(command).collect())
}

fn is_told(ran: &Ran) {
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let told: Vec<_> =
        ran.stdout.lines().filter_map(|line| line.trim_end().strip_prefix("told: ")).collect();
    assert_eq!(told, TOLD, "{ran:?}");
    assert!(!ran.stderr.contains("not directly"), "{ran:?}");
}

#[test]
fn a_kernel_on_tcg_finds_the_credentials() {
    let test = "a_kernel_on_tcg_finds_the_credentials";
    if let Err(error) = ukivm::engine::tcg::qemu() {
        skip(test, &format!("no TCG: {error}"));
        return;
    }
    let scratch = Scratch::new();
    for command in commands(test, &scratch, "tcg").into_iter().flatten() {
        is_told(&scratch.ukivm(command));
    }
}

#[test]
fn a_kernel_on_kvm_finds_the_credentials() {
    let test = "a_kernel_on_kvm_finds_the_credentials";
    let scratch = Scratch::seen_in_the_bed();
    let Some(commands) = commands(test, &scratch, "kvm") else { return };
    let Some(runs) = bed::on_kvm(test, &commands) else { return };
    runs.iter().for_each(is_told);
}

#[test]
fn a_probe_finds_the_rest_as_planned_beside_the_credentials() {
    let test = "a_probe_finds_the_rest_as_planned_beside_the_credentials";
    let Some(image) = built(test, IMAGE) else { return };
    for engine in crate::support::engines(test) {
        let image = image.to_str().expect("UTF-8");
        let ran = Scratch::new().ukivm(["probe", "--engine", engine, "--hostname", "a", image]);
        assert_eq!(ran.status, Some(0), "{engine}: {ran:?}");
        assert!(ran.stdout.contains("\nas planned: all of "), "{engine}: {ran:?}");
    }
}

#[test]
fn the_tables_in_a_dump_are_those_of_either_engine() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", crate::support::sound_uki());
    let dump = |engine: &str| {
        let options = ["plan", "--engine", engine, "--dump", engine, "--hostname", "a", "foo.efi"];
        let ran = scratch.ukivm(options);
        assert_eq!(ran.status, Some(0), "{ran:?}");
        let path = scratch.path().join(engine).join("0x0000000f7000-SMBIOS-tables");
        fs::read(path).expect("the tables")
    };
    let tables = dump("kvm");
    assert_eq!(tables, dump("tcg"));
    assert!(tables.starts_with(b"_SM3_"));
    let told =
        b"\x0b\x05\x02\x00\x01io.systemd.credential:system.hostname=a\0\0\x7f\x04\x03\x00\0\0";
    assert!(tables.ends_with(told), "{tables:?}");
}
