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
        if self.is_before(8, 0) { "max,cx16=off" } else { "max" }
    }

    /// How many threads execute the guest's vCPUs: `multi`, one for each, or `single`, one
    /// for all by turns.
    ///
    /// Before version 8.1, a thread translates code without holding its page: what another
    /// vCPU writes there in that moment is not noticed, and the old code is executed from then on.
    /// Linux rewrites its code as it boots (`arch/x86/kernel/alternative.c`,
    /// `text_poke_bp_batch`) and meets the breakpoint that it has already taken away, which
    /// looks like a kernel's own fault: "Oops: int3".
    #[must_use]
    pub fn threads(&self) -> &'static str {
        if self.is_before(8, 1) { "single" } else { "multi" }
    }

    /// Whether it is older than that version; one that can't be read is not.
    fn is_before(&self, major: u32, minor: u32) -> bool {
        let mut numbers = self.version.split('.').map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(its_major)), Some(Ok(its_minor))) => (its_major, its_minor) < (major, minor),
            _ => false,
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

    fn of_version(version: &str) -> QemuFound {
        QemuFound { path: "qemu".into(), version: version.into() }
    }

    #[test]
    fn only_an_old_qemu_is_not_trusted_with_cmpxchg16b() {
        assert_eq!(of_version("7.2.22 (Debian 1:7.2)").cpu(), "max,cx16=off");
        assert_eq!(of_version("8.0.0").cpu(), "max");
        assert_eq!(of_version("10.0.2").cpu(), "max");
    }

    #[test]
    fn only_an_old_qemu_is_not_trusted_with_code_that_another_vcpu_rewrites() {
        assert_eq!(of_version("7.2.22 (Debian 1:7.2)").threads(), "single");
        assert_eq!(of_version("8.0.5").threads(), "single");
        assert_eq!(of_version("8.1.0").threads(), "multi");
        assert_eq!(of_version("10.0.2").threads(), "multi");
        assert_eq!(of_version("unheard of").threads(), "multi");
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
