//! The hand-off against its model: a stock kernel in QEMU does a real
//! `kexec_file_load(2)` of a kernel that stays at its first instruction, and all that
//! this finds is compared with the plan for the same inputs.
//!
//! What real kernels did is kept in `oracle/facts`, and compared with the plan each
//! time. One case is done anew each time; `make oracle` does all anew and keeps them.

/// In what a plan may differ, and why.
mod allowed;
/// What is asked.
mod cases;
/// What is kept.
mod facts;
/// What the next kernel found.
mod found;
/// The machine.
mod machine;
/// What page tables map.
mod mapping;
/// What ukivm plans.
mod planned;
/// Found or planned.
mod record;

use std::{collections::BTreeSet, env, fs, path::Path};

use firmware_less::{
    kernel::{Kernel, version},
    range::FileRange,
};
use ukivm::engine::tcg::{QemuFound, qemu};

use crate::support::{built, skip};
use allowed::Used;
use cases::{Case, KERNELS, cases};
use facts::{Facts, made_by};
use machine::{Attempt, attempt};
use record::Outcome;

/// Set by `make oracle`.
const ALL_ANEW: &str = "UKIVM_ORACLE";

/// Does `case` with the kernel at `vmlinuz`.
fn outcome(program: &Path, vmlinuz: &Path, case: &Case) -> Outcome {
    match attempt(program, vmlinuz, case) {
        Attempt::Refused(error) => Outcome::Refused(error),
        Attempt::Arrived(mut guest) => Outcome::Handed(found::found(&mut guest)),
    }
}

/// What is wrong with the plan, given what `kernel` did.
fn differences(used: &mut Used, kernel: &'static str, case: &Case, found: &Outcome) -> Vec<String> {
    let planned = planned::planned(kernel, case, found);
    let differences = match (found, &planned) {
        (Outcome::Handed(found), Outcome::Handed(planned)) => {
            used.differences(kernel, found, planned)
        }
        (Outcome::Refused(found), Outcome::Refused(planned)) if found == planned => Vec::new(),
        (Outcome::Refused(error), _) => {
            vec![format!("refused with errno {error}, but not planned so")]
        }
        (_, Outcome::Refused(error)) => vec![format!("planned to be refused with errno {error}")],
    };
    let with = |difference| format!("{kernel}, {}: {difference}", case.name);
    differences.into_iter().map(with).collect()
}

/// The version of the kernel at `vmlinuz`, its package's too.
fn kernel_version(vmlinuz: &Path) -> String {
    let image = fs::read(vmlinuz).expect("a kernel");
    let range = FileRange::first(image.len() as u64);
    let kernel = Kernel::read(image.as_slice(), range).expect("a stock kernel");
    version(image.as_slice(), range, &kernel).expect("its version")
}

/// Keeps what that kernel does now in every case. Whether it could be asked.
fn ask_anew(test: &str, kernel: &str) -> bool {
    let Some(qemu) = qemu_for(test) else { return false };
    let Some(vmlinuz) = built(test, &format!("kernels/{kernel}/vmlinuz")) else { return false };
    let outcomes = cases().into_iter().map(|case| {
        eprintln!("oracle: {kernel}, {}", case.name);
        (case.name.to_owned(), outcome(&qemu.path, &vmlinuz, &case))
    });
    let outcomes = outcomes.collect();
    Facts::new(kernel_version(&vmlinuz), qemu.version, outcomes).keep(kernel);
    true
}

fn qemu_for(test: &str) -> Option<QemuFound> {
    qemu().inspect_err(|error| skip(test, &format!("no QEMU: {error}"))).ok()
}

#[test]
fn every_hand_off_of_real_kernels_is_as_planned() {
    let test = "every_hand_off_of_real_kernels_is_as_planned";
    let mut used = Used::default();
    let mut wrong = Vec::new();
    for kernel in KERNELS {
        if env::var_os(ALL_ANEW).is_some() && !ask_anew(test, kernel) {
            return;
        }
        let facts = Facts::kept(kernel);
        assert_eq!(facts.made_by, made_by(), "what made the facts has changed: `make oracle`");
        let asked: BTreeSet<_> = cases().iter().map(|case| case.name.to_owned()).collect();
        assert_eq!(facts.cases.keys().cloned().collect::<BTreeSet<_>>(), asked);
        for case in cases() {
            wrong.extend(differences(&mut used, kernel, &case, &facts.cases[case.name]));
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    assert!(used.unused().is_empty(), "never differs:\n{}", used.unused().join("\n"));
}

#[test]
fn what_real_kernels_hand_over_today_is_as_planned() {
    let test = "what_real_kernels_hand_over_today_is_as_planned";
    let Some(qemu) = qemu_for(test) else { return };
    for (kernel, name) in [("6.1", "plain"), ("6.12", "6 GiB"), ("7", "five levels")] {
        let Some(vmlinuz) = built(test, &format!("kernels/{kernel}/vmlinuz")) else { return };
        let case = cases().into_iter().find(|case| case.name == name).expect("one of them");
        let outcome = outcome(&qemu.path, &vmlinuz, &case);
        let wrong = differences(&mut Used::default(), kernel, &case, &outcome);
        assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    }
}
