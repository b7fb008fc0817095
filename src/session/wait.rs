//! Waiting for the end of a run, and what ends one by itself.

use std::{
    sync::{MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::AsFd,
};

use super::{Milestone, Session};
use crate::{
    outcome::{End, Sample},
    vigil::Vigil,
};

/// How long a panicked guest may be silent before the run ends: by then its
/// trace is printed, and nothing but a reset can follow.
const PANIC_SILENCE: Duration = Duration::from_secs(3);
/// How long a line without end stands before it is taken for a prompt: longer than
/// a busy host keeps a guest from finishing its line.
const PROMPT: Duration = Duration::from_secs(1);
/// How often that is looked at.
const TICK: Duration = Duration::from_millis(250);

impl Session {
    /// When the engine is to look at what each vCPU is at, and to say so to
    /// [`Session::glanced`]; `None` as long as nobody wants to know.
    pub fn glance_due(&self) -> Option<Instant> {
        let due = self.vigil().due(self.life()?);
        self.limits.start.checked_add(due)
    }

    /// The vCPUs, `cpus` in all, were seen at `samples`. Ends the run of a guest
    /// that has stopped for good.
    pub fn glanced(&self, samples: &[Sample], cpus: usize) {
        let Some(life) = self.life() else { return };
        let at = self.limits.start.elapsed();
        if self.vigil().look(at, life, samples, cpus) {
            self.end(End::Halted);
        }
    }

    /// When a watched guest last showed life.
    fn life(&self) -> Option<Duration> {
        let is_watched = self.is_watched && !self.is_over();
        let entered = self.shared.lock().timeline.at(Milestone::FirstEntry);
        let entered = entered.filter(|_| is_watched)?;
        Some(self.watch().last_byte().unwrap_or_default().max(entered))
    }

    fn vigil(&self) -> MutexGuard<'_, Vigil> {
        self.vigil.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the run is over: ended by the engine, by a signal, by the
    /// time limit, by the escape key.
    pub fn wait(&self) -> End {
        self.wait_and_glance(&mut || {})
    }

    /// As [`Session::wait`], and calls `glance` when [`Session::glance_due`] is due.
    pub fn wait_and_glance(&self, glance: &mut dyn FnMut()) -> End {
        loop {
            // First: a signal that is taken here ends nothing any more, and nobody else
            // would see it.
            if let Some(end) = self.shared.ended() {
                self.release();
                return end;
            }
            if let Some(signal) = self.signal() {
                self.signalled(signal);
                continue;
            }
            self.look_at_size();
            if self.glance_due().is_some_and(|at| at <= Instant::now()) {
                glance();
            }
            let tick = self.is_watched.then(|| self.look_for_a_prompt()).flatten();
            match self.next_deadline() {
                Some((at, end)) if at <= Instant::now() => self.end(end),
                deadline => {
                    let deadline = deadline.map(|(at, _)| at);
                    self.sleep_until(deadline.into_iter().chain(tick).min());
                }
            }
        }
    }

    /// Looks at a line without end when it has stood for a while; when to look
    /// again.
    fn look_for_a_prompt(&self) -> Option<Instant> {
        let at = self.limits.start.elapsed();
        let mut watch = self.watch();
        if watch.last_byte().is_some_and(|last| last.saturating_add(PROMPT) <= at) {
            watch.pause(at, &mut |mark| self.shared.saw(mark));
        }
        Instant::now().checked_add(TICK)
    }

    /// What happens by itself next, and when.
    fn next_deadline(&self) -> Option<(Instant, End)> {
        let state = self.shared.lock();
        let (entered, panicked) = (state.timeline.at(Milestone::FirstEntry), state.panicked);
        let panic = state.panicked.then(|| state.last_output.checked_add(PANIC_SILENCE));
        let panic = panic.flatten().map(|at| (at, End::Panic));
        drop(state);
        let limit = self.limits.time_limit.and_then(|limit| self.limits.start.checked_add(limit));
        let limit = limit.map(|at| (at, End::TimeLimit));
        let due = self.watch().due(entered, panicked);
        let due = due.and_then(|(at, end)| Some((self.limits.start.checked_add(at)?, end)));
        [panic, limit, due, self.grace_deadline()].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn sleep_until(&self, deadline: Option<Instant>) {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = vec![PollFd::new(&self.shared.wake, PollFlags::IN)];
        let signals = self.signals.get().map(|signals| signals.fd());
        fds.extend(signals.map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)));
        // An interrupted or failed wait is only a short one.
        let _ = poll(&mut fds, timeout.as_ref());
        let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
    }
}
