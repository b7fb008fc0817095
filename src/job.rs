//! The job as meant: files open, UKI read, what the kernel is handed settled, and
//! the plan made. Everything that needs no engine.

mod directly;

use std::{
    io,
    path::{Path, PathBuf},
};

use firmware_less::{
    acceptance::{self, Accepted, Cause, Refusal},
    handoff::{
        LaidOut,
        direct::{self, Kaslr},
        kexec::{self, Platform, SEED_LEN, Warning},
    },
    kernel::Kernel,
    machine::Machine,
    pci::Kind,
    plan::{BootPlan, FileId, FileSlice},
    range::FileRange,
    read_at::fetch_prefix,
    smbios::OemStrings,
    uki::{
        Addon, Reading, Uki,
        authenticode::Trust,
        handed::{self, CREDENTIAL_MAX, Console, Credential, Handed, Input},
        reading::Addons,
    },
};
use rustix::rand::{GetRandomFlags, getrandom};

pub use directly::Directly;

use directly::wish;

use crate::{
    addons::{folder, in_folder},
    attached::{self, Attached},
    cli::JobOptions,
    credentials::oem_strings,
    digest::{Digest, Expected},
    engine::Load,
    error::Error,
    files::{Files, OpenFile},
    messages::{chain, say},
    sandbox::Sandbox,
    timeline::Milestone,
    verify::{self, Origin},
};

/// A UKI, and how it is to be booted.
#[derive(Debug)]
pub struct Job {
    /// The UKI and the user's own files.
    pub files: Files,
    /// What was verified, the UKI first; nothing where nothing had to be.
    pub verified: Vec<Origin>,
    /// The UKI.
    pub uki: Uki,
    /// What its kernel is to be given.
    pub handed: Handed,
    /// Its kernel.
    pub kernel: Kernel,
    /// What both hand-offs leave to choose.
    pub kexec: kexec::Options,
    /// For a kernel that is to be entered directly.
    pub direct: Option<Directly>,
    /// Whether its memory is in huge pages that the host has set aside.
    pub huge_pages: bool,
    /// What the machine has on PCI.
    pub attached: Attached,
    /// Whether that is a virtio console too.
    pub has_hvc0: bool,
    /// What the system is told by SMBIOS.
    pub oem_strings: OemStrings,
}

/// How a kernel is handed over in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handoff {
    /// As `kexec_file_load(2)` does.
    Kexec,
    /// Unpacked by us, and where it came to be.
    Direct(Kaslr),
}

