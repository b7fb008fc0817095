//! What a kernel engineer wants to see of a vCPU that came to grief, in the form
//! of a kernel oops.

use firmware_less::{plan::BootPlan, range::GuestRange};
use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs};

use super::{exit_reason::hex, memory::GuestMemory, vcpu::Vcpu};
use crate::symbols::{self, PAGE_FAULT_GATE};

/// How many bytes to show at RIP.
const CODE_LEN: usize = 16;

/// The vCPU to describe.
pub(super) struct Suspect<'a> {
    pub(super) id: usize,
    pub(super) vcpu: &'a Vcpu<'a>,
    pub(super) failure: &'a str,
}

/// Lines for a person: what failed, where, and with which registers.
pub(super) fn describe(
    suspect: &Suspect<'_>,
    plan: &BootPlan,
    memory: &GuestMemory,
) -> Vec<String> {
    let fd = &suspect.vcpu.fd;
    let mut lines = vec![format!("vCPU {}: {}", suspect.id, suspect.failure)];
    match (fd.get_regs(), fd.get_sregs()) {
        (Ok(_), Ok(sregs)) if was_reset(&sregs) => {
            lines.push(
                "registers: as after a reset (never started, or AMD after a triple fault)".into(),
            );
        }
        (Ok(regs), Ok(sregs)) => {
            let code = Code::at(instruction_pointer(&regs, &sregs), suspect.vcpu, memory);
            lines.push(format!(
                "RIP: {:04x}:{:#018x}{}",
                sregs.cs.selector,
                regs.rip,
                code.place(plan)
            ));
            lines.push(format!("Code: {}", code.bytes()));
            lines.extend(registers(&regs, &sregs));
        }
        (Err(error), _) | (_, Err(error)) => lines.push(format!("registers: {error}")),
    }
    lines
}

/// Whether these are the values of a processor reset, which say nothing of the
/// guest. A vCPU that was never started has them, and KVM on AMD leaves them after
/// a triple fault, since the processor does not keep the guest's.
fn was_reset(sregs: &kvm_sregs) -> bool {
    const RESET_CS_BASE: u64 = 0xffff_0000;
    const PROTECTED_MODE: u64 = 1;
    sregs.cs.base == RESET_CS_BASE && sregs.cr0 & PROTECTED_MODE == 0
}

/// RIP as a linear address: in 64-bit code the base of CS does not count.
fn instruction_pointer(regs: &kvm_regs, sregs: &kvm_sregs) -> u64 {
    let base = if sregs.cs.l == 1 { 0 } else { sregs.cs.base };
    regs.rip.wrapping_add(base)
}

/// What lies at RIP, as far as it can be reached.
struct Code {
    physical: Option<u64>,
    bytes: Vec<u8>,
}

impl Code {
    fn at(linear: u64, vcpu: &Vcpu<'_>, memory: &GuestMemory) -> Self {
        let bytes = read(linear, vcpu, memory).take(CODE_LEN).collect();
        Self { physical: physical(linear, vcpu), bytes }
    }

    /// Where in the plan RIP is.
    fn place(&self, plan: &BootPlan) -> String {
        let Some(physical) = self.physical else { return ", not mapped".to_owned() };
        match plan.placement_at(physical) {
            Some(placement) => {
                let offset = physical.saturating_sub(placement.range.start());
                format!(", physical {physical:#x}, in {}+{offset:#x}", placement.name)
            }
            None => format!(", physical {physical:#x}, where nothing was placed"),
        }
    }

    fn bytes(&self) -> String {
        match self.bytes[..] {
            [] => "unreadable".to_owned(),
            _ => hex(self.bytes.iter().copied()),
        }
    }
}

/// The bytes of guest memory from the linear address `start` on, as far as they can
/// be reached.
fn read<'a>(
    start: u64,
    vcpu: &'a Vcpu<'_>,
    memory: &'a GuestMemory,
) -> impl Iterator<Item = u8> + 'a {
    (0..).map_while(move |offset| byte(memory, physical(start.wrapping_add(offset), vcpu)?))
}

fn physical(linear: u64, vcpu: &Vcpu<'_>) -> Option<u64> {
    match vcpu.fd.translate_gva(linear) {
        Ok(translation) if translation.valid != 0 => Some(translation.physical_address),
        _ => None,
    }
}

