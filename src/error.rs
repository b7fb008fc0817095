//! Everything that can go wrong on our side of a run, and the exit status of each.

use std::{io, path::PathBuf};

use firmware_less::{
    handoff::kexec,
    kernel, machine, plan,
    uki::{self, addon, handed, pcr11},
};
use thiserror::Error;

use crate::{engine, exit, files, verdict::lists};

/// What a command failed of. Its message follows `ukivm: `.
#[derive(Debug, Error)]
pub enum Error {
    /// A file of the job can't be used.
    #[error("{}", path.display())]
    File {
        /// As the user named it.
        path: PathBuf,
        /// Why not.
        #[source]
        source: files::Error,
    },
    /// Reading a file failed.
    #[error("{}: reading it failed", path.display())]
    Read {
        /// As the user named it.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file that was to be written can't be.
    #[error("{}: writing it failed", path.display())]
    Write {
        /// As the user named it.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The report would replace what is to be booted.
    #[error("{}: is a file of this very run, and is not to be written", path.display())]
    SameFile {
        /// As the user named it.
        path: PathBuf,
    },
    /// A list of regular expressions can't be used.
    #[error("{}", path.display())]
    List {
        /// As the user named it.
        path: PathBuf,
        /// Why not.
        #[source]
        source: lists::Error,
    },
    /// A shard without a UKI, which would pass without having booted anything.
    #[error("shard {number}/{of} has none of the {images} UKIs; give at most {images} shards")]
    EmptyShard {
        /// Which.
        number: usize,
        /// Of how many.
        of: usize,
        /// How many UKIs there are.
        images: usize,
    },
    /// The file is no UKI, or one that is refused.
    #[error("{}", path.display())]
    Uki {
        /// As the user named it.
        path: PathBuf,
        /// Why.
        #[source]
        source: uki::Error,
    },
    /// What the UKI holds can't be handed to a kernel.
    #[error("{}", path.display())]
    Handed {
        /// As the user named the UKI.
        path: PathBuf,
        /// Why.
        #[source]
        source: handed::Error,
    },
    /// A file is no addon, or one that is refused.
    #[error("{}", path.display())]
    Addon {
        /// As the user named it, or as it was found.
        path: PathBuf,
        /// Why.
        #[source]
        source: addon::Error,
    },
    /// A file is not taken as a credential.
    #[error("{}", path.display())]
    Credential {
        /// As the user named it.
        path: PathBuf,
        /// Why not.
        #[source]
        source: handed::CredentialError,
    },
    /// What a UKI would measure can't be computed.
    #[error("{}", path.display())]
    Measure {
        /// As the user named the UKI.
        path: PathBuf,
        /// Why.
        #[source]
        source: pcr11::Error,
    },
    /// Its kernel is refused.
    #[error("{}: section .linux", path.display())]
    Kernel {
        /// As the user named the UKI.
        path: PathBuf,
        /// Why.
        #[source]
        source: kernel::Error,
    },
    /// The machine asked for can't be.
    #[error("the machine asked for can't be")]
    Machine(#[source] machine::Error),
    /// The hand-off can't be made on this machine.
    #[error("{}: the kernel can't be handed over", path.display())]
    Handoff {
        /// As the user named the UKI.
        path: PathBuf,
        /// Why.
        #[source]
        source: kexec::Error,
    },
    /// The plan contradicts itself.
    #[error("{}: no plan", path.display())]
    Plan {
        /// As the user named the UKI.
        path: PathBuf,
        /// How.
        #[source]
        source: plan::Error,
    },
    /// The engine can't be used, or failed before the guest ran.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// The host refused something every process may do.
    #[error("{what}")]
    Host {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// The exit status; [`crate::exit`] has the table.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::File { .. }
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Uki { source: uki::Error::Read(_), .. }
            | Self::Handed { source: handed::Error::Read { .. }, .. }
            | Self::Addon { source: addon::Error::Read { .. }, .. }
            | Self::Measure { source: pcr11::Error::Read { .. }, .. }
            | Self::Kernel { source: kernel::Error::Read(_), .. } => exit::IO,
            Self::Uki { .. }
            | Self::Handed { .. }
            | Self::Addon { .. }
            | Self::Credential { .. }
            | Self::Measure { .. }
            | Self::Kernel { .. }
            | Self::Handoff { .. }
            | Self::Plan { .. } => exit::DATA,
            Self::Machine(_)
            | Self::SameFile { .. }
            | Self::List { .. }
            | Self::EmptyShard { .. } => exit::USAGE,
            Self::Engine(error) => error.exit_status(),
            Self::Host { .. } => exit::BUG,
        }
    }

    /// The way out, where we know it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Handoff { source: kexec::Error::NoRoom { .. }, .. } => {
                Some("give the machine more memory with --memory".into())
            }
            Self::Engine(error) => error.hint(),
            _ => None,
        }
    }
}
