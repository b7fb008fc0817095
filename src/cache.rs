//! What was unpacked, kept so that the next boot of the same need not unpack it.
//!
//! A file for each in `$XDG_CACHE_HOME/ukivm/unpacked`, named for the SHA-256 of what
//! it was unpacked from: nothing that a UKI's author could choose makes one kernel, or
//! initrd, pass for another. Behind its bytes is a seal with their CRC, since disks
//! and crashes are no attackers; who can write to the folder is the user. A file
//! appears under its name whole or not at all, without a name before that, so that
//! runs side by side and a kill at any time leave nothing that is not sound.
//!
//! To read all of it twice on each boot, once for a digest and once for a CRC, took as
//! long as to load it. So both are remembered for files that have not changed since
//! (`known`).

mod known;
mod seal;

use std::{
    env,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use firmware_less::range::FileRange;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use sha2::{Digest as _, Sha256};

use self::{
    known::Identity,
    seal::{Behind, Seal},
};
use crate::{
    digest::{Digest, hex},
    files::{OpenFile, Source, write_sparse},
};

/// The most bytes that are kept; what was used last stays.
const BYTES_MAX: u64 = 1 << 30;
/// What of a file's mode is for others than its user.
const OTHERS: u32 = 0o077;
/// How often what is used is touched: each time it has to be checked again.
const TOUCHED_EVERY: Duration = Duration::from_hours(1);

/// Where it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
}

/// What something unpacked is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A kernel out of its bzImage.
    Kernel,
    /// A part of an initrd that others follow.
    Initrd,
    /// The last part of an initrd: to the kernel it may mean something else.
    LastOfInitrd,
}

/// What something unpacked is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// What it is.
    pub(crate) kind: Kind,
    /// Of what it was unpacked from.
    pub(crate) digest: Digest,
}

impl Key {
    /// Of what `bytes` unpack to.
    pub(crate) fn of_bytes(kind: Kind, bytes: &[u8]) -> Self {
        Self { kind, digest: Sha256::digest(bytes).into() }
    }

    /// Of what that part of `file` unpacks to, by its digest.
    fn of_file(kind: Kind, file: &OpenFile, part: FileRange) -> io::Result<Self> {
        let mut hash = Sha256::new();
        file.each_chunk(
            part,
            |error| error,
            |chunk| {
                hash.update(chunk);
                Ok(())
            },
        )?;
        Ok(Self { kind, digest: hash.finalize().into() })
    }

    fn file_name(&self) -> String {
        let extension = match self.kind {
            Kind::Kernel => "vmlinux",
            Kind::Initrd => "initrd",
            Kind::LastOfInitrd => "last.initrd",
        };
        format!("{}.{extension}", hex(&self.digest))
    }
}

/// What the cache has.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is not there.
    Nothing,
    /// What is there is not what was kept.
    Damaged,
    /// It is there.
    Unpacked(OpenFile),
}

impl Cache {
    /// The user's own, which is made if it is not there; `None` for a user without a
    /// home.
    pub(crate) fn of_user() -> io::Result<Option<Self>> {
        let absolute =
            |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        base.map(|base| Self::at(base.join("ukivm/unpacked"))).transpose()
    }

