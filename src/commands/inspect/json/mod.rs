//! What `ukivm inspect --json` writes: ukify's shape, and our facts beside it.

mod content;
mod judged;

use std::collections::HashMap;

use firmware_less::{
    acceptance::Refusal,
    file_format::FileFormat,
    inspection::{Contents, is_text},
    kernel::Kernel,
    uki::{Name, Reading, Section, Sections},
};
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::subject::Subject;
use crate::{digest::hex, messages::chain, report::SCHEMA};
use content::{AddonReport, KernelReport, Part};
use judged::{PcrsigReport, SignatureReport, Verdict};

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
        map.serialize_entry("_kernel", &KernelReport::of(inspection))?;
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

impl Report<'_> {
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
