//! Several runs, and what they come to.

use serde::{Deserialize, Serialize};

use super::{Report, Result, SCHEMA};
use crate::exit;

/// Runs that belong together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suite {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The version of the program.
    pub ukivm: String,
    /// The exit status: the gravest of all runs'.
    pub exit_status: u8,
    /// How many UKIs passed, each time.
    pub passed: usize,
    /// How many did not, ever.
    pub failed: usize,
    /// How many passed sometimes.
    pub flaky: usize,
    /// How many were skipped.
    pub skipped: usize,
    /// Each UKI.
    pub images: Vec<Image>,
}

/// The runs of one UKI.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// As it was named.
    pub name: String,
    /// What they come to.
    pub result: Overall,
    /// Each of them.
    pub runs: Vec<Report>,
}

/// What the runs of one UKI come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overall {
    /// All passed.
    Pass,
    /// None did.
    Fail,
    /// Some did.
    Flaky,
    /// None was made.
    Skip,
}

impl Overall {
    fn of(runs: &[Report]) -> Self {
        let count = |result| runs.iter().filter(|run| run.result == result).count();
        match (count(Result::Pass), count(Result::Skip)) {
            (0, skipped @ 1..) if skipped == runs.len() => Self::Skip,
            (0, _) => Self::Fail,
            (passed, _) if passed == runs.len() => Self::Pass,
            _ => Self::Flaky,
        }
    }
}

impl Suite {
    /// The runs of UKIs, in their order.
    #[must_use]
    pub fn new(images: Vec<(String, Vec<Report>)>) -> Self {
        let of_image =
            |(name, runs): (String, Vec<Report>)| Image { name, result: Overall::of(&runs), runs };
        let images: Vec<Image> = images.into_iter().map(of_image).collect();
        let count = |result| images.iter().filter(|image| image.result == result).count();
        let statuses = images.iter().flat_map(|image| &image.runs).map(|run| run.exit_status);
        Self {
            schema: SCHEMA,
            ukivm: env!("CARGO_PKG_VERSION").to_owned(),
            // Nothing was booted, and so nothing was proven.
            exit_status: statuses.max_by_key(|status| gravity(*status)).unwrap_or(exit::BUG),
            passed: count(Overall::Pass),
            failed: count(Overall::Fail),
            flaky: count(Overall::Flaky),
            skipped: count(Overall::Skip),
            images,
        }
    }

    /// Every run, in order.
    pub fn runs(&self) -> impl Iterator<Item = &Report> {
        self.images.iter().flat_map(|image| &image.runs)
    }
}

/// Which of two statuses says more: interruptions, errors of ours, then the order
/// of [`crate::verdict::rules::smoke`]; skipped says more than passed.
fn gravity(status: u8) -> u8 {
    match status {
        _ if exit::is_of_signal(status) => 10,
        exit::USAGE..=exit::SKIPPED if status != exit::SKIPPED => 9,
        exit::ENGINE_FAILURE => 8,
        exit::TRIPLE_FAULT => 7,
        exit::PANIC => 6,
        exit::FAIL_PATTERN => 5,
        1..=exit::GUEST_STATUS_MAX => 4,
        exit::SKIPPED => 1,
        0 => 0,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(result: Result, status: u8) -> Report {
        Report::without_run("a.efi".into(), result, status, String::new())
    }

    fn suite(runs: Vec<Report>) -> Suite {
        Suite::new(vec![("a.efi".into(), runs)])
    }

    #[test]
    fn flaky_is_told_from_failed() {
        let (pass, fail) = (run(Result::Pass, 0), run(Result::Fail, 101));
        let all = suite(vec![pass.clone(), pass.clone()]);
        assert_eq!((all.passed, all.exit_status), (1, 0));
        let none = suite(vec![fail.clone(), fail.clone()]);
        assert_eq!((none.failed, none.flaky, none.exit_status), (1, 0, 101));
        let some = suite(vec![pass, fail]);
        assert_eq!((some.failed, some.flaky, some.exit_status), (0, 1, 101));
    }

    #[test]
    fn nothing_at_all_is_no_success() {
        assert_eq!(suite(Vec::new()).exit_status, exit::BUG);
        assert_eq!(suite(Vec::new()).failed, 1);
        assert_eq!(Suite::new(Vec::new()).exit_status, exit::BUG);
    }

    #[test]
    fn the_gravest_status_is_that_of_all() {
        let statuses = [0, 77, 100, 5, 103, 101, 102, 105, 65, 130];
        for (at, status) in statuses.iter().enumerate() {
            let runs = statuses[..=at].iter().map(|status| run(Result::Fail, *status)).collect();
            assert_eq!(suite(runs).exit_status, *status);
        }
    }
}
