//! The files that a report goes to.

use crate::{
    bench::report::Report, cli::ExportOptions, commands::json_file::JsonFile, error::Error,
    files::Files,
};

/// Where it goes, settled before anything is booted.
#[derive(Debug)]
pub(super) struct Exports {
    json: Option<JsonFile>,
}

impl Exports {
    /// Settles that each can be written, and is none of `files`.
    pub(super) fn prepare(options: &ExportOptions, files: &Files) -> Result<Self, Error> {
        let json = options.json.as_deref();
        Ok(Self { json: json.map(|path| JsonFile::prepare(path, files)).transpose()? })
    }

    /// Writes them all.
    pub(super) fn write(self, report: &Report) -> Result<(), Error> {
        self.json.map_or(Ok(()), |file| file.write(report))
    }
}
