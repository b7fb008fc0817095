//! Names for a kernel's addresses, from its `System.map` or a copy of
//! `/proc/kallsyms`.
//!
//! A kernel with KASLR does not run where the file says. How far away it runs is told
//! by the handler of page faults: the interrupt descriptor table has its address, and
//! the file has the address that it was linked at.

use thiserror::Error;

/// Where the gate of the page fault is in the interrupt descriptor table, in bytes.
/// Intel SDM vol. 3A, 6.14.1: 16 bytes each; vector 14.
pub const PAGE_FAULT_GATE: u64 = 14 * 16;

/// What the handler of page faults is called. `arch/x86/include/asm/idtentry.h`; before
/// Linux 5.8, `arch/x86/entry/entry_64.S`.
const PAGE_FAULT_HANDLERS: [&str; 2] = ["asm_exc_page_fault", "page_fault"];

/// Kernels lie at multiples of this from where they are linked, less than
/// [`SLIDE_MAX`] away. `CONFIG_PHYSICAL_ALIGN`, `KERNEL_IMAGE_SIZE`.
const SLIDE_ALIGNMENT: u64 = 0x20_0000;
const SLIDE_MAX: u64 = 0x4000_0000;

/// Why a file names nothing.
#[derive(Debug, Error)]
pub enum Error {
    /// Nothing in it tells where the kernel runs.
    #[error(
        "no kernel's System.map: there is no asm_exc_page_fault in it. Debian's is in the package \
         linux-image-...-dbg; a copy of the guest's /proc/kallsyms, read by root, will do"
    )]
    NoHandler,
}

/// The address in a 64-bit gate: of the handler, if the gate is present. Intel SDM
/// vol. 3A, figure 6-8.
#[must_use]
pub fn handler(gate: [u8; 16]) -> Option<u64> {
    const PRESENT: u64 = 0x80;
    let gate = u128::from_le_bytes(gate);
    let part = |from: u32, mask: u64| u64::try_from(gate >> from & u128::from(mask)).ok();
    let (low, flags) = (part(0, 0xffff)?, part(40, 0xff)?);
    let (middle, high) = (part(48, 0xffff)?, part(64, 0xffff_ffff)?);
    (flags & PRESENT != 0).then_some(high << 32 | middle << 16 | low)
}

/// The functions of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemMap {
    /// By address, as linked.
    functions: Vec<(u64, String)>,
    page_fault: u64,
}

impl SystemMap {
    /// Reads lines of an address, a type and a name. Those of modules are left out.
    /// nm(1).
    pub fn read(text: &str) -> Result<Self, Error> {
        let mut functions: Vec<_> = text.lines().filter_map(function).collect();
        functions.sort();
        let is_handler = |name: &str| PAGE_FAULT_HANDLERS.contains(&name);
        let page_fault = functions.iter().find(|(_, name)| is_handler(name));
        let page_fault = page_fault.map(|(address, _)| *address).ok_or(Error::NoHandler)?;
        Ok(Self { functions, page_fault })
    }

    /// How far from where it was linked a kernel runs whose handler of page faults is
    /// at `handler`. `None` if it is another kernel, or has not set up its table yet.
    #[must_use]
    pub fn slide(&self, handler: u64) -> Option<Slide> {
        let slide = handler.wrapping_sub(self.page_fault);
        let distance = handler.abs_diff(self.page_fault);
        (distance < SLIDE_MAX && slide.is_multiple_of(SLIDE_ALIGNMENT)).then_some(Slide(slide))
    }

    /// What lies at `address` of a kernel that runs that far away: `NAME+0xOFFSET`.
    /// `None` outside its functions; what is behind the last one is no part of it.
    #[must_use]
    pub fn name(&self, address: u64, Slide(slide): Slide) -> Option<String> {
        let linked = address.wrapping_sub(slide);
        let behind = self.functions.partition_point(|(start, _)| *start <= linked);
        self.functions.get(behind)?;
        let (start, _) = self.functions.get(behind.checked_sub(1)?)?;
        // Of several names of one place, the first in order.
        let first = self.functions.partition_point(|(other, _)| other < start);
        let (_, name) = self.functions.get(first)?;
        Some(format!("{name}+{:#x}", linked.wrapping_sub(*start)))
    }
}

/// How far from where it was linked a kernel runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slide(u64);

/// The address and the name that a line gives to a function.
fn function(line: &str) -> Option<(u64, String)> {
    let mut words = line.split_ascii_whitespace();
    let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
    let address = u64::from_str_radix(address, 16).ok()?;
    let is_function = matches!(kind, "t" | "T" | "w" | "W");
    // kallsyms of somebody who is not root has nothing but zeros.
    (is_function && address != 0 && words.next().is_none()).then(|| (address, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "\
0000000000000000 D __per_cpu_start
ffffffff81000000 T _text
ffffffff81000000 T startup_64
ffffffff81000100 t native_halt
ffffffff81000180 D not_code
ffffffff81800b50 T asm_exc_page_fault
ffffffff81e00000 T _etext
ffffffffc0001000 t of_a_module\t[broken]
";
    const HANDLER: u64 = 0xffff_ffff_8180_0b50;

    fn map() -> SystemMap {
        SystemMap::read(MAP).unwrap()
    }

    #[test]
    fn an_address_has_the_name_of_the_function_before_it() {
        let (map, slide) = (map(), Slide(0));
        let name = |address| map.name(address, slide);
        assert_eq!(name(0xffff_ffff_8100_0105).as_deref(), Some("native_halt+0x5"));
        assert_eq!(name(0xffff_ffff_8100_0000).as_deref(), Some("_text+0x0"));
        assert_eq!(name(0xffff_ffff_8100_0190).as_deref(), Some("native_halt+0x90"));
        assert_eq!(name(0xffff_ffff_80ff_ffff), None);
        assert_eq!(name(0xffff_ffff_81e0_0000), None);
        assert_eq!(name(0xffff_ffff_c000_1001), None);
        assert_eq!(name(0), None);
    }

    #[test]
    fn the_handler_of_page_faults_tells_how_far_away_the_kernel_runs() {
        let map = map();
        for slide in [0, 0x700_0000, 0_u64.wrapping_sub(0x20_0000)] {
            let found = map.slide(HANDLER.wrapping_add(slide)).unwrap();
            let address = 0xffff_ffff_8100_0105_u64.wrapping_add(slide);
            assert_eq!(map.name(address, found).as_deref(), Some("native_halt+0x5"));
        }
        for other in [HANDLER + 0x10, HANDLER.wrapping_sub(SLIDE_MAX), 0, 0x20_0000] {
            assert_eq!(map.slide(other), None, "{other:#x}");
        }
    }

    #[test]
    fn a_file_that_can_t_tell_is_refused() {
        for text in ["", "ffffffffffffffff B The real System.map is elsewhere\n", "rubbish"] {
            assert!(matches!(SystemMap::read(text), Err(Error::NoHandler)), "{text}");
        }
        let zeros = MAP.replace("ffffffff81800b50", "0000000000000000");
        assert!(SystemMap::read(&zeros).is_err());
    }

    #[test]
    fn a_gate_has_its_address_in_three_parts() {
        let gate = [0x50, 0x0b, 0x10, 0, 0, 0x8e, 0x80, 0x81, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        assert_eq!(handler(gate), Some(HANDLER));
        assert_eq!(handler([0; 16]), None);
    }
}
