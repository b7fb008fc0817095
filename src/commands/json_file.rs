//! A file that is to hold JSON.

use std::{fmt::Write as _, path::Path};

use serde::Serialize;

use super::output_file::OutputFile;
use crate::{error::Error, files::Files, sandbox::Sandbox};

/// Where the JSON goes.
#[derive(Debug)]
pub(super) struct JsonFile(OutputFile);

impl JsonFile {
    /// Settles that `path` can be written, and is none of `files`. What an earlier
    /// run left there is gone from now on.
    pub(super) fn prepare(path: &Path, files: &Files) -> Result<Self, Error> {
        OutputFile::prepare(path, files).map(Self)
    }

    /// Has `sandbox` let it be written.
    pub(super) fn allowed_by(&self, sandbox: Sandbox) -> Sandbox {
        self.0.allowed_by(sandbox)
    }

    /// Writes `value`.
    pub(super) fn write(self, value: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Error::Write {
            path: self.0.path().to_owned(),
            source: error.into(),
        })?;
        self.0.write(|sink| sink.put((ascii(&text) + "\n").as_bytes()))
    }
}

/// The same JSON with everything escaped that is not printable ASCII, as Python's
/// json module and so ukify write it: none of it does anything to a terminal.
///
/// Outside of strings JSON is ASCII, and what is below a blank has been escaped.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\x7f' {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ascii_is_escaped_and_means_the_same() {
        let json = serde_json::to_string("\u{1f427} é\u{9b}\x7f\x1b").expect("JSON");
        let escaped = ascii(&json);
        assert_eq!(escaped, r#""\ud83d\udc27 \u00e9\u009b\u007f\u001b""#);
        let back: String = serde_json::from_str(&escaped).expect("JSON");
        assert_eq!(back, "\u{1f427} é\u{9b}\x7f\x1b");
    }
}
