//! Why a guest says nothing, as far as that can be told from outside.

use std::fmt::Write as _;

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
    text + &console(hang)
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

/// What the command line says of consoles. Only the first serial port is there.
fn console(hang: &Hang<'_>) -> String {
    let consoles = consoles(hang.cmdline).join(" ");
    match standing(hang.cmdline) {
        Standing::None => " The command line names no console: a kernel without one may say \
                           nothing on the serial port."
            .to_owned(),
        Standing::Elsewhere => format!(
            " The command line has {consoles}, and this machine has none of it: its only console \
             is ttyS0. The guest may be well and talk to nobody."
        ),
        Standing::Here if hang.bytes == 0 => {
            let is_quiet = hang.cmdline.split(u8::is_ascii_whitespace).any(|word| word == b"quiet");
            let quiet =
                if is_quiet { ", and \"quiet\", which hides what the kernel says" } else { "" };
            format!(" The command line names a console that is there ({consoles}){quiet}.")
        }
        Standing::Here => String::new(),
    }
}

/// What to do about a guest that wrote nothing at all.
#[must_use]
pub fn next_step(cmdline: &[u8]) -> &'static str {
    match standing(cmdline) {
        Standing::None | Standing::Elsewhere => "boot it with --append console=ttyS0",
        Standing::Here => {
            "boot it with --append 'earlyprintk=ttyS0 loglevel=7': then the kernel speaks before it \
             has its console"
        }
    }
}

/// Where the consoles of a command line are.
enum Standing {
    /// There are none.
    None,
    /// On no device of this machine.
    Elsewhere,
    /// On one that is there.
    Here,
}

fn standing(cmdline: &[u8]) -> Standing {
    let consoles = consoles(cmdline);
    if consoles.is_empty() {
        Standing::None
    } else if consoles.iter().any(|word| exists(word)) {
        Standing::Here
    } else {
        Standing::Elsewhere
    }
}

/// The words of a command line that name a console.
fn consoles(cmdline: &[u8]) -> Vec<String> {
    let cmdline = String::from_utf8_lossy(cmdline);
    let words = cmdline.split_ascii_whitespace();
    words.filter(|word| word.starts_with("console=")).map(str::to_owned).collect()
}

/// Whether a console of that name is there. `Documentation/admin-guide/kernel-parameters.txt`,
/// "console=".
fn exists(word: &str) -> bool {
    let console = word.trim_start_matches("console=");
    let name = console.split(',').next().unwrap_or_default();
    match name {
        "ttyS0" => true,
        "uart" | "uart8250" => console.contains("io,0x3f8"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rips: &[u64], is_halted: bool, takes_interrupts: bool) -> Vec<Sample> {
        let sample = |rip: &u64| Sample { cpu: 0, rip: *rip, is_halted, takes_interrupts };
        rips.iter().map(sample).collect()
    }

    fn explained(samples: &[Sample], cmdline: &str, bytes: u64) -> String {
        let cmdline = cmdline.as_bytes();
        explain(&Hang { samples, last_write: None, symbols: None, cmdline, bytes, last_line: None })
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
    fn a_console_that_is_not_there_is_named() {
        for missing in
            ["console=ttyS1,115200", "console=tty0 console=hvc0", "console=uart,io,0x2f8"]
        {
            let text = explained(&[], missing, 0);
            assert!(text.contains("this machine has none of it"), "{missing}: {text}");
        }
        assert!(explained(&[], "quiet root=x", 0).contains("names no console"));
        for there in ["console=tty0 console=ttyS0,115200n8", "console=uart,io,0x3f8"] {
            assert!(explained(&[], there, 0).contains("a console that is there"), "{there}");
        }
    }

    #[test]
    fn a_guest_that_talked_is_quoted_and_not_told_of_consoles() {
        let last_line = Some("[    1.0] waiting for root");
        let hang = Hang {
            samples: &[],
            last_write: None,
            symbols: None,
            cmdline: b"console=ttyS0",
            bytes: 30,
            last_line,
        };
        assert_eq!(explain(&hang), "The last line was \"[    1.0] waiting for root\".");
    }

    #[test]
    fn the_last_port_is_named_where_the_engine_tells_it() {
        let told = |port, value| {
            let last_write = Some(PortWrite { port, value });
            explain(&Hang {
                samples: &[],
                last_write,
                symbols: None,
                cmdline: b"console=ttyS0",
                bytes: 1,
                last_line: Some("x"),
            })
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
        let cmdline = b"console=ttyS0";
        let hang = Hang {
            samples: &samples,
            last_write: None,
            symbols,
            cmdline,
            bytes: 1,
            last_line: None,
        };
        let place = "spins from 0xffffffff88200104 (native_halt+0x4) to 0xffffffff88200300, with interrupts";
        assert!(explain(&hang).contains(place), "{}", explain(&hang));
    }
}
