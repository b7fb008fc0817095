//! Options that decide whom a UKI must come from.

use std::path::PathBuf;

use clap::Args;

/// What must hold of a UKI before it is taken apart.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Verification")]
pub struct VerifyOptions {
    /// Take only what is signed (Authenticode) by this certificate, or by one that it vouches for;
    /// one or more as PEM, or one as DER; may be repeated
    ///
    /// UKI and addons are read once, into memory that nothing can change, and verified before they
    /// are taken apart. Then --cmdline, --append and --initrd are refused where systemd-stub under
    /// Secure Boot, or a locked-down kernel, would not take them. The times in which certificates
    /// are valid do not count.
    #[arg(long, value_name = "CERT.pem")]
    pub verify: Vec<PathBuf>,

    /// Take a file with this Authenticode digest (SHA-256, hex), signed or not; or with one of
    /// those in a file, one a line; may be repeated
    #[arg(long, value_name = "HEX|FILE")]
    pub allow_hash: Vec<PathBuf>,

    /// Refuse what is on this deny list, whoever signed it: an EFI signature list, as in dbx; PEM
    /// certificates; or SHA-256 digests, one a line; may be repeated
    #[arg(long, value_name = "FILE")]
    pub dbx: Vec<PathBuf>,

    /// Refuse what is older than these SBAT generations: lines of a component and the least
    /// generation of it, as in shim's SbatLevel
    #[arg(long, value_name = "FILE")]
    pub sbat_level: Option<PathBuf>,
}
