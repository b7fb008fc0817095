//! Reports in the forms that people and CI systems read. Each is text from a
//! [`Suite`](super::report::Suite); nothing is written here.

mod github;
mod human;
mod junit;
mod tap;

pub use github::{github, step_summary};
pub use human::{Style, human, suite_summary};
pub use junit::junit;
pub use tap::tap;

use super::report::Report;

/// What a run is called among several.
fn title(report: &Report, of: usize) -> String {
    if of > 1 {
        format!("{} (run {} of {of})", report.image, report.run)
    } else {
        report.image.clone()
    }
}
