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
pub struct SectionName(String);

impl SectionName {
    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names that it may mean, and which one of those of that name. What it means
    /// for the sections of UKIs comes first: a hostile file may have others whose
    /// names have no dot, or an `@`.
    #[must_use]
    pub fn meanings(&self) -> Vec<(String, usize)> {
        let numbered = self.0.rsplit_once('@');
        let numbered = numbered.and_then(|(name, number)| Some((name, number.parse().ok()?)));
        let both = numbered.into_iter().chain([(self.as_str(), 0)]);
        both.flat_map(|(name, number)| {
            let dotted = (!name.starts_with('.')).then(|| format!(".{name}"));
            dotted.into_iter().chain([name.to_owned()]).map(move |name| (name, number))
        })
        .collect()
    }
}

impl FromStr for SectionName {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_named_with_or_without_its_dot_and_number() {
        let meanings = |text: &str| {
            let all = SectionName(text.into()).meanings().into_iter();
            all.map(|(name, number)| format!("{name} {number}")).collect::<Vec<_>>()
        };
        assert_eq!(meanings(".linux"), [".linux 0"]);
        assert_eq!(meanings("linux"), [".linux 0", "linux 0"]);
        assert_eq!(meanings(".efifw@1"), [".efifw 1", ".efifw@1 0"]);
        assert_eq!(meanings("a@2"), [".a 2", "a 2", ".a@2 0", "a@2 0"]);
        assert_eq!(meanings(".a@b"), [".a@b 0"]);
        assert_eq!(meanings(".a@99999999999999999999"), [".a@99999999999999999999 0"]);
    }
}
