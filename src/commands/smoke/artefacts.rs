//! What a run leaves in a folder.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, mpsc::Sender},
};

use crate::{
    commands::new_file::NewFile,
    console::Output,
    error::Error,
    messages::say,
    news::News,
    sandbox::Sandbox,
    session::Record,
    signals::Signals,
    verdict::{formats, report::Suite},
};

/// Written while the guest runs.
const SERIAL_LOG: &str = "serial.log";
const SERIAL_TXT: &str = "serial.txt";
const EVENTS: &str = "events.jsonl";
/// Written when it has ended, each whole or not there.
const RESULT_JSON: &str = "result.json";
const JUNIT_XML: &str = "junit.xml";
const RESULT_TAP: &str = "result.tap";

/// The files in the folder, if one is wanted. All are open, so that none is in reach by its
/// name while a guest runs.
#[derive(Debug, Default)]
pub(super) struct Artefacts {
    results: Option<Results>,
    raw: Option<File>,
    text: Option<File>,
    pub(super) events: Option<File>,
}

/// What is there when all has ended.
#[derive(Debug)]
struct Results {
    json: NewFile,
    junit: NewFile,
    tap: NewFile,
}

impl Artefacts {
    /// Makes the folder and its files; what an earlier run left there is gone from
    /// now on. None of `images` may be among it.
    pub(super) fn prepare(folder: Option<&Path>, images: &[PathBuf]) -> Result<Self, Error> {
        let Some(folder) = folder else { return Ok(Self::default()) };
        let results = Self::make_folder(folder, images)?;
        let file = |name: &str| {
            let path = folder.join(name);
            // Followed if it is a link, and written if it is a pipe: somebody put it there.
            let made = File::create(&path).and_then(|_| File::options().append(true).open(&path));
            made.map_err(|source| Error::Write { path, source })
        };
        Ok(Self {
            results: Some(results),
            raw: Some(file(SERIAL_LOG)?),
            text: Some(file(SERIAL_TXT)?),
            events: Some(file(EVENTS)?),
        })
    }

    /// The folder for the results of several runs, which have their own for the rest.
    pub(super) fn of_suite(folder: Option<&Path>, images: &[PathBuf]) -> Result<Self, Error> {
        let Some(folder) = folder else { return Ok(Self::default()) };
        Ok(Self { results: Some(Self::make_folder(folder, images)?), ..Self::default() })
    }

    /// Has `sandbox` let the results be written.
    pub(super) fn allowed_by(&self, sandbox: Sandbox) -> Sandbox {
        let results = self.results.iter().flat_map(|it| [&it.json, &it.junit, &it.tap]);
        results.fold(sandbox, |sandbox, result| result.allowed_by(sandbox))
    }

    fn make_folder(folder: &Path, images: &[PathBuf]) -> Result<Results, Error> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| Error::Write { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        for name in [SERIAL_LOG, SERIAL_TXT, EVENTS, RESULT_JSON, JUNIT_XML, RESULT_TAP] {
            let path = folder.join(name);
            if images.iter().any(|image| is_same(image, &path)) {
                return Err(Error::SameFile { path });
            }
        }
        let new = |name| {
            let path = folder.join(name);
            NewFile::prepare(&path).map_err(failed(&path))
        };
        Ok(Results { json: new(RESULT_JSON)?, junit: new(JUNIT_XML)?, tap: new(RESULT_TAP)? })
    }

    /// Where a session's console goes. A file that can't be written is said, and
    /// the run goes on.
    pub(super) fn record(
        &self,
        news: Sender<News>,
        live: bool,
        signals: Arc<Signals>,
    ) -> io::Result<Record> {
        let to_file = |file: &File, name: &'static str| {
            Output::start(file.try_clone()?, move |error| {
                say(&format!(
                    "{name}: writing it failed, the rest of it is missing, and the verdict \
                     stands: {error}"
                ));
            })
        };
        let mut raw = Vec::new();
        if let Some(file) = &self.raw {
            raw.push(to_file(file, SERIAL_LOG)?);
        }
        if live {
            raw.push(Output::start(io::stderr(), |_| {})?);
        }
        let text = self.text.as_ref().map(|file| to_file(file, SERIAL_TXT)).transpose()?;
        Ok(Record { raw, text, news: Some(news), signals: Some(signals), observer: None })
    }

    /// Adds an event that nobody else tells of.
    pub(super) fn note(&self, news: &News) {
        if let Some(mut file) = self.events.as_ref() {
            let line = serde_json::to_string(news).unwrap_or_default() + "\n";
            // That it can't be written was said, or will be of the results.
            file.write_all(line.as_bytes()).ok();
        }
    }

    /// Writes the results. What can't be written is said, and the verdict stands.
    pub(super) fn write(&self, suite: &Suite) {
        let Some(results) = &self.results else { return };
        let json = match suite.images.as_slice() {
            [image] if image.runs.len() == 1 => image.runs.first().map(super::json),
            _ => Some(super::json(suite)),
        };
        let files = [
            (&results.json, json.unwrap_or_default()),
            (&results.junit, formats::junit(suite)),
            (&results.tap, formats::tap(suite)),
        ];
        for (file, text) in files {
            let written = file.write(|out| out.write_all(text.as_bytes()), |error| error);
            if let Err(error) = written {
                let path = file.path().display();
                say(&format!("{path}: writing it failed, and the verdict stands: {error}"));
            }
        }
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).ok().map(|data| (data.dev(), data.ino()));
    identity(one).is_some_and(|one| identity(other) == Some(one))
}
