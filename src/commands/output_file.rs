//! A file that is to be written: settled before the work is done, and whole or
//! not there afterwards.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::new_file::NewFile;
use crate::{
    cli::STANDARD_OUTPUT,
    error::Error,
    files::{Files, OpenFile},
    sandbox::Sandbox,
};

/// Where the output goes.
#[derive(Debug)]
pub(super) struct OutputFile {
    path: PathBuf,
    target: Target,
}

#[derive(Debug)]
enum Target {
    StandardOutput,
    /// A link, a pipe or a device: written as it is, never replaced.
    InPlace(File),
    /// A plain file: there when all is written.
    New(NewFile),
}

impl OutputFile {
    /// Settles that `path` can be written, and is none of `files`. What an earlier
    /// run left there is gone from now on.
    pub(super) fn prepare(path: &Path, files: &Files) -> Result<Self, Error> {
        let failed = |source| Error::Write { path: path.to_owned(), source };
        if path == Path::new(STANDARD_OUTPUT) {
            return Ok(Self { path: path.to_owned(), target: Target::StandardOutput });
        }
        if is_one_of(path, files) {
            return Err(Error::SameFile { path: path.to_owned() });
        }
        let target = match fs::symlink_metadata(path) {
            Ok(metadata) if !metadata.is_file() => Target::InPlace(open(path).map_err(failed)?),
            _ => Target::New(NewFile::prepare(path).map_err(failed)?),
        };
        Ok(Self { path: path.to_owned(), target })
    }

    /// As it was named.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Has `sandbox` let it be written.
    pub(super) fn allowed_by(&self, sandbox: Sandbox) -> Sandbox {
        match &self.target {
            Target::New(file) => file.allowed_by(sandbox),
            // It is open.
            Target::StandardOutput | Target::InPlace(_) => sandbox,
        }
    }

    /// Has `give` write it, piece by piece. What it wrote is gone again where it
    /// fails, unless the target is none that could be replaced.
    pub(super) fn write(
        self,
        give: impl FnOnce(&mut Sink<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let failed = |source| Error::Write { path: self.path.clone(), source };
        let into = |out: &mut dyn Write, is_stdout| {
            let mut sink = Sink { out, path: &self.path, is_stdout, is_closed: false };
            give(&mut sink).and_then(|()| sink.flush())
        };
        match &self.target {
            Target::StandardOutput => into(&mut io::stdout().lock(), true),
            Target::InPlace(file) => into(&mut &*file, false),
            Target::New(file) => file.write(|out| into(out, false), failed),
        }
    }
}

/// What is being written.
pub(super) struct Sink<'a> {
    out: &'a mut dyn Write,
    path: &'a Path,
    is_stdout: bool,
    is_closed: bool,
}

impl Sink<'_> {
    /// Writes `bytes`. A reader of standard output that went away is no error.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.is_closed {
            return Ok(());
        }
        let written = self.out.write_all(bytes);
        self.judge(written)
    }

    fn flush(&mut self) -> Result<(), Error> {
        let flushed = self.out.flush();
        self.judge(flushed)
    }

    fn judge(&mut self, result: io::Result<()>) -> Result<(), Error> {
        match result {
            Err(error) if self.is_stdout && error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            Err(source) if self.is_stdout => {
                Err(Error::Write { path: "standard output".into(), source })
            }
            Err(source) => Err(Error::Write { path: self.path.to_owned(), source }),
            Ok(()) => Ok(()),
        }
    }
}

/// Whether `path` leads to a file of the job.
fn is_one_of(path: &Path, files: &Files) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let Ok(target) = fs::metadata(path).map(identity) else { return false };
    // What is open may be a copy of what is there.
    let own = |open: &OpenFile| {
        let itself = open.file().and_then(|file| file.metadata().ok());
        itself.into_iter().chain(fs::metadata(&open.path))
    };
    files.iter().flat_map(own).any(|own| identity(own) == target)
}

/// Opens what is there. A pipe that nobody reads is an error, not a wait.
fn open(path: &Path) -> io::Result<File> {
    let file =
        File::options().write(true).truncate(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    rustix::fs::fcntl_setfl(&file, rustix::fs::OFlags::empty())?;
    Ok(file)
}
