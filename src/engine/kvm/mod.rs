//! The KVM engine: guest code runs on the host's own processors.
//!
//! A VM goes through stages, each consuming the last: [`Vm::create`], then
//! [`Vm::ready`], then [`LoadedVm::run`]. Guest memory comes first and alone,
//! so that loading it and making the VM can go on side by side:
//!
//! ```text
//! GuestMemory::new ─┬─ memory.load_first(plan, files) ─┬─ vm.ready(plan) ── run(session)
//!                   │                                  └─ rest.load()
//!                   └─ Vm::create(machine) ──────────────┘
//! ```
//!
//! What the guest does not need at once is loaded while it runs ([`Rest`]), and a VM without
//! anything can be made before it is known what is to run ([`Ahead`]).

use std::{io, panic, path::PathBuf, thread::ScopedJoinHandle};

use firmware_less::{plan::FileId, range::GuestRange};
use kvm_ioctls::Kvm;
use thiserror::Error;
use vmm_sys_util::errno;

mod ahead;
mod chunk;
mod cpuid;
mod crash;
mod exit_loop;
mod exit_reason;
mod huge;
mod last_write;
mod later;
mod load;
mod memory;
mod regions;
mod run;
mod samples;
mod self_test;
mod support;
mod vcpu;
mod vm;
mod wiring;

pub use ahead::Ahead;
pub use huge::OfHost;
pub use load::Rest;
pub use memory::GuestMemory;
pub use run::LoadedVm;
pub use support::{Absence, Support, check, extensions, probe};
pub use vm::Vm;
pub(crate) use vm::{attach_tap, preadv, pwritev};

/// The device that is KVM.
const DEVICE: &str = "/dev/kvm";

/// What the host can't do, or a file that can't be read. What the guest does
/// wrong is an outcome, never one of these.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// KVM can't be opened.
    #[error("can't open {DEVICE}")]
    Open(#[source] errno::Error),
    /// A KVM call failed.
    #[error("{call} failed")]
    Kvm {
        /// Its name in the kernel's documentation.
        call: &'static str,
        /// What the kernel said.
        source: errno::Error,
    },
    /// KVM does not know a register that the plan sets.
    #[error("KVM_SET_MSRS refused {value:#x} in MSR {index:#x}")]
    Msr {
        /// Which register.
        index: u32,
        /// What was to be in it.
        value: u64,
    },
    /// The host's CPU lacks what the machine is to have.
    #[error("this host's KVM offers no {feature}")]
    NoFeature {
        /// What is lacking.
        feature: &'static str,
    },
    /// Address space for guest RAM can't be had.
    #[error("can't reserve guest RAM {range}")]
    Reserve {
        /// Which RAM.
        range: GuestRange,
        /// What the kernel said.
        source: vm_memory::mmap::MmapRegionError,
    },
    /// The host has set too few huge pages aside.
    #[error("--hugepages: guest memory takes {wanted} huge pages of 2 MiB, {host}")]
    HugePages {
        /// How many it takes.
        wanted: u64,
        /// What the host has of them.
        host: OfHost,
        /// What the kernel said.
        source: io::Error,
    },
    /// Memory for a guest that shares it can't be had.
    #[error("can't make a file for guest RAM")]
    File(#[source] io::Error),
    /// A range that is not in RAM.
    #[error("{range} is not wholly in guest RAM")]
    NotRam {
        /// Which range.
        range: GuestRange,
    },
    /// What was read while the guest ran can't be put in its place.
    #[error("can't move what was read to its place in guest RAM, {range}")]
    Move {
        /// Which place.
        range: GuestRange,
        /// What the kernel said.
        source: io::Error,
    },
    /// A plan made for other files than these.
    #[error("the plan refers to file {}, which is not open", file.0)]
    NoSuchFile {
        /// Which one.
        file: FileId,
    },
    /// A file that can't be read.
    #[error("{}: can't read at offset {offset:#x}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file that ends too early: it shrank since it was opened.
    #[error(
        "{} ends at offset {found:#x} by now, the plan wants it up to {wanted:#x}",
        path.display()
    )]
    ShortRead {
        /// Which file.
        path: PathBuf,
        /// Where it ends.
        found: u64,
        /// Where it was to end at the earliest.
        wanted: u64,
    },
    /// No files for devices on PCI.
    #[error("can't make the devices")]
    Devices(#[source] io::Error),
    /// No eventfd for an interrupt line.
    #[error("can't create an eventfd")]
    EventFd(#[source] io::Error),
    /// No handler for the signal that stops vCPUs.
    #[error("can't install a signal handler")]
    SignalHandler(#[source] errno::Error),
    /// No thread for a vCPU.
    #[error("can't start a thread for vCPU {id}")]
    Thread {
        /// Which vCPU.
        id: usize,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The error of that KVM call, for `map_err`.
fn during(call: &'static str) -> impl FnOnce(errno::Error) -> Error {
    move |source| Error::Kvm { call, source }
}

/// What a thread gives; its panic becomes ours.
fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
}

fn open() -> Result<Kvm, Error> {
    Kvm::new().map_err(Error::Open)
}
