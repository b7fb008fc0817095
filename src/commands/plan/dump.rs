//! `ukivm plan --dump`: guest memory and CPU state before the first instruction,
//! as files.
//!
//! A file for each placement, named for its address; `cpu.json` and `map.json`;
//! and `SHA256SUMS` over them all, as sha256sum writes it. None of them tells
//! anything of the host, of paths or of times, so that the SHA-256 of `SHA256SUMS`
//! depends on nothing but what is handed over.

use std::{
    fs::{self, File},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use firmware_less::{
    e820::MemoryMap,
    machine::Machine,
    plan::{BootPlan, Placement},
    range::GuestRange,
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    content::{Chunk, Memory},
    digest::{self, hex},
    error::Error,
    files::Files,
    report::SCHEMA,
    signals::Signals,
};

/// What the digests of all other files are in; there last of all.
const SUMS: &str = "SHA256SUMS";
const CPU: &str = "cpu.json";
const MAP: &str = "map.json";

/// A dump under way: what was written is gone again unless all of it could be.
#[derive(Debug)]
pub(super) struct Dump {
    folder: PathBuf,
    /// The folder was not there.
    is_new: bool,
    /// What was written, and its digest.
    written: Vec<(String, String)>,
    signals: Signals,
}

/// A dump, for the report.
#[derive(Debug, Serialize)]
pub(super) struct Dumped {
    /// As the user named it.
    pub(super) folder: String,
    /// Of [`SUMS`], which has the digests of all other files.
    pub(super) sha256: String,
}

/// What is where.
#[derive(Serialize)]
struct Layout<'a> {
    schema: u32,
    machine: &'a Machine,
    memory_map: &'a MemoryMap,
    /// What no range has is zero.
    memory: Vec<Part>,
}

/// A range of memory.
#[derive(Serialize)]
struct Part {
    name: &'static str,
    #[serde(flatten)]
    range: GuestRange,
    file: String,
}

impl Dump {
    /// Makes the folder, which must not be there or be empty.
    pub(super) fn prepare(folder: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Write { path: folder.to_owned(), source };
        let is_new = match fs::read_dir(folder) {
            Ok(mut entries) => match entries.next() {
                Some(_) => return Err(Error::FolderInUse { path: folder.to_owned() }),
                None => false,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(folder).map_err(failed)?;
                true
            }
            Err(error) => return Err(failed(error)),
        };
        let signals = Signals::catch()
            .map_err(|source| Error::Host { what: "can't wait for signals", source })?;
        Ok(Self { folder: folder.to_owned(), is_new, written: Vec::new(), signals })
    }

    /// Writes all of it.
    pub(super) fn write(mut self, plan: &BootPlan, files: &Files) -> Result<Dumped, Error> {
        let memory = Memory::of(plan, files);
        for placement in plan.placements() {
            self.placement(placement, memory)?;
        }
        let part = |placement: &Placement| Part {
            name: placement.name,
            range: placement.range,
            file: file_name(placement),
        };
        let map = Layout {
            schema: SCHEMA,
            machine: plan.machine(),
            memory_map: plan.memory_map(),
            memory: plan.placements().iter().map(part).collect(),
        };
        self.json(MAP, &map)?;
        self.json(CPU, plan.cpu())?;
        self.written.sort();
        let line = |(name, sum): &(String, String)| format!("{sum}  {name}\n");
        let sums: String = self.written.iter().map(line).collect();
        let sha256 = self.bytes(SUMS, sums.as_bytes())?;
        self.written.clear();
        self.is_new = false;
        Ok(Dumped { folder: self.folder.display().to_string(), sha256 })
    }

    fn placement(&mut self, placement: &Placement, memory: Memory<'_>) -> Result<(), Error> {
        let name = file_name(placement);
        let path = self.folder.join(&name);
        let failed = |source| Error::Write { path: path.clone(), source };
        let mut file = File::create_new(&path).map_err(failed)?;
        self.written.push((name, String::new()));
        let mut hash = Sha256::new();
        memory.each(placement.range, &mut |chunk| {
            if let Some(signal) = self.signals.pending() {
                return Err(Error::Interrupted { signal });
            }
            digest::add(&mut hash, chunk);
            match chunk {
                Chunk::Bytes(bytes) => file.write_all(bytes).map_err(failed),
                // A hole in the file, which takes no room.
                Chunk::Zeros(count) => {
                    let skip = SeekFrom::Current(i64::try_from(count).unwrap_or(i64::MAX));
                    file.seek(skip).map(drop).map_err(failed)
                }
            }
        })?;
        file.set_len(placement.range.len()).map_err(failed)?;
        if let Some((_, sum)) = self.written.last_mut() {
            *sum = hex(&hash.finalize());
        }
        Ok(())
    }

    fn json(&mut self, name: &str, value: &impl Serialize) -> Result<(), Error> {
        let path = self.folder.join(name);
        let text = serde_json::to_string_pretty(value);
        let text = text.map_err(|error| Error::Write { path, source: error.into() })?;
        self.bytes(name, (text + "\n").as_bytes()).map(drop)
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<String, Error> {
        let path = self.folder.join(name);
        let sum = hex(&Sha256::digest(bytes));
        let failed = |source| Error::Write { path: path.clone(), source };
        let mut file = File::create_new(&path).map_err(failed)?;
        self.written.push((name.to_owned(), sum.clone()));
        file.write_all(bytes).map_err(failed)?;
        Ok(sum)
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        for (name, _) in &self.written {
            fs::remove_file(self.folder.join(name)).ok();
        }
        if self.is_new {
            fs::remove_dir(&self.folder).ok();
        }
    }
}

/// The file of a placement: names ascend as addresses do.
fn file_name(placement: &Placement) -> String {
    let name = placement.name.replace(' ', "-");
    format!("{:#014x}-{name}", placement.range.start())
}
