//! Options of `probe`.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{EngineOption, JobOptions, STANDARD_OUTPUT, SandboxOptions, duration};

/// The UKI that stands for the one built in.
pub const BUILT_IN: &str = "/dev/null/built-in";

/// Options of `probe`.
#[derive(Clone, Debug, Args)]
pub struct ProbeOptions {
    /// What to hand over.
    #[command(flatten)]
    pub job: JobOptions,

    /// What runs the guest's code: KVM, also where it can't run kernels, or QEMU's TCG
    #[arg(long, value_enum, default_value_t = EngineOption::Auto, help_heading = "Run")]
    pub engine: EngineOption,

    /// Give up after this time: 90, 90s, 2m, 500ms
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    #[arg(help_heading = "Run")]
    pub timeout: Duration,

    /// What a guest that breaks out finds.
    #[command(flatten)]
    pub sandbox: SandboxOptions,

    /// Print JSON, or write it to FILE
    #[arg(long, value_name = "FILE", require_equals = true, num_args = 0..=1)]
    #[arg(default_missing_value = STANDARD_OUTPUT)]
    pub json: Option<PathBuf>,

    /// Run nothing: read a report that a probe printed elsewhere, from FILE or, with -, from
    /// standard input; with a UKI, compare it with the plan for that
    #[arg(long, value_name = "FILE", help_heading = "Elsewhere")]
    pub read: Option<PathBuf>,

    /// Run nothing: write the probe to FILE as a bzImage, for other loaders
    #[arg(long, value_name = "FILE", help_heading = "Elsewhere")]
    #[arg(conflicts_with_all = ["read", "json", "image"])]
    pub write_bzimage: Option<PathBuf>,

    /// Run nothing: write the probe to FILE as a UKI with a command line and an initrd, for
    /// other loaders; it has no code for firmware
    #[arg(long, value_name = "FILE", help_heading = "Elsewhere")]
    #[arg(conflicts_with_all = ["read", "json", "image", "write_bzimage"])]
    pub write_uki: Option<PathBuf>,
}
