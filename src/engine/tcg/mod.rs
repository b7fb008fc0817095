//! The TCG engine: QEMU's TCG as a CPU over our own plan.
//!
//! We fill guest RAM, a shared anonymous file, and make a boot ROM that sets the
//! CPU state of the plan and jumps to the kernel. QEMU supplies the CPU and the
//! q35 chipset, whose serial port, PM timer and registers are those that
//! [`Machine`] describes. It loads nothing and boots nothing: it is never given
//! a kernel, an initrd, a command line or firmware.
//!
//! [`Milestone::FirstEntry`] is the moment when QEMU, all set up, is told to let
//! the CPU run: the ROM's instructions, some hundred, come first. Exits can't be
//! counted, since none comes to us; its instructions can ([`count`]).
//!
//! [`Milestone::FirstEntry`]: crate::session::Milestone::FirstEntry

mod arguments;
mod channels;
pub mod count;
mod crash;
mod devices;
mod ending;
mod error;
mod memory;
mod qemu;
mod qmp;
mod reset_log;
mod rom;
mod serial;
mod watch;

#[cfg(test)]
#[path = "../../../tests/support/cpu_state.rs"]
mod cpu_state;

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::Arc,
    thread,
};

use firmware_less::{
    cpu_state::CpuState,
    layout,
    machine::Machine,
    plan::{BootPlan, Content, FileSlice, Piece, Placement},
    range::{GuestRange, index},
};

pub(crate) use self::arguments::EVENTS;
use self::{
    channels::{Channels, Count, QemuEnds},
    crash::Named,
    serial::{ConsoleInput, SerialInput},
    watch::{Seen, Watch},
};
pub use self::{
    count::Counts,
    error::Error,
    memory::Memory,
    qemu::{OVERRIDE, QemuFound, installed, qemu},
    rom::Error as StateError,
};
use crate::{
    attached::Attached,
    child::Child,
    devices::virtio::{VhostUser, vsock::Vsock},
    engine::{Kind, kvm::GuestMemory},
    files::{Files, Source},
    outcome::{End, Outcome},
    readiness,
    sandbox::Sandbox,
    session::{Input, Session},
};

/// A machine with empty memory.
#[derive(Debug)]
pub struct Vm {
    machine: Machine,
    qemu: QemuFound,
    memory: Memory,
}

/// A machine that holds a plan.
#[derive(Debug)]
pub struct LoadedVm {
    machine: Machine,
    qemu: QemuFound,
    memory: Arc<Memory>,
    rom: Vec<u8>,
    cpu: CpuState,
    /// What the plan has in the place of [`layout::SMBIOS`].
    smbios: Vec<u8>,
    /// What lies where, to name it should the guest crash there.
    ranges: Vec<Named>,
}

impl Vm {
    /// Finds QEMU and makes the memory; QEMU itself starts with the run.
    pub fn create(machine: &Machine) -> Result<Self, Error> {
        let qemu = qemu()?;
        let size = machine.memory();
        let memory = Memory::create(machine).map_err(|source| Error::Memory { size, source })?;
        Ok(Self { machine: machine.clone(), qemu, memory })
    }

    /// Fills memory as `plan` says.
    pub fn load(mut self, plan: &BootPlan, files: &Files) -> Result<LoadedVm, Error> {
        let mut smbios = Vec::new();
        for placement in plan.placements() {
            if let Some(bytes) = shown_by_rom(placement) {
                smbios = bytes.to_vec();
                continue;
            }
            check_visible(placement)?;
            self.fill(placement, files)?;
        }
        let rom = rom::boot_rom(plan.cpu(), None, &smbios, self.machine.has_pci())?;
        let named = |placement: &Placement| (placement.name, placement.range);
        Ok(LoadedVm {
            machine: self.machine,
            qemu: self.qemu,
            memory: Arc::new(self.memory),
            rom,
            cpu: plan.cpu().clone(),
            smbios,
            ranges: plan.placements().iter().map(named).collect(),
        })
    }

    fn fill(&mut self, placement: &Placement, files: &Files) -> Result<(), Error> {
        let name = placement.name;
        for piece in &placement.pieces {
            let address = placement.range.start().saturating_add(piece.offset);
            match &piece.content {
                Content::Bytes(bytes) => self
                    .memory
                    .write(address, bytes)
                    .map_err(|source| Error::Fill { name, source })?,
                Content::File(slice) => self.copy(name, *slice, address, files)?,
            }
        }
        if let Some(relocation) = &placement.relocation {
            let failed = |source| Error::Fill { name, source };
            let mut bytes = Vec::with_capacity(index(placement.range.len()));
            let mut take = |piece: &[u8]| bytes.extend_from_slice(piece);
            self.memory.read(placement.range, &mut take).map_err(failed)?;
            relocation.apply(bytes.as_mut_slice());
            self.memory.write(placement.range.start(), &bytes).map_err(failed)?;
        }
        Ok(())
    }

