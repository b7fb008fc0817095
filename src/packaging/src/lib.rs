//! Man pages and shell completions of `ukivm`, from its one definition of options.
//!
//! A crate of its own, so that neither the program nor a build of it has any of
//! this; `make install` runs it.

mod completions;
mod copyright;
pub mod dependencies;
mod pages;
mod topics;

use std::{io, path::PathBuf};

use clap::{Command, CommandFactory as _};
pub use copyright::copyright;
use ukivm::cli::Cli;

/// A file to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Under the prefix.
    pub path: PathBuf,
    /// What it holds.
    pub text: Vec<u8>,
}

/// The schemas of reports.
const SCHEMAS: [(&str, &str); 2] = [
    ("result.schema.json", include_str!("../../verdict/result.schema.json")),
    ("report.schema.json", include_str!("../../bench/report.schema.json")),
];

/// All of them, man pages first.
///
/// # Errors
///
/// Those of writing to memory: none.
pub fn files() -> io::Result<Vec<Installed>> {
    let mut files = pages::all(&command())?;
    files.extend(topics::all()?);
    files.extend(SCHEMAS.map(|(name, text)| Installed {
        path: format!("share/ukivm/{name}").into(),
        text: text.into(),
    }));
    files.extend(completions::all(&command()));
    Ok(files)
}

/// The definition, with what its commands inherit, and without `help`, which has
/// no options to tell.
#[must_use]
pub fn command() -> Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    command
}
