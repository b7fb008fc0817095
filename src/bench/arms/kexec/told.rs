//! What a trial's process by kexec tells of its guest.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::recorder::Heard;
use crate::{
    bench::{
        arm::Error,
        arms::{
            judge::{QUIET, nanoseconds, release},
            parts::Parts,
        },
        phase::Phase,
        trial::{Proof, Trial, Unit},
    },
    digest::{Digest, hex},
    outcome::End,
    verdict::MarkName,
};

/// What a trial's process says on standard output. Times are in nanoseconds since its
/// `main` began, or in instructions since the first kernel's first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Whether times are numbers of instructions.
    pub(super) is_counted: bool,
    /// How the guest ended; none where it was ended, having come far enough.
    pub(super) end: Option<End>,
    /// What speaks against the guest, if something does.
    pub(super) finding: Option<String>,
    /// The last lines on its console.
    pub(super) console: Vec<String>,
    /// When the first kernel's init began to load the next.
    pub(super) loading: Option<u64>,
    /// When it was told to go; in a counted run, when it had said that all is loaded.
    pub(super) jump: Option<u64>,
    /// When the first kernel said that it goes, and its words.
    pub(super) starts: Option<(u64, String)>,
    /// When the second kernel, or what it runs, said the first thing.
    pub(super) first_output: Option<u64>,
    /// When the second kernel said which it is, and its words.
    pub(super) linux_version: Option<(u64, String)>,
    /// When it ran init.
    pub(super) init: Option<u64>,
    /// When the guest had ended, or come far enough.
    pub(super) over: u64,
    /// The SHA-256 of the second kernel's initrd in guest memory, or why it isn't known;
    /// none where nobody looked.
    pub(super) initrd: Option<Result<String, String>>,
    /// The SHA-256 of what was to be its initrd.
    pub(super) wanted_initrd: Option<String>,
}

impl Told {
    /// What `heard` comes to, of a guest that was over at `over`.
    pub(super) fn of(heard: &Heard, over: Duration) -> Self {
        let Heard { first, second, .. } = heard;
        let loading = first.lines().iter().find(|line| line.text.contains("kexec: from Linux"));
        let mark = |name| second.mark(name, Duration::ZERO);
        let of = |digest: &std::io::Result<Digest>| match digest {
            Ok(digest) => Ok(hex(digest)),
            Err(error) => Err(error.to_string()),
        };
        let last = if second.lines().is_empty() { first } else { second };
        Self {
            finding: first.failure().or_else(|| second.failure()),
            console: last.last_lines(),
            loading: loading.map(|line| nanoseconds(line.over)),
            jump: heard.jump.map(nanoseconds),
            starts: heard.starts.as_ref().map(|(at, text)| (nanoseconds(*at), text.clone())),
            first_output: second
                .lines()
                .iter()
                .find(|line| !line.text.trim().is_empty())
                .map(|line| nanoseconds(line.began)),
            linux_version: mark(MarkName::LinuxVersion)
                .map(|(at, text)| (nanoseconds(at), text.to_owned())),
            init: mark(MarkName::InitStarted).map(|(at, _)| nanoseconds(at)),
            over: nanoseconds(over),
            initrd: heard.initrd.as_ref().map(of),
            ..Self::default()
        }
    }
}

/// Why nobody can tell when purgatory is done.
const PURGATORY: &str =
    "nothing tells from outside when it is over: what it takes is in the next phase";
/// Why nobody can tell when the kernel has unpacked itself.
const DECOMPRESSOR: &str = "a kernel unpacks itself silently: what it takes is in the next phase";

impl Told {
    /// The trial, from the moment when the first kernel was told to go.
    pub(super) fn trial(self, parts: &Parts) -> Result<Trial, Error> {
        let (jump, starts) = self.went()?;
        let release = self.release(parts)?;
        let since = |at: u64| at.saturating_sub(jump);
        let mut proof = Proof { release, end: self.ended()?, ..Proof::default() };
        proof.more.insert("the first kernel said".to_owned(), starts.1);
        let unit = if self.is_counted { Unit::Instructions } else { Unit::Nanoseconds };
        if let Some(loading) = self.loading {
            let took = jump.saturating_sub(loading);
            let took = match unit {
                Unit::Instructions => format!("{took} instructions"),
                Unit::Nanoseconds => format!("{:.6} s", Duration::from_nanos(took).as_secs_f64()),
            };
            proof.more.insert("kexec_file_load".to_owned(), took);
        }
        let mut trial = Trial::new(unit, proof)
            .reached(Phase::Shutdown, since(starts.0))
            .without(Phase::Purgatory, PURGATORY)
            .without(Phase::Decompress, DECOMPRESSOR);
        let reached = [
            (Phase::FirstOutput, self.first_output),
            (Phase::LinuxVersion, self.linux_version.as_ref().map(|(at, _)| *at)),
            (Phase::Init, self.init),
        ];
        for (phase, at) in reached {
            trial = match at {
                Some(at) => trial.reached(phase, since(at)),
                None => trial.without(phase, QUIET),
            };
        }
        Ok(trial.reached(Phase::End, since(self.over)))
    }

