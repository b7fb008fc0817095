//! The floor: a monitor that makes just the system calls without which this
//! guest would not run, one after the other, and reads the same bytes of the
//! same file to the same places.
//!
//! It is this very program, started again with [`MARK`] as its first argument.
#![expect(unsafe_code, reason = "maps memory and shows it to KVM")]

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, Write as _},
    os::{fd::AsRawFd as _, unix::ffi::OsStringExt as _},
    process::ExitCode,
    ptr, slice,
};

use firmware_less::machine::{KVM_TSS, port};
use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd};

use crate::{
    Result,
    guest::{MEMORY, OnDisk},
    trial::now_us,
};

/// The first argument of a floor.
const MARK: &str = "--floor";
const HUGE_PAGE: usize = 2 << 20;
/// What no run takes.
pub(crate) const TIME_LIMIT_S: u32 = 60;
/// Where the page tables are, one page each: PML4, PDPT, PD.
const TABLES: u64 = 0x9000;

/// The arguments that make this program a floor that boots `guest`.
pub(crate) fn arguments(guest: &OnDisk) -> Vec<OsString> {
    let reads = guest.reads().map(|(slice, to)| {
        OsString::from(format!("{}:{}:{to}", slice.range.offset(), slice.range.len()))
    });
    let registers = &guest.plan.cpu().registers;
    let entry = OsString::from(registers.rip.to_string());
    [MARK.into(), guest.path.clone().into(), entry].into_iter().chain(reads).collect()
}

/// When the floor was where, in microseconds of the monotonic clock: at main,
/// with a VM made, with memory loaded, at the first entry.
pub(crate) type Times = [f64; 4];

/// The times that a floor wrote.
pub(crate) fn times(written: &[u8]) -> Option<Times> {
    let text = str::from_utf8(written).ok()?;
    let times: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    times.try_into().ok()
}

/// What a floor was asked for.
#[derive(Debug)]
pub(crate) struct Job {
    image: OsString,
    entry: u64,
    reads: Vec<Read>,
}

#[derive(Debug)]
struct Read {
    offset: i64,
    len: usize,
    to: usize,
}

impl Job {
    /// The job, if these are a floor's arguments.
    pub(crate) fn of(mut arguments: env::ArgsOs) -> Option<Self> {
        if arguments.nth(1)? != MARK {
            return None;
        }
        let image = arguments.next()?;
        let entry = arguments.next()?.into_string().ok()?.parse().ok()?;
        let reads = arguments.map(Read::of).collect::<Option<_>>()?;
        Some(Self { image, entry, reads })
    }

    /// Boots the guest; writes its console to standard output, and the times to
    /// standard error.
    pub(crate) fn run(self) -> ExitCode {
        match self.boot(now_us()) {
            Ok(times) => {
                let words = times.map(|time| time.to_string());
                // Whoever asked reads it.
                drop(writeln!(io::stderr(), "{}", words.join(" ")));
                ExitCode::SUCCESS
            }
            Err(error) => {
                drop(writeln!(io::stderr(), "floor: {error}"));
                ExitCode::FAILURE
            }
        }
    }

    fn boot(self, main: f64) -> Result<Times> {
        // SAFETY: a call on an integer. Whatever goes wrong, this ends.
        unsafe { libc::alarm(TIME_LIMIT_S) };
        let kvm = Kvm::new()?;
        let vm = kvm.create_vm()?;
        vm.set_tss_address(usize::try_from(KVM_TSS.start())?)?;
        vm.create_irq_chip()?;
        let memory = map_memory()?;
        let region = kvm_userspace_memory_region {
            memory_size: memory.len() as u64,
            userspace_addr: memory.as_ptr() as u64,
            ..kvm_userspace_memory_region::default()
        };
        // SAFETY: the mapping is never undone.
        unsafe { vm.set_user_memory_region(region)? };
        let mut vcpu = vm.create_vcpu(0)?;
        vcpu.set_cpuid2(&kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)?)?;
        let made = now_us();

        let image = File::open(&self.image)?;
        for read in &self.reads {
            read.exactly(&image, memory)?;
        }
        write_tables(memory);
        let loaded = now_us();

