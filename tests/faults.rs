//! Verdicts on whole kernels that go wrong, each in its own way.
//!
//! The table says what each has to come to; `images/faults/README.md` says what each
//! does. A guest that outlives its fault gives the proof that all runs ask for.

use std::{sync::Mutex, thread};

use serde_json::Value;

use crate::{
    smoke::forms::result,
    support::{Ran, Scratch, bed, built, images, skip},
};

/// What a guest has to come to.
#[derive(Clone, Copy, Debug)]
struct Fault {
    image: &'static str,
    options: &'static [&'static str],
    status: i32,
    cause: &'static str,
    /// A finding that has to be there beside what decided.
    finding: Option<&'static str>,
}

/// A fault with the exit status and the cause that it has to have.
const fn fault(image: &'static str, status: i32, cause: &'static str) -> Fault {
    Fault { image, options: &[], status, cause, finding: None }
}

impl Fault {
    const fn with(self, options: &'static [&'static str]) -> Self {
        Self { options, ..self }
    }

    const fn after(self, finding: &'static str) -> Self {
        Self { finding: Some(finding), ..self }
    }

    /// The arguments of the run on `engine`, which is as slow as `pace` says.
    fn arguments(&self, engine: &str, pace: Pace) -> Vec<String> {
        let image = images().join(format!("faults/{}.efi", self.image));
        let asks_for_status = self.options.contains(&"--expect-status");
        let proof: &[&str] =
            if asks_for_status { &[] } else { &["--expect", "^ukivm-fault: proof$"] };
        let fixed = ["smoke", "--engine", engine, "--memory=256M", "--format=json"];
        let settle = ["--settle", pace.settle];
        let paced = pace.options(self);
        let words = fixed.iter().chain(&settle).chain(proof).chain(&paced).chain(self.options);
        let mut arguments: Vec<String> = words.map(ToString::to_string).collect();
        arguments.push(image.display().to_string());
        arguments
    }
}

/// How long a guest may take that is to meet a limit.
///
/// Those that are to be silent are loud until then, and so never as long without a
/// word while all is well.
#[derive(Clone, Copy, Debug)]
struct Pace {
    silence: &'static str,
    total: &'static str,
    /// How long after a failure a worse one is waited for.
    settle: &'static str,
    /// How long the flood is. Each of its bytes is an exit, and each exit some
    /// thousand instructions of the bed.
    flood: &'static str,
}

impl Pace {
    const EMULATED: Self =
        Self { silence: "10s", total: "20s", settle: "10s", flood: "ukivm.chunks=32" };
    const IN_THE_BED: Self =
        Self { silence: "45s", total: "90s", settle: "20s", flood: "ukivm.chunks=1" };

    /// The limit that such a guest is to meet, or how much it does.
    fn options(self, fault: &Fault) -> Vec<&'static str> {
        match (fault.image, fault.cause) {
            (_, "silence") => vec!["--silence-timeout", self.silence],
            (_, "time-limit-without-proof") => vec!["--timeout", self.total],
            ("flood", _) => vec!["--append", self.flood],
            _ => Vec::new(),
        }
    }
}

