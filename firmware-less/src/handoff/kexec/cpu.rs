//! The CPU at the kernel's first instruction, as relocate_kernel_64.S and
//! purgatory/entry64.S leave it.
//!
//! Three things differ, since a virtual CPU is checked when it is entered
//! (Intel SDM vol. 3C, 27.3.1): the code segment is marked accessed, TR holds a
//! usable busy TSS where the old kernel's selector would be stale, and IDTR is
//! empty also where Linux 7 has a table of its own. And what only tells of the old
//! kernel's own work is as after a reset: CR2, the registers of SSE, and of the
//! local APIC priority (0x10), timer and the last command. The project's tests hold
//! all this against real hand-offs, `tests/oracle/`.

use super::{Layout, purgatory};
use crate::{
    cpu_state::{CR4_LA57, CpuState, DescriptorTable, LocalApic, Msrs, Registers, Segment},
    machine::Machine,
};

/// PG, NE, ET, MP, PE; AM, WP, TS and EM are cleared.
const CR0: u64 = 0x8000_0033;
/// PAE and nothing else.
const CR4_PAE: u64 = 1 << 5;
/// SCE, LME, LMA, NXE: as the old kernel had it.
const EFER: u64 = 0xd01;
/// The reserved bit that is always set. The real one has ZF and PF also, left
/// by the comparison of digests.
const RFLAGS: u64 = 1 << 1;
/// Virtual wire mode, arch/x86/kernel/apic/apic.c `disconnect_bsp_APIC`: the APIC
/// enabled with vector 0xf, LINT0 as ExtINT, LINT1 as NMI. No vector below 32 is let
/// through, as `setup_local_APIC` had it.
const LOCAL_APIC: LocalApic = LocalApic { tpr: 0x10, spiv: 0x10f, lvt0: 0x700, lvt1: 0x400 };
/// MTRRs enabled, write-back where none says otherwise; fast strings on.
const MSRS: Msrs = Msrs { mtrr_def_type: 0x806, misc_enable_set: 1 };

/// `__BOOT_CS`: 64-bit code, execute, read, accessed.
const CODE: Segment = Segment {
    selector: 0x10,
    base: 0,
    limit: u32::MAX,
    kind: 0xb,
    code_or_data: true,
    long: true,
    default_32: false,
    granular: true,
    usable: true,
};
/// `__BOOT_DS`: read, write, accessed.
const DATA: Segment = Segment { selector: 0x18, kind: 3, long: false, default_32: true, ..CODE };
/// The selector the old kernel left, and a busy 64-bit TSS behind it.
const TASK: Segment = Segment {
    selector: 0x40,
    base: 0,
    limit: 0x67,
    kind: 0xb,
    code_or_data: false,
    long: false,
    default_32: false,
    granular: false,
    usable: true,
};
/// No local descriptor table.
const LOCAL_TABLE: Segment = Segment { selector: 0, limit: 0, kind: 2, usable: false, ..TASK };

/// The state for `layout` on `machine`, the first instruction being at `entry`.
pub(in super::super) fn state(machine: &Machine, layout: &Layout, entry: u64) -> CpuState {
    let registers = Registers {
        rip: entry,
        rsi: layout.params.start(),
        rsp: purgatory::stack_pointer(layout.purgatory),
        rflags: RFLAGS,
        ..Registers::default()
    };
    CpuState {
        registers,
        cs: CODE,
        ds: DATA,
        es: DATA,
        fs: DATA,
        gs: DATA,
        ss: DATA,
        tr: TASK,
        ldtr: LOCAL_TABLE,
        gdtr: purgatory::gdtr(layout.purgatory),
        idtr: DescriptorTable::default(),
        cr0: CR0,
        cr3: layout.page_tables.start(),
        cr4: if machine.five_level() { CR4_PAE | CR4_LA57 } else { CR4_PAE },
        efer: EFER,
        local_apic: LOCAL_APIC,
        // As the old kernel leaves them, arch/x86/kernel/i8259.c.
        pic_mask: 0xff,
        msrs: MSRS,
        fcw: 0x37f,
        mxcsr: 0x1f80,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::purgatory::{CODE_DESCRIPTOR, DATA_DESCRIPTOR},
        *,
    };

    #[test]
    fn segments_are_what_their_descriptors_in_the_gdt_say() {
        assert_eq!(CODE.descriptor(), CODE_DESCRIPTOR);
        assert_eq!(DATA.descriptor(), DATA_DESCRIPTOR);
    }

    #[test]
    fn selectors_are_those_that_linux_has_and_there_is_no_local_table() {
        assert_eq!(
            [CODE, DATA, TASK, LOCAL_TABLE].map(|segment| segment.selector),
            [0x10, 0x18, 0x40, 0]
        );
        assert_eq!(TASK.descriptor(), 0x0000_8b00_0000_0067);
        let Segment { limit, kind, usable, code_or_data, .. } = LOCAL_TABLE;
        assert_eq!((limit, kind, usable, code_or_data), (0, 2, false, false));
    }
}
