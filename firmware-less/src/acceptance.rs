//! [`Accepted`] and [`Refusal`]: what a reading makes of a file.

use std::{error::Error as _, fmt};

use thiserror::Error;

use crate::{
    handoff::kexec,
    kernel::{self, Kernel},
    read_at::ReadAt,
    uki::{
        self, Handed, Headers, Name, Reading, Uki,
        handed::{self, Choice},
        reading::{Check, Rule},
    },
};

/// What holds for every reading.
const IN_THE_FILE: Rule =
    Rule { text: "what is not in the file can't be handed over", source: "any reading" };

/// A file that a reading accepts, as far as its kernel's header.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The UKI.
    pub uki: Uki,
    /// What its kernel is to be given.
    pub handed: Handed,
    /// Its kernel.
    pub kernel: Kernel,
}

impl Accepted {
    /// What `reading` makes of `source` and of what the user asks for.
    ///
    /// Reads headers, sections of text, and the kernel's header; nothing as long
    /// as a kernel or an initrd.
    pub fn read(
        source: &(impl ReadAt + ?Sized),
        reading: Reading,
        choice: &Choice,
    ) -> Result<Self, Refusal> {
        let headers = Headers::of_uki(source).map_err(|error| Refusal::new(reading, error))?;
        Self::of_headers(source, headers, reading, choice)
    }

    fn of_headers(
        source: &(impl ReadAt + ?Sized),
        headers: Headers,
        reading: Reading,
        choice: &Choice,
    ) -> Result<Self, Refusal> {
        let refused = |cause| Refusal { reading, cause };
        let uki = Uki::new(headers, reading).map_err(|error| Refusal::new(reading, error))?;
        let handed = Handed::read(source, &uki, choice).map_err(|error| match error {
            handed::Error::Uki(error) => Refusal::new(reading, error),
            error => refused(error.into()),
        })?;
        let kernel = Kernel::read(source, handed.kernel.range);
        let kernel = kernel.map_err(|error| refused(error.into()))?;
        kexec::check_cmdline(&handed, &kernel).map_err(|error| refused(error.into()))?;
        Ok(Self { uki, handed, kernel })
    }
}

/// What one reading makes of a file.
pub type Verdict = (Reading, Result<Accepted, Refusal>);

/// What every reading makes of `source`, in the order of [`Reading::ALL`]; or what
/// the file is, if it is no UKI by any.
///
/// Reads the file's headers once, and then what [`Accepted::read`] reads.
pub fn verdicts(
    source: &(impl ReadAt + ?Sized),
    choice: &Choice,
) -> Result<Vec<Verdict>, uki::Error> {
    let headers = Headers::of_uki(source)?;
    let verdict =
        |reading| (reading, Accepted::of_headers(source, headers.clone(), reading, choice));
    Ok(Reading::ALL.into_iter().map(verdict).collect())
}

/// The readings that accept `source`; none if it is no UKI by any.
#[must_use]
pub fn accepting(source: &(impl ReadAt + ?Sized), choice: &Choice) -> Vec<Reading> {
    let verdicts = verdicts(source, choice).unwrap_or_default().into_iter();
    verdicts.filter(|(_, verdict)| verdict.is_ok()).map(|(reading, _)| reading).collect()
}

/// That a reading refuses a file: what was found, by which rule, and whose.
///
/// Displays as one sentence, causes included.
#[derive(Debug)]
pub struct Refusal {
    /// Whose reading.
    pub reading: Reading,
    /// What was found.
    pub cause: Cause,
}

/// What was found where a reading refuses a file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Cause {
    /// In the headers, or of sections by their headers.
    #[error(transparent)]
    Uki(#[from] uki::Error),
    /// Of sections, their content, or what the user asks for.
    #[error(transparent)]
    Handed(#[from] handed::Error),
    /// In the kernel.
    #[error("section .linux")]
    Kernel(#[from] kernel::Error),
    /// Of the command line beside the kernel.
    #[error(transparent)]
    Cmdline(#[from] kexec::Error),
}

impl Refusal {
    fn new(reading: Reading, error: uki::Error) -> Self {
        Self { reading, cause: error.into() }
    }

    /// The rule of the reading's row, if it is one of those that readings differ
    /// in.
    #[must_use]
    pub fn rule(&self) -> Option<Rule> {
        let rules = self.reading.rules();
        match &self.cause {
            Cause::Uki(uki::Error::NoLinux { .. } | uki::Error::EmptyLinux) => {
                rules.requires(Name::Linux)
            }
            Cause::Uki(error) => {
                Check::of(error).map(|check| rules.checks(check).unwrap_or(IN_THE_FILE))
            }
            Cause::Handed(handed::Error::NotUtf8 { .. } | handed::Error::NulWithin { .. }) => {
                rules.cmdline.text_rule
            }
            Cause::Handed(error) => error.rule(),
            Cause::Kernel(_) | Cause::Cmdline(_) => None,
        }
    }

    /// What was found and by which rule it is refused, without the reading's name.
    #[must_use]
    pub fn reason(&self) -> String {
        let found = self.found();
        match self.rule() {
            Some(rule) => format!("{found}: {rule}"),
            None => found,
        }
    }

    /// Whether the file is no UKI by any reading.
    #[must_use]
    pub fn is_by_all(&self) -> bool {
        matches!(&self.cause, Cause::Uki(_)) && self.rule().is_none()
    }

    /// Whether something could not be read, so that nothing was refused.
    #[must_use]
    pub fn is_io(&self) -> bool {
        matches!(
            &self.cause,
            Cause::Uki(uki::Error::Read(_))
                | Cause::Handed(handed::Error::Read { .. })
                | Cause::Kernel(kernel::Error::Read(_))
        )
    }

    /// Whether the user asked for what the reading knows nothing of, whatever the
    /// file.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(&self.cause, Cause::Handed(handed::Error::NoPlace { .. }))
    }

    /// What was found, causes included.
    fn found(&self) -> String {
        let mut text = self.cause.to_string();
        let mut cause = self.cause.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.found())?;
        match self.rule() {
            Some(rule) => write!(f, "; refused as {}: {rule}", self.reading),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::uki::handed::Input;

    fn refusal(cause: impl Into<Cause>) -> Refusal {
        Refusal { reading: Reading::Stub, cause: cause.into() }
    }

    #[test]
    fn a_file_that_can_t_be_read_is_not_refused() {
        let error = || io::Error::from(io::ErrorKind::PermissionDenied);
        let in_section = handed::Error::Read { section: Name::Cmdline, source: error() };
        assert!(refusal(uki::Error::Read(error())).is_io());
        assert!(refusal(in_section).is_io());
        assert!(refusal(kernel::Error::Read(error())).is_io());
        assert!(!refusal(uki::Error::EmptyLinux).is_io());
    }

    #[test]
    fn only_what_a_reading_has_no_place_for_is_asked_for_in_vain() {
        let no_place = handed::Error::NoPlace { input: Input::Profile, rule: IN_THE_FILE };
        assert!(refusal(no_place).is_usage());
        assert!(!refusal(handed::Error::InitrdTooLong).is_usage());
        assert!(!refusal(uki::Error::EmptyLinux).is_usage());
    }

    #[test]
    fn what_no_rule_of_a_row_refuses_is_no_uki_by_any() {
        assert!(refusal(uki::Error::NotPe32Plus { found: 0x10b }).is_by_all());
        assert!(!refusal(uki::Error::EmptyLinux).is_by_all());
        assert!(!refusal(handed::Error::InitrdTooLong).is_by_all());
    }
}
