//! The KVM engine with whole kernels: on this host where its KVM runs them, else in
//! the bed, a nested machine with a true /dev/kvm.

use std::{fs, path::PathBuf, process::Command};

use ukivm::engine::kvm;

use super::{Ran, Scratch, images, skip};

/// Whether KVM runs kernels on this very host.
pub(crate) fn kvm_works() -> bool {
    matches!(kvm::probe(), kvm::Support::Works)
}

/// Runs `ukivm` with each of `commands`, in the bed all in one. `None`, and `test`
/// noted as skipped, where KVM can't be had either way.
pub(crate) fn on_kvm(test: &str, commands: &[Vec<String>]) -> Option<Vec<Ran>> {
    if kvm_works() {
        return Some(commands.iter().map(|arguments| Scratch::new().ukivm(arguments)).collect());
    }
    if !images().join("bed/initrd").is_file() {
        skip(test, "KVM can't run kernels here, and there is no bed: images/build bed makes it");
        return None;
    }
    Some(run(commands))
}

/// Runs `ukivm` with each of `commands`, one after the other in one bed. What each
/// wrote comes back through a shared folder.
pub(crate) fn run(commands: &[Vec<String>]) -> Vec<Ran> {
    let scratch = Scratch::new();
    let line = |(number, arguments): (usize, &Vec<String>)| {
        let quoted: Vec<_> = arguments.iter().map(|word| format!("'{word}'")).collect();
        format!(
            "{} {} >$BED_SHARE/{number}.out 2>$BED_SHARE/{number}.err; echo $? >$BED_SHARE/{number}.status",
            env!("CARGO_BIN_EXE_ukivm"),
            quoted.join(" ")
        )
    };
    let script: Vec<String> = commands.iter().enumerate().map(line).collect();
    let bed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/bed/bed");
    let output = Command::new(bed)
        .args(["--timeout", "1500", "--share"])
        .arg(scratch.path())
        .args(["-c", &script.join("\n")])
        .output()
        .expect("the bed starts");
    assert!(output.status.success(), "the bed failed: {output:?}");
    let read = |name: String| {
        let bytes = fs::read(scratch.path().join(&name)).expect(&name);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let ran = |number: usize| Ran {
        status: read(format!("{number}.status")).trim().parse().ok(),
        stdout: read(format!("{number}.out")),
        stderr: read(format!("{number}.err")),
    };
    (0..commands.len()).map(ran).collect()
}
