//! [`Subject`]: a UKI that is looked at, and the addons beside it.

use std::{
    io,
    path::{Path, PathBuf},
};

use firmware_less::{
    inspection::{Depth, Inspection},
    plan::FileId,
    read_at::ReadAt,
    uki::{
        Addon, Selector,
        handed::{Choice, Note},
    },
};

use super::progress::Progress;
use crate::{
    addons::{folder, in_folder},
    error::Error,
    files::{Files, OpenFile},
    job,
    messages::chain,
};

/// A UKI, inspected.
#[derive(Debug)]
pub(in crate::commands) struct Subject {
    pub(in crate::commands) files: Files,
    pub(in crate::commands) inspection: Inspection,
    pub(in crate::commands) addons: Vec<AddonFacts>,
}

/// An addon that applies, or that lies beside the UKI and could.
#[derive(Debug)]
pub(in crate::commands) struct AddonFacts {
    pub(in crate::commands) path: PathBuf,
    /// What it adds, or why it is refused.
    pub(in crate::commands) found: Result<Addon, String>,
    pub(in crate::commands) applies: Applies,
}

/// Whether what an addon adds is part of what is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Applies {
    Yes,
    NotAskedFor,
    OtherKernel,
}

impl Subject {
    /// Opens and inspects the UKI at `image`, with the addons that are wanted.
    pub(in crate::commands) fn open(
        image: &Path,
        profile: &Selector,
        beside: bool,
        named: &[PathBuf],
        depth: Depth,
    ) -> Result<Self, Error> {
        let mut files = Files::default();
        files.push(job::open(image)?);
        let paths = job::addon_paths(image, beside, named)?.into_iter();
        let addons = paths.map(|path| addon(&mut files, path)).collect::<Result<_, _>>()?;
        let choice = Choice { profile: profile.clone(), addons, ..Choice::default() };
        let inspection = {
            let sources: Vec<&dyn ReadAt> = files.iter().map(|file| file as &dyn ReadAt).collect();
            let mut progress = Progress::new(image);
            Inspection::read(&sources, &choice, depth, &mut |done, all| progress.tell(done, all))
        };
        let inspection =
            inspection.map_err(|source| Error::Inspect { path: image.to_owned(), source })?;
        let mut addons = applied(&files, &inspection, choice.addons);
        if !beside {
            addons.extend(left_lying(&folder(image)));
        }
        Ok(Self { files, inspection, addons })
    }
}

/// Opens an addon that was asked for.
fn addon(files: &mut Files, path: PathBuf) -> Result<Addon, Error> {
    let file = job::open(&path)?;
    let addon = Addon::read(&file, files.next_id());
    files.push(file);
    addon.map_err(|source| Error::Addon { path, source })
}

/// The addons that were asked for.
fn applied(files: &Files, inspection: &Inspection, addons: Vec<Addon>) -> Vec<AddonFacts> {
    let notes = inspection.given().map(|handed| handed.notes.as_slice()).unwrap_or_default();
    let is_left_out = |file: FileId| {
        notes.iter().any(|note| matches!(note, Note::AddonLeftOut { addon, .. } if *addon == file))
    };
    let facts = |addon: Addon| AddonFacts {
        path: files.get(addon.file).map(|file| file.path.clone()).unwrap_or_default(),
        applies: if is_left_out(addon.file) { Applies::OtherKernel } else { Applies::Yes },
        found: Ok(addon),
    };
    addons.into_iter().map(facts).collect()
}

/// The addons in `folder`, which nobody asked for: so where it can't be read, that
/// is part of the description.
fn left_lying(folder: &Path) -> Vec<AddonFacts> {
    let paths = match in_folder(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let (path, found) = (folder.to_owned(), Err(chain(&error)));
            return vec![AddonFacts { path, found, applies: Applies::NotAskedFor }];
        }
        Ok(paths) => paths,
    };
    let facts = |path: PathBuf| {
        let found = match OpenFile::open(&path) {
            Ok(file) => Addon::read(&file, FileId::UKI).map_err(|error| chain(&error)),
            Err(error) => Err(chain(&error)),
        };
        AddonFacts { path, found, applies: Applies::NotAskedFor }
    };
    paths.into_iter().map(facts).collect()
}
