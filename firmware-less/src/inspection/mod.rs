//! [`Inspection`]: all that can be said of a UKI without booting it.
//!
//! Describes whatever has headers that can be read, be it accepted or refused.

mod contents;
mod initrd;
mod readings;
mod sbat;
mod segment;
mod signature;
mod stub;
mod warning;

pub use contents::{Contents, Digest, is_text};
pub use initrd::InitrdFacts;
pub use readings::{Given, ReadingFacts, Unlike};
pub use sbat::SbatEntry;
pub use segment::{End, Format, RecordsMax, Segment};
pub use signature::SignatureFacts;
pub use stub::Stub;
pub use warning::Warning;

use std::io;

use thiserror::Error;

use crate::{
    file_format::FileFormat,
    handoff::kexec::{self, Flavour, least_memory},
    kernel::{self, Kernel},
    plan::{Content, FileId},
    range::FileRange,
    read_at::{ReadAt, fetch},
    uki::{
        self, Description, Division, Handed, Headers, Name, OsRelease, Profile, Section, Uki,
        cmdline::mangle_lossily,
        handed::{self, Choice},
        pcr11::{Bank, Pcr11, measured},
        pcrsig::{self, PcrSignatures},
        selector,
    },
};
use contents::Hasher;

/// With more profiles than this `.pcrsig` is not looked at.
const PROFILES_MAX: usize = 16;

/// How thorough an inspection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Headers and texts: a few hundred KiB are read, however long the file is.
    Headers,
    /// All of it, for digests.
    Whole,
}

impl Depth {
    fn records_max(self) -> RecordsMax {
        RecordsMax(match self {
            Self::Headers => 1024,
            Self::Whole => 1 << 20,
        })
    }
}

