//! Which system calls which threads may make, one a row.
//!
//! What is in no row is refused: above all `execve`, `fork`, sockets, `ptrace`,
//! `mount`, `bpf`, and memory that is executable.

use std::fmt;

use super::names::name;

/// Kinds of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thread {
    /// Whoever has no kind of its own, where KVM runs the guest: supervises, writes reports,
    /// makes a VM anew for a guest that was reset.
    Kvm,
    /// The same where QEMU does.
    Qemu,
    /// Runs a vCPU.
    Vcpu,
    /// Runs a vCPU of a machine with devices on PCI, which starts the devices' threads when the
    /// guest's drivers are there; and these.
    Devices,
    /// Writes the guest's console out.
    Writer,
    /// Reads standard input for the guest.
    Reader,
}

impl Thread {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Kvm, Self::Qemu, Self::Vcpu, Self::Devices, Self::Writer, Self::Reader];

    /// Its letter in the tables.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Kvm => 'K',
            Self::Qemu => 'Q',
            Self::Vcpu => 'V',
            Self::Devices => 'P',
            Self::Writer => 'W',
            Self::Reader => 'R',
        }
    }

    /// Whether its letter is among `letters`.
    #[expect(clippy::arithmetic_side_effects, reason = "no text is that long")]
    pub(super) const fn is_among(self, letters: &str) -> bool {
        let letters = letters.as_bytes();
        let mut at = 0;
        while at < letters.len() {
            if letters[at] as char == self.letter() {
                return true;
            }
            at += 1;
        }
        false
    }
}

impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm | Self::Qemu => "supervisor",
            Self::Vcpu => "vCPU",
            Self::Devices => "vCPU or device",
            Self::Writer => "console writer",
            Self::Reader => "input reader",
        })
    }
}

/// What has to hold of a call's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arguments {
    /// Nothing.
    Any,
    /// The low half of the argument of that number, less the bits outside of the mask, is this.
    Masked {
        /// Which argument, from 0.
        number: u8,
        /// Which bits of its low half.
        mask: u32,
        /// What they are.
        value: u32,
    },
    /// The argument of that number is one of these.
    Among {
        /// Which argument, from 0.
        number: u8,
        /// What it may be.
        values: &'static [i32],
    },
    /// The second argument is an ioctl of [`ioctls::TABLE`](super::ioctls::TABLE) that
    /// the thread may make.
    Ioctl,
    /// It is not made: there is no such call, as far as the thread can tell (`ENOSYS`).
    Absent,
}

/// A system call that is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its number.
    pub call: libc::c_long,
    /// The letters of the threads that may make it.
    pub threads: &'static str,
    /// What has to hold.
    pub arguments: Arguments,
    /// What for.
    pub reason: &'static str,
}

impl Rule {
    /// What the call is called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        name(self.call)
    }

    /// Whether it is for `thread`.
    #[must_use]
    pub const fn is_for(&self, thread: Thread) -> bool {
        thread.is_among(self.threads)
    }
}

const fn allow(call: libc::c_long, threads: &'static str, reason: &'static str) -> Rule {
    Rule { call, threads, arguments: Arguments::Any, reason }
}

const fn only(
    call: libc::c_long,
    threads: &'static str,
    (number, mask, value): (u8, i32, i32),
    reason: &'static str,
) -> Rule {
    // Of 32 bits, as the kernel takes each of these.
    let (mask, value) = (mask.cast_unsigned(), value.cast_unsigned());
    Rule { call, threads, arguments: Arguments::Masked { number, mask, value }, reason }
}

