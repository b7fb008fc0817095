//! [`PcrSignatures`]: the signatures in `.pcrsig`, held against what they are of.
//!
//! systemd `src/measure/measure-tool.c`, `verb_sign`: JSON, by bank, of signed TPM
//! policies, each of which says that register 11 has one value. No TPM is needed to
//! tell whether that is the value which the UKI's own content gives.

use std::{collections::BTreeMap, fmt, io};

use base64ct::{Base64, Encoding as _};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::{
    Name, Profile, Section, Uki,
    authenticode::{Hash, PublicKey, Scheme},
    handed::TEXT_MAX,
    pcr11::{self, Bank, Pcr11, PhasePath},
    pem,
};
use crate::{
    bytes::{hex, until_nul},
    read_at::{ReadAt, fetch},
};

/// The longest `.pcrsig` that is read.
const PCRSIG_MAX: u32 = 1 << 20;
/// The most signatures that are checked.
const SIGNATURES_MAX: usize = 4096;
/// The most other profiles that a policy is tried for, each of which may have to be
/// hashed: as many as systemd-boot knows. `src/fundamental/uki.h`,
/// `UNIFIED_PROFILES_MAX`.
const PROFILES_MAX: usize = 256;
/// The TPM's number of the command PolicyPCR.
const POLICY_PCR: u32 = 0x17f;

/// Every signature in a profile's `.pcrsig`, in the order of the file within each
/// bank; banks by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcrSignatures(pub Vec<PcrSignature>);

/// One signature, and what became of holding it against the UKI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcrSignature {
    /// The bank, as the section names it.
    pub bank: String,
    /// The registers that the policy is over: `[11]`.
    pub pcrs: Vec<u32>,
    /// SHA-256 of the policy, in hex.
    pub policy: String,
    /// What else is signed, if anything.
    pub reference: Option<String>,
    /// Which content and phases give that policy.
    pub of: Option<Moment>,
    /// Whether it says that it is by the key in `.pcrpkey`.
    pub key: Key,
    /// Whether that key made it; `None` where there is no key to tell by.
    pub is_signed: Option<bool>,
}

/// What register 11 has a value after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The profile that was measured.
    pub profile: usize,
    /// The phases that were measured after it.
    pub path: PhasePath,
}

/// Whose key a signature says that it is by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// That in `.pcrpkey`.
    Own,
    /// Another.
    Other,
    /// There is no `.pcrpkey` to compare with.
    Unknown,
}

/// Why signatures cannot be held against anything.
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
    /// Longer than it should be.
    #[error("section {section} has {found:#x} bytes, at most {max:#x} are read")]
    TooLong {
        /// Which section.
        section: Name,
        /// Its length.
        found: u32,
        /// The most there may be.
        max: u32,
    },
    /// Not the JSON that it should be.
    #[error("section .pcrsig is not the JSON that systemd-measure writes")]
    Json(#[from] serde_json::Error),
    /// More than anybody makes.
    #[error("section .pcrsig has more than {SIGNATURES_MAX} signatures")]
    TooMany,
    /// Not a key.
    #[error("section .pcrpkey has no public key (PEM, RSA or ECDSA) that is understood")]
    Key,
    /// The content cannot be measured.
    #[error(transparent)]
    Measure(#[from] pcr11::Error),
}

/// An entry as it is written. What else it has does not matter here.
#[derive(Debug, Deserialize)]
struct Entry {
    pcrs: Vec<u32>,
    pkfp: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    pol: String,
    sig: Option<String>,
}

impl PcrSignatures {
    /// The signatures of `profile`, one of those of the UKI in `source`; `None` if
    /// it has no `.pcrsig`. `paths` are tried beside those that systemd-measure signs
    /// by default.
    ///
    /// Reads all that is measured, once for each bank that occurs; and once more for
    /// each other profile, where a policy is not of this one: the base's `.pcrsig` may
    /// have those of all profiles (ukify `--join-profile`).
    pub fn check(
        source: &(impl ReadAt + ?Sized),
        uki: &Uki,
        profile: &Profile<'_>,
        paths: &[PhasePath],
    ) -> Result<Option<Self>, Error> {
        let Some(section) = profile.section(Name::Pcrsig) else { return Ok(None) };
        let json = bytes(source, Name::Pcrsig, section, PCRSIG_MAX)?;
        let text = until_nul(&json);
        let banks: BTreeMap<String, Vec<Entry>> = serde_json::from_slice(text)?;
        if banks.values().map(Vec::len).sum::<usize>() > SIGNATURES_MAX {
            return Err(Error::TooMany);
        }
        let key = public_key(source, profile)?;
        let mut moments = Moments::new(source, uki, profile, paths);
        let mut signatures = Vec::new();
        for (bank, entries) in banks {
            for entry in entries {
                let of = match (Bank::ALL.into_iter().find(|own| own.as_str() == bank), &entry) {
                    (Some(own), Entry { pcrs, pol, .. }) if *pcrs == [pcr11::INDEX] => {
                        moments.find(own, pol)?
                    }
                    _ => None,
                };
                signatures.push(entry.checked(bank.clone(), of, key.as_ref()));
            }
        }
        Ok(Some(Self(signatures)))
    }

    /// Whether there are signatures and nothing is wrong with any.
    #[must_use]
    pub fn are_good(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|one| one.wrong().is_empty())
    }
}

