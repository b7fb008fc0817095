use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use super::{
    super::{
        ioctls,
        rules::{self, Arguments},
    },
    *,
};

#[test]
fn every_kind_of_thread_has_a_filter_that_the_kernel_is_soon_done_with() {
    for thread in Thread::ALL {
        let filter = filter(thread);
        assert!((50..200).contains(&filter.len()), "{thread:?}: {}", filter.len());
        // Of a call that is in no row, as most are that the kernel tries.
        let (_, steps) = run(filter, X86_64, 1000, [0; 6]);
        assert!(steps <= 12, "{thread:?}: {steps}");
    }
}

#[test]
fn a_filter_is_the_same_when_it_is_made_only_now() {
    for thread in Thread::ALL {
        let program = Program::of(std::hint::black_box(thread));
        let made = program.instructions[..program.len].iter();
        let made: Vec<_> = made.map(|it| (it.code, it.jt, it.jf, it.k)).collect();
        let kept: Vec<_> = filter(thread).iter().map(|it| (it.code, it.jt, it.jf, it.k)).collect();
        assert_eq!(made, kept, "{thread:?}");
    }
}

/// The filter for `thread` as seccompiler makes it, but for calls that are to be absent.
fn by_seccompiler(thread: Thread) -> BpfProgram {
    let rows = rules::TABLE.iter().filter(|row| row.is_for(thread));
    let rows = rows.filter(|row| row.arguments != Arguments::Absent);
    let rules = rows.map(|row| (row.call, conditions(row.arguments, thread).unwrap())).collect();
    let (refused, allowed) = (SeccompAction::Trap, SeccompAction::Allow);
    SeccompFilter::new(rules, refused, allowed, TargetArch::x86_64).unwrap().try_into().unwrap()
}

/// One of these has to hold; none means that nothing has to.
fn conditions(arguments: Arguments, thread: Thread) -> Result<Vec<SeccompRule>, BackendError> {
    let one = |number, operator, value: u32| {
        let value = u64::from(value);
        let length = SeccompCmpArgLen::Dword;
        SeccompRule::new(vec![SeccompCondition::new(number, length, operator, value)?])
    };
    match arguments {
        Arguments::Any | Arguments::Absent => Ok(Vec::new()),
        Arguments::Among { number, values } => {
            let equal = |value: &i32| one(number, SeccompCmpOp::Eq, value.cast_unsigned());
            values.iter().map(equal).collect()
        }
        Arguments::Masked { number, mask, value } => {
            Ok(vec![one(number, SeccompCmpOp::MaskedEq(mask.into()), value)?])
        }
        Arguments::Ioctl => ioctls::TABLE
            .iter()
            .filter(|ioctl| ioctl.is_for(thread))
            .map(|ioctl| one(1, SeccompCmpOp::Eq, ioctl.number))
            .collect(),
    }
}

