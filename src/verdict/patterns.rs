//! What a guest prints that comes to grief: a table.
//!
//! Sources: the kernel's own `printk`s, `lava_dispatcher/utils/messages.py`, the
//! splat list of libbpf's CI, and what systemd, dracut and initramfs-tools say
//! before they give a shell.

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Noted; no failure unless that is asked for.
    Warning,
    /// A failure.
    Fail,
    /// The kernel panicked.
    Panic,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    /// What it is called in reports.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Who says it.
    pub speaker: Speaker,
    /// Texts of which every first line has at least one: what has none is not
    /// looked at any closer.
    pub needles: &'static [&'static str],
    /// The regular expression of its first line.
    pub start: &'static str,
    /// That of its last line, where it has one.
    pub end: Option<&'static str>,
    /// The most lines of it that are kept.
    pub lines_max: usize,
    /// Lines that come before the first one and belong to it.
    pub before: usize,
    /// Whether a line with the kernel's counter of deaths (`[#1]`) is a part of it.
    pub dies: bool,
    /// The names of what it comes of, where that was found too: then that decides.
    pub follows: &'static [&'static str],
    /// What it means.
    pub cause: &'static str,
    /// What to do about it.
    pub next_step: &'static str,
}

/// Who says something, which decides where in a line it may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The kernel: at the beginning of a line or behind `printk`'s stamp, so that
    /// a program that quotes it is not taken for it.
    Kernel,
    /// A program: anywhere.
    Anyone,
}

/// A line's beginning or `printk`'s stamp, with or without its caller.
pub(super) const STAMP: &str = r"(?:^|\[ *\d+\.\d+\](?:\[ *[CT]\d+\])? )";

const END_TRACE: Option<&str> = Some(r"---\[ end trace");
const END_PANIC: Option<&str> = Some(r"---\[ end Kernel panic");
const END_TASK: Option<&str> = Some(r"^.{0,40}</TASK>");
const END_RULE: Option<&str> = Some(r"={60,}");

/// A kernel's report with a trace.
const TRACE: Pattern = Pattern {
    name: "",
    severity: Severity::Fail,
    speaker: Speaker::Kernel,
    needles: &[],
    start: "",
    end: END_TRACE,
    lines_max: 100,
    before: 0,
    dies: false,
    follows: &[],
    cause: "",
    next_step: "look at the first function of the trace that is not about reporting it",
};

const PANIC: Pattern =
    Pattern { severity: Severity::Panic, end: END_PANIC, lines_max: 200, before: 10, ..TRACE };

/// One line from a program.
const LINE: Pattern =
    Pattern { speaker: Speaker::Anyone, end: None, lines_max: 1, before: 5, ..TRACE };

const NO_ROOT: &str = "the root file system is missing";
const NO_ROOT_STEP: &str = "this guest has no disks: give it an initrd that needs none, or check root= and the initrd's drivers";

