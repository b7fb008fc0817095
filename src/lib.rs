//! ukivm boots a Unified Kernel Image in a virtual machine with no firmware.
//!
//! ```text
//!                    firmware-less/   pure                             src/   effects
//!  foo.efi ──► Uki ──► Handed ───────┐
//!              which   kernel, initrd│
//!              bytes   parts, cmdline▼
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
//! ([`outcome`], [`timeline`], [`report`]).

pub mod addons;
pub mod cli;
pub mod commands;
pub mod console;
pub mod devices;
pub mod digest;
pub mod engine;
pub mod error;
pub mod exit;
pub mod files;
pub mod job;
pub mod messages;
pub mod outcome;
pub mod report;
pub mod session;
mod signals;
pub mod timeline;
