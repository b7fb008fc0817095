//! [`BootPlan`]: everything a virtual machine needs before its first
//! instruction, as a value.

mod show;

use serde::Serialize;
use thiserror::Error;

use crate::{
    cpu_state::CpuState,
    e820::MemoryMap,
    kernel::Relocation,
    machine::Machine,
    range::{FileRange, GuestRange},
};

pub use show::size;

/// Which of the job's files: the UKI is 0, further files count from 1 in the
/// order they were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct FileId(pub usize);

impl FileId {
    /// The UKI itself.
    pub const UKI: Self = Self(0);
}

/// A part of one of the job's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FileSlice {
    /// Which file.
    pub file: FileId,
    /// Which bytes of it.
    pub range: FileRange,
}

/// Bytes to be: at hand, or still in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The bytes themselves.
    Bytes(Vec<u8>),
    /// Bytes that the engine reads straight into guest memory.
    File(FileSlice),
}

impl Content {
    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(slice) => slice.range.len(),
        }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Content at an offset within its placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Piece {
    /// Bytes from the start of the placement.
    pub offset: u64,
    /// What goes there.
    #[serde(flatten)]
    pub content: Content,
}

/// A named range of guest memory and what it holds; what no piece covers is zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// What this is, in the field's words.
    pub name: &'static str,
    /// Where it is.
    pub range: GuestRange,
    /// What is in it, ascending.
    pub pieces: Vec<Piece>,
    /// What is changed of that when it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relocation: Option<Relocation>,
}

impl Placement {
    /// A placement that holds `bytes` from its start.
    #[must_use]
    pub fn of_bytes(name: &'static str, range: GuestRange, bytes: Vec<u8>) -> Self {
        Self::of_pieces(name, range, vec![Piece { offset: 0, content: Content::Bytes(bytes) }])
    }

    /// A placement that holds `pieces`.
    #[must_use]
    pub fn of_pieces(name: &'static str, range: GuestRange, pieces: Vec<Piece>) -> Self {
        Self { name, range, pieces, relocation: None }
    }
}

/// A plan that cannot be.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Two placements share an address.
    #[error("{second} at {second_at} overlaps {first} at {first_at}")]
    Overlap {
        /// The lower one.
        first: &'static str,
        /// Where it is.
        first_at: GuestRange,
        /// The higher one.
        second: &'static str,
        /// Where that is.
        second_at: GuestRange,
    },
    /// A placement outside RAM.
    #[error("{name} at {at} is not wholly in RAM")]
    OutsideRam {
        /// Which one.
        name: &'static str,
        /// Where it was to be.
        at: GuestRange,
    },
    /// Content that does not fit its placement, or pieces out of order.
    #[error("{name}: content ends at offset {end:#x}, the range has {len:#x} bytes")]
    Overlong {
        /// Which placement.
        name: &'static str,
        /// Where its content ends.
        end: u64,
        /// How many bytes it has.
        len: u64,
    },
}

/// What goes where in guest memory, and the state of the CPU that starts there.
///
/// Frozen by construction: [`BootPlan::new`] sorts the placements and refuses
/// overlaps and whatever lies outside RAM, so whoever holds a plan need not
/// check again and loading it can fail only by I/O.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootPlan {
    machine: Machine,
    memory_map: MemoryMap,
    placements: Vec<Placement>,
    cpu: CpuState,
}

impl BootPlan {
    /// The plan, or the first reason why it cannot be.
    pub fn new(
        machine: Machine,
        memory_map: MemoryMap,
        mut placements: Vec<Placement>,
        cpu: CpuState,
    ) -> Result<Self, Error> {
        placements.sort_by_key(|placement| placement.range);
        for placement in &placements {
            check_pieces(placement)?;
            if !machine.ram().any(|ram| ram.contains(placement.range)) {
                return Err(Error::OutsideRam { name: placement.name, at: placement.range });
            }
        }
        for (first, second) in placements.iter().zip(placements.iter().skip(1)) {
            if first.range.overlaps(second.range) {
                return Err(Error::Overlap {
                    first: first.name,
                    first_at: first.range,
                    second: second.name,
                    second_at: second.range,
                });
            }
        }
        Ok(Self { machine, memory_map, placements, cpu })
    }

    /// The machine this plan is for.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The e820 table the kernel is given.
    #[must_use]
    pub fn memory_map(&self) -> &MemoryMap {
        &self.memory_map
    }

    /// What goes where, ascending and free of overlaps.
    #[must_use]
    pub fn placements(&self) -> &[Placement] {
        &self.placements
    }

    /// The placement of that name.
    #[must_use]
    pub fn placement(&self, name: &str) -> Option<&Placement> {
        self.placements.iter().find(|placement| placement.name == name)
    }

    /// The placement that holds `address`.
    #[must_use]
    pub fn placement_at(&self, address: u64) -> Option<&Placement> {
        self.placements.iter().find(|placement| placement.range.contains_address(address))
    }

    /// The boot processor's state.
    #[must_use]
    pub fn cpu(&self) -> &CpuState {
        &self.cpu
    }
}

