//! A kernel that reports over the serial port what it was handed, and powers off.
//!
//! A line for each thing, `probe: NAME=HEX`: numbers with 16 digits, memory byte
//! by byte as it lies, digests (SHA-256) likewise. The last line is `probe: end=`.
//!
//! It writes to low memory that no plan uses, and nowhere else, so all that it
//! was handed stays as it was.

mod memory;
mod others;
mod processor;
mod report;
mod routines;
mod sha256;

use firmware_less::{
    layout,
    machine::{SLEEP_CONTROL_S5, port},
    testing::{Image, bzimage, uki},
};
use iced_x86::{IcedError, code_asm::*};

pub(crate) use memory::{ACPI_WINDOW, PURGATORY_DIGEST, PURGATORY_REGIONS};
pub(crate) use report::Report;

use routines::Routines;

/// The kernel's `init_size`: little, for it is hashed.
const INIT_SIZE: u32 = 0x6000;
/// Where the 64-bit entry is. Boot protocol, "64-bit Boot Protocol".
const ENTRY_64: usize = 0x200;

/// What the probe writes to.
mod scratch {
    /// Values kept, eight bytes each.
    pub(super) const LOG: u64 = 0x1000;
    pub(super) const LOG_END: u64 = 0x1700;
    /// What SGDT and SIDT store.
    pub(super) const TABLE: u64 = 0x1700;
    /// The `setup_data` being reported.
    pub(super) const NODE: u64 = 0x1710;
    /// SHA-256: state, message schedule, last blocks, bytes hashed.
    pub(super) const STATE: u64 = 0x1800;
    pub(super) const SCHEDULE: u64 = 0x1820;
    pub(super) const BLOCKS: u64 = 0x1860;
    pub(super) const HASHED: u64 = 0x18e0;
    /// How many vCPUs came to the entry, how many were started by an interrupt.
    pub(super) const ENTRIES: u64 = 0x1900;
    pub(super) const STARTED: u64 = 0x1908;
    /// Characters not yet printed, and how many there are.
    pub(super) const OUTPUT: u64 = 0x1910;
    pub(super) const FILLED: u64 = 0x1920;
    /// MSRs of a vCPU that was started.
    pub(super) const OTHER_MSRS: u64 = 0x1930;
    /// What FXSAVE stores.
    pub(super) const FXSAVE: u64 = 0x1a00;
    /// Where started vCPUs begin.
    pub(super) const TRAMPOLINE: u64 = 0x2000;
    /// Up to four page tables.
    pub(super) const PAGE_TABLES: u64 = 0x3000;
    pub(super) const STACK_END: u64 = 0x9000;
}
const _: () = assert!(scratch::STACK_END <= layout::PAGE_TABLES, "plans use no lower memory");

type Assembled = Result<(), IcedError>;

/// A UKI with the probe as its kernel, for a machine with that many vCPUs.
pub(crate) fn probe_uki(cpus: u32) -> Image {
    let code = assemble(64, |a| probe(a, cpus));
    let protected_mode = [vec![0xf4; ENTRY_64], code].concat();
    let kernel = bzimage().protected_mode(protected_mode).with(|header| {
        header.init_size = INIT_SIZE;
        // Fields that nobody looks at are copied all the same.
        header.root_flags = 0x0102;
        header.ram_size = 0x0304;
        header.vid_mode = 0x0506;
        header.root_dev = 0x0708;
        header.start_sys_seg = 0x090a;
        header.kernel_version = 0x0b0c;
        header.heap_end_ptr = 0x0d0e;
        header.ext_loader_type = 0x0f;
        // kexec zeroes this one.
        header.hardware_subarch = 0x1011_1213;
        header.hardware_subarch_data = 0x1415_1617_1819_1a1b;
    });
    uki().section(".linux", kernel.build())
}

/// Position-independent code for processors of that kind.
fn assemble(bitness: u32, code: impl FnOnce(&mut CodeAssembler) -> Assembled) -> Vec<u8> {
    let mut assembler = CodeAssembler::new(bitness).expect("a bitness");
    code(&mut assembler).expect("instructions that exist");
    assembler.assemble(0).expect("code that assembles")
}

fn probe(a: &mut CodeAssembler, cpus: u32) -> Assembled {
    let mut routines = Routines::new(a);
    let mut log = Log::default();
    processor::keep(a, &mut log)?;
    Routines::start_printing(a)?;
    log.report(a, &routines)?;
    memory::report(a, &routines, &log)?;
    others::start(a, &routines, cpus)?;
    routines.text(a, "\nprobe: end=\n")?;
    routines.end_printing(a)?;
    a.mov(edx, u32::from(port::SLEEP_CONTROL))?;
    a.mov(eax, u32::from(SLEEP_CONTROL_S5))?;
    a.out(dx, al)?;
    a.hlt()?;
    routines.emit(a)?;
    others::trampoline(a, &mut routines)
}

/// Values kept to be reported later.
#[derive(Default)]
struct Log {
    names: Vec<&'static str>,
}

impl Log {
    /// A place for that value.
    fn slot(&mut self, name: &'static str) -> u64 {
        self.names.push(name);
        let slot = Self::place(self.names.len() - 1);
        assert!(slot < scratch::LOG_END, "too much to keep");
        slot
    }

    /// Keeps RAX.
    fn rax(&mut self, a: &mut CodeAssembler, name: &'static str) -> Assembled {
        a.mov(qword_ptr(self.slot(name)), rax)
    }

    /// Where that value is kept.
    fn of(&self, name: &str) -> u64 {
        let at = self.names.iter().position(|other| *other == name);
        Self::place(at.unwrap_or_else(|| panic!("{name} was not kept")))
    }

    fn place(at: usize) -> u64 {
        scratch::LOG + 8 * u64::try_from(at).expect("a small number")
    }

    fn report(&self, a: &mut CodeAssembler, routines: &Routines) -> Assembled {
        for name in &self.names {
            routines.number(a, name, self.of(name))?;
        }
        Ok(())
    }
}
