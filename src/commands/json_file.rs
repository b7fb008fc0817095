//! A file that is to hold JSON.

use std::path::Path;

use serde::Serialize;

use super::output_file::OutputFile;
use crate::{error::Error, files::Files};

/// Where the JSON goes.
#[derive(Debug)]
pub(super) struct JsonFile(OutputFile);

impl JsonFile {
    /// Settles that `path` can be written, and is none of `files`. What an earlier
    /// run left there is gone from now on.
    pub(super) fn prepare(path: &Path, files: &Files) -> Result<Self, Error> {
        OutputFile::prepare(path, files).map(Self)
    }

    /// Writes `value`.
    pub(super) fn write(self, value: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Error::Write {
            path: self.0.path().to_owned(),
            source: error.into(),
        })?;
        self.0.write(|sink| sink.put((text + "\n").as_bytes()))
    }
}
