//! [`Kernel`]: a bzImage's setup header, checked as kexec checks it.
//!
//! The fields keep the names of the boot protocol, which the kernel's
//! `Documentation/arch/x86/boot.rst` defines in "The Real-Mode Kernel Header".

use linux_loader::loader::bootparam::setup_header;
use vm_memory::ByteValued as _;

use super::error::Error;
use crate::{
    file_format::{FileFormat, RECOGNISED_WITHIN},
    range::{FileRange, PAGE, align_up},
    read_at::{ReadAt, fetch},
};

/// The size of a sector, the unit of `setup_sects`.
const SECTOR: u64 = 512;
/// The shortest a bzImage can be: a boot sector and a setup sector.
const LEN_MIN: u64 = 2 * SECTOR;
/// Where the setup header begins.
const SETUP_HEADER: usize = 0x1f1;
/// Where the header's own length is, counted from [`HEADER_MAGIC`].
const HEADER_LEN: usize = 0x201;
/// Where the header's magic is, "HdrS".
const HEADER_MAGIC: usize = 0x202;
/// Where the header must end: what follows in `boot_params` is not its own.
/// boot.rst, "The Linux/x86 Boot Protocol": the header is at most 144 bytes from
/// 0x202, and `edd_mbr_sig_buffer` begins at 0x290.
const HEADER_END_MAX: usize = 0x290;
/// "HdrS".
const MAGIC: u32 = u32::from_le_bytes(*b"HdrS");
/// At the end of a boot sector.
pub(super) const BOOT_FLAG: u16 = 0xaa55;
/// The first protocol version with `xloadflags`.
pub(super) const VERSION_MIN: u16 = 0x020c;
/// `loadflags`: the protected-mode code is loaded at 1 MiB, not at 64 KiB.
pub(super) const LOADED_HIGH: u8 = 1;
/// `xloadflags`: there is a 64-bit entry point.
pub(super) const XLF_KERNEL_64: u16 = 1;
/// `xloadflags`: everything may lie above 4 GiB.
pub(super) const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 1 << 1;
/// `xloadflags`: may be entered with five-level paging.
const XLF_5LEVEL: u16 = 1 << 5;
/// `xloadflags`: stays in five-level paging.
const XLF_5LEVEL_ENABLED: u16 = 1 << 6;
/// How a path on an EFI partition begins; no kernel does.
const PATH_START: &[u8] = b"\\EFI\\";
/// As much of such a path as is worth showing.
const PATH_MAX: usize = 255;
/// The unit of `syssize`.
const PARAGRAPH: u64 = 16;
/// The highest `pref_address` accepted: no CPU has more address bits.
pub(super) const PREF_ADDRESS_MAX: u64 = 1 << 52;
/// The `setup_sects` of a header that says 0.
const SETUP_SECTS_DEFAULT: u8 = 4;

/// A bzImage that can be entered at its 64-bit entry point.
///
/// Its numbers are what the header says, but bounded: no sum of an address that
/// a machine has, an alignment and a size can pass 2⁶⁴.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    header: setup_header,
    header_bytes: Vec<u8>,
    protected_mode: FileRange,
}

impl Kernel {
    /// Reads the setup header of the kernel that `range` of `source` holds, or
    /// says why it cannot be loaded.
    pub fn read(source: &(impl ReadAt + ?Sized), range: FileRange) -> Result<Self, Error> {
        if range.len() < LEN_MIN {
            let error = Error::TooShort { found: range.len(), need: LEN_MIN };
            return Err(recognised(source, range)?.unwrap_or(error));
        }
        let start = fetch(source, range.offset(), LEN_MIN)?;
        let (header, header_bytes) = setup_header_in(&start);
        if header.header != MAGIC {
            let error = Error::NoHeader { found: header.header };
            return Err(recognised(source, range)?.unwrap_or(error));
        }
        probe(&header)?;
        let protected_mode = protected_mode(&header, range)?;
        check_memory(&header, protected_mode)?;
        Ok(Self { header, header_bytes, protected_mode })
    }

    /// The setup header's fields.
    #[must_use]
    pub fn header(&self) -> &setup_header {
        &self.header
    }

    /// The setup header as it is in the file, to be copied to 0x1f1 of
    /// `boot_params`: up to 0x202 and the byte at 0x201, and no further than
    /// 0x290, whatever that byte says. kexec has no such bound, and overwrites
    /// what it writes past there.
    #[must_use]
    pub fn header_bytes(&self) -> &[u8] {
        &self.header_bytes
    }

    /// The length of the real-mode part: boot sector and setup sectors.
    #[must_use]
    pub fn kern16_size(&self) -> u64 {
        kern16_size(&self.header)
    }

    /// The protected-mode part, to the end of the kernel: a signature after it is
    /// loaded with it, as kexec does. The entry point is 0x200 bytes into it.
    #[must_use]
    pub fn protected_mode(&self) -> FileRange {
        self.protected_mode
    }

    /// The compressed kernel proper, if it lies in the protected-mode part.
    #[must_use]
    pub fn payload(&self) -> Option<FileRange> {
        let rest = self.protected_mode.skip(self.header.payload_offset.into())?;
        let len = u64::from(self.header.payload_length);
        (0 < len && len <= rest.len()).then(|| rest.take(len))
    }

