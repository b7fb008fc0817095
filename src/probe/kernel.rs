//! The probe as a bzImage.

use ukivm_guests::PROBE;

/// Where the 64-bit entry is. Boot protocol, "64-bit Boot Protocol".
const ENTRY_64: usize = 0x200;
/// What nobody should come to: HLT.
const NOTHING: u8 = 0xf4;
const SECTOR: usize = 512;
/// The sectors behind the first.
const SETUP_SECTS: u8 = 1;
/// What the header asks for: room, alignment and a place as distributions' kernels do.
const INIT_SIZE: u32 = 0x1_0000;
const KERNEL_ALIGNMENT: u32 = 2 << 20;
const PREF_ADDRESS: u64 = 16 << 20;

/// The probe as a bzImage.
#[must_use]
pub fn bzimage() -> Vec<u8> {
    let mut image = vec![0; usize::from(SETUP_SECTS).saturating_add(1).saturating_mul(SECTOR)];
    let code_len = ENTRY_64.saturating_add(PROBE.len()).next_multiple_of(16);
    // boot.rst, "The Real-Mode Kernel Header".
    put(&mut image, 0x1f1, &[SETUP_SECTS]);
    put(&mut image, 0x1f4, &le32(code_len.div_euclid(16)));
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
    // KERNEL_64, CAN_BE_LOADED_ABOVE_4G, 5LEVEL.
    put(&mut image, 0x236, &0x23_u16.to_le_bytes());
    put(&mut image, 0x238, &2047_u32.to_le_bytes());
    put(&mut image, 0x258, &PREF_ADDRESS.to_le_bytes());
    put(&mut image, 0x260, &INIT_SIZE.to_le_bytes());
    let code_at = image.len();
    image.resize(code_at.saturating_add(ENTRY_64), NOTHING);
    image.extend_from_slice(PROBE);
    image.resize(code_at.saturating_add(code_len), 0);
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
        assert_eq!(
            image[usize::from(SETUP_SECTS + 1) * SECTOR + ENTRY_64..][..PROBE.len()],
            *PROBE
        );
    }
}
