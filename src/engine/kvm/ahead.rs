//! A VM before it is known what is to run in it.

use std::{
    sync::{Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use kvm_ioctls::{Kvm, VmFd};
use rustix::thread::sched_getaffinity;

use super::{Error, vm::create_vm};

/// In which time it is made, or waits.
const TO_WAIT: Duration = Duration::from_millis(1);

/// KVM, and a VM of it that has nothing yet.
pub(super) type Empty = (Kvm, VmFd);

/// An empty VM that is made meanwhile, for whoever comes for it first.
///
/// KVM_CREATE_VM waits where it starts a kernel thread for the VM: until all processors have
/// passed through RCU, which takes milliseconds and no work (arch/x86/kvm/mmu/mmu.c
/// `kvm_mmu_post_init_vm`, by way of kernel/cgroup/cgroup-v1.c `cgroup_attach_task_all`; until
/// Linux 6.13 at every VM). Nothing of a job has to be known for that.
#[derive(Debug, Default)]
pub struct Ahead(Mutex<Option<JoinHandle<Result<Empty, Error>>>>);

impl Ahead {
    /// Begins to make one.
    #[must_use]
    pub fn begin() -> Self {
        let (made, is_made) = mpsc::channel();
        let work = move || {
            let empty = empty();
            // Nobody may be listening.
            made.send(()).ok();
            empty
        };
        // Without a thread it is made when it is wanted.
        let making = thread::Builder::new().name("vm".into()).spawn(work);
        // A new thread comes last where there is one processor: it is to come to its wait first.
        if sched_getaffinity(None).is_ok_and(|processors| processors.count() == 1) {
            is_made.recv_timeout(TO_WAIT).ok();
        }
        Self(Mutex::new(making.ok()))
    }

    /// The one that was begun, or else another; what fails fails only now.
    pub(super) fn take(&self) -> Result<Empty, Error> {
        let begun = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        begun.and_then(|making| making.join().ok()).unwrap_or_else(empty)
    }
}

fn empty() -> Result<Empty, Error> {
    let kvm = super::open()?;
    let vm = create_vm(&kvm)?;
    Ok((kvm, vm))
}
