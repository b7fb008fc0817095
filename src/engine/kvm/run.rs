//! The run: a thread for each vCPU, and how they all stop.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, Scope, ScopedJoinHandle},
    time::Duration,
};

use firmware_less::{plan::BootPlan, range::GuestRange};
use rustix::thread::{Pid, gettid};
use vmm_sys_util::{
    eventfd::EventFd,
    signal::{SIGRTMIN, register_signal_handler},
};

use super::{
    Error,
    crash::{self, Suspect},
    exit_loop, join,
    last_write::LastWrite,
    memory::GuestMemory,
    samples::Samples,
    vcpu::Vcpu,
    vm::{self, Vm},
    wiring::KvmWiring,
};
use crate::{
    devices::{
        Devices,
        pci::{Bus, Wiring},
        virtio::{Device, console::Keyboard},
    },
    engine::Kind,
    outcome::{CrashReport, End, Exits, Outcome},
    sandbox::{Sandbox, Thread, narrow},
    session::{PowerButton, Session},
};

/// How long vCPUs may take to stop before they are told again: a signal that
/// comes just before KVM_RUN goes unnoticed.
const PATIENCE: Duration = Duration::from_millis(1);

/// A VM that stands at the first instruction of the plan it was loaded with.
#[derive(Debug)]
pub struct LoadedVm<'m> {
    vm: Vm<'m>,
    plan: &'m BootPlan,
    bus: Option<Bus>,
    /// Where it is typed at, if not at the serial port.
    keyboard: Option<Arc<Keyboard>>,
}

impl<'m> Vm<'m> {
    /// Puts the vCPUs where `plan` wants them. Memory may still be loading, but
    /// not when the VM runs.
    pub fn ready(self, plan: &'m BootPlan) -> Result<LoadedVm<'m>, Error> {
        let state = plan.cpu();
        for vcpu in &self.vcpus {
            vcpu.set_msrs(&state.msrs)?;
        }
        self.mask_pics(state.pic_mask)?;
        if let Some(first) = self.vcpus.first() {
            first.set_registers(state)?;
            first.set_local_apic(&state.local_apic)?;
        }
        Ok(LoadedVm { vm: self, plan, bus: None, keyboard: None })
    }
}

impl LoadedVm<'_> {
    /// Puts `devices` on a PCI bus, each in the next slot, as the plan's machine has them.
    pub fn attach(mut self, devices: Vec<Box<dyn Device>>) -> Result<Self, Error> {
        if !devices.is_empty() {
            let wiring: Arc<dyn Wiring> = Arc::new(KvmWiring::new(Arc::clone(&self.vm.fd)));
            let bus = Bus::new(devices, self.vm.memory, &wiring).map_err(Error::Devices)?;
            self.bus = Some(bus);
        }
        Ok(self)
    }

    /// What is typed goes to `keyboard`, or where there is none, to the serial port.
    #[must_use]
    pub fn typed_at(self, keyboard: Option<Arc<Keyboard>>) -> Self {
        Self { keyboard, ..self }
    }

    /// Gives `see` the bytes of guest memory at `range`, in order.
    pub fn read_memory(&self, range: GuestRange, see: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        self.vm.memory.read_memory(range, see)
    }

    /// Runs the guest until the session is over.
    pub fn run(self, session: &Session, sandbox: &Sandbox) -> Result<Outcome, Error> {
        register_signal_handler(SIGRTMIN(), do_nothing).map_err(Error::SignalHandler)?;
        let Self { vm, plan, bus, keyboard } = self;
        let kind = if bus.is_some() { Thread::Devices } else { Thread::Vcpu };
        let devices = Devices::new(vm.serial_interrupt).with_bus(bus);
        session.attach_input(match keyboard {
            Some(keyboard) => keyboard,
            None => devices.serial(),
        });
        if let Some(line) = vm.power_button {
            session.attach_power_button(Arc::new(Button(line)));
        }
        sandbox.confine(Kind::Kvm);
        let guest = Guest {
            devices,
            session,
            kind,
            stopping: AtomicBool::new(false),
            samples: Samples::default(),
            last_write: LastWrite::default(),
            memory: vm.memory,
        };
        let threads: Vec<_> = vm.vcpus.iter().map(|_| OnceLock::new()).collect();
        let (end, left) = thread::scope(|scope| {
            let (present, departures) = mpsc::channel();
            let mut glance = || session.glanced(&guest.samples.glance(&threads), threads.len());
            let ran = guest
                .start(scope, vm.vcpus, &threads, &present)
                .map(|handles| (session.wait_and_glance(&mut glance), handles));
            drop(present);
            if ran.as_ref().is_ok_and(|(end, _)| end.is_hang()) {
                guest.samples.take(&threads);
            }
            guest.stop(&threads, &departures);
            ran.map(|(end, handles)| (end, handles.into_iter().map(join).collect::<Vec<_>>()))
        })?;
        let exits = left.iter().map(|left| left.exits.clone()).sum();
        let crash = crash_report(&end, &left, plan, vm.memory);
        let first = left.first().filter(|_| end.is_hang());
        let page_fault_handler =
            first.and_then(|left| crash::page_fault_handler(&left.vcpu, vm.memory));
        let samples = guest.samples.taken();
        let last_write = guest.last_write.get();
        Ok(Outcome { end, exits: Some(exits), crash, samples, last_write, page_fault_handler })
    }
}

