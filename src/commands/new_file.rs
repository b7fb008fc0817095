//! A plain file that is there when it is whole, and not before.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{Access, AtFlags, CWD, access, linkat};

use crate::sandbox::Sandbox;

/// The file, and how it gets its name.
#[derive(Debug)]
pub(super) struct NewFile {
    path: PathBuf,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// A file that has no name yet: one can be given to it from within the sandbox, where
    /// nothing that has a name already can be touched.
    Nameless(File),
    /// A file beside it, where the file system has none without a name. It is not made yet.
    Part(PathBuf),
}

impl NewFile {
    /// Settles that a file can be made at `path`. What is there is gone from now on, and
    /// nothing is left where the run is killed.
    pub(super) fn prepare(path: &Path) -> io::Result<Self> {
        let folder = folder(path);
        access(folder, Access::WRITE_OK | Access::EXEC_OK)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let nameless = File::options().write(true).custom_flags(libc::O_TMPFILE).open(folder);
        let content = if let Ok(file) = nameless {
            Content::Nameless(file)
        } else {
            let part = format!("{}.part", std::process::id());
            Content::Part(path.with_added_extension(part))
        };
        Ok(Self { path: path.to_owned(), content })
    }

    /// Where it is to be.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Has `sandbox` let it get its name.
    pub(super) fn allowed_by(&self, sandbox: Sandbox) -> Sandbox {
        match &self.content {
            Content::Nameless(_) => sandbox.naming_in(folder(&self.path)),
            Content::Part(_) => sandbox.writing_in(folder(&self.path)),
        }
    }

    /// Has `give` write it, and gives it its name. Errors of the file become the caller's by
    /// `failed`.
    pub(super) fn write<E>(
        &self,
        give: impl FnOnce(&mut dyn Write) -> Result<(), E>,
        failed: impl Fn(io::Error) -> E,
    ) -> Result<(), E> {
        match &self.content {
            Content::Nameless(file) => {
                give(&mut &*file)?;
                // open(2), "O_TMPFILE". By its descriptor alone, only root may do it.
                let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
                linkat(CWD, nameless, CWD, &self.path, AtFlags::SYMLINK_FOLLOW)
                    .map_err(|error| failed(error.into()))
            }
            Content::Part(part) => {
                let mut file = File::create(part).map_err(&failed)?;
                give(&mut file)?;
                fs::rename(part, &self.path).map_err(&failed)
            }
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Content::Part(part) = &self.content {
            // It has its final name, was never made, or nobody wants it.
            fs::remove_file(part).ok();
        }
    }
}

/// The folder of the file at `path`.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// What is in `folder`, and what is in that.
    fn files(folder: &Path) -> Vec<(String, String)> {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(path).expect("text"))
        });
        entries.collect()
    }

    /// As it is prepared, and as it is where no file is without a name.
    fn both(path: &Path) -> [NewFile; 2] {
        let part = path.with_added_extension("part");
        [
            NewFile::prepare(path).expect("a folder that can be written"),
            NewFile { path: path.to_owned(), content: Content::Part(part) },
        ]
    }

    #[test]
    fn a_new_file_is_there_when_it_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("report");
        for file in both(&path) {
            let give = |out: &mut dyn Write| {
                assert!(!path.exists(), "nothing is written yet");
                out.write_all(b"whole")
            };
            file.write(give, |error| error).expect("it can be written");
            drop(file);
            assert_eq!(files(folder.path()), [("report".to_owned(), "whole".to_owned())]);
            fs::remove_file(&path).expect("it is there");
        }
    }

    #[test]
    fn a_new_file_that_can_not_be_written_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("report");
        for file in both(&path) {
            let give = |out: &mut dyn Write| {
                out.write_all(b"half")?;
                Err(io::Error::other("no more"))
            };
            let error = file.write(give, |error| error).expect_err("it is not whole");
            assert_eq!(error.to_string(), "no more");
            drop(file);
            assert_eq!(files(folder.path()), []);
        }
    }

    #[test]
    fn what_is_at_its_place_is_gone_from_the_beginning() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("report");
        fs::write(&path, "of an earlier run").expect("a file");
        drop(NewFile::prepare(&path).expect("a folder that can be written"));
        assert_eq!(files(folder.path()), []);
    }

    #[test]
    fn both_kinds_are_readable_by_whom_the_umask_lets() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("report");
        let modes = both(&path).map(|file| {
            file.write(|out| out.write_all(b"x"), |error| error).expect("it can be written");
            let mode = fs::metadata(&path).expect("it is there").permissions().mode();
            fs::remove_file(&path).expect("it is there");
            mode
        });
        assert_eq!(modes[0], modes[1]);
    }
}
