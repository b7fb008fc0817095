//! What `ukivm inspect --json` writes: ukify's shape, and our facts beside it.

use std::collections::HashMap;

use firmware_less::{
    file_format::FileFormat,
    inspection::{
        Contents, InitrdFacts, Inspection, KernelFacts, ReadingFacts, Segment, SignatureFacts,
        Unlike, is_text,
    },
    kernel::{Kernel, protocol},
    plan::{Content, FileId},
    uki::{
        Name, Reading, Section, Sections,
        authenticode::Signature,
        pcrsig::{PcrSignature, PcrSignatures},
    },
    verdict::Refusal,
};
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::subject::{AddonFacts, Applies, Subject};
use crate::{digest::hex, messages::chain, report::SCHEMA};

/// Whether `ukify inspect` of systemd 262 shows the section without `--all`
/// (`DEFAULT_SECTIONS_TO_SHOW`).
pub(super) fn is_shown(section: &Section) -> bool {
    if !section.raw_name.is_padded_with_nuls() {
        return false;
    }
    match section.name {
        Some(name) => name != Name::Sdmagic,
        None => section.raw_name.0 == *b".sbom\0\0\0",
    }
}

/// Where in the file the 64-bit entry point is.
pub(super) fn entry(kernel: &Kernel) -> u64 {
    kernel.protected_mode().offset().saturating_add(0x200)
}

/// With what a kernel's payload is compressed.
pub(in crate::commands) fn compression(payload: FileFormat) -> String {
    match payload {
        FileFormat::Compressed(with) => with.to_owned(),
        format => format.to_string(),
    }
}

/// The whole report.
pub(super) struct Report<'a> {
    subject: &'a Subject,
    all: bool,
}

impl<'a> Report<'a> {
    /// With `all`, every section is in it, whatever its name.
    pub(super) fn new(subject: &'a Subject, all: bool) -> Self {
        Self { subject, all }
    }

    fn group(&self, sections: Sections<'_>) -> Group<'a> {
        let inspection = &self.subject.inspection;
        let mut group = Group { names: Vec::new(), places: HashMap::new() };
        for section in sections.iter().filter(|section| self.all || is_shown(section)) {
            let contents =
                inspection.place(section).and_then(|place| inspection.contents.get(place));
            if let Some(contents) = contents {
                group.add(section, contents);
            }
        }
        group
    }
}

/// Sections by name, in the order of the table.
struct Group<'a> {
    names: Vec<(String, Entry<'a>)>,
    places: HashMap<String, usize>,
}

/// A name's section, or sections: a list where several are allowed, or are there
/// though they are not. `ukify.py`, `add_section_to_profile`.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry<'a> {
    One(SectionFacts<'a>),
    List(Vec<SectionFacts<'a>>),
}

impl<'a> Group<'a> {
    fn add(&mut self, section: &Section, contents: &'a Contents) {
        let name = if section.raw_name.is_padded_with_nuls() {
            section.raw_name.to_string()
        } else {
            section.raw_name.0.escape_ascii().to_string()
        };
        let facts = SectionFacts { section: *section, contents };
        match self.places.get(&name).and_then(|&place| self.names.get_mut(place)) {
            Some((_, Entry::List(list))) => list.push(facts),
            Some((_, one)) => {
                if let Entry::One(first) = std::mem::replace(one, Entry::List(Vec::new())) {
                    *one = Entry::List(vec![first, facts]);
                }
            }
            None => {
                let repeats = section.name.is_some_and(Name::repeats);
                let entry = if repeats { Entry::List(vec![facts]) } else { Entry::One(facts) };
                self.places.insert(name.clone(), self.names.len());
                self.names.push((name, entry));
            }
        }
    }
}

impl Serialize for Group<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.names.iter().map(|(name, entry)| (name, entry)))
    }
}

/// `size`, `sha256` and `text` as in ukify's `inspect_section`.
struct SectionFacts<'a> {
    section: Section,
    contents: &'a Contents,
}

impl Serialize for SectionFacts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("size", &self.contents.size)?;
        if let Some(digest) = &self.contents.sha256 {
            map.serialize_entry("sha256", &hex(digest))?;
        }
        let is_text = self.section.name.is_some_and(is_text);
        if let Some(text) = self.contents.shown().filter(|_| is_text) {
            map.serialize_entry("text", &text.as_deref().unwrap_or("(not valid UTF-8)"))?;
        }
        map.serialize_entry("_offset", &self.section.pointer_to_raw_data)?;
        map.serialize_entry("_size_of_raw_data", &self.section.size_of_raw_data)?;
        map.serialize_entry("_virtual_size", &self.section.virtual_size)?;
        map.serialize_entry("_virtual_address", &self.section.virtual_address)?;
        map.end()
    }
}

