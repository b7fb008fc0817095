//! `ukivm diff`: in what two UKIs differ.

mod differences;
mod words;

use std::{fmt::Write as _, path::Path};

use firmware_less::{inspection::Depth, uki::Selector};
use serde::Serialize;

use crate::{
    cli::DiffOptions,
    commands::{inspect::Subject, json_file::JsonFile, print},
    error::Error,
    exit,
    report::SCHEMA,
    visible::visible,
};
use differences::{Difference, between, matched};

#[derive(Debug, Serialize)]
struct Report {
    schema: u32,
    old: String,
    new: String,
    differences: Vec<Difference>,
}

/// Prints the differences; the status says whether there are any.
pub fn run(options: &DiffOptions) -> Result<u8, Error> {
    let (old, new) = (open(&options.old, 0, Depth::Whole)?, open(&options.new, 0, Depth::Whole)?);
    let mut differences = differences::of_sections(&old.inspection, &new.inspection);
    differences.extend(of_profiles(options, &old, &new)?);
    if differences.is_empty() {
        differences.extend(differences::of_bytes(old.files.uki(), new.files.uki())?);
    }
    let status = if differences.is_empty() { 0 } else { exit::DIFFERS };
    let name = |path: &Path| path.display().to_string();
    let report =
        Report { schema: SCHEMA, old: name(&options.old), new: name(&options.new), differences };
    match &options.json {
        Some(path) => {
            let mut files = old.files;
            files.append(new.files);
            JsonFile::prepare(path, &files)?.write(&report)?;
        }
        None => print(&text(&report))?,
    }
    Ok(status)
}

/// In what the profiles differ, the first ones first. What is the same in all of
/// them, being the base's, is said once.
fn of_profiles(
    options: &DiffOptions,
    old: &Subject,
    new: &Subject,
) -> Result<Vec<Difference>, Error> {
    let mut all: Vec<Difference> = Vec::new();
    for pair in matched(&old.inspection, &new.inspection) {
        let found = match pair {
            (Some(0), Some(0)) => between(old, new),
            (Some(of_old), Some(of_new)) => {
                // Their sections have been hashed with the first profiles'.
                let at = |path, number| open(path, number, Depth::Headers);
                between(&at(&options.old, of_old)?, &at(&options.new, of_new)?)
            }
            _ => Vec::new(),
        };
        for difference in found {
            if !all.iter().any(|known| known.repeats(&difference)) {
                all.push(difference);
            }
        }
    }
    Ok(all)
}

fn open(image: &Path, profile: usize, depth: Depth) -> Result<Subject, Error> {
    Subject::open(image, &Selector::Number(profile), false, &[], depth)
}

/// One paragraph for each kind of thing that differs.
fn text(report: &Report) -> String {
    let mut text = String::new();
    if !report.differences.is_empty() {
        let _ = writeln!(text, "--- {}\n+++ {}", visible(&report.old), visible(&report.new));
    }
    let mut title = String::new();
    for difference in &report.differences {
        if difference.title() != title {
            title = difference.title();
            let _ = writeln!(text, "\n{}", visible(&title));
        }
        for (sign, side) in [('-', &difference.old), ('+', &difference.new)] {
            if let Some(side) = side {
                let what = [difference.name.as_str(), side.as_str()];
                let what: Vec<_> = what.into_iter().filter(|part| !part.is_empty()).collect();
                let _ = writeln!(text, "  {sign} {}", visible(&what.join("  ")));
            }
        }
    }
    text
}
