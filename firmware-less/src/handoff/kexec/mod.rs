//! The `kexec` hand-off: memory and registers as `kexec_file_load(2)` and its
//! purgatory leave them for the next kernel.
//!
//! Four segments, placed in this order, each as high as it will go:
//! purgatory, params (`boot_params`, command line, `setup_data`), the
//! protected-mode kernel, the initrd. kernel/kexec_file.c,
//! arch/x86/kernel/kexec-bzimage64.c, arch/x86/kernel/machine_kexec_64.c.

mod cpu;
mod error;
mod least_memory;
mod params;
mod placement;
mod purgatory;

use std::iter;

use serde::Serialize;

use crate::{
    acpi,
    e820::MemoryMap,
    kernel::Kernel,
    layout,
    machine::{LeafSize, Machine},
    page_tables::{PageTables, Shape},
    plan::{self, BootPlan, Content, FileSlice, Piece, Placement},
    range::{GuestRange, PAGE},
    reset_vector,
    uki::handed::Handed,
};
use placement::Request;

pub use error::{Error, Warning};
pub use least_memory::least_memory;
pub use params::{ELFCOREHDR_SLOT, SEED_LEN};
pub use placement::Flavour;
pub use purgatory::DIGEST_OF_NOTHING;

/// `KEXEC_…_MIN` values of kexec-bzimage64.c: the lowest addresses for
/// purgatory and params, and for kernel and initrd.
const PURGATORY_MIN: u64 = 0x3000;
const PARAMS_MIN: u64 = 0x3000;
const KERNEL_MIN: u64 = 0x10_0000;
const INITRD_MIN: u64 = 0x100_0000;

/// What kexec takes over from the running system: its memory map and where its
/// ACPI tables are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// The e820 table.
    pub memory_map: MemoryMap,
    /// Guest address of the RSDP.
    pub rsdp: u64,
    /// What firmware would have left in memory: ACPI tables, the reset vector.
    pub firmware: Vec<Placement>,
}

impl Platform {
    /// What a first kernel on `machine` would know.
    #[must_use]
    pub fn of(machine: &Machine) -> Self {
        Self {
            memory_map: MemoryMap::of(machine),
            rsdp: layout::ACPI.start(),
            firmware: iter::once(acpi::tables(machine, layout::ACPI))
                .chain(reset_vector::placement(machine))
                .collect(),
        }
    }
}

/// The hand-off's own choices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whose placement.
    pub flavour: Flavour,
    /// What the kernel's random number generator is seeded with.
    pub seed: [u8; SEED_LEN],
}

/// Where everything goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Layout {
    /// Stack, GDT, digest.
    pub purgatory: GuestRange,
    /// `boot_params`, command line, `setup_data`.
    pub params: GuestRange,
    /// The protected-mode kernel and room for it to unpack: `init_size` bytes.
    pub kernel: GuestRange,
    /// The initrd.
    pub initrd: Option<GuestRange>,
    /// The identity map; in no segment, as kexec's control pages.
    pub page_tables: GuestRange,
}

/// A hand-off laid out, lacking only the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kexec {
    machine: Machine,
    platform: Platform,
    layout: Layout,
    /// params, kernel, initrd: in the order in which they are hashed.
    segments: Vec<Placement>,
    page_tables: PageTables,
}

impl Kexec {
    /// Lays out what `handed` says for `machine`.
    pub fn new(
        machine: &Machine,
        platform: Platform,
        kernel: &Kernel,
        handed: &Handed,
        options: &Options,
    ) -> Result<Self, Error> {
        if machine.five_level() && !kernel.allows_five_level() {
            return Err(Error::NoFiveLevel { xloadflags: kernel.xloadflags() });
        }
        check_cmdline(handed, kernel)?;
        let page_tables = identity_map(machine, &platform.memory_map)?;
        let initrd_len = handed.initrd_len();
        let map = &platform.memory_map;
        let requests = requests(kernel, handed.cmdline_len(), initrd_len);
        let layout = lay_out(map, options.flavour, requests, page_tables.range())?;
        let inputs = params::Inputs {
            kernel,
            cmdline: &handed.cmdline,
            cmdline_len: handed.cmdline_len(),
            initrd: layout.initrd.map_or((0, 0), |range| (range.start(), initrd_len)),
            memory_map: map,
            rsdp: platform.rsdp,
            seed: options.seed,
        };
        let segments = segments(&layout, handed, &inputs);
        Ok(Self { machine: machine.clone(), platform, layout, segments, page_tables })
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

    /// What a real kexec would not have done.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let segments = self.segments.iter().map(|segment| segment.range.len());
        let total = segments.fold(self.layout.purgatory.len(), u64::saturating_add);
        let memory = self.machine.memory();
        let over = total > memory.div_euclid(2);
        over.then_some(Warning::OverHalfOfRam { total, memory }).into_iter().collect()
    }

