//! A vCPU, and the plan's CPU state in KVM's terms.

use std::marker::PhantomData;

use firmware_less::cpu_state::{
    CR4_LA57, CpuState, DescriptorTable, LocalApic, Msrs as PlannedMsrs, Registers, Segment,
};
use kvm_bindings::{
    CpuId, Msrs, kvm_dtable, kvm_lapic_state, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs,
    kvm_xcr, kvm_xcrs, kvm_xsave,
};
use kvm_ioctls::VcpuFd;

use super::{Error, cpuid::FIVE_LEVELS, during, memory::GuestMemory, vm};

const IA32_MISC_ENABLE: u32 = 0x1a0;
const IA32_MTRR_DEF_TYPE: u32 = 0x2ff;

/// Offsets in the local APIC's page. Intel SDM vol. 3A, table 11-1.
mod lapic {
    pub(super) const TPR: usize = 0x80;
    pub(super) const SPIV: usize = 0xf0;
    pub(super) const LVT0: usize = 0x350;
    pub(super) const LVT1: usize = 0x360;
}

/// Words of an XSAVE image, and components in its header.
/// Intel SDM vol. 1, 13.4.
mod xsave {
    pub(super) const FCW: usize = 0;
    pub(super) const MXCSR: usize = 6;
    pub(super) const COMPONENTS: usize = 128;
    pub(super) const X87: u32 = 1;
    pub(super) const SSE: u32 = 2;
}

/// A virtual CPU of a VM that sees memory for `'m`.
#[derive(Debug)]
pub(super) struct Vcpu<'m> {
    /// The file that is the vCPU.
    pub(super) fd: VcpuFd,
    memory: PhantomData<&'m GuestMemory>,
}

impl<'m> Vcpu<'m> {
    pub(super) fn new(fd: VcpuFd, _memory: &'m GuestMemory) -> Self {
        Self { fd, memory: PhantomData }
    }

    /// Must come first: KVM checks registers against it.
    pub(super) fn set_cpuid(&self, cpuid: &CpuId) -> Result<(), Error> {
        self.fd.set_cpuid2(cpuid).map_err(during("KVM_SET_CPUID2"))
    }

    /// Enables all of `components` for XSAVE, as the kernel before a kexec had
    /// them: neither kexec nor INIT takes them away. Where an emulated SVM does
    /// not intercept XSETBV, KVM knows of no others.
    pub(super) fn set_xcr0(&self, components: u64) -> Result<(), Error> {
        let mut xcrs = kvm_xcrs { nr_xcrs: 1, ..kvm_xcrs::default() };
        xcrs.xcrs[0] = kvm_xcr { xcr: 0, reserved: 0, value: components };
        self.fd.set_xcrs(&xcrs).map_err(during("KVM_SET_XCRS"))
    }

    /// Sets what firmware sets on every processor, started or not.
    pub(super) fn set_msrs(&self, planned: &PlannedMsrs) -> Result<(), Error> {
        let wanted = [
            (IA32_MTRR_DEF_TYPE, planned.mtrr_def_type),
            (IA32_MISC_ENABLE, self.msr(IA32_MISC_ENABLE)? | planned.misc_enable_set),
        ];
        for (index, value) in wanted {
            let accepted =
                self.fd.set_msrs(&one_msr(index, value)).map_err(during("KVM_SET_MSRS"))?;
            if accepted == 0 {
                return Err(Error::Msr { index, value });
            }
        }
        Ok(())
    }

    /// Sets everything that decides what the first instruction is and sees.
    pub(super) fn set_registers(&self, state: &CpuState) -> Result<(), Error> {
        let reset = self.fd.get_sregs().map_err(during("KVM_GET_SREGS"))?;
        self.fd.set_sregs(&sregs(state, &reset)).map_err(|error| refused(state, error))?;
        self.fd.set_regs(&regs(&state.registers)).map_err(during("KVM_SET_REGS"))?;
        let mut xsave = self.fd.get_xsave().map_err(during("KVM_GET_XSAVE"))?;
        set_fpu(&mut xsave, state);
        vm::set_xsave(&self.fd, &xsave).map_err(during("KVM_SET_XSAVE"))
    }

    /// Sets the local APIC, which is there when the interrupt chip is KVM's.
    pub(super) fn set_local_apic(&self, planned: &LocalApic) -> Result<(), Error> {
        let mut apic = self.fd.get_lapic().map_err(during("KVM_GET_LAPIC"))?;
        set_apic_register(&mut apic, lapic::TPR, planned.tpr);
        set_apic_register(&mut apic, lapic::SPIV, planned.spiv);
        set_apic_register(&mut apic, lapic::LVT0, planned.lvt0);
        set_apic_register(&mut apic, lapic::LVT1, planned.lvt1);
        self.fd.set_lapic(&apic).map_err(during("KVM_SET_LAPIC"))
    }

