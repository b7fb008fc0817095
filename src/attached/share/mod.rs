//! Folders that are shared with the guest.

mod daemon;
mod error;

use std::{
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use self::daemon::Daemon;
pub use self::{daemon::program as virtiofsd, error::Error};
use crate::{
    cli::{ShareOption, checked_tag},
    devices::virtio::share,
};

/// A folder that a guest is to have.
#[derive(Debug)]
pub struct Share {
    /// As the user named it.
    pub path: PathBuf,
    /// By what the guest mounts it.
    pub tag: String,
    /// The guest can't write to it.
    pub read_only: bool,
    /// Without links and the like.
    folder: PathBuf,
    daemon: Mutex<Option<Daemon>>,
}

impl Share {
    /// The share that `option` names, which is none of `others`.
    pub(super) fn new(option: &ShareOption, others: &[Self]) -> Result<Self, Error> {
        let folder = option.path.canonicalize().map_err(Error::Open)?;
        if !folder.is_dir() {
            return Err(Error::NotFolder);
        }
        let own = || {
            let name = folder.file_name().and_then(|name| name.to_str());
            checked_tag(name.ok_or(Error::Name(None))?).map_err(|why| Error::Name(Some(why)))
        };
        let tag = option.tag.clone().map_or_else(own, Ok)?;
        if others.iter().any(|other| other.tag == tag) {
            return Err(Error::Twice { tag });
        }
        let (path, read_only) = (option.path.clone(), option.read_only);
        virtiofsd().ok_or(Error::NoDaemon)?;
        Ok(Self { path, tag, read_only, folder, daemon: Mutex::new(None) })
    }

    /// Has the folder served, where it is not. An `anew`, by another than before.
    pub(super) fn serve(&self, anew: bool) -> Result<(), Error> {
        let mut daemon = self.daemon();
        if daemon.is_none() || anew {
            drop(daemon.take());
            *daemon = Some(Daemon::start(&self.folder, self.read_only)?);
        }
        Ok(())
    }

    /// The device of that number, served.
    pub(super) fn device(&self, number: usize) -> io::Result<share::Share> {
        let daemon = self.daemon();
        let daemon = daemon.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        Ok(share::Share::new(number, &self.tag, Arc::clone(&daemon.front)))
    }

    /// What the daemon is connected to, for an engine that has a device of its own, and for
    /// whoever is to see that it ends.
    pub(crate) fn socket(&self) -> io::Result<OwnedFd> {
        let daemon = self.daemon();
        let daemon = daemon.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        daemon.socket.try_clone().map(OwnedFd::from)
    }

    /// The last that the daemon said.
    pub(super) fn said(&self) -> Option<String> {
        self.daemon().as_ref().and_then(Daemon::said)
    }

    fn daemon(&self) -> MutexGuard<'_, Option<Daemon>> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
