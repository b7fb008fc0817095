//! Where nothing is, and what only looks like something.

use firmware_less::machine::port;
use iced_x86::code_asm::*;

use super::guest::{Assembled, Guest, SCRATCH, power_off};

const PCI_CONFIG_ADDRESS: u32 = 0xcf8;
const NO_MEMORY: u64 = 0xd000_0000;

/// What a read leaves of this where it wrote all ones.
const MARK: u64 = 0x1122_3344_5566_7788;

#[test]
fn absent_ports_read_all_ones_and_touch_no_more() {
    let guest = Guest::new(|a| {
        a.mov(edx, 0x2f8)?;
        each(a, |a| a.in_(al, dx))?;
        each(a, |a| a.in_(ax, dx))?;
        each(a, |a| a.in_(eax, dx))?;
        report(a)
    });
    let Some(ran) = guest.run("absent_ports_read_all_ones_and_touch_no_more") else { return };
    assert_eq!(
        words(&ran.powered_off()),
        [MARK | 0xff, MARK | 0xffff, 0xffff_ffff],
        "a write to EAX clears the upper half"
    );
}

#[test]
fn absent_memory_reads_all_ones_and_swallows_writes() {
    let guest = Guest::new(|a| {
        a.mov(rbx, NO_MEMORY)?;
        a.mov(qword_ptr(rbx), rbx)?;
        each(a, |a| a.mov(al, byte_ptr(rbx)))?;
        each(a, |a| a.mov(ax, word_ptr(rbx)))?;
        each(a, |a| a.mov(eax, dword_ptr(rbx)))?;
        each(a, |a| a.mov(rax, qword_ptr(rbx)))?;
        report(a)
    });
    let Some(ran) = guest.run("absent_memory_reads_all_ones_and_swallows_writes") else { return };
    assert_eq!(words(&ran.powered_off()), [MARK | 0xff, MARK | 0xffff, 0xffff_ffff, u64::MAX]);
}

/// A dword at 0xcf8 covers the reset register at 0xcf9.
#[test]
fn looking_for_pci_is_no_reset_and_finds_none() {
    let guest = Guest::new(|a| {
        a.mov(edx, PCI_CONFIG_ADDRESS)?;
        a.mov(eax, 0x8000_0600_u32)?;
        a.out(dx, eax)?;
        a.mov(eax, 0x0600)?;
        a.out(dx, ax)?;
        each(a, |a| a.in_(eax, dx))?;
        report(a)
    });
    let Some(ran) = guest.run("looking_for_pci_is_no_reset_and_finds_none") else { return };
    assert_eq!(words(&ran.powered_off()), [0xffff_ffff]);
}

#[test]
fn the_pm_timer_runs_at_its_frequency() {
    const READS: usize = 2;
    let guest = Guest::new(|a| {
        a.mov(edx, u32::from(port::PM_TIMER))?;
        for _ in 0..READS {
            each(a, |a| a.in_(eax, dx))?;
        }
        report(a)
    });
    let Some(ran) = guest.run("the_pm_timer_runs_at_its_frequency") else { return };
    let [first, second] = words(&ran.powered_off())[..] else { panic!("{READS} reads") };
    assert!(first <= second && second < 1 << 24, "{first} {second}");
}

/// Does `access` with a marked RAX and keeps what it left there; RBP counts.
fn each(a: &mut CodeAssembler, access: impl FnOnce(&mut CodeAssembler) -> Assembled) -> Assembled {
    a.mov(rax, MARK)?;
    access(a)?;
    a.mov(qword_ptr(SCRATCH + rbp * 8), rax)?;
    a.inc(rbp)
}

/// Sends what was kept, and powers off.
fn report(a: &mut CodeAssembler) -> Assembled {
    a.lea(ecx, dword_ptr(rbp * 8))?;
    a.mov(rsi, SCRATCH)?;
    a.mov(edx, u32::from(port::SERIAL))?;
    a.cld()?;
    a.rep().outsb()?;
    power_off(a)
}

fn words(bytes: &[u8]) -> Vec<u64> {
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    bytes.chunks(8).map(word).collect()
}
