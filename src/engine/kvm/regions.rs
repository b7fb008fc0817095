//! Guest RAM as vm-memory has it, for those who read the guest's own structures.

use firmware_less::range::{GuestRange, index};
use vm_memory::{
    FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryError, GuestMemoryRegion,
    GuestMemoryRegionBytes, GuestUsize, MemoryRegionAddress, VolatileSlice,
};

use super::memory::{Bank, GuestMemory};

impl GuestMemoryRegion for Bank {
    type B = ();

    fn len(&self) -> GuestUsize {
        self.range().len()
    }

    fn start_addr(&self) -> GuestAddress {
        GuestAddress(self.range().start())
    }

    fn bitmap(&self) {}

    fn file_offset(&self) -> Option<&FileOffset> {
        self.file()
    }

    fn get_slice(
        &self,
        offset: MemoryRegionAddress,
        count: usize,
    ) -> Result<VolatileSlice<'_>, GuestMemoryError> {
        let wrong = || GuestMemoryError::InvalidBackendAddress;
        let start = self.range().start().checked_add(offset.0).ok_or_else(wrong)?;
        if count == 0 {
            // No range is empty.
            return self.whole().subslice(index(offset.0), 0).map_err(|_outside| wrong());
        }
        let range = GuestRange::new(start, count as u64).ok_or_else(wrong)?;
        self.slice(range).ok_or_else(wrong)
    }
}

impl GuestMemoryRegionBytes for Bank {}

impl GuestMemoryBackend for GuestMemory {
    type R = Bank;

    fn num_regions(&self) -> usize {
        self.banks().len()
    }

    fn find_region(&self, address: GuestAddress) -> Option<&Bank> {
        self.banks().iter().find(|bank| bank.to_region_addr(address).is_some())
    }

    fn iter(&self) -> impl Iterator<Item = &Bank> {
        self.banks().iter()
    }
}

#[cfg(test)]
mod tests {
    use firmware_less::machine::Machine;
    use vm_memory::Bytes as _;

    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn what_is_written_is_read_back_on_both_sides_of_the_hole_and_nothing_is_in_it() {
        let memory = GuestMemory::new(&Machine::new(3 * GIB, 1).unwrap()).unwrap();
        for at in [0, 0x1234_5678, 2 * GIB - 8, 4 * GIB, 5 * GIB - 8] {
            memory.write_obj(at, GuestAddress(at)).unwrap();
            assert_eq!(memory.read_obj::<u64>(GuestAddress(at)).unwrap(), at);
        }
        for at in [2 * GIB, 2 * GIB - 7, 4 * GIB - 8, 5 * GIB, u64::MAX - 7] {
            assert!(memory.write_obj(0u64, GuestAddress(at)).is_err(), "{at:#x}");
        }
    }
}
