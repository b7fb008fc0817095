//! The QEMU of this host.

use std::{env, ffi::OsString, path::PathBuf, process::Command};

use super::Error;
use crate::child;

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
    child::program(&program).ok_or(Error::NoQemu { program })
}

/// The version in the first line of `qemu --version`.
fn version(said: &str) -> Option<&str> {
    said.lines().next()?.strip_prefix("QEMU emulator version ")
}

#[cfg(test)]
mod tests {
    use super::*;

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
