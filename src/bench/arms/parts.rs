//! What other programs are given to boot: the parts that ukivm itself would hand
//! over, each as a file.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Seek as _, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
};

use firmware_less::{
    kernel::{self, Payload, Vmlinux, vmlinux::KERNEL_IMAGE_SIZE},
    machine::Machine,
    plan::{Content, FileSlice},
    read_at::{ReadAt, fetch},
};

use crate::{
    bench::arm::{Error, Subject},
    child::anonymous_file,
    files::Files,
    job::{Job, machine},
};

/// The parts of a UKI as ukivm would hand them over.
#[derive(Debug)]
pub(super) struct Parts {
    job: Job,
    /// Of the machine, in MiB.
    pub(super) memory_mib: u64,
    /// Of the machine.
    pub(super) cpus: u32,
}

/// A file that a child inherits, and the path by which it opens it.
#[derive(Debug)]
pub(super) struct Inherited {
    /// The file.
    pub(super) file: OwnedFd,
    /// Its path in the child.
    pub(super) path: String,
}

impl Inherited {
    /// `file`, to be inherited.
    pub(super) fn new(file: impl Into<OwnedFd>) -> Self {
        let file = file.into();
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        Self { file, path }
    }

    /// An anonymous file with these bytes.
    pub(super) fn of_bytes(bytes: &[u8]) -> io::Result<Self> {
        let mut file = anonymous_file()?;
        file.write_all(bytes)?;
        Ok(Self::new(file))
    }
}

impl Parts {
    /// Opens and reads what `subject` names, as `ukivm run` does.
    pub(super) fn open(subject: &Subject) -> Result<Self, Error> {
        let machine = machine(subject).map_err(unusable)?;
        if !subject.system.is_empty() {
            let source =
                io::Error::other("it tells nothing of credentials, hostname, keys, password");
            return Err(Error::Host { what: "this way to boot can't be told all that", source });
        }
        Ok(Self::of(Job::open(subject, &mut |_| {}).map_err(unusable)?, &machine))
    }

    /// The parts of `job`, for such a machine.
    pub(super) fn of(job: Job, machine: &Machine) -> Self {
        Self { job, memory_mib: machine.memory() >> 20, cpus: machine.cpus() }
    }

    /// The job that they are the parts of.
    pub(super) fn into_job(self) -> Job {
        self.job
    }

    /// The job, as `ukivm run` would have it.
    pub(super) fn job(&self) -> &Job {
        &self.job
    }

    /// The command line.
    pub(super) fn cmdline(&self) -> &OsStr {
        OsStr::from_bytes(&self.job.handed.cmdline)
    }

    /// The kernel's release, by its header.
    pub(super) fn release(&self) -> Option<String> {
        let Job { files, handed, kernel, .. } = &self.job;
        let version = kernel::version(files.uki(), handed.kernel.range, kernel)?;
        Some(version.split_whitespace().next()?.to_owned())
    }

    /// The kernel as it is in the UKI.
    pub(super) fn bzimage(&self) -> Result<Inherited, Error> {
        let mut file = anonymous_file().map_err(no_file)?;
        copy(&self.job.files, self.job.handed.kernel, &mut file).map_err(no_file)?;
        Ok(Inherited::new(file))
    }

    /// The kernel unpacked, for those who can't start one that is packed.
    pub(super) fn vmlinux(&self) -> Result<Inherited, Error> {
        let Job { files, kernel, .. } = &self.job;
        let what = "the kernel can't be unpacked";
        let failed = |source: io::Error| Error::Host { what, source };
        let missing = || failed(io::Error::other("its header names no payload"));
        let payload = kernel.payload().ok_or_else(missing)?;
        let packed = fetch(files.uki(), payload.offset(), payload.len()).map_err(failed)?;
        let unpacked = Payload::read(&packed, KERNEL_IMAGE_SIZE)
            .and_then(|payload| payload.unpack(1))
            .map_err(|error| failed(io::Error::other(error)))?;
        Vmlinux::read(&unpacked).map_err(|error| failed(io::Error::other(error)))?;
        Inherited::of_bytes(&unpacked).map_err(no_file)
    }

    /// The initrd, if there is one.
    pub(super) fn initrd(&self) -> Result<Option<Inherited>, Error> {
        let len = self.job.handed.initrd_len();
        if len == 0 {
            return Ok(None);
        }
        let mut file = anonymous_file().map_err(no_file)?;
        for piece in self.job.handed.initrd_pieces() {
            let seek = file.seek(io::SeekFrom::Start(piece.offset));
            let write = seek.and_then(|_| match &piece.content {
                Content::Bytes(bytes) => file.write_all(bytes),
                Content::File(slice) => copy(&self.job.files, *slice, &mut file),
            });
            write.map_err(no_file)?;
        }
        file.set_len(len).map_err(no_file)?;
        Ok(Some(Inherited::new(file)))
    }
}

/// Copies a part of one of the job's files.
fn copy(files: &Files, slice: FileSlice, to: &mut File) -> io::Result<()> {
    const PIECE: usize = 1 << 20;
    let gone = || io::Error::other("the job does not have that file");
    let source = files.get(slice.file).ok_or_else(gone)?;
    let mut buffer = vec![0; PIECE];
    let mut at = slice.range.offset();
    while at < slice.range.end() {
        let rest = slice.range.end().saturating_sub(at).min(PIECE as u64);
        let (piece, _) = buffer.split_at_mut(firmware_less::range::index(rest));
        source.read_exact_at(at, piece)?;
        to.write_all(piece)?;
        at = at.saturating_add(rest);
    }
    Ok(())
}

fn no_file(source: io::Error) -> Error {
    Error::Host { what: "can't copy a part of the UKI", source }
}

/// What `ukivm run` would refuse, no arm is given.
fn unusable(error: crate::error::Error) -> Error {
    Error::Host { what: "the UKI can't be used", source: io::Error::other(error) }
}
