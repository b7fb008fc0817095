//! What a trial's process by kexec tells of its guest.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::recorder::Heard;
use crate::{
    bench::arms::judge::nanoseconds,
    digest::{Digest, hex},
    outcome::End,
    verdict::MarkName,
};

/// What a trial's process says on standard output. Times are in nanoseconds since its
/// `main` began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// How the guest ended; none where it was ended, having come far enough.
    pub(super) end: Option<End>,
    /// What speaks against the guest, if something does.
    pub(super) finding: Option<String>,
    /// The last lines on its console.
    pub(super) console: Vec<String>,
    /// When the first kernel's init began to load the next.
    pub(super) loading: Option<u64>,
    /// When it was told to go.
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
