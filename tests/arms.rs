//! Other ways to boot a UKI, as benchmarks use them.

use std::{sync::atomic::AtomicBool, time::Duration};

use clap::Parser as _;
use ukivm::{
    bench::{Arm, Mode, Phase, Request, Trial, Until, arm, arms},
    cli::{Cli, Command, JobOptions},
    engine::Kind,
};

use crate::support::{built, skip};

/// What `ukivm run` would make of these arguments.
fn subject(arguments: &[&str]) -> JobOptions {
    match Cli::parse_from(["ukivm", "run"].iter().chain(arguments)).command {
        Command::Run(run) => run.job,
        other => panic!("not run: {other:?}"),
    }
}

/// The arm of that name on the TCG engine; `None`, and `test` noted as skipped,
/// where it can't be used.
fn arm(test: &str, name: &str) -> Option<Box<dyn Arm>> {
    let arm = arms::others(Kind::Tcg).into_iter().find(|arm| arm.name() == name);
    let arm = arm.expect("that arm");
    match arm.available(Mode::Time) {
        Ok(()) => Some(arm),
        Err(why) => {
            skip(test, &format!("no arm {name}: {why}"));
            None
        }
    }
}

fn trial(arm: &dyn Arm, subject: &JobOptions, time_limit: Duration) -> Result<Trial, arm::Error> {
    let stop = AtomicBool::new(false);
    arm.trial(&Request { subject, mode: Mode::Time, until: Until::End, time_limit, stop: &stop })
}

#[test]
fn qemu_boots_the_parts_that_ukivm_would_hand_over() {
    let test = "qemu_boots_the_parts_that_ukivm_would_hand_over";
    let Some(uki) = built(test, "demo.efi") else { return };
    let Some(arm) = arm(test, "qemu") else { return };
    let uki = uki.display().to_string();
    let subject = subject(&["--append", "loglevel=7", &uki]);
    let trial = trial(&*arm, &subject, Duration::from_mins(2)).expect("a boot");
    let ends: Vec<_> = trial.phases.iter().map(|span| span.phase).collect();
    assert_eq!(ends, [Phase::FirstOutput, Phase::LinuxVersion, Phase::Init, Phase::End]);
    assert!(trial.proof.release.is_some_and(|release| release.starts_with("6.12.")));
    assert_eq!(trial.proof.more["command line"], "console=ttyS0 quiet panic=-1 loglevel=7");
    assert!(arm.versions().iter().any(|(name, _)| name == "QEMU"));
}

#[test]
fn a_trial_of_another_program_ends_with_its_time() {
    let test = "a_trial_of_another_program_ends_with_its_time";
    let Some(uki) = built(test, "demo.efi") else { return };
    let Some(arm) = arm(test, "qemu") else { return };
    let subject = subject(&[&uki.display().to_string()]);
    let error = trial(&*arm, &subject, Duration::from_millis(300)).expect_err("no time");
    assert!(matches!(error, arm::Error::TimeLimit { .. }), "{error}");
}

#[test]
fn a_monitor_that_is_not_there_says_so_and_where_it_is_from() {
    for name in ["firecracker", "cloud-hypervisor"] {
        let arms = arms::others(Kind::Tcg);
        let arm = arms.iter().find(|arm| arm.name() == name).expect("that arm");
        // Be it installed or not: this engine is not theirs.
        let why = arm.available(Mode::Time).expect_err("no KVM");
        assert!(why.mend.is_some(), "{why}");
        assert!(why.reason.contains(name), "{why}");
    }
}
