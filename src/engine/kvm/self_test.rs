//! A guest of a few instructions that finds out whether this KVM can run a
//! kernel.
//!
//! There are hosts whose KVM has no hardware under it: kernel code is emulated
//! one instruction at a time there, and the emulator does not know instructions
//! that every kernel executes. Such a KVM creates VMs and starts them as if all
//! were well.

use firmware_less::{
    cpu_state::{CpuState, DescriptorTable, LocalApic, Msrs, Registers, Segment},
    e820::MemoryMap,
    machine::{MEMORY_MIN, Machine},
    plan::{BootPlan, Content, Piece, Placement},
    range::{GuestRange, PAGE},
};
use kvm_ioctls::{Kvm, VcpuExit};

use super::{
    Error,
    cpuid::Supported,
    exit_reason::{exit_name, internal_error},
    memory::GuestMemory,
    vm::{BareVm, InternalError, create_vm},
};
use crate::files::Files;

/// All the memory that the guest has.
const MEMORY: GuestRange = GuestRange::constant(0, 16 * PAGE);
const TABLES: GuestRange = GuestRange::constant(PAGE, 5 * PAGE);
const CODE: GuestRange = GuestRange::constant(TABLES.end(), PAGE);
const SCRATCH: GuestRange = GuestRange::constant(CODE.end(), PAGE);
const UNTOUCHED: GuestRange = GuestRange::constant(SCRATCH.end(), PAGE);

/// Where [`UNTOUCHED`] appears in the guest's address space.
const UNTOUCHED_VIRTUAL: u32 = 1 << 30;

/// The guest's instructions, with the name of what each group tries. RSI holds
/// [`UNTOUCHED_VIRTUAL`], RDI [`SCRATCH`].
const STEPS: [(&str, &[u8]); 4] = [
    ("a page-table walk", &[0x48, 0x8b, 0x06]), // mov rax, [rsi]
    ("fxsave64", &[0x48, 0x0f, 0xae, 0x07]),    // fxsave64 [rdi]
    ("lock cmpxchg16b", &[0xf0, 0x48, 0x0f, 0xc7, 0x0f]), // lock cmpxchg16b [rdi]
    ("hlt", &[0xf4]),
];

/// Runs the guest. `None` if all went well, else what did not.
pub(super) fn run(kvm: &Kvm) -> Result<Option<String>, Error> {
    let memory = GuestMemory::over([MEMORY])?;
    let plan = plan();
    memory.load(&plan, &Files::default())?;
    let vm = BareVm::create(create_vm(kvm)?, &memory)?;
    let mut vcpu = vm.create_vcpu(0)?;
    vcpu.set_cpuid(&Supported::all(kvm)?.of_vcpu(0, 1, false))?;
    vcpu.set_registers(plan.cpu())?;
    let failure = loop {
        match vcpu.fd.run() {
            Err(error) if error.errno() == libc::EINTR => {}
            Ok(VcpuExit::Hlt) => return Ok(None),
            Ok(VcpuExit::InternalError) => {
                break internal_error(&InternalError::of(vcpu.fd.get_kvm_run()));
            }
            Ok(_) => break exit_name(vcpu.fd.get_kvm_run().exit_reason),
            Err(error) => break format!("KVM_RUN failed: {error}"),
        }
    };
    let rip = vcpu.fd.get_regs().map_or(0, |regs| regs.rip);
    Ok(Some(format!("{}: {failure}", step_at(rip))))
}

/// The name of the step that `rip` is in.
fn step_at(rip: u64) -> &'static str {
    let mut end = CODE.start();
    for (name, code) in STEPS {
        end = end.saturating_add(code.len() as u64);
        if (CODE.start()..end).contains(&rip) {
            return name;
        }
    }
    "a guest of a few instructions"
}

fn plan() -> BootPlan {
    let machine = Machine::new(MEMORY_MIN, 1);
    let code = STEPS.iter().flat_map(|(_, code)| code.iter().copied()).collect();
    let placements = vec![page_tables(), Placement::of_bytes("code", CODE, code)];
    machine
        .ok()
        .and_then(|machine| {
            let map = MemoryMap::of(&machine);
            BootPlan::new(machine, map, placements, cpu_state()).ok()
        })
        .unwrap_or_else(|| unreachable!("a constant plan"))
}

