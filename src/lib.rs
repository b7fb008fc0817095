//! ukivm boots a Unified Kernel Image in a virtual machine with no firmware.
//!
//! ```text
//!                    firmware-less/   pure                             src/   effects
//!  foo.efi ──► Uki ──► Handed ───────┐
//!              which   kernel, initrd│
//!  Reading ──► bytes   parts, cmdline▼
//!              are what             Layout ──► BootPlan ────────► Engine ───────► run ──────► Outcome
//!                                   where it   where + bytes      kvm | tcg       exits,      how it ended,
//!  Machine ────────────────────────► all goes  + CPU state        load(plan)      devices     exit status,
//!  (RAM, vCPUs, ports, IRQs)                                                                  timeline
//! ```
//!
//! Everything up to the [`BootPlan`](firmware_less::plan::BootPlan) is in the
//! crate `firmware_less`: values in, values out. This crate opens the files
//! ([`files`], [`job`]), runs the plan ([`engine`]), stands between the guest's
//! console and the host's ([`session`], [`console`]) and says how it went
//! ([`outcome`], [`timeline`], [`report`]) and what that comes to ([`verdict`]).
//! Of these the verdict is as pure as the plan: bytes and times in, a status out.
//! [`bench`](mod@bench) does it again and again, in processes of their own, and compares.
//!
//! # Running a plan
//!
//! ```no_run
//! use std::{path::Path, time::Instant};
//!
//! use firmware_less::{
//!     acceptance::Accepted,
//!     handoff::kexec::{self, Flavour, Options, Platform},
//!     machine::Machine,
//!     uki::{Reading, handed::Choice},
//! };
//! use ukivm::{
//!     attached::Attached,
//!     cli::EngineOption,
//!     engine::{Engine, Load},
//!     files::{Files, OpenFile},
//!     sandbox::Sandbox,
//!     session::{Limits, Session},
//!     timeline::Timeline,
//! };
//!
//! let engine = Engine::choose(EngineOption::Auto)?;
//! let uki = OpenFile::open(Path::new("foo.efi"))?;
//! let found = Accepted::read(&uki, Reading::Stub, &Choice::default())?;
//! let machine = engine.kind.equip(Machine::new(1 << 30, 1)?);
//! let platform = Platform::of(&machine);
//! let options = Options { flavour: Flavour::Modern, seed: [7; 32] };
//! let plan = kexec::lay_out(&machine, platform, &found.kernel, &found.handed, &options)?;
//! let plan = plan.plan(None)?;
//!
//! // The plan says which bytes of which file go where: the UKI is the first.
//! let mut files = Files::default();
//! files.push(uki);
//! let load = Load {
//!     plan: &plan,
//!     files: &files,
//!     huge_pages: false,
//!     attached: &Attached::default(),
//!     expected: None,
//!     sandbox: &Sandbox::none(),
//!     ahead: None,
//! };
//! let start = Instant::now();
//! let limits = Limits { start, time_limit: None, interactive: false };
//! // The guest's console is standard input and output.
//! let session = Session::new(limits, Timeline::new(start))?;
//! let outcome = engine.run(&load, &session)?;
//! session.finish();
//! println!("{:?}", outcome.end);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Decisions
//!
//! What a newcomer may want to undo, and why it is so. A measurement may change
//! any of them.
//!
//! - Our own loader on linux-loader's `boot_params`: its bzImage loader lacks
//!   checks that kexec makes, and stops at the file's end, not at `init_size`.
//! - ACPI is hardware-reduced and not optional: distribution kernels parse no MP
//!   tables. It costs a trick at the reset vector
//!   ([`firmware_less::reset_vector`]), since such guests reboot by the BIOS.
//! - Power-off and reset are there from the start: a guest that halts in an
//!   in-kernel APIC never leaves KVM_RUN.
//! - Guest RAM is anonymous, 2 MiB-aligned like its guest addresses, in huge
//!   pages where the host has them; files are read straight into it. Copying
//!   64 MiB into huge pages took 13 ms where small ones took 60.
//! - All RAM is mapped at entry; low memory keeps a usable range, where a kernel
//!   finds room for its five-level trampoline.
//! - RAM has one hole, from 2 to 4 GiB, as QEMU's q35 can have it. ACPI tables lie
//!   in 0xe0000–0xeffff, the part of the BIOS area that is RAM there.
//! - The size of page-table leaves and five-level paging are the machine's, never
//!   the host's: the same options give the same plan everywhere.
//! - A reading of the UKI format is a row of data, and one piece of code follows
//!   the rows ([`firmware_less::uki::reading`]): what readings differ in can be
//!   seen side by side, and is in no `if`.
//! - The UKI's own command line applies unless an option says otherwise; an
//!   explicit option is consent.
//! - The guest's console goes through a queue and a thread of its own: a vCPU
//!   pays no system call a byte, and what is read from the lines costs it nothing.
//! - What the console says is looked at where it is written, by the vCPU: what the
//!   guest says comes before what it does next. One pass for a few dozen texts is
//!   all that most lines cost.
//! - Several UKIs are booted in a process each, not in threads: signals, clocks and
//!   a crash of ours stay with one of them.
//! - The TCG engine's QEMU is killed, not asked to quit: nothing of its state is
//!   wanted by then, and a kill can't hang. Only a counted run's is asked, since it
//!   writes the end of its log then.
//! - Instructions are counted by QEMU's replay log, which says for each byte that the
//!   guest writes how many came before ([`engine::tcg::count`]). The kernel's own time
//!   stamps are as exact but begin late, and a stop at an address moves the clock.

pub mod addons;
pub mod attached;
pub mod bench;
pub mod bug;
mod cache;
mod child;
pub mod cli;
pub mod commands;
pub mod console;
pub mod content;
pub mod credentials;
pub mod devices;
pub mod digest;
pub mod engine;
pub mod error;
pub mod exit;
pub mod exits;
pub mod files;
pub mod help;
pub mod job;
pub mod messages;
pub mod news;
pub mod outcome;
pub mod probe;
pub mod readiness;
pub mod report;
pub mod sandbox;
pub mod session;
mod signals;
pub mod symbols;
pub mod timeline;
pub mod unpacking;
pub mod verdict;
pub mod verify;
mod vigil;
pub mod visible;