impl Entry {
    fn checked(self, bank: String, of: Option<Moment>, own: Option<&PublicKey>) -> PcrSignature {
        let key = match (own, &self.pkfp) {
            (None, _) => Key::Unknown,
            (Some(own), Some(pkfp)) if fingerprint(own).eq_ignore_ascii_case(pkfp) => Key::Own,
            (Some(_), _) => Key::Other,
        };
        let is_signed = own.map(|own| self.is_signed_by(own));
        PcrSignature {
            bank,
            pcrs: self.pcrs,
            policy: self.pol.to_ascii_lowercase(),
            reference: self.reference,
            of,
            key,
            is_signed,
        }
    }

    /// Whether `key` signed the policy, and SHA-256 of what it refers to, as
    /// systemd-measure 262 does with `--policyref`.
    fn is_signed_by(&self, key: &PublicKey) -> bool {
        let scheme = match key {
            PublicKey::Rsa(_) => Scheme::Rsa(Hash::Sha256),
            PublicKey::P256(_) | PublicKey::P384(_) => Scheme::Ecdsa(Hash::Sha256),
        };
        let signature = self.sig.as_ref().and_then(|sig| Base64::decode_vec(sig).ok());
        let (Some(signature), Some(mut message)) = (signature, unhex(&self.pol)) else {
            return false;
        };
        message.extend(self.reference.iter().flat_map(Sha256::digest));
        key.verify(scheme, &message, &signature).is_ok()
    }
}

impl PcrSignature {
    /// What is wrong with it, each as the end of a sentence; nothing if it is good.
    #[must_use]
    pub fn wrong(&self) -> Vec<&'static str> {
        let mut wrong = Vec::new();
        if self.pcrs != [pcr11::INDEX] {
            wrong.push("is not of register 11 alone");
        } else if self.of.is_none() {
            wrong.push("is of no content here after any known phase path");
        }
        match self.key {
            Key::Own => {}
            Key::Other => wrong.push("names another key than that in .pcrpkey"),
            Key::Unknown => wrong.push("cannot be told good or bad without a .pcrpkey"),
        }
        if self.is_signed == Some(false) {
            wrong.push("was not made by the key in .pcrpkey");
        }
        wrong
    }
}

impl fmt::Display for PcrSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.bank.escape_debug())?;
        match &self.of {
            Some(moment) => write!(f, "{moment}")?,
            None => write!(f, "policy {}", self.policy.escape_debug())?,
        }
        match self.wrong().as_slice() {
            [] => f.write_str(": good"),
            wrong => write!(f, ": {}", wrong.join("; ")),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.profile != 0 {
            write!(f, "profile {} ", self.profile)?;
        }
        if self.path.is_empty() { f.write_str(":") } else { fmt::Display::fmt(&self.path, f) }
    }
}

/// The policies that the UKI's content gives, computed when they are asked for.
struct Moments<'a, R: ?Sized> {
    source: &'a R,
    uki: &'a Uki,
    /// Which profiles to try, the one that was asked for first.
    profiles: Vec<usize>,
    paths: Vec<PhasePath>,
    known: BTreeMap<(Bank, usize), Vec<String>>,
}

