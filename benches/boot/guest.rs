//! The guest: a UKI of any size whose kernel says at its first instruction that
//! it runs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use firmware_less::{
    handoff::kexec::{self, Flavour, Options, Platform, SEED_LEN},
    kernel::Kernel,
    machine::{Machine, SLEEP_CONTROL_S5, port},
    plan::{BootPlan, Content, FileSlice},
    testing::{Random, bzimage, uki},
    uki::{
        Uki,
        handed::{Choice, Handed},
    },
};

use crate::Result;

/// The guest's RAM.
pub(crate) const MEMORY: u64 = 1 << 30;
/// As long as a distribution's.
const KERNEL_LEN: usize = 11_000_000;
/// The `init_size` of such a kernel.
const INIT_SIZE: u32 = 56 << 20;
/// Where the 64-bit entry point is. Boot protocol, "64-bit Boot Protocol".
const ENTRY_64: usize = 0x200;

/// What the guest does after its first byte on the console.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    /// Powers off.
    PowerOff,
    /// Waits for input on the console that never comes.
    Wait,
}

/// A UKI to be.
#[derive(Debug)]
pub(crate) struct Guest {
    image: Vec<u8>,
}

/// A UKI in a file, and where its content goes.
#[derive(Debug)]
pub(crate) struct OnDisk {
    /// The file.
    pub(crate) path: PathBuf,
    /// The plan that ukivm makes of it.
    pub(crate) plan: BootPlan,
}

impl Guest {
    /// A UKI of that many megabytes, of 10⁶ bytes.
    pub(crate) fn new(megabytes: u64, then: Then) -> Self {
        let mut random = Random::seeded(megabytes);
        let mut noise = |len: usize| -> Vec<u8> {
            let words = (0..len.div_ceil(8)).flat_map(|_| random.number().to_le_bytes());
            words.take(len).collect()
        };
        let mut code = noise(KERNEL_LEN);
        code.splice(ENTRY_64..ENTRY_64 + program(then).len(), program(then));
        let kernel = bzimage().with(|header| header.init_size = INIT_SIZE).protected_mode(code);
        let without_initrd =
            uki().section(".cmdline", "console=ttyS0").section(".linux", kernel.build());
        let len = usize::try_from(megabytes * 1_000_000).unwrap_or(usize::MAX);
        let rest = len.saturating_sub(without_initrd.build().len());
        Self { image: without_initrd.section(".initrd", noise(rest)).build() }
    }

    /// Writes it to a file in `folder`.
    pub(crate) fn write(&self, folder: &Path) -> Result<OnDisk> {
        let path = folder.join("guest.efi");
        fs::write(&path, &self.image)?;
        Ok(OnDisk { path, plan: self.plan()? })
    }

    fn plan(&self) -> Result<BootPlan> {
        let machine = Machine::new(MEMORY, 1)?;
        let uki = Uki::read(&self.image)?;
        let handed = Handed::read(&self.image, &uki, &Choice::default())?;
        let kernel = Kernel::read(&self.image, handed.kernel.range)?;
        let options = Options { flavour: Flavour::Modern, seed: [0; SEED_LEN] };
        let kexec = kexec::lay_out(&machine, Platform::of(&machine), &kernel, &handed, &options)?;
        Ok(kexec.plan(None)?)
    }
}

impl OnDisk {
    /// What is read from the file, and the guest address it goes to.
    pub(crate) fn reads(&self) -> impl Iterator<Item = (FileSlice, u64)> {
        self.plan.placements().iter().flat_map(|placement| {
            placement.pieces.iter().filter_map(|piece| match piece.content {
                Content::File(slice) => Some((slice, placement.range.start() + piece.offset)),
                Content::Bytes(_) => None,
            })
        })
    }
}

/// The instructions at the entry point.
fn program(then: Then) -> Vec<u8> {
    let [serial, line_status] = [port::SERIAL, port::SERIAL + 5].map(u16::to_le_bytes);
    let sleep_control = port::SLEEP_CONTROL.to_le_bytes();
    let out = |port: [u8; 2], value: u8| {
        // mov dx, port; mov al, value; out dx, al
        vec![0x66, 0xba, port[0], port[1], 0xb0, value, 0xee]
    };
    let wait = match then {
        Then::PowerOff => Vec::new(),
        // mov dx, line_status; again: in al, dx; test al, 1; jz again
        Then::Wait => {
            vec![0x66, 0xba, line_status[0], line_status[1], 0xec, 0xa8, 0x01, 0x74, 0xfb]
        }
    };
    // hlt; jmp back to it
    let halt = vec![0xf4, 0xeb, 0xfd];
    [out(serial, b'!'), wait, out(sleep_control, SLEEP_CONTROL_S5), halt].concat()
}
