//! [`Trust`]: who may sign what is booted, and [`Trust::verify`].

use super::{
    Certificate, Denied, Digests, Error, Hash, Layout, ListError, SbatLevel, certificate_table,
    denied, signed_data::SignedData,
};
use crate::{bytes::hex, read_at::ReadAt, uki::Headers};

/// The most certificates between a signer's and a trusted one.
const BETWEEN_MAX: usize = 8;

/// What makes a file trusted: `db`, `dbx` and the like of one run.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Whose signatures count: signers', or those of authorities.
    pub certificates: Vec<Certificate>,
    /// The SHA-256 digests of files that need no signature.
    pub allowed: Vec<[u8; 32]>,
    /// What is refused whoever signed it.
    pub denied: Denied,
    /// Which generations are too old.
    pub sbat_level: Option<SbatLevel>,
}

/// What was found good, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Why.
    pub grounds: Grounds,
    /// The hash that the digest is by: SHA-256, or the one that was signed.
    pub hash: Hash,
    /// The Authenticode digest of the file.
    pub digest: Vec<u8>,
}

/// Why a file is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grounds {
    /// It is signed.
    Signed {
        /// By whom.
        signer: String,
        /// The certificate given that this leads to; the signer's own perhaps.
        certificate: String,
    },
    /// Its digest is allowed.
    Allowed,
}

impl Trust {
    /// Adds digests in the form of [`Denied::parse`], or a single one as hex.
    pub fn allow(&mut self, list: &[u8]) -> Result<(), ListError> {
        let Denied { images, digests, certificates } = Denied::parse(list)?;
        if !digests.is_empty() || !certificates.is_empty() {
            let what = "has other entries than images' digests";
            return Err(ListError::List { at: 0, what });
        }
        for (_, digest) in images {
            let what = "has digests by another hash than SHA-256";
            let digest = digest.try_into().or(Err(ListError::List { at: 0, what }))?;
            self.allowed.push(digest);
        }
        Ok(())
    }

    /// Adds one digest, if that is what `hex` is.
    pub fn allow_hex(&mut self, hex: &str) -> bool {
        let digest = denied::sha256(hex);
        self.allowed.extend(digest);
        digest.is_some()
    }

    /// Checks the file in `source`, which has those headers.
    ///
    /// As UEFI does with `db` and `dbx` (EDK2, `DxeImageVerificationLib.c`): one
    /// signature has to lead to a trusted certificate, or the digest has to be
    /// allowed; a digest on the deny list, or any signature that leads to what is on
    /// it, is refused whatever else holds. Then the generations, as shim does.
    ///
    /// Stricter than UEFI and the kernel in this: the file has no gaps ([`Layout`]);
    /// every signature must be sound, whoever made it; of the trusted one, every
    /// certificate is vouched for; and where no signature reaches (CheckSum, padding)
    /// only what signing tools write is accepted. So no byte can change unnoticed but
    /// these: a certificate in a signature beside the trusted one, and an entry's
    /// length, which may count its padding or not.
    pub fn verify(
        &self,
        source: &(impl ReadAt + ?Sized),
        headers: &Headers,
    ) -> Result<Verified, Error> {
        let layout = Layout::read(source, headers)?;
        let entries = certificate_table::read(source, layout.table)?;
        let signatures: Vec<_> =
            entries.iter().map(|entry| SignedData::parse(entry)).collect::<Result<_, _>>()?;
        let digests =
            Digests::read(source, &layout, &self.hashes(&signatures)).map_err(Error::Read)?;
        self.check_denied_images(&digests)?;
        for signature in &signatures {
            check_signature(signature, &digests)?;
        }
        if !digests.check_sum.is_good() {
            return Err(Error::CheckSum { check_sum: digests.check_sum });
        }
        self.check_denied_certificates(&signatures)?;
        let verified = self.grounds(&signatures, &digests)?;
        if let Some(level) = &self.sbat_level {
            level.check(source, headers)?;
        }
        Ok(verified)
    }

    /// Every hash that something is compared by.
    fn hashes(&self, signatures: &[SignedData]) -> Vec<Hash> {
        let signed = signatures.iter().map(|signature| signature.image.0);
        let denied = self.denied.images.iter().map(|(hash, _)| *hash);
        let mut hashes: Vec<_> = signed.chain(denied).chain([Hash::Sha256]).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }

