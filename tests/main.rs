//! Everything that is tested from outside: one binary, so that it links once.
#![expect(clippy::arithmetic_side_effects, reason = "an overflow in a test fails it")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

/// The GitHub Action's own scripts.
mod action;
/// Other ways to boot a UKI.
mod arms;
/// Benchmarks.
mod bench;
/// Whole kernels on both engines.
mod boot;
/// The command line: options, messages, exit statuses.
mod cli;
/// A host whose clock jumps.
mod clock;
/// `ukivm bench --count`, to the instruction.
mod count;
/// Credentials, and options that are some.
mod credentials;
/// What guests have written to disks is there.
mod data;
/// Debian with systemd.
mod debian;
/// In what two UKIs differ.
mod diff;
/// Kernels that are entered directly.
mod direct;
/// `--disk`, by refusals and by whole kernels.
mod disks;
/// Guest memory and CPU state before the first instruction, as files.
mod dump;
/// Thousands of boots.
mod endurance;
/// Verdicts on whole kernels that go wrong.
mod faults;
/// The same UKIs by firmware and systemd-stub, and without.
mod firmware;
/// SIGTERM and the power button.
mod grace;
/// What the kernel is handed: profiles, addons, credentials, console.
mod handed;
/// One kernel by every hand-off.
mod handoffs;
/// What ukivm says of a UKI: golden text, JSON, sections extracted.
mod hostile;
/// A virtio console, by whole kernels.
mod hvc0;
/// Faults of the host, injected.
mod injected;
mod inspect;
/// The KVM engine, on guests of a few instructions.
mod kvm;
/// How runs end, and what is left when they have.
mod lifecycle;
/// Malformed files, by whole runs.
mod malformed;
/// The values of PCR 11, for people and as JSON.
mod measure;
/// `--net` and `--publish`, by refusals and by whole kernels.
mod network;
/// Full file systems.
mod no_room;
/// From a guest to the next kernel, by a real kexec.
mod onward;
/// The kexec hand-off, and real ones.
mod oracle;
/// Man pages and completions.
mod packaging;
/// A user who is not root.
mod plain_user;
/// What ukivm says of a plan: golden text and JSON.
mod plan;
/// What a kernel is handed on both engines, by its own account.
mod probe;
/// Disks in qcow2 images.
mod qcow2;
/// What a system says of itself by vsock.
mod readiness;
/// `--as`: whose reading of a UKI applies.
mod readings;
/// How many bytes are read.
mod reads;
/// That each rule of the sandbox is needed.
mod rules;
/// What is left to a guest that breaks out.
mod sandbox;
/// What SECURITY.md promises.
mod security;
/// Folders that guests share with the host.
mod share;
/// Many VMs at once.
mod side_by_side;
/// The verdicts of `ukivm smoke`.
mod smoke;
/// Hosts without room, memory or readers.
mod starved;
/// What the other modules share: the program, hand-made UKIs, scratch files.
mod support;
/// How many system calls there are before the first instruction.
mod syscalls;
/// The TCG engine, with plans made by hand.
mod tcg;
/// The console on a terminal.
mod terminal;
/// What ukify says of a UKI, and what ukivm says of it.
mod ukify;
/// `--unpack-initrd`.
mod unpack_initrd;
/// Whom a UKI must come from, and what follows from that.
mod verify;
