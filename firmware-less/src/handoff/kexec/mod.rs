//! The `kexec` hand-off: memory and registers as `kexec_file_load(2)` and its
//! purgatory leave them for the next kernel.
//!
//! Four segments, placed in this order, each as high as it will go:
//! purgatory, params (`boot_params`, command line, `setup_data`), the
//! protected-mode kernel, the initrd. kernel/kexec_file.c,
//! arch/x86/kernel/kexec-bzimage64.c, arch/x86/kernel/machine_kexec_64.c.

pub(super) mod cpu;
mod error;
mod least_memory;
pub(super) mod params;
pub(super) mod placement;
pub(super) mod purgatory;

use std::iter;

use serde::Serialize;

use super::laid_out::{Entered, LaidOut, Subject};
use crate::{
    acpi,
    e820::{FIRST_MIB_END, MemoryMap},
    kernel::Kernel,
    layout,
    machine::{LeafSize, Machine},
    page_tables::{PageTables, Shape},
    plan::{Content, FileSlice, Piece, Placement},
    range::{GuestRange, PAGE, align_down, align_up},
    reset_vector,
    smbios::{self, OemStrings, TooLarge},
    uki::handed::Handed,
};
use params::Loader;
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
const GIB: u64 = 1 << 30;
/// The 64-bit entry's offset from the load address. Boot protocol, "64-bit Boot
/// Protocol".
const ENTRY_64: u64 = 0x200;

/// What kexec takes over from the running system: its memory map and where its
/// ACPI tables are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// The e820 table.
    pub memory_map: MemoryMap,
    /// Guest address of the RSDP.
    pub rsdp: u64,
    /// What firmware would have left in memory: ACPI and SMBIOS tables, the
    /// reset vector.
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

    /// The same, with SMBIOS tables that tell `strings`, if there are any.
    pub fn telling(mut self, strings: &OemStrings) -> Result<Self, TooLarge> {
        self.firmware.extend(smbios::tables(strings, layout::SMBIOS)?);
        Ok(self)
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
    /// By kexec the protected-mode kernel and room for it to unpack, `init_size`
    /// bytes; directly the kernel proper with all that it takes.
    pub kernel: GuestRange,
    /// The initrd.
    pub initrd: Option<GuestRange>,
    /// The identity map; in no segment, as kexec's control pages.
    pub page_tables: GuestRange,
}

/// Lays out what `handed` says for `machine`.
pub fn lay_out(
    machine: &Machine,
    platform: Platform,
    kernel: &Kernel,
    handed: &Handed,
    options: &Options,
) -> Result<LaidOut, Error> {
    if machine.five_level() && !kernel.allows_five_level() {
        return Err(Error::NoFiveLevel { xloadflags: kernel.xloadflags() });
    }
    check_cmdline(handed, kernel)?;
    let map = &platform.memory_map;
    let page_tables = identity_map(machine, map, options.flavour)?;
    let requests = requests(kernel, handed.cmdline_len(), handed.initrd_len());
    let layout = place(map, options.flavour, requests, page_tables.range())?;
    // To the end of `.linux`: a certificate that was appended is loaded too.
    let kernel_file = FileSlice { file: handed.kernel.file, range: kernel.protected_mode() };
    let entered = Entered {
        pieces: vec![Piece { offset: 0, content: Content::File(kernel_file) }],
        relocation: None,
        entry: layout.kernel.start().saturating_add(ENTRY_64),
        loader: Loader::KEXEC,
    };
    let subject = Subject { kernel, handed, seed: options.seed };
    Ok(LaidOut::new((machine, platform), layout, page_tables, subject, entered))
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

pub(super) fn identity_map(
    machine: &Machine,
    map: &MemoryMap,
    flavour: Flavour,
) -> Result<PageTables, Error> {
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
    let ranges = mapped(map, flavour, shape.leaf_size);
    let tables = PageTables::identity(layout::PAGE_TABLES, &ranges, shape);
    let len = tables.range().len();
    if len > room { Err(Error::PageTables { len, room }) } else { Ok(tables) }
}

/// The ranges that are mapped: RAM, and all of the first MiB, which the kernel maps for
/// itself whatever is there. arch/x86/mm/init.c `init_mem_mapping`.
fn mapped(map: &MemoryMap, flavour: Flavour, leaf_size: LeafSize) -> Vec<GuestRange> {
    let whole_gibs = flavour == Flavour::Legacy && leaf_size == LeafSize::Gib1;
    let mut ranges: Vec<GuestRange> = Vec::new();
    for range in iter::once(GuestRange::constant(0, FIRST_MIB_END)).chain(map.ram()) {
        let range = if whole_gibs { outward_to_gib(range) } else { range };
        match ranges.last_mut() {
            Some(last) if range.start() <= last.end() => {
                let end = range.end().max(last.end());
                *last = GuestRange::between(last.start(), end).unwrap_or(*last);
            }
            _ => ranges.push(range),
        }
    }
    ranges
}

/// `range` as Linux 6.1 maps it with leaves of 1 GiB: it takes one for every GiB that
/// the range has a part of. arch/x86/mm/ident_map.c `ident_pud_init`.
fn outward_to_gib(range: GuestRange) -> GuestRange {
    let end = align_up(range.end(), GIB).unwrap_or(range.end());
    GuestRange::between(align_down(range.start(), GIB), end).unwrap_or(range)
}

/// The four requests, in the order in which kexec makes them.
pub(super) fn requests(
    kernel: &Kernel,
    cmdline_len: u64,
    initrd_len: u64,
) -> [(&'static str, Request); 4] {
    let params_len = params::Offsets::of(cmdline_len).map_or(u64::MAX, |offsets| offsets.end);
    let min = KERNEL_MIN.max(kernel.pref_address());
    [
        ("purgatory", Request { len: purgatory::LEN, align: PAGE, min: PURGATORY_MIN }),
        ("params", Request { len: params_len, align: PAGE, min: PARAMS_MIN }),
        ("kernel", Request { len: kernel.init_size(), align: kernel.kernel_alignment(), min }),
        ("initrd", Request { len: initrd_len, align: PAGE, min: INITRD_MIN }),
    ]
}

fn place(
    map: &MemoryMap,
    flavour: Flavour,
    requests: [(&'static str, Request); 4],
    page_tables: GuestRange,
) -> Result<Layout, Error> {
    let mut taken: Vec<GuestRange> = Vec::with_capacity(requests.len());
    let mut next = |request| next(map, flavour, &mut taken, request);
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

/// Places what is requested clear of what is `taken`, and takes it.
pub(super) fn next(
    map: &MemoryMap,
    flavour: Flavour,
    taken: &mut Vec<GuestRange>,
    (name, request): (&'static str, Request),
) -> Result<GuestRange, Error> {
    let no_room = Error::NoRoom { name, len: request.len, align: request.align, min: request.min };
    let range = placement::place(map, flavour, taken, request).ok_or(no_room)?;
    taken.push(range);
    Ok(range)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vmx;
