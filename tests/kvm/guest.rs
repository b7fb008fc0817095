//! Guests of a few instructions over hand-made plans, run on this host's KVM.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use firmware_less::{
    cpu_state::{CpuState, Registers},
    e820::MemoryMap,
    machine::{LeafSize, Machine, SLEEP_CONTROL_S5, port},
    page_tables::{PageTables, Shape},
    plan::{BootPlan, Placement},
    range::GuestRange,
};
use iced_x86::{IcedError, code_asm::*};
use ukivm::{
    engine::kvm::{GuestMemory, Support, Vm, probe},
    files::Files,
    outcome::{End, Outcome},
    sandbox::Sandbox,
    session::{Limits, Session},
    timeline::Timeline,
};

use crate::support::{cpu_state::cpu_state, skip};

/// Where the guest's code is, and where it begins.
pub(crate) const CODE: u64 = 0x10_0000;
/// Memory for a guest to write to, zero at first.
pub(crate) const SCRATCH: u64 = 0x20_0000;
/// The first address above a stack, below everything else.
pub(crate) const STACK: u64 = 0x8000;

const PAGE_TABLES: u64 = 0x9000;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The longest that a guest may run, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// What assembles a program.
pub(crate) type Assembled = Result<(), IcedError>;

/// A guest to be.
pub(crate) struct Guest {
    machine: Machine,
    cpu: CpuState,
    placements: Vec<Placement>,
    time_limit: Duration,
}

/// What became of it.
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) output: Vec<u8>,
    pub(crate) timeline: Timeline,
}

impl Guest {
    /// A guest that runs `program`, with a stack, all other registers zero, 64
    /// MiB of RAM and one vCPU.
    pub(crate) fn new(program: impl FnOnce(&mut CodeAssembler) -> Assembled) -> Self {
        let registers = Registers { rip: CODE, rsp: STACK, rflags: 2, ..Registers::default() };
        let cpu = CpuState { registers, cr3: PAGE_TABLES, ..cpu_state() };
        let machine = Machine::new(64 * MIB, 1).expect("a machine");
        let guest = Self { machine, cpu, placements: Vec::new(), time_limit: PATIENCE };
        guest.with("code", CODE, assemble(64, CODE, program))
    }

    /// Also holds `bytes` at `start`.
    pub(crate) fn with(mut self, name: &'static str, start: u64, bytes: Vec<u8>) -> Self {
        let range = GuestRange::new(start, bytes.len() as u64).expect("a range");
        self.placements.push(Placement::of_bytes(name, range, bytes));
        self
    }

    /// Begins with this state, but for CR3.
    pub(crate) fn with_cpu(mut self, cpu: &CpuState) -> Self {
        self.cpu = CpuState { cr3: PAGE_TABLES, ..cpu.clone() };
        self
    }

    pub(crate) fn with_machine(mut self, memory: u64, cpus: u32) -> Self {
        self.machine = Machine::new(memory, cpus).expect("a machine");
        self
    }

    pub(crate) fn with_time_limit(mut self, time_limit: Duration) -> Self {
        self.time_limit = time_limit;
        self
    }

    /// The plan: everything up to 8 GiB is mapped to itself, the hole in RAM too.
    pub(crate) fn plan(&self) -> BootPlan {
        self.planned(self.placements.clone())
    }

    /// The same with one more placement.
    pub(crate) fn plan_with(&self, placement: Placement) -> BootPlan {
        self.planned([self.placements.as_slice(), &[placement]].concat())
    }

    fn planned(&self, mut placements: Vec<Placement>) -> BootPlan {
        let shape = Shape { leaf_size: LeafSize::Mib2, five_level: false };
        let tables = PageTables::identity(PAGE_TABLES, &[GuestRange::constant(0, 8 * GIB)], shape);
        placements.push(Placement::of_bytes("page tables", tables.range(), tables.bytes));
        let map = MemoryMap::of(&self.machine);
        BootPlan::new(self.machine.clone(), map, placements, self.cpu.clone()).expect("a plan")
    }

    /// Runs it without input. `None`, and noted, where `test` can't be run here.
    pub(crate) fn run(&self, test: &str) -> Option<Ran> {
        self.run_typing(test, &[])
    }

    /// Runs it with `input` typed all at once.
    pub(crate) fn run_typing(&self, test: &str, input: &[u8]) -> Option<Ran> {
        match probe() {
            Support::Works | Support::CannotRunKernels { .. } => {
                Some(run(&self.plan(), input, self.time_limit))
            }
            support => {
                skip(test, &support.to_string());
                None
            }
        }
    }
}

fn run(plan: &BootPlan, input: &[u8], time_limit: Duration) -> Ran {
    let start = Instant::now();
    let (console, mut ours) = UnixStream::pair().expect("a console");
    let mut reader = ours.try_clone().expect("our end of it");
    let limits = Limits { start, time_limit: Some(time_limit), interactive: false };
    let output = console.try_clone().expect("its other end");
    let session =
        Session::with_console(console, output, limits, Timeline::new(start)).expect("a session");
    let gathered = thread::spawn(move || {
        let mut output = Vec::new();
        reader.read_to_end(&mut output).map(|_| output)
    });
    ours.write_all(input).expect("room for input");
    let memory = GuestMemory::new(plan.machine()).expect("memory");
    memory.load(plan, &Files::default()).expect("a loaded plan");
    let vm = Vm::create(plan.machine(), &memory).expect("a VM").ready(plan).expect("vCPUs");
    let outcome = vm.run(&session, &Sandbox::none()).expect("a run");
    let timeline = session.finish().timeline;
    ours.shutdown(std::net::Shutdown::Both).expect("an open console");
    let output = gathered.join().expect("a reader").expect("output");
    Ran { outcome, output, timeline }
}

impl Ran {
    /// The output as text.
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.output).expect("text")
    }

    /// What the outcome shows of a crash.
    pub(crate) fn crash(&self) -> String {
        self.outcome.crash.as_ref().map_or_else(String::new, |crash| crash.lines.join("\n"))
    }

    /// Its output, once it has powered off by itself.
    pub(crate) fn powered_off(self) -> Vec<u8> {
        assert_eq!(self.outcome.end, End::PowerOff, "{}", self.crash());
        self.output
    }
}

/// The bytes of `program`, to run at `address`.
pub(crate) fn assemble(
    bitness: u32,
    address: u64,
    program: impl FnOnce(&mut CodeAssembler) -> Assembled,
) -> Vec<u8> {
    let mut assembler = CodeAssembler::new(bitness).expect("a bitness");
    program(&mut assembler).expect("instructions that exist");
    assembler.assemble(address).expect("code that assembles")
}

/// Writes `value` to `port`.
pub(crate) fn write_port(a: &mut CodeAssembler, port: u16, value: u8) -> Assembled {
    a.mov(edx, u32::from(port))?;
    a.mov(eax, u32::from(value))?;
    a.out(dx, al)
}

/// Powers off.
pub(crate) fn power_off(a: &mut CodeAssembler) -> Assembled {
    write_port(a, port::SLEEP_CONTROL, SLEEP_CONTROL_S5)
}

/// Sends `len` bytes of memory at `address` by one string instruction.
pub(crate) fn send(a: &mut CodeAssembler, address: u64, len: usize) -> Assembled {
    a.mov(rsi, address)?;
    a.mov(ecx, u32::try_from(len).expect("a short text"))?;
    a.mov(edx, u32::from(port::SERIAL))?;
    a.cld()?;
    a.rep().outsb()
}
