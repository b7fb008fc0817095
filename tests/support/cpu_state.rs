//! A CPU state in which every register has a value of its own, so that none can
//! be mistaken for another or for what reset leaves.

use firmware_less::cpu_state::{CpuState, DescriptorTable, LocalApic, Msrs, Registers, Segment};

/// 64-bit code at 1 MiB, over page tables at 0x9000 and a GDT at 0x1000.
pub(crate) fn cpu_state() -> CpuState {
    CpuState {
        registers: registers(),
        cs: CODE,
        ds: DATA,
        es: DATA,
        fs: Segment {
            selector: 0x20,
            base: 0x7fff_1234_5000,
            limit: 0xfff,
            granular: false,
            ..DATA
        },
        gs: Segment { selector: 0x28, base: 0x1234_5678, limit: 0x2fff, granular: false, ..DATA },
        ss: DATA,
        tr: TASK,
        ldtr: Segment { selector: 0, limit: 0, kind: 2, usable: false, ..TASK },
        gdtr: DescriptorTable { base: 0x1000, limit: 0x1f },
        idtr: DescriptorTable { base: 0x3000, limit: 0xff },
        cr0: 0x8000_0033,
        cr3: 0x9000,
        cr4: 1 << 5,
        efer: 0xd01,
        local_apic: LocalApic { tpr: 0x10, spiv: 0x10f, lvt0: 0x700, lvt1: 0x400 },
        pic_mask: 0xff,
        msrs: Msrs { mtrr_def_type: 0x806, misc_enable_set: 1 << 16 | 1 },
        fcw: 0x27f,
        mxcsr: 0x1fa0,
    }
}

fn registers() -> Registers {
    Registers {
        rax: 0x0101_0101_0101_0101,
        rbx: 0x0202_0202_0202_0202,
        rcx: 0x0303_0303_0303_0303,
        rdx: 0x0404_0404_0404_0404,
        rsi: 0x0505_0505_0505_0505,
        rdi: 0x0606_0606_0606_0606,
        rbp: 0x0707_0707_0707_0707,
        rsp: 0x0808_0808_0808_0808,
        r8: 0x0909_0909_0909_0909,
        r9: 0x0a0a_0a0a_0a0a_0a0a,
        r10: 0x0b0b_0b0b_0b0b_0b0b,
        r11: 0x0c0c_0c0c_0c0c_0c0c,
        r12: 0x0d0d_0d0d_0d0d_0d0d,
        r13: 0x0e0e_0e0e_0e0e_0e0e,
        r14: 0x0f0f_0f0f_0f0f_0f0f,
        r15: 0x8080_8080_8080_8080,
        rip: 0x10_0000,
        rflags: 0x46,
    }
}

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

const DATA: Segment = Segment { selector: 0x18, kind: 3, long: false, default_32: true, ..CODE };

const TASK: Segment = Segment {
    selector: 0x40,
    base: 0x4000,
    limit: 0x67,
    kind: 0xb,
    code_or_data: false,
    long: false,
    default_32: false,
    granular: false,
    usable: true,
};