/// The table. The first row whose `start` matches a line gives its name.
pub const PATTERNS: &[Pattern] = &[
    Pattern {
        name: "root-missing",
        needles: &["Unable to mount root"],
        start: r"Kernel panic - not syncing: VFS: Unable to mount root",
        follows: &["initrd-broken"],
        cause: "the kernel found no root file system, and no initrd with an init",
        next_step: "check that the UKI has an .initrd that holds /init, or pass one with --initrd",
        ..PANIC
    },
    Pattern {
        name: "init-missing",
        needles: &["No working init found", "Requested init "],
        start: r"Kernel panic - not syncing: (?:No working init found|Requested init )",
        follows: &["initrd-broken"],
        cause: "the kernel found no init to run",
        next_step: "check the path and mode of the initrd's /init, its interpreter and libraries, and init= and rdinit=",
        ..PANIC
    },
    Pattern {
        name: "init-exited",
        needles: &["Attempted to kill "],
        start: r"Kernel panic - not syncing: Attempted to kill (?:init|the idle task)",
        cause: "init ended, which the kernel can't go on without",
        next_step: "exitcode holds init's exit status in its second byte, or the signal that killed it in its first; the lines above say what it did last",
        ..PANIC
    },
    Pattern {
        name: "out-of-memory",
        needles: &["not syncing: System is deadlocked", "not syncing: Out of memory"],
        start: r"Kernel panic - not syncing: (?:System is deadlocked on memory|Out of memory)",
        cause: "the guest ran out of memory",
        next_step: "give it more with --memory; an initrd is there twice while it is unpacked",
        ..PANIC
    },
    Pattern {
        name: "lockup-panic",
        needles: &["not syncing: "],
        start: r"Kernel panic - not syncing: (?:softlockup|Hard LOCKUP|hung_task|RCU Stall)",
        cause: "a processor or a task was stuck",
        ..PANIC
    },
    Pattern {
        name: "sysrq-crash",
        needles: &["sysrq triggered crash"],
        start: r"Kernel panic - not syncing: sysrq triggered crash",
        cause: "somebody asked the kernel to crash (sysrq c)",
        next_step: "look for what wrote c to /proc/sysrq-trigger",
        ..PANIC
    },
    Pattern {
        name: "oops-panic",
        needles: &["not syncing: "],
        start: r"Kernel panic - not syncing: (?:Fatal exception|panic_on_|kernel: panic_on_warn|UBSAN|KASAN|KFENCE)",
        cause: "the kernel panicked because of an oops or a warning",
        next_step: "the report before the panic says where",
        ..PANIC
    },
    Pattern {
        name: "panic",
        needles: &["Kernel panic"],
        start: r"(?:Kernel panic - not syncing|---\[ end Kernel panic)",
        cause: "the kernel panicked",
        ..PANIC
    },
    Pattern {
        name: "kasan",
        needles: &["BUG: KASAN", "BUG: KMSAN"],
        start: r"BUG: (?:KASAN|KMSAN): ",
        end: END_RULE,
        cause: "a memory error, found by a sanitizer",
        ..TRACE
    },
    Pattern {
        name: "kcsan",
        needles: &["BUG: KCSAN"],
        start: r"BUG: KCSAN: ",
        end: END_RULE,
        cause: "a data race, found by KCSAN",
        ..TRACE
    },
    Pattern {
        name: "kfence",
        needles: &["BUG: KFENCE"],
        start: r"BUG: KFENCE: ",
        end: END_RULE,
        cause: "a memory error, found by KFENCE",
        ..TRACE
    },
    Pattern {
        name: "soft-lockup",
        needles: &["BUG: soft lockup"],
        start: r"(?:watchdog: )?BUG: soft lockup",
        end: END_TASK,
        cause: "a processor was stuck in the kernel",
        ..TRACE
    },
    Pattern {
        name: "hard-lockup",
        needles: &["hard LOCKUP"],
        start: r"(?:NMI )?watchdog: .*hard LOCKUP",
        end: END_TASK,
        cause: "a processor was stuck with interrupts off",
        ..TRACE
    },
    Pattern {
        name: "oops",
        needles: &[
            "BUG: unable to handle",
            "BUG: kernel NULL",
            "Unable to handle kernel",
            "Unhandled fault",
        ],
        start: r"(?:BUG: (?:unable to handle|kernel NULL pointer dereference)|Unable to handle kernel|Unhandled fault)",
        dies: true,
        cause: "the kernel touched memory that it may not",
        next_step: "RIP names the function; CR2 and the first line the address",
        ..TRACE
    },
    Pattern {
        name: "bug",
        needles: &["kernel BUG at "],
        start: r"kernel BUG at ",
        dies: true,
        cause: "an assertion of the kernel failed (BUG)",
        next_step: "the first line names the file and the line of the assertion",
        ..TRACE
    },
    Pattern {
        name: "general-protection",
        needles: &["general protection fault"],
        start: r"(?:Oops: )?general protection fault",
        cause: "a general protection fault in the kernel",
        next_step: "RIP names the function; a non-canonical address is often a pointer that was freed or overwritten",
        ..TRACE
    },
    Pattern {
        name: "oops",
        needles: &["Oops", "Internal error: ", " [#"],
        start: r"(?:Oops(?: -|:)|Internal error: |(?:invalid opcode|divide error|stack segment|double fault|int3|alignment check|bounds|coprocessor segment overrun|segment not present|control protection)[^:]*: [0-9a-f]{4} \[#\d+\])",
        cause: "the kernel met an exception that it can't handle",
        next_step: "RIP names the function",
        ..TRACE
    },
    Pattern {
        name: "bug",
        needles: &["BUG: "],
        start: r"BUG: ",
        lines_max: 60,
        cause: "the kernel found a bug in itself",
        ..TRACE
    },
    Pattern {
        name: "hung-task",
        needles: &["blocked for more than", "blocked in I/O wait"],
        start: r"INFO: task .+ blocked (?:in I/O wait )?for more than \d+ seconds",
        end: END_TASK,
        lines_max: 60,
        cause: "a task was stuck in the kernel",
        next_step: "the trace says what it waits for",
        ..TRACE
    },
    Pattern {
        name: "rcu-stall",
        needles: &["rcu_"],
        start: r"(?:rcu: )?(?:INFO: )?rcu_\w+ (?:self-detected stall|detected (?:expedited )?stalls|kthread (?:starved|timer wakeup))",
        end: None,
        lines_max: 60,
        cause: "a processor did not come by for a long time (RCU stall)",
        next_step: "on a busy host or under emulation the guest may just have been slow; else the trace says where it was",
        ..TRACE
    },
    Pattern {
        name: "ubsan",
        needles: &["UBSAN: "],
        start: r"UBSAN: ",
        end: Some(r"---\[ end trace|={60,}"),
        cause: "undefined behaviour, found by UBSAN",
        next_step: "the first line names the file and the line",
        ..TRACE
    },
    Pattern {
        name: "initrd-tail",
        needles: &["Initramfs unpacking failed: Decoding failed"],
        severity: Severity::Warning,
        start: r"Initramfs unpacking failed: Decoding failed",
        end: None,
        lines_max: 1,
        cause: "the kernel stopped unpacking the initrd",
        next_step: "kernels say so of every lz4 archive that something follows, with all of it unpacked; if files are missing, it is damaged",
        ..TRACE
    },
    Pattern {
        name: "initrd-broken",
        needles: &["Initramfs unpacking failed", "rootfs image is not"],
        start: r"(?:Initramfs unpacking failed|rootfs image is not initramfs)",
        end: None,
        lines_max: 1,
        cause: "the kernel can't unpack the initrd",
        next_step: "a part is damaged, cut short or packed in a way that this kernel can't read; or memory was short: \"write error\" wants --memory",
        ..TRACE
    },
    Pattern {
        name: "oom-kill",
        needles: &["invoked oom-killer", "Out of memory: Kill"],
        start: r"(?:\S+ invoked oom-killer|Out of memory: Kill)",
        end: Some(r"Out of memory: Kill|oom_reaper"),
        lines_max: 80,
        cause: "the guest ran out of memory",
        next_step: "give it more with --memory",
        ..TRACE
    },
    Pattern {
        name: "decompression-failed",
        needles: &["-- System halted"],
        start: r"-- System halted",
        before: 5,
        cause: "the kernel's own decompressor gave up",
        next_step: "the kernel in the UKI is damaged, or memory is short: rebuild it, or give more with --memory",
        ..LINE
    },
    Pattern {
        name: "root-missing",
        needles: &[
            "does not exist",
            "Gave up waiting",
            "No root device",
            "dracut",
            "Target filesystem",
            "Initrd Root Device",
        ],
        start: r#"(?:ALERT! +\S.* does not exist|Warning: "?/dev/\S+ does not exist|Dependency failed for .*Initrd Root Device|Gave up waiting for (?:the )?root|No root device specified|dracut.*(?:Could not boot|No or empty root=|Refusing to continue|FATAL: )|Target filesystem doesn't have requested)"#,
        lines_max: 3,
        cause: NO_ROOT,
        next_step: NO_ROOT_STEP,
        ..LINE
    },
    Pattern {
        name: "initramfs-shell",
        needles: &["(initramfs)", "Dropping to ", "dracut:/#", "No init found. Try"],
        start: r"(?:^\(initramfs\)|Dropping to a shell|^dracut:/#|Dropping to debug shell|No init found\. Try passing init=)",
        follows: &["root-missing", "initrd-broken"],
        cause: "the initrd gave up and opened a shell",
        next_step: "the lines above say what it missed",
        ..LINE
    },
    Pattern {
        name: "emergency-shell",
        needles: &[
            "You are in ",
            "mergency",
            "Rescue",
            "rescue",
            "maintenance",
            "root account is locked",
        ],
        start: r"(?:You are in (?:emergency|rescue) mode|Entering (?:emergency|rescue) mode|(?:Reached target|Started) .*(?:Emergency|Rescue) (?:Mode|Shell)|Give root password for maintenance|Press Enter for (?:emergency|maintenance)|Cannot open access to console, the root account is locked)",
        follows: &["root-missing", "initrd-broken"],
        cause: "systemd gave up and opened a rescue or emergency shell",
        next_step: "the lines above name the unit that failed",
        ..LINE
    },
    Pattern {
        name: "lockdep",
        needles: &["WARNING: "],
        severity: Severity::Warning,
        start: r"WARNING: (?:possible |suspicious |inconsistent |held lock|bad unlock|lock held|locking bug|Nested lock|HARDIRQ|SOFTIRQ)",
        end: Some(r"^.{0,40}</TASK>"),
        lines_max: 80,
        cause: "locking that may deadlock, found by lockdep",
        ..TRACE
    },
    Pattern {
        name: "warning",
        needles: &["WARNING: "],
        severity: Severity::Warning,
        start: r"WARNING: (?:CPU: \d+ PID: \d+|\S+:\d+) at ",
        lines_max: 80,
        cause: "the kernel found something that should not be (WARN)",
        next_step: "the first line names the place",
        ..TRACE
    },
];

/// The row of an own pattern, of `--deny`.
pub(super) const DENIED: Pattern = Pattern {
    name: "deny",
    cause: "a line that is on the --deny list",
    next_step: "the list is yours: see the pattern that is named",
    lines_max: 3,
    before: 0,
    ..LINE
};
