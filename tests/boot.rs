//! Whole kernels, as distributions ship them, on both engines.
//!
//! On a host whose KVM can't run kernels, the KVM engine runs in the bed: a
//! nested machine with a true /dev/kvm.

mod direct;
mod smoke;
mod system;
mod system_map;

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::Value;

use crate::support::{Ran, Scratch, bed, built, images, run::Running, skip};

/// A run of `ukivm run` to be made.
struct Boot {
    image: PathBuf,
    cpus: u32,
    options: Vec<String>,
}

impl Boot {
    /// That image under `target/images`; `None`, and `test` noted as skipped,
    /// where it was not made.
    fn of(test: &str, image: &str) -> Option<Self> {
        Some(Self { image: built(test, image)?, cpus: 1, options: Vec::new() })
    }

    fn cpus(self, cpus: u32) -> Self {
        Self { cpus, ..self }
    }

    fn with(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(ToString::to_string));
        self
    }

    /// The arguments for `engine`; what the guest is to do comes last.
    fn arguments(&self, engine: &str) -> Vec<String> {
        let cpus = self.cpus.to_string();
        // In the bed, less than it takes to call the bed hung.
        let limit = if engine == "kvm" { "90" } else { "180" };
        let mut arguments: Vec<String> =
            ["run", "--engine", engine, "--timeout", limit, "--cpus", &cpus]
                .map(String::from)
                .into();
        arguments.push(self.image.display().to_string());
        arguments.extend(self.options.iter().cloned());
        arguments
    }

    fn on_tcg(&self) -> Ran {
        Scratch::new().ukivm(self.arguments("tcg"))
    }
}

/// Runs each of `boots` on the KVM engine: here where that works, else in the
/// bed, all in one. `None`, and `test` noted as skipped, where neither can be.
fn on_kvm(test: &str, boots: &[&Boot]) -> Option<Vec<Ran>> {
    let commands: Vec<_> = boots.iter().map(|boot| boot.arguments("kvm")).collect();
    bed::on_kvm(test, &commands)
}

/// What the test initrd said of the guest that it is in.
fn guest_facts(ran: &Ran) -> BTreeMap<&str, &str> {
    ran.facts().map(|line| line.split_once('=').unwrap_or((line, ""))).collect()
}

/// That the guest of `boot` came up whole and ended by itself.
fn assert_came_up(boot: &Boot, ran: &Ran) {
    let facts = guest_facts(ran);
    let image = boot.image.file_stem().expect("a name").to_string_lossy();
    let said = format!("{image}: {ran:?}");
    assert_eq!(ran.status, Some(0), "{said}");
    assert!(facts.contains_key("ready"), "{said}");
    assert_eq!(facts.get("nproc"), Some(&boot.cpus.to_string().as_str()), "{said}");
    let parts: Vec<&str> = image.split('-').collect();
    assert_eq!(facts.get("initrd"), parts.get(1), "{said}");
    let cmdline = format!("console=ttyS0 quiet panic=-1 ukivm.image={image}");
    assert_eq!(facts.get("cmdline"), Some(&cmdline.as_str()), "{said}");
    let release = facts.get("uname").map(|uname| uname.trim_start_matches("Linux "));
    assert!(release.is_some_and(|release| release.starts_with(parts[0])), "{said}");
}

/// The images to boot: those that the test run is for, or all there are.
fn corpus(test: &str) -> Vec<Boot> {
    let names = match std::env::var("UKIVM_CORPUS") {
        Ok(names) => names.split_whitespace().map(str::to_owned).collect(),
        Err(_) => present(),
    };
    if names.is_empty() {
        skip(test, "no corpus: images/build corpus makes it");
    }
    let boots = names.iter().filter_map(|name| Boot::of(test, &format!("corpus/{name}.efi")));
    // One vCPU and two by turns.
    boots.zip([1, 2].into_iter().cycle()).map(|(boot, cpus)| boot.cpus(cpus)).collect()
}

