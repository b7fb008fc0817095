//! The stretches of a boot.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A stretch of a boot, named by what is done in it.
///
/// They are in the order in which they end. An arm has those that it can tell
/// apart, and the next one that it has takes in what it can't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The process is started, up to its `main`.
    Start,
    /// The first kernel of a real kexec boots, up to the program that loads the next.
    FirstKernel,
    /// `kexec_file_load(2)`.
    KexecLoad,
    /// From `reboot(LINUX_REBOOT_CMD_KEXEC)` until the first kernel is left.
    Shutdown,
    /// Purgatory, which verifies the digest.
    Purgatory,
    /// The firmware, until it starts the UKI.
    Firmware,
    /// The UKI's own stub, until the kernel is entered.
    Stub,
    /// The files are opened, and verified where that is asked for.
    Open,
    /// The UKI is read and checked, and what its kernel is to be given is settled.
    Parse,
    /// The kernel is unpacked by ukivm, or found unpacked in its cache, only with
    /// `--handoff direct`.
    Unpack,
    /// The engine is looked at.
    Engine,
    /// The plan is made.
    Plan,
    /// The VM is made; beside the loading where an engine can.
    Vm,
    /// The digest over what is to be loaded is computed, only with `--digest`; beside the
    /// loading, too.
    Digest,
    /// Guest memory is filled.
    Load,
    /// The digest is verified over guest memory, only with `--digest`.
    Verify,
    /// Processors are set up, and whatever is left to do before the first instruction.
    Entry,
    /// The kernel unpacks itself.
    Decompress,
    /// Up to the first byte on the console.
    FirstOutput,
    /// Up to the "Linux version" line on the console.
    LinuxVersion,
    /// Up to the kernel's word that it runs init.
    Init,
    /// Init and all that it does, until the guest ends.
    End,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 22] = [
        Self::Start,
        Self::FirstKernel,
        Self::KexecLoad,
        Self::Shutdown,
        Self::Purgatory,
        Self::Firmware,
        Self::Stub,
        Self::Open,
        Self::Parse,
        Self::Unpack,
        Self::Engine,
        Self::Plan,
        Self::Vm,
        Self::Digest,
        Self::Load,
        Self::Verify,
        Self::Entry,
        Self::Decompress,
        Self::FirstOutput,
        Self::LinuxVersion,
        Self::Init,
        Self::End,
    ];

    /// Its name, as reports have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::FirstKernel => "first-kernel",
            Self::KexecLoad => "kexec-load",
            Self::Shutdown => "shutdown",
            Self::Purgatory => "purgatory",
            Self::Firmware => "firmware",
            Self::Stub => "stub",
            Self::Open => "open",
            Self::Parse => "parse",
            Self::Engine => "engine",
            Self::Unpack => "unpack",
            Self::Digest => "digest",
            Self::Plan => "plan",
            Self::Vm => "vm",
            Self::Load => "load",
            Self::Verify => "verify",
            Self::Entry => "entry",
            Self::Decompress => "decompress",
            Self::FirstOutput => "first-output",
            Self::LinuxVersion => "linux-version",
            Self::Init => "init",
            Self::End => "end",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What is compared.
///
/// Written as it is shown: `load`, `until init`, `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Metric {
    /// How long a phase takes.
    Phase(Phase),
    /// All up to the end of a phase.
    Until(Phase),
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phase(phase) => f.pad(phase.name()),
            Self::Until(Phase::End) => f.pad("total"),
            Self::Until(phase) => f.pad(&format!("until {phase}")),
        }
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = || Phase::ALL.into_iter();
        let known = all().map(Self::Until).chain(all().map(Self::Phase));
        known.into_iter().find(|metric| metric.to_string() == text).ok_or_else(|| {
            format!("{text:?} is no metric: a phase, \"until\" and a phase, or \"total\"")
        })
    }
}

impl From<Metric> for String {
    fn from(metric: Metric) -> Self {
        metric.to_string()
    }
}

impl TryFrom<String> for Metric {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_phases_are_listed_in_order_and_named_as_they_are_written() {
        assert!(Phase::ALL.is_sorted());
        for phase in Phase::ALL {
            let written = serde_json::to_value(phase).expect("JSON");
            assert_eq!(written, phase.name());
        }
    }

    #[test]
    fn a_metric_is_read_as_it_is_written() {
        for phase in Phase::ALL {
            for metric in [Metric::Phase(phase), Metric::Until(phase)] {
                assert_eq!(metric.to_string().parse(), Ok(metric));
            }
        }
        assert_eq!(Metric::Until(Phase::End).to_string(), "total");
        assert!("until".parse::<Metric>().is_err());
    }
}
