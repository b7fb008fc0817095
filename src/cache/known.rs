//! [`Identity`]: a file that has not changed since something was found out about it.
//!
//! As git's index has it: device, inode, size, and the times of the last change, which
//! nobody sets back without the second of them telling. What was changed a moment ago
//! may be changed again within the same tick of the clock, and so has no identity yet
//! (git's `Documentation/technical/racy-git.txt`). Each start of the host begins anew: a
//! crash may have left less of a file than its inode says.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, symlink},
    path::PathBuf,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use firmware_less::range::FileRange;
use sha2::{Digest as _, Sha256};

use super::Cache;
use crate::{
    digest::{Digest, hex},
    files::OpenFile,
};

/// For how long a file may not have changed to be known again: more than any file
/// system's clock is coarse.
const QUIET: Duration = Duration::from_secs(2);
/// The most that is remembered, and how many of the oldest are forgotten then.
const KNOWN_MAX: usize = 512;
const FORGOTTEN: usize = 256;
/// What the names of what is remembered end with.
const EXTENSION: &str = "known";

/// A part of a file, of which nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    name: String,
}

impl Identity {
    /// That of a part of `file` as it is now; none if it has just been changed.
    pub(super) fn of(file: &OpenFile, part: FileRange) -> Option<Self> {
        let metadata = file.file()?.metadata().ok()?;
        let changed = |seconds: i64, nanoseconds: i64| {
            let nanoseconds = u32::try_from(nanoseconds).ok()?;
            let since = Duration::new(u64::try_from(seconds).ok()?, nanoseconds);
            SystemTime::UNIX_EPOCH.checked_add(since)
        };
        let mtime = changed(metadata.mtime(), metadata.mtime_nsec())?;
        let ctime = changed(metadata.ctime(), metadata.ctime_nsec())?;
        // A clock that was set back makes it no older than it is.
        let age = SystemTime::now().duration_since(mtime.max(ctime)).ok()?;
        if age < QUIET {
            return None;
        }
        let numbers = [
            metadata.dev(),
            metadata.ino(),
            metadata.size(),
            since_epoch(mtime)?,
            since_epoch(ctime)?,
            part.offset(),
            part.len(),
        ];
        let mut hash = Sha256::new_with_prefix(this_start()?);
        for number in numbers {
            hash.update(number.to_le_bytes());
        }
        let digest: Digest = hash.finalize().into();
        Some(Self { name: format!("{}.{EXTENSION}", hex(&digest)) })
    }
}

fn since_epoch(time: SystemTime) -> Option<u64> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}

/// What tells this start of the host from others.
fn this_start() -> Option<&'static str> {
    static START: OnceLock<Option<String>> = OnceLock::new();
    let read = || fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    START.get_or_init(read).as_deref()
}

impl Cache {
    /// What is remembered of it.
    pub(super) fn known(&self, identity: &Identity) -> Option<String> {
        let said = fs::read_link(self.folder.join(&identity.name)).ok()?;
        said.into_os_string().into_string().ok()
    }

    /// Remembers `said` of it: as the target of a link, which is there whole or not at
    /// all, and takes no room. Nobody but a clock is the worse for what is not remembered.
    pub(super) fn remember(&self, identity: &Identity, said: &str) {
        drop(self.forget_the_oldest());
        drop(symlink(said, self.folder.join(&identity.name)));
    }

    fn forget_the_oldest(&self) -> io::Result<()> {
        let mut known: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION)
                && let Ok(metadata) = fs::symlink_metadata(&path)
            {
                known.push((metadata.modified()?, path));
            }
        }
        if known.len() >= KNOWN_MAX {
            known.sort();
            known.iter().take(FORGOTTEN).try_for_each(|(_, path)| fs::remove_file(path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    const WHOLE: FileRange = FileRange::first(7);

    /// A file that was last changed so long ago. Its inode is as fresh as ever.
    fn file(scratch: &tempfile::TempDir) -> OpenFile {
        let path = scratch.path().join("file");
        fs::write(&path, b"content").unwrap();
        OpenFile::open(&path).unwrap()
    }

    #[test]
    fn what_was_just_changed_has_no_identity_and_gets_one() {
        let scratch = tempfile::tempdir().unwrap();
        let file = file(&scratch);
        assert_eq!(Identity::of(&file, WHOLE), None);
        std::thread::sleep(QUIET);
        let identity = Identity::of(&file, WHOLE).expect("it is quiet");
        assert_eq!(Identity::of(&file, WHOLE), Some(identity.clone()));
        assert_ne!(Identity::of(&file, FileRange::first(6)), Some(identity.clone()));

        // As good a forgery as the system allows: same size, same time.
        let modified = file.file().unwrap().metadata().unwrap().modified().unwrap();
        let path = scratch.path().join("file");
        fs::write(&path, b"CONTENT").unwrap();
        let forged = File::options().write(true).open(&path).unwrap();
        forged.set_modified(modified).unwrap();
        assert_eq!(Identity::of(&file, WHOLE), None);
        std::thread::sleep(QUIET);
        assert_ne!(Identity::of(&file, WHOLE), Some(identity));
    }

    #[test]
    fn a_change_that_is_yet_to_come_gives_no_identity() {
        let scratch = tempfile::tempdir().unwrap();
        file(&scratch);
        let path = scratch.path().join("file");
        let writable = File::options().write(true).open(&path).unwrap();
        writable.set_modified(SystemTime::now() + Duration::from_hours(1)).unwrap();
        let file = OpenFile::open(&path).unwrap();
        std::thread::sleep(QUIET);
        assert_eq!(Identity::of(&file, WHOLE), None);
    }

    #[test]
    fn what_is_remembered_is_found_and_bounded() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = Cache::at(scratch.path().join("cache")).unwrap();
        let identity = |number| Identity { name: format!("{number}.{EXTENSION}") };
        assert_eq!(cache.known(&identity(0)), None);
        for number in 0..2 * KNOWN_MAX {
            cache.remember(&identity(number), "something");
        }
        assert!(fs::read_dir(&cache.folder).unwrap().count() <= KNOWN_MAX);
        let last = identity(2 * KNOWN_MAX - 1);
        assert_eq!(cache.known(&last).as_deref(), Some("something"));
        cache.remember(&last, "something else");
        assert_eq!(cache.known(&last).as_deref(), Some("something"), "the first stays");
    }
}
