//! Options of the hand-off, and what may be typed for them.

use clap::{Args, ValueEnum};
use firmware_less::{handoff::kexec, machine::LeafSize};

/// `--handoff`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HandoffOption {
    /// As kexec_file_load(2): the kernel unpacks itself
    Kexec,
    /// The kernel is unpacked by the host and entered itself; as kexec where that can't be done
    Direct,
}

/// `--kaslr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KaslrOption {
    /// At random.
    On,
    /// As linked.
    Off,
    /// Drawn from this.
    Seed([u8; kexec::SEED_LEN]),
}

/// What the host unpacks in the kernel's stead.
#[derive(Clone, Debug, Args)]
pub struct UnpackingOptions {
    /// With --handoff direct, unpack the initrd too (gzip, xz, zstd, lz4), so that the kernel
    /// need not; what can't be unpacked is handed over as it is
    #[arg(long, help_heading = "Hand-off")]
    pub unpack_initrd: bool,

    /// With --handoff direct, unpack each time instead of keeping what was unpacked in
    /// $XDG_CACHE_HOME/ukivm
    #[arg(long, help_heading = "Hand-off")]
    pub no_cache: bool,
}

/// `--flavour`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FlavourOption {
    /// Linux 6.12 and later
    Modern,
    /// Linux 6.1
    Legacy,
}

impl From<FlavourOption> for kexec::Flavour {
    fn from(option: FlavourOption) -> Self {
        match option {
            FlavourOption::Modern => Self::Modern,
            FlavourOption::Legacy => Self::Legacy,
        }
    }
}

/// `--leaf-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LeafOption {
    /// 2 MiB
    #[value(name = "2M")]
    Mib2,
    /// 1 GiB for whole GiBs; the CPU must have pdpe1gb
    #[value(name = "1G")]
    Gib1,
}

impl From<LeafOption> for LeafSize {
    fn from(option: LeafOption) -> Self {
        match option {
            LeafOption::Mib2 => Self::Mib2,
            LeafOption::Gib1 => Self::Gib1,
        }
    }
}

/// `on`, `off`, or a seed.
pub(super) fn kaslr(text: &str) -> Result<KaslrOption, String> {
    match text {
        "on" => Ok(KaslrOption::On),
        "off" => Ok(KaslrOption::Off),
        text => seed(text).map(KaslrOption::Seed).map_err(|wanted| {
            format!("give on or off, or for a seed {}", wanted.replacen("give ", "", 1))
        }),
    }
}

/// 32 bytes from 64 hex digits.
pub(super) fn seed(text: &str) -> Result<[u8; kexec::SEED_LEN], String> {
    let wanted = || format!("give 64 hex digits, found {} characters", text.len());
    let digits = text.as_bytes();
    if digits.len() != 2 * kexec::SEED_LEN || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(wanted());
    }
    let mut seed = [0; kexec::SEED_LEN];
    for (byte, pair) in seed.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|error| error.to_string())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|error| error.to_string())?;
    }
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_64_hex_digits() {
        assert_eq!(seed(&"0f".repeat(32)), Ok([0x0f; 32]));
        assert!(seed("0f").unwrap_err().contains("found 2 characters"));
        assert!(seed(&"+1".repeat(32)).is_err());
        assert!(seed(&"é".repeat(32)).is_err());
    }

    #[test]
    fn addresses_are_drawn_left_alone_or_drawn_from_a_seed() {
        assert_eq!(kaslr("on"), Ok(KaslrOption::On));
        assert_eq!(kaslr("off"), Ok(KaslrOption::Off));
        assert_eq!(kaslr(&"5a".repeat(32)), Ok(KaslrOption::Seed([0x5a; 32])));
        let wanted = "give on or off, or for a seed 64 hex digits, found 5 characters";
        assert_eq!(kaslr("maybe").unwrap_err(), wanted);
    }
}