    /// What a boot shows in which the second kernel was made to say what it is.
    pub(super) fn checked(self, parts: &Parts) -> Result<BTreeMap<String, String>, Error> {
        self.went()?;
        self.ended()?;
        let unseen = |what, why: &str| Error::Unseen { what, why: why.to_owned() };
        let silent = "it says nothing on the first serial port; is console=ttyS0 on the UKI's \
                      command line?";
        let release = self.release(parts)?.ok_or_else(|| unseen("the second kernel", silent))?;
        let mut shown = BTreeMap::from([("release, in a boot before".to_owned(), release)]);
        if let Some(wanted) = self.wanted_initrd {
            let found = self.initrd.ok_or_else(|| {
                unseen("the second kernel's initrd", "it did not say where in memory it is")
            })?;
            let found = found.unwrap_or_else(|why| why);
            if found != wanted {
                return Err(Error::Wrong { what: "initrd", found, wanted });
            }
            shown.insert("initrd's SHA-256 in guest memory, in a boot before".to_owned(), found);
        }
        Ok(shown)
    }

    /// When the first kernel was told to go, and when it said that it does.
    fn went(&self) -> Result<(u64, (u64, String)), Error> {
        let console = || self.console.clone();
        if let Some(how) = self.finding.clone() {
            return Err(Error::End { how, console: console() });
        }
        if let (Some(jump), Some(starts)) = (self.jump, self.starts.clone()) {
            return Ok((jump, starts));
        }
        let how = self.end.as_ref().map_or_else(String::new, |end| format!(" ({end})"));
        let how = format!("the first kernel did not go to the next{how}");
        Err(Error::End { how, console: console() })
    }

    /// The release that the second kernel said, if it did: the UKI's.
    fn release(&self, parts: &Parts) -> Result<Option<String>, Error> {
        let Some((_, line)) = &self.linux_version else { return Ok(None) };
        let found = release(line).unwrap_or_default().to_owned();
        match parts.release() {
            Some(wanted) if wanted != found => Err(Error::Wrong { what: "kernel", found, wanted }),
            _ => Ok(Some(found)),
        }
    }

    /// How the guest ended, if that is as it should.
    fn ended(&self) -> Result<String, Error> {
        match &self.end {
            None => Ok("came as far as was wanted".to_owned()),
            Some(end @ (End::PowerOff | End::Reset { .. } | End::Status { status: 0 })) => {
                Ok(end.to_string())
            }
            Some(end) => Err(Error::End { how: end.to_string(), console: self.console.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use firmware_less::testing::{bzimage, uki};

    use super::*;
    use crate::bench::{Metric, arm::Subject};

    /// The parts of a UKI whose kernel has no release.
    fn parts() -> Parts {
        use clap::Parser as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("foo.efi");
        let image = uki().section(".linux", bzimage().build()).section(".initrd", [1; 5000]);
        std::fs::write(&path, image.build()).unwrap();
        let path = path.display().to_string();
        let subject: Subject = match crate::cli::Cli::parse_from(["ukivm", "run", &path]).command {
            crate::cli::Command::Run(run) => run.job,
            other => panic!("{other:?}"),
        };
        Parts::open(&subject).unwrap()
    }

    fn told() -> Told {
        Told {
            end: Some(End::PowerOff),
            loading: Some(100),
            jump: Some(1_000),
            starts: Some((1_010, "[    4.0] kexec_core: Starting new kernel".to_owned())),
            first_output: Some(3_000),
            linux_version: Some((3_001, "Linux version 6.12.1-test (x)".to_owned())),
            init: Some(4_000),
            over: 5_000,
            initrd: Some(Ok("aa".to_owned())),
            wanted_initrd: Some("aa".to_owned()),
            ..Told::default()
        }
    }

    #[test]
    fn a_trial_begins_when_the_first_kernel_is_told_to_go() {
        let trial = told().trial(&parts()).unwrap();
        assert_eq!(trial.value(Metric::Until(Phase::Shutdown)), Some(10));
        assert_eq!(trial.value(Metric::Phase(Phase::FirstOutput)), Some(1_990));
        assert_eq!(trial.value(Metric::Until(Phase::Init)), Some(3_000));
        assert_eq!(trial.value(Metric::Until(Phase::End)), Some(4_000));
        assert_eq!(trial.proof.release.as_deref(), Some("6.12.1-test"));
        assert!(trial.proof.more["the first kernel said"].contains("Starting new kernel"));
        assert!(trial.unseen.contains_key(&Phase::Purgatory));
    }

    #[test]
    fn another_initrd_in_guest_memory_is_wrong() {
        assert!(told().checked(&parts()).is_ok());
        let other = Told { initrd: Some(Ok("bb".to_owned())), ..told() };
        let error = other.checked(&parts()).unwrap_err();
        assert_eq!(error.to_string(), "the wrong initrd was booted: bb, wanted aa");
        let none = Told { initrd: None, ..told() };
        assert!(matches!(none.checked(&parts()), Err(Error::Unseen { .. })));
    }

    #[test]
    fn a_second_kernel_that_says_nothing_is_not_taken_on_trust() {
        let silent = Told { linux_version: None, ..told() };
        assert!(silent.clone().trial(&parts()).is_ok(), "one that is measured may be quiet");
        assert!(matches!(silent.checked(&parts()), Err(Error::Unseen { .. })));
    }

    #[test]
    fn a_first_kernel_that_stays_is_no_trial() {
        let stays = Told { starts: None, end: Some(End::Status { status: 5 }), ..told() };
        let error = stays.trial(&parts()).unwrap_err();
        assert!(error.to_string().contains("did not go to the next"), "{error}");
    }
}