/// Why a file cannot be described.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Its headers are not those of a PE file for x86-64.
    #[error(transparent)]
    Headers(#[from] uki::Error),
    /// There is no such profile.
    #[error(transparent)]
    Profile(#[from] selector::Error),
    /// It cannot be read.
    #[error("its content cannot be read")]
    Read(#[from] io::Error),
}

/// What the kernel's own headers say.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelFacts {
    /// The setup header, checked.
    pub kernel: Kernel,
    /// What the kernel says of its version.
    pub version: Option<String>,
    /// The compressed kernel proper: what with, and where in the file.
    pub payload: Option<(FileFormat, FileRange)>,
}

/// All that is known of a UKI, as one of its profiles is booted.
#[derive(Debug)]
pub struct Inspection {
    /// The headers as they are in the file.
    pub headers: Headers,
    /// What each section holds, in the order of the table.
    pub contents: Vec<Contents>,
    /// How the table is divided into profiles.
    pub division: Division,
    /// What each profile says of itself.
    pub profiles: Vec<Description>,
    /// The number of the profile that is looked at.
    pub profile: usize,
    /// Why the file is refused as a UKI, if it is.
    pub refused: Option<uki::Error>,
    /// What systemd-stub would hand over; `None` where the file is refused.
    pub handed: Option<Result<Handed, handed::Error>>,
    /// What each reading makes of it; an error where it is no UKI by any.
    pub readings: Result<Vec<ReadingFacts>, uki::Error>,
    /// The kernel; `None` where there is none.
    pub kernel: Option<Result<KernelFacts, kernel::Error>>,
    /// The initrd, in order.
    pub initrd: Vec<InitrdFacts>,
    /// By whom it claims to be signed.
    pub signature: SignatureFacts,
    /// The signatures in `.pcrsig`, held against its content; `None` where there is
    /// none, or nobody looked.
    pub pcr_signatures: Option<Result<PcrSignatures, pcrsig::Error>>,
    /// What the user may want to mend.
    pub warnings: Vec<Warning>,
}

impl Inspection {
    /// Inspects the first of `files`; the others are those that `choice` names.
    ///
    /// Tells `progress` how many bytes have been hashed, of how many at most.
    pub fn read(
        files: &[&dyn ReadAt],
        choice: &Choice,
        depth: Depth,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, Error> {
        let source = *files.get(FileId::UKI.0).ok_or(io::Error::from(io::ErrorKind::NotFound))?;
        let headers = Headers::read(source)?;
        let mut contents = contents::read(source, &headers)?;
        let division = Division::of(&headers.sections);
        let profiles = descriptions(&headers, &contents);
        let describe = |number| profiles.get(number).cloned().unwrap_or_default();
        let number = choice.profile.find_among(division.count(), describe)?;
        let profile = division.profile(&headers.sections, number).unwrap_or_default();
        let (handed, refused) = match Uki::read(source) {
            Ok(uki) => (Some(Handed::read(source, &uki, choice)), None),
            Err(error) => (None, Some(error)),
        };
        let given = handed.as_ref().and_then(|handed| handed.as_ref().ok());
        let mut initrd = initrd::parts(given, &profile, headers.file_len);
        for part in &mut initrd {
            part.segments = initrd::of_part(&part.content, files, depth.records_max())?;
        }
        if depth == Depth::Whole {
            hash(source, &mut contents, &mut initrd, progress)?;
        }
        let kernel = kernel_facts(source, &profile, headers.file_len);
        let found = Self {
            pcr_signatures: (depth == Depth::Whole)
                .then(|| pcr_signatures(source, number, division.count()))
                .flatten(),
            signature: signature::of(source, &headers, depth)?,
            headers,
            contents,
            division,
            profiles,
            profile: number,
            refused,
            handed,
            readings: readings::of(source, choice),
            kernel,
            initrd,
            warnings: Vec::new(),
        };
        Ok(Self { warnings: warning::of(source, &found)?, ..found })
    }

    /// The sections that hold for the profile that is looked at.
    #[must_use]
    pub fn sections(&self) -> Profile<'_> {
        self.division.profile(&self.headers.sections, self.profile).unwrap_or_default()
    }

    /// What the section of that name holds in the profile that is looked at.
    #[must_use]
    pub fn content(&self, name: Name) -> Option<&Contents> {
        let section = self.sections().section(name)?;
        self.contents.get(self.place(&section)?)
    }

    /// The fields of `.osrel`.
    #[must_use]
    pub fn os_release(&self) -> OsRelease {
        let text = self.content(Name::Osrel).and_then(|contents| contents.text.as_deref());
        OsRelease::parse(text.unwrap_or_default())
    }

    /// The kernel's version as `.uname` has it.
    #[must_use]
    pub fn uname(&self) -> Option<String> {
        let text = self.content(Name::Uname)?.text.as_deref()?;
        Some(uki::Release::new(text).as_str().to_owned()).filter(|uname| !uname.is_empty())
    }

    /// The boot stub.
    #[must_use]
    pub fn stub(&self) -> Option<Stub> {
        Stub::parse(&self.content(Name::Sdmagic)?.lossy()?)
    }

    /// The lines of `.sbat`.
    #[must_use]
    pub fn sbat(&self) -> Vec<SbatEntry> {
        let text = self.content(Name::Sbat).and_then(Contents::lossy);
        SbatEntry::parse(&text.unwrap_or_default())
    }

    /// Where in the table a section is.
    #[must_use]
    pub fn place(&self, section: &Section) -> Option<usize> {
        self.headers.sections.iter().position(|found| found == section)
    }

    /// What would be handed over, if anything would.
    #[must_use]
    pub fn given(&self) -> Option<&Handed> {
        self.handed.as_ref()?.as_ref().ok()
    }

    /// The command line; where nothing would be handed over, what can be told of
    /// `.cmdline`.
    #[must_use]
    pub fn cmdline(&self) -> Option<String> {
        match self.given() {
            Some(handed) => Some(String::from_utf8_lossy(&handed.cmdline).into_owned()),
            None => self.content(Name::Cmdline)?.text.as_deref().map(mangle_lossily),
        }
    }

    /// The least RAM, in bytes, of a machine that all of it fits; `None` where
    /// nothing is handed over.
    #[must_use]
    pub fn least_memory(&self) -> Option<Result<u64, kexec::Error>> {
        let kernel = self.kernel.as_ref()?.as_ref().ok()?;
        Some(least_memory(&kernel.kernel, self.given()?, Flavour::default()))
    }

    /// PCR 11 with SHA-256 before any boot phase, if there are digests.
    #[must_use]
    pub fn pcr11(&self) -> Option<Pcr11> {
        // The stub measures nothing of a profile that it can't boot.
        if self.refused.is_some() || self.sections().linux().is_err() {
            return None;
        }
        let profile = self.sections();
        let hashes = measured(&profile).map(|(name, section)| {
            let contents = self.contents.get(self.place(&section)?)?;
            Some((name, contents.sha256.as_ref()?.as_slice()))
        });
        Some(Pcr11::of_hashes(Bank::Sha256, hashes.collect::<Option<Vec<_>>>()?))
    }
}

/// What each `.profile` section says, in the order of the table.
fn descriptions(headers: &Headers, contents: &[Contents]) -> Vec<Description> {
    let all = headers.sections.iter().zip(contents);
    let profiles = all.filter(|(section, _)| section.is(Name::Profile)).enumerate();
    let describe = |(number, (_, contents)): (usize, (_, &Contents))| {
        Description::parse(number, contents.text.as_deref().unwrap_or_default())
    };
    profiles.map(describe).collect()
}

/// Fills in the digests of `contents` and of the segments of `initrd`.
fn hash(
    source: &dyn ReadAt,
    contents: &mut [Contents],
    initrd: &mut [InitrdFacts],
    progress: &mut dyn FnMut(u64, u64),
) -> io::Result<()> {
    let total = contents.iter().fold(0, |sum, contents| contents.range.len().saturating_add(sum));
    let mut progress = |hashed| progress(hashed, total);
    let mut hasher = Hasher::new(source, &mut progress);
    for contents in contents {
        contents.sha256 = hasher.digest(contents.range)?;
    }
    for part in initrd {
        let in_uki = matches!(&part.content, Content::File(slice) if slice.file == FileId::UKI);
        let segments = part.segments.iter().filter(|_| in_uki);
        part.digests =
            segments.map(|found| hasher.digest(found.range)).collect::<Result<_, _>>()?;
    }
    Ok(())
}

/// Holds `.pcrsig` against its content, unless there are too many profiles: each may
/// have to be hashed.
fn pcr_signatures(
    source: &dyn ReadAt,
    number: usize,
    profiles: usize,
) -> Option<Result<PcrSignatures, pcrsig::Error>> {
    let uki = Uki::read(source).ok().filter(|_| profiles <= PROFILES_MAX)?;
    let profile = uki.profile(number).ok()?;
    PcrSignatures::check(source, &uki, &profile, &[]).transpose()
}

fn kernel_facts(
    source: &dyn ReadAt,
    profile: &Profile<'_>,
    file_len: u64,
) -> Option<Result<KernelFacts, kernel::Error>> {
    let range = profile.section(Name::Linux)?.range();
    let range = range.take(file_len.saturating_sub(range.offset()));
    let facts = |kernel: Kernel| KernelFacts {
        version: kernel::version(source, range, &kernel),
        payload: payload(source, &kernel),
        kernel,
    };
    Some(Kernel::read(source, range).map(facts))
}

fn payload(source: &dyn ReadAt, kernel: &Kernel) -> Option<(FileFormat, FileRange)> {
    let range = kernel.payload()?;
    let start = fetch(source, range.offset(), range.len().min(16)).ok()?;
    Some((FileFormat::of(&start), range))
}