impl<'a, R: ReadAt + ?Sized> Moments<'a, R> {
    fn new(source: &'a R, uki: &'a Uki, profile: &Profile<'_>, paths: &[PhasePath]) -> Self {
        let mut profiles = vec![profile.number()];
        let others = 0..uki.profile_count().min(PROFILES_MAX);
        profiles.extend(others.filter(|&other| other != profile.number()));
        let mut all = vec![PhasePath::default()];
        all.extend(PhasePath::defaults());
        all.extend(paths.iter().cloned());
        Self { source, uki, profiles, paths: all, known: BTreeMap::new() }
    }

    /// What gives that policy in that bank.
    fn find(&mut self, bank: Bank, policy: &str) -> Result<Option<Moment>, Error> {
        for profile in self.profiles.clone() {
            let policies = self.policies(bank, profile)?;
            let place = policies.iter().position(|own| own.eq_ignore_ascii_case(policy));
            if let Some(path) = place.and_then(|place| self.paths.get(place)) {
                return Ok(Some(Moment { profile, path: path.clone() }));
            }
        }
        Ok(None)
    }

    /// The policy after each of the paths.
    fn policies(&mut self, bank: Bank, profile: usize) -> Result<&[String], Error> {
        if !self.known.contains_key(&(bank, profile)) {
            let values = match self.uki.profile(profile) {
                Ok(profile) => Pcr11::read(self.source, &profile, &[bank])?,
                Err(_) => Vec::new(),
            };
            let after = |path| values.first().map(|value| policy(&value.after(path)));
            let policies = self.paths.iter().filter_map(after).collect();
            self.known.insert((bank, profile), policies);
        }
        Ok(self.known.get(&(bank, profile)).map(Vec::as_slice).unwrap_or_default())
    }
}

/// The TPM's policy that register 11 has that value, in hex: SHA-256 whatever the
/// bank. TPM 2.0 library, part 3, "TPM2_PolicyPCR"; `src/shared/tpm2-util.c`,
/// `tpm2_calculate_policy_pcr`.
#[must_use]
pub fn policy(value: &Pcr11) -> String {
    let algorithm: u16 = match value.bank {
        Bank::Sha1 => 0x4,
        Bank::Sha256 => 0xb,
        Bank::Sha384 => 0xc,
        Bank::Sha512 => 0xd,
    };
    let mut hash = Sha256::new();
    hash.update([0; 32]);
    hash.update(POLICY_PCR.to_be_bytes());
    // One selection: a bank, and three bytes of a bit for each register.
    hash.update(1_u32.to_be_bytes());
    hash.update(algorithm.to_be_bytes());
    hash.update([3, 0, 1 << (pcr11::INDEX % 8), 0]);
    hash.update(Sha256::digest(&value.value));
    hex(&hash.finalize())
}

/// How `.pcrsig` names a key: SHA-256 of its PKCS#1 form, or of its point.
fn fingerprint(key: &PublicKey) -> String {
    let (PublicKey::Rsa(bytes) | PublicKey::P256(bytes) | PublicKey::P384(bytes)) = key;
    hex(&Sha256::digest(bytes))
}

/// The key in the profile's `.pcrpkey`.
fn public_key(
    source: &(impl ReadAt + ?Sized),
    profile: &Profile<'_>,
) -> Result<Option<PublicKey>, Error> {
    let Some(section) = profile.section(Name::Pcrpkey) else { return Ok(None) };
    let text = bytes(source, Name::Pcrpkey, section, TEXT_MAX)?;
    let blocks = pem::contents(&text, "PUBLIC KEY").or(Err(Error::Key))?;
    let info = match blocks.first() {
        Some(block) => SubjectPublicKeyInfoRef::try_from(block.as_slice()).or(Err(Error::Key))?,
        None => return Err(Error::Key),
    };
    PublicKey::from_info(&info).map(Some).or(Err(Error::Key))
}

fn bytes(
    source: &(impl ReadAt + ?Sized),
    name: Name,
    section: Section,
    max: u32,
) -> Result<Vec<u8>, Error> {
    let found = section.virtual_size;
    if found > max {
        return Err(Error::TooLong { section: name, found, max });
    }
    fetch(source, section.range().offset(), found.into())
        .map_err(|source| Error::Read { section: name, source })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| {
        let digits = std::str::from_utf8(pair).ok().filter(|text| !text.starts_with('+'))?;
        u8::from_str_radix(digits, 16).ok()
    };
    rest.is_empty().then(|| pairs.iter().map(byte).collect()).flatten()
}
