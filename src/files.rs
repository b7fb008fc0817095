//! The job's files, open: the UKI first, then whatever else was named.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use firmware_less::{
    plan::FileId,
    range::{FileRange, index},
    read_at::ReadAt,
};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use thiserror::Error;

/// How much is read at once.
const CHUNK: usize = 1 << 18;
/// What is left out where it is zero: another read costs as much as reading a few pages.
const BLOCK: usize = 1 << 14;

/// Why a file can't be used.
#[derive(Debug, Error)]
pub enum Error {
    /// It can't be opened.
    #[error("can't be opened")]
    Open {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// It is a directory, a device, a socket or a pipe.
    #[error("is {found}, not a regular file")]
    NotRegular {
        /// What it is.
        found: &'static str,
    },
    /// Its length is not known before it is read, and so not which bytes are whose.
    #[error("has content, but says that it has 0 bytes, as files in /proc do: give a copy of it")]
    NoLength,
}

/// A file became shorter while it was in use.
#[derive(Debug, Error)]
#[error("it became shorter while it was read: it has {now:#x} bytes, {end:#x} were to be read")]
struct Shrunk {
    end: u64,
    now: u64,
}

/// Where the bytes of a file are.
#[derive(Debug)]
pub enum Source {
    /// In a file, open for reading.
    File(File),
    /// At hand: what was unpacked, and is kept nowhere.
    Bytes(Vec<u8>),
}

/// A file opened once, read by offset only.
#[derive(Debug)]
pub struct OpenFile {
    /// As the user named it.
    pub path: PathBuf,
    /// Where its bytes are.
    pub source: Source,
    /// Its length in bytes when it was opened.
    pub len: u64,
    /// What of it may be other than zero, ascending, if that is known: no more of it need be
    /// read to where all is zero.
    pub data: Option<Vec<FileRange>>,
}

impl OpenFile {
    /// Opens the regular file at `path`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        // Without O_NONBLOCK, opening a pipe would wait for a writer.
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(|source| Error::Open { source })?;
        let metadata = file.metadata().map_err(|source| Error::Open { source })?;
        if !metadata.is_file() {
            return Err(Error::NotRegular { found: kind(metadata.file_type()) });
        }
        if metadata.len() == 0 && file.read_at(&mut [0], 0).is_ok_and(|read| read > 0) {
            return Err(Error::NoLength);
        }
        Ok(Self {
            path: path.to_owned(),
            source: Source::File(file),
            len: metadata.len(),
            data: None,
        })
    }
}

impl OpenFile {
    /// Shows the bytes of `range` to `see`, in order. What reading fails of is first put
    /// into the caller's words.
    pub fn each_chunk<E>(
        &self,
        range: FileRange,
        failed: impl Fn(io::Error) -> E,
        mut see: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buffer = vec![0; CHUNK.min(index(range.len()))];
        let mut rest = range;
        while !rest.is_empty() {
            let step = rest.len().min(buffer.len() as u64);
            let chunk = buffer.get_mut(..index(step)).unwrap_or_default();
            self.read_exact_at(rest.offset(), chunk).map_err(&failed)?;
            see(chunk)?;
            rest = rest.skip(step).unwrap_or(FileRange::EMPTY);
        }
        Ok(())
    }

    /// The file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&File> {
        match &self.source {
            Source::File(file) => Some(file),
            Source::Bytes(_) => None,
        }
    }

    /// How many zeros there are from `offset`, and how many bytes of anything after them; of
    /// no more than `len` bytes in all.
    #[must_use]
    pub fn zeros_and_data(&self, offset: u64, len: u64) -> (u64, u64) {
        let Some(data) = &self.data else { return (0, len) };
        let end = offset.saturating_add(len);
        let next = data.iter().find(|run| run.end() > offset).filter(|run| run.offset() < end);
        next.map_or((len, 0), |run| {
            let start = run.offset().max(offset);
            (start.saturating_sub(offset), run.end().min(end).saturating_sub(start))
        })
    }

    /// A file of these bytes that is nowhere but in memory, by that name.
    #[must_use]
    pub fn in_memory(name: &str, bytes: Vec<u8>) -> Self {
        let (len, data) = (bytes.len() as u64, Some(runs(&bytes)));
        Self { path: name.into(), source: Source::Bytes(bytes), len, data }
    }

    /// A copy in memory, of the bytes that are there now and that nothing can change
    /// afterwards, under the same name.
    pub fn private_copy(&self) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut copy = File::from(memfd_create("ukivm-private", flags)?);
        let len = match &self.source {
            Source::File(file) => io::copy(&mut { file }.take(self.len), &mut copy)?,
            Source::Bytes(bytes) => io::copy(&mut bytes.as_slice(), &mut copy)?,
        };
        fcntl_add_seals(
            &copy,
            SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
        )?;
        Ok(Self { path: self.path.clone(), source: Source::File(copy), len, data: None })
    }
}