#[test]
fn a_filter_says_of_every_call_what_seccompiler_s_says() {
    let ioctls = ioctls::TABLE.iter().map(|ioctl| u64::from(ioctl.number));
    let words: Vec<u64> = (0..64).chain((5..64).map(|bit| 1 << bit)).chain(ioctls).collect();
    let absent = |thread: Thread, call| {
        let mut rows = rules::TABLE.iter().filter(|row| row.is_for(thread));
        rows.any(|row| row.call == i64::from(call) && row.arguments == Arguments::Absent)
    };
    for thread in Thread::ALL {
        let (ours, theirs) = (filter(thread), by_seccompiler(thread));
        for call in (0..600).chain(0x4000_0000..0x4000_0400).chain([u32::MAX]) {
            if absent(thread, call) {
                continue;
            }
            for word in &words {
                let arguments = [*word; 6];
                let [ours, theirs] =
                    [ours, &theirs].map(|filter| verdict(filter, X86_64, call, arguments));
                assert_eq!(ours, theirs, "{thread:?}: {call} with {word:#x}");
            }
        }
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

/// What `filter` makes of a call: include/uapi/linux/filter.h, as far as seccompiler goes.
fn verdict(filter: &[sock_filter], arch: u32, call: u32, arguments: [u64; 6]) -> u32 {
    run(filter, arch, call, arguments).0
}

#[expect(clippy::arithmetic_side_effects, reason = "an overflow in a test fails it")]
/// The same, and after how many instructions.
fn run(filter: &[sock_filter], arch: u32, call: u32, arguments: [u64; 6]) -> (u32, usize) {
    // `struct seccomp_data`: number, architecture, instruction pointer, arguments.
    let mut data = [call.to_ne_bytes(), arch.to_ne_bytes(), [0; 4], [0; 4]].concat();
    data.extend(arguments.iter().flat_map(|argument| argument.to_ne_bytes()));
    let (mut at, mut accumulator) = (0, 0);
    for steps in 1.. {
        let sock_filter { code, jt, jf, k } = filter[at].clone();
        at += 1;
        let mut jump = |holds| at += usize::from(if holds { jt } else { jf });
        match code {
            0x20 => {
                let word = data[k as usize..][..4].try_into().unwrap();
                accumulator = u32::from_ne_bytes(word);
            }
            0x54 => accumulator &= k,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x05 => at += k as usize,
            0x06 => return (k, steps),
            _ => panic!("an instruction of code {code:#x}"),
        }
    }
    unreachable!("every jump goes on")
}

/// AUDIT_ARCH_X86_64 and AUDIT_ARCH_I386, include/uapi/linux/audit.h.
const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;

const ALLOWED: u32 = libc::SECCOMP_RET_ALLOW;
const TRAPPED: u32 = libc::SECCOMP_RET_TRAP;

#[test]
fn what_is_in_no_row_is_trapped_whatever_its_number() {
    for thread in Thread::ALL {
        let filter = filter(thread);
        for call in (0..1024).chain(0x4000_0000..0x4000_0400).chain([u32::MAX]) {
            let row =
                |rule: &&rules::Rule| rule.is_for(thread) && rule.call == libc::c_long::from(call);
            let arguments = rules::TABLE.iter().find(row).map(|rule| rule.arguments);
            let found = verdict(filter, X86_64, call, [0; 6]);
            match arguments {
                None => assert_eq!(found, TRAPPED, "{thread:?}: {call}"),
                Some(Arguments::Any) => assert_eq!(found, ALLOWED, "{thread:?}: {call}"),
                Some(_) => {}
            }
        }
    }
}

#[test]
fn a_thread_may_start_threads_and_no_process() {
    let not_there = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    let clone3 = u32::try_from(libc::SYS_clone3).unwrap();
    let clone = u32::try_from(libc::SYS_clone).unwrap();
    let a_thread = u64::from((libc::CLONE_VM | libc::CLONE_THREAD).cast_unsigned());
    let a_process = u64::from((libc::CLONE_VM | libc::SIGCHLD).cast_unsigned());
    for thread in Thread::ALL {
        let filter = filter(thread);
        let may = |call, flags| verdict(filter, X86_64, call, [flags, 0, 0, 0, 0, 0]);
        let starts = matches!(thread, Thread::Kvm | Thread::Qemu | Thread::Devices);
        assert_eq!(may(clone3, 0), if starts { not_there } else { TRAPPED }, "{thread:?}");
        assert_eq!(may(clone, a_thread), if starts { ALLOWED } else { TRAPPED }, "{thread:?}");
        assert_eq!(may(clone, a_process), TRAPPED, "{thread:?}");
    }
}

#[test]
fn no_thread_makes_memory_executable_or_asks_prctl_for_more() {
    for thread in Thread::ALL {
        let filter = filter(thread);
        let may = |call: libc::c_long, arguments| {
            verdict(filter, X86_64, u32::try_from(call).unwrap(), arguments)
        };
        let protection = |bits: libc::c_int| [0, 0x1000, u64::from(bits.cast_unsigned()), 0, 0, 0];
        for call in [libc::SYS_mmap, libc::SYS_mprotect] {
            let data = protection(libc::PROT_READ | libc::PROT_WRITE);
            assert_eq!(may(call, data), ALLOWED, "{thread:?}");
            assert_eq!(may(call, protection(libc::PROT_EXEC)), TRAPPED, "{thread:?}");
        }
        let option = |option: libc::c_int| [u64::from(option.cast_unsigned()), 0, 0, 0, 0, 0];
        assert_eq!(may(libc::SYS_prctl, option(libc::PR_GET_NAME)), ALLOWED, "{thread:?}");
        for more in [libc::PR_SET_DUMPABLE, libc::PR_SET_SECCOMP, libc::PR_SET_MM] {
            assert_eq!(may(libc::SYS_prctl, option(more)), TRAPPED, "{thread:?}: {more}");
        }
    }
}

#[test]
fn calls_of_other_architectures_end_the_process() {
    for thread in [Thread::Vcpu, Thread::Reader, Thread::Writer] {
        let filter = filter(thread);
        let found = verdict(filter, I386, 1, [0; 6]);
        assert_eq!(found, libc::SECCOMP_RET_KILL_PROCESS, "{thread:?}");
    }
}