    fn check_denied_images(&self, digests: &Digests) -> Result<(), Error> {
        let is_this = |(hash, digest): &&(Hash, Vec<u8>)| digests.get(*hash) == Some(digest);
        match self.denied.images.iter().find(is_this) {
            Some((hash, digest)) => Err(Error::DeniedImage { hash: *hash, digest: hex(digest) }),
            None => Ok(()),
        }
    }

    /// Looks at every certificate that any signature leads to.
    fn check_denied_certificates(&self, signatures: &[SignedData]) -> Result<(), Error> {
        for signature in signatures {
            let known = || signature.certificates.iter().chain(&self.certificates);
            let mut reached: Vec<_> = signature.signer().into_iter().collect();
            let mut next = 0;
            while let Some(&certificate) = reached.get(next) {
                if self.denied.has(certificate) {
                    return Err(Error::DeniedCertificate { subject: certificate.subject() });
                }
                for issuer in known().filter(|issuer| certificate.is_signed_by(issuer)) {
                    if !reached.contains(&issuer) {
                        reached.push(issuer);
                    }
                }
                next = next.saturating_add(1);
            }
        }
        Ok(())
    }

    /// The first signature that leads to a trusted certificate, or the digest.
    fn grounds(&self, signatures: &[SignedData], digests: &Digests) -> Result<Verified, Error> {
        let mut refused = None;
        for signature in signatures {
            let Some(signer) = signature.signer() else { continue };
            let way = Way { trust: self, signature, refused: &mut refused };
            if let Some(anchor) = way.anchor(signer) {
                self.check_vouched(signature)?;
                let (hash, digest) = signature.image.clone();
                let certificate = anchor.subject();
                let grounds = Grounds::Signed { signer: signer.subject(), certificate };
                return Ok(Verified { grounds, hash, digest });
            }
        }
        let digest = digests.get(Hash::Sha256).unwrap_or_default();
        if self.allowed.iter().any(|allowed| allowed == digest) {
            let digest = digest.to_vec();
            return Ok(Verified { grounds: Grounds::Allowed, hash: Hash::Sha256, digest });
        }
        let signers = signatures.iter().filter_map(SignedData::signer).map(Certificate::subject);
        let signers: Vec<_> = signers.collect();
        if signers.is_empty() {
            return Err(Error::Unsigned { digest: hex(digest) });
        }
        Err(Error::Untrusted { signer: signers.join(" and "), refused })
    }

    /// Checks that no certificate in the signature could be changed: each is one
    /// that was given, or signed by another or itself.
    fn check_vouched(&self, signature: &SignedData) -> Result<(), Error> {
        let known = || signature.certificates.iter().chain(&self.certificates);
        let is_vouched = |one: &Certificate| {
            self.certificates.contains(one) || known().any(|issuer| one.is_signed_by(issuer))
        };
        match signature.certificates.iter().find(|one| !is_vouched(one)) {
            Some(one) => Err(Error::Unvouched { subject: one.subject() }),
            None => Ok(()),
        }
    }
}

/// The way from a signer to a trusted certificate.
struct Way<'a> {
    trust: &'a Trust,
    signature: &'a SignedData,
    /// A certificate that may not be on it, and why.
    refused: &'a mut Option<String>,
}

impl<'a> Way<'a> {
    /// The trusted certificate that `signer` is or leads to, over as few others as
    /// can be.
    fn anchor(self, signer: &'a Certificate) -> Option<&'a Certificate> {
        let trusted = &self.trust.certificates;
        let mut last = vec![signer];
        let mut seen = last.clone();
        for between in 0..=BETWEEN_MAX {
            if let Some(found) = trusted.iter().find(|one| last.contains(one)) {
                return Some(found);
            }
            let known = trusted.iter().chain(&self.signature.certificates);
            let mut next = Vec::new();
            for issuer in known {
                let led_here = last.iter().any(|one| one.is_signed_by(issuer));
                if !led_here || seen.contains(&issuer) {
                    continue;
                }
                seen.push(issuer);
                match issuer.may_sign(between) {
                    Ok(()) => next.push(issuer),
                    Err(why) => *self.refused = Some(format!("{} {why}", issuer.subject())),
                }
            }
            last = next;
        }
        None
    }
}

/// Checks one signature, whoever made it.
fn check_signature(signature: &SignedData, digests: &Digests) -> Result<(), Error> {
    let signer = signature.verify()?;
    let (hash, wanted) = &signature.image;
    let found = digests.get(*hash).unwrap_or_default();
    if found == wanted {
        return Ok(());
    }
    Err(Error::Digest {
        hash: *hash,
        found: hex(found),
        wanted: hex(wanted),
        signer: signer.subject(),
    })
}