/// Writes `bytes` to `file`, which is empty, but for what of them is zero, and gives what was
/// written: holes need not be kept, nor be read.
pub(crate) fn write_sparse(file: &File, bytes: &[u8]) -> io::Result<Vec<FileRange>> {
    file.set_len(bytes.len() as u64)?;
    let data = runs(bytes);
    for run in &data {
        let part = bytes.get(index(run.offset())..index(run.end())).unwrap_or_default();
        file.write_all_at(part, run.offset())?;
    }
    Ok(data)
}

/// What of `bytes` is other than zero, by blocks.
fn runs(bytes: &[u8]) -> Vec<FileRange> {
    // In memory, not in the program: there it would be 16 KiB of zeros.
    let zeros = vec![0; BLOCK];
    let mut data: Vec<FileRange> = Vec::new();
    for (block, offset) in bytes.chunks(BLOCK).zip((0_u64..).step_by(BLOCK)) {
        if zeros.starts_with(block) {
            continue;
        }
        let len = <[u8]>::len(block) as u64;
        let last = data.pop_if(|last| last.end() == offset);
        let (start, before) = last.map_or((offset, 0), |last| (last.offset(), last.len()));
        data.extend(FileRange::new(start, before.saturating_add(len)));
    }
    data
}

fn kind(file_type: std::fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;
    if file_type.is_dir() {
        "a directory"
    } else if file_type.is_block_device() || file_type.is_char_device() {
        "a device"
    } else if file_type.is_fifo() {
        "a pipe"
    } else {
        "a socket"
    }
}

impl ReadAt for OpenFile {
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let file = match &self.source {
            Source::File(file) => file,
            Source::Bytes(bytes) => return bytes.read_exact_at(offset, buf),
        };
        file.read_exact_at(buf, offset).map_err(|error| match error.kind() {
            // Nobody reads past the length that it had when it was opened.
            io::ErrorKind::UnexpectedEof => {
                let end = offset.saturating_add(buf.len() as u64);
                let now = file.metadata().map_or(0, |metadata| metadata.len());
                io::Error::new(error.kind(), Shrunk { end, now })
            }
            _ => error,
        })
    }

    fn len(&self) -> u64 {
        self.len
    }
}

/// Every file of the job, by [`FileId`].
#[derive(Debug, Default)]
pub struct Files {
    files: Vec<OpenFile>,
}

impl Files {
    /// Adds a file and says by which number a plan refers to it.
    pub fn push(&mut self, file: OpenFile) -> FileId {
        self.files.push(file);
        FileId(self.files.len().saturating_sub(1))
    }

    /// Adds all of `others` at the end.
    pub fn append(&mut self, mut others: Self) {
        self.files.append(&mut others.files);
    }

    /// The number of the file that is added next.
    #[must_use]
    pub fn next_id(&self) -> FileId {
        FileId(self.files.len())
    }

    /// The UKI.
    ///
    /// # Panics
    ///
    /// Before any file was added.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a job opens its UKI before anything else")]
    pub fn uki(&self) -> &OpenFile {
        self.get(FileId::UKI).expect("the UKI is the first file of every job")
    }

    /// Every file, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &OpenFile> {
        self.files.iter()
    }

    /// The file of that number.
    #[must_use]
    pub fn get(&self, id: FileId) -> Option<&OpenFile> {
        self.files.get(id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_zero_is_a_hole_and_reads_as_it_was() {
        let block = BLOCK as u64;
        let mut bytes = vec![0; 9 * BLOCK + 5];
        bytes[BLOCK - 1] = 1;
        bytes[5 * BLOCK] = 2;
        let disk = tempfile::tempfile().unwrap();
        let data = Some(write_sparse(&disk, &bytes).unwrap());
        let source = Source::File(disk);
        let file = OpenFile { path: "sparse".into(), source, len: bytes.len() as u64, data };
        assert_eq!(OpenFile::in_memory("the same", bytes.clone()).data, file.data);
        let mut read = vec![7; bytes.len()];
        file.read_exact_at(0, &mut read).unwrap();
        assert!(read == bytes);
        let from = |offset| file.zeros_and_data(offset, file.len - offset);
        assert_eq!(from(0), (0, block));
        assert_eq!(from(block), (4 * block, block));
        assert_eq!(from(6 * block), (3 * block + 5, 0));
        assert_eq!(file.zeros_and_data(2 * block, 7), (7, 0));
        assert_eq!(file.zeros_and_data(4 * block, block + 7), (block, 7));
    }

    #[test]
    fn a_file_that_became_shorter_is_said_to_have() {
        let path = std::env::temp_dir().join(format!("ukivm-shrunk-{}", std::process::id()));
        std::fs::write(&path, [0; 0x200]).unwrap();
        let open = OpenFile::open(&path).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(0x80).unwrap();
        std::fs::remove_file(&path).unwrap();
        let error = open.read_exact_at(0x40, &mut [0; 0x100]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it became shorter while it was read: it has 0x80 bytes, 0x140 were to be read"
        );
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
