//! A VM and the memory it sees. All unsafe code of the program is in this file.
#![expect(unsafe_code, reason = "shows memory to KVM and reads what KVM left there")]

use std::{fs::File, io, os::fd::AsRawFd as _, sync::Arc};

use firmware_less::{
    machine::{KVM_TSS, Machine, POWER_BUTTON_IRQ, SERIAL_IRQ},
    range::{PAGE, index},
};
use kvm_bindings::{
    KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, kvm_irqchip, kvm_pic_state, kvm_run,
    kvm_userspace_memory_region, kvm_xsave,
};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use rustix::{
    mm::{Advice, MprotectFlags, MremapFlags},
    thread::Pid,
};
use vm_memory::VolatileSlice;
use vmm_sys_util::{errno, eventfd::EventFd, signal::SIGRTMIN};

use super::{Error, ahead::Ahead, cpuid, during, memory::GuestMemory, vcpu::Vcpu};
use crate::devices;

/// Both 8259s, each with the lines that it lets be level-triggered.
/// arch/x86/kvm/i8259.c `kvm_pic_init`.
const PICS: [(u32, u8); 2] = [(KVM_IRQCHIP_PIC_MASTER, 0xf8), (KVM_IRQCHIP_PIC_SLAVE, 0xde)];

/// A VM that has memory and nothing else yet.
///
/// Borrows the memory, as do its vCPUs: nothing of it runs when that is gone.
#[derive(Debug)]
pub(super) struct BareVm<'m> {
    fd: VmFd,
    memory: &'m GuestMemory,
}

impl<'m> BareVm<'m> {
    pub(super) fn create(fd: VmFd, memory: &'m GuestMemory) -> Result<Self, Error> {
        for (bank, slot) in memory.banks().iter().zip(0..) {
            let range = bank.range();
            let region = kvm_userspace_memory_region {
                slot,
                flags: 0,
                guest_phys_addr: range.start(),
                memory_size: range.len(),
                userspace_addr: bank.whole().ptr_guard_mut().as_ptr() as u64,
            };
            // SAFETY: `whole` is mapped and as long as `range`. It stays mapped
            // while this VM has vCPUs, since they borrow `memory` for 'm.
            unsafe { fd.set_user_memory_region(region) }
                .map_err(during("KVM_SET_USER_MEMORY_REGION"))?;
        }
        Ok(Self { fd, memory })
    }

    pub(super) fn create_vcpu(&self, id: u32) -> Result<Vcpu<'m>, Error> {
        let fd = self.fd.create_vcpu(id.into()).map_err(during("KVM_CREATE_VCPU"))?;
        Ok(Vcpu::new(fd, self.memory))
    }
}

/// Creates an empty VM. A signal can interrupt that.
pub(super) fn create_vm(kvm: &Kvm) -> Result<VmFd, Error> {
    loop {
        match kvm.create_vm() {
            Err(error) if error.errno() == libc::EINTR => {}
            result => return result.map_err(during("KVM_CREATE_VM")),
        }
    }
}

/// A VM with memory, interrupt controllers and vCPUs, not told yet where to begin.
#[derive(Debug)]
pub struct Vm<'m> {
    pub(super) fd: Arc<VmFd>,
    pub(super) vcpus: Vec<Vcpu<'m>>,
    pub(super) serial_interrupt: EventFd,
    pub(super) power_button: Option<EventFd>,
    pub(super) memory: &'m GuestMemory,
}

impl<'m> Vm<'m> {
    /// Makes a VM like `machine` over `memory`. That takes milliseconds on some
    /// hosts; another thread can fill `memory` meanwhile.
    pub fn create(machine: &Machine, memory: &'m GuestMemory) -> Result<Self, Error> {
        Self::go_on(&Ahead::default(), machine, memory)
    }