/// The power button, by its interrupt line.
struct Button(EventFd);

impl PowerButton for Button {
    fn press(&self) {
        // Full means that it is pressed already, and that the guest does not look.
        self.0.write(1).ok();
    }
}

/// What all vCPU threads share.
pub(super) struct Guest<'s> {
    pub(super) devices: Devices,
    pub(super) session: &'s Session,
    /// Whose rules its threads are under.
    kind: Thread,
    /// Set when the run is over: no vCPU may enter the guest again.
    pub(super) stopping: AtomicBool,
    /// What vCPUs are at, where that is asked for.
    pub(super) samples: Samples,
    pub(super) last_write: LastWrite,
    pub(super) memory: &'s GuestMemory,
}

/// A vCPU that has left the guest for good.
struct Left<'m> {
    vcpu: Vcpu<'m>,
    exits: Exits,
    /// What went wrong, if it left because of that.
    failure: Option<String>,
}

impl Guest<'_> {
    fn start<'scope, 'm: 'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        vcpus: Vec<Vcpu<'m>>,
        threads: &'scope [OnceLock<Pid>],
        present: &Sender<()>,
    ) -> Result<Vec<ScopedJoinHandle<'scope, Left<'m>>>, Error> {
        let start_one = |(id, (vcpu, thread)): (usize, (Vcpu<'m>, &'scope OnceLock<Pid>))| {
            let presence = Presence { session: self.session, _channel: present.clone() };
            thread::Builder::new()
                .name(format!("vcpu{id}"))
                .spawn_scoped(scope, move || {
                    let _presence = presence;
                    thread.get_or_init(gettid);
                    narrow(self.kind);
                    self.run(vcpu, id)
                })
                .map_err(|source| Error::Thread { id, source })
        };
        vcpus.into_iter().zip(threads).enumerate().map(start_one).collect()
    }

    fn run<'m>(&self, mut vcpu: Vcpu<'m>, id: usize) -> Left<'m> {
        let mut exits = Exits::default();
        let mut failure = None;
        if let Some(cause) = exit_loop::run(&mut vcpu, self, id, &mut exits) {
            failure = cause.explanation;
            self.session.end(cause.end);
        }
        Left { vcpu, exits, failure }
    }

    /// Gets all vCPUs out of the guest, also those that are halted in KVM.
    fn stop(&self, threads: &[OnceLock<Pid>], departures: &Receiver<()>) {
        self.stopping.store(true, Ordering::SeqCst);
        self.memory.abandon();
        loop {
            for thread in threads.iter().filter_map(OnceLock::get) {
                vm::interrupt(*thread);
            }
            // Nobody sends: the channel closes when the last vCPU has left.
            if departures.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }
}

/// That a vCPU thread is there. Ends the run if it dies of a bug of ours, for
/// nobody else would.
struct Presence<'s> {
    session: &'s Session,
    _channel: Sender<()>,
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.session.end(End::EngineFailure { reason: "a vCPU thread panicked".to_owned() });
        }
    }
}

/// What to print: the vCPU that failed, or all of a guest that hangs.
fn crash_report(
    end: &End,
    left: &[Left<'_>],
    plan: &BootPlan,
    memory: &GuestMemory,
) -> Option<CrashReport> {
    let hangs = end.is_hang();
    let lines: Vec<_> = left
        .iter()
        .enumerate()
        .filter_map(|(id, left)| {
            let failure = left.failure.as_deref().or(hangs.then_some("still running"))?;
            Some(crash::describe(&Suspect { id, vcpu: &left.vcpu, failure }, plan, memory))
        })
        .flatten()
        .collect();
    (!lines.is_empty()).then_some(CrashReport { lines })
}

/// The handler of the signal that interrupts KVM_RUN: to interrupt is all.
extern "C" fn do_nothing(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
