//! Guest RAM in huge pages that the host has set aside for whoever asks for them.

use std::{fmt, fs, fs::File, io, path::Path};

use firmware_less::{
    machine::Machine,
    range::{GuestRange, index},
};
use rustix::fs::{MemfdFlags, memfd_create};
use vm_memory::{FileOffset, MmapRegion};

use super::{
    Error,
    memory::{Bank, GuestMemory},
};

/// Their size: the processor's next one is too large for most guests.
const SIZE: u64 = 2 << 20;

/// What the host says of those of that size.
/// Documentation/admin-guide/mm/hugetlbpage.rst.
const FOLDER: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";

impl GuestMemory {
    /// The RAM of `machine` in such pages, in a file without a name: all that it takes are
    /// reserved at once, so that the guest never lacks one.
    pub fn in_huge_pages(machine: &Machine) -> Result<Self, Error> {
        let wanted = machine.ram().map(pages).fold(0, u64::saturating_add);
        let lacking = |source| Error::HugePages { wanted, host: OfHost::now(), source };
        let file = file(wanted.saturating_mul(SIZE)).map_err(lacking)?;
        let mut offset = 0_u64;
        let bank = |range| {
            let len = pages(range).saturating_mul(SIZE);
            let place = FileOffset::new(file.try_clone()?, offset);
            offset = offset.saturating_add(len);
            // Without MAP_NORESERVE, with which pages would be looked for when they are
            // touched, and whoever touches one too many be killed.
            let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
            let mapping = MmapRegion::build(Some(place), index(len), access, flags);
            Ok(Bank::beginning(range, mapping.map_err(io::Error::other)?))
        };
        let banks = machine.ram().map(bank).collect::<io::Result<Vec<_>>>();
        Ok(Self::of_banks(banks.map_err(lacking)?))
    }
}

/// How many hold `range`.
fn pages(range: GuestRange) -> u64 {
    range.len().div_ceil(SIZE)
}

/// A file of so many bytes in such pages, none of which is there yet.
fn file(len: u64) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
    let file = File::from(memfd_create("guest-ram", flags)?);
    file.set_len(len)?;
    Ok(file)
}

/// What a host has set aside of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfHost {
    /// All, if it knows such pages.
    all: Option<u64>,
    /// Those that nobody has, nor has reserved.
    free: u64,
}

impl OfHost {
    fn now() -> Self {
        let read = |name| {
            let text = fs::read_to_string(Path::new(FOLDER).join(name)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        let [free, reserved] =
            ["free_hugepages", "resv_hugepages"].map(|name| read(name).unwrap_or(0));
        Self { all: read("nr_hugepages"), free: free.saturating_sub(reserved) }
    }

    /// What sets so many more aside that `wanted` are free.
    pub(crate) fn hint(self, wanted: u64) -> String {
        let Some(all) = self.all else {
            return "leave --hugepages out: huge pages are used wherever the kernel has some"
                .into();
        };
        let enough = all.saturating_add(wanted.saturating_sub(self.free));
        format!(
            "as root: sysctl vm.nr_hugepages={enough}; or leave --hugepages out, and huge pages \
             are used as far as the kernel finds some"
        )
    }
}

impl fmt::Display for OfHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.all {
            Some(all) => write!(f, "{} are free of the {all} that this host has", self.free),
            None => f.write_str("this host's kernel has none of that size"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_added_to_what_there_is() {
        let host = OfHost { all: Some(100), free: 30 };
        assert_eq!(host.to_string(), "30 are free of the 100 that this host has");
        assert!(host.hint(512).contains("vm.nr_hugepages=582;"), "{}", host.hint(512));
        let host = OfHost { all: None, free: 0 };
        assert!(!host.hint(512).contains("sysctl"), "{}", host.hint(512));
    }

    #[test]
    fn a_part_of_a_huge_page_takes_a_whole_one() {
        assert_eq!(pages(GuestRange::constant(0, 1)), 1);
        assert_eq!(pages(GuestRange::constant(0, 2 * SIZE)), 2);
    }
}