    fn msr(&self, index: u32) -> Result<u64, Error> {
        let mut msrs = one_msr(index, 0);
        self.fd.get_msrs(&mut msrs).map_err(during("KVM_GET_MSRS"))?;
        Ok(msrs.as_slice().first().map_or(0, |msr| msr.data))
    }
}

fn one_msr(index: u32, data: u64) -> Msrs {
    let entry = kvm_msr_entry { index, data, ..kvm_msr_entry::default() };
    Msrs::from_entries(&[entry]).unwrap_or_else(|_| unreachable!("KVM takes more MSRs than one"))
}

fn regs(planned: &Registers) -> kvm_regs {
    kvm_regs {
        rax: planned.rax,
        rbx: planned.rbx,
        rcx: planned.rcx,
        rdx: planned.rdx,
        rsi: planned.rsi,
        rdi: planned.rdi,
        rsp: planned.rsp,
        rbp: planned.rbp,
        r8: planned.r8,
        r9: planned.r9,
        r10: planned.r10,
        r11: planned.r11,
        r12: planned.r12,
        r13: planned.r13,
        r14: planned.r14,
        r15: planned.r15,
        rip: planned.rip,
        rflags: planned.rflags,
    }
}

/// What it means that KVM does not take special registers. One without second-level page
/// tables can offer five-level paging by CPUID, and refuse it here.
fn refused(state: &CpuState, error: kvm_ioctls::Error) -> Error {
    if state.cr4 & CR4_LA57 != 0 && error.errno() == libc::EINVAL {
        return Error::NoFeature { feature: FIVE_LEVELS };
    }
    during("KVM_SET_SREGS")(error)
}

/// `reset` gives what the plan says nothing of: CR2, the APIC base. The
/// control registers are assigned, never merged: reset leaves CR0.CD and NW set.
fn sregs(state: &CpuState, reset: &kvm_sregs) -> kvm_sregs {
    kvm_sregs {
        cs: segment(&state.cs),
        ds: segment(&state.ds),
        es: segment(&state.es),
        fs: segment(&state.fs),
        gs: segment(&state.gs),
        ss: segment(&state.ss),
        tr: segment(&state.tr),
        ldt: segment(&state.ldtr),
        gdt: descriptor_table(state.gdtr),
        idt: descriptor_table(state.idtr),
        cr0: state.cr0,
        cr3: state.cr3,
        cr4: state.cr4,
        cr8: (state.local_apic.tpr >> 4).into(),
        efer: state.efer,
        ..*reset
    }
}

fn segment(planned: &Segment) -> kvm_segment {
    kvm_segment {
        base: planned.base,
        limit: planned.limit,
        selector: planned.selector,
        type_: planned.kind,
        present: planned.usable.into(),
        dpl: 0,
        db: planned.default_32.into(),
        s: planned.code_or_data.into(),
        l: planned.long.into(),
        g: planned.granular.into(),
        avl: 0,
        unusable: (!planned.usable).into(),
        padding: 0,
    }
}

fn descriptor_table(planned: DescriptorTable) -> kvm_dtable {
    kvm_dtable { base: planned.base, limit: planned.limit, ..kvm_dtable::default() }
}

/// KVM_SET_FPU would do, but leaves the header saying that both components are
/// as reset leaves them, and then they are.
fn set_fpu(xsave: &mut kvm_xsave, state: &CpuState) {
    let image = &mut xsave.region;
    image[xsave::FCW] = state.fcw.into();
    image[xsave::MXCSR] = state.mxcsr;
    image[xsave::COMPONENTS] |= xsave::X87 | xsave::SSE;
}

fn set_apic_register(apic: &mut kvm_lapic_state, offset: usize, value: u32) {
    for (byte, new) in apic.regs.iter_mut().skip(offset).zip(value.to_le_bytes()) {
        *byte = new.cast_signed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: Segment = Segment {
        selector: 0x10,
        base: 0,
        limit: 0xffff_ffff,
        kind: 0xb,
        code_or_data: true,
        long: true,
        default_32: false,
        granular: true,
        usable: true,
    };

    #[test]
    fn a_segment_keeps_every_attribute() {
        let code = segment(&CODE);
        assert_eq!((code.selector, code.limit, code.type_), (0x10, 0xffff_ffff, 0xb));
        assert_eq!((code.present, code.s, code.l, code.db, code.g), (1, 1, 1, 0, 1));
        assert_eq!(code.unusable, 0);
    }

    #[test]
    fn an_unusable_segment_is_not_present() {
        let none = segment(&Segment { usable: false, ..CODE });
        assert_eq!((none.present, none.unusable), (0, 1));
    }

    #[test]
    fn apic_registers_are_written_in_place() {
        let mut apic = kvm_lapic_state::default();
        set_apic_register(&mut apic, lapic::SPIV, 0x10f);
        assert_eq!(apic.regs[0xf0..0xf4], [0x0f, 0x01, 0, 0]);
        assert!(apic.regs[0xf4..].iter().chain(&apic.regs[..0xf0]).all(|byte| *byte == 0));
    }
}
