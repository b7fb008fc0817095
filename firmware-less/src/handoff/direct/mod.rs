//! The `direct` hand-off: what kexec hands over, but the kernel unpacked and entered
//! itself, not by way of its decompressor.
//!
//! purgatory, params and initrd are kexec's own, and so are their places, the page
//! tables and the registers but for the instruction pointer. What the decompressor
//! would have done is done here: arch/x86/boot/compressed/{misc,kaslr}.c.

mod kaslr;

use thiserror::Error;

use super::{
    kexec::{
        self, Layout, Platform, identity_map, next, params::Loader, placement::Request, requests,
    },
    laid_out::{Entered, LaidOut, Subject},
};
use crate::{
    kernel::{Kernel, Unpacked, relocations, vmlinux::KERNEL_IMAGE_SIZE},
    machine::Machine,
    page_tables::PageTables,
    range::{GuestRange, PAGE, align_up},
    uki::handed::Handed,
};

pub use kaslr::{Kaslr, Wish};

/// "Undefined": a loader without a number of its own. Boot protocol,
/// `type_of_loader`.
const LOADER_UNDEFINED: u8 = 0xff;
/// `loadflags`: "the decompressor", which is us, has chosen the kernel's place at
/// random, and the kernel is to do so with its memory regions
/// (`kaslr_memory_enabled`, arch/x86/include/asm/setup.h).
const KASLR_FLAG: u8 = 1 << 1;
/// What the kernel's place is a multiple of whatever its header says: it maps itself
/// by leaves of 2 MiB, and spins where that does not come out even.
/// arch/x86/boot/startup/map_kernel.c, `__startup_64`.
const PMD_SIZE: u64 = 2 << 20;

/// Why a kernel can't be entered directly.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// What would stand in kexec's way as well, or has no room.
    #[error(transparent)]
    Kexec(#[from] kexec::Error),
    /// Linked for a place where it can't map itself.
    #[error("the unpacked kernel is linked for {linked:#x}, which is no multiple of 2 MiB")]
    Linked {
        /// Where, as a physical address.
        linked: u64,
    },
    /// A kernel that knows no five-level paging, which its decompressor would have
    /// left.
    #[error(
        "the kernel's xloadflags are {xloadflags:#x}, without XLF_5LEVEL_ENABLED: its decompressor \
         leaves five-level paging, the kernel proper can't"
    )]
    NoFiveLevel {
        /// What its header says.
        xloadflags: u16,
    },
    /// It can't be moved.
    #[error(transparent)]
    Relocations(#[from] relocations::Error),
}

/// A hand-off laid out, and where the kernel came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Direct {
    /// The hand-off.
    pub laid_out: LaidOut,
    /// Where the kernel is.
    pub kaslr: Kaslr,
}

/// Lays out what `handed` says for `machine`, with the kernel proper that `unpacked`
/// is.
pub fn lay_out(
    (machine, platform): (&Machine, Platform),
    (kernel, unpacked): (&Kernel, &Unpacked),
    handed: &Handed,
    options: &kexec::Options,
    wish: Wish,
) -> Result<Direct, Error> {
    check(machine, kernel, unpacked, handed)?;
    let page_tables = identity_map(machine, &platform.memory_map, options.flavour)?;
    // Without a table of relocations it was built to stay where it is linked for.
    let wish = if unpacked.is_relocatable() { wish } else { Wish::Off };
    let wish = wish.for_command_line(&handed.cmdline);
    let placing = Placing { platform: &platform, kernel, handed, options };
    let (layout, kaslr) = placing.place(unpacked, &page_tables, wish)?;
    let loadflags = if kaslr.virtual_offset.is_some() { KASLR_FLAG } else { 0 };
    let entered = Entered {
        entry: layout.kernel.start().saturating_add(unpacked.entry_offset()),
        pieces: unpacked.pieces(),
        relocation: unpacked.relocation(kaslr.virtual_offset.unwrap_or_default())?,
        loader: Loader { type_of_loader: LOADER_UNDEFINED, loadflags },
    };
    let subject = Subject { kernel, handed, seed: options.seed };
    let laid_out = LaidOut::new((machine, platform), layout, page_tables, subject, entered);
    Ok(Direct { laid_out, kaslr })
}