impl Job {
    /// What an engine is to run of `planned`, a plan of this job, in `sandbox`.
    #[must_use]
    pub fn load<'a>(&'a self, planned: &'a Planned, sandbox: &'a Sandbox) -> Load<'a> {
        Load {
            plan: &planned.plan,
            files: &self.files,
            huge_pages: self.huge_pages,
            attached: &self.attached,
            expected: planned.expected.as_ref(),
            sandbox,
            ahead: None,
        }
    }

    /// Opens and reads what `options` name. `mark` is told of milestones.
    pub fn open(options: &JobOptions, mark: &mut dyn FnMut(Milestone)) -> Result<Self, Error> {
        Self::of(open(&options.image)?, options, mark)
    }

    /// The same, with `uki` as the UKI.
    pub fn of(
        uki: OpenFile,
        options: &JobOptions,
        mark: &mut dyn FnMut(Milestone),
    ) -> Result<Self, Error> {
        let mut files = Opening::new(verify::trust(&options.verify)?);
        files.uki(uki, options)?;
        let choice = handed::Choice {
            profile: options.handed.profile.clone(),
            cmdline: options.cmdline.clone(),
            append: options.append.iter().chain(&options.words).cloned().collect(),
            console: options.handed.console.map_or_else(Console::default, Console::from),
            initrds: initrds(&mut files, options)?,
            addons: addons(&mut files, options)?,
            credentials: credentials(options)?,
            enforced: files.trust.is_some(),
        };
        let oem_strings = oem_strings(&options.system)?;
        let Opening { mut files, verified, .. } = files;
        let attached = Attached::open(&options.devices, &files)?;
        mark(Milestone::FilesOpened);
        let reading = options.handed.reading();
        let Accepted { uki, handed, kernel } = Accepted::read(files.uki(), reading, &choice)
            .map_err(|refusal| refused(files.uki(), refusal, &choice))?;
        let kexec = kexec::Options { flavour: options.flavour.into(), seed: seed(options)? };
        mark(Milestone::ImageParsed);
        let direct = wish(options, &kexec)?
            .map(|wish| Directly::unpack(&mut files, (&handed, &kernel), options, wish));
        if direct.is_some() {
            mark(Milestone::KernelUnpacked);
        }
        let has_hvc0 = options.handed.has_hvc0();
        Ok(Self {
            files,
            verified,
            uki,
            handed,
            kernel,
            kexec,
            direct,
            huge_pages: options.hugepages,
            attached,
            has_hvc0,
            oem_strings,
        })
    }

    /// The plan for `machine`, sealed with a digest if that is wanted.
    pub fn plan(&self, machine: &Machine, with_digest: bool) -> Result<Planned, Error> {
        self.sealed(self.plan_entering(None, machine, with_digest)?)
    }

    /// The same with a guest of ours in the kernel's place.
    pub fn plan_guest(
        &self,
        code: &[u8],
        machine: &Machine,
        with_digest: bool,
    ) -> Result<Planned, Error> {
        self.sealed(self.plan_entering(Some(code), machine, with_digest)?)
    }

    /// The plan to be run: whoever loads it computes the digest that is wanted.
    pub fn plan_to_load(&self, machine: &Machine, with_digest: bool) -> Result<Planned, Error> {
        self.plan_entering(None, machine, with_digest)
    }

    fn sealed(&self, planned: Planned) -> Result<Planned, Error> {
        let Some(expected) = &planned.expected else { return Ok(planned) };
        expected.compute(&self.files)?;
        Ok(Planned { plan: expected.plan(&self.files)?, ..planned })
    }

    fn plan_entering(
        &self,
        guest: Option<&[u8]>,
        machine: &Machine,
        with_digest: bool,
    ) -> Result<Planned, Error> {
        let path = || self.files.uki().path.clone();
        let platform = Platform::of(machine).telling(&self.oem_strings);
        let platform = platform.map_err(Error::Smbios)?;
        let (mut laid_out, handoff, not_direct) = self.lay_out(machine, platform)?;
        if let Some(code) = guest {
            let no_place = |source| Error::StandIn { path: path(), source };
            laid_out = laid_out.with_guest(code).map_err(no_place)?;
        }
        let warnings = laid_out.warnings();
        let (plan, expected) = if with_digest {
            let expected = Expected::of(laid_out);
            (expected.plan(&self.files)?, Some(expected))
        } else {
            let no_plan = |source| Error::Plan { path: path(), source };
            (laid_out.plan(None).map_err(no_plan)?, None)
        };
        Ok(Planned { plan, expected, handoff, not_direct, warnings })
    }

    /// What is handed over in the end: by a direct hand-off, perhaps an initrd unpacked.
    #[must_use]
    pub fn handed_by(&self, handoff: Handoff) -> &Handed {
        let direct = self.direct.as_ref().filter(|_| handoff != Handoff::Kexec);
        direct.and_then(|direct| direct.handed.as_ref()).unwrap_or(&self.handed)
    }

    /// Directly if that is wanted and can be done, else as kexec does.
    fn lay_out(
        &self,
        machine: &Machine,
        platform: Platform,
    ) -> Result<(LaidOut, Handoff, Option<String>), Error> {
        let directly = |direct| self.directly((machine, platform.clone()), direct);
        let not_direct = match self.direct.as_ref().map(directly) {
            Some(Ok((laid_out, kaslr))) => return Ok((laid_out, Handoff::Direct(kaslr), None)),
            Some(Err(why)) => Some(why),
            None => None,
        };
        kexec::lay_out(machine, platform, &self.kernel, &self.handed, &self.kexec)
            .map(|laid_out| (laid_out, Handoff::Kexec, not_direct))
            .map_err(|source| Error::Handoff { path: self.files.uki().path.clone(), source })
    }

    fn directly(
        &self,
        platform: (&Machine, Platform),
        direct: &Directly,
    ) -> Result<(LaidOut, Kaslr), String> {
        let unpacked = direct.unpacked.as_ref().map_err(|why| chain(why))?;
        let kernel = (&self.kernel, unpacked);
        let handed = direct.handed.as_ref().unwrap_or(&self.handed);
        direct::lay_out(platform, kernel, handed, &self.kexec, direct.wish)
            .map(|direct| (direct.laid_out, direct.kaslr))
            .map_err(|why| chain(&why))
    }
}

/// A plan, and what is to be known beside it.
#[derive(Debug)]
pub struct Planned {
    /// The plan.
    pub plan: BootPlan,
    /// What guest memory is to hash to, if that is to be seen.
    pub expected: Option<Expected>,
    /// How the kernel is handed over.
    pub handoff: Handoff,
    /// Why it is not directly, if that was wanted.
    pub not_direct: Option<String>,
    /// What a real kexec would not have done.
    pub warnings: Vec<Warning>,
}

impl Planned {
    /// The digest that guest memory is to have: none, or not known yet.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.expected.as_ref().and_then(Expected::digest)
    }
}

/// The error for a refusal, with the readings that would accept the file.
fn refused(image: &OpenFile, refusal: Refusal, choice: &handed::Choice) -> Error {
    let accepting = if refusal.is_by_all() || refusal.is_io() {
        Vec::new()
    } else {
        acceptance::accepting(image, choice)
    };
    Error::Refused { path: image.path.clone(), refusal: Box::new(refusal), accepting }
}

/// The machine that `options` ask for.
pub fn machine(options: &JobOptions) -> Result<Machine, Error> {
    let machine = Machine::new(options.memory, options.cpus).map_err(Error::Machine)?;
    let machine = machine.with_devices(kinds(options)).map_err(Error::Machine)?;
    Ok(machine.with_leaf_size(options.leaf_size.into()).with_five_level(options.five_level))
}

