//! Which files can still be opened by name.

use std::{
    env, fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    PathBeneath, RestrictSelf, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use crate::{engine::Kind, messages::say};

/// What of Landlock we know. Where a kernel has less, less is asked of it.
const KNOWN: ABI = ABI::V6;

/// What a guest that is started anew, or asks why it could not run, opens.
const KVM: &str = "/dev/kvm";

/// What belongs to the system, and so to a program that was installed there.
const SYSTEM: [&str; 17] = [
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/bin",
    "/sbin",
    "/nix/store",
    "/gnu/store",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/qemu",
    "/proc",
    "/sys/devices/system",
];

/// Devices that anybody may have.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];

/// Who is confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    Us,
    /// It may signal nobody but itself.
    Qemu,
}

/// Folders in which something is to be made.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    /// Files that are open get their names there; what has one is not touched.
    pub(super) naming: Vec<PathBuf>,
    /// Files are made and replaced there.
    pub(super) writing: Vec<PathBuf>,
}

impl Outputs {
    pub(super) fn is_empty(&self) -> bool {
        self.naming.is_empty() && self.writing.is_empty()
    }

    fn allow(&self, ruleset: RulesetCreated) -> Result<RulesetCreated, RulesetError> {
        let name = BitFlags::from(AccessFs::MakeReg);
        let write = name | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::RemoveFile;
        ruleset
            .add_rules(path_beneath_rules(&self.naming, name))?
            .add_rules(path_beneath_rules(&self.writing, write))
    }
}

/// Leaves the calling thread and those that it starts what they still need.
pub(super) fn confine(engine: Kind, outputs: &Outputs) {
    let ruleset = ruleset(Whom::Us).and_then(|ruleset| outputs.allow(ruleset));
    let confined = ruleset.and_then(|ruleset| match engine {
        Kind::Kvm => {
            let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
            ruleset.add_rules(path_beneath_rules([KVM], device))?.restrict_self()
        }
        Kind::Tcg => ruleset.restrict_self(),
    });
    match confined.map(|status| status.ruleset) {
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => {}
        Ok(RulesetStatus::NotEnforced) => {
            say("warning: files are not out of reach: the host's kernel has no Landlock");
        }
        Err(error) => say(&format!("warning: files are not out of reach: {error}")),
    }
}

/// Leaves the calling thread `outputs`. What can't be had was said.
pub(super) fn confine_to(outputs: &Outputs) {
    let ruleset = ruleset(Whom::Us).and_then(|ruleset| outputs.allow(ruleset));
    ruleset.and_then(RulesetCreated::restrict_self).ok();
}

/// What the QEMU at `program` is left: its installation, the files that it is given, and
/// where it `makes_files`, a folder for them.
pub(super) fn of_qemu(
    program: &Path,
    given: &[OwnedFd],
    makes_files: bool,
) -> Option<RulesetCreated> {
    let installed = fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
    let folder = installed.parent().map(Path::to_owned);
    // Somewhere of its own, it has what it needs beside it: PREFIX/bin, PREFIX/share.
    let prefix = folder.as_deref().and_then(Path::parent);
    let beside = ["lib", "lib64", "share", "libexec"];
    let beside = prefix.into_iter().flat_map(|prefix| beside.map(|name| prefix.join(name)));
    let own: Vec<PathBuf> = folder.iter().cloned().chain(beside).collect();
    let read = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute;
    let device = AccessFs::ReadFile | AccessFs::WriteFile;
    let ruleset = ruleset(Whom::Qemu).and_then(|ruleset| {
        ruleset
            .add_rules(path_beneath_rules(SYSTEM, read))?
            .add_rules(path_beneath_rules(own, read))?
            .add_rules(path_beneath_rules(DEVICES, device))
    });
    let mut ruleset = ruleset.ok()?;
    for file in given {
        // It opens them by the number that they have. What is in no folder, as most are, needs no
        // rule and can have none.
        (&mut ruleset).add_rule(PathBeneath::new(file, device)).ok();
    }
    if !makes_files {
        return Some(ruleset);
    }
    let folder = env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), PathBuf::from);
    let make = device | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile;
    ruleset.add_rules(path_beneath_rules([folder], make)).ok()
}

/// What the kernel has of Landlock, for a person; an error is what it lacks.
pub(crate) fn landlock() -> Result<String, String> {
    // Asked for nothing, it only tells what there is.
    let status = RestrictSelf::default().no_new_privs(false).apply();
    match status.map_err(|error| error.to_string())?.landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } => {
            let version = kernel_abi.unwrap_or(effective_abi as i32);
            Ok(format!("version {version}"))
        }
        LandlockStatus::NotEnabled => Err("it is off (kernel command line: lsm=landlock,…)".into()),
        LandlockStatus::NotImplemented => Err("the kernel has none (5.13 and later can)".into()),
    }
}

/// Nothing at all.
fn ruleset(whom: Whom) -> Result<RulesetCreated, RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?;
    match whom {
        // QEMU has to be ended.
        Whom::Us => ruleset.scope(Scope::AbstractUnixSocket)?.create(),
        Whom::Qemu => ruleset.scope(Scope::from_all(KNOWN))?.create(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io, os::unix::fs::OpenOptionsExt as _, thread};

    use rustix::fs::{AtFlags, CWD, linkat};

    use super::*;

    /// What comes of `act` in a thread that is confined to naming files in `folder`.
    fn confined<T: Send>(folder: &Path, act: impl FnOnce() -> T + Send) -> T {
        let outputs = Outputs { naming: vec![folder.to_owned()], ..Outputs::default() };
        let within = || {
            rustix::thread::set_no_new_privs(true).expect("anybody may");
            confine_to(&outputs);
            act()
        };
        thread::scope(|scope| scope.spawn(within).join()).expect("it does not panic")
    }

    fn skipped(why: &str) {
        say(&format!("skipped: {why}"));
    }

    #[test]
    fn what_is_in_the_folder_of_a_report_can_be_neither_changed_nor_removed_from_within() {
        if let Err(why) = landlock() {
            return skipped(&format!("no Landlock: {why}"));
        }
        let scratch = tempfile::tempdir().expect("a folder");
        let folder = scratch.path();
        let there = folder.join("there");
        fs::write(&there, "of the user's").expect("a file");
        let other = tempfile::tempdir().expect("another folder");
        let report = File::options().write(true).custom_flags(libc::O_TMPFILE).open(folder);
        let Ok(report) = report else {
            return skipped("this file system has no files without a name");
        };
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&report);
        let name = |path: &Path| -> io::Result<()> {
            let report = format!("/proc/self/fd/{descriptor}");
            Ok(linkat(CWD, report, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
        };
        confined(folder, || {
            let refused = |what: &str, done: io::Result<()>| {
                let kind = done.expect_err(what).kind();
                assert_eq!(kind, io::ErrorKind::PermissionDenied, "{what}");
            };
            refused("read", fs::read(&there).map(drop));
            refused("written", File::options().append(true).open(&there).map(drop));
            refused("emptied", File::create(&there).map(drop));
            refused("made", fs::write(folder.join("new"), "x"));
            refused("removed", fs::remove_file(&there));
            refused("moved", fs::rename(&there, folder.join("moved")));
            refused("a folder", fs::create_dir(folder.join("folder")));
            refused("elsewhere", name(&other.path().join("report")));
            assert_eq!(name(&there).expect_err("it is there").kind(), io::ErrorKind::AlreadyExists);
            name(&folder.join("report")).expect("that is what it may");
        });
        assert_eq!(fs::read_to_string(&there).ok().as_deref(), Some("of the user's"));
        assert!(folder.join("report").exists());
    }
}
