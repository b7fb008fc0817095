//! What the guest's CPUID says: what KVM supports, with this machine's topology.
//!
//! The topology is one package of `cpus` cores with one thread each, and says so
//! in every leaf that a kernel may ask: Intel's, AMD's, and the old ones.

use firmware_less::machine::{LeafSize, Machine};
use kvm_bindings::{
    CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2 as Entry,
};
use kvm_ioctls::Kvm;

use super::{Error, during};

/// Leaves by their meaning. Intel SDM vol. 2A, CPUID; AMD APM vol. 3, appendix E.
mod leaf {
    pub(super) const MAX_BASIC: u32 = 0;
    pub(super) const FEATURES: u32 = 1;
    pub(super) const CACHES: u32 = 4;
    pub(super) const STRUCTURED_FEATURES: u32 = 7;
    pub(super) const TOPOLOGY: u32 = 0xb;
    pub(super) const XSAVE: u32 = 0xd;
    pub(super) const TOPOLOGY_V2: u32 = 0x1f;
    pub(super) const EXTENDED_FEATURES: u32 = 0x8000_0001;
    pub(super) const AMD_SIZES: u32 = 0x8000_0008;
    pub(super) const AMD_CACHES: u32 = 0x8000_001d;
    pub(super) const AMD_TOPOLOGY: u32 = 0x8000_001e;
    pub(super) const AMD_TOPOLOGY_V2: u32 = 0x8000_0026;
}

/// Leaf 1, ECX.
const TSC_DEADLINE_TIMER: u32 = 1 << 24;
const XSAVE: u32 = 1 << 26;
const HYPERVISOR: u32 = 1 << 31;
/// XCR0: the tiles and their configuration.
const AMX: u64 = 0b11 << 17;
/// Leaf 1, EDX.
const MULTI_THREADING: u32 = 1 << 28;
/// Leaf 7, ECX.
const FIVE_LEVEL_PAGING: u32 = 1 << 16;
/// What a host's KVM may lack.
pub(super) const FIVE_LEVELS: &str = "five-level paging (la57)";
/// Leaf 0x8000_0001, ECX.
const AMD_MULTI_CORE: u32 = 1 << 1;
/// Leaf 0x8000_0001, EDX.
const GIB_PAGES: u32 = 1 << 26;

/// What KVM can show a guest on this host.
#[derive(Debug)]
pub(super) struct Supported {
    entries: Vec<Entry>,
}

impl Supported {
    /// Asks KVM; refuses where `machine` needs what is not there.
    pub(super) fn by(kvm: &Kvm, machine: &Machine) -> Result<Self, Error> {
        let supported = Self::all(kvm)?;
        if machine.leaf_size() == LeafSize::Gib1
            && supported.edx(leaf::EXTENDED_FEATURES) & GIB_PAGES == 0
        {
            return Err(Error::NoFeature { feature: "1 GiB pages (pdpe1gb)" });
        }
        if machine.five_level() && supported.ecx(leaf::STRUCTURED_FEATURES) & FIVE_LEVEL_PAGING == 0
        {
            return Err(Error::NoFeature { feature: FIVE_LEVELS });
        }
        Ok(supported)
    }

    /// Asks KVM, for a guest without needs.
    pub(super) fn all(kvm: &Kvm) -> Result<Self, Error> {
        let cpuid = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(during("KVM_GET_SUPPORTED_CPUID"))?;
        Ok(Self { entries: cpuid.as_slice().to_vec() })
    }

    /// XCR0 with all that the guest may enable, but for AMX, which a process must
    /// ask for and KVMs before 6.4 offer by halves; `None` where there is no XSAVE.
    pub(super) fn xcr0(&self) -> Option<u64> {
        let xsave = self.ecx(leaf::FEATURES) & XSAVE != 0;
        let components = self.first(leaf::XSAVE).filter(|_| xsave)?;
        Some((u64::from(components.eax) | u64::from(components.edx) << 32) & !AMX)
    }

    /// The CPUID of vCPU `id` out of `cpus`. `deadline_timer` says whether KVM's
    /// local APIC has one, which the supported CPUID does not.
    pub(super) fn of_vcpu(&self, id: u32, cpus: u32, deadline_timer: bool) -> CpuId {
        let place = Place { id, cpus };
        let mut entries: Vec<_> =
            self.entries.iter().filter(|entry| !is_host_topology(entry)).copied().collect();
        for entry in &mut entries {
            place.settle(entry);
            if entry.function == leaf::FEATURES {
                entry.ecx |= HYPERVISOR;
                entry.ecx = with(entry.ecx, TSC_DEADLINE_TIMER, deadline_timer);
            }
        }
        if self.eax(leaf::MAX_BASIC) >= leaf::TOPOLOGY {
            entries.extend(place.topology());
        }
        CpuId::from_entries(&entries)
            .unwrap_or_else(|_| unreachable!("a few entries for many that are left out"))
    }

