//! `ukivm inspect`: all that can be said of a UKI without booting it.

mod extract;
mod json;
mod progress;
mod subject;
mod text;

use firmware_less::inspection::Depth;

use crate::{
    cli::InspectOptions,
    commands::{json_file::JsonFile, print},
    error::Error,
};
pub(super) use json::compression;
pub(super) use subject::Subject;

/// Prints the description; a UKI that is refused is described too.
pub fn run(options: &InspectOptions) -> Result<u8, Error> {
    let only_headers = options.no_digests || options.section.is_some();
    let depth = if only_headers { Depth::Headers } else { Depth::Whole };
    let InspectOptions { image, profile, addons, addon, .. } = options;
    let subject = Subject::open(image, profile, *addons, addon, depth)?;
    if let Some(wanted) = &options.section {
        extract::run(options, wanted, &subject)?;
    } else if let Some(path) = &options.json {
        let file = JsonFile::prepare(path, &subject.files)?;
        file.write(&json::Report::new(&subject, options.all))?;
    } else {
        print(&text::text(&subject, options.all))?;
    }
    Ok(0)
}
