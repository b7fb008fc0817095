//! A disk image, open.

use std::{
    env, fmt,
    fs::{File, TryLockError},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::PathBuf,
    sync::OnceLock,
};

use rustix::fs::{Mode, OFlags};
use thiserror::Error;

use crate::{
    child::anonymous_file,
    cli::DiskOption,
    devices::virtio::block::{Block, Overlay, Properties, Raw, SECTOR, SERIAL_LEN, Storage},
    exit,
};

/// Why a disk can't be had.
#[derive(Debug, Error)]
pub enum Error {
    /// It can't be opened.
    #[error("can't be opened{}", if *for_writing { " for writing" } else { "" })]
    Open {
        /// Whether it was to be written to.
        for_writing: bool,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is no file.
    #[error("is {found}, not a disk image")]
    NotRegular {
        /// What it is.
        found: &'static str,
    },
    /// There is nothing in it.
    #[error("is empty: a disk has at least one sector of {SECTOR} bytes")]
    Empty,
    /// It ends within a sector.
    #[error("has {found} bytes, which are not whole sectors of {SECTOR}")]
    NotSectors {
        /// How many.
        found: u64,
    },
    /// Two disks of one guest.
    #[error("is the image of another disk of this guest, and one of them can be written to")]
    Twice,
    /// Somebody else has it.
    #[error("is in use: another process {}", if *for_writing { "has it open as a disk" } else { "writes to it" })]
    InUse {
        /// Whether it was to be written to.
        for_writing: bool,
    },
}

impl Error {
    /// The exit status; [`crate::exit`] has the table.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Open { .. } => exit::IO,
            Self::NotRegular { .. } | Self::Empty | Self::NotSectors { .. } => exit::DATA,
            Self::Twice | Self::InUse { .. } => exit::USAGE,
        }
    }
}

/// A disk image that a guest is to have.
pub struct Disk {
    /// As the user named it.
    pub path: PathBuf,
    /// The image, open as it is to be used.
    pub file: File,
    /// How many bytes it has.
    pub len: u64,
    /// The guest can't write to it.
    pub read_only: bool,
    /// What the guest discards is taken out of it.
    pub discard: bool,
    /// What the guest writes does not go to it.
    pub ephemeral: bool,
    /// What the disk calls itself.
    pub serial: String,
    /// Which file it is.
    identity: (u64, u64),
    /// What the guest writes, if it is ephemeral.
    changes: OnceLock<File>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Disk {
    /// Opens the image that `option` names, beside `others`.
    pub(super) fn open(option: &DiskOption, others: &[Self]) -> Result<Self, Error> {
        let for_writing = !option.read_only && !option.ephemeral;
        let open = |source| Error::Open { for_writing, source };
        let file = File::options()
            .read(true)
            .write(for_writing)
            // Without it, opening a pipe would wait for a writer.
            .custom_flags(libc::O_NONBLOCK)
            .open(&option.path);
        let file = match file {
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                return Err(Error::NotRegular { found: "a directory" });
            }
            file => file.map_err(open)?,
        };
        let metadata = file.metadata().map_err(open)?;
        if !metadata.is_file() {
            let is_dir = metadata.is_dir();
            let found = if is_dir { "a directory" } else { "a device, a pipe or a socket" };
            return Err(Error::NotRegular { found });
        }
        let identity = (metadata.dev(), metadata.ino());
        let disk = Self {
            path: option.path.clone(),
            file,
            len: metadata.len(),
            read_only: option.read_only,
            discard: option.discard,
            ephemeral: option.ephemeral,
            serial: option.serial.clone().unwrap_or_default(),
            identity,
            changes: OnceLock::new(),
        };
        disk.check_length()?;
        let is_twice =
            |other: &Self| other.identity == identity && (for_writing || other.is_written());
        if others.iter().any(is_twice) {
            return Err(Error::Twice);
        }
        disk.lock()?;
        Ok(disk)
    }

    /// Whether the guest's writes go to the image.
    #[must_use]
    pub fn is_written(&self) -> bool {
        !self.read_only && !self.ephemeral
    }

    /// Whether `file` is the image.
    pub(super) fn is_in(&self, file: &File) -> bool {
        file.metadata().is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity)
    }

    /// The device, the disk of that number.
    pub(super) fn device(&self, number: usize) -> io::Result<Block> {
        let mut storage: Box<dyn Storage> = Box::new(Raw::new(self.file.try_clone()?, self.len));
        if self.ephemeral && !self.read_only {
            let changes = Raw::new(self.no_changes()?, self.len);
            storage = Box::new(Overlay::new(storage, Box::new(changes)));
        }
        let mut serial = [0; SERIAL_LEN];
        for (to, from) in serial.iter_mut().zip(self.serial.bytes()) {
            *to = from;
        }
        let Self { read_only, discard, .. } = *self;
        Ok(Block::new(number, storage, Properties { read_only, discard, serial }))
    }

    /// The file for what the guest writes, without what it wrote before it was started anew:
    /// made once, since a process that is confined makes none.
    fn no_changes(&self) -> io::Result<File> {
        let changes = if let Some(changes) = self.changes.get() {
            changes
        } else {
            let made = temporary_file()?;
            self.changes.get_or_init(|| made)
        };
        changes.set_len(0)?;
        changes.set_len(self.len)?;
        changes.try_clone()
    }

    fn check_length(&self) -> Result<(), Error> {
        match self.len {
            0 => Err(Error::Empty),
            len if !len.is_multiple_of(SECTOR) => Err(Error::NotSectors { found: len }),
            _ => Ok(()),
        }
    }

    /// Keeps other runs from writing to the image, and where this one does, from using it. A
    /// file system without locks has to do without.
    fn lock(&self) -> Result<(), Error> {
        let for_writing = self.is_written();
        let locked = if for_writing { self.file.try_lock() } else { self.file.try_lock_shared() };
        match locked {
            Err(TryLockError::WouldBlock) => Err(Error::InUse { for_writing }),
            _ => Ok(()),
        }
    }
}

/// A file without a name, where there is room for large ones.
fn temporary_file() -> io::Result<File> {
    let folder = env::var_os("TMPDIR").map_or_else(|| "/var/tmp".into(), PathBuf::from);
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(&folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(file.into()),
        // In memory then.
        Err(_) => anonymous_file(),
    }
}
