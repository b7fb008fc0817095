//! Texts in the form that the kernel and others print them, put together by hand.

pub(super) const PANIC: &str = "\
[    1.250000] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100
[    1.250100] CPU: 0 UID: 0 PID: 1 Comm: init Not tainted 6.12.0 #1
[    1.250200] Call Trace:
[    1.250300]  <TASK>
[    1.250400]  dump_stack_lvl+0x5d/0x80
[    1.250500]  panic+0x118/0x2f0
[    1.250600]  do_exit.cold+0x14/0x14
[    1.250700]  </TASK>
[    1.250800] Kernel Offset: 0x2000000 from 0xffffffff81000000
[    1.250900] ---[ end Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100 ]---
";

/// The names of what is found, in order, and the text.
pub(super) const FAILURES: &[(&[&str], &str)] = &[
    (&["init-exited"], PANIC),
    (
        &["root-missing"],
        "[    0.9] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)
[    0.9] Call Trace:
[    1.0] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0) ]---",
    ),
    (
        &["init-missing"],
        "[    1.0][    T1] Kernel panic - not syncing: No working init found.  Try passing init= option to kernel.
[    1.0][    T1] ---[ end Kernel panic - not syncing: No working init found. ]---",
    ),
    (
        &["init-missing"],
        "Kernel panic - not syncing: Requested init /nonesuch failed (error -2).",
    ),
    (
        &["out-of-memory"],
        "[    0.4] Kernel panic - not syncing: System is deadlocked on memory",
    ),
    (
        &["lockup-panic"],
        "[   30.0] Kernel panic - not syncing: softlockup: hung tasks",
    ),
    (
        &["sysrq-crash"],
        "[    3.0] Kernel panic - not syncing: sysrq triggered crash",
    ),
    (&["panic"], "[    3.0] Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: f"),
    (&["panic"], "[    3.0] ---[ end Kernel panic - not syncing: the beginning was lost ]---"),
    (
        &["oops", "oops-panic"],
        "[    2.0] BUG: kernel NULL pointer dereference, address: 0000000000000010
[    2.0] #PF: supervisor read access in kernel mode
[    2.0] #PF: error_code(0x0000) - not-present page
[    2.0] PGD 0 P4D 0
[    2.0] Oops: Oops: 0000 [#1] PREEMPT SMP NOPTI
[    2.0] CPU: 0 UID: 0 PID: 77 Comm: insmod Not tainted 6.12.0 #1
[    2.0] RIP: 0010:broken_init+0xa/0x1000 [broken]
[    2.0] Call Trace:
[    2.0]  <TASK>
[    2.0]  do_one_initcall+0x5b/0x310
[    2.0]  </TASK>
[    2.0] Modules linked in: broken(O+)
[    2.0] CR2: 0000000000000010
[    2.0] ---[ end trace 0000000000000000 ]---
[    2.1] Kernel panic - not syncing: Fatal exception
[    2.1] ---[ end Kernel panic - not syncing: Fatal exception ]---",
    ),
    (
        &["bug"],
        "[    2.0] ------------[ cut here ]------------
[    2.0] kernel BUG at mm/slub.c:448!
[    2.0] invalid opcode: 0000 [#1] PREEMPT SMP
[    2.0] RIP: 0010:f+0x1/0x2
[    2.0] ---[ end trace 0000000000000000 ]---",
    ),
    (
        &["bug"],
        "[    2.0] kernel BUG at fs/inode.c:7!
[    2.0] Oops: invalid opcode: 0000 [#1] PREEMPT SMP
[    2.0] ---[ end trace 0000000000000000 ]---",
    ),
    (
        &["general-protection"],
        "[    2.0] Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP
[    2.0] ---[ end trace 0000000000000000 ]---",
    ),
    (
        &["general-protection"],
        "[    2.0] general protection fault, maybe for address 0x0: 0000 [#1] SMP
[    2.0] ---[ end trace 0000000000000000 ]---",
    ),
    (&["oops"], "[    2.0] divide error: 0000 [#1] SMP\n[    2.0] ---[ end trace 0 ]---"),
    (&["oops"], "[    2.0] Oops: 0002 [#1] SMP\n[    2.0] ---[ end trace 0 ]---"),
    (&["bug"], "[    2.0] BUG: sleeping function called from invalid context at kernel/locking/mutex.c:1"),
    (&["bug"], "[    2.0] BUG: scheduling while atomic: swapper/0/1/0x00000002"),
    (
        &["kasan"],
        "[    2.0] ==================================================================
[    2.0] BUG: KASAN: slab-out-of-bounds in f+0x1/0x2
[    2.0] Read of size 4 at addr ffff888000000000 by task insmod/7
[    2.0] ==================================================================",
    ),
    (&["kcsan"], "[    2.0] BUG: KCSAN: data-race in f / g"),
    (&["kfence"], "[    2.0] BUG: KFENCE: use-after-free read in f+0x1/0x2"),
    (&["ubsan"], "[    2.0] UBSAN: array-index-out-of-bounds in drivers/a.c:1:2"),
    (&["soft-lockup"], "[   26.0] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [insmod:77]"),
    (&["hard-lockup"], "[   26.0] watchdog: Watchdog detected hard LOCKUP on cpu 0"),
    (&["hard-lockup"], "[   26.0] NMI watchdog: Watchdog detected hard LOCKUP on cpu 1"),
    (
        &["hung-task", "hung-task"],
        "[  242.0] INFO: task init:1 blocked for more than 120 seconds.
[  242.0]       Not tainted 6.12.0 #1
[  242.0] INFO: task kworker/0:1:9 blocked for more than 120 seconds.",
    ),
    (&["rcu-stall"], "[   21.0] rcu: INFO: rcu_preempt self-detected stall on CPU"),
    (&["rcu-stall"], "[   21.0] rcu: INFO: rcu_sched detected stalls on CPUs/tasks:"),
    (&["rcu-stall"], "[   21.0] rcu: rcu_preempt kthread starved for 5252 jiffies!"),
    (&["initrd-broken"], "[    0.5] Initramfs unpacking failed: invalid magic at start of compressed archive"),
    (&["initrd-broken"], "[    0.5] Initramfs unpacking failed: write error"),
    (&["initrd-tail"], "[    0.5] Initramfs unpacking failed: Decoding failed"),
    (&["initrd-broken"], "[    0.5] rootfs image is not initramfs (no cpio magic); looks like an initrd"),
    (&["oom-kill"], "[    5.0] a.out invoked oom-killer: gfp_mask=0x140cca, order=0\n[    5.0] Out of memory: Killed process 7 (a.out)"),
    (&["decompression-failed"], "\n\nXZ-compressed data is corrupt\n\n -- System halted"),
    (&["root-missing", "initramfs-shell"], "ALERT!  /dev/sda1 does not exist.  Dropping to a shell!\n\n\n(initramfs) "),
    (&["root-missing"], "Gave up waiting for root file system device.  Common problems:"),
    (&["root-missing"], "[    2.0] dracut: FATAL: No or empty root= argument"),
    (&["root-missing"], "[    5.0] dracut-initqueue[314]: Warning: Could not boot."),
    (&["root-missing"], "Warning: /dev/disk/by-uuid/6d1f5ad3-4a3c does not exist"),
    (&["root-missing"], "[   20.2] dracut-initqueue[314]: Warning: \"/dev/vda1\" does not exist"),
    (&["root-missing"], "[DEPEND] Dependency failed for initrd-root-device.target - Initrd Root Device."),
    (&["root-missing"], "[DEPEND] Dependency failed for init\u{2026}e.target - Initrd Root Device."),
    (&["root-missing"], "[    4.1] systemd[1]: Dependency failed for Initrd Root Device."),
    (&["initramfs-shell"], "No init found. Try passing init= bootarg."),
    (&["initramfs-shell"], "dracut:/# "),
    (&["emergency-shell"], "You are in emergency mode. After logging in, type \"journalctl -xb\""),
    (&["emergency-shell"], "[  OK  ] Reached target Emergency Mode."),
    (&["emergency-shell"], "[  OK  ] Reached target emergency.target - Emergency Mode."),
    (&["emergency-shell"], "Cannot open access to console, the root account is locked."),
    (&["emergency-shell"], "Give root password for maintenance"),
    (&["warning"], "[    1.0] WARNING: CPU: 0 PID: 1 at kernel/a.c:12 f+0x1/0x2\n[    1.0] ---[ end trace 0000000000000000 ]---"),
    (&["warning"], "[    1.0] WARNING: kernel/a.c:12 at f+0x1/0x2, CPU#0: swapper/0/1"),
    (&["lockdep"], "[    1.0] WARNING: possible circular locking dependency detected"),
];

pub(super) const HARMLESS: &[&str] = &[
    "[    0.000000] Linux version 6.12.0 (debian) #1 SMP",
    "[    0.000000] Command line: console=ttyS0 panic=-1 oops=panic",
    "[    0.100000] rcu: RCU restricting CPUs from NR_CPUS=8192 to nr_cpu_ids=1.",
    "[    0.100000] rcu: Hierarchical RCU implementation.",
    "[    0.100000] rcu_preempt: started",
    "[    0.200000] Kernel panic_on_oops is 0",
    "[    0.500000] Run /init as init process",
    "[    3.000000] a.out[7]: segfault at 0 ip 0000000000401106 sp 00007ffe",
    "[    3.000000] traps: a.out[7] general protection fault ip:401106 sp:7ffe error:0 in a.out",
    "[    3.000000] random: crng init done",
    "[    3.000000] systemd[1]: Reached target basic.target - Basic System.",
    "[  OK  ] Reached target Basic System.",
    "[  OK  ] Started Emergency services of the hospital.",
    "grep -c 'Oops: ' /var/log/dmesg",
    "echo Kernel panic - not syncing",
    "Debian GNU/Linux 13 debian ttyS0",
    "debian login: ",
    "the file does not exist",
    "ls: /x: does not exist",
    "Warning: /etc/fstab does not exist",
    "[  OK  ] Reached target initrd-root-device.target - Initrd Root Device.",
    "[DEPEND] Dependency failed for swap.target - Swaps.",
    "WARNING: apt does not have a stable CLI interface.",
    "[    0.0] Kernel command line: BUG: no",
];