    /// The same of the VM that was begun `ahead`.
    pub fn go_on(ahead: &Ahead, machine: &Machine, memory: &'m GuestMemory) -> Result<Self, Error> {
        let (kvm, fd) = ahead.take()?;
        let bare = BareVm::create(fd, memory)?;
        connect_interrupts(&bare.fd)?;
        let serial_interrupt = interrupt_line(&bare.fd, SERIAL_IRQ)?;
        let button = || interrupt_line(&bare.fd, POWER_BUTTON_IRQ);
        let power_button = machine.has_power_button().then(button).transpose()?;
        let supported = cpuid::Supported::by(&kvm, machine)?;
        let deadline_timer = bare.fd.check_extension(Cap::TscDeadlineTimer);
        let vcpus = (0..machine.cpus())
            .map(|id| {
                let vcpu = bare.create_vcpu(id)?;
                vcpu.set_cpuid(&supported.of_vcpu(id, machine.cpus(), deadline_timer))?;
                if let Some(components) = supported.xcr0() {
                    vcpu.set_xcr0(components)?;
                }
                Ok(vcpu)
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self { fd: Arc::new(bare.fd), vcpus, serial_interrupt, power_button, memory })
    }

    /// Masks the lines of both 8259s that have their bit set in `mask`.
    pub(super) fn mask_pics(&self, mask: u8) -> Result<(), Error> {
        for (chip_id, elcr_mask) in PICS {
            let mut chip = kvm_irqchip { chip_id, ..kvm_irqchip::default() };
            // Everything else as reset leaves it.
            chip.chip.pic = kvm_pic_state { imr: mask, elcr_mask, ..kvm_pic_state::default() };
            self.fd.set_irqchip(&chip).map_err(during("KVM_SET_IRQCHIP"))?;
        }
        Ok(())
    }
}

/// Gives the VM its APICs.
fn connect_interrupts(vm: &VmFd) -> Result<(), Error> {
    vm.set_identity_map_address(KVM_TSS.start()).map_err(during("KVM_SET_IDENTITY_MAP_ADDR"))?;
    let tss = KVM_TSS.start().saturating_add(PAGE);
    vm.set_tss_address(index(tss)).map_err(during("KVM_SET_TSS_ADDR"))?;
    vm.create_irq_chip().map_err(during("KVM_CREATE_IRQCHIP"))
}

/// An interrupt line of the VM: the one of that number.
fn interrupt_line(vm: &VmFd, gsi: u32) -> Result<EventFd, Error> {
    let line = devices::interrupt_line().map_err(Error::EventFd)?;
    vm.register_irqfd(&line, gsi).map_err(during("KVM_IRQFD"))?;
    Ok(line)
}

/// Asks for huge pages under `memory`. A kernel without them refuses, and
/// nothing but speed is lost.
pub(super) fn prefer_huge_pages(memory: &VolatileSlice<'_>) {
    let start = memory.ptr_guard_mut().as_ptr();
    // SAFETY: the slice is a mapping of ours, and the advice changes what backs
    // it, not what it holds.
    let _ = unsafe { rustix::mm::madvise(start.cast(), memory.len(), Advice::LinuxHugepage) };
}

/// Asks for small pages under `memory`, also where the kernel has huge ones for everybody.
pub(super) fn avoid_huge_pages(memory: &VolatileSlice<'_>) {
    let start = memory.ptr_guard_mut().as_ptr();
    // SAFETY: as in `prefer_huge_pages`.
    let _ = unsafe { rustix::mm::madvise(start.cast(), memory.len(), Advice::LinuxNoHugepage) };
}

/// Whether [`move_pages`] works here: MREMAP_DONTUNMAP is there since Linux 5.7.
pub(super) fn moves_pages() -> bool {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(5), Some(7))
}

/// Takes all access to `memory` away: for the guest, KVM_RUN fails with EFAULT, or
/// MMIO where KVM emulates.
pub(super) fn withhold(memory: &VolatileSlice<'_>) -> io::Result<()> {
    let start = memory.ptr_guard_mut().as_ptr();
    // SAFETY: a mapping of ours. Whoever gives slices of it away
    // (`Bank::slice`) gives none of this one before `move_pages` is done.
    unsafe { rustix::mm::mprotect(start.cast(), memory.len(), MprotectFlags::empty()) }?;
    Ok(())
}

/// Moves the pages of `from` to `to`, in one step for all who look. `from` is empty
/// then, and of `to` nothing is left; both are as long.
pub(super) fn move_pages(from: &VolatileSlice<'_>, to: &VolatileSlice<'_>) -> io::Result<()> {
    let flags = MremapFlags::MAYMOVE | MremapFlags::DONTUNMAP;
    let (old, new) = (from.ptr_guard_mut().as_ptr(), to.ptr_guard_mut().as_ptr());
    let len = from.len().min(to.len());
    // SAFETY: both are mappings of ours, and stay mapped. Nobody reads `from` but
    // through volatile accesses, and nobody has access to `to`.
    unsafe { rustix::mm::mremap_fixed(old.cast(), len, len, flags, new.cast()) }?;
    Ok(())
}

/// Replaces the `N` bytes at each of `offsets` in `memory` by what `change` makes of them,
/// while nobody else writes there. Those that are not wholly in it are passed over.
///
/// A few instructions for each, of which a kernel has hundreds of thousands.
pub(super) fn change<const N: usize>(
    memory: &VolatileSlice<'_>,
    offsets: impl Iterator<Item = usize>,
    change: impl Fn([u8; N]) -> [u8; N],
) {
    let Some(last) = memory.len().checked_sub(N) else { return };
    let guard = memory.ptr_guard_mut();
    for offset in offsets.filter(|offset| *offset <= last) {
        let place = guard.as_ptr().wrapping_add(offset).cast::<[u8; N]>();
        // SAFETY: N bytes from `place` are within the slice, and any address is aligned
        // for bytes.
        let bytes = unsafe { place.read() };
        // SAFETY: as above; no Rust reference sees guest memory.
        unsafe { place.write(change(bytes)) };
    }
}