    /// The memory that the kernel needs from where it runs, until it has read
    /// its memory map.
    #[must_use]
    pub fn init_size(&self) -> u64 {
        self.header.init_size.into()
    }

    /// What the address where the kernel runs is a multiple of.
    #[must_use]
    pub fn kernel_alignment(&self) -> u64 {
        self.header.kernel_alignment.into()
    }

    /// Where the kernel would rather run.
    #[must_use]
    pub fn pref_address(&self) -> u64 {
        self.header.pref_address
    }

    /// The longest command line, its NUL not counted.
    #[must_use]
    pub fn cmdline_size(&self) -> u64 {
        self.header.cmdline_size.into()
    }

    /// What the 64-bit entry point can do.
    #[must_use]
    pub fn xloadflags(&self) -> u16 {
        self.header.xloadflags
    }

    /// Whether the kernel may be entered with five-level paging.
    #[must_use]
    pub fn allows_five_level(&self) -> bool {
        self.xloadflags() & XLF_5LEVEL != 0
    }

    /// Whether the kernel proper knows five-level paging, so that its decompressor
    /// need not leave it.
    #[must_use]
    pub fn knows_five_level(&self) -> bool {
        self.header.xloadflags & XLF_5LEVEL_ENABLED != 0
    }

    /// The boot protocol's version, its major number in the high byte.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.header.version
    }
}

/// The setup header in a kernel's first two sectors, as fields and as bytes.
fn setup_header_in(start: &[u8]) -> (setup_header, Vec<u8>) {
    let mut header = setup_header::default();
    for (to, from) in header.as_mut_slice().iter_mut().zip(start.iter().skip(SETUP_HEADER)) {
        *to = *from;
    }
    let said = start.get(HEADER_LEN).copied().unwrap_or_default();
    let end = HEADER_MAGIC.saturating_add(said.into()).min(HEADER_END_MAX);
    (header, start.get(SETUP_HEADER..end).unwrap_or_default().to_vec())
}

/// The checks of `bzImage64_probe` from the boot sector on.
fn probe(header: &setup_header) -> Result<(), Error> {
    let &setup_header { boot_flag, version, loadflags, xloadflags, .. } = header;
    if boot_flag != BOOT_FLAG {
        return Err(Error::BootFlag { found: boot_flag });
    }
    if version < VERSION_MIN {
        return Err(Error::Version { found: version });
    }
    if loadflags & LOADED_HIGH == 0 {
        return Err(Error::NotLoadedHigh { found: loadflags });
    }
    if xloadflags & XLF_KERNEL_64 == 0 {
        return Err(Error::Not64Bit { found: xloadflags });
    }
    if xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G == 0 {
        return Err(Error::NotAbove4G { found: xloadflags });
    }
    Ok(())
}

fn kern16_size(header: &setup_header) -> u64 {
    let sectors = match header.setup_sects {
        0 => SETUP_SECTS_DEFAULT,
        sectors => sectors,
    };
    SECTOR.saturating_mul(u64::from(sectors).saturating_add(1))
}

/// What follows the real-mode part, if all is there that the header counts.
///
/// That `syssize` is looked at is an addition to kexec's checks: a kernel cut
/// short would otherwise fail in the guest, where it unpacks itself.
fn protected_mode(header: &setup_header, kernel: FileRange) -> Result<FileRange, Error> {
    let kern16_size = kern16_size(header);
    let len = kernel.len();
    let rest = kernel.skip(kern16_size).ok_or(Error::SetupCut { len, kern16_size })?;
    let need = PARAGRAPH.saturating_mul(header.syssize.into());
    if rest.len() < need {
        return Err(Error::Cut { len, need: need.saturating_add(kern16_size) });
    }
    Ok(rest)
}

/// Whether the numbers from which addresses are computed can be meant.
fn check_memory(header: &setup_header, protected_mode: FileRange) -> Result<(), Error> {
    let &setup_header { init_size, kernel_alignment, pref_address, .. } = header;
    if init_size == 0 {
        return Err(Error::NoInitSize);
    }
    let init_size = align_up(init_size.into(), PAGE).unwrap_or(u64::MAX);
    if protected_mode.len() > init_size {
        return Err(Error::LongerThanInitSize { len: protected_mode.len(), init_size });
    }
    if !kernel_alignment.is_power_of_two() || u64::from(kernel_alignment) < PAGE {
        return Err(Error::Alignment { found: kernel_alignment });
    }
    if pref_address > PREF_ADDRESS_MAX {
        return Err(Error::PrefAddress { found: pref_address });
    }
    Ok(())
}

/// What stands in the kernel's place, if that can be told.
fn recognised(source: &(impl ReadAt + ?Sized), range: FileRange) -> Result<Option<Error>, Error> {
    let start = fetch(source, range.offset(), range.len().min(RECOGNISED_WITHIN))?;
    Ok(match FileFormat::of(&start) {
        FileFormat::Text if start.starts_with(PATH_START) => {
            let path = start.get(..PATH_MAX).unwrap_or(&start);
            Some(Error::Path { path: String::from_utf8_lossy(path).into_owned() })
        }
        FileFormat::Empty | FileFormat::BzImage | FileFormat::Disk | FileFormat::Unknown => None,
        found => Some(Error::NotBzImage { found }),
    })
}