fn check_pieces(placement: &Placement) -> Result<(), Error> {
    let overlong = |end| Error::Overlong { name: placement.name, end, len: placement.range.len() };
    let mut free_from = 0;
    for piece in &placement.pieces {
        let end = piece.offset.checked_add(piece.content.len()).ok_or(overlong(u64::MAX))?;
        if piece.offset < free_from || end > placement.range.len() {
            return Err(overlong(end));
        }
        free_from = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cpu_state::{DescriptorTable, LocalApic, Msrs, Registers, Segment},
        range::PAGE,
    };

    /// A state that nothing looks at.
    fn cpu() -> CpuState {
        let none = Segment::default();
        CpuState {
            registers: Registers::default(),
            cs: none,
            ds: none,
            es: none,
            fs: none,
            gs: none,
            ss: none,
            tr: none,
            ldtr: none,
            gdtr: DescriptorTable::default(),
            idtr: DescriptorTable::default(),
            cr0: 0,
            cr3: 0,
            cr4: 0,
            efer: 0,
            local_apic: LocalApic { tpr: 0, spiv: 0, lvt0: 0, lvt1: 0 },
            pic_mask: 0,
            msrs: Msrs { mtrr_def_type: 0, misc_enable_set: 0 },
            fcw: 0,
            mxcsr: 0,
        }
    }

    pub(super) fn plan(placements: Vec<Placement>) -> Result<BootPlan, Error> {
        let machine = Machine::new(32 << 20, 1).unwrap();
        let map = MemoryMap::of(&machine);
        BootPlan::new(machine, map, placements, cpu())
    }

    pub(super) fn at(name: &'static str, start: u64, len: u64) -> Placement {
        Placement::of_pieces(name, GuestRange::constant(start, len), Vec::new())
    }

    #[test]
    fn a_plan_names_both_parties_of_an_overlap() {
        let placements = vec![at("initrd", 0x10_1000, PAGE), at("kernel", 0x10_0000, 2 * PAGE)];
        assert_eq!(
            plan(placements).unwrap_err().to_string(),
            "initrd at [0x101000, 0x102000) overlaps kernel at [0x100000, 0x102000)"
        );
    }

    #[test]
    fn a_long_placement_may_not_hide_a_short_one_s_overlap() {
        let placements =
            vec![at("a", 0x1000, 0x9000), at("b", 0x2000, 0x1000), at("c", 0x4000, 0x1000)];
        assert!(matches!(plan(placements), Err(Error::Overlap { first: "a", .. })));
    }

    #[test]
    fn a_placement_is_found_by_its_name_and_by_its_addresses() {
        let plan =
            plan(vec![at("initrd", 0x10_1000, PAGE), at("kernel", 0x10_0000, PAGE)]).unwrap();
        let name = |address| plan.placement_at(address).map(|placement| placement.name);
        assert_eq!(
            [0xf_ffff, 0x10_0000, 0x10_0fff].map(name),
            [None, Some("kernel"), Some("kernel")]
        );
        assert_eq!([0x10_1000, 0x10_2000].map(name), [Some("initrd"), None]);
        assert_eq!(plan.placement("initrd").map(|found| found.range.start()), Some(0x10_1000));
        assert_eq!(plan.placement("purgatory"), None);
        let names: Vec<_> = plan.placements().iter().map(|placement| placement.name).collect();
        assert_eq!(names, ["kernel", "initrd"]);
        assert_eq!(plan.machine().memory(), 32 << 20);
        assert_eq!(plan.memory_map(), &MemoryMap::of(plan.machine()));
    }

    #[test]
    fn content_has_as_many_bytes_as_there_are() {
        let slice = |len| FileSlice { file: FileId::UKI, range: FileRange::first(len) };
        assert_eq!((Content::Bytes(vec![1, 2]).len(), Content::File(slice(7)).len()), (2, 7));
        assert!(Content::Bytes(Vec::new()).is_empty() && !Content::File(slice(1)).is_empty());
    }

    #[test]
    fn nothing_lies_outside_ram() {
        assert_eq!(
            plan(vec![at("initrd", (32 << 20) - PAGE, 2 * PAGE)]).unwrap_err().to_string(),
            "initrd at [0x1fff000, 0x2001000) is not wholly in RAM"
        );
    }

    #[test]
    fn content_must_fit_and_ascend() {
        let pieces = |offsets: &[(u64, usize)]| {
            let piece = |&(offset, len)| Piece { offset, content: Content::Bytes(vec![0; len]) };
            plan(vec![Placement {
                pieces: offsets.iter().map(piece).collect(),
                ..at("initrd", 0x10_0000, PAGE)
            }])
        };
        assert!(pieces(&[(0, 4096)]).is_ok());
        assert_eq!(
            pieces(&[(0, 4097)]).unwrap_err().to_string(),
            "initrd: content ends at offset 0x1001, the range has 0x1000 bytes"
        );
        assert!(pieces(&[(0, 16), (8, 16)]).is_err());
        assert!(pieces(&[(u64::MAX, 1)]).is_err());
    }
}
