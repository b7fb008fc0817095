//! The ways to run a guest's code over a [`BootPlan`].
//!
//! [`Engine::choose`] decides which; [`Engine::run`] does it. Both engines
//! implement the same [`Machine`].

pub mod kvm;
mod others;
pub mod tcg;

use std::{fmt, io, path::PathBuf, sync::Arc, thread};

use firmware_less::{
    machine::{Board, Machine},
    plan::BootPlan,
    range::GuestRange,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    attached::{Attached, NetworkError, ShareError},
    cli::{EngineOption, Plug},
    devices::virtio::{
        Device,
        console::{Console, Keyboard},
        vsock::Vsock,
    },
    digest::{self, Digest, Expected},
    exit,
    files::Files,
    messages::chain,
    outcome::{End, Outcome},
    readiness,
    sandbox::Sandbox,
    session::{Milestone, Session},
};

/// Why a plan can't be run.
#[derive(Debug, Error)]
pub enum Error {
    /// KVM was asked for and can't be used.
    #[error("KVM is not usable: {0}")]
    KvmUnusable(kvm::Support),
    /// Neither engine can be used.
    #[error("no usable engine: KVM is not ({kvm}), and QEMU is not either")]
    None {
        /// Why not KVM.
        kvm: kvm::Support,
        /// Why not QEMU.
        #[source]
        tcg: tcg::Error,
    },
    /// KVM failed while the VM was made.
    #[error("KVM engine")]
    Kvm(#[from] kvm::Error),
    /// QEMU failed before the guest ran.
    #[error("TCG engine")]
    Tcg(#[from] tcg::Error),
    /// A network card can't be plugged in.
    #[error("--net {plug}")]
    Network {
        /// Into what.
        plug: Plug,
        /// Why not.
        #[source]
        source: NetworkError,
    },
    /// Huge pages that are set aside are for guests on KVM.
    #[error("--hugepages is for guests on KVM, and this one is on the TCG engine")]
    NoHugePages,
    /// A folder can't be shared.
    #[error("--share {}", path.display())]
    Share {
        /// As the user named it.
        path: PathBuf,
        /// Why not.
        #[source]
        source: ShareError,
    },
    /// What the guest depends on can't be watched.
    #[error("can't watch the processes that the guest depends on")]
    Watch(#[source] io::Error),
    /// What is to be loaded can't be hashed.
    #[error(transparent)]
    Sources(#[from] Box<crate::error::Error>),
    /// Guest memory can't be read back.
    #[error("can't read guest memory")]
    ReadBack(#[source] io::Error),
    /// Guest memory does not hold what the files did.
    #[error(
        "guest memory does not hold what was planned: its digest is {}, wanted {} \
         (did a file change meanwhile?)",
        digest::hex(found),
        digest::hex(wanted)
    )]
    Digest {
        /// Over guest memory.
        found: Digest,
        /// Over the files.
        wanted: Digest,
    },
}

impl Error {
    /// The exit status; [`crate::exit`] has the table.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Digest { .. } => exit::DATA,
            Self::Sources(error) => error.exit_status(),
            Self::Network { source, .. } => source.exit_status(),
            Self::Share { source, .. } => source.exit_status(),
            Self::Kvm(kvm::Error::Read { .. } | kvm::Error::ShortRead { .. })
            | Self::Tcg(tcg::Error::Copy { .. } | tcg::Error::Shrunk { .. }) => exit::IO,
            _ => exit::NO_ENGINE,
        }
    }

    /// The way out, where we know it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::KvmUnusable(_) => {
                Some("try --engine tcg; `ukivm doctor` says what this host can do".into())
            }
            Self::None { .. } | Self::Tcg(tcg::Error::NoQemu { .. }) => {
                Some("`ukivm doctor` says what this host can do, and how to mend it".into())
            }
            Self::Network { source, .. } => source.hint(),
            Self::Kvm(kvm::Error::HugePages { wanted, host, .. }) => Some(host.hint(*wanted)),
            Self::NoHugePages => {
                Some("leave --hugepages out, or see by `ukivm doctor` what KVM lacks here".into())
            }
            Self::Share { source, .. } => source.hint(),
            Self::Sources(error) => error.hint(),
            _ => None,
        }
    }
}

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `/dev/kvm`.
    Kvm,
    /// QEMU's TCG.
    Tcg,
}