impl Serialize for Report<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inspection = &self.subject.inspection;
        let mut map = serializer.serialize_map(None)?;
        for (name, entry) in &self.group(inspection.sections().base()).names {
            map.serialize_entry(name, entry)?;
        }
        if !inspection.profiles.is_empty() {
            let table = &inspection.headers.sections;
            let own = |number| inspection.division.profile(table, number).unwrap_or_default().own();
            let numbers = 0..inspection.profiles.len();
            let profiles: Vec<_> = numbers.map(|number| self.group(own(number))).collect();
            map.serialize_entry("_profiles", &profiles)?;
        }
        map.serialize_entry("_schema", &SCHEMA)?;
        map.serialize_entry("_image", &self.subject.files.uki().path.display().to_string())?;
        map.serialize_entry("_file_size", &self.subject.files.uki().len)?;
        map.serialize_entry("_identity", &Identity::of(self.subject))?;
        map.serialize_entry("_profile", &inspection.profile)?;
        map.serialize_entry("_cmdline", &inspection.cmdline())?;
        let initrd: Vec<_> = inspection.initrd.iter().map(Part::of).collect();
        map.serialize_entry("_initrd", &initrd)?;
        let addons: Vec<_> = self.subject.addons.iter().map(AddonReport::of).collect();
        map.serialize_entry("_addons", &addons)?;
        map.serialize_entry("_kernel", &self.kernel())?;
        map.serialize_entry("_sbat", &self.sbat())?;
        map.serialize_entry("_signature", &SignatureReport::of(&inspection.signature))?;
        let pcr11 = inspection.pcr11().map(|value| hex(&value.value));
        map.serialize_entry("_pcr11", &pcr11.map(|value| HashMap::from([("sha256", value)])))?;
        map.serialize_entry("_pcrsig", &PcrsigReport::of(inspection))?;
        map.serialize_entry("_refused", &self.refused())?;
        let readings = inspection.readings.as_deref().unwrap_or_default();
        map.serialize_entry("_readings", &readings.iter().map(Verdict::of).collect::<Vec<_>>())?;
        let warnings: Vec<_> = inspection.warnings.iter().map(ToString::to_string).collect();
        map.serialize_entry("_warnings", &warnings)?;
        map.end()
    }
}

/// Who made it, and of what.
#[derive(Serialize)]
struct Identity {
    name: Option<String>,
    version: Option<String>,
    os_release: Vec<(String, String)>,
    uname: Option<String>,
    stub: Option<String>,
}

impl Identity {
    fn of(subject: &Subject) -> Self {
        let inspection = &subject.inspection;
        let release = inspection.os_release();
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        Self {
            name: release.name().map(str::to_owned),
            version: release.version().map(str::to_owned),
            os_release: release.fields().map(owned).collect(),
            uname: inspection.uname(),
            stub: inspection.stub().map(|stub| stub.to_string()),
        }
    }
}

/// A part of the initrd.
#[derive(Serialize)]
struct Part {
    origin: String,
    offset: u64,
    len: u64,
    /// Where in the UKI it is; null where it is packed, or an addon's.
    file_offset: Option<u64>,
    segments: Vec<SegmentReport>,
}

#[derive(Serialize)]
struct SegmentReport {
    format: String,
    /// From the part's beginning.
    offset: u64,
    len: u64,
    records: Option<u32>,
    sha256: Option<String>,
}

impl Part {
    fn of(part: &InitrdFacts) -> Self {
        let base = match &part.content {
            Content::File(slice) => slice.range.offset(),
            Content::Bytes(_) => 0,
        };
        let in_uki = matches!(&part.content, Content::File(slice) if slice.file == FileId::UKI);
        let digests = part.digests.iter().copied().chain(std::iter::repeat(None));
        let segment = |(segment, digest): (&Segment, Option<[u8; 32]>)| SegmentReport {
            format: segment.format.to_string(),
            offset: segment.range.offset().saturating_sub(base),
            len: segment.range.len(),
            records: segment.records,
            sha256: digest.map(|digest| hex(&digest)),
        };
        Self {
            origin: part.origin.to_string(),
            offset: part.offset,
            len: part.content.len(),
            file_offset: in_uki.then_some(base),
            segments: part.segments.iter().zip(digests).map(segment).collect(),
        }
    }
}

/// An addon.
#[derive(Serialize)]
struct AddonReport {
    path: String,
    applied: bool,
    cmdline: Option<String>,
    initrd: Option<u64>,
    ucode: Option<u64>,
    uname: Option<String>,
    refused: Option<String>,
}

impl AddonReport {
    fn of(facts: &AddonFacts) -> Self {
        let addon = facts.found.as_ref().ok();
        Self {
            path: facts.path.display().to_string(),
            applied: facts.applies == Applies::Yes,
            cmdline: addon.and_then(|addon| addon.cmdline.clone()),
            initrd: addon.and_then(|addon| addon.initrd).map(|slice| slice.range.len()),
            ucode: addon.and_then(|addon| addon.ucode).map(|slice| slice.range.len()),
            uname: addon.and_then(|addon| addon.uname.as_ref()).map(|uname| uname.as_str().into()),
            refused: facts.found.as_ref().err().cloned(),
        }
    }
}

