//! The files that a report goes to.

use std::path::Path;

use crate::{
    bench::{formats, report::Report},
    cli::ExportOptions,
    commands::{json_file::JsonFile, output_file::OutputFile},
    error::Error,
    files::Files,
};

/// Makes text of a report.
type Form = fn(&Report) -> String;

/// Where it goes, settled before anything is booted.
#[derive(Debug)]
pub(super) struct Exports {
    json: Option<JsonFile>,
    texts: Vec<(OutputFile, Form)>,
}

impl Exports {
    /// Settles that each can be written, and is none of `files`.
    pub(super) fn prepare(options: &ExportOptions, files: &Files) -> Result<Self, Error> {
        let json = options.json.as_deref();
        let forms: [(Option<&Path>, Form); 3] = [
            (options.csv.as_deref(), formats::csv),
            (options.markdown.as_deref(), formats::markdown),
            (options.html.as_deref(), formats::html),
        ];
        let text = |(path, form): (Option<&Path>, Form)| {
            path.map(|path| Ok((OutputFile::prepare(path, files)?, form)))
        };
        Ok(Self {
            json: json.map(|path| JsonFile::prepare(path, files)).transpose()?,
            texts: forms.into_iter().filter_map(text).collect::<Result<_, Error>>()?,
        })
    }

    /// Writes them all.
    pub(super) fn write(self, report: &Report) -> Result<(), Error> {
        for (file, form) in self.texts {
            file.write(|sink| sink.put(form(report).as_bytes()))?;
        }
        self.json.map_or(Ok(()), |file| file.write(report))
    }
}