    fn copy(
        &mut self,
        name: &'static str,
        FileSlice { file: id, range }: FileSlice,
        address: u64,
        files: &Files,
    ) -> Result<(), Error> {
        let file = files.get(id).ok_or(Error::NoFile { name, file: id })?;
        let path = || file.path.clone();
        let copied = match &file.source {
            Source::File(file) => self.memory.copy_from(file, range, address),
            Source::Bytes(bytes) => {
                let part = bytes.get(index(range.offset())..index(range.end()));
                let part = part.unwrap_or_default();
                self.memory.write(address, part).map(|()| part.len() as u64)
            }
        };
        let copied = copied.map_err(|source| Error::Copy { path: path(), name, source })?;
        if copied < range.len() {
            let found = range.offset().saturating_add(copied);
            return Err(Error::Shrunk { path: path(), wanted: range.end(), found });
        }
        Ok(())
    }
}

/// What of the queues of a vsock device QEMU leaves to who serves it: not that of events
/// (hw/virtio/vhost-vsock-common.c).
const VSOCK_QUEUES: usize = 2;

/// RAM that the guest can't see: QEMU shows ROM there.
const BEHIND_ROM: GuestRange = GuestRange::constant(0xc_0000, 0x2_0000);

/// The bytes of a placement that the boot ROM can show in its place, having room
/// for it: the SMBIOS tables.
fn shown_by_rom(placement: &Placement) -> Option<&[u8]> {
    match placement.pieces.as_slice() {
        [Piece { offset: 0, content: Content::Bytes(bytes) }]
            if placement.range.start() == layout::SMBIOS.start()
                && layout::SMBIOS.contains(placement.range) =>
        {
            Some(bytes)
        }
        _ => None,
    }
}

fn check_visible(placement: &Placement) -> Result<(), Error> {
    let (name, at) = (placement.name, placement.range);
    match [BEHIND_ROM, rom::SHOWN_AT].into_iter().find(|rom| rom.overlaps(at)) {
        Some(rom) => Err(Error::BehindRom { name, at, rom }),
        None => Ok(()),
    }
}

impl LoadedVm {
    /// Guest memory; it can be read while the guest runs, and afterwards.
    #[must_use]
    pub fn memory(&self) -> Arc<Memory> {
        Arc::clone(&self.memory)
    }

    /// Shows the bytes of `range` to `take`, ascending, a piece at a time.
    pub fn read_memory(&self, range: GuestRange, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.memory.read(range, take)
    }

    /// Runs the guest until `session` is over.
    ///
    /// QEMU is bound to the calling thread's life and ends with it.
    pub fn run(
        self,
        session: &Session,
        (attached, sandbox): (&Attached, &Sandbox),
    ) -> Result<Outcome, Error> {
        let failed = |source| Error::Channel { what: "a file for a device", source };
        let (mut channels, mut ends) = Channels::open(&self.memory, &self.rom, Count::No)?;
        if self.machine.has_console() {
            channels.add_console(&mut ends)?;
        }
        let (vsock, their_vsock) = self.vsock(session).map_err(failed)?.unzip();
        let devices = devices::arguments(self.machine.slots(), attached, their_vsock);
        let (arguments, files) = devices.map_err(failed)?;
        ends.devices = arguments;
        ends.files.extend(files);
        let console = &mut |bytes: &[u8]| session.output(bytes);
        thread::scope(|scope| {
            // It ends when QEMU does, or was not started.
            let server = thread::Builder::new().name("vhost-user".to_owned());
            vsock
                .map(|vsock| server.spawn_scoped(scope, || vsock.serve()))
                .transpose()
                .map_err(failed)?;
            let seen = self.boot((session, sandbox), &channels, ends, console)?;
            Ok(self.outcome(session, &seen))
        })
    }

    /// The vsock device if the machine has one, and QEMU's end of it.
    fn vsock(&self, session: &Session) -> io::Result<Option<(VhostUser, OwnedFd)>> {
        if !self.machine.has_vsock() {
            return Ok(None);
        }
        let (ours, theirs) = UnixStream::pair()?;
        let memory = GuestMemory::shared(&self.machine, self.memory.file())?;
        let device = Box::new(Vsock::new(readiness::PORT, session.listener()));
        Ok(Some((VhostUser::new(ours, device, memory, VSOCK_QUEUES)?, theirs.into())))
    }

    /// Runs the guest until `session` is over, and counts its instructions: slower, and
    /// every time the same.
    ///
    /// The guest has one vCPU and gets no input. What it does depends on the plan and
    /// on QEMU's version, and on nothing else.
    pub fn count(self, session: &Session, sandbox: &Sandbox) -> Result<Counted, Error> {
        let (channels, ends) = self.counting(Count::All)?;
        let mut console = Vec::new();
        let seen = self.boot((session, sandbox), &channels, ends, &mut |bytes| {
            console.extend_from_slice(bytes);
            if console.len() > count::CONSOLE_MAX {
                session.end(End::EngineFailure { reason: count::Error::Console.to_string() });
            }
            session.output(bytes);
        })?;
        let log = channels.replay_log().map_err(Error::ReplayLog)?;
        let counts = Counts::new(&log, console, seen.marks);
        Ok(Counted { outcome: self.outcome(session, &seen), counts })
    }

