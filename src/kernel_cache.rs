//! Unpacked kernels, kept so that the next boot of the same one need not unpack it.
//!
//! A file for each in `$XDG_CACHE_HOME/ukivm/kernels`, named for the SHA-256 of the
//! `.linux` that it was unpacked from: nothing that a UKI's author could choose makes
//! one kernel pass for another. Behind its bytes is a seal with their CRC, since disks
//! and crashes are no attackers; who can write to the folder is the user. A file
//! appears under its name whole or not at all, without a name before that, so that
//! runs side by side and a kill at any time leave nothing that is not sound.

use std::{
    env,
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use firmware_less::{
    plan::FileSlice,
    range::{FileRange, index},
    read_at::ReadAt as _,
};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use sha2::{Digest as _, Sha256};

use crate::{
    digest::{Digest, hex},
    files::OpenFile,
};

/// The most bytes that are kept; the kernels used last stay.
const BYTES_MAX: u64 = 512 << 20;
/// What of a file's mode is for others than its user.
const OTHERS: u32 = 0o077;
/// How much is read at once.
const CHUNK: usize = 1 << 18;

/// What a seal begins with: which form the file has.
const MAGIC: [u8; 16] = *b"ukivm-unpacked-1";
/// A seal: the magic, the CRC-32 of all that comes before, and zeros.
const SEAL_LEN: usize = 32;

/// Where unpacked kernels are kept.
#[derive(Clone, Debug)]
pub(crate) struct KernelCache {
    folder: PathBuf,
}

/// What the cache has of a kernel.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is not there.
    Nothing,
    /// What is there is not what was kept.
    Damaged,
    /// The unpacked kernel.
    Kernel(OpenFile),
}

impl KernelCache {
    /// The user's own, which is made if it is not there; `None` for a user without a
    /// home.
    pub(crate) fn of_user() -> io::Result<Option<Self>> {
        let absolute =
            |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        base.map(|base| Self::at(base.join("ukivm/kernels"))).transpose()
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

    /// Looks for the kernel of that key.
    pub(crate) fn find(&self, key: &Digest) -> io::Result<Found> {
        let path = self.path(key);
        let file = File::options().read(true).custom_flags(libc::O_NOFOLLOW).open(&path);
        let file = match file {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            file => file?,
        };
        let whole = file.metadata()?.len();
        let Some(len) = whole.checked_sub(SEAL_LEN as u64) else { return Ok(Found::Damaged) };
        let mut seal = [0; SEAL_LEN];
        file.read_exact_at(&mut seal, len)?;
        let open = OpenFile { path, file, len };
        if seal != self::seal(crc_of(&open)?) {
            return Ok(Found::Damaged);
        }
        let used = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        };
        // Only so that the kernels used last stay.
        let _ = rustix::fs::futimens(&open.file, &used);
        Ok(Found::Kernel(open))
    }

    /// Keeps the kernel of that key, in the place of one that was damaged too, and gives
    /// it as [`KernelCache::find`] would.
    pub(crate) fn keep(&self, key: &Digest, kernel: &[u8]) -> io::Result<OpenFile> {
        let path = self.path(key);
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut file = File::from(rustix::fs::open(&self.folder, flags, mode)?);
        file.write_all(kernel)?;
        file.write_all(&seal(crc32fast::hash(kernel)))?;
        self.make_room(&path, kernel.len() as u64)?;
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
        Ok(OpenFile { path, file, len: kernel.len() as u64 })
    }

    fn path(&self, key: &Digest) -> PathBuf {
        self.folder.join(format!("{}.vmlinux", hex(key)))
    }

    /// Removes the kernels that were used longest ago, until there is room for so many
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

/// Gives a file without a name that one. open(2), `O_TMPFILE`.
fn publish(file: &File, path: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

fn seal(crc: u32) -> [u8; SEAL_LEN] {
    let mut seal = [0; SEAL_LEN];
    let parts = MAGIC.iter().chain(&crc.to_le_bytes()).copied().collect::<Vec<_>>();
    for (to, from) in seal.iter_mut().zip(parts) {
        *to = from;
    }
    seal
}

fn crc_of(file: &OpenFile) -> io::Result<u32> {
    let mut crc = crc32fast::Hasher::new();
    each_chunk(file, FileRange::first(file.len), |chunk| crc.update(chunk))?;
    Ok(crc.finalize())
}

/// What the kernel in that part of `file` is known by.
pub(crate) fn key(file: &OpenFile, kernel: FileSlice) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    each_chunk(file, kernel.range, |chunk| hash.update(chunk))?;
    Ok(hash.finalize().into())
}

fn each_chunk(file: &OpenFile, range: FileRange, mut see: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK.min(index(range.len()))];
    let mut rest = range;
    while !rest.is_empty() {
        let step = rest.len().min(buffer.len() as u64);
        let chunk = buffer.get_mut(..index(step)).unwrap_or_default();
        file.read_exact_at(rest.offset(), chunk)?;
        see(chunk);
        rest = rest.skip(step).unwrap_or(FileRange::EMPTY);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, thread};

