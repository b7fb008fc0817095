//! The tables as filters in the kernel.

use std::{
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
    apply_filter_all_threads, sock_filter,
};

use super::{
    ioctls,
    rules::{self, Arguments, Thread},
    violation,
};
use crate::messages::say;

/// Whether this process is confined.
static IS_CONFINED: AtomicBool = AtomicBool::new(false);

/// Puts every thread of this process, and those to come, under the rules of
/// `supervisor`.
pub(super) fn confine(supervisor: Thread) {
    let confined = violation::report().map_err(Error::Prctl).and_then(|()| {
        let program = program(supervisor)?;
        apply_filter_all_threads(&program)
    });
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
    /// Those of threads that there may be several of.
    static OF_VCPU: OnceLock<BpfProgram> = OnceLock::new();
    static OF_DEVICES: OnceLock<BpfProgram> = OnceLock::new();
    if !is_confined() {
        return false;
    }
    let empty = CapabilitySet::empty();
    // To give up what one may not have is no error.
    let none = CapabilitySets { effective: empty, permitted: empty, inheritable: empty };
    set_capabilities(None, none).ok();
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
    let (mut rules, mut program) = (BTreeMap::new(), BpfProgram::new());
    for rule in rules::TABLE.iter().filter(|rule| rule.is_for(thread)) {
        match rule.arguments {
            Arguments::Absent => program.extend(absent(rule.call)),
            arguments => drop(rules.insert(rule.call, conditions(arguments, thread)?)),
        }
    }
    let (refused, allowed) = (SeccompAction::Trap, SeccompAction::Allow);
    let filter = SeccompFilter::new(rules, refused, allowed, TargetArch::x86_64)?;
    program.extend(BpfProgram::try_from(filter)?);
    Ok(program)
}

/// Makes `call` fail with ENOSYS, and goes on with what follows for others: a filter of
/// `seccompiler`'s has one action for all that it does not allow.
fn absent(call: libc::c_long) -> [sock_filter; 3] {
    /// `LD | W | ABS`, `JMP | JEQ | K`, `RET | K`: include/uapi/linux/bpf_common.h.
    const LOAD: u16 = 0x20;
    const IS_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    /// Where `struct seccomp_data` has the call's number.
    const NUMBER: u32 = 0;
    let number = u32::try_from(call).unwrap_or(u32::MAX);
    let fails = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    [
        sock_filter { code: LOAD, jt: 0, jf: 0, k: NUMBER },
        sock_filter { code: IS_EQUAL, jt: 0, jf: 1, k: number },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: fails },
    ]
}

/// One of these has to hold; none means that nothing has to.
fn conditions(arguments: Arguments, thread: Thread) -> Result<Vec<SeccompRule>, BackendError> {
    let one = |number, length, operator, value| {
        SeccompRule::new(vec![SeccompCondition::new(number, length, operator, value)?])
    };
    match arguments {
        Arguments::Any | Arguments::Absent => Ok(Vec::new()),
        Arguments::Among { number, values } => {
            let equal = |value: &i32| {
                let value = u64::from(value.cast_unsigned());
                one(number, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
            };
            values.iter().map(equal).collect()
        }
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
mod tests;