fn present() -> Vec<String> {
    let files = fs::read_dir(images().join("corpus")).into_iter().flatten().flatten();
    let mut names: Vec<String> = files
        .filter_map(|file| Some(file.path().file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names
}

#[test]
fn every_image_of_the_corpus_boots_on_tcg() {
    for boot in corpus("every_image_of_the_corpus_boots_on_tcg") {
        assert_came_up(&boot, &boot.on_tcg());
    }
}

#[test]
fn every_image_of_the_corpus_boots_on_kvm() {
    let test = "every_image_of_the_corpus_boots_on_kvm";
    let boots = corpus(test);
    let Some(runs) = on_kvm(test, &boots.iter().collect::<Vec<_>>()) else { return };
    for (boot, ran) in boots.iter().zip(&runs) {
        assert_came_up(boot, ran);
    }
}

const DISTRIBUTION: &str = "corpus/6.12-zstd-ukify.efi";

#[test]
fn how_a_guest_ends_is_the_exit_status_on_both_engines() {
    let test = "how_a_guest_ends_is_the_exit_status_on_both_engines";
    let ends = [
        ("ukivm.end=reboot", 0),
        ("ukivm.end=status:5", 5),
        ("ukivm.end=status:200", 63),
        ("ukivm.end=panic", 101),
    ];
    let boot = |word| Some(Boot::of(test, DISTRIBUTION)?.with(&["--", word]));
    let Some(boots) = ends.iter().map(|(word, _)| boot(word)).collect::<Option<Vec<_>>>() else {
        return;
    };
    for (boot, (word, status)) in boots.iter().zip(ends) {
        let ran = boot.on_tcg();
        assert_eq!(ran.status, Some(status), "tcg {word}: {ran:?}");
    }
    let Some(runs) = on_kvm(test, &boots.iter().collect::<Vec<_>>()) else { return };
    for (ran, (word, status)) in runs.iter().zip(ends) {
        assert_eq!(ran.status, Some(status), "kvm {word}: {ran:?}");
    }
}

#[test]
fn a_kernel_without_an_initrd_panics_and_exits_with_101() {
    let test = "a_kernel_without_an_initrd_panics_and_exits_with_101";
    let boots: Vec<_> = ["6.1", "6.12", "7"]
        .iter()
        .filter_map(|kernel| Boot::of(test, &format!("no-initrd-{kernel}.efi")))
        .collect();
    let panicked = |ran: &Ran| {
        assert_eq!(ran.status, Some(101), "{ran:?}");
        assert!(ran.stdout.contains("Kernel panic - not syncing"), "{ran:?}");
    };
    for boot in &boots {
        panicked(&boot.on_tcg());
    }
    let Some(runs) = on_kvm(test, &boots.iter().collect::<Vec<_>>()) else { return };
    runs.iter().for_each(panicked);
}

#[test]
fn memory_above_the_hole_is_the_guest_s_too() {
    let test = "memory_above_the_hole_is_the_guest_s_too";
    let Some(boot) = Boot::of(test, DISTRIBUTION) else { return };
    let boot = boot.with(&["--memory", "3G"]);
    let has_3_gib = |ran: &Ran| {
        let facts = guest_facts(ran);
        let kib = facts.get("memtotal").and_then(|total| total.trim_end_matches("kB").parse().ok());
        assert!(kib.is_some_and(|kib: u64| kib > 2_800_000), "{ran:?}");
        assert!(ran.stdout.contains("e820=100000000-"), "{ran:?}");
    };
    has_3_gib(&boot.on_tcg());
    let Some(runs) = on_kvm(test, &[&boot]) else { return };
    runs.iter().for_each(has_3_gib);
}

#[test]
fn the_timeline_has_what_the_kernel_printed() {
    let test = "the_timeline_has_what_the_kernel_printed";
    let Some(boot) = Boot::of(test, DISTRIBUTION) else { return };
    let scratch = Scratch::new();
    let boot = boot.with(&["--json=out.json", "--cmdline", "console=ttyS0"]);
    let ran = scratch.ukivm(boot.arguments("tcg"));
    let report = fs::read_to_string(scratch.path().join("out.json"));
    let report: Value = serde_json::from_str(&report.expect("a report")).expect("JSON");
    let at = |milestone: &str| report["timeline"][milestone]["at_us"].as_u64();
    let order =
        ["image_parsed", "memory_loaded", "first_entry", "linux_version", "init_started", "end"];
    let times: Vec<_> = order.iter().map(|milestone| at(milestone)).collect();
    assert!(times.iter().all(Option::is_some), "{times:?} {ran:?}");
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn what_is_typed_reaches_the_guest_s_programs() {
    let test = "what_is_typed_reaches_the_guest_s_programs";
    let Some(boot) = Boot::of(test, DISTRIBUTION) else { return };
    let boot = boot.with(&["--", "ukivm.end=cat"]);
    let scratch = Scratch::new();
    let mut running = Running::ukivm(scratch.path(), boot.arguments("tcg"));
    running.wait_for("ukivm-guest: ready");
    running.type_in(b"hello guest\nend\n");
    running.wait_for("ukivm-guest: read=hello guest");
    assert_eq!(running.status(), 0, "{}", running.seen());
}

#[test]
fn the_demo_greets() {
    let Some(boot) = Boot::of("the_demo_greets", "demo.efi") else { return };
    let ran = boot.on_tcg();
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("Hello from inside a Unified Kernel Image!"), "{ran:?}");
    assert!(ran.stderr.contains("engine tcg"), "the choice is said: {ran:?}");
}
