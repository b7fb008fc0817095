//! [`least_memory`]: how small a machine may be.

use super::{Error, Options, Platform, SEED_LEN, lay_out};
use crate::{
    handoff::kexec::Flavour,
    kernel::Kernel,
    machine::{MEMORY_MAX, MEMORY_MIN, Machine, RAM_HOLE},
    uki::handed::Handed,
};

/// What a machine's memory is a multiple of.
const STEP: u64 = 2 << 20;

/// The least RAM, in bytes, of a machine with one vCPU on which everything that
/// is handed over can be placed; or why there is none.
///
/// Found by trying: the kernel's alignment and preferred address, the page tables
/// and the hole in RAM all count. What the guest needs once it runs, to unpack
/// the initrd for one, comes on top.
pub fn least_memory(kernel: &Kernel, handed: &Handed, flavour: Flavour) -> Result<u64, Error> {
    let fits = |memory| place(kernel, handed, flavour, memory);
    let mut enough = floor(kernel, handed);
    while let Err(error) = fits(enough) {
        match enough.checked_mul(2) {
            Some(twice) if is_for_want_of_room(&error) && twice <= MEMORY_MAX => enough = twice,
            _ => return Err(error),
        }
    }
    let mut too_little = enough.div_euclid(2).max(MEMORY_MIN);
    while enough.saturating_sub(too_little) > STEP {
        let middle = too_little.midpoint(enough).div_euclid(STEP).saturating_mul(STEP);
        if fits(middle).is_ok() { enough = middle } else { too_little = middle }
    }
    Ok(enough)
}

/// Where the search begins: a power of two whose half can't be enough, unless it
/// is the least that a machine can have.
fn floor(kernel: &Kernel, handed: &Handed) -> u64 {
    let content = kernel.init_size().saturating_add(handed.initrd_len());
    let reach = kernel.pref_address().saturating_add(kernel.init_size());
    let least = content.max(reach.saturating_sub(RAM_HOLE.len()));
    least
        .clamp(MEMORY_MIN, MEMORY_MAX.div_euclid(2))
        .checked_next_power_of_two()
        .unwrap_or(MEMORY_MIN)
}

fn is_for_want_of_room(error: &Error) -> bool {
    matches!(error, Error::NoRoom { .. })
}

#[expect(clippy::expect_used, reason = "cannot fail")]
fn place(kernel: &Kernel, handed: &Handed, flavour: Flavour, memory: u64) -> Result<(), Error> {
    let machine = Machine::new(memory, 1).expect("a multiple of 2 MiB between the limits");
    let options = Options { flavour, seed: [0; SEED_LEN] };
    lay_out(&machine, Platform::of(&machine), kernel, handed, &options).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layout,
        range::{FileRange, PAGE},
        testing::{bzimage, uki},
        uki::{Uki, handed::Choice},
    };

    fn least(init_size: u32, initrd: usize) -> Result<u64, Error> {
        let kernel = bzimage().with(|header| header.init_size = init_size).build();
        let file = uki().section(".linux", kernel).section(".initrd", vec![1; initrd]).build();
        let handed = Handed::read(&file, &Uki::read(&file).unwrap(), &Choice::default()).unwrap();
        let kernel = Kernel::read(&file, handed.kernel.range).unwrap();
        let least = least_memory(&kernel, &handed, Flavour::Modern);
        if let Ok(least) = least {
            let place = |memory| place(&kernel, &handed, Flavour::Modern, memory);
            assert!(place(least).is_ok());
            assert!(least == MEMORY_MIN || place(least - STEP).is_err());
        }
        least
    }

    #[test]
    fn a_kernel_and_its_initrd_decide_how_small_a_machine_may_be() {
        assert_eq!(least(3 << 20, 1000).unwrap(), MEMORY_MIN);
        // 16 MiB below pref_address, 54 MiB for the kernel, 2 MiB for all else.
        assert_eq!(least(54 << 20, 1000).unwrap(), 72 << 20);
        // The initrd goes between 16 MiB and the kernel, which then begins at 26 MiB.
        assert_eq!(least(54 << 20, 9 << 20).unwrap(), 82 << 20);
        // Not below the hole in RAM at 2 GiB any more, but above it.
        assert_eq!(least(2047 << 20, 1000).unwrap(), 4 << 30);
    }

    /// Why there is none for a kernel that is to be at `pref_address`.
    fn refusal(pref_address: u64) -> Error {
        let kernel = bzimage().with(|header| header.pref_address = pref_address).build();
        let range = FileRange::first(kernel.len() as u64);
        let kernel = Kernel::read(&kernel, range).unwrap();
        let handed = Handed {
            kernel: crate::plan::FileSlice { file: crate::plan::FileId::UKI, range },
            initrd: Vec::new(),
            cmdline: Vec::new(),
            cmdline_padding: 0,
            notes: Vec::new(),
        };
        least_memory(&kernel, &handed, Flavour::Modern).unwrap_err()
    }

    #[test]
    fn a_kernel_that_fits_nowhere_is_said_so_by_the_least_machine_that_it_could_be_on() {
        let room = layout::PAGE_TABLES_END_MAX - layout::PAGE_TABLES;
        // A page directory for each GiB; more RAM would need more of them.
        for (pref_address, gib) in [(1 << 40, 1 << 10), (1 << 50, 1 << 15)] {
            let len = gib * PAGE;
            assert_eq!(refusal(pref_address), Error::PageTables { len, room }, "{pref_address:#x}");
        }
    }
}
