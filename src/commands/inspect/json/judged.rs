//! What is claimed of a UKI, and what is made of it, as JSON.

use firmware_less::{
    acceptance::Refusal,
    inspection::{Inspection, ReadingFacts, SignatureFacts, Unlike},
    uki::{
        Reading,
        authenticode::Signature,
        pcrsig::{PcrSignature, PcrSignatures},
    },
};
use serde::Serialize;

use crate::{digest::hex, messages::chain};

/// By whom it claims to be signed.
#[derive(Serialize)]
pub(super) struct SignatureReport {
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
    pub(super) fn of(found: &SignatureFacts) -> Self {
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
pub(super) struct PcrsigReport {
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
    pub(super) fn of(inspection: &Inspection) -> Option<Self> {
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
pub(super) struct Verdict {
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
    pub(super) fn of(facts: &ReadingFacts) -> Self {
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