    fn first(&self, function: u32) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.function == function)
    }

    fn eax(&self, function: u32) -> u32 {
        self.first(function).map_or(0, |entry| entry.eax)
    }

    fn ecx(&self, function: u32) -> u32 {
        self.first(function).map_or(0, |entry| entry.ecx)
    }

    fn edx(&self, function: u32) -> u32 {
        self.first(function).map_or(0, |entry| entry.edx)
    }
}

/// Where a vCPU stands in the machine.
#[derive(Clone, Copy, Debug)]
struct Place {
    id: u32,
    cpus: u32,
}

impl Place {
    /// Writes this place into a leaf that knows of places.
    fn settle(self, entry: &mut Entry) {
        let others = self.cpus.saturating_sub(1);
        let alone = others == 0;
        match entry.function {
            leaf::FEATURES => {
                entry.ebx = bits(entry.ebx, 24, 8, self.id);
                entry.ebx = bits(entry.ebx, 16, 8, self.cpus);
                entry.edx = with(entry.edx, MULTI_THREADING, !alone);
            }
            leaf::CACHES if entry.eax != 0 => {
                entry.eax = bits(entry.eax, 14, 12, cache_sharers(entry.eax, others));
                entry.eax = bits(entry.eax, 26, 6, others.min(0x3f));
            }
            leaf::AMD_CACHES if entry.eax != 0 => {
                entry.eax = bits(entry.eax, 14, 12, cache_sharers(entry.eax, others));
            }
            leaf::EXTENDED_FEATURES => entry.ecx = with(entry.ecx, AMD_MULTI_CORE, !alone),
            leaf::AMD_SIZES => {
                entry.ecx = bits(entry.ecx, 0, 8, others);
                entry.ecx = bits(entry.ecx, 12, 4, self.id_bits());
            }
            leaf::AMD_TOPOLOGY => {
                (entry.eax, entry.ebx, entry.ecx) = (self.id, self.id & 0xff, 0);
            }
            _ => {}
        }
    }

    /// Leaf 0xb: a level of one thread, a level of all cores, and the end.
    fn topology(self) -> [Entry; 3] {
        const THREADS: u32 = 1;
        const CORES: u32 = 2;
        let level = |index, shift, count, kind: u32| Entry {
            function: leaf::TOPOLOGY,
            index,
            flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
            eax: shift,
            ebx: count,
            ecx: bits(index, 8, 8, kind),
            edx: self.id,
            ..Entry::default()
        };
        [level(0, 0, 1, THREADS), level(1, self.id_bits(), self.cpus, CORES), level(2, 0, 0, 0)]
    }

    /// How many bits of an APIC ID tell the vCPUs apart.
    fn id_bits(self) -> u32 {
        self.cpus.next_power_of_two().trailing_zeros()
    }
}

/// Leaves that are replaced or have no place here.
fn is_host_topology(entry: &Entry) -> bool {
    matches!(entry.function, leaf::TOPOLOGY | leaf::TOPOLOGY_V2 | leaf::AMD_TOPOLOGY_V2)
}

/// How many others share a cache: all of them the last level, nobody the rest.
fn cache_sharers(eax: u32, others: u32) -> u32 {
    const LAST_LEVEL: u32 = 3;
    if eax >> 5 & 7 == LAST_LEVEL { others } else { 0 }
}

/// `word` with `flag` set or clear.
fn with(word: u32, flag: u32, set: bool) -> u32 {
    if set { word | flag } else { word & !flag }
}

