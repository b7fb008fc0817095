//! The tables as filters in the kernel.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch, apply_filter,
    apply_filter_all_threads,
};

use super::{
    ioctls,
    rules::{self, Arguments, Thread},
    violation,
};
use crate::messages::say;

/// Whether this process is confined.
static IS_CONFINED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whose rules the thread is under.
    static THREAD: Cell<Thread> = const { Cell::new(Thread::Kvm) };
}

/// Puts every thread of this process, and those to come, under the rules of
/// `supervisor`.
pub(super) fn confine(supervisor: Thread) {
    let confined = violation::report().map_err(Error::Prctl).and_then(|()| {
        let program = program(supervisor)?;
        apply_filter_all_threads(&program)
    });
    match confined {
        Ok(()) => {
            THREAD.set(supervisor);
            IS_CONFINED.store(true, Ordering::SeqCst);
        }
        Err(error) => say(&format!(
            "warning: no filter of system calls: {error} (does the host's kernel have seccomp?)"
        )),
    }
}

/// Puts the calling thread under the rules of `thread` too, if the process is confined;
/// whether it is.
pub(crate) fn narrow(thread: Thread) -> bool {
    /// Those of threads that there may be several of.
    static OF_VCPU: OnceLock<BpfProgram> = OnceLock::new();
    static OF_DEVICES: OnceLock<BpfProgram> = OnceLock::new();
    if !IS_CONFINED.load(Ordering::SeqCst) {
        return false;
    }
    let empty = CapabilitySet::empty();
    // To give up what one may not have is no error.
    let none = CapabilitySets { effective: empty, permitted: empty, inheritable: empty };
    set_capabilities(None, none).ok();
    THREAD.set(thread);
    let compiled = || program(thread).unwrap_or_default();
    let narrowed = match thread {
        Thread::Vcpu => apply_filter(OF_VCPU.get_or_init(compiled)),
        Thread::Devices => apply_filter(OF_DEVICES.get_or_init(compiled)),
        _ => apply_filter(&compiled()),
    };
    if let Err(error) = narrowed {
        say(&format!("warning: no filter of system calls for a {thread}: {error}"));
    }
    true
}

/// Whose rules the calling thread is under.
pub(super) fn current() -> Thread {
    THREAD.get()
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

/// The filter for `thread`: what is in none of its rows is trapped.
fn program(thread: Thread) -> Result<BpfProgram, BackendError> {
    let mut rules = BTreeMap::new();
    for rule in rules::TABLE.iter().filter(|rule| rule.is_for(thread)) {
        rules.insert(rule.call, conditions(rule.arguments, thread)?);
    }
    let (refused, allowed) = (SeccompAction::Trap, SeccompAction::Allow);
    SeccompFilter::new(rules, refused, allowed, TargetArch::x86_64)?.try_into()
}

/// One of these has to hold; none means that nothing has to.
fn conditions(arguments: Arguments, thread: Thread) -> Result<Vec<SeccompRule>, BackendError> {
    let one = |number, length, operator, value| {
        SeccompRule::new(vec![SeccompCondition::new(number, length, operator, value)?])
    };
    match arguments {
        Arguments::Any => Ok(Vec::new()),
        Arguments::Masked { number, mask, value } => {
            let masked = SeccompCmpOp::MaskedEq(mask);
            Ok(vec![one(number, SeccompCmpArgLen::Qword, masked, value)?])
        }
        Arguments::Ioctl => ioctls::TABLE
            .iter()
            .filter(|ioctl| ioctl.is_for(thread))
            .map(|ioctl| one(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, u64::from(ioctl.number)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_thread_has_a_filter_that_the_kernel_takes() {
        for thread in Thread::ALL {
            let filter = program(thread).unwrap();
            // BPF_MAXINSNS, include/uapi/linux/bpf_common.h.
            assert!((50..4096).contains(&filter.len()), "{thread:?}: {}", filter.len());
        }
    }

    #[test]
    fn no_call_and_no_ioctl_has_two_rows_for_a_thread() {
        for thread in Thread::ALL {
            let rows = rules::TABLE.iter().filter(|rule| rule.is_for(thread));
            let mut calls: Vec<_> = rows.map(|rule| rule.call).collect();
            calls.sort_unstable();
            assert!(calls.windows(2).all(|pair| pair[0] != pair[1]), "{thread:?}");
        }
        let mut numbers: Vec<_> = ioctls::TABLE.iter().map(|ioctl| ioctl.number).collect();
        numbers.sort_unstable();
        assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_narrower_thread_may_nothing_that_its_supervisor_may_not() {
        for thread in [Thread::Vcpu, Thread::Devices, Thread::Writer, Thread::Reader] {
            let supervisors: &[Thread] = match thread {
                Thread::Vcpu | Thread::Devices => &[Thread::Kvm],
                _ => &[Thread::Kvm, Thread::Qemu],
            };
            for supervisor in supervisors {
                let may = |thread: Thread, call| {
                    rules::TABLE.iter().any(|row| row.call == call && row.is_for(thread))
                };
                let mut calls = rules::TABLE.iter().map(|row| row.call);
                let lacking = calls.find(|call| may(thread, *call) && !may(*supervisor, *call));
                assert_eq!(lacking, None, "{thread:?} under {supervisor:?}");
                let ioctls = ioctls::TABLE.iter();
                let lacking = ioctls.filter(|row| row.is_for(thread) && !row.is_for(*supervisor));
                assert_eq!(lacking.count(), 0, "{thread:?} under {supervisor:?}");
            }
        }
    }

    #[test]
    fn nobody_may_start_programs_or_reach_the_network() {
        for call in [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_fork,
            libc::SYS_vfork,
            libc::SYS_socket,
            libc::SYS_ptrace,
            libc::SYS_mount,
            libc::SYS_bpf,
            libc::SYS_io_uring_setup,
            libc::SYS_process_vm_writev,
        ] {
            assert!(rules::TABLE.iter().all(|rule| rule.call != call), "{call}");
        }
    }

    #[test]
    fn numbers_of_ioctls_are_those_of_the_kernel() {
        let number = |name| ioctls::TABLE.iter().find(|row| row.name == name).unwrap().number;
        // Documentation/userspace-api/ioctl/ioctl-number.rst, as strace decodes them.
        assert_eq!(number("KVM_RUN"), 0xae80);
        assert_eq!(number("KVM_GET_REGS"), 0x8090_ae81);
        assert_eq!(number("KVM_SET_USER_MEMORY_REGION"), 0x4020_ae46);
        assert_eq!(number("KVM_GET_SUPPORTED_CPUID"), 0xc008_ae05);
    }
}
