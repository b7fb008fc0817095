//! Guest memory, below and above the hole.

use firmware_less::range::GuestRange;
use iced_x86::code_asm::*;
use ukivm::{
    engine::kvm::{GuestMemory, Vm},
    files::Files,
};

use super::guest::{Guest, SCRATCH, power_off, send};

const GIB: u64 = 1 << 30;

#[test]
fn memory_above_four_gib() {
    const PLACED: u64 = 5 * GIB;
    const WRITTEN: u64 = 4 * GIB;
    let text = b"from above";
    let guest = Guest::new(|a| {
        send(a, PLACED, text.len())?;
        a.mov(rbx, WRITTEN)?;
        a.mov(rax, u64::from_le_bytes(*b" to\nfrom"))?;
        a.mov(qword_ptr(rbx), rax)?;
        send(a, WRITTEN, 4)?;
        power_off(a)
    });
    let guest = guest.with_machine(6 * GIB, 1).with("text", PLACED, text.to_vec());
    let Some(ran) = guest.run("memory_above_four_gib") else { return };
    assert_eq!(ran.powered_off(), b"from above to\n");
}

#[test]
fn memory_that_nobody_wrote_reads_as_zero() {
    let guest = Guest::new(|a| {
        send(a, SCRATCH, 64)?;
        power_off(a)
    });
    let Some(ran) = guest.run("memory_that_nobody_wrote_reads_as_zero") else { return };
    assert_eq!(ran.powered_off(), [0; 64]);
}

#[test]
fn a_loaded_vm_shows_its_memory() {
    let text = b"placed".to_vec();
    let plan = Guest::new(power_off).with("text", SCRATCH, text).plan();
    let memory = GuestMemory::new(plan.machine()).expect("memory");
    memory.load(&plan, &Files::default()).expect("a loaded plan");
    let Ok(vm) = Vm::create(plan.machine(), &memory) else {
        crate::support::skip("a_loaded_vm_shows_its_memory", "no VM");
        return;
    };
    let vm = vm.ready(&plan).expect("vCPUs");
    let mut seen: Vec<u8> = Vec::new();
    vm.read_memory(GuestRange::constant(SCRATCH - 2, 10), &mut |bytes| seen.extend(bytes))
        .expect("memory to read");
    assert_eq!(seen, b"\0\0placed\0\0");
}
