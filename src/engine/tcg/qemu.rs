//! The QEMU of this host.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
};

use super::Error;

/// Names another QEMU than the one in `PATH`.
pub const OVERRIDE: &str = "UKIVM_QEMU";

const PROGRAM: &str = "qemu-system-x86_64";

/// A QEMU that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QemuFound {
    /// The program.
    pub path: PathBuf,
    /// Its version as it says it, such as `7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)`.
    pub version: String,
}

impl QemuFound {
    /// The CPU to ask for: all that TCG can do and does right.
    ///
    /// Before version 8, `cmpxchg16b` leaves garbage in RFLAGS, which the next
    /// flag-setting instruction hides; an interrupt in between saves it, and the
    /// kernel's `iret` faults. Linux's allocator uses it once every boot or so.
    #[must_use]
    pub fn cpu(&self) -> &'static str {
        let major = self.version.split('.').next().and_then(|major| major.parse().ok());
        match major {
            Some(0..8_u32) => "max,cx16=off",
            _ => "max",
        }
    }
}

/// Whether there is a QEMU; it is not asked anything.
pub fn installed() -> Result<(), Error> {
    find().map(drop)
}

/// Which QEMU the TCG engine would run, and its version: it is asked.
pub fn qemu() -> Result<QemuFound, Error> {
    let path = find()?;
    let output = Command::new(&path).arg("--version").output();
    let output = output.map_err(|source| Error::Start { path: path.clone(), source })?;
    let said = String::from_utf8_lossy(&output.stdout);
    match version(&said) {
        Some(version) => Ok(QemuFound { path, version: version.to_owned() }),
        None => {
            Err(Error::NotQemu { path, said: said.lines().next().unwrap_or_default().to_owned() })
        }
    }
}

/// The path of the program that the TCG engine runs.
fn find() -> Result<PathBuf, Error> {
    let program = env::var_os(OVERRIDE).unwrap_or_else(|| OsString::from(PROGRAM));
    let path = env::var_os("PATH").unwrap_or_default();
    search(&program, &path).ok_or(Error::NoQemu { program })
}

/// As a shell does: names with a slash are paths, others are looked for.
fn search(program: &OsStr, path: &OsStr) -> Option<PathBuf> {
    let executable = |candidate: &PathBuf| {
        candidate.is_file() && rustix::fs::access(candidate, rustix::fs::Access::EXEC_OK).is_ok()
    };
    if Path::new(program).components().count() > 1 {
        return Some(PathBuf::from(program)).filter(executable);
    }
    env::split_paths(path).map(|folder| folder.join(program)).find(executable)
}

/// The version in the first line of `qemu --version`.
fn version(said: &str) -> Option<&str> {
    said.lines().next()?.strip_prefix("QEMU emulator version ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_for_as_a_shell_would() {
        let search = |program: &str| search(OsStr::new(program), OsStr::new("/nowhere:/bin"));
        assert_eq!(search("sh"), Some(PathBuf::from("/bin/sh")));
        assert_eq!(search("/bin/sh"), Some(PathBuf::from("/bin/sh")));
        assert_eq!(search("no-such-program"), None);
        assert_eq!(search("/bin"), None, "a folder can't be run");
        assert_eq!(search("/etc/passwd"), None, "nor can a file that is no program");
    }

    #[test]
    fn the_version_is_what_qemu_says_after_its_name() {
        let said = "QEMU emulator version 7.2.22 (Debian 1:7.2)\nCopyright (c) 2003-2022\n";
        assert_eq!(version(said), Some("7.2.22 (Debian 1:7.2)"));
        assert_eq!(version("busybox"), None);
    }

    #[test]
    fn only_an_old_qemu_is_not_trusted_with_cmpxchg16b() {
        let cpu = |version: &str| QemuFound { path: "qemu".into(), version: version.into() }.cpu();
        assert_eq!(cpu("7.2.22 (Debian 1:7.2)"), "max,cx16=off");
        assert_eq!(cpu("8.0.0"), "max");
        assert_eq!(cpu("10.0.2"), "max");
    }

    #[test]
    fn a_missing_qemu_names_the_package() {
        let error = Error::NoQemu { program: OsString::from(PROGRAM) };
        assert_eq!(
            error.to_string(),
            "qemu-system-x86_64 not found, try: apt-get install qemu-system-x86"
        );
    }
}