    /// The one in `folder`, which nobody else may read or write.
    pub(crate) fn at(folder: PathBuf) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let metadata = fs::symlink_metadata(&folder)?;
        let is_ours = metadata.is_dir()
            && metadata.uid() == rustix::process::geteuid().as_raw()
            && metadata.mode() & OTHERS == 0;
        if !is_ours {
            let message = format!(
                "{} is not a folder that only its user can use (chmod 700 mends it)",
                folder.display()
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        Ok(Self { folder })
    }

    /// The key of what that part of `file` unpacks to: as it was, if nothing has changed.
    pub(crate) fn key(&self, kind: Kind, file: &OpenFile, part: FileRange) -> io::Result<Key> {
        let identity = Identity::of(file, part);
        let known = identity.as_ref().and_then(|identity| self.known(identity));
        if let Some(digest) = known.and_then(|text| digest(&text)) {
            return Ok(Key { kind, digest });
        }
        let key = Key::of_file(kind, file, part)?;
        if let Some(identity) = &identity
            && Identity::of(file, part).as_ref() == Some(identity)
        {
            self.remember(identity, &hex(&key.digest));
        }
        Ok(key)
    }

    /// Looks for what is known by that key.
    pub(crate) fn find(&self, key: &Key) -> io::Result<Found> {
        let path = self.path(key);
        let file = File::options().read(true).custom_flags(libc::O_NOFOLLOW).open(&path);
        let file = match file {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            file => file?,
        };
        let seal = match Seal::read(&file)? {
            Behind::Seal(seal) => seal,
            Behind::Former => return Ok(Found::Nothing),
            Behind::Damaged => return Ok(Found::Damaged),
        };
        let mut open = OpenFile { path, source: Source::File(file), len: seal.len, data: None };
        if !self.is_sound(&open, &seal)? {
            return Ok(Found::Damaged);
        }
        open.data = seal.data;
        if let Some(file) = open.file()
            && is_older(file, TOUCHED_EVERY)?
        {
            touch(file);
        }
        Ok(Found::Unpacked(open))
    }

    /// Whether it is what was kept: by its check sum, or because nothing has changed
    /// since it was by that.
    fn is_sound(&self, open: &OpenFile, seal: &Seal) -> io::Result<bool> {
        const SOUND: &str = "sound";
        let whole = FileRange::first(seal.len);
        let identity = Identity::of(open, whole);
        let known = identity.as_ref().and_then(|identity| self.known(identity));
        if known.is_some_and(|known| known == SOUND) {
            return Ok(true);
        }
        let is_sound = seal.holds(open)?;
        if let Some(identity) = identity.filter(|_| is_sound)
            && Identity::of(open, whole).as_ref() == Some(&identity)
        {
            self.remember(&identity, SOUND);
        }
        Ok(is_sound)
    }

    /// Keeps what is known by that key, in the place of what was damaged too, and gives
    /// it as [`Cache::find`] would.
    pub(crate) fn keep(&self, key: &Key, unpacked: &[u8]) -> io::Result<OpenFile> {
        let path = self.path(key);
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = File::from(rustix::fs::open(&self.folder, flags, mode)?);
        let data = write_sparse(&file, unpacked)?;
        let seal = Seal::write(&file, unpacked, &data)?;
        self.make_room(&path, unpacked.len() as u64)?;
        match publish(&file, &path) {
            // Damaged, or another run was faster: ours is as good.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                match publish(&file, &path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    published => published?,
                }
            }
            published => published?,
        }
        Ok(OpenFile { path, source: Source::File(file), len: seal.len, data: seal.data })
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(key.file_name())
    }

    /// Removes what was used longest ago, until there is room for so many
    /// bytes at `path`.
    fn make_room(&self, path: &Path, len: u64) -> io::Result<()> {
        let mut kept: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // One that has gone meanwhile takes no room.
            if let Ok(metadata) = entry.metadata()
                && entry.path() != path
            {
                kept.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        kept.sort();
        let mut total = kept.iter().fold(len, |total, (_, len, _)| total.saturating_add(*len));
        for (_, len, path) in kept {
            if total <= BYTES_MAX {
                break;
            }
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => total = total.saturating_sub(len),
            }
        }
        Ok(())
    }
}

/// Whether it was last changed longer ago than that.
fn is_older(file: &File, than: Duration) -> io::Result<bool> {
    let modified = file.metadata()?.modified()?;
    Ok(SystemTime::now().duration_since(modified).is_ok_and(|age| age > than))
}

/// Only so that what was used last stays.
fn touch(file: &File) {
    let used = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
    };
    let _ = rustix::fs::futimens(file, &used);
}

/// The digest that is written so.
fn digest(text: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    if pairs.len() != digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// Gives a file without a name that one. open(2), `O_TMPFILE`.
fn publish(file: &File, path: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(test)]
mod tests;
