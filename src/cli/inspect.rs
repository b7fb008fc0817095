//! Options of `inspect` and `diff`.

use std::{convert::Infallible, path::PathBuf, str::FromStr};

use clap::Args;
use firmware_less::uki::Selector;

use super::STANDARD_OUTPUT;

/// Options of `inspect`.
#[derive(Clone, Debug, Args)]
pub struct InspectOptions {
    /// The UKI, or an addon
    pub image: PathBuf,

    /// The profile to describe, by number or by the ID in its .profile section
    #[arg(long, value_name = "N|ID", default_value = "0")]
    pub profile: Selector,

    /// Apply an addon; may be repeated
    #[arg(long, value_name = "FILE")]
    pub addon: Vec<PathBuf>,

    /// Apply the addons beside the UKI, in IMAGE.extra.d/*.addon.efi, before those of --addon
    #[arg(long)]
    pub addons: bool,

    /// Read headers and texts only: no digests, no PCR 11
    #[arg(long)]
    pub no_digests: bool,

    /// Show sections too that mean nothing to a UKI's readers
    #[arg(long)]
    pub all: bool,

    /// Print JSON, or write it to FILE
    ///
    /// The shape is that of `ukify inspect --json` of systemd 262; what ukify does not say is under
    /// keys that begin with an underscore.
    #[arg(long, value_name = "FILE", require_equals = true, num_args = 0..=1)]
    #[arg(default_missing_value = STANDARD_OUTPUT)]
    pub json: Option<PathBuf>,

    /// Write the content of a section to standard output, and nothing else
    ///
    /// The profile's own section or else the base's; NAME@N is the one numbered N, from 0, of several.
    #[arg(long, value_name = "NAME[@N]", conflicts_with_all = ["json", "no_digests", "all"])]
    pub section: Option<SectionName>,

    /// Write it to FILE instead
    #[arg(short, long, value_name = "FILE", requires = "section")]
    pub output: Option<PathBuf>,
}

/// Options of `diff`.
#[derive(Clone, Debug, Args)]
pub struct DiffOptions {
    /// One UKI
    pub old: PathBuf,

    /// Another
    pub new: PathBuf,

    /// Print JSON, or write it to FILE
    #[arg(long, value_name = "FILE", require_equals = true, num_args = 0..=1)]
    #[arg(default_missing_value = STANDARD_OUTPUT)]
    pub json: Option<PathBuf>,
}

/// `NAME` or `NAME@N`: a section, or one of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionName {
    /// Its name, with the dot.
    pub name: String,
    /// Which one of those of that name.
    pub number: usize,
}

impl FromStr for SectionName {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let numbered = text.rsplit_once('@');
        let numbered = numbered.and_then(|(name, number)| Some((name, number.parse().ok()?)));
        let (name, number) = numbered.unwrap_or((text, 0));
        let dot = if name.starts_with('.') { "" } else { "." };
        Ok(Self { name: format!("{dot}{name}"), number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_named_with_or_without_its_dot_and_number() {
        let parse = |text: &str| {
            let SectionName { name, number } = text.parse().unwrap_or_else(|error| match error {});
            (name, number)
        };
        assert_eq!(parse(".linux"), (".linux".into(), 0));
        assert_eq!(parse("dtbauto@2"), (".dtbauto".into(), 2));
        assert_eq!(parse(".a@b"), (".a@b".into(), 0));
    }
}
