//! [`LaidOut`]: a hand-off of which it is known where everything goes.

use super::kexec::{
    DIGEST_OF_NOTHING, Layout, Platform, SEED_LEN, Warning, cpu,
    params::{self, Loader},
    purgatory,
};
use crate::{
    kernel::{Kernel, Relocation},
    machine::Machine,
    page_tables::PageTables,
    plan::{self, BootPlan, Content, Piece, Placement},
    range::GuestRange,
    uki::handed::Handed,
};

/// The name of the kernel's placement.
const KERNEL: &str = "kernel";

/// Who is handed over, and what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) handed: &'a Handed,
    /// What the kernel's random number generator is seeded with.
    pub(super) seed: [u8; SEED_LEN],
}

/// What is entered.
#[derive(Clone, Debug)]
pub(super) struct Entered {
    /// What is in the kernel's range.
    pub(super) pieces: Vec<Piece>,
    pub(super) relocation: Option<Relocation>,
    /// Guest address of the first instruction.
    pub(super) entry: u64,
    /// What `boot_params` says of who loaded it.
    pub(super) loader: Loader,
}

/// A hand-off laid out, lacking only the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaidOut {
    machine: Machine,
    platform: Platform,
    layout: Layout,
    /// params, kernel, initrd: in the order in which they are hashed.
    segments: Vec<Placement>,
    page_tables: PageTables,
    entry: u64,
}

impl LaidOut {
    pub(super) fn new(
        (machine, platform): (&Machine, Platform),
        layout: Layout,
        page_tables: PageTables,
        subject: Subject<'_>,
        entered: Entered,
    ) -> Self {
        let Subject { kernel, handed, seed } = subject;
        let initrd_len = handed.initrd_len();
        let inputs = params::Inputs {
            kernel,
            loader: entered.loader,
            cmdline: &handed.cmdline,
            cmdline_len: handed.cmdline_len(),
            initrd: layout.initrd.map_or((0, 0), |range| (range.start(), initrd_len)),
            memory_map: &platform.memory_map,
            rsdp: platform.rsdp,
            seed,
        };
        let kernel = (entered.pieces, entered.relocation);
        let segments = segments(&layout, handed, &inputs, kernel);
        let entry = entered.entry;
        Self { machine: machine.clone(), platform, layout, segments, page_tables, entry }
    }

    /// The same, but with `code` in the kernel's place, at its entry; zeros around it.
    pub fn with_guest(mut self, code: &[u8]) -> Result<Self, plan::Error> {
        let range = self.layout.kernel;
        let offset = self.entry.saturating_sub(range.start());
        let end = offset.saturating_add(code.len() as u64);
        if end > range.len() {
            return Err(plan::Error::Overlong { name: KERNEL, end, len: range.len() });
        }
        let content = Content::Bytes(code.to_vec());
        for segment in self.segments.iter_mut().filter(|segment| segment.name == KERNEL) {
            segment.pieces = vec![Piece { offset, content: content.clone() }];
            segment.relocation = None;
        }
        Ok(self)
    }

    /// Where everything goes.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What the digest covers, in order: the whole range of each, content first
    /// and zeros up to its end.
    #[must_use]
    pub fn digested(&self) -> &[Placement] {
        &self.segments
    }

    /// The guest address at which purgatory has the digest.
    #[must_use]
    pub fn digest_address(&self) -> u64 {
        purgatory::digest_address(self.layout.purgatory)
    }

    /// What a real kexec would not have done.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let segments = self.segments.iter().map(|segment| segment.range.len());
        let total = segments.fold(self.layout.purgatory.len(), u64::saturating_add);
        let memory = self.machine.memory();
        let over = total > memory.div_euclid(2);
        over.then_some(Warning::OverHalfOfRam { total, memory }).into_iter().collect()
    }

    /// The plan. With a `digest` of [`LaidOut::digested`] purgatory's table names
    /// the regions; without, it names none and holds the digest of nothing, as
    /// after a kexec that skips the check.
    pub fn plan(self, digest: Option<[u8; 32]>) -> Result<BootPlan, plan::Error> {
        let regions: Vec<GuestRange> = match digest {
            Some(_) => self.segments.iter().map(|segment| segment.range).collect(),
            None => Vec::new(),
        };
        let at = self.layout.purgatory;
        let contents = purgatory::contents(at, &regions, &digest.unwrap_or(DIGEST_OF_NOTHING));
        let mut placements = self.segments;
        placements.push(Placement::of_bytes("purgatory", at, contents));
        placements.push(Placement::of_bytes(
            "page tables",
            self.layout.page_tables,
            self.page_tables.bytes,
        ));
        placements.extend(self.platform.firmware);
        let cpu = cpu::state(&self.machine, &self.layout, self.entry);
        BootPlan::new(self.machine, self.platform.memory_map, placements, cpu)
    }
}

/// params, kernel and initrd with their contents.
fn segments(
    layout: &Layout,
    handed: &Handed,
    inputs: &params::Inputs<'_>,
    (pieces, relocation): (Vec<Piece>, Option<Relocation>),
) -> Vec<Placement> {
    let offsets = params::Offsets::of(inputs.cmdline_len);
    let params = offsets.map(|offsets| params::buffer(layout.params.start(), offsets, inputs));
    let initrd =
        layout.initrd.map(|range| Placement::of_pieces("initrd", range, handed.initrd_pieces()));
    let mut segments = vec![
        Placement::of_bytes("params", layout.params, params.unwrap_or_default()),
        Placement { name: KERNEL, range: layout.kernel, pieces, relocation },
    ];
    segments.extend(initrd);
    segments
}