        set_registers(&vcpu, self.entry)?;
        let entry = now_us();
        run(&mut vcpu)?;
        Ok([main, made, loaded, entry])
    }
}

impl Read {
    fn of(argument: OsString) -> Option<Self> {
        let text = String::from_utf8(argument.into_vec()).ok()?;
        let mut numbers = text.split(':');
        Some(Self {
            offset: numbers.next()?.parse().ok()?,
            len: numbers.next()?.parse().ok()?,
            to: numbers.next()?.parse().ok()?,
        })
    }

    fn exactly(&self, image: &File, memory: &mut [u8]) -> Result<()> {
        let into = memory.get_mut(self.to..self.to + self.len).ok_or("not in RAM")?;
        // SAFETY: the kernel writes into the slice and not past its end.
        let read = unsafe {
            libc::pread(image.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), self.offset)
        };
        if usize::try_from(read) == Ok(self.len) { Ok(()) } else { Err("a short read".into()) }
    }
}

/// Guest RAM as the monitors have it that care: huge pages, aligned.
fn map_memory() -> Result<&'static mut [u8]> {
    let len = usize::try_from(MEMORY)?;
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
    );
    // SAFETY: a new mapping, where the kernel likes.
    let start = unsafe { libc::mmap(ptr::null_mut(), len + HUGE_PAGE, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error().into());
    }
    let start = start.cast::<u8>();
    // SAFETY: the mapping is longer than `len` by what aligning can take.
    let aligned = unsafe { start.add(start.align_offset(HUGE_PAGE)) };
    // SAFETY: advice on what backs that mapping.
    unsafe { libc::madvise(aligned.cast(), len, libc::MADV_HUGEPAGE) };
    // SAFETY: mapped, never unmapped, and nobody else has it.
    Ok(unsafe { slice::from_raw_parts_mut(aligned, len) })
}

/// Maps the first GiB to itself, in leaves of 2 MiB.
fn write_tables(memory: &mut [u8]) {
    const TABLE: u64 = 0x63;
    const LEAF: u64 = 0x1e3;
    let mut set = |table: u64, slot: u64, entry: u64| {
        let at = TABLES + (table << 12) + (slot << 3);
        for (to, from) in
            memory.iter_mut().skip(usize::try_from(at).unwrap_or(0)).zip(entry.to_le_bytes())
        {
            *to = from;
        }
    };
    set(0, 0, (TABLES + 0x1000) | TABLE);
    set(1, 0, (TABLES + 0x2000) | TABLE);
    (0..512).for_each(|slot| set(2, slot, (slot << 21) | LEAF));
}

/// 64-bit mode, at the kernel's entry point.
fn set_registers(vcpu: &VcpuFd, entry: u64) -> Result<()> {
    let mut sregs = vcpu.get_sregs()?;
    let data = kvm_segment {
        limit: u32::MAX,
        selector: 0x18,
        type_: 3,
        present: 1,
        db: 1,
        s: 1,
        g: 1,
        ..kvm_segment::default()
    };
    sregs.cs = kvm_segment { selector: 0x10, type_: 0xb, db: 0, l: 1, ..data };
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    (sregs.cr0, sregs.cr3, sregs.cr4, sregs.efer) = (0x8000_0033, TABLES, 0x20, 0xd01);
    vcpu.set_sregs(&sregs)?;
    vcpu.set_regs(&kvm_regs { rip: entry, rflags: 2, ..kvm_regs::default() })?;
    Ok(())
}

fn run(vcpu: &mut VcpuFd) -> Result<()> {
    loop {
        match vcpu.run()? {
            // Not through Rust's buffer, which waits for a line's end.
            VcpuExit::IoOut(port::SERIAL, bytes) => {
                rustix::io::write(rustix::stdio::stdout(), bytes)?;
            }
            VcpuExit::IoOut(port::SLEEP_CONTROL, _) => return Ok(()),
            VcpuExit::IoIn(_, bytes) => bytes.fill(0),
            other => return Err(format!("unexpected exit: {other:?}").into()),
        }
    }
}
