//! What the vCPUs of a running guest are at, looked at a number of times.

use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::thread::Pid;

use super::{vcpu::Vcpu, vm};
use crate::outcome::Sample;

/// How often vCPUs are looked at. Some looks fail: a signal that comes just before
/// KVM_RUN goes unnoticed.
const LOOKS: u32 = 24;
/// How long between two looks: no multiple of a kernel's tick.
const BETWEEN: Duration = Duration::from_micros(7_300);

/// `RFLAGS.IF`.
const INTERRUPTS: u64 = 1 << 9;

/// The looks that were taken.
#[derive(Debug, Default)]
pub(super) struct Samples {
    wanted: AtomicBool,
    taken: Mutex<Vec<Sample>>,
}

impl Samples {
    /// Interrupts the vCPUs that run on `threads` again and again, so that each
    /// notes what it is at.
    pub(super) fn take(&self, threads: &[OnceLock<Pid>]) {
        self.look(threads, LOOKS);
    }

    /// The same, but for a moment; what was noted is given, and forgotten.
    pub(super) fn glance(&self, threads: &[OnceLock<Pid>]) -> Vec<Sample> {
        self.look(threads, 1);
        std::mem::take(&mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn look(&self, threads: &[OnceLock<Pid>], looks: u32) {
        self.wanted.store(true, Ordering::SeqCst);
        for _ in 0..looks {
            threads.iter().filter_map(OnceLock::get).for_each(|thread| vm::interrupt(*thread));
            thread::sleep(BETWEEN);
        }
        self.wanted.store(false, Ordering::SeqCst);
    }

    /// For a vCPU that was interrupted: notes what it is at, if that is wanted.
    #[cold]
    pub(super) fn note(&self, id: usize, vcpu: &Vcpu<'_>) {
        if !self.wanted.load(Ordering::SeqCst) {
            return;
        }
        let (Ok(cpu), Ok(regs)) = (u32::try_from(id), vcpu.fd.get_regs()) else { return };
        // What can't be asked for runs, as far as anybody knows.
        let state =
            vcpu.fd.get_mp_state().map_or(kvm_bindings::KVM_MP_STATE_RUNNABLE, |mp| mp.mp_state);
        let sample = Sample {
            cpu,
            rip: regs.rip,
            is_halted: state != kvm_bindings::KVM_MP_STATE_RUNNABLE,
            takes_interrupts: regs.rflags & INTERRUPTS != 0,
        };
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
    }

    /// What was noted.
    pub(super) fn taken(&self) -> Vec<Sample> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