const fn among(
    call: libc::c_long,
    threads: &'static str,
    (number, values): (u8, &'static [i32]),
    reason: &'static str,
) -> Rule {
    Rule { call, threads, arguments: Arguments::Among { number, values }, reason }
}

/// Memory that nobody executes.
const NO_EXEC: (u8, i32, i32) = (2, libc::PROT_EXEC, 0);
/// Whether a descriptor is open.
const IS_OPEN: (u8, i32, i32) = (1, -1, libc::F_GETFD);
/// Of a pipe: nothing but that it is nobody else's.
const CLOSES_ON_EXEC: (u8, i32, i32) = (1, -1, libc::O_CLOEXEC);
/// A thread, not a process.
const A_THREAD: (u8, i32, i32) = (0, libc::CLONE_THREAD, libc::CLONE_THREAD);

/// Of prctl: whose name is asked for.
const NAMES: &[i32] = &[libc::PR_GET_NAME];
/// And who gives itself one, or gives up privileges.
const NAMES_AND_FEWER: &[i32] = &[libc::PR_GET_NAME, libc::PR_SET_NAME, libc::PR_SET_NO_NEW_PRIVS];

const ALL: &str = "KQVPWR";
/// The supervisors.
const SUP: &str = "KQ";
/// Those of a machine with devices, and the supervisors.
const DEV: &str = "KQP";

/// The table.
pub const TABLE: &[Rule] = &[
    // Every thread: locks, memory, its end, signals.
    allow(libc::SYS_futex, ALL, "locks and channels"),
    only(libc::SYS_mmap, ALL, NO_EXEC, "heap, stacks; vCPUs of a guest started anew"),
    only(libc::SYS_mprotect, ALL, NO_EXEC, "heap grows, stacks get their guards"),
    allow(libc::SYS_munmap, ALL, "heap, stacks"),
    allow(
        libc::SYS_madvise,
        ALL,
        "a thread's stack at its end; huge pages of a guest started anew",
    ),
    allow(libc::SYS_brk, ALL, "heap"),
    allow(libc::SYS_mremap, ALL, "a long vector grows"),
    allow(libc::SYS_sigaltstack, ALL, "a thread's end"),
    allow(libc::SYS_rt_sigprocmask, ALL, "a thread's start and end"),
    allow(libc::SYS_rt_sigreturn, ALL, "after a signal's handler"),
    allow(libc::SYS_exit, ALL, "a thread's end"),
    allow(libc::SYS_exit_group, ALL, "the end of a process that broke the rules"),
    allow(libc::SYS_restart_syscall, ALL, "goes on with a wait after SIGSTOP and SIGCONT"),
    allow(libc::SYS_clock_gettime, ALL, "times, where the kernel has them not in the vDSO"),
    allow(libc::SYS_sched_yield, ALL, "threads that meet in a channel"),
    allow(libc::SYS_sendto, ALL, "a signal's handler tells whoever waits"),
    allow(libc::SYS_write, ALL, "console, messages, events for other threads, reports"),
    allow(libc::SYS_poll, ALL, "whether a reader takes messages"),
    allow(libc::SYS_ppoll, ALL, "the same with a time limit; input; the end of the run"),
    Rule {
        call: libc::SYS_ioctl,
        threads: ALL,
        arguments: Arguments::Ioctl,
        reason: "KVM and the terminal, each by its number",
    },
    allow(libc::SYS_getpgrp, ALL, "whether the terminal is ours to restore"),
    allow(libc::SYS_read, "KQPR", "input; files; events of other threads"),
    allow(libc::SYS_close, "KQPWR", "what it had open"),
    only(libc::SYS_fcntl, "WR", IS_OPEN, "whether what is closed is open, in debug builds"),
    // Supervisors: the end of the run, reports.
    allow(libc::SYS_clock_nanosleep, SUP, "waits between looks at vCPUs, and for QEMU"),
    allow(libc::SYS_gettid, DEV, "a thread's number, to interrupt it"),
    allow(libc::SYS_getpid, SUP, "names of files that are not whole yet"),
    allow(libc::SYS_tgkill, SUP, "interrupts a vCPU"),
    allow(libc::SYS_rt_sigaction, SUP, "a guest started anew; signals are let through at the end"),
    allow(libc::SYS_recvfrom, DEV, "that a signal came; what QEMU says; a network's frames"),
    allow(libc::SYS_fcntl, DEV, "a second handle to a file"),
    allow(libc::SYS_fstat, DEV, "a file's length"),
    allow(libc::SYS_uname, "K", "whether a guest started anew can have its initrd later"),
    allow(libc::SYS_newfstatat, SUP, "KVM's modules, why no kernel could run"),
    allow(libc::SYS_statx, DEV, "a file's length"),
    allow(libc::SYS_pread64, DEV, "the UKI, of a guest started anew or one that hangs"),
    allow(libc::SYS_lseek, SUP, "a file's place"),
    allow(libc::SYS_openat, SUP, "reports and /dev/kvm; which, Landlock says"),
    allow(libc::SYS_linkat, SUP, "a report gets its name when it is whole"),
    allow(libc::SYS_rename, SUP, "the same where file systems have no file without a name"),
    allow(libc::SYS_unlink, SUP, "a report that is not whole, there"),
    allow(libc::SYS_getrandom, ALL, "tables of a hash; the source of random numbers"),
    allow(libc::SYS_eventfd2, DEV, "a guest started anew; a device begins"),
    only(libc::SYS_pipe2, "K", CLOSES_ON_EXEC, "who watches the others of a guest started anew"),
    allow(libc::SYS_sched_getaffinity, DEV, "how many threads read; a thread's stack"),
    // Supervisors start threads.
    only(libc::SYS_clone, DEV, A_THREAD, "a thread, never a process"),
    Rule {
        call: libc::SYS_clone3,
        threads: DEV,
        arguments: Arguments::Absent,
        reason: "its flags are in memory, where no filter looks; glibc then takes the other",
    },
    allow(libc::SYS_rseq, DEV, "a thread's start"),
    allow(libc::SYS_set_robust_list, DEV, "a thread's start"),
    among(libc::SYS_prctl, DEV, (0, NAMES_AND_FEWER), "a thread's name; no new privileges"),
    among(libc::SYS_prctl, "VWR", (0, NAMES), "who broke the rules"),
    allow(libc::SYS_capset, SUP, "a thread gives up what the supervisor has"),
    // What writes the results fences itself in while another thread boots.
    allow(libc::SYS_landlock_create_ruleset, SUP, "a thread gives up files"),
    allow(libc::SYS_landlock_add_rule, SUP, "a thread gives up files"),
    allow(libc::SYS_landlock_restrict_self, SUP, "a thread gives up files"),
    allow(libc::SYS_seccomp, SUP, "a thread narrows its rules"),
    // Disks.
    allow(libc::SYS_pwrite64, "KP", "a disk is written"),
    allow(libc::SYS_preadv, "KP", "a disk is read"),
    allow(libc::SYS_pwritev, "KP", "a disk is written"),
    allow(libc::SYS_fdatasync, "KP", "a disk is flushed"),
    allow(libc::SYS_fsync, "KP", "a qcow2 image is flushed"),
    allow(
        libc::SYS_ftruncate,
        "KP",
        "a qcow2 image gets longer; changes are dropped for a guest started anew",
    ),
    allow(libc::SYS_fstatfs, "K", "a qcow2 image of a guest started anew"),
    allow(libc::SYS_fallocate, "KP", "a part of a disk is discarded"),
    allow(libc::SYS_epoll_create1, DEV, "a device waits for its queues"),
    allow(libc::SYS_epoll_ctl, DEV, "a device waits for its queues"),
    allow(libc::SYS_epoll_wait, DEV, "a device waits for its queues"),
    allow(libc::SYS_epoll_pwait, DEV, "a device waits for its queues"),
    // Networks. What is sent is with the calls of every thread; tap devices are files.
    allow(libc::SYS_shutdown, SUP, "the other end of a network is told to end"),
    // Shares.
    allow(libc::SYS_sendmsg, "KP", "whoever serves a share is given memory and queues"),
    allow(libc::SYS_recvmsg, "KP", "and answers"),
    allow(libc::SYS_memfd_create, "K", "memory that is shared, of a guest started anew"),
    // QEMU.
    allow(libc::SYS_recvmsg, "Q", "QEMU sets up a device that is ours, and sends its files"),
    allow(libc::SYS_kill, "Q", "ends QEMU"),
    allow(libc::SYS_wait4, "Q", "QEMU's end"),
];
