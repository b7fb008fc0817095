//! Why a network can't be had.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{cli::Publish, exit};

/// Why a network card can't be plugged in.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no passt.
    #[error("it takes passt, which is not installed")]
    NoPasst,
    /// Two guests, or two networks, or somebody else.
    #[error("--publish {port}: that port can't be had on the host")]
    Port {
        /// Which.
        port: Publish,
        /// What the kernel said.
        source: io::Error,
    },
    /// It was not started.
    #[error("can't start {}", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It ended at once.
    #[error("{} gave up: {said}", path.display())]
    Passt {
        /// The program.
        path: PathBuf,
        /// The end of what it said.
        said: String,
    },
    /// There is no such interface.
    #[error("the host has no network interface {name}")]
    NoInterface {
        /// Its name.
        name: String,
    },
    /// There is one of another kind.
    #[error("the host's {name} is no tap device")]
    NotTap {
        /// Its name.
        name: String,
    },
    /// The tap can't be used.
    #[error("the tap device {name} {}", why(source))]
    Tap {
        /// Its name.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is there, and can't be shared out.
    #[error("a second handle to it can't be had")]
    Handle(#[source] io::Error),
}

/// Whose it is, by what the kernel says to who asks. drivers/net/tun.c, `tun_set_iff`.
fn why(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::ResourceBusy => "is in use: another process has it open",
        io::ErrorKind::PermissionDenied => "belongs to another user",
        _ => "can't be opened",
    }
}

impl Error {
    /// The exit status; [`crate::exit`] has the table.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::NoPasst | Self::Start { .. } | Self::Passt { .. } => exit::NO_ENGINE,
            Self::Port { .. } | Self::NotTap { .. } => exit::USAGE,
            Self::NoInterface { .. } | Self::Tap { .. } | Self::Handle(_) => exit::IO,
        }
    }

    /// The way out, where we know it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoPasst => {
                Some("install it, as with apt install passt or dnf install passt".into())
            }
            Self::Port { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("another process listens there; `ss -lpn` says which".into())
            }
            Self::NoInterface { name } => Some(format!(
                "root makes one with: ip tuntap add dev {name} mode tap user YOU && ip link set \
                 {name} up"
            )),
            Self::Tap { name, source } if source.kind() == io::ErrorKind::PermissionDenied => Some(
                format!("root gives one to you with: ip tuntap add dev {name} mode tap user YOU"),
            ),
            _ => None,
        }
    }
}
