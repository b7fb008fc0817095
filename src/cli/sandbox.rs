//! The option that does without the sandbox.

use clap::Args;

/// What a guest that breaks out finds around it.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct SandboxOptions {
    /// Confine neither this process nor QEMU before the guest runs: no filter of system calls, no
    /// fence around files
    #[arg(long, help_heading = "Run")]
    pub no_sandbox: bool,
}