/// All of them, the slow ones first.
const FAULTS: &[Fault] = &[
    fault("hang-spinning", 104, "silence"),
    fault("hang-halted", 104, "halted"),
    fault("user-space-sleeps", 104, "silence"),
    fault("user-space-spins", 104, "silence"),
    fault("no-console", 104, "silence").with(&["--console=none"]),
    fault("console-elsewhere", 104, "silence"),
    fault("console-of-a-hypervisor", 104, "silence"),
    fault("kernel-corrupt-in-silence", 104, "halted"),
    fault("talks-on", 100, "time-limit-without-proof"),
    fault("reboots", 100, "reset-without-proof"),
    fault("reboots", 100, "reboot-loop").with(&["--reboot", "restart=2"]),
    fault("powers-off", 100, "power-off-without-proof"),
    fault("initrd-eats-memory", 101, "out-of-memory"),
    fault("initrd-too-big", 101, "initrd-broken").after("root-missing"),
    fault("initrd-truncated", 101, "initrd-broken").after("root-missing"),
    fault("init-killed", 101, "init-exited"),
    fault("init-exits", 101, "init-exited"),
    fault("init-missing", 101, "root-missing"),
    fault("init-unusable", 101, "init-missing"),
    fault("root-missing", 101, "root-missing"),
    fault("sysrq-crash", 101, "sysrq-crash"),
    fault("panic-after-proof", 101, "sysrq-crash"),
    fault("oops-panics", 101, "oops-panic").after("oops"),
    fault("triple-fault", 102, "triple-fault"),
    fault("oops", 103, "oops"),
    fault("general-protection", 103, "general-protection"),
    fault("bug", 103, "bug"),
    fault("warning", 103, "warning").with(&["--fail-on", "warning"]),
    fault("soft-lockup", 103, "soft-lockup"),
    // The stuck processor does not notice.
    fault("rcu-stall", 103, "rcu-stall").with(&["--cpus", "2"]),
    fault("hung-task", 103, "hung-task"),
    fault("kernel-corrupt", 103, "decompression-failed"),
    fault("warning", 0, "proven").after("warning"),
    fault("binary", 0, "proven"),
    fault("flood", 0, "proven"),
    fault("none", 0, "proven"),
    fault("status", 1, "guest-status").with(&["--append", "ukivm.status=1"]),
    fault("status", 63, "guest-status").with(&["--append", "ukivm.status=255"]),
    fault("status", 100, "status-without-proof").with(&["--append", "ukivm.status=0"]),
    fault("status", 63, "guest-status").with(&[
        "--append",
        "ukivm.status=63",
        "--expect-status",
        "64",
    ]),
    fault("status", 0, "proven").with(&["--append", "ukivm.status=64", "--expect-status", "64"]),
];

/// What is wrong with the verdict of `ran`, if anything is.
fn complaint(fault: &Fault, ran: &Ran) -> Option<String> {
    if ran.stdout.is_empty() {
        return Some(format!("{fault:?}: no report: {ran:?}"));
    }
    let report = result(&ran.stdout);
    let is_right = ran.status == Some(fault.status)
        && report["exit_status"] == fault.status
        && report["cause"] == fault.cause
        && fault.finding.is_none_or(|name| findings(&report).any(|one| one["name"] == name))
        && (fault.status != 101 || has_whole_trace(&report));
    (!is_right).then(|| format!("{fault:?}: {:?} {report:#}", ran.status))
}

fn findings(report: &Value) -> impl Iterator<Item = &Value> {
    report["findings"].as_array().into_iter().flatten()
}

/// Whether what is shown of a panic goes from its first line through the trace to
/// its last. That of a panic after an oops is with the oops.
fn has_whole_trace(report: &Value) -> bool {
    let is_cut = findings(report).any(|finding| finding["is_cut"] == true);
    let lines =
        findings(report).flat_map(|finding| finding["excerpt"].as_array().into_iter().flatten());
    let text: Vec<&str> = lines.filter_map(Value::as_str).collect();
    let text = text.join("\n");
    // The last that the kernel says before it stays or resets.
    let order = ["Call Trace:", "</TASK>", "Kernel Offset: "].map(|part| text.find(part));
    !is_cut
        && order.iter().all(Option::is_some)
        && order.is_sorted()
        && text.contains("Kernel panic")
}

/// Those whose image is there.
fn present(test: &str) -> Vec<&'static Fault> {
    let is_there = |fault: &&Fault| {
        let image = format!("faults/{}.efi", fault.image);
        let is_there = images().join(&image).is_file();
        if !is_there {
            skip(test, &format!("no {image}: images/build faults makes it"));
        }
        is_there
    };
    FAULTS.iter().filter(is_there).collect()
}