    /// The plan. With a `digest` of [`Kexec::digested`] purgatory's table names
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
        let cpu = cpu::state(&self.machine, &self.layout);
        BootPlan::new(self.machine, self.platform.memory_map, placements, cpu)
    }
}

/// Whether `kernel` can be handed that command line, its padding included.
/// `bzImage64_load`.
pub fn check_cmdline(handed: &Handed, kernel: &Kernel) -> Result<(), Error> {
    if let Some(at) = handed.cmdline.iter().position(|byte| *byte == 0) {
        return Err(Error::CmdlineNul { at });
    }
    let len = handed.cmdline_len();
    let cmdline_size = kernel.cmdline_size();
    let max = cmdline_size.saturating_sub(ELFCOREHDR_SLOT).saturating_sub(1);
    if len > max {
        return Err(Error::CmdlineTooLong { len, max, cmdline_size });
    }
    Ok(())
}

fn identity_map(machine: &Machine, map: &MemoryMap) -> Result<PageTables, Error> {
    let shape = Shape { leaf_size: machine.leaf_size(), five_level: machine.five_level() };
    let room = layout::PAGE_TABLES_END_MAX.saturating_sub(layout::PAGE_TABLES);
    // A page directory for each GiB: known before a single entry is made.
    let directories = match shape.leaf_size {
        LeafSize::Mib2 => machine.memory().div_ceil(1 << 30),
        LeafSize::Gib1 => 0,
    };
    let least = directories.saturating_mul(PAGE);
    if least > room {
        return Err(Error::PageTables { len: least, room });
    }
    let ranges: Vec<GuestRange> = map.ram().collect();
    let tables = PageTables::identity(layout::PAGE_TABLES, &ranges, shape);
    let len = tables.range().len();
    if len > room { Err(Error::PageTables { len, room }) } else { Ok(tables) }
}

/// The four requests, in the order in which kexec makes them.
fn requests(kernel: &Kernel, cmdline_len: u64, initrd_len: u64) -> [(&'static str, Request); 4] {
    let params_len = params::Offsets::of(cmdline_len).map_or(u64::MAX, |offsets| offsets.end);
    let min = KERNEL_MIN.max(kernel.pref_address());
    [
        ("purgatory", Request { len: purgatory::LEN, align: PAGE, min: PURGATORY_MIN }),
        ("params", Request { len: params_len, align: PAGE, min: PARAMS_MIN }),
        ("kernel", Request { len: kernel.init_size(), align: kernel.kernel_alignment(), min }),
        ("initrd", Request { len: initrd_len, align: PAGE, min: INITRD_MIN }),
    ]
}

fn lay_out(
    map: &MemoryMap,
    flavour: Flavour,
    requests: [(&'static str, Request); 4],
    page_tables: GuestRange,
) -> Result<Layout, Error> {
    let mut taken: Vec<GuestRange> = Vec::with_capacity(requests.len());
    let mut next = |(name, request): (&'static str, Request)| {
        let no_room =
            Error::NoRoom { name, len: request.len, align: request.align, min: request.min };
        let range = placement::place(map, flavour, &taken, request).ok_or(no_room)?;
        taken.push(range);
        Ok(range)
    };
    let [purgatory, params, kernel, initrd] = requests;
    Ok(Layout {
        purgatory: next(purgatory)?,
        params: next(params)?,
        kernel: next(kernel)?,
        // Without an initrd kexec makes no segment at all.
        initrd: if initrd.1.len == 0 { None } else { Some(next(initrd)?) },
        page_tables,
    })
}

/// params, kernel and initrd with their contents.
fn segments(layout: &Layout, handed: &Handed, inputs: &params::Inputs<'_>) -> Vec<Placement> {
    let offsets = params::Offsets::of(inputs.cmdline_len);
    let params = offsets.map(|offsets| params::buffer(layout.params.start(), offsets, inputs));
    // To the end of `.linux`: a certificate that was appended is loaded too.
    let kernel = FileSlice { file: handed.kernel.file, range: inputs.kernel.protected_mode() };
    let initrd = layout.initrd.map(|range| Placement {
        name: "initrd",
        range,
        pieces: handed.initrd_pieces(),
    });
    let mut segments = vec![
        Placement::of_bytes("params", layout.params, params.unwrap_or_default()),
        Placement {
            name: "kernel",
            range: layout.kernel,
            pieces: vec![Piece { offset: 0, content: Content::File(kernel) }],
        },
    ];
    segments.extend(initrd);
    segments
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vmx;
