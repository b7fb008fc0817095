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

/// Leaves the calling thread and those that it starts what they still need.
pub(super) fn confine(engine: Kind, outputs: &[PathBuf]) {
    let ruleset = ruleset(Whom::Us).and_then(|ruleset| writable(ruleset, outputs));
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

/// Leaves the calling thread `outputs`, to be written. What can't be had was said.
pub(super) fn confine_to(outputs: &[PathBuf]) {
    let ruleset = ruleset(Whom::Us).and_then(|ruleset| writable(ruleset, outputs));
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

/// The folder of the file at `path`.
pub(super) fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
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

/// And files made in `folders`, and those that are there written.
fn writable(ruleset: RulesetCreated, folders: &[PathBuf]) -> Result<RulesetCreated, RulesetError> {
    let write: BitFlags<AccessFs> =
        AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile;
    ruleset.add_rules(path_beneath_rules(folders, write))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_folder_is_in_this_one() {
        assert_eq!(folder(Path::new("result.json")), Path::new("."));
        assert_eq!(folder(Path::new("a/result.json")), Path::new("a"));
        assert_eq!(folder(Path::new("/result.json")), Path::new("/"));
    }
}
