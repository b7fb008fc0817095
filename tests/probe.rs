//! What a kernel is handed, by its own account: the whole program runs a kernel
//! that reports everything, and each value is compared with the plan.

mod command;
mod comparison;
mod elsewhere;
mod planned;

use ukivm::exit;

use crate::support::{
    Ran, Scratch, engines,
    probe::{Report, probe_uki},
};
use comparison::Comparison;
use planned::Planned;

/// So that the plan is the same each time it is made.
const SEED: &str = "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf";
const CMDLINE: &str = "console=ttyS0 probe=\"every byte\" \u{00fc}\n";
/// An odd length, for which a digest takes a block more.
const INITRD_LEN: usize = 4096 + 59;

/// One way to run the probe.
struct Case<'a> {
    test: &'a str,
    cpus: u32,
    initrd: bool,
    /// What should arrive.
    cmdline: &'a str,
    options: Vec<&'a str>,
}

impl<'a> Case<'a> {
    fn new(test: &'a str, options: &[&'a str]) -> Self {
        Self { test, cpus: 1, initrd: true, cmdline: CMDLINE.trim_end(), options: options.to_vec() }
    }

    /// Runs the probe on `engine`, without regard to how that ends.
    fn run(&self, engine: &str) -> (Scratch, Ran) {
        let scratch = Scratch::new();
        let mut uki = probe_uki().section(".cmdline", CMDLINE);
        if self.initrd {
            uki = uki.section(".initrd", initrd());
        }
        scratch.file("probe.efi", uki.build());
        let limit = ["--timeout", "3m"];
        let arguments = ["run", "--engine", engine].into_iter().chain(limit);
        let ran = scratch.ukivm(arguments.map(str::to_owned).chain(self.arguments(&scratch)));
        (scratch, ran)
    }

    /// What `run` and `plan` are both told.
    fn arguments(&self, scratch: &Scratch) -> Vec<String> {
        let image = scratch.path().join("probe.efi");
        let image = image.to_str().expect("a path in UTF-8").to_owned();
        let cpus = self.cpus.to_string();
        let all = ["--rng-seed", SEED, "--cpus", &cpus].map(str::to_owned).into_iter();
        all.chain(self.options.iter().map(ToString::to_string)).chain([image]).collect()
    }

    /// Compares what the probe found with the plan for `engine`.
    fn check(&self, engine: &str) {
        let (scratch, ran) = self.run(engine);
        self.compare(engine, &scratch, &ran);
    }

    fn compare(&self, engine: &str, scratch: &Scratch, ran: &Ran) {
        assert_eq!(ran.status, Some(0), "{engine}: {ran:?}");
        let report = Report::read(&ran.stdout);
        let planned = Planned::of(engine, scratch, &self.arguments(scratch));
        let mut comparison = Comparison::new(engine, &report, &planned);
        comparison.processor();
        comparison.memory();
        comparison.given(self.cmdline.as_bytes(), &self.initrd_given(), SEED);
        comparison.others(self.cpus);
        comparison.end(self.test);
    }

    fn initrd_given(&self) -> Vec<u8> {
        if self.initrd { initrd() } else { Vec::new() }
    }

    fn check_on_every_engine(&self) {
        for engine in engines(self.test) {
            self.check(engine);
        }
    }
}

/// Bytes of which none is like its neighbours.
fn initrd() -> Vec<u8> {
    (0..251).cycle().step_by(7).take(INITRD_LEN).collect()
}

#[test]
fn a_kernel_finds_what_is_planned() {
    Case::new("a_kernel_finds_what_is_planned", &[]).check_on_every_engine();
}

#[test]
fn a_kernel_without_an_initrd_finds_none() {
    let test = "a_kernel_without_an_initrd_finds_none";
    Case { initrd: false, ..Case::new(test, &["--memory", "64M"]) }.check_on_every_engine();
}

#[test]
fn a_kernel_placed_as_linux_6_1_does_finds_what_is_planned() {
    let test = "a_kernel_placed_as_linux_6_1_does_finds_what_is_planned";
    Case::new(test, &["--flavour", "legacy"]).check_on_every_engine();
}

#[test]
fn a_kernel_above_four_gib_finds_what_is_planned() {
    let test = "a_kernel_above_four_gib_finds_what_is_planned";
    for engine in engines(test) {
        let case = Case::new(test, &["--memory", "6G"]);
        let (scratch, ran) = case.run(engine);
        case.compare(engine, &scratch, &ran);
        let report = Report::read(&ran.stdout);
        for name in ["rip", "rsi", "rsp", "gdtr_base", "setup_data_at"] {
            assert!(report.number(name) > 1 << 32, "{engine} {name}");
        }
    }
}