/// What is on the PCI bus, in order: what was attached, a console, and the way for the system to
/// tell of itself.
fn kinds(options: &JobOptions) -> Vec<Kind> {
    let console = options.handed.has_hvc0().then_some(Kind::Console);
    let notify = options.system.notify.then_some(Kind::Vsock);
    attached::kinds(&options.devices).into_iter().chain(console).chain(notify).collect()
}

/// The job's files while they are opened, and whom some of them must come from.
struct Opening {
    files: Files,
    trust: Option<Trust>,
    verified: Vec<Origin>,
}

impl Opening {
    fn new(trust: Option<Trust>) -> Self {
        Self { files: Files::default(), trust, verified: Vec::new() }
    }

    /// Opens the UKI.
    ///
    /// In the order of `kexec_file_load(2)` (kernel/kexec_file.c,
    /// `kimage_file_prepare_segments`): what is no UKI at all is refused before its
    /// signature is looked at, and that before initrd and command line are.
    fn uki(&mut self, file: OpenFile, options: &JobOptions) -> Result<(), Error> {
        let profile = options.handed.profile.clone();
        let choice = handed::Choice { profile, ..handed::Choice::default() };
        let probe = || Accepted::read(&file, options.handed.reading(), &choice);
        if self.trust.is_some()
            && let Err(refusal) = probe()
            && matches!(refusal.cause, Cause::Uki(_) | Cause::Kernel(_))
        {
            return Err(refused(&file, refusal, &choice));
        }
        let file = self.admitted(file)?;
        self.files.push(file);
        Ok(())
    }

    /// Opens a file that nobody signs.
    fn unsigned(&mut self, path: &Path) -> Result<FileId, Error> {
        Ok(self.files.push(open(path)?))
    }

    /// The file, if anybody may have made it; or else what it is now, where nobody
    /// can change it any more, if it is from whom it must be.
    fn admitted(&mut self, file: OpenFile) -> Result<OpenFile, Error> {
        let Some(trust) = &self.trust else { return Ok(file) };
        verify::check_layout(&file)?;
        let failed = |source| Error::Read { path: file.path.clone(), source };
        let copy = file.private_copy().map_err(failed)?;
        self.verified.push(verify::verify(&copy, trust)?);
        Ok(copy)
    }
}

/// Opens a file of the job.
pub(crate) fn open(path: &Path) -> Result<OpenFile, Error> {
    OpenFile::open(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// The user's own initrd parts, each a whole file.
fn initrds(files: &mut Opening, options: &JobOptions) -> Result<Vec<FileSlice>, Error> {
    let whole = |path: &PathBuf| {
        let file = files.unsigned(path)?;
        let len = files.files.get(file).map_or(0, |open| open.len);
        Ok(FileSlice { file, range: FileRange::first(len) })
    };
    options.initrd.iter().map(whole).collect()
}

/// The addons beside the UKI, if wanted, and those that were named.
fn addons(files: &mut Opening, options: &JobOptions) -> Result<Vec<Addon>, Error> {
    check_addons_have_a_place(files.files.uki(), options)?;
    let paths = addon_paths(&options.image, options.handed.addons, &options.handed.addon)?;
    paths.iter().map(|path| addon(files, path)).collect()
}

/// Where the addons beside the UKI at `image` are, if wanted, and those that were
/// named.
pub(crate) fn addon_paths(
    image: &Path,
    beside: bool,
    named: &[PathBuf],
) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    if beside {
        let path = folder(image);
        match in_folder(&path) {
            Ok(found) => paths = found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                say(&format!("no addons: there is no folder {}", path.display()));
            }
            Err(source) => return Err(Error::Read { path, source }),
        }
    }
    paths.extend(named.iter().cloned());
    Ok(paths)
}

/// Whether the reading knows addons, if the user asks for those that may be there.
fn check_addons_have_a_place(image: &OpenFile, options: &JobOptions) -> Result<(), Error> {
    let reading = options.handed.reading();
    let knows_addons = |reading: Reading| reading.rules().scope.addons != Addons::None;
    if !options.handed.addons || knows_addons(reading) {
        return Ok(());
    }
    let cause = handed::Error::NoPlace { input: Input::Addons, rule: reading.rules().scope.rule };
    let mut accepting = acceptance::accepting(image, &handed::Choice::default());
    accepting.retain(|&reading| knows_addons(reading));
    let refusal = Box::new(Refusal { reading, cause: cause.into() });
    Err(Error::Refused { path: image.path.clone(), refusal, accepting })
}

/// An addon, from whom it must be: what it adds is read from what was verified.
fn addon(files: &mut Opening, path: &Path) -> Result<Addon, Error> {
    let file = open(path)?;
    let id = files.files.next_id();
    let read = |file: &OpenFile| {
        Addon::read(file, id).map_err(|source| Error::Addon { path: path.to_owned(), source })
    };
    // As with the UKI, what is no addon at all is refused first.
    let mut addon = read(&file)?;
    let file = files.admitted(file)?;
    if files.trust.is_some() {
        addon = read(&file)?;
    }
    files.files.push(file);
    Ok(addon)
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