fn check(
    machine: &Machine,
    kernel: &Kernel,
    unpacked: &Unpacked,
    handed: &Handed,
) -> Result<(), Error> {
    let xloadflags = kernel.xloadflags();
    if machine.five_level() && !kernel.allows_five_level() {
        return Err(kexec::Error::NoFiveLevel { xloadflags }.into());
    }
    if machine.five_level() && !kernel.knows_five_level() {
        return Err(Error::NoFiveLevel { xloadflags });
    }
    let linked = unpacked.linked().start();
    if !linked.is_multiple_of(PMD_SIZE) {
        return Err(Error::Linked { linked });
    }
    Ok(kexec::check_cmdline(handed, kernel)?)
}

/// What is to be placed.
struct Placing<'a> {
    platform: &'a Platform,
    kernel: &'a Kernel,
    handed: &'a Handed,
    options: &'a kexec::Options,
}

impl Placing<'_> {
    /// kexec's places for all but the kernel, and one for that. Where it has to be at
    /// its linked address, it comes first: nothing else has to be there.
    fn place(
        &self,
        unpacked: &Unpacked,
        page_tables: &PageTables,
        wish: Wish,
    ) -> Result<(Layout, Kaslr), Error> {
        let map = &self.platform.memory_map;
        let request = self.kernel_request(unpacked);
        let linked = GuestRange::new(unpacked.linked().start(), request.len);
        let fixed = match wish {
            Wish::Off | Wish::VirtualOnly(_) => Some(
                linked
                    .filter(|range| map.ram().any(|ram| ram.contains(*range)))
                    .ok_or(no_room(request))?,
            ),
            Wish::On(_) => None,
        };
        let mut taken: Vec<GuestRange> = fixed.into_iter().collect();
        let mut next = |request| next(map, self.options.flavour, &mut taken, request);
        let [purgatory, params, _, initrd] =
            requests(self.kernel, self.handed.cmdline_len(), self.handed.initrd_len());
        let purgatory = next(purgatory)?;
        let params = next(params)?;
        let initrd = if initrd.1.len == 0 { None } else { Some(next(initrd)?) };
        let kernel = match (fixed, wish) {
            (Some(range), _) => range,
            (None, Wish::On(seed)) => {
                kaslr::physical(map, &taken, request, &seed).ok_or(no_room(request))?
            }
            (None, _) => return Err(no_room(request).into()),
        };
        let linked = unpacked.linked().start();
        let virtual_offset = wish
            .seed()
            .map(|seed| kaslr::virtual_offset(linked, request.len, request.align, &seed));
        let kaslr = Kaslr { physical: kernel.start(), virtual_offset };
        let page_tables = page_tables.range();
        Ok((Layout { purgatory, params, kernel, initrd, page_tables }, kaslr))
    }

    /// Where a kernel may be that is moved: no lower than it is linked for, and no
    /// higher a floor than 512 MiB. kaslr.c, `choose_random_location`.
    fn kernel_request(&self, unpacked: &Unpacked) -> Request {
        const FLOOR_MAX: u64 = 512 << 20;
        let linked = unpacked.linked();
        Request {
            len: align_up(linked.len(), PAGE).unwrap_or(KERNEL_IMAGE_SIZE),
            align: self.kernel.kernel_alignment().max(PMD_SIZE),
            min: linked.start().min(FLOOR_MAX),
        }
    }
}

fn no_room(Request { len, align, min }: Request) -> kexec::Error {
    kexec::Error::NoRoom { name: "the unpacked kernel", len, align, min }
}

#[cfg(test)]
mod tests;
