//! Why a guest says nothing, as far as that can be told from outside.

use std::fmt::Write as _;

use firmware_less::kernel::Config;

use super::consoles;
use crate::{
    outcome::{PortWrite, Sample},
    symbols::{Slide, SystemMap},
};

/// The longest stretch of code that a vCPU stays in that spins: a loop is short.
const LOOP_MAX: u64 = 4096;

/// What there is to be known of a guest that hangs.
#[derive(Clone, Copy, Debug)]
pub struct Hang<'a> {
    /// What its vCPUs were at.
    pub samples: &'a [Sample],
    /// The last I/O port it wrote to, where the engine can tell.
    pub last_write: Option<PortWrite>,
    /// The names of its kernel's functions, and how far from where it was linked it
    /// runs, where both are known.
    pub symbols: Option<(&'a SystemMap, Slide)>,
    /// Its command line.
    pub cmdline: &'a [u8],
    /// Whether it has a virtio console beside the serial port.
    pub has_hvc0: bool,
    /// How its kernel was configured, where that is known and matters.
    pub config: Option<&'a Config>,
    /// How many bytes it wrote to the console.
    pub bytes: u64,
    /// The last line it wrote, if any.
    pub last_line: Option<&'a str>,
}

/// A paragraph for whoever has to find out.
#[must_use]
pub fn explain(hang: &Hang<'_>) -> String {
    let mut text = match hang.last_line.filter(|line| !line.is_empty()) {
        _ if hang.bytes == 0 => "The guest wrote nothing at all.".to_owned(),
        Some(line) => format!("The last line was {line:?}."),
        None => format!("The guest wrote {} bytes and no line.", hang.bytes),
    };
    let cpus = hang.samples.iter().map(|sample| sample.cpu).max();
    for cpu in cpus.into_iter().flat_map(|last| 0..=last) {
        let own: Vec<Sample> = hang.samples.iter().filter(|one| one.cpu == cpu).copied().collect();
        if let Some(words) = vcpu(&own, hang.symbols) {
            // Writing to a string can't fail.
            let _ = write!(text, " vCPU {cpu} {words}");
        }
        if hang.bytes == 0 && is_stuck_early(&own) {
            text.push_str(
                " That is below the kernel's own addresses: it did not come past unpacking itself; it \
                 may be damaged, or memory short.",
            );
        }
    }
    if let Some(PortWrite { port, value }) = hang.last_write {
        let of = port_name(port).map_or_else(String::new, |name| format!(" ({name})"));
        // Writing to a string can't fail.
        let _ = write!(text, " The last I/O port written was {port:#x}{of}, with {value:#x}.");
    }
    text + &consoles::explain(hang)
}

/// What that port is of, on a PC. `arch/x86/kernel/setup.c` (`standard_io_resources`),
/// `include/uapi/linux/serial_reg.h`.
fn port_name(port: u16) -> Option<&'static str> {
    Some(match port {
        0x20 | 0x21 | 0xa0 | 0xa1 => "interrupt controller",
        0x40..=0x43 => "timer",
        0x60 | 0x64 => "keyboard controller",
        0x70 | 0x71 => "clock",
        0x80 => "POST code, and the kernel's way to wait a microsecond",
        0x3f8..=0x3ff => "the serial port",
        0xcf8..=0xcff => "PCI configuration",
        _ => return None,
    })
}

/// Where a 64-bit kernel's own half of the addresses begins.
/// `Documentation/arch/x86/x86_64/mm.rst`.
const KERNEL_HALF: u64 = 0xffff_8000_0000_0000;

/// Whether a vCPU stopped for good before the kernel ran at its own addresses: what
/// `error()` of `arch/x86/boot/compressed/misc.c` does.
fn is_stuck_early(samples: &[Sample]) -> bool {
    let is_one = |sample: &Sample| sample.is_stopped_for_good() && sample.rip < KERNEL_HALF;
    !samples.is_empty() && samples.iter().all(is_one)
}

