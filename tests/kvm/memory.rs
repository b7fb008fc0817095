//! Guest memory, below and above the hole.

use firmware_less::{machine::Machine, plan::BootPlan, range::GuestRange};
use iced_x86::code_asm::*;
use ukivm::{
    engine::kvm::{Error, GuestMemory, Vm},
    files::Files,
};

use super::guest::{Guest, SCRATCH, power_off, send};
use crate::support::skip;

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
    shows("a_loaded_vm_shows_its_memory", &plan, &memory);
}

/// That a VM over `memory`, loaded with `plan`, shows what that places.
fn shows(test: &str, plan: &BootPlan, memory: &GuestMemory) {
    memory.load(plan, &Files::default()).expect("a loaded plan");
    let Ok(vm) = Vm::create(plan.machine(), memory) else {
        skip(test, "no VM");
        return;
    };
    let vm = vm.ready(plan).expect("vCPUs");
    let mut seen: Vec<u8> = Vec::new();
    vm.read_memory(GuestRange::constant(SCRATCH - 2, 10), &mut |bytes| seen.extend(bytes))
        .expect("memory to read");
    assert_eq!(seen, b"\0\0placed\0\0");
}

#[test]
fn memory_may_be_in_huge_pages_that_the_host_has_set_aside() {
    let test = "memory_may_be_in_huge_pages_that_the_host_has_set_aside";
    let plan = Guest::new(power_off).with("text", SCRATCH, b"placed".to_vec()).plan();
    match GuestMemory::in_huge_pages(plan.machine()) {
        Ok(memory) => shows(test, &plan, &memory),
        Err(lacking) => skip(test, &lacking.to_string()),
    }
}

#[test]
fn huge_pages_that_the_host_has_too_few_of_are_counted() {
    let machine = Machine::new(1 << 40, 1).expect("a machine");
    let error = GuestMemory::in_huge_pages(&machine).expect_err("nobody has a TiB to spare");
    assert!(matches!(error, Error::HugePages { wanted: 0x8_0000, .. }), "{error:?}");
    let start = "--hugepages: guest memory takes 524288 huge pages of 2 MiB, ";
    assert!(error.to_string().starts_with(start), "{error}");
}
