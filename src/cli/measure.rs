//! Options of `measure`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use firmware_less::uki::{
    Selector,
    pcr11::{Bank, PhasePath},
};

use super::STANDARD_OUTPUT;

/// Options of `measure`.
#[derive(Clone, Debug, Args)]
pub struct MeasureOptions {
    /// The UKI
    pub image: PathBuf,

    /// The UKI's profile, by number or by the ID in its .profile section
    #[arg(long, value_name = "N|ID", default_value = "0")]
    pub profile: Selector,

    /// The hash, and so the TPM's bank of registers; may be repeated [default: all]
    #[arg(long, value_enum, ignore_case = true)]
    pub bank: Vec<BankOption>,

    /// The boot phases to be measured after the UKI, with colons between them; none if empty; may
    /// be repeated [default: enter-initrd, then also leave-initrd, then sysinit, then ready]
    #[arg(long, value_name = "PATH")]
    pub phase: Vec<PhasePath>,

    /// Instead of values, say of each signature in .pcrsig whether it fits the UKI's own content
    /// and the key in .pcrpkey; exit with 65 where one does not, or there is none
    #[arg(long, conflicts_with = "bank")]
    pub check: bool,

    /// Print JSON, or write it to FILE
    #[arg(long, value_name = "FILE", require_equals = true, num_args = 0..=1)]
    #[arg(default_missing_value = STANDARD_OUTPUT)]
    pub json: Option<PathBuf>,
}

/// `--bank`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BankOption {
    /// SHA-1
    Sha1,
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

impl From<BankOption> for Bank {
    fn from(option: BankOption) -> Self {
        match option {
            BankOption::Sha1 => Self::Sha1,
            BankOption::Sha256 => Self::Sha256,
            BankOption::Sha384 => Self::Sha384,
            BankOption::Sha512 => Self::Sha512,
        }
    }
}