/// `word` with its `len` bits from `shift` on replaced by `value`.
fn bits(word: u32, shift: u32, len: u32, value: u32) -> u32 {
    let mask = (u32::MAX >> 32_u32.saturating_sub(len)) << shift;
    word & !mask | (value << shift) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supported(entries: &[(u32, u32, [u32; 4])]) -> Supported {
        let entry = |&(function, index, [eax, ebx, ecx, edx]): &(u32, u32, [u32; 4])| Entry {
            function,
            index,
            eax,
            ebx,
            ecx,
            edx,
            ..Entry::default()
        };
        Supported { entries: entries.iter().map(entry).collect() }
    }

    fn registers(cpuid: &CpuId, function: u32, index: u32) -> [u32; 4] {
        let entry = cpuid
            .as_slice()
            .iter()
            .find(|entry| (entry.function, entry.index) == (function, index))
            .unwrap();
        [entry.eax, entry.ebx, entry.ecx, entry.edx]
    }

    #[test]
    fn bits_replace_only_themselves() {
        assert_eq!(bits(0xffff_ffff, 24, 8, 0x12), 0x12ff_ffff);
        assert_eq!(bits(0, 14, 12, 0xffff_ffff), 0x03ff_c000);
        assert_eq!(bits(0xf0, 0, 4, 0x5), 0xf5);
    }

    #[test]
    fn every_leaf_names_the_same_apic_id() {
        let host = supported(&[
            (0, 0, [0xd, 0, 0, 0]),
            (1, 0, [0, 0xaa10_0800, 0, 0]),
            (0x8000_001e, 0, [0xaa, 0xaa, 0xaa, 0]),
        ]);
        let cpuid = host.of_vcpu(3, 4, false);
        assert_eq!(registers(&cpuid, 1, 0)[1], 0x0304_0800);
        assert_eq!(registers(&cpuid, 0xb, 0)[3], 3);
        assert_eq!(registers(&cpuid, 0xb, 1)[3], 3);
        assert_eq!(registers(&cpuid, 0x8000_001e, 0), [3, 3, 0, 0]);
    }

    #[test]
    fn the_topology_is_one_package_of_cores() {
        let host = supported(&[
            (0, 0, [0xd, 0, 0, 0]),
            (0xb, 0, [9, 9, 9, 9]),
            (0x1f, 0, [9, 9, 9, 9]),
            (0x8000_0008, 0, [0x3030, 0, 0x7777, 0]),
        ]);
        let cpuid = host.of_vcpu(0, 6, false);
        assert_eq!(registers(&cpuid, 0xb, 0), [0, 1, 0x100, 0]);
        assert_eq!(registers(&cpuid, 0xb, 1), [3, 6, 0x201, 0]);
        assert_eq!(registers(&cpuid, 0xb, 2), [0, 0, 2, 0]);
        assert_eq!(registers(&cpuid, 0x8000_0008, 0), [0x3030, 0, 0x3705, 0]);
        assert!(cpuid.as_slice().iter().all(|entry| entry.function != 0x1f));
    }

    #[test]
    fn only_the_last_level_cache_is_shared() {
        let (first_level, last_level) = (0xfc00_0121, 0xfc00_0163);
        let host = supported(&[(4, 0, [first_level; 4]), (4, 3, [last_level; 4])]);
        let cpuid = host.of_vcpu(1, 2, false);
        assert_eq!(registers(&cpuid, 4, 0)[0], 0x0400_0121);
        assert_eq!(registers(&cpuid, 4, 3)[0], 0x0400_4163);
    }

    #[test]
    fn the_guest_knows_that_it_is_one() {
        let host = supported(&[(1, 0, [0; 4])]);
        assert_eq!(registers(&host.of_vcpu(0, 1, false), 1, 0)[2], HYPERVISOR);
        let with_timer = HYPERVISOR | TSC_DEADLINE_TIMER;
        assert_eq!(registers(&host.of_vcpu(0, 1, true), 1, 0)[2], with_timer);
    }

    #[test]
    fn a_single_cpu_claims_no_company() {
        let all_ones = [u32::MAX; 4];
        let host = supported(&[(1, 0, all_ones), (0x8000_0001, 0, all_ones)]);
        let alone = host.of_vcpu(0, 1, false);
        assert_eq!(registers(&alone, 1, 0)[3] & MULTI_THREADING, 0);
        assert_eq!(registers(&alone, 0x8000_0001, 0)[2] & AMD_MULTI_CORE, 0);
        let two = host.of_vcpu(0, 2, false);
        assert_eq!(registers(&two, 1, 0)[3] & MULTI_THREADING, MULTI_THREADING);
    }

    #[test]
    fn xcr0_holds_whatever_the_guest_may_enable() {
        let components = (0xd, 0, [0x2_0207, 0x240, 0xa88, 0x4000_0000]);
        let host = supported(&[(1, 0, [0, 0, XSAVE, 0]), components]);
        assert_eq!(host.xcr0(), Some(0x4000_0000_0000_0207));
        assert_eq!(supported(&[(1, 0, [0; 4]), components]).xcr0(), None);
    }

    #[test]
    fn an_old_host_gets_no_leaf_past_its_last() {
        let cpuid = supported(&[(0, 0, [0xa, 0, 0, 0])]).of_vcpu(0, 2, false);
        assert!(cpuid.as_slice().iter().all(|entry| entry.function != leaf::TOPOLOGY));
    }
}
