//! One UKI's kernel by every hand-off, on every engine: what it sees of the memory
//! map, the command line, the initrd and ACPI is what was planned, and so the same.

use std::{collections::BTreeMap, fs};

use firmware_less::uki::cpio::{RootFile, initrd};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use ukivm::digest::hex;

use crate::support::{Ran, Scratch, bed, built, engines, skip};

/// The hand-offs, by their options.
const HANDOFFS: [&[&str]; 4] = [
    &["--handoff", "kexec"],
    &["--handoff", "kexec", "--flavour", "legacy"],
    &["--handoff", "direct"],
    &["--handoff", "direct", "--kaslr", "off"],
];
const IMAGE: &str = "corpus/6.12-zstd-ukify.efi";
const CMDLINE: &str = "console=ttyS0 quiet panic=-1 \"of every  hand-off\"";
/// Odd, and longer than anything that is read at once.
const PAYLOAD_LEN: usize = (1 << 20) + 77;

/// Tells what the kernel shows of what it was handed.
const INIT: &str = r#"#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
echo 1 >/proc/sys/kernel/printk
for entry in /sys/firmware/memmap/*; do
    read -r start <$entry/start
    read -r end <$entry/end
    read -r type <$entry/type
    echo "handed: e820 $start-$end=$type"
done
read -r line </proc/cmdline
echo "handed: cmdline=$line"
sha256sum /payload /sys/firmware/acpi/tables/[A-Z]* | while read -r sum file; do
    echo "handed: $file=$sum"
done
stty cs8
poweroff -f
"#;

/// What a guest saw, or should.
type Seen = BTreeMap<String, String>;

/// A UKI and a part of an initrd that tells of it.
struct Subject {
    scratch: Scratch,
    arguments: Vec<String>,
    payload: Vec<u8>,
}

impl Subject {
    /// `None`, and `test` noted as skipped, where the UKI was not made.
    fn of(test: &str) -> Option<Self> {
        let image = built(test, IMAGE)?;
        let scratch = Scratch::seen_in_the_bed();
        let payload: Vec<u8> = (0..251).cycle().step_by(7).take(PAYLOAD_LEN).collect();
        let files = [
            RootFile { name: "init", mode: 0o755, content: INIT.as_bytes() },
            RootFile { name: "payload", mode: 0o644, content: &payload },
        ];
        let part = scratch.file("more.cpio", initrd(&files).expect("small files"));
        let paths = [part, image].map(|path| path.to_str().expect("UTF-8").to_owned());
        let [part, image] = paths;
        let arguments = ["--memory", "3G", "--cmdline", CMDLINE, "--initrd", &part, &image];
        let arguments = arguments.map(str::to_owned).into();
        Some(Self { scratch, arguments, payload })
    }

    /// A run for each hand-off.
    fn commands(&self, engine: &str) -> Vec<Vec<String>> {
        let command = |handoff: &&[&str]| {
            let run = ["run", "--engine", engine, "--timeout", "110"];
            let options = [run.as_slice(), handoff].concat().into_iter().map(str::to_owned);
            options.chain(self.arguments.iter().cloned()).collect()
        };
        HANDOFFS.iter().map(command).collect()
    }

    /// What the plan for `engine` says of all that a guest tells of.
    fn planned(&self, engine: &str) -> Seen {
        let folder = format!("dump-{engine}");
        let options = ["plan", "--json", "--engine", engine, "--dump", &folder];
        let ran = self
            .scratch
            .ukivm(options.iter().copied().chain(self.arguments.iter().map(String::as_str)));
        assert_eq!(ran.status, Some(0), "{ran:?}");
        let plan: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let folder = self.scratch.path().join(folder);
        let mut seen = Seen::new();
        for entry in plan["memory_map"].as_array().expect("entries") {
            let number = |name: &str| entry["range"][name].as_u64().expect("a number");
            let kind = match entry["kind"].as_str() {
                Some("ram") => "System RAM",
                Some("reserved") => "Reserved",
                other => panic!("{other:?}"),
            };
            let name = format!("e820 {:#x}-{:#x}", number("start"), number("end") - 1);
            seen.insert(name, kind.to_owned());
        }
        seen.insert("cmdline".to_owned(), CMDLINE.to_owned());
        seen.insert("/payload".to_owned(), hex(&Sha256::digest(&self.payload)));
        let tables = fs::read(folder.join("0x0000000e0000-ACPI-tables")).expect("tables");
        for (name, table) in acpi(&tables, 0xe_0000) {
            let path = format!("/sys/firmware/acpi/tables/{name}");
            seen.insert(path, hex(&Sha256::digest(table)));
        }
        seen
    }

    fn check(&self, engine: &str, runs: &[Ran]) {
        let planned = self.planned(engine);
        for (handoff, ran) in HANDOFFS.iter().zip(runs) {
            assert_eq!(ran.status, Some(0), "{engine} {handoff:?}: {ran:?}");
            // Not by another hand-off than was asked for.
            assert!(!ran.stderr.contains("not directly"), "{engine} {handoff:?}: {ran:?}");
            assert_eq!(seen(&ran.stdout), planned, "{engine} {handoff:?}: {ran:?}");
        }
    }
}

fn seen(console: &str) -> Seen {
    let lines = console.lines().filter_map(|line| line.trim_end().strip_prefix("handed: "));
    let fact = |line: &str| {
        let (name, value) = line.split_once('=').expect("a name and a value");
        (name.to_owned(), value.to_owned())
    };
    lines.map(fact).collect()
}

/// The tables that the RSDP at the start of `bytes`, which lie at `start`, leads to.
fn acpi(bytes: &[u8], start: u64) -> BTreeMap<String, &[u8]> {
    let number =
        |place: usize| u64::from_le_bytes(bytes[place..place + 8].try_into().expect("eight bytes"));
    let offset = |address: u64| usize::try_from(address - start).expect("within");
    let table = |address: u64| {
        let place = offset(address);
        let len = usize::try_from(number(place + 4) & 0xffff_ffff).expect("a length");
        &bytes[place..place + len]
    };
    let xsdt = table(number(24));
    let entries = xsdt[36..].chunks(8);
    let entries = entries.map(|entry| u64::from_le_bytes(entry.try_into().expect("eight bytes")));
    let mut tables: Vec<_> = entries.map(table).collect();
    let fadt = tables.iter().find(|table| table.starts_with(b"FACP")).expect("a FADT");
    // X_DSDT. ACPI 6.5, table 5.9.
    let dsdt = u64::from_le_bytes(fadt[140..148].try_into().expect("eight bytes"));
    tables.push(table(dsdt));
    let name = |table: &&[u8]| String::from_utf8(table[..4].to_vec()).expect("a signature");
    tables.iter().map(|table| (name(table), *table)).collect()
}

#[test]
fn every_hand_off_on_tcg_shows_a_kernel_what_is_planned() {
    let test = "every_hand_off_on_tcg_shows_a_kernel_what_is_planned";
    let Some(subject) = Subject::of(test) else { return };
    if let Err(error) = ukivm::engine::tcg::qemu() {
        skip(test, &format!("no TCG: {error}"));
        return;
    }
    let commands = subject.commands("tcg");
    let runs: Vec<_> = commands.iter().map(|command| subject.scratch.ukivm(command)).collect();
    subject.check("tcg", &runs);
}

#[test]
fn every_hand_off_on_kvm_shows_a_kernel_what_is_planned() {
    let test = "every_hand_off_on_kvm_shows_a_kernel_what_is_planned";
    let Some(subject) = Subject::of(test) else { return };
    // The probe too, on a KVM that does not emulate it.
    let probe = |handoff: &&[&str]| {
        let image = subject.arguments.last().expect("the UKI").as_str();
        let options = [["probe", "--engine", "kvm", image].as_slice(), handoff].concat();
        options.into_iter().map(str::to_owned).collect()
    };
    let probes = HANDOFFS.iter().map(probe);
    let commands: Vec<_> = subject.commands("kvm").into_iter().chain(probes).collect();
    let Some(runs) = bed::on_kvm(test, &commands) else { return };
    let (kernels, probes) = runs.split_at(HANDOFFS.len());
    subject.check("kvm", kernels);
    for ran in probes {
        assert_eq!(ran.status, Some(0), "{ran:?}");
        assert!(ran.stdout.contains("\nas planned: all of "), "{ran:?}");
    }
}

#[test]
fn a_probe_in_that_kernel_s_place_finds_what_is_planned_by_every_hand_off() {
    let test = "a_probe_in_that_kernel_s_place_finds_what_is_planned_by_every_hand_off";
    let Some(image) = built(test, IMAGE) else { return };
    let image = image.to_str().expect("UTF-8");
    for engine in engines(test) {
        for handoff in HANDOFFS {
            let options = ["probe", "--json", "--engine", engine, image];
            let ran = Scratch::new().ukivm(options.iter().chain(handoff));
            assert_eq!(ran.status, Some(0), "{engine} {handoff:?}: {ran:?}");
            let report: Value = serde_json::from_str(&ran.stdout).expect("JSON");
            assert_eq!(report["handoff"]["kind"], handoff[1], "{engine}");
            assert_eq!(report["as_planned"], true, "{engine} {handoff:?}: {ran:?}");
        }
    }
}
