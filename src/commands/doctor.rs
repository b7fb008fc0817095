//! `ukivm doctor`: what this host can do, and how to mend what it can't.

mod host;

use std::ffi::OsStr;

use serde::Serialize;

use crate::{
    attached::virtiofsd,
    child::program,
    cli::DoctorOptions,
    commands::{json_file::JsonFile, output_file::OutputFile, print},
    engine::{Engine, kvm, tcg},
    error::Error,
    exit,
    files::Files,
    messages::chain,
    sandbox,
};

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// Whether it is as it should be; null where an earlier check settles it, and where only
    /// some runs would need it.
    pub good: Option<bool>,
    /// What was found.
    pub found: String,
    /// A command or a step that mends it.
    pub mend: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    schema: u32,
    checks: Vec<Check>,
    engine: Option<Engine>,
}

/// Prints what was found; the status is that of a run without a usable engine
/// where there is none.
pub fn run(options: &DoctorOptions) -> Result<u8, Error> {
    let support = kvm::probe();
    let mut checks = kvm_checks(&support);
    checks.push(qemu_check());
    checks.extend(sandbox_checks());
    checks.extend(program_checks());
    let engine = Engine::best(support).ok();
    let status = if engine.is_some() { 0 } else { exit::NO_ENGINE };
    let report = Report { schema: crate::report::SCHEMA, checks, engine };
    if let Some(file) = &options.report {
        let text = host::report(&report.checks);
        OutputFile::prepare(file, &Files::default())?.write(|sink| sink.put(text.as_bytes()))?;
    } else if let Some(file) = &options.json {
        JsonFile::prepare(file, &Files::default())?.write(&report)?;
    } else {
        print(&text(&report))?;
    }
    Ok(status)
}

/// The three questions about KVM, from one probe.
fn kvm_checks(support: &kvm::Support) -> Vec<Check> {
    const QUESTIONS: [&str; 3] =
        ["/dev/kvm is there", "/dev/kvm may be opened", "KVM can run kernels"];
    let failed = match support {
        kvm::Support::Works => None,
        kvm::Support::Absent { .. } => Some(0),
        kvm::Support::NotPermitted => Some(1),
        _ => Some(2),
    };
    let check = |(number, name): (usize, &'static str)| {
        let good = match failed {
            Some(failed) if number > failed => None,
            Some(failed) => Some(number < failed),
            None => Some(true),
        };
        let (found, mend) = match good {
            Some(true) => ("yes".to_owned(), None),
            Some(false) => (support.to_string(), support.mend()),
            None => ("not looked at".to_owned(), None),
        };
        Check { name, good, found, mend }
    };
    QUESTIONS.into_iter().enumerate().map(check).collect()
}

fn qemu_check() -> Check {
    let name = "QEMU for the TCG engine";
    match tcg::qemu() {
        Ok(qemu) => Check {
            name,
            good: Some(true),
            found: format!("{} ({})", qemu.path.display(), qemu.version),
            mend: None,
        },
        Err(error) => Check {
            name,
            good: Some(false),
            found: chain(&error),
            mend: Some("apt-get install qemu-system-x86".into()),
        },
    }
}

/// What the sandbox can be made of here. No run fails for lack of it.
fn sandbox_checks() -> [Check; 2] {
    let (name, good) = ("seccomp, for the sandbox", sandbox::has_seccomp());
    let found = if good { "yes" } else { "the kernel has none, or hides it" };
    let seccomp = Check { name, good: Some(good), found: found.to_owned(), mend: None };
    let landlock = sandbox::landlock();
    let good = Some(landlock.is_ok());
    let found = landlock.unwrap_or_else(|lack| lack);
    [seccomp, Check { name: "Landlock, for the sandbox", good, found, mend: None }]
}

/// The programs that parts of a machine take. Nobody else needs them.
fn program_checks() -> [Check; 2] {
    let passt = program(OsStr::new("passt"));
    let programs = [
        ("passt, for --net user", passt, "apt-get install passt"),
        (
            "virtiofsd, for --share",
            virtiofsd(),
            "apt-get install virtiofsd, or on Debian 12 qemu-system-common",
        ),
    ];
    programs.map(|(name, path, mend)| Check {
        name,
        // Without it, most runs are as they are with it.
        good: path.is_some().then_some(true),
        mend: path.is_none().then(|| mend.to_owned()),
        found: path.map_or_else(|| "not installed".to_owned(), |path| path.display().to_string()),
    })
}

fn text(report: &Report) -> String {
    let mut lines: Vec<String> = report.checks.iter().map(line).collect();
    lines.push(match &report.engine {
        Some(engine) => format!("\n--engine auto takes {} ({})", engine.kind, engine.reason),
        None => "\nno engine is usable".into(),
    });
    lines.join("\n") + "\n"
}

fn line(check: &Check) -> String {
    let mark = match check.good {
        Some(true) => "ok  ",
        Some(false) => "FAIL",
        None => "-   ",
    };
    let mend = match &check.mend {
        Some(mend) => format!("\n      mend: {mend}"),
        None => String::new(),
    };
    format!("{mark}  {}: {}{mend}", check.name, check.found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_kvm_is_told_so_once() {
        let checks = kvm_checks(&kvm::Support::Works);
        assert!(checks.iter().all(|check| check.good == Some(true)));
    }
}
