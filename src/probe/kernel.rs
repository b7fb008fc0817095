//! The probe as a bzImage.

use ukivm_guests::{PROBE, bzimage};

use super::pe::{self, Section};

const SECTOR: usize = 512;
/// Where setup code begins: behind the setup header.
const SETUP: usize = 0x26c;
/// What the header asks for: room, alignment and a place as distributions' kernels do.
const INIT_SIZE: u32 = 0x1_0000;
const KERNEL_ALIGNMENT: u32 = 2 << 20;
const PREF_ADDRESS: u64 = 16 << 20;

/// The probe as a bzImage, for loaders that enter it in real mode, in protected
/// mode, in 64-bit mode, or by the EFI handover protocol.
#[must_use]
pub fn bzimage() -> Vec<u8> {
    let setup_len = SETUP.saturating_add(bzimage::SETUP.len()).next_multiple_of(SECTOR);
    let setup_sects = setup_len.div_euclid(SECTOR).saturating_sub(1);
    let mut image = vec![0; setup_len];
    let mut code = [bzimage::BEFORE, PROBE, bzimage::BEHIND].concat();
    code.resize(code.len().next_multiple_of(SECTOR), 0);
    let section = Section::new(".text", code.len(), setup_len, setup_len);
    // A version below 1 has systemd-stub hand over by the older protocol: all that is
    // passed then is in boot_params. src/boot/pe.c, `pe_kernel_info`.
    pe::put_headers(&mut image, &[section], setup_len.saturating_add(code.len()));
    // boot.rst, "The Real-Mode Kernel Header".
    put(&mut image, 0x1f1, &le32(setup_sects)[..1]);
    put(&mut image, 0x1f4, &le32(code.len().div_euclid(16)));
    put(&mut image, 0x1fe, &0xaa55_u16.to_le_bytes());
    // A jump behind the header, whose end it tells.
    put(&mut image, 0x200, &[0xeb, 0x6a]);
    put(&mut image, 0x202, b"HdrS");
    put(&mut image, 0x206, &0x20f_u16.to_le_bytes());
    // LOADED_HIGH.
    put(&mut image, 0x211, &[1]);
    put(&mut image, 0x214, &0x10_0000_u32.to_le_bytes());
    put(&mut image, 0x22c, &0x7fff_ffff_u32.to_le_bytes());
    put(&mut image, 0x230, &KERNEL_ALIGNMENT.to_le_bytes());
    put(&mut image, 0x234, &[1, 21]);
    // KERNEL_64, CAN_BE_LOADED_ABOVE_4G, EFI_HANDOVER_64, 5LEVEL and 5LEVEL_ENABLED.
    put(&mut image, 0x236, &0x6b_u16.to_le_bytes());
    put(&mut image, 0x238, &2047_u32.to_le_bytes());
    put(&mut image, 0x258, &PREF_ADDRESS.to_le_bytes());
    put(&mut image, 0x260, &INIT_SIZE.to_le_bytes());
    put(&mut image, 0x264, &bzimage::HANDOVER.to_le_bytes());
    put(&mut image, SETUP, bzimage::SETUP);
    image.extend_from_slice(&code);
    image
}

pub(super) fn put(image: &mut [u8], place: usize, bytes: &[u8]) {
    for (to, from) in image.iter_mut().skip(place).zip(bytes) {
        *to = *from;
    }
}

/// What is known to be small.
pub(super) fn le32(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use firmware_less::{kernel::Kernel, range::FileRange};

    use super::*;

    #[test]
    fn the_probe_is_a_kernel_that_kexec_would_load() {
        let image = bzimage();
        let kernel = Kernel::read(image.as_slice(), FileRange::first(image.len() as u64));
        let kernel = kernel.expect("a kernel");
        assert!(kernel.protected_mode().len() <= u64::from(INIT_SIZE));
        assert!(kernel.allows_five_level());
        let entry = usize::try_from(kernel.protected_mode().offset()).expect("near") + 0x200;
        assert_eq!(image[entry..][..PROBE.len()], *PROBE);
    }
}
