//! [`Pcr11`]: the TPM register in which systemd-stub measures a UKI's content.

mod bank;
mod phase_path;

pub use bank::Bank;
pub use phase_path::PhasePath;

use std::io;

use sha2::digest::DynDigest;
use thiserror::Error;

use super::{Name, Profile, Section};
use crate::{range::index, read_at::ReadAt};

/// The register's number. systemd `src/fundamental/tpm2-pcr.h`,
/// `TPM2_PCR_KERNEL_BOOT`.
pub const INDEX: u32 = 11;
/// How much of a section is in memory at once.
const CHUNK: usize = 1 << 18;

/// The value of register 11 in one bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pcr11 {
    /// Which hash it is made with.
    pub bank: Bank,
    /// The value.
    pub value: Vec<u8>,
}

/// Why the value cannot be computed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A section cannot be read.
    #[error("section {section} cannot be read")]
    Read {
        /// Which one.
        section: Name,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Pcr11 {
    /// The values when the stub has measured `profile` of the UKI in `source`, and
    /// nothing has been measured after it.
    ///
    /// `src/boot/stub.c`, `measure_sections`: of each section that is set, the
    /// name with its NUL, then the content. Reads each section once, in pieces.
    pub fn read(
        source: &(impl ReadAt + ?Sized),
        profile: &Profile<'_>,
        banks: &[Bank],
    ) -> Result<Vec<Self>, Error> {
        let mut values: Vec<_> = banks.iter().map(|&bank| Self::empty(bank)).collect();
        for (name, section) in measured(profile) {
            let content = content_hashes(source, section, banks)
                .map_err(|source| Error::Read { section: name, source })?;
            for (value, content) in values.iter_mut().zip(content) {
                value.extend_with_section(name, &content);
            }
        }
        Ok(values)
    }

    /// The value in `bank` when sections whose content has those hashes have been
    /// measured, in the order of [`measured`].
    #[must_use]
    pub fn of_hashes<'a>(bank: Bank, contents: impl IntoIterator<Item = (Name, &'a [u8])>) -> Self {
        let mut value = Self::empty(bank);
        for (name, content) in contents {
            value.extend_with_section(name, content);
        }
        value
    }

    fn empty(bank: Bank) -> Self {
        Self { bank, value: vec![0; bank.hash().output_size()] }
    }

    /// Measures a section: its name with its NUL, then its content.
    fn extend_with_section(&mut self, name: Name, content: &[u8]) {
        self.extend(&[name.as_str().as_bytes(), &[0]].concat());
        self.extend_with(content);
    }

    /// The value after the phases of `path` have been measured too.
    #[must_use]
    pub fn after(&self, path: &PhasePath) -> Self {
        let mut after = self.clone();
        for word in path.words() {
            after.extend(word.as_bytes());
        }
        after
    }

    /// Measures `data`.
    fn extend(&mut self, data: &[u8]) {
        let mut hash = self.bank.hash();
        hash.update(data);
        self.extend_with(&hash.finalize());
    }

    /// Measures what has that `digest`.
    fn extend_with(&mut self, digest: &[u8]) {
        let mut hash = self.bank.hash();
        hash.update(&self.value);
        hash.update(digest);
        self.value = hash.finalize().into();
    }
}

/// The sections of `profile` that the stub measures, in its order.
pub fn measured(profile: &Profile<'_>) -> impl Iterator<Item = (Name, Section)> {
    let names = Name::ALL.into_iter().filter(|&name| is_measured(name));
    names.filter_map(|name| Some((name, profile.section(name)?)))
}

/// Whether the stub measures the section where it is set.
///
/// The order is that of [`Name`], which is systemd's `src/fundamental/uki.h`, not
/// the "canonical order" of the specification. Signatures of values cannot be
/// part of them; `.dtbauto` and `.efifw` count where the hardware's `.hwids`
/// select one, which nothing does on a machine without firmware; `.sdmagic` is
/// not among the stub's sections.
fn is_measured(name: Name) -> bool {
    !matches!(name, Name::Pcrsig | Name::DtbAuto | Name::EfiFw | Name::Sdmagic)
}

/// The hash of a section's content in each of `banks`.
fn content_hashes(
    source: &(impl ReadAt + ?Sized),
    section: Section,
    banks: &[Bank],
) -> io::Result<Vec<Box<[u8]>>> {
    let mut hashes: Vec<_> = banks.iter().map(|bank| bank.hash()).collect();
    let range = section.range();
    let mut buffer = vec![0; CHUNK.min(index(range.len()))];
    let mut offset = range.offset();
    while offset < range.end() {
        let step = range.end().saturating_sub(offset).min(CHUNK as u64);
        let chunk = buffer.get_mut(..index(step)).unwrap_or_default();
        source.read_exact_at(offset, chunk)?;
        for hash in &mut hashes {
            hash.update(chunk);
        }
        offset = offset.saturating_add(step);
    }
    Ok(hashes.into_iter().map(DynDigest::finalize).collect())
}
