//! Other monitors for KVM: which is installed, and in which version.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::parts::{Inherited, Parts};
use crate::{
    bench::arm::{Error, Mode, Why},
    child,
    engine::Kind,
};

/// A monitor that is a single program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// How the program is called.
    pub(super) name: &'static str,
    /// What stands before its version where it says it.
    pub(super) before_version: &'static str,
    /// Where to get it.
    pub(super) from: &'static str,
}

/// A version: major and minor. What follows does not matter here.
pub(super) type Version = (u32, u32);

/// A monitor that is installed.
#[derive(Debug)]
pub(super) struct Installed {
    pub(super) path: PathBuf,
    pub(super) version: Version,
    /// As it says it.
    pub(super) said: String,
}

impl Installed {
    /// The kernel in the form that it takes, and which that is: bzImages only since
    /// `takes_bzimage`.
    pub(super) fn kernel(
        &self,
        parts: &Parts,
        takes_bzimage: Version,
    ) -> Result<(Inherited, &'static str), Error> {
        if self.version >= takes_bzimage {
            Ok((parts.bzimage()?, "bzImage"))
        } else {
            Ok((parts.vmlinux()?, "vmlinux, unpacked beforehand"))
        }
    }
}

impl Peer {
    /// Whether it can be used where guests are run by `engine`.
    pub(super) fn available(self, engine: Kind, mode: Mode) -> Result<(), Why> {
        if mode == Mode::Count {
            let reason = "its instructions can't be counted: it needs KVM".to_owned();
            return Err(Why { reason, mend: None });
        }
        let installed = self.installed()?;
        if engine != Kind::Kvm {
            let reason = format!("{} needs KVM, and the engine is {engine}", self.name);
            let mend = Some("run it where `ukivm doctor` says that KVM works".to_owned());
            return Err(Why { reason, mend });
        }
        drop(installed);
        Ok(())
    }

    /// What is installed, for a trial that was said to be possible.
    pub(super) fn found(self) -> Result<Installed, Error> {
        let failed = |why: Why| Error::Program {
            program: PathBuf::from(self.name),
            what: why.reason,
            source: None,
        };
        self.installed().map_err(failed)
    }

    /// Its version, where it is installed.
    pub(super) fn versions(self) -> Vec<(String, String)> {
        let version = self.installed().map(|found| (self.name.to_owned(), found.said));
        version.into_iter().collect()
    }

    fn installed(self) -> Result<Installed, Why> {
        let why = |reason: String| Why { reason, mend: Some(format!("get it from {}", self.from)) };
        let path = child::program(OsStr::new(self.name))
            .ok_or_else(|| why(format!("no program {} in PATH", self.name)))?;
        let said = ask(&path).map_err(why)?;
        let version = self.version(&said);
        let (said, version) = version.ok_or_else(|| {
            let first = said.lines().next().unwrap_or_default();
            why(format!(
                "{} --version said {first:?}, not {:?} and a version",
                path.display(),
                self.before_version
            ))
        })?;
        Ok(Installed { path, version, said })
    }

    /// The version in what it says when it is asked.
    fn version(self, said: &str) -> Option<(String, Version)> {
        let (_, rest) = said.split_once(self.before_version)?;
        let word = rest.split_whitespace().next()?;
        let mut numbers = word.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let major = numbers.next()?.ok()?;
        let minor = numbers.next().and_then(Result::ok).unwrap_or(0);
        Some((word.to_owned(), (major, minor)))
    }
}

/// What a program says of its version.
fn ask(path: &Path) -> Result<String, String> {
    let mut command = Command::new(path);
    let output = command.arg("--version").stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{} can't be started: {error}", path.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Peer = Peer { name: "peer", before_version: "Peer v", from: "nowhere" };

    #[test]
    fn the_version_is_read_from_what_it_says() {
        let version = |said| PEER.version(said);
        assert_eq!(version("Peer v1.17.0\n\nmore\n"), Some(("1.17.0".to_owned(), (1, 17))));
        assert_eq!(version("Peer v39.0"), Some(("39.0".to_owned(), (39, 0))));
        assert_eq!(version("Peer v1.17-dev").map(|(_, version)| version), Some((1, 17)));
        assert_eq!(version("Peer v39").map(|(_, version)| version), Some((39, 0)));
        assert_eq!(version("Peer"), None);
        assert_eq!(version("Peer vast"), None);
    }

    #[test]
    fn a_peer_that_is_not_installed_says_where_it_is_from() {
        let peer = Peer { name: "ukivm-no-such-peer", ..PEER };
        let why = peer.available(Kind::Kvm, Mode::Time).unwrap_err();
        assert_eq!(why.reason, "no program ukivm-no-such-peer in PATH");
        assert_eq!(why.mend.as_deref(), Some("get it from nowhere"));
        assert!(peer.versions().is_empty());
    }
}
