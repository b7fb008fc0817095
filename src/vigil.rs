//! Looking out for a guest that has stopped for good, so that nobody waits for it.

use std::time::Duration;

use crate::outcome::Sample;

/// How long a guest is silent before it is looked at.
const SILENT: Duration = Duration::from_secs(1);
/// How long between two looks.
const BETWEEN: Duration = Duration::from_millis(200);
/// How many looks in a row have to find every vCPU stopped: they are looked at one
/// after the other, and one may wake another in between.
const SURE: u32 = 3;

/// What was seen of a silent guest so far. Times are counted from the start of
/// `main`.
#[derive(Debug, Default)]
pub(crate) struct Vigil {
    looked: Option<Duration>,
    /// When the guest last showed life, as it was known at the last look.
    life: Duration,
    stopped: u32,
}

impl Vigil {
    /// When to look next at a guest that last showed life at `life`: was entered, or
    /// wrote something.
    pub(crate) fn due(&self, life: Duration) -> Duration {
        let silent = life.saturating_add(SILENT);
        self.looked.map_or(silent, |at| at.saturating_add(BETWEEN).max(silent))
    }

    /// Takes a look at each of `cpus` vCPUs that was taken at `at`. Whether all have
    /// stopped for good.
    pub(crate) fn look(
        &mut self,
        at: Duration,
        life: Duration,
        samples: &[Sample],
        cpus: usize,
    ) -> bool {
        if life != self.life {
            self.stopped = 0;
        }
        (self.looked, self.life) = (Some(at), life);
        self.stopped =
            if have_all_stopped(samples, cpus) { self.stopped.saturating_add(1) } else { 0 };
        self.stopped >= SURE
    }
}

fn have_all_stopped(samples: &[Sample], cpus: usize) -> bool {
    let was_seen = |cpu: usize| samples.iter().any(|one| u32::try_from(cpu) == Ok(one.cpu));
    cpus > 0 && (0..cpus).all(was_seen) && samples.iter().all(Sample::is_stopped_for_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_secs(5);
    const STOPPED: Sample =
        Sample { cpu: 0, rip: 0x10_0200, is_halted: true, takes_interrupts: false };
    const IDLE: Sample = Sample { takes_interrupts: true, ..STOPPED };
    const BUSY: Sample = Sample { is_halted: false, ..STOPPED };

    /// What each of the looks comes to.
    fn looks(looks: &[&[Sample]], cpus: usize) -> Vec<bool> {
        let mut vigil = Vigil::default();
        looks.iter().map(|samples| vigil.look(AT, AT, samples, cpus)).collect()
    }

    #[test]
    fn a_guest_has_stopped_when_it_was_found_so_three_times_in_a_row() {
        assert_eq!(looks(&[&[STOPPED], &[STOPPED], &[STOPPED]], 1), [false, false, true]);
        for other in [&[IDLE][..], &[BUSY], &[STOPPED, BUSY], &[]] {
            let seen = looks(&[&[STOPPED], &[STOPPED], other, &[STOPPED], &[STOPPED]], 1);
            assert_eq!(seen, [false; 5], "{other:?}");
        }
    }

    #[test]
    fn a_guest_that_has_written_something_has_not_stopped() {
        let mut vigil = Vigil::default();
        let mut look = |life| vigil.look(AT, life, &[STOPPED], 1);
        assert!(!look(AT) && !look(AT));
        let later = AT + Duration::from_millis(1);
        assert!(!look(later) && !look(later) && look(later));
    }

    #[test]
    fn every_vcpu_has_to_be_seen() {
        let second = Sample { cpu: 1, ..STOPPED };
        assert_eq!(looks(&[&[STOPPED][..]; 3], 2), [false; 3]);
        assert_eq!(looks(&[&[STOPPED, second][..]; 3], 2), [false, false, true]);
        let busy = Sample { cpu: 1, ..BUSY };
        assert_eq!(looks(&[&[STOPPED, busy][..]; 3], 2), [false; 3]);
    }

    #[test]
    fn it_is_looked_at_when_it_was_silent_and_then_now_and_then() {
        let mut vigil = Vigil::default();
        assert_eq!(vigil.due(AT), AT + SILENT);
        vigil.look(AT + SILENT, AT, &[], 1);
        assert_eq!(vigil.due(AT), AT + SILENT + BETWEEN);
        assert_eq!(vigil.due(AT + SILENT), AT + SILENT * 2);
    }
}