/// Two at a time: the hanging ones only wait.
fn on_tcg(faults: &[&Fault]) -> Vec<String> {
    let rest = Mutex::new(faults.iter());
    let complaints = Mutex::new(Vec::new());
    let next = || rest.lock().expect("no thread panics").next();
    let work = || {
        while let Some(fault) = next() {
            let ran = Scratch::new().ukivm(fault.arguments("tcg", Pace::EMULATED));
            complaints.lock().expect("no thread panics").extend(complaint(fault, &ran));
        }
    };
    thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    complaints.into_inner().expect("no thread panics")
}

#[test]
fn each_fault_gets_the_verdict_that_it_deserves_on_tcg() {
    let complaints = on_tcg(&present("each_fault_gets_the_verdict_that_it_deserves_on_tcg"));
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Some of the verdicts, for the bed, where a guest takes four times as long.
const IN_SHORT: [&str; 4] = ["hang-halted", "init-killed", "triple-fault", "oops"];

#[test]
fn each_fault_gets_the_verdict_that_it_deserves_on_kvm() {
    let test = "each_fault_gets_the_verdict_that_it_deserves_on_kvm";
    let all = bed::runs_all();
    let mut faults = present(test);
    faults.retain(|fault| all || IN_SHORT.contains(&fault.image));
    let commands: Vec<_> =
        faults.iter().map(|fault| fault.arguments("kvm", Pace::IN_THE_BED)).collect();
    let complaint = |number: usize, ran: &Ran| complaint(faults[number], ran);
    let is_wanted = |number: usize, ran: &Ran| complaint(number, ran).is_none();
    let Some(runs) = bed::on_kvm_unless(test, &commands, is_wanted) else { return };
    let complaints: Vec<_> =
        runs.iter().enumerate().filter_map(|(number, ran)| complaint(number, ran)).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// The whole report of `image` on TCG; `None`, and `test` noted as skipped, where it
/// was not made.
fn on_tcg_alone(test: &str, image: &str, options: &[&str]) -> Option<(Option<i32>, Value)> {
    let image = built(test, image)?.display().to_string();
    let fixed = ["smoke", "--engine=tcg", "--format=json", &image];
    let ran = Scratch::new().ukivm(fixed.iter().chain(options));
    Some((ran.status, result(&ran.stdout)))
}

/// That the verdict on `maker`'s initrd, which looks for a root in vain, is that.
fn names_the_missing_root(test: &str, maker: &str) {
    let image = format!("no-root-{maker}.efi");
    let Some((status, report)) = on_tcg_alone(test, &image, &[]) else { return };
    assert_eq!(status, Some(103), "{report:#}");
    assert_eq!(report["cause"], "root-missing", "{report:#}");
}

#[test]
fn initramfs_tools_initrd_names_the_root_that_is_missing() {
    let test = "initramfs_tools_initrd_names_the_root_that_is_missing";
    names_the_missing_root(test, "initramfs-tools");
}

#[test]
fn dracut_s_initrd_names_the_root_that_is_missing() {
    names_the_missing_root("dracut_s_initrd_names_the_root_that_is_missing", "dracut");
}

#[test]
fn what_killed_init_is_shown_with_the_panic() {
    let test = "what_killed_init_is_shown_with_the_panic";
    let Some((_, report)) = on_tcg_alone(test, "faults/init-killed.efi", &["--memory=256M"]) else {
        return;
    };
    let panic = findings(&report).find(|one| one["name"] == "init-exited").expect("a panic");
    let excerpt = panic["excerpt"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let lines: Vec<_> = excerpt.collect();
    let segfault = lines.iter().position(|line| line.contains("die[1]: segfault at 0 ip"));
    let panic = lines.iter().position(|line| line.contains("Kernel panic - not syncing: Att"));
    assert!(segfault.is_some() && segfault < panic, "{lines:#?}");
}