/// The kernel's headers, in the boot protocol's names where it has any.
#[derive(Serialize)]
#[serde(untagged)]
enum KernelReport {
    Sound {
        version: Option<String>,
        protocol: String,
        entry_file_offset: u64,
        pref_address: u64,
        kernel_alignment: u64,
        init_size: u64,
        cmdline_size: u64,
        xloadflags: u16,
        payload: Option<String>,
        /// The least RAM, in bytes, of a machine that everything can be loaded on.
        least_memory: Option<u64>,
    },
    Refused {
        refused: String,
    },
}

impl Report<'_> {
    fn kernel(&self) -> Option<KernelReport> {
        let inspection = &self.subject.inspection;
        Some(match inspection.kernel.as_ref()? {
            Err(error) => KernelReport::Refused { refused: chain(error) },
            Ok(KernelFacts { kernel, version, payload }) => KernelReport::Sound {
                version: version.clone(),
                protocol: protocol(kernel.version()),
                entry_file_offset: entry(kernel),
                pref_address: kernel.pref_address(),
                kernel_alignment: kernel.kernel_alignment(),
                init_size: kernel.init_size(),
                cmdline_size: kernel.cmdline_size(),
                xloadflags: kernel.xloadflags(),
                payload: payload.map(|(format, _)| compression(format)),
                least_memory: inspection.least_memory().and_then(Result::ok),
            },
        })
    }

    /// Why nothing is handed over by default, if nothing is.
    fn refused(&self) -> Option<String> {
        match &self.subject.inspection.readings {
            Err(error) => Some(chain(error)),
            Ok(all) => all
                .iter()
                .find(|facts| facts.reading == Reading::default())
                .and_then(|facts| facts.verdict.as_ref().err().map(Refusal::reason)),
        }
    }

    fn sbat(&self) -> Vec<(String, String)> {
        let entries = self.subject.inspection.sbat().into_iter();
        entries.map(|entry| (entry.component, entry.generation)).collect()
    }
}

/// By whom it claims to be signed.
#[derive(Serialize)]
struct SignatureReport {
    signatures: Vec<Claim>,
    /// Why they can't be read.
    error: Option<String>,
    /// Why no signature could cover all of the file.
    layout: Option<String>,
}

/// What one signature claims.
#[derive(Serialize)]
struct Claim {
    signer: Option<String>,
    issuer: String,
    serial: String,
    hash: String,
    digest: String,
    /// Whether that is the file's; null where nobody looked.
    digest_matches: Option<bool>,
}

impl SignatureReport {
    fn of(found: &SignatureFacts) -> Self {
        let claim = |(number, signature): (usize, &Signature)| Claim {
            signer: signature.signer.clone(),
            issuer: signature.issuer.clone(),
            serial: signature.serial.clone(),
            hash: signature.hash.to_string(),
            digest: hex(&signature.digest),
            digest_matches: found.digests_match.get(number).copied(),
        };
        let signatures = found.facts.signatures.as_deref().unwrap_or_default();
        Self {
            signatures: signatures.iter().enumerate().map(claim).collect(),
            error: found.facts.signatures.as_ref().err().map(|error| chain(error)),
            layout: found.facts.layout.as_ref().err().map(|error| chain(error)),
        }
    }
}

/// Whether the signatures in `.pcrsig` are good.
#[derive(Serialize)]
struct PcrsigReport {
    good: bool,
    signatures: Vec<PcrSignatureReport>,
    /// Why they can't be read.
    error: Option<String>,
}

#[derive(Serialize)]
struct PcrSignatureReport {
    bank: String,
    policy: String,
    /// What is wrong with it.
    wrong: Vec<&'static str>,
}

impl PcrsigReport {
    fn of(inspection: &Inspection) -> Option<Self> {
        let found = inspection.pcr_signatures.as_ref()?;
        let all = found.as_ref().map(|all| all.0.as_slice()).unwrap_or_default();
        let report = |one: &PcrSignature| PcrSignatureReport {
            bank: one.bank.clone(),
            policy: one.policy.clone(),
            wrong: one.wrong(),
        };
        Some(Self {
            good: found.as_ref().is_ok_and(PcrSignatures::are_good),
            signatures: all.iter().map(report).collect(),
            error: found.as_ref().err().map(|error| chain(error)),
        })
    }
}

/// What a reading makes of it.
#[derive(Serialize)]
struct Verdict {
    reading: Reading,
    accepts: bool,
    /// Why not.
    reason: Option<String>,
    /// Lengths in bytes of what is handed over.
    kernel: Option<u64>,
    initrd: Option<u64>,
    cmdline: Option<u64>,
    /// Whether that is what the stub hands over, byte for byte.
    same_as_stub: Option<bool>,
}

impl Verdict {
    fn of(facts: &ReadingFacts) -> Self {
        let given = facts.verdict.as_ref().ok();
        Self {
            reading: facts.reading,
            accepts: given.is_some(),
            reason: facts.verdict.as_ref().err().map(Refusal::reason),
            kernel: given.map(|given| given.kernel),
            initrd: given.map(|given| given.initrd),
            cmdline: given.map(|given| given.cmdline),
            same_as_stub: given
                .and_then(|given| given.unlike_stub)
                .map(|unlike| unlike == Unlike::default()),
        }
    }
}