    /// Runs the guest until it is about to execute the instruction at `address`, and
    /// tells how many it has executed; nothing if it printed `Linux version` or
    /// `session` was over before.
    pub fn count_to(
        self,
        address: u64,
        session: &Session,
        sandbox: &Sandbox,
    ) -> Result<Option<u64>, Error> {
        let (channels, ends) = self.counting(Count::UpTo(address))?;
        let mut late = count::Late::default();
        let seen = self.boot((session, sandbox), &channels, ends, &mut |bytes| {
            if late.sees(bytes) {
                session.end(End::Decided);
            }
        })?;
        if !seen.has_stopped {
            return Ok(None);
        }
        let log = channels.replay_log().map_err(Error::ReplayLog)?;
        Ok(Some(Counts::before_stop(&log, seen.marks)?))
    }

    /// Everything between us and a QEMU that counts, if this can be counted.
    fn counting(&self, count: Count) -> Result<(Channels, QemuEnds), Error> {
        count::check_machine(&self.machine)?;
        count::check_qemu(&self.qemu)?;
        let rom = rom::boot_rom(&self.cpu, Some(count::MARK), &self.smbios, false)?;
        Channels::open(&self.memory, &rom, count)
    }

    /// Runs QEMU to its end, with `see` for what the guest writes to its console.
    fn boot(
        &self,
        (session, sandbox): (&Session, &Sandbox),
        channels: &Channels,
        ends: QemuEnds,
        see: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Seen, Error> {
        let QemuEnds { numbers, files, standard, devices } = ends;
        let input = channels.serial_input()?;
        let keyboard = channels.console.is_some().then(|| channels.serial_input()).transpose()?;
        let keyboard = keyboard.map(|input| Arc::new(ConsoleInput::new(input)));
        let (over, end) = channels::over()?;
        let button = self.machine.has_power_button().then(|| channels.power_button());
        let button = button.transpose()?;
        let mut arguments = arguments::arguments(&self.machine, &self.qemu, numbers);
        arguments.extend(devices);
        if sandbox.is_on() {
            arguments.extend(arguments::SANDBOX.map(str::to_owned));
        }
        let program = &self.qemu.path;
        let limits = sandbox.of_qemu(program, &files, devices::makes_files(&arguments));
        let start = || Child::start_confined(program, &arguments, files, standard, limits);
        let failed = |source| Error::Start { path: self.qemu.path.clone(), source };

        thread::scope(|scope| {
            // Both are dropped by a panic too: then every thread here can end.
            let mut child = start().map_err(failed)?;
            let _presence = Presence(session);
            session.attach_input(match &keyboard {
                Some(keyboard) => Arc::clone(keyboard) as Arc<dyn Input>,
                None if numbers.counting.is_some() => Arc::new(NoInput),
                None => Arc::new(SerialInput(input)),
            });
            if let Some(button) = button {
                session.attach_power_button(Arc::new(button));
            }
            // Before its threads: privileges and files are a thread's own to give up.
            sandbox.confine(Kind::Tcg);
            scope.spawn(move || {
                session.wait();
                drop(end);
            });
            let serial = scope.spawn(|| serial::pump(&channels.serial, see));
            let console = channels.console.as_ref().zip(keyboard);
            let console = console.map(|(console, keyboard)| {
                let mut see = move |bytes: &[u8]| {
                    keyboard.spoke();
                    session.output(bytes);
                };
                scope.spawn(move || serial::pump(console, &mut see))
            });
            let seen = Watch::new(session, channels, &mut child, over, self.machine.cpus()).run();
            // The run is over when its last output has been passed on.
            serial.join().ok();
            console.map(|console| console.join().ok());
            session.end(ending::end(&seen, child.wait(), &channels.said.tail()));
            Ok(seen)
        })
    }

    fn outcome(&self, session: &Session, seen: &Seen) -> Outcome {
        Outcome {
            end: session.wait(),
            exits: None,
            crash: seen.dump.report(&self.ranges),
            samples: seen.dump.samples(),
            last_write: None,
            page_fault_handler: seen.dump.page_fault_handler(),
        }
    }
}

/// A counted run.
#[derive(Debug)]
pub struct Counted {
    /// How it ended.
    pub outcome: Outcome,
    /// After how many instructions the guest wrote what.
    pub counts: Result<Counts, count::Error>,
}

/// The input of a guest that is given none.
struct NoInput;

impl Input for NoInput {
    /// Takes all, and forgets it.
    fn take(&self, bytes: &[u8]) -> usize {
        bytes.len()
    }
}

/// That somebody watches QEMU. Ends the run if they die of a bug of ours, for
/// nobody else would.
struct Presence<'s>(&'s Session);

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end(End::EngineFailure { reason: "QEMU's watcher panicked".to_owned() });
        }
    }
}
