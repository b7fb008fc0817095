//! The state a hand-off makes, against what an Intel CPU checks on VM entry.
//!
//! Intel SDM vol. 3C, 27.3.1 "Checks on the Guest State Area", for an IA-32e
//! guest without unrestricted guest. A state that breaks one of these fails with
//! "invalid guest state" there and nowhere else.

use super::*;
use crate::cpu_state::{CpuState, Segment};

/// The rules that `state` breaks, each by its subject.
fn violations(state: &CpuState) -> Vec<&'static str> {
    let rules = [control_registers(state), flags(state), selectors(state), bases(state)];
    let rights = [code(state), stack(state), data(state), system_segments(state)];
    let all = rules.into_iter().chain(rights).flatten();
    all.filter(|(_, holds)| !holds).map(|(rule, _)| rule).collect()
}

type Rules = Vec<(&'static str, bool)>;

const CR0_PE: u64 = 1 << 0;
const CR0_NE: u64 = 1 << 5;
const CR0_WP: u64 = 1 << 16;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const CR4_VMXE: u64 = 1 << 13;
const CR4_CET: u64 = 1 << 23;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
/// SCE, LME, LMA, NXE.
const EFER_KNOWN: u64 = 1 | EFER_LME | EFER_LMA | 1 << 11;

/// 27.3.1.1.
fn control_registers(state: &CpuState) -> Rules {
    let has = |register: u64, bits: u64| register & bits == bits;
    vec![
        ("CR0 fixed bits", has(state.cr0, CR0_PE | CR0_NE | CR0_PG) && state.cr0 >> 32 == 0),
        ("CR0.NW without CD", state.cr0 & (1 << 29) == 0 || state.cr0 & (1 << 30) != 0),
        ("CR4.PAE in IA-32e mode", has(state.cr4, CR4_PAE)),
        ("CR4.VMXE is the host's", state.cr4 & CR4_VMXE == 0),
        ("CR4.CET needs CR0.WP", !has(state.cr4, CR4_CET) || has(state.cr0, CR0_WP)),
        ("CR3 within 46 address bits", state.cr3 >> 46 == 0),
        ("EFER reserved bits", state.efer & !EFER_KNOWN == 0),
        ("EFER.LMA and LME with paging", has(state.efer, EFER_LMA | EFER_LME)),
    ]
}

/// 27.3.1.4.
fn flags(state: &CpuState) -> Rules {
    let rflags = state.registers.rflags;
    vec![
        ("RFLAGS reserved bits", rflags & !0x3f_7fd7 == 0),
        ("RFLAGS bit 1", rflags & 2 == 2),
        ("RFLAGS.VM", rflags & 1 << 17 == 0),
        ("RIP canonical", canonical(state.registers.rip, state)),
    ]
}

/// 27.3.1.2, selector fields.
fn selectors(state: &CpuState) -> Rules {
    let local = |segment: &Segment| segment.selector & 4 != 0;
    vec![
        ("TR in the GDT", !local(&state.tr)),
        ("LDTR in the GDT", !state.ldtr.usable || !local(&state.ldtr)),
        ("SS.RPL is CS.RPL", rpl(&state.ss) == rpl(&state.cs)),
    ]
}

/// 27.3.1.2, base fields, and 27.3.1.3.
fn bases(state: &CpuState) -> Rules {
    let low = |segment: &Segment| !segment.usable || segment.base >> 32 == 0;
    let flat = [state.cs, state.ss, state.ds, state.es].iter().all(low);
    let wide = [state.tr.base, state.fs.base, state.gs.base, state.gdtr.base, state.idtr.base];
    vec![
        ("bases of CS, SS, DS, ES below 4 GiB", flat),
        ("bases canonical", wide.into_iter().all(|base| canonical(base, state))),
    ]
}

/// 27.3.1.2, access rights of CS.
fn code(state: &CpuState) -> Rules {
    let cs = state.cs;
    vec![
        ("CS usable", cs.usable),
        ("CS is accessed code", cs.code_or_data && cs.kind & 0b1001 == 0b1001),
        ("CS.L excludes D", !(cs.long && cs.default_32)),
        ("CS granularity", granularity(&cs)),
    ]
}

/// 27.3.1.2, access rights of SS.
fn stack(state: &CpuState) -> Rules {
    let ss = state.ss;
    let writable = ss.code_or_data && matches!(ss.kind, 3 | 7);
    vec![
        ("SS is accessed, writable data", !ss.usable || writable),
        ("SS.DPL is RPL", rpl(&ss) == 0),
        ("SS granularity", !ss.usable || granularity(&ss)),
    ]
}

/// 27.3.1.2, access rights of DS, ES, FS, GS.
fn data(state: &CpuState) -> Rules {
    let segments = [state.ds, state.es, state.fs, state.gs];
    let used = || segments.iter().filter(|segment| segment.usable);
    let readable = |segment: &Segment| segment.kind & 8 == 0 || segment.kind & 2 != 0;
    vec![
        ("data segments are accessed", used().all(|s| s.code_or_data && s.kind & 1 != 0)),
        ("code in data segments is readable", used().all(readable)),
        ("data segments' granularity", used().all(granularity)),
    ]
}

/// 27.3.1.2, access rights of TR and LDTR.
fn system_segments(state: &CpuState) -> Rules {
    let (tr, ldtr) = (state.tr, state.ldtr);
    vec![
        ("TR usable", tr.usable),
        ("TR is a busy 64-bit TSS", !tr.code_or_data && tr.kind == 11),
        ("TR granularity", granularity(&tr)),
        ("LDTR is an LDT", !ldtr.usable || (!ldtr.code_or_data && ldtr.kind == 2)),
    ]
}

/// Requested privilege level; every descriptor's own level is 0.
fn rpl(segment: &Segment) -> u16 {
    segment.selector & 3
}

/// The limit must be one that the granularity can express.
fn granularity(segment: &Segment) -> bool {
    let pages = segment.limit & 0xfff == 0xfff;
    let long = segment.limit >> 20 != 0;
    if segment.granular { pages } else { !long }
}

fn canonical(address: u64, state: &CpuState) -> bool {
    let bits = if state.cr4 & 1 << 12 == 0 { 48 } else { 57 };
    let high = address >> (bits - 1);
    high == 0 || high == u64::MAX >> (bits - 1)
}

fn state(machine: &Machine) -> CpuState {
    let range = |start| GuestRange::constant(start, 0x5000);
    let layout = Layout {
        purgatory: range(0x1ffd_b000),
        params: range(0x1ffd_9000),
        kernel: range(0x1c20_0000),
        initrd: None,
        page_tables: range(layout::PAGE_TABLES),
    };
    cpu::state(machine, &layout, layout.kernel.start() + ENTRY_64)
}

#[test]
fn the_hand_off_passes_intel_s_checks_on_vm_entry() {
    let machine = Machine::new(512 << 20, 1).unwrap();
    assert_eq!(violations(&state(&machine)), [] as [&str; 0]);
    assert_eq!(violations(&state(&machine.with_five_level(true))), [] as [&str; 0]);
}

#[test]
fn each_kind_of_broken_state_is_caught() {
    let sound = state(&Machine::new(512 << 20, 1).unwrap());
    let broken = |change: &dyn Fn(&mut CpuState)| {
        let mut state = sound.clone();
        change(&mut state);
        violations(&state)
    };
    assert_eq!(broken(&|s| s.cs.kind = 0xa), ["CS is accessed code"]);
    assert_eq!(broken(&|s| s.tr.usable = false), ["TR usable"]);
    assert_eq!(broken(&|s| s.tr.kind = 9), ["TR is a busy 64-bit TSS"]);
    assert_eq!(broken(&|s| s.cr0 &= !CR0_NE), ["CR0 fixed bits"]);
    assert_eq!(broken(&|s| s.efer &= !EFER_LMA), ["EFER.LMA and LME with paging"]);
    assert_eq!(broken(&|s| s.cr4 = 0), ["CR4.PAE in IA-32e mode"]);
    assert_eq!(broken(&|s| s.registers.rflags = 0), ["RFLAGS bit 1"]);
    assert_eq!(broken(&|s| s.ds.granular = false), ["data segments' granularity"]);
    assert_eq!(broken(&|s| s.gdtr.base = 1 << 50), ["bases canonical"]);
    assert_eq!(broken(&|s| s.registers.rip = 1 << 60), ["RIP canonical"]);
    assert_eq!(broken(&|s| s.ss.selector = 0x1b), ["SS.RPL is CS.RPL", "SS.DPL is RPL"]);
}
