//! Kexec onward: a guest that ukivm booted goes to the next kernel by a real
//! `kexec_file_load(2)`, and that comes up whole.

use std::fs;

use firmware_less::testing::uki;
use ukivm_guests::kexec::{LOADED, Step};

use crate::support::{Ran, Scratch, bed, built, kexec::kexec_initrd, skip};

/// The first kernel, and the one to go to.
const JOURNEYS: [(&str, &str); 3] = [("6.1", "6.12"), ("6.12", "7"), ("7", "6.1")];
const CPUS: &str = "2";
/// With the processor's own random numbers not trusted, it is the seed from
/// `setup_data` that makes the next kernel's generator ready.
const CMDLINE: &str = "console=ttyS0 panic=-1 random.trust_cpu=off \"onward journey\"";

/// One journey; `None`, and `test` noted as skipped, where something was not made.
struct Journey {
    scratch: Scratch,
    release: String,
}

impl Journey {
    fn of(test: &str, (first, next): (&str, &str)) -> Option<Self> {
        let read = |product: &str| Some(fs::read(built(test, product)?).expect("a file"));
        let kernel = read(&format!("kernels/{first}/vmlinuz"))?;
        let next_kernel = read(&format!("kernels/{next}/vmlinuz"))?;
        let release = read(&format!("kernels/{next}/release"))?;
        let next_initrd = read("initrds/test.zstd")?;
        let scratch = Scratch::seen_in_the_bed();
        let initrd = kexec_initrd(&next_kernel, Some(&next_initrd), CMDLINE.as_bytes());
        let image = uki()
            .section(".linux", kernel)
            .section(".initrd", initrd)
            .section(".cmdline", "console=ttyS0 quiet panic=-1");
        scratch.file("first.efi", image.build());
        let release = String::from_utf8(release).expect("a release").trim().to_owned();
        Some(Self { scratch, release })
    }

    fn arguments(&self, engine: &str) -> Vec<String> {
        let image = self.scratch.path().join("first.efi").display().to_string();
        let options = ["run", "--engine", engine, "--timeout", "110", "--cpus", CPUS];
        options.map(str::to_owned).into_iter().chain([image]).collect()
    }

    /// That both kernels said what they should, and the second one ended by itself.
    fn check(&self, ran: &Ran) {
        assert_eq!(ran.status, Some(0), "{ran:?}");
        let lines: Vec<&str> = ran.stdout.lines().map(str::trim_end).collect();
        let at = |text: &str| {
            let found = lines.iter().position(|line| line.contains(text));
            found.unwrap_or_else(|| panic!("no {text:?} in {ran:?}"))
        };
        let loaded = at(LOADED);
        let second = at(&format!("Linux version {}", self.release));
        assert!(loaded < second, "{ran:?}");
        // The memory map and the tables of the machine, by way of the first kernel.
        for text in [
            "BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff]",
            "BIOS-e820: [mem 0x000000000009fc00-0x00000000000fffff]",
            "BIOS-e820: [mem 0x0000000000100000-0x000000003fffffff]",
            "BIOS-e820: [mem 0x00000000b0000000-0x00000000bfffffff]",
            "ACPI: RSDP 0x00000000000E0000",
            "[    0.000000] random: crng init done",
            "ukivm-guest: initrd=zstd",
            "ukivm-guest: nproc=2",
            &format!("ukivm-guest: cmdline={CMDLINE}"),
            "ukivm-guest: ready",
        ] {
            assert!(at(text) > loaded, "{text:?} is of the second kernel: {ran:?}");
        }
    }
}

#[test]
fn a_guest_on_tcg_goes_on_to_the_next_kernel_by_kexec() {
    let test = "a_guest_on_tcg_goes_on_to_the_next_kernel_by_kexec";
    for journey in JOURNEYS {
        let Some(journey) = Journey::of(test, journey) else { return };
        journey.check(&journey.scratch.ukivm(journey.arguments("tcg")));
    }
}

#[test]
fn a_guest_on_kvm_goes_on_to_the_next_kernel_by_kexec() {
    let test = "a_guest_on_kvm_goes_on_to_the_next_kernel_by_kexec";
    let count = if bed::runs_all() { JOURNEYS.len() } else { 1 };
    let journeys: Option<Vec<_>> =
        JOURNEYS.into_iter().take(count).map(|journey| Journey::of(test, journey)).collect();
    let Some(journeys) = journeys else { return };
    let commands: Vec<_> = journeys.iter().map(|journey| journey.arguments("kvm")).collect();
    let Some(runs) = bed::on_kvm(test, &commands) else { return };
    for (journey, ran) in journeys.iter().zip(&runs) {
        journey.check(ran);
    }
}

#[test]
fn a_kexec_that_can_t_be_says_which_step_failed() {
    let test = "a_kexec_that_can_t_be_says_which_step_failed";
    let Some(kernel) = built(test, "kernels/6.12/vmlinuz") else { return };
    if let Err(error) = ukivm::engine::tcg::qemu() {
        skip(test, &format!("no TCG: {error}"));
        return;
    }
    let scratch = Scratch::new();
    let image = uki()
        .section(".linux", fs::read(kernel).expect("a kernel"))
        .section(".initrd", kexec_initrd(b"no kernel at all", None, b"quiet"))
        .section(".cmdline", "console=ttyS0 quiet panic=-1");
    scratch.file("first.efi", image.build());
    let ran = scratch.ukivm(["run", "--engine", "tcg", "--timeout", "110", "first.efi"]);
    assert_eq!(ran.status, Some(Step::Load.status().into()), "{ran:?}");
    // ENOEXEC.
    assert!(ran.stdout.contains("kexec: error: kexec_file_load: errno 8"), "{ran:?}");
}
