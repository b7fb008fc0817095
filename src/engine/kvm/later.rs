//! What guest memory lacks when the guest already runs.
//!
//! Nothing reads an initrd before the kernel unpacks it, long after its first
//! instruction. So it is copied while the guest runs: elsewhere, while its place
//! is withheld, and moved there whole. Whoever comes too early waits. That is
//! not left to userfaultfd(2): it fills small pages only, and is not for
//! everybody.

use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use firmware_less::range::GuestRange;

/// How long somebody waits before looking whether there is still a reason to.
const STEP: Duration = Duration::from_millis(10);

/// Whether something is to come, and where.
#[derive(Debug, Default)]
pub(super) struct Later {
    /// Nothing was ever withheld while this is false, and nobody has to lock.
    is_used: AtomicBool,
    /// Nobody wants it any more.
    abandoned: AtomicBool,
    state: Mutex<State>,
    settled: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    There,
    Withheld(GuestRange),
    /// It will never come.
    Lost(GuestRange),
}

impl Later {
    /// `range` is to come.
    pub(super) fn withhold(&self, range: GuestRange) {
        *self.lock() = State::Withheld(range);
        self.is_used.store(true, Ordering::Release);
    }

    /// What was withheld is there.
    pub(super) fn give(&self) {
        *self.lock() = State::There;
        self.settled.notify_all();
    }

    /// What was withheld, if it is not there by now, never comes.
    pub(super) fn lose(&self) {
        let mut state = self.lock();
        if let State::Withheld(range) = *state {
            *state = State::Lost(range);
        }
        drop(state);
        self.settled.notify_all();
    }

    /// Whoever brings it need not go on.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Waits until all of `range` is there. False if it never comes.
    pub(super) fn wait_for(&self, range: GuestRange) -> bool {
        if !self.is_used.load(Ordering::Acquire) {
            return true;
        }
        let withheld =
            |state: &mut State| matches!(state, State::Withheld(at) if at.overlaps(range));
        let state = self.settled.wait_while(self.lock(), withheld);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        !matches!(*state, State::Lost(at) if at.overlaps(range))
    }

    /// Waits for whatever is withheld while `wanted` says so.
    pub(super) fn wait_while(&self, wanted: impl Fn() -> bool) {
        let withheld = |state: &mut State| matches!(state, State::Withheld(_));
        let mut state = self.lock();
        while withheld(&mut state) && wanted() {
            let result = self.settled.wait_timeout_while(state, STEP, withheld);
            state = result.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether anything ever was withheld.
    pub(super) fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Instant};

    use super::*;

    fn range(start: u64, len: u64) -> GuestRange {
        GuestRange::new(start, len).unwrap()
    }

    #[test]
    fn only_who_wants_what_is_withheld_waits_for_it() {
        let later = Later::default();
        later.withhold(range(0x1000, 0x1000));
        assert!(later.wait_for(range(0, 0x1000)));
        let came = thread::scope(|scope| {
            let waiter = scope.spawn(|| (later.wait_for(range(0x1fff, 1)), Instant::now()));
            thread::sleep(Duration::from_millis(20));
            let given = Instant::now();
            later.give();
            let (is_there, came) = waiter.join().unwrap();
            is_there && came >= given
        });
        assert!(came);
    }

    #[test]
    fn what_is_lost_is_waited_for_no_more_and_the_rest_is_there() {
        let later = Later::default();
        later.withhold(range(0x1000, 0x1000));
        later.lose();
        assert!(!later.wait_for(range(0x1800, 8)));
        assert!(later.wait_for(range(0x2000, 8)));
        later.wait_while(|| true);
    }

    #[test]
    fn losing_after_giving_takes_nothing_away() {
        let later = Later::default();
        later.withhold(range(0x1000, 0x1000));
        later.give();
        later.lose();
        assert!(later.wait_for(range(0x1000, 0x1000)));
    }

    #[test]
    fn nobody_waits_longer_than_is_wanted() {
        let later = Later::default();
        later.withhold(range(0x1000, 0x1000));
        let start = Instant::now();
        later.wait_while(|| start.elapsed() < Duration::from_millis(30));
        assert!(start.elapsed() >= Duration::from_millis(30));
    }
}