#[test]
fn purgatory_s_digest_is_that_of_what_a_kernel_finds() {
    let test = "purgatory_s_digest_is_that_of_what_a_kernel_finds";
    Case::new(test, &["--digest"]).check_on_every_engine();
    let options = ["--digest", "--flavour", "legacy", "--memory", "64M"];
    Case { initrd: false, ..Case::new(test, &options) }.check_on_every_engine();
}

#[test]
fn a_kernel_is_entered_with_five_levels_or_told_why_not() {
    let test = "a_kernel_is_entered_with_five_levels_or_told_why_not";
    let offered = |engine: &str| engine == "tcg" || kvm_takes_five_levels();
    entered_or_refused(test, &["--five-level"], offered, "five-level paging (la57)");
}

#[test]
fn a_kernel_is_entered_with_leaves_of_a_gib_or_told_why_not() {
    let test = "a_kernel_is_entered_with_leaves_of_a_gib_or_told_why_not";
    let offered = |engine: &str| engine == "tcg" || kvm_offers(0x8000_0001, |leaf| leaf.edx >> 26);
    let options = ["--leaf-size", "1G", "--memory", "5G"];
    entered_or_refused(test, &options, offered, "1 GiB pages (pdpe1gb)");
}

/// Where an engine offers what `options` ask for, the probe finds it; where not,
/// the run is refused with a message that names `feature`.
fn entered_or_refused(test: &str, options: &[&str], offered: impl Fn(&str) -> bool, feature: &str) {
    let case = Case::new(test, options);
    for engine in engines(test) {
        if offered(engine) {
            case.check(engine);
        } else {
            let (_, ran) = case.run(engine);
            assert_eq!(ran.status, Some(exit::NO_ENGINE.into()), "{engine}: {ran:?}");
            assert!(ran.stderr.contains(feature), "{}", ran.stderr);
            assert_eq!(ran.stdout, "");
        }
    }
}

/// Whether the lowest bit that `flag` takes from a CPUID leaf is one that KVM
/// supports here.
fn kvm_offers(leaf: u32, flag: fn(&kvm_bindings::kvm_cpuid_entry2) -> u32) -> bool {
    let kvm = kvm_ioctls::Kvm::new().expect("KVM");
    let cpuid = kvm.get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES).expect("CPUID");
    cpuid.as_slice().iter().any(|entry| entry.function == leaf && flag(entry) & 1 == 1)
}

/// Whether a vCPU may have five levels of page tables here: there are KVMs that offer them
/// and refuse them.
fn kvm_takes_five_levels() -> bool {
    let kvm = kvm_ioctls::Kvm::new().expect("KVM");
    let cpuid = kvm.get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES).expect("CPUID");
    let vm = kvm.create_vm().expect("a VM");
    let vcpu = vm.create_vcpu(0).expect("a vCPU");
    vcpu.set_cpuid2(&cpuid).expect("what KVM supports");
    let mut sregs = vcpu.get_sregs().expect("registers");
    // PE, NE, PG; PAE, LA57; LME, LMA; a code segment of 64 bits.
    (sregs.cr0, sregs.cr4, sregs.efer) = (0x8000_0021, 0x1020, 0x500);
    (sregs.cs.l, sregs.cs.db) = (1, 0);
    vcpu.set_sregs(&sregs).is_ok()
}

#[test]
fn of_two_vcpus_one_finds_what_is_planned_and_one_waits() {
    let test = "of_two_vcpus_one_finds_what_is_planned_and_one_waits";
    Case { cpus: 2, ..Case::new(test, &[]) }.check_on_every_engine();
}

#[test]
fn the_longest_command_line_reaches_the_kernel_whole() {
    let test = "the_longest_command_line_reaches_the_kernel_whole";
    // cmdline_size is 2047; kexec keeps 30 bytes, and the NUL takes one.
    let long = format!("{:l<2016}", "console=ttyS0 ");
    for engine in engines(test) {
        let case = Case { cmdline: &long, ..Case::new(test, &["--cmdline", &long]) };
        let (scratch, ran) = case.run(engine);
        case.compare(engine, &scratch, &ran);
    }
}