/// What [`Outcome::page_fault_handler`] is.
///
/// [`Outcome::page_fault_handler`]: crate::outcome::Outcome::page_fault_handler
pub(super) fn page_fault_handler(vcpu: &Vcpu<'_>, memory: &GuestMemory) -> Option<u64> {
    let idt = vcpu.fd.get_sregs().ok()?.idt;
    let gate = idt.base.checked_add(PAGE_FAULT_GATE)?;
    let bytes: Vec<u8> = read(gate, vcpu, memory).take(16).collect();
    symbols::handler(bytes.try_into().ok()?)
}

fn byte(memory: &GuestMemory, physical: u64) -> Option<u8> {
    let mut byte = None;
    let range = GuestRange::new(physical, 1)?;
    memory.read_memory(range, &mut |bytes| byte = bytes.first().copied()).ok()?;
    byte
}

fn registers(regs: &kvm_regs, sregs: &kvm_sregs) -> [String; 10] {
    let three = |[(a, x), (b, y), (c, z)]: [(&str, u64); 3]| {
        format!("{a}: {x:016x} {b}: {y:016x} {c}: {z:016x}")
    };
    [
        format!("RSP: {:04x}:{:#018x} EFLAGS: {:08x}", sregs.ss.selector, regs.rsp, regs.rflags),
        three([("RAX", regs.rax), ("RBX", regs.rbx), ("RCX", regs.rcx)]),
        three([("RDX", regs.rdx), ("RSI", regs.rsi), ("RDI", regs.rdi)]),
        three([("RBP", regs.rbp), ("R08", regs.r8), ("R09", regs.r9)]),
        three([("R10", regs.r10), ("R11", regs.r11), ("R12", regs.r12)]),
        three([("R13", regs.r13), ("R14", regs.r14), ("R15", regs.r15)]),
        format!("{} {}", with_base("FS", &sregs.fs), with_base("GS", &sregs.gs)),
        format!(
            "CS:  {:04x} DS: {:04x} ES: {:04x} TR: {:04x} EFER: {:x}",
            sregs.cs.selector, sregs.ds.selector, sregs.es.selector, sregs.tr.selector, sregs.efer
        ),
        three([("CR0", sregs.cr0), ("CR2", sregs.cr2), ("CR3", sregs.cr3)]),
        format!(
            "CR4: {:016x} GDT: {:016x}/{:x} IDT: {:016x}/{:x}",
            sregs.cr4, sregs.gdt.base, sregs.gdt.limit, sregs.idt.base, sregs.idt.limit
        ),
    ]
}

fn with_base(name: &str, segment: &kvm_segment) -> String {
    format!("{name}:  {:016x}({:04x})", segment.base, segment.selector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_look_like_an_oops() {
        let regs = kvm_regs { rsp: 0x1000, rflags: 0x46, r15: u64::MAX, ..kvm_regs::default() };
        let segment = kvm_segment { selector: 0x18, ..kvm_segment::default() };
        let sregs = kvm_sregs { ss: segment, cr0: 0x8000_0033, ..kvm_sregs::default() };
        let lines = registers(&regs, &sregs);
        assert_eq!(lines[0], "RSP: 0018:0x0000000000001000 EFLAGS: 00000046");
        assert_eq!(lines[5], "R13: 0000000000000000 R14: 0000000000000000 R15: ffffffffffffffff");
        assert_eq!(lines[8], "CR0: 0000000080000033 CR2: 0000000000000000 CR3: 0000000000000000");
    }

    #[test]
    fn a_reset_vcpu_is_told_from_a_crashed_one() {
        let mut sregs = kvm_sregs::default();
        sregs.cs.base = 0xffff_0000;
        sregs.cr0 = 0x6000_0010;
        assert!(was_reset(&sregs));
        sregs.cr0 = 0x8000_0033;
        assert!(!was_reset(&sregs));
    }

    #[test]
    fn the_base_of_cs_counts_outside_64_bit_code_only() {
        let regs = kvm_regs { rip: 0x10, ..kvm_regs::default() };
        let mut sregs = kvm_sregs::default();
        sregs.cs.base = 0x9_f000;
        assert_eq!(instruction_pointer(&regs, &sregs), 0x9_f010);
        sregs.cs.l = 1;
        assert_eq!(instruction_pointer(&regs, &sregs), 0x10);
    }
}
