//! Which ioctls which threads may make, one a row, by number.

use std::mem::size_of;

use kvm_bindings as kvm;
use vmm_sys_util::ioctl::{_IOC_NONE, _IOC_READ, _IOC_WRITE, ioctl_expr};

use super::rules::Thread;

/// An ioctl that is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Ioctl {
    /// As the kernel calls it.
    pub name: &'static str,
    /// Its number.
    pub number: u32,
    /// The letters of the threads that may make it.
    pub threads: &'static str,
}

impl Ioctl {
    /// Whether it is for `thread`.
    #[must_use]
    pub const fn is_for(&self, thread: Thread) -> bool {
        thread.is_among(self.threads)
    }
}

/// Without an argument of that size, or none that the number tells of.
const NONE: u32 = _IOC_NONE;
const GET: u32 = _IOC_READ;
const SET: u32 = _IOC_WRITE;
const BOTH: u32 = _IOC_READ | _IOC_WRITE;

#[expect(clippy::cast_possible_truncation, reason = "14 bits hold the size of an argument")]
const fn of<T>(name: &'static str, direction: u32, number: u32, threads: &'static str) -> Ioctl {
    let size = size_of::<T>() as u32;
    let number = ioctl_expr(direction, kvm::KVMIO, number, size) as u32;
    Ioctl { name, number, threads }
}

#[expect(clippy::cast_possible_truncation, reason = "an ioctl's number has 32 bits")]
const fn tty(name: &'static str, number: libc::Ioctl, threads: &'static str) -> Ioctl {
    Ioctl { name, number: number as u32, threads }
}

/// The table. include/uapi/linux/kvm.h, include/uapi/asm-generic/ioctls.h.
pub const TABLE: &[Ioctl] = &[
    of::<()>("KVM_RUN", NONE, 0x80, "KVP"),
    of::<kvm::kvm_regs>("KVM_GET_REGS", GET, 0x81, "KVP"),
    of::<kvm::kvm_mp_state>("KVM_GET_MP_STATE", GET, 0x98, "KVP"),
    // What is asked of a vCPU that came to grief.
    of::<kvm::kvm_sregs>("KVM_GET_SREGS", GET, 0x83, "K"),
    of::<kvm::kvm_translation>("KVM_TRANSLATE", BOTH, 0x85, "K"),
    // A guest started anew, and whether KVM could have run a kernel.
    of::<()>("KVM_GET_API_VERSION", NONE, 0x00, "K"),
    of::<()>("KVM_CREATE_VM", NONE, 0x01, "K"),
    of::<()>("KVM_CHECK_EXTENSION", NONE, 0x03, "K"),
    of::<()>("KVM_GET_VCPU_MMAP_SIZE", NONE, 0x04, "K"),
    of::<kvm::kvm_cpuid2>("KVM_GET_SUPPORTED_CPUID", BOTH, 0x05, "K"),
    of::<()>("KVM_CREATE_VCPU", NONE, 0x41, "K"),
    of::<kvm::kvm_userspace_memory_region>("KVM_SET_USER_MEMORY_REGION", SET, 0x46, "K"),
    of::<()>("KVM_SET_TSS_ADDR", NONE, 0x47, "K"),
    of::<u64>("KVM_SET_IDENTITY_MAP_ADDR", SET, 0x48, "K"),
    of::<()>("KVM_CREATE_IRQCHIP", NONE, 0x60, "K"),
    of::<kvm::kvm_irqchip>("KVM_SET_IRQCHIP", GET, 0x63, "K"),
    of::<kvm::kvm_irqfd>("KVM_IRQFD", SET, 0x76, "KP"),
    of::<kvm::kvm_ioeventfd>("KVM_IOEVENTFD", SET, 0x79, "KP"),
    of::<kvm::kvm_irq_routing>("KVM_SET_GSI_ROUTING", SET, 0x6a, "KP"),
    of::<kvm::kvm_regs>("KVM_SET_REGS", SET, 0x82, "K"),
    of::<kvm::kvm_sregs>("KVM_SET_SREGS", SET, 0x84, "K"),
    of::<kvm::kvm_msrs>("KVM_GET_MSRS", BOTH, 0x88, "K"),
    of::<kvm::kvm_msrs>("KVM_SET_MSRS", SET, 0x89, "K"),
    of::<kvm::kvm_lapic_state>("KVM_GET_LAPIC", GET, 0x8e, "K"),
    of::<kvm::kvm_lapic_state>("KVM_SET_LAPIC", SET, 0x8f, "K"),
    of::<kvm::kvm_cpuid2>("KVM_SET_CPUID2", SET, 0x90, "K"),
    of::<kvm::kvm_xsave>("KVM_GET_XSAVE", GET, 0xa4, "K"),
    of::<kvm::kvm_xsave>("KVM_SET_XSAVE", SET, 0xa5, "K"),
    of::<kvm::kvm_xcrs>("KVM_SET_XCRS", SET, 0xa7, "K"),
    // The terminal: whether there is one, and that it is as before.
    tty("TCGETS", libc::TCGETS, "KQ"),
    tty("TCGETS2", libc::TCGETS2, "KQ"),
    tty("TCSETS", libc::TCSETS, "KQVPWR"),
    tty("TCSETS2", libc::TCSETS2, "KQVPWR"),
    tty("TIOCGPGRP", libc::TIOCGPGRP, "KQVPWR"),
    tty("TIOCGWINSZ", libc::TIOCGWINSZ, "KQ"),
];
