//! A kernel that reports over the serial port what it was handed, and powers off.
//!
//! A line for each thing, `probe: NAME=HEX`: numbers with 16 digits, memory byte
//! by byte as it lies, digests (SHA-256) likewise. The last line is `probe: end=`.
//!
//! It writes to low memory that no plan uses, and nowhere else, so all that it
//! was handed stays as it was. What can't be read is said to be so, by a line
//! `fault`, and the rest follows: not every loader is ours.

mod acpi;
mod entries;
mod faults;
mod memory;
mod others;
mod processor;
mod routines;
mod sha256;

use iced_x86::code_asm::*;

use super::{
    Assembled, assemble, assemble_with,
    machine::{REPORT_VERSION, SCRATCH_END, SLEEP_CONTROL, SLEEP_CONTROL_S5},
};
use routines::Routines;

/// What the probe writes to.
mod scratch {
    /// Values kept, eight bytes each.
    pub(super) const LOG: u64 = 0x1000;
    pub(super) const LOG_END: u64 = 0x1700;
    /// What SGDT and SIDT store.
    pub(super) const TABLE: u64 = 0x1700;
    /// The `setup_data` or ACPI table being reported, and how many may follow.
    pub(super) const NODE: u64 = 0x1710;
    pub(super) const LEFT: u64 = 0x1718;
    /// Where to go on after a fault.
    pub(super) const RECOVERY: u64 = 0x1720;
    /// Not zero on ukivm's own machine.
    pub(super) const OURS: u64 = 0x1728;
    /// The cheap digest.
    pub(super) const SUM: u64 = 0x1730;
    /// Not zero where the command line asks for a reset.
    pub(super) const RESET: u64 = 0x1758;
    /// Where the RSDP is.
    pub(super) const RSDP: u64 = 0x1750;
    /// An ACPI table's address, and the binary logarithm of an entry's length.
    pub(super) const ENTRY: u64 = 0x1740;
    pub(super) const WIDTH: u64 = 0x1748;
    /// Where the 32-bit entry was called from.
    pub(super) const BASE: u64 = 0x1738;
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
    /// How many vCPUs there are beside the one that boots.
    pub(super) const OTHERS: u64 = 0x1940;
    /// What FXSAVE stores.
    pub(super) const FXSAVE: u64 = 0x1a00;
    /// The interrupt descriptor table, and what LIDT loads.
    pub(super) const IDT: u64 = 0x1c00;
    pub(super) const IDTR: u64 = 0x1e00;
    /// What the older entries need: a GDT, what LGDT loads, a far pointer.
    pub(super) const GDTR: u64 = 0x1e10;
    pub(super) const GDT: u64 = 0x1e20;
    pub(super) const FAR_POINTER: u64 = 0x1e60;
    /// Where started vCPUs begin.
    pub(super) const TRAMPOLINE: u64 = 0x2000;
    pub(super) const STACK_END: u64 = 0x3000;
    /// Up to four page tables.
    pub(super) const PAGE_TABLES: u64 = 0x3000;
    pub(super) const END: u64 = 0x7000;
    /// From the older entries there are six page tables, and a zero page of ours.
    pub(super) const ZERO_PAGE: u64 = 0x9000;
}
const _: () = assert!(scratch::END <= SCRATCH_END, "no other memory is the probe's");

/// How it was entered: by 64-bit code, by firmware's own loader, by 32-bit code, by
/// a BIOS's loader.
const LONG: i32 = 64;
const EFI: i32 = 0xef1;
const PROTECTED: i32 = 32;
const REAL: i32 = 16;

/// The probe, and what makes a bzImage of it.
pub(crate) struct Probe {
    /// What lies at the 64-bit entry.
    pub(crate) code: Vec<u8>,
    /// What lies before that, and behind the code.
    pub(crate) before: Vec<u8>,
    pub(crate) behind: Vec<u8>,
    /// Setup code, behind the setup header.
    pub(crate) setup: Vec<u8>,
    /// Where in the code the entry of the EFI handover protocol is.
    pub(crate) efi: u64,
}

/// All of it.
pub(crate) fn probe() -> Probe {
    let mut log = Log::default();
    let (code, [efi, converted]) = assemble_with(64, |a, labels| instructions(a, labels, &mut log));
    let (before, behind) = entries::protected_mode(&log, code.len(), converted);
    let setup = entries::setup(&log);
    Probe { code, before, behind, setup, efi }
}

fn instructions(a: &mut CodeAssembler, labels: &mut [CodeLabel; 2], log: &mut Log) -> Assembled {
    let mut routines = Routines::new(a);
    processor::keep(a, log, labels)?;
    Routines::start_printing(a)?;
    routines.text(a, &format!("\nprobe: begin={REPORT_VERSION:016x}"))?;
    log.report(a, &routines)?;
    faults::catch(a, &routines)?;
    memory::report(a, &routines, log)?;
    acpi::report(a, &routines)?;
    others::start(a, &routines)?;
    routines.text(a, "\nprobe: end=\n")?;
    routines.end_printing(a)?;
    power_off(a)?;
    routines.emit(a)?;
    others::trampoline(a, &mut routines)
}

/// Powers off ukivm's machine. Of others nobody knows how: they are halted or, where
/// the command line says so, reset by a triple fault.
fn power_off(a: &mut CodeAssembler) -> Assembled {
    let (mut other, mut halt) = (a.create_label(), a.create_label());
    a.cmp(qword_ptr(scratch::OURS), 0)?;
    a.je(other)?;
    a.mov(edx, u32::from(SLEEP_CONTROL))?;
    a.mov(eax, u32::from(SLEEP_CONTROL_S5))?;
    a.out(dx, al)?;
    a.set_label(&mut other)?;
    a.cmp(qword_ptr(scratch::RESET), 0)?;
    a.je(halt)?;
    a.mov(word_ptr(scratch::IDTR), 0)?;
    a.lidt(ptr(scratch::IDTR))?;
    a.int3()?;
    a.set_label(&mut halt)?;
    a.cli()?;
    a.hlt()?;
    a.jmp(halt)
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