impl Kind {
    /// `machine` as this engine has it.
    #[must_use]
    pub fn equip(self, machine: Machine) -> Machine {
        machine.with_board(match self {
            Self::Kvm => Board::Bare,
            Self::Tcg => Board::Q35,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

/// The engine chosen, and why it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// Which.
    pub kind: Kind,
    /// Why, for a person.
    pub reason: String,
}

impl Engine {
    /// The engine to use: as asked, or KVM where it can run a kernel, else TCG.
    pub fn choose(option: EngineOption) -> Result<Self, Error> {
        match option {
            EngineOption::Tcg => {
                tcg::installed()?;
                Ok(Self { kind: Kind::Tcg, reason: "as asked".into() })
            }
            // Asked for by name: tiny guests run where kernels do not, and whoever
            // knows that it works need not wait for a self-test.
            EngineOption::Kvm => match kvm::check() {
                Ok(()) => Ok(Self { kind: Kind::Kvm, reason: "as asked".into() }),
                Err(support) => Err(Error::KvmUnusable(support)),
            },
            EngineOption::Auto => Self::best(kvm::probe()),
        }
    }

    /// The same for guests of ours, which run on a KVM too that can't run kernels.
    pub fn for_guests(option: EngineOption) -> Result<Self, Error> {
        match (option, kvm::check()) {
            (EngineOption::Auto, Ok(())) => {
                Ok(Self { kind: Kind::Kvm, reason: "any KVM runs the probe".into() })
            }
            (option, _) => Self::choose(option),
        }
    }

    /// The engine that `auto` takes on a host with such a KVM.
    pub fn best(kvm: kvm::Support) -> Result<Self, Error> {
        match kvm {
            kvm::Support::Works => Ok(Self { kind: Kind::Kvm, reason: "KVM works here".into() }),
            support => match tcg::installed() {
                Ok(()) => Ok(Self {
                    kind: Kind::Tcg,
                    reason: format!("KVM is not usable: {support}; emulation is slow"),
                }),
                Err(tcg) => Err(Error::None { kvm: support, tcg }),
            },
        }
    }

    /// Why a kernel could not have run here, to be asked when one has not.
    #[must_use]
    pub fn why_no_kernel(&self) -> Option<String> {
        match (self.kind == Kind::Kvm).then(kvm::probe)? {
            kvm::Support::CannotRunKernels { reason } => {
                Some(format!("this host's KVM can't run kernels ({reason}); try --engine tcg"))
            }
            _ => None,
        }
    }

    /// Runs `plan`. With a `digest`, guest memory must have it before the first
    /// instruction.
    pub fn run(&self, load: &Load<'_>, session: &Session) -> Result<Outcome, Error> {
        match self.kind {
            Kind::Kvm => run_kvm(load, session),
            Kind::Tcg => run_tcg(load, session),
        }
    }
}

/// What to load, and how to tell that it was.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// What goes where.
    pub plan: &'a BootPlan,
    /// Where its bytes are.
    pub files: &'a Files,
    /// Whether its memory is in huge pages that the host has set aside.
    pub huge_pages: bool,
    /// What the machine has on PCI.
    pub attached: &'a Attached,
    /// What guest memory must hash to before the first instruction, if that is to be seen.
    pub expected: Option<&'a Expected>,
    /// What is left to this process when the guest runs.
    pub sandbox: &'a Sandbox,
    /// A VM that was begun already, for the first run on KVM.
    pub ahead: Option<&'a kvm::Ahead>,
}

/// Makes the VM and fills its memory side by side; the initrd comes while the guest
/// runs already, unless its bytes are needed before.
fn run_kvm(load: &Load<'_>, session: &Session) -> Result<Outcome, Error> {
    let machine = load.plan.machine();
    let memory = if load.huge_pages {
        // In a file, too.
        kvm::GuestMemory::in_huge_pages(machine)?
    } else if machine.has_shares() {
        kvm::GuestMemory::in_a_file(machine).map_err(kvm::Error::File)?
    } else {
        kvm::GuestMemory::new(machine)?
    };
    thread::scope(|scope| {
        let maker = scope.spawn(|| {
            let vm = match load.ahead {
                Some(ahead) => kvm::Vm::go_on(ahead, machine, &memory),
                None => kvm::Vm::create(machine, &memory),
            };
            session.mark(Milestone::VmCreated);
            vm
        });
        let plugger = load.attached.has_others().then(|| scope.spawn(|| plug_in(load, false)));
        let hasher = load.expected.map(|expected| scope.spawn(|| hash(expected, load, session)));
        let loaded = if load.expected.is_some() {
            memory.load(load.plan, load.files).map(|()| None)
        } else {
            memory.load_first(load.plan, load.files)
        };
        session.mark(Milestone::MemoryLoaded);
        let rest = loaded.map(|rest| rest.map(|rest| scope.spawn(|| load_rest(rest, session))));
        let vm = join(maker);
        let ran = rest.and_then(|rest| Ok((vm?.ready(load.plan)?, rest))).map_err(Error::from);
        let ran = ran.and_then(|(vm, rest)| {
            if let Some((expected, hasher)) = load.expected.zip(hasher) {
                let read = |range, see: &mut dyn FnMut(&[u8])| {
                    vm.read_memory(range, see).map_err(io::Error::other)
                };
                let wanted = verify(expected, read, || join(hasher), session)?;
                memory.write(expected.address(), &wanted)?;
            }
            plugger.map_or(Ok(()), join)?;
            let (devices, keyboard) = devices(load, session).map_err(kvm::Error::Devices)?;
            let vm = vm.attach(devices)?.typed_at(keyboard);
            let run = || Ok(vm.run(session, load.sandbox)?);
            Ok((others::watched(load, session, run)?, rest))
        });
        memory.abandon();
        let (outcome, rest) = ran?;
        // What could not be read comes before what the guest did without it.
        rest.map_or(Ok(()), join)?;
        Ok(outcome)
    })
}

/// Plugs in the machine's network cards, and has its shares served.
fn plug_in(load: &Load<'_>, anew: bool) -> Result<(), Error> {
    let failed = |(plug, source)| Error::Network { plug, source };
    load.attached.plug_in(anew).map_err(failed)?;
    load.attached.serve(anew).map_err(|(path, source)| Error::Share { path, source })
}

/// Loads what the guest did not need at once. If that fails, the run is over.
fn load_rest(rest: kvm::Rest<'_>, session: &Session) -> Result<(), kvm::Error> {
    let loaded = rest.load();
    match &loaded {
        Ok(()) => session.mark(Milestone::RestLoaded),
        Err(error) => session.end(End::EngineFailure { reason: chain(error) }),
    }
    loaded
}

/// What a thread gives; its panic becomes ours.
fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The machine's devices on PCI, each in its slot, and where the one is typed at that is a
/// console.
fn devices(load: &Load<'_>, session: &Session) -> io::Result<(Vec<Box<dyn Device>>, Keys)> {
    let machine = load.plan.machine();
    let mut devices = load.attached.devices()?;
    let mut keyboard = None;
    if machine.has_console() {
        let keys = keyboard.insert(Keyboard::new()?);
        let (speaker, size) = (session.speaker(), session.terminal_size());
        devices.push(Box::new(Console::new(speaker, Arc::clone(keys), size)));
    }
    if machine.has_vsock() {
        devices.push(Box::new(Vsock::new(readiness::PORT, session.listener())));
    }
    Ok((devices, keyboard))
}

/// A console's keyboard, where there is a console.
type Keys = Option<Arc<Keyboard>>;

fn run_tcg(load: &Load<'_>, session: &Session) -> Result<Outcome, Error> {
    plug_in(load, true)?;
    let vm = load_tcg(load, session)?;
    others::watched(load, session, || Ok(vm.run(session, (load.attached, load.sandbox))?))
}

/// Runs a plan on the TCG engine and counts its guest's instructions.
pub fn count(load: &Load<'_>, session: &Session) -> Result<tcg::Counted, Error> {
    Ok(load_tcg(load, session)?.count(session, load.sandbox)?)
}

/// How many instructions the guest of a plan executes before that at `address`, on
/// the TCG engine; nothing if it never comes there.
pub fn count_to(load: &Load<'_>, address: u64, session: &Session) -> Result<Option<u64>, Error> {
    Ok(load_tcg(load, session)?.count_to(address, session, load.sandbox)?)
}

fn load_tcg(load: &Load<'_>, session: &Session) -> Result<tcg::LoadedVm, Error> {
    if load.huge_pages {
        return Err(Error::NoHugePages);
    }
    let vm = tcg::Vm::create(load.plan.machine())?;
    session.mark(Milestone::VmCreated);
    let Some(expected) = load.expected else {
        let loaded = vm.load(load.plan, load.files)?;
        session.mark(Milestone::MemoryLoaded);
        return Ok(loaded);
    };
    // QEMU takes its memory as it is, so purgatory's digest comes before.
    let digest = hash(expected, load, session)?;
    let plan = expected.plan(load.files).map_err(Box::new)?;
    let loaded = vm.load(&plan, load.files)?;
    session.mark(Milestone::MemoryLoaded);
    verify(expected, |range, see| loaded.read_memory(range, see), || Ok(digest), session)?;
    Ok(loaded)
}

/// The digest of what is to be placed.
fn hash(expected: &Expected, load: &Load<'_>, session: &Session) -> Result<Digest, Error> {
    let digest = expected.compute(load.files).map_err(Box::new)?;
    session.mark(Milestone::SourcesDigested);
    Ok(digest)
}

/// Compares guest memory with the digest of what was to be placed, which `wanted` gives.
fn verify(
    expected: &Expected,
    read: impl FnMut(GuestRange, &mut dyn FnMut(&[u8])) -> io::Result<()>,
    wanted: impl FnOnce() -> Result<Digest, Error>,
    session: &Session,
) -> Result<Digest, Error> {
    let found = digest::of_memory(&expected.ranges(), read).map_err(Error::ReadBack)?;
    let wanted = wanted()?;
    session.mark(Milestone::MemoryVerified);
    if found == wanted { Ok(wanted) } else { Err(Error::Digest { found, wanted }) }
}
