//! The job's files, open: the UKI first, then whatever else was named.

use std::{fs::File, path::PathBuf};

use firmware_less::plan::FileId;

/// A file opened once, read by offset only.
#[derive(Debug)]
pub struct OpenFile {
    /// As the user named it.
    pub path: PathBuf,
    /// Open for reading.
    pub file: File,
    /// Its length in bytes when it was opened.
    pub len: u64,
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

    /// The file of that number.
    #[must_use]
    pub fn get(&self, id: FileId) -> Option<&OpenFile> {
        self.files.get(id.0)
    }
}