/// What one vCPU does.
fn vcpu(samples: &[Sample], symbols: Option<(&SystemMap, Slide)>) -> Option<String> {
    let (low, high) = (
        samples.iter().map(|sample| sample.rip).min()?,
        samples.iter().map(|sample| sample.rip).max()?,
    );
    let of = samples.len();
    let halted = samples.iter().filter(|sample| sample.is_halted).count();
    let deaf = samples.iter().all(|sample| !sample.takes_interrupts);
    let named = |rip: u64| {
        let name = symbols.and_then(|(map, slide)| map.name(rip, slide));
        format!("{rip:#x}") + &name.map_or_else(String::new, |name| format!(" ({name})"))
    };
    let place = if low == high {
        format!("at {}", named(low))
    } else {
        format!("from {} to {}", named(low), named(high))
    };
    let looks = format!("in {of} looks");
    Some(if halted == of && deaf {
        format!(
            "is halted {place} with interrupts off ({looks}): it stopped for good, and nothing can wake it; a kernel that panics stops all processors but one so."
        )
    } else if halted == of {
        format!(
            "is halted {place} ({looks}) and waits for an interrupt: the guest is idle, or waits for something that does not come."
        )
    } else if halted > 0 {
        format!(
            "is halted in {halted} of {of} looks and runs in the others, {place}: the guest is idle or lightly busy."
        )
    } else if high.saturating_sub(low) <= LOOP_MAX {
        let off = if deaf { ", with interrupts off" } else { "" };
        format!(
            "spins {place}{off} ({looks}): it is caught in a loop there; so is a kernel that has panicked."
        )
    } else {
        format!("is running, {place} ({looks}): it is busy, not stuck in one place.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Hang<'_> = Hang {
        samples: &[],
        last_write: None,
        symbols: None,
        cmdline: b"console=ttyS0",
        has_hvc0: false,
        config: None,
        bytes: 1,
        last_line: None,
    };

    fn samples(rips: &[u64], is_halted: bool, takes_interrupts: bool) -> Vec<Sample> {
        let sample = |rip: &u64| Sample { cpu: 0, rip: *rip, is_halted, takes_interrupts };
        rips.iter().map(sample).collect()
    }

    fn explained(samples: &[Sample], cmdline: &str, bytes: u64) -> String {
        let cmdline = cmdline.as_bytes();
        let hang = Hang { samples, cmdline, bytes, ..NOTHING };
        explain(&hang)
    }

    #[test]
    fn a_vcpu_is_halted_or_spins_or_runs() {
        let at = [0x10_0200; 10];
        let text = explained(&samples(&at, true, false), "console=ttyS0", 0);
        assert!(
            text.contains("vCPU 0 is halted at 0x100200 with interrupts off (in 10 looks)"),
            "{text}"
        );
        let text = explained(&samples(&at, true, true), "console=ttyS0", 0);
        assert!(text.contains("waits for an interrupt") && !text.contains("unpacking"), "{text}");
        let text = explained(&samples(&at, true, false), "console=ttyS0", 0);
        assert!(text.contains("did not come past unpacking itself"), "{text}");
        let text = explained(&samples(&[0x1000, 0x1002], false, false), "console=ttyS0", 0);
        assert!(text.contains("spins from 0x1000 to 0x1002, with interrupts off"), "{text}");
        let text = explained(&samples(&[0x1000, 0x9_0000], false, true), "console=ttyS0", 0);
        assert!(text.contains("is running, from 0x1000 to 0x90000"), "{text}");
    }

    #[test]
    fn each_vcpu_is_spoken_of() {
        let mut all = samples(&[1], true, false);
        all.push(Sample { cpu: 1, rip: 2, is_halted: false, takes_interrupts: true });
        let text = explained(&all, "console=ttyS0", 0);
        assert!(text.contains("vCPU 0 is halted") && text.contains("vCPU 1 spins"), "{text}");
    }

    #[test]
    fn a_guest_that_talked_is_quoted_and_not_told_of_consoles() {
        let last_line = Some("[    1.0] waiting for root");
        let hang = Hang { bytes: 30, last_line, ..NOTHING };
        assert_eq!(explain(&hang), "The last line was \"[    1.0] waiting for root\".");
    }

    #[test]
    fn the_last_port_is_named_where_the_engine_tells_it() {
        let told = |port, value| {
            let last_write = Some(PortWrite { port, value });
            explain(&Hang { last_write, last_line: Some("x"), ..NOTHING })
        };
        let known = " The last I/O port written was 0x70 (clock), with 0x8f.";
        assert_eq!(told(0x70, 0x8f), format!("The last line was \"x\".{known}"));
        assert!(told(0x1234, 5).ends_with("was 0x1234, with 0x5."));
    }

    #[test]
    fn a_place_has_the_name_of_its_function_where_there_is_one() {
        let text = "ffffffff81000100 t native_halt\nffffffff81000200 T asm_exc_page_fault\n";
        let map = SystemMap::read(text).unwrap();
        let symbols = map.slide(0xffff_ffff_8820_0200).map(|slide| (&map, slide));
        let samples = samples(&[0xffff_ffff_8820_0104, 0xffff_ffff_8820_0300], false, false);
        let hang = Hang { samples: &samples, symbols, ..NOTHING };
        let place = "spins from 0xffffffff88200104 (native_halt+0x4) to 0xffffffff88200300, with interrupts";
        assert!(explain(&hang).contains(place), "{}", explain(&hang));
    }
}