/// Reads from `file` at `offset` straight into guest memory; returns how many
/// bytes were read, as `pread(2)` does.
pub(super) fn pread(file: &File, offset: u64, into: &VolatileSlice<'_>) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    let start = into.ptr_guard_mut().as_ptr();
    // SAFETY: the kernel writes at most `len` bytes from `start`, which the slice
    // owns; guest memory is never seen through Rust references.
    let read = unsafe { libc::pread(file.as_raw_fd(), start.cast(), into.len(), offset) };
    match usize::try_from(read) {
        Ok(read) => Ok(read),
        Err(_negative) => Err(io::Error::last_os_error()),
    }
}

/// Reads from `file` at `offset` straight into `into`, one after the other; returns how many
/// bytes were read, as `preadv(2)` does. Of very many slices only the first are filled.
pub(crate) fn preadv(file: &File, offset: u64, into: &[VolatileSlice<'_>]) -> io::Result<usize> {
    let (offset, vectors) = (offset_of(offset)?, vectors(into));
    // SAFETY: the kernel writes to nothing but the slices, which live as long as `into`; guest
    // memory is never seen through Rust references.
    let read = unsafe { libc::preadv(file.as_raw_fd(), vectors.0.as_ptr(), vectors.1, offset) };
    usize::try_from(read).map_err(|_negative| io::Error::last_os_error())
}

/// Writes `from`, one after the other, to `file` at `offset`; returns how many bytes were
/// written, as `pwritev(2)` does. Of very many slices only the first are written.
pub(crate) fn pwritev(file: &File, offset: u64, from: &[VolatileSlice<'_>]) -> io::Result<usize> {
    let (offset, vectors) = (offset_of(offset)?, vectors(from));
    // SAFETY: the kernel reads nothing but the slices, which live as long as `from`.
    let written = unsafe { libc::pwritev(file.as_raw_fd(), vectors.0.as_ptr(), vectors.1, offset) };
    usize::try_from(written).map_err(|_negative| io::Error::last_os_error())
}

/// Makes `file`, which is `/dev/net/tun` open, the interface `name` that is there. `flags` are
/// those of TUNSETIFF, and are what the interface was made with.
pub(crate) fn attach_tap(file: &File, name: &str, flags: libc::c_short) -> io::Result<()> {
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
    };
    // All but the last, which ends it.
    for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: the kernel reads and writes one `ifreq`, which this is.
    match unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn offset_of(offset: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(offset).map_err(io::Error::other)
}

/// `slices` as the kernel wants them, and how many: at most as many as it takes at once.
fn vectors(slices: &[VolatileSlice<'_>]) -> (Vec<libc::iovec>, libc::c_int) {
    /// UIO_MAXIOV, include/uapi/linux/uio.h.
    const COUNT_MAX: usize = 1024;
    let vector = |slice: &VolatileSlice<'_>| libc::iovec {
        iov_base: slice.ptr_guard_mut().as_ptr().cast(),
        iov_len: slice.len(),
    };
    let vectors: Vec<_> = slices.iter().take(COUNT_MAX).map(vector).collect();
    let count = libc::c_int::try_from(vectors.len()).unwrap_or(libc::c_int::MAX);
    (vectors, count)
}

/// Sets the vCPU's x87, SSE and further state.
pub(super) fn set_xsave(vcpu: &VcpuFd, xsave: &kvm_xsave) -> Result<(), errno::Error> {
    // SAFETY: KVM reads more than `xsave` holds only where the process has asked
    // for larger state to be allowed to guests, which this one never does.
    unsafe { vcpu.set_xsave(xsave) }
}

/// What KVM says of an internal error.
#[derive(Clone, Copy, Debug)]
pub(super) struct InternalError {
    /// Which kind.
    pub(super) suberror: u32,
    /// What comes with it.
    pub(super) data: [u64; 16],
    /// How much of `data` KVM wrote.
    pub(super) data_len: usize,
}

impl InternalError {
    /// Meaningful after KVM_EXIT_INTERNAL_ERROR only.
    pub(super) fn of(run: &kvm_run) -> Self {
        // SAFETY: integers in a page that KVM shares: whatever exit wrote them,
        // every bit pattern is a value.
        let internal = unsafe { run.__bindgen_anon_1.internal };
        let data_len = internal.data.len().min(internal.ndata as usize);
        Self { suberror: internal.suberror, data: internal.data, data_len }
    }
}

/// Interrupts a thread of ours that may be in KVM_RUN.
pub(super) fn interrupt(thread: Pid) {
    let process = rustix::process::getpid().as_raw_pid();
    // SAFETY: a call on integers. Where the thread has ended meanwhile it fails;
    // where another of ours has its number by now, that one takes a signal that
    // does nothing.
    unsafe { libc::tgkill(process, thread.as_raw_pid(), SIGRTMIN()) };
}