/// Five tables: one for each of the two upper levels, a directory whose first
/// leaf maps [`MEMORY`] to itself, and a directory and a table that map
/// [`UNTOUCHED_VIRTUAL`] to [`UNTOUCHED`].
fn page_tables() -> Placement {
    const PRESENT_WRITABLE: u64 = 0b11;
    const LARGE: u64 = 1 << 7;
    const ENTRY: u64 = 8;
    #[expect(clippy::arithmetic_side_effects, reason = "evaluated at compile time only")]
    const fn table(number: u64) -> u64 {
        TABLES.start() + number * PAGE
    }
    const ENTRIES: [(u64, u64, u64); 6] = [
        (0, 0, table(1)),
        (1, 0, table(2)),
        (1, 1, table(3)),
        (2, 0, LARGE),
        (3, 0, table(4)),
        (4, 0, UNTOUCHED.start()),
    ];
    let piece = |(in_table, index, value): (u64, u64, u64)| Piece {
        offset: in_table.wrapping_mul(PAGE).wrapping_add(index.wrapping_mul(ENTRY)),
        content: Content::Bytes((value | PRESENT_WRITABLE).to_le_bytes().to_vec()),
    };
    Placement::of_pieces("page tables", TABLES, ENTRIES.map(piece).to_vec())
}

/// 64-bit mode, as plain as can be.
pub(super) fn cpu_state() -> CpuState {
    const PROTECTED_PAGED: u64 = 0x8000_0013;
    const PHYSICAL_ADDRESS_EXTENSION: u64 = 0x20;
    const FXSAVE_KNOWN: u64 = 0x200;
    const LONG_MODE_ACTIVE: u64 = 0x500;
    let data = Segment {
        selector: 0x18,
        base: 0,
        limit: u32::MAX,
        kind: 0x3,
        code_or_data: true,
        long: false,
        default_32: true,
        granular: true,
        usable: true,
    };
    let code = Segment { selector: 0x10, kind: 0xb, long: true, default_32: false, ..data };
    let task = Segment {
        kind: 0xb,
        code_or_data: false,
        limit: 0x67,
        granular: false,
        default_32: false,
        ..data
    };
    CpuState {
        registers: Registers {
            rip: CODE.start(),
            rsi: UNTOUCHED_VIRTUAL.into(),
            rdi: SCRATCH.start(),
            rflags: 0x2,
            ..Registers::default()
        },
        cs: code,
        ds: data,
        es: data,
        fs: data,
        gs: data,
        ss: data,
        tr: task,
        ldtr: Segment { usable: false, ..data },
        gdtr: DescriptorTable::default(),
        idtr: DescriptorTable::default(),
        cr0: PROTECTED_PAGED,
        cr3: TABLES.start(),
        cr4: PHYSICAL_ADDRESS_EXTENSION | FXSAVE_KNOWN,
        efer: LONG_MODE_ACTIVE,
        local_apic: LocalApic { tpr: 0, spiv: 0, lvt0: 0, lvt1: 0 },
        pic_mask: 0xff,
        msrs: Msrs { mtrr_def_type: 0, misc_enable_set: 0 },
        fcw: 0x37f,
        mxcsr: 0x1f80,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_blamed_on_the_step_it_happened_in() {
        assert_eq!(step_at(CODE.start()), "a page-table walk");
        assert_eq!(step_at(CODE.start() + 3), "fxsave64");
        assert_eq!(step_at(CODE.start() + 7), "lock cmpxchg16b");
        assert_eq!(step_at(CODE.start() + 12), "hlt");
        assert_eq!(step_at(0xfff0), "a guest of a few instructions");
    }

    #[test]
    fn the_guest_fits_its_memory() {
        let plan = plan();
        assert!(plan.placements().iter().all(|placement| MEMORY.contains(placement.range)));
        assert!(MEMORY.contains(UNTOUCHED));
    }
}
