//! When things happened, counted from the start of `main`: what the host's kernel
//! and the dynamic linker do before is not in it (`benches/README.md` has it).

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::readiness::{Notice, Readiness};

/// Something worth a time. Only the first of each counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Milestone {
    /// The program's `main` began.
    ProcessStart,
    /// The files are open, and verified where that was asked for.
    FilesOpened,
    /// The UKI is parsed and checked.
    ImageParsed,
    /// The kernel is unpacked, on the host.
    KernelUnpacked,
    /// What runs the guest's code is settled.
    EngineChosen,
    /// The plan is made.
    Planned,
    /// The VM exists.
    VmCreated,
    /// The digest over what is to be loaded is computed: on KVM, beside loading.
    SourcesDigested,
    /// Guest memory holds the plan, or all of it that the guest needs at once.
    MemoryLoaded,
    /// The digest was found in guest memory.
    MemoryVerified,
    /// The boot processor is about to run its first instruction.
    FirstEntry,
    /// Guest memory holds what it lacked when the guest already ran.
    RestLoaded,
    /// The first exit to the monitor.
    FirstExit,
    /// The first byte on the guest's console.
    FirstConsoleByte,
    /// The kernel printed its "Linux version" line.
    LinuxVersion,
    /// The kernel said that it runs init.
    InitStarted,
    /// The system said that it is ready.
    SystemReady,
    /// The run was over.
    End,
}

impl Milestone {
    /// Every milestone, in the order in which they come.
    pub const ALL: [Self; 18] = [
        Self::ProcessStart,
        Self::FilesOpened,
        Self::ImageParsed,
        Self::KernelUnpacked,
        Self::EngineChosen,
        Self::Planned,
        Self::VmCreated,
        Self::SourcesDigested,
        Self::MemoryLoaded,
        Self::MemoryVerified,
        Self::FirstEntry,
        Self::RestLoaded,
        Self::FirstExit,
        Self::FirstConsoleByte,
        Self::LinuxVersion,
        Self::InitStarted,
        Self::SystemReady,
        Self::End,
    ];

    /// Why it has no time, where it has none.
    #[must_use]
    pub fn reason_unseen(self, engine_counts_exits: bool) -> &'static str {
        match self {
            Self::FirstExit if !engine_counts_exits => "this engine does not show exits",
            Self::KernelUnpacked => "only with --handoff direct",
            Self::SourcesDigested | Self::MemoryVerified => "only with --digest",
            Self::RestLoaded => "all was loaded before the first entry",
            Self::SystemReady => "only with --notify, and where the system says so",
            Self::FirstConsoleByte => "the guest wrote nothing to its console",
            Self::LinuxVersion | Self::InitStarted => {
                "the kernel did not print it on the console (loglevel, quiet or no console)"
            }
            _ => "it was not reached",
        }
    }
}

/// A byte that the guest wrote to the milestone port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestMilestone {
    /// The byte.
    pub value: u8,
    /// Since the start of `main`, in microseconds.
    pub at_us: u64,
}

/// The most bytes from the milestone port that are kept: a guest may write
/// without end.
const GUEST_MILESTONES_MAX: usize = 4096;

/// The times of one run.
#[derive(Clone, Debug)]
pub struct Timeline {
    start: Instant,
    times: Vec<(Milestone, Duration)>,
    guest: Vec<GuestMilestone>,
    readiness: Readiness,
}

impl Timeline {
    /// A timeline that counts from `start`.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        let times = vec![(Milestone::ProcessStart, Duration::ZERO)];
        Self { start, times, guest: Vec::new(), readiness: Readiness::default() }
    }

    /// What times are counted from.
    #[must_use]
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Notes that `milestone` is now, unless it was before; if so, the time.
    pub fn mark(&mut self, milestone: Milestone) -> Option<Duration> {
        if self.at(milestone).is_some() {
            return None;
        }
        let now = self.start.elapsed();
        self.times.push((milestone, now));
        Some(now)
    }

    /// As [`Timeline::mark`], for whoever does not want to know the time.
    pub fn note(&mut self, milestone: Milestone) {
        self.mark(milestone);
    }

    /// The guest runs again: its end is still to come.
    pub fn run_again(&mut self) {
        self.times.retain(|(milestone, _)| *milestone != Milestone::End);
        self.readiness = Readiness::default();
    }

    /// Notes a byte on the milestone port, and gives the note where it is kept.
    pub fn mark_guest(&mut self, value: u8) -> Option<GuestMilestone> {
        if self.guest.len() >= GUEST_MILESTONES_MAX {
            return None;
        }
        let milestone = GuestMilestone { value, at_us: micros(self.start.elapsed()) };
        self.guest.push(milestone);
        Some(milestone)
    }

    /// Notes what the system in the guest says of itself; the time, if it is ready now and
    /// was not before.
    pub fn notice(&mut self, notice: Notice) -> Option<Duration> {
        let is_ready = notice == Notice::Ready;
        self.readiness.note(notice, self.start.elapsed());
        if is_ready { self.mark(Milestone::SystemReady) } else { None }
    }

    /// What the system in the guest has said of itself.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// When `milestone` was, since the start of `main`.
    #[must_use]
    pub fn at(&self, milestone: Milestone) -> Option<Duration> {
        self.times.iter().find(|(known, _)| *known == milestone).map(|(_, at)| *at)
    }

    /// What the guest wrote to the milestone port.
    #[must_use]
    pub fn guest(&self) -> &[GuestMilestone] {
        &self.guest
    }
}

/// `duration` in whole microseconds.
#[must_use]
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_of_a_milestone_counts() {
        let mut timeline = Timeline::new(Instant::now());
        timeline.mark(Milestone::FirstExit);
        let first = timeline.at(Milestone::FirstExit);
        std::thread::sleep(Duration::from_millis(2));
        timeline.mark(Milestone::FirstExit);
        assert_eq!(timeline.at(Milestone::FirstExit), first);
        assert_eq!(timeline.at(Milestone::End), None);
    }

    #[test]
    fn a_guest_that_floods_the_milestone_port_is_bounded() {
        let mut timeline = Timeline::new(Instant::now());
        let kept = (0..10_000).filter_map(|_| timeline.mark_guest(7)).count();
        assert_eq!(kept, GUEST_MILESTONES_MAX);
        assert_eq!(timeline.guest().len(), GUEST_MILESTONES_MAX);
    }
}
