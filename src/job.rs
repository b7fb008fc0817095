//! The job as meant: files open, UKI read, what the kernel is handed settled, and
//! the plan made. Everything that needs no engine.

use std::{
    io,
    path::{Path, PathBuf},
};

use firmware_less::{
    handoff::kexec::{self, Kexec, Platform, SEED_LEN, Warning},
    kernel::Kernel,
    machine::Machine,
    plan::{BootPlan, FileId, FileSlice},
    range::{FileRange, GuestRange},
    read_at::fetch_prefix,
    uki::{
        Addon, Uki,
        handed::{self, CREDENTIAL_MAX, Console, Credential, Handed, Input},
        reading::Addons,
    },
    verdict::{self, Accepted, Refusal},
};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::{
    addons::{folder, in_folder},
    cli::JobOptions,
    digest::{self, Digest},
    error::Error,
    files::{Files, OpenFile},
    messages::say,
};

/// A UKI, and how it is to be booted.
#[derive(Debug)]
pub struct Job {
    /// The UKI and the user's own files.
    pub files: Files,
    /// The UKI.
    pub uki: Uki,
    /// What its kernel is to be given.
    pub handed: Handed,
    /// Its kernel.
    pub kernel: Kernel,
    /// The hand-off's own choices.
    pub kexec: kexec::Options,
}

impl Job {
    /// Opens and reads what `options` name.
    pub fn open(options: &JobOptions) -> Result<Self, Error> {
        let mut files = Files::default();
        open(&mut files, &options.image)?;
        let choice = handed::Choice {
            profile: options.handed.profile.clone(),
            cmdline: options.cmdline.clone(),
            append: options.append.iter().chain(&options.words).cloned().collect(),
            console: options.handed.console.map_or_else(Console::default, Console::from),
            initrds: initrds(&mut files, options)?,
            addons: addons(&mut files, options)?,
            credentials: credentials(options)?,
            enforced: false,
        };
        let reading = options.handed.reading();
        let Accepted { uki, handed, kernel } = Accepted::read(files.uki(), reading, &choice)
            .map_err(|refusal| refused(files.uki(), refusal, &choice))?;
        let kexec = kexec::Options { flavour: options.flavour.into(), seed: seed(options)? };
        Ok(Self { files, uki, handed, kernel, kexec })
    }

    /// The plan for `machine`, sealed with a digest if that is wanted.
    pub fn plan(&self, machine: &Machine, with_digest: bool) -> Result<Planned, Error> {
        let path = || self.files.uki().path.clone();
        let platform = Platform::of(machine);
        let kexec = Kexec::new(machine, platform, &self.kernel, &self.handed, &self.kexec)
            .map_err(|source| Error::Handoff { path: path(), source })?;
        let warnings = kexec.warnings();
        let digested = kexec.digested().iter().map(|part| part.range).collect();
        let digest =
            with_digest.then(|| digest::of_sources(kexec.digested(), &self.files)).transpose()?;
        let plan = kexec.plan(digest).map_err(|source| Error::Plan { path: path(), source })?;
        Ok(Planned { plan, digest, digested, warnings })
    }
}

/// A plan, and what is to be known beside it.
#[derive(Debug)]
pub struct Planned {
    /// The plan.
    pub plan: BootPlan,
    /// The digest it is sealed with.
    pub digest: Option<Digest>,
    /// What a digest covers, in order.
    pub digested: Vec<GuestRange>,
    /// What a real kexec would not have done.
    pub warnings: Vec<Warning>,
}

/// The error for a refusal, with the readings that would accept the file.
fn refused(image: &OpenFile, refusal: Refusal, choice: &handed::Choice) -> Error {
    let accepting = if refusal.is_by_all() || refusal.is_io() {
        Vec::new()
    } else {
        verdict::accepting(image, choice)
    };
    Error::Refused { path: image.path.clone(), refusal: Box::new(refusal), accepting }
}

/// The machine that `options` ask for.
pub fn machine(options: &JobOptions) -> Result<Machine, Error> {
    let machine = Machine::new(options.memory, options.cpus).map_err(Error::Machine)?;
    Ok(machine.with_leaf_size(options.leaf_size.into()).with_five_level(options.five_level))
}

fn open(files: &mut Files, path: &Path) -> Result<FileId, Error> {
    let file =
        OpenFile::open(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    Ok(files.push(file))
}

/// The user's own initrd parts, each a whole file.
fn initrds(files: &mut Files, options: &JobOptions) -> Result<Vec<FileSlice>, Error> {
    let whole = |path: &PathBuf| {
        let file = open(files, path)?;
        let len = files.get(file).map_or(0, |open| open.len);
        Ok(FileSlice { file, range: FileRange::first(len) })
    };
    options.initrd.iter().map(whole).collect()
}

/// The addons beside the UKI, if wanted, and those that were named.
fn addons(files: &mut Files, options: &JobOptions) -> Result<Vec<Addon>, Error> {
    let mut paths = Vec::new();
    check_addons_have_a_place(files.uki(), options)?;
    if options.handed.addons {
        let path = folder(&options.image);
        match in_folder(&path) {
            Ok(found) => paths = found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                say(&format!("no addons: there is no folder {}", path.display()));
            }
            Err(source) => return Err(Error::Read { path, source }),
        }
    }
    paths.extend(options.handed.addon.iter().cloned());
    paths.into_iter().map(|path| addon(files, path)).collect()
}

/// Whether the reading knows addons, if the user asks for those that may be there.
fn check_addons_have_a_place(image: &OpenFile, options: &JobOptions) -> Result<(), Error> {
    let reading = options.handed.reading();
    let scope = &reading.rules().scope;
    if !options.handed.addons || scope.addons != Addons::None {
        return Ok(());
    }
    let cause = handed::Error::NoPlace { input: Input::Addon, rule: scope.rule };
    Err(refused(image, Refusal { reading, cause: cause.into() }, &handed::Choice::default()))
}

fn addon(files: &mut Files, path: PathBuf) -> Result<Addon, Error> {
    let id = open(files, &path)?;
    let file = files.get(id).ok_or_else(|| Error::Read {
        path: path.clone(),
        source: io::ErrorKind::NotFound.into(),
    })?;
    Addon::read(file, id).map_err(|source| Error::Addon { path, source })
}

/// The user's credentials, whole: they are small.
fn credentials(options: &JobOptions) -> Result<Vec<Credential>, Error> {
    let read = |path: &PathBuf| {
        let file =
            OpenFile::open(path).map_err(|source| Error::File { path: path.clone(), source })?;
        // One byte more than there may be, so that it shows.
        let content = fetch_prefix(&file, CREDENTIAL_MAX.saturating_add(1))
            .map_err(|source| Error::Read { path: path.clone(), source })?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Credential::new(&name, content)
            .map_err(|source| Error::Credential { path: path.clone(), source })
    };
    options.handed.extra_credential.iter().map(read).collect()
}

/// The seed as given, or a fresh one: no two guests may share one by accident.
fn seed(options: &JobOptions) -> Result<[u8; SEED_LEN], Error> {
    if let Some(seed) = options.rng_seed {
        return Ok(seed);
    }
    let mut seed = [0; SEED_LEN];
    let mut filled = 0;
    while let Some(rest) = seed.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let count = getrandom(rest, GetRandomFlags::empty())
            .map_err(|error| Error::Host { what: "no random seed", source: error.into() })?;
        filled = filled.saturating_add(count);
    }
    Ok(seed)
}
