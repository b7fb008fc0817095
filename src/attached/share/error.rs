//! Why a folder can't be shared.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{cli, exit};

/// Why a folder can't be shared.
#[derive(Debug, Error)]
pub enum Error {
    /// It is not there, or not for us.
    #[error("can't be opened")]
    Open(#[source] io::Error),
    /// It is something else.
    #[error("is no folder")]
    NotFolder,
    /// Its name is no tag.
    #[error("its own name can't be its tag")]
    Name(#[source] Option<cli::ShareError>),
    /// Two of one tag.
    #[error("the tag {tag} is another share's already")]
    Twice {
        /// Which.
        tag: String,
    },
    /// There is no virtiofsd.
    #[error("it takes virtiofsd, which is not installed")]
    NoDaemon,
    /// It was not started.
    #[error("can't start {}", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It does not serve.
    #[error("{} gave up: {said}", path.display())]
    Daemon {
        /// The program.
        path: PathBuf,
        /// The end of what it said.
        said: String,
        /// What became of the first question.
        source: io::Error,
    },
}

impl Error {
    /// The exit status; [`crate::exit`] has the table.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::NoDaemon | Self::Start { .. } | Self::Daemon { .. } => exit::NO_ENGINE,
            Self::NotFolder | Self::Name(_) | Self::Twice { .. } => exit::USAGE,
            Self::Open(_) => exit::IO,
        }
    }

    /// The way out, where we know it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoDaemon => Some(
                "install it, as with apt install virtiofsd (of Debian 12: qemu-system-common) or \
                 dnf install virtiofsd"
                    .into(),
            ),
            Self::Name(_) | Self::Twice { .. } => Some("choose one: --share DIR:TAG".into()),
            Self::Daemon { .. } if !rustix::process::geteuid().is_root() => Some(
                "the virtiofsd that came with QEMU up to 7.2 is for root alone; the one that is a \
                 package of its own is not, where user namespaces may be had"
                    .into(),
            ),
            _ => None,
        }
    }
}
