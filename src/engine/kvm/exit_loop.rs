//! What a vCPU thread does all day: enter the guest, answer, enter again.

use std::sync::atomic::Ordering;

use firmware_less::range::GuestRange;
use kvm_ioctls::VcpuExit;
use vm_memory::VolatileSlice;
use vmm_sys_util::errno;

use super::{
    exit_reason::{exit_name, internal_error, internal_error_data},
    run::Guest,
    vcpu::Vcpu,
    vm::InternalError,
};
use crate::{
    devices::Effect,
    outcome::{End, Exits},
    session::{Milestone, Session},
};

/// Why a vCPU left the guest by itself.
pub(super) struct Cause {
    pub(super) end: End,
    /// What a crash report begins with, where there is to be one.
    pub(super) explanation: Option<String>,
}

impl Cause {
    fn failure(explanation: String) -> Self {
        let end = End::EngineFailure { reason: explanation.clone() };
        Self { end, explanation: Some(explanation) }
    }
}

/// Runs `vcpu` until the guest ends the run, which gives the cause, or others
/// want it to stop.
pub(super) fn run(
    vcpu: &mut Vcpu<'_>,
    guest: &Guest<'_>,
    id: usize,
    exits: &mut Exits,
) -> Option<Cause> {
    let Guest { devices, session, stopping, samples, last_write, memory, .. } = guest;
    // A second EFAULT is for another reason.
    let mut lacks_memory = memory.was_withheld();
    let mut entering = id == 0;
    if entering {
        session.mark(Milestone::FirstEntry);
    }
    while !stopping.load(Ordering::Relaxed) {
        let exit = vcpu.fd.run();
        if entering {
            session.mark(Milestone::FirstExit);
            entering = false;
        }
        match exit {
            Ok(VcpuExit::IoOut(port, data)) => {
                exits.write(port);
                last_write.note(port, data);
                match devices.write(port, data) {
                    Effect::None => {}
                    Effect::Output(bytes) => session.output(bytes),
                    Effect::Milestones(numbers) => mark_all(session, numbers),
                    Effect::Panicked => session.panicked(),
                    Effect::End(end) => return Some(Cause { end, explanation: None }),
                }
            }
            Ok(VcpuExit::IoIn(port, data)) => {
                exits.read(port);
                devices.read(port, data);
            }
            Ok(VcpuExit::MmioRead(address, data)) => read_memory(guest, exits, address, data),
            Ok(VcpuExit::MmioWrite(address, data)) => write_memory(guest, exits, address, data),
            Ok(VcpuExit::Intr) => {
                count(&mut exits.interrupted);
                samples.note(id, vcpu);
            }
            Err(error) if error.errno() == libc::EINTR => {
                count(&mut exits.interrupted);
                samples.note(id, vcpu);
            }
            Err(error) if error.errno() == libc::EFAULT && lacks_memory => {
                memory.wait_while(|| !stopping.load(Ordering::Relaxed));
                lacks_memory = false;
            }
            // A vCPU that waits to be started looks up when INIT comes.
            Err(error) if error.errno() == libc::EAGAIN => count(&mut exits.other),
            failure => {
                count(&mut exits.other);
                return Some(match failure {
                    Ok(VcpuExit::Shutdown) => triple_fault(),
                    Ok(VcpuExit::FailEntry(reason, _)) => entry_failure(reason),
                    Ok(_) => unexpected(vcpu),
                    Err(error) => refused(error),
                });
            }
        }
    }
    None
}

fn read_memory(guest: &Guest<'_>, exits: &mut Exits, address: u64, data: &mut [u8]) {
    count(&mut exits.mmio_read);
    match emulated(guest, address, data.len()) {
        Some(memory) => drop(memory.copy_to(data)),
        None => guest.devices.read_memory(address, data),
    }
}

fn write_memory(guest: &Guest<'_>, exits: &mut Exits, address: u64, data: &[u8]) {
    count(&mut exits.mmio_write);
    match emulated(guest, address, data.len()) {
        Some(memory) => memory.copy_from(data),
        None => guest.devices.write_memory(address, data),
    }
}

/// The RAM that an MMIO exit is about, as soon as it is there: where KVM emulates
/// the guest's instructions, it takes RAM that is withheld for a device.
fn emulated<'m>(guest: &Guest<'m>, address: u64, len: usize) -> Option<VolatileSlice<'m>> {
    let memory = guest.memory;
    memory.was_withheld().then_some(())?;
    memory.slice(GuestRange::new(address, len as u64)?).ok()
}

#[inline]
fn count(exits: &mut u64) {
    *exits = exits.wrapping_add(1);
}

#[cold]
fn mark_all(session: &Session, numbers: &[u8]) {
    for number in numbers {
        session.mark_guest(*number);
    }
}

#[cold]
fn triple_fault() -> Cause {
    let explanation = Some("triple fault (KVM_EXIT_SHUTDOWN)".to_owned());
    Cause { end: End::TripleFault, explanation }
}

/// The processor itself refused to enter the guest.
#[cold]
fn entry_failure(reason: u64) -> Cause {
    Cause::failure(format!("KVM_EXIT_FAIL_ENTRY, hardware reason {reason:#x}"))
}

#[cold]
fn refused(error: errno::Error) -> Cause {
    Cause::failure(format!("KVM_RUN failed: {error}"))
}

#[cold]
fn unexpected(vcpu: &mut Vcpu<'_>) -> Cause {
    let run = vcpu.fd.get_kvm_run();
    Cause::failure(match run.exit_reason {
        kvm_bindings::KVM_EXIT_INTERNAL_ERROR => {
            let error = InternalError::of(run);
            let data = internal_error_data(&error).map(|data| format!(", {data}"));
            internal_error(&error) + &data.unwrap_or_default()
        }
        reason => exit_name(reason),
    })
}
