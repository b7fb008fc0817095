//! An earlier report, and what has become worse since.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use crate::{
    bench::{
        formats,
        judge::against,
        report::{Report, SCHEMA},
    },
    commands::print,
    error::Error,
    exit,
    messages::say,
};

/// A report of `--export-json`.
#[derive(Debug)]
pub(super) struct Earlier {
    path: PathBuf,
    pub(super) report: Report,
}

impl Earlier {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        let wrong = |what: String| Error::BenchReport { path: path.to_owned(), what };
        let text = fs::read(path).map_err(failed)?;
        let value: serde_json::Value =
            serde_json::from_slice(&text).map_err(|error| wrong(format!("is no JSON: {error}")))?;
        match value.get("schema").and_then(serde_json::Value::as_u64) {
            Some(schema) if schema == u64::from(SCHEMA) => {}
            Some(schema) => {
                let what = format!("has schema {schema}; this program reads schema {SCHEMA}");
                return Err(wrong(what));
            }
            None => return Err(wrong("is no report of `ukivm bench --export-json`".to_owned())),
        }
        let report = serde_json::from_value(value).map_err(|error| {
            wrong(format!("is no report of `ukivm bench --export-json`: {error}"))
        })?;
        Ok(Self { path: path.to_owned(), report })
    }

    /// Prints how `new` compares with it; the exit status.
    pub(super) fn compare(&self, new: &Report) -> Result<u8, Error> {
        let (found, left_out) = against(&self.report, new);
        for what in left_out {
            say(&format!("warning: not compared: {what}"));
        }
        let mut text = format!("\nsince {}\n", self.path.display());
        for versus in &found {
            text += &formats::versus(versus, new.settings.unit);
        }
        print(&text)?;
        let worse = found.iter().any(|versus| !versus.regressions().is_empty());
        let refused = found.iter().find_map(|versus| versus.refused.as_ref());
        if let Some(why) = refused {
            return Err(Error::Incomparable { path: self.path.clone(), why: why.clone() });
        }
        if found.is_empty() {
            let why = "no entry of the one is in the other".to_owned();
            return Err(Error::Incomparable { path: self.path.clone(), why });
        }
        Ok(if worse { exit::WORSE } else { 0 })
    }
}

/// Whether the file at `path` is JSON and no UKI, by its first byte.
pub(super) fn is_report(path: &Path) -> bool {
    let mut first = [0; 64];
    let read = File::open(path).and_then(|mut file| file.read(&mut first)).unwrap_or(0);
    let text = first.get(..read).unwrap_or_default();
    text.trim_ascii_start().starts_with(b"{")
}