    use super::*;

    const KEY: Digest = [0xab; 32];

    fn cache() -> (tempfile::TempDir, KernelCache) {
        let scratch = tempfile::tempdir().unwrap();
        let cache = KernelCache::at(scratch.path().join("ukivm/kernels")).unwrap();
        (scratch, cache)
    }

    fn kernel() -> Vec<u8> {
        (0..251).cycle().take(CHUNK + 77).collect()
    }

    fn bytes(file: &OpenFile) -> Vec<u8> {
        firmware_less::read_at::fetch(file, 0, file.len).unwrap()
    }

    fn found(cache: &KernelCache) -> Vec<u8> {
        match cache.find(&KEY).unwrap() {
            Found::Kernel(file) => bytes(&file),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_kept_is_found_and_nothing_else() {
        let (_scratch, cache) = cache();
        assert!(matches!(cache.find(&KEY).unwrap(), Found::Nothing));
        assert_eq!(bytes(&cache.keep(&KEY, &kernel()).unwrap()), kernel());
        assert_eq!(found(&cache), kernel());
        assert!(matches!(cache.find(&[1; 32]).unwrap(), Found::Nothing));
    }

    #[test]
    fn a_flipped_byte_and_a_cut_are_noticed_wherever_they_are_and_mended() {
        let (_scratch, cache) = cache();
        cache.keep(&KEY, &kernel()).unwrap();
        let path = cache.path(&KEY);
        let sound = fs::read(&path).unwrap();
        // Past the CRC the seal says nothing, and must be zero all the same.
        for at in
            [0, 1, CHUNK, sound.len() - 33, sound.len() - 32, sound.len() - 16, sound.len() - 1]
        {
            let mut flipped = sound.clone();
            flipped[at] ^= 0x10;
            fs::write(&path, flipped).unwrap();
            assert!(matches!(cache.find(&KEY).unwrap(), Found::Damaged), "{at}");
        }
        for len in [0, 31, 32, sound.len() - 1] {
            fs::write(&path, &sound[..len]).unwrap();
            assert!(matches!(cache.find(&KEY).unwrap(), Found::Damaged), "{len}");
        }
        cache.keep(&KEY, &kernel()).unwrap();
        assert_eq!(found(&cache), kernel());
    }

    #[test]
    fn only_its_user_can_read_it() {
        let (scratch, cache) = cache();
        cache.keep(&KEY, &kernel()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&cache.path(&KEY)), 0o600);
        assert_eq!(mode(&cache.folder), 0o700);
        assert_eq!(mode(&scratch.path().join("ukivm")), 0o700);
        fs::set_permissions(&cache.folder, fs::Permissions::from_mode(0o755)).unwrap();
        let error = KernelCache::at(cache.folder).unwrap_err().to_string();
        assert!(error.contains("is not a folder that only its user can use"), "{error}");
    }

    #[test]
    fn the_kernels_used_longest_ago_make_room() {
        let (_scratch, cache) = cache();
        // Sparse: they say that they are large and take no room.
        let large = |name: &str, age: u64| {
            let file = File::create(cache.folder.join(name)).unwrap();
            file.set_len(BYTES_MAX / 2).unwrap();
            let then = SystemTime::now() - std::time::Duration::from_secs(age);
            file.set_modified(then).unwrap();
        };
        large("oldest", 300);
        large("old", 200);
        cache.keep(&KEY, &kernel()).unwrap();
        let mut names: Vec<_> = fs::read_dir(&cache.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, [format!("{}.vmlinux", hex(&KEY)), "old".to_owned()]);
    }

    #[test]
    fn many_at_once_leave_one_sound_file_and_nothing_else() {
        let (_scratch, cache) = cache();
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        cache.keep(&KEY, &kernel()).unwrap();
                        if let Found::Kernel(file) = cache.find(&KEY).unwrap() {
                            assert_eq!(bytes(&file), kernel());
                        }
                    }
                });
            }
        });
        assert_eq!(found(&cache), kernel());
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 1);
    }
}
