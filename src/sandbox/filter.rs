//! The tables as filters in the kernel.

mod program;

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use seccompiler::{BpfProgramRef, Error, apply_filter, apply_filter_all_threads, sock_filter};

use self::program::Program;
use super::{rules::Thread, violation};
use crate::messages::say;

/// Whether this process is confined.
static IS_CONFINED: AtomicBool = AtomicBool::new(false);

/// Puts every thread of this process, and those to come, under the rules of
/// `supervisor`.
pub(super) fn confine(supervisor: Thread) {
    let confined = violation::report()
        .map_err(Error::Prctl)
        .and_then(|()| apply_filter_all_threads(filter(supervisor)));
    match confined {
        Ok(()) => IS_CONFINED.store(true, Ordering::SeqCst),
        Err(error) => say(&format!(
            "warning: no filter of system calls: {error} (does the host's kernel have seccomp?)"
        )),
    }
}

/// Whether the process is under the rules of a supervisor.
pub(crate) fn is_confined() -> bool {
    IS_CONFINED.load(Ordering::SeqCst)
}

/// Puts the calling thread under the rules of `thread` too, if the process is confined;
/// whether it is.
pub(crate) fn narrow(thread: Thread) -> bool {
    if !is_confined() {
        return false;
    }
    let empty = CapabilitySet::empty();
    // To give up what one may not have is no error.
    let none = CapabilitySets { effective: empty, permitted: empty, inheritable: empty };
    set_capabilities(None, none).ok();
    if let Err(error) = apply_filter(filter(thread)) {
        say(&format!("warning: no filter of system calls for a {thread}: {error}"));
    }
    true
}

/// A thread that starts before the process is confined, and narrows itself as soon as
/// it is.
#[derive(Debug)]
pub(crate) struct Narrowing {
    thread: Thread,
    is_done: bool,
}

impl Narrowing {
    pub(crate) fn to(thread: Thread) -> Self {
        Self { thread, is_done: false }
    }

    /// To be called before anything that came from the guest is touched.
    pub(crate) fn narrow(&mut self) {
        self.is_done = self.is_done || narrow(self.thread);
    }
}

/// Whether the kernel takes filters: one whose address is none is refused for that.
pub(crate) fn has_seccomp() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail")
        .is_ok_and(|actions| actions.split_whitespace().any(|action| action == "trap"))
}

/// The filter for `thread`.
fn filter(thread: Thread) -> BpfProgramRef<'static> {
    macro_rules! made_when_compiled {
        ($thread:expr) => {{
            const PROGRAM: Program = Program::of($thread);
            static EXACT: [sock_filter; PROGRAM.len] = PROGRAM.exact();
            &EXACT
        }};
    }
    match thread {
        Thread::Kvm => made_when_compiled!(Thread::Kvm),
        Thread::Qemu => made_when_compiled!(Thread::Qemu),
        Thread::Vcpu => made_when_compiled!(Thread::Vcpu),
        Thread::Devices => made_when_compiled!(Thread::Devices),
        Thread::Writer => made_when_compiled!(Thread::Writer),
        Thread::Reader => made_when_compiled!(Thread::Reader),
    }
}

#[cfg(test)]
mod tests;
