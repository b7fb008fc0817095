//! [`Facts`]: what a file claims of itself, by whomever.

use std::io;

use super::{
    Digests, Error, Hash, Layout, LayoutError,
    certificate::{name, serial},
    certificate_table, layout,
    signed_data::SignedData,
};
use crate::{read_at::ReadAt, uki::Headers};

/// What can be said of a file's signatures without any certificate: claims, not
/// proofs. Whether anybody trusted made them is for [`super::Trust::verify`].
#[derive(Debug)]
pub struct Facts {
    /// Where everything is; or why a signature could not cover all of the file.
    pub layout: Result<Layout, LayoutError>,
    /// The signatures, in the order of the file; none if it is not signed. Or why
    /// they cannot be read.
    pub signatures: Result<Vec<Signature>, Error>,
}

/// One signature's claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The signer, as its certificate names it, in the form of RFC 4514; `None`
    /// where that certificate is not in the signature.
    pub signer: Option<String>,
    /// Who issued the signer's certificate, in the same form.
    pub issuer: String,
    /// The number of that certificate, in hex.
    pub serial: String,
    /// The hash that the digest is by.
    pub hash: Hash,
    /// The digest of the file that was signed.
    pub digest: Vec<u8>,
}

impl Facts {
    /// The facts of the file in `source`, which has those headers.
    ///
    /// Reads the certificate table and nothing else; hashes nothing.
    #[must_use]
    pub fn read(source: &(impl ReadAt + ?Sized), headers: &Headers) -> Self {
        let signatures = || {
            let range = layout::table(source, headers).map_err(Error::Read)?;
            let entries = certificate_table::read(source, range)?;
            entries.iter().map(|entry| Ok(SignedData::parse(entry)?.into())).collect()
        };
        Self { layout: Layout::read(source, headers), signatures: signatures() }
    }

    /// Whether each signature's digest is that of the file as it is now, in the
    /// order of [`Facts::signatures`]; nothing where the layout or a signature is
    /// wrong. Reads the whole file, in pieces.
    pub fn digests_match(&self, source: &(impl ReadAt + ?Sized)) -> io::Result<Vec<bool>> {
        let (Ok(layout), Ok(signatures)) = (&self.layout, &self.signatures) else {
            return Ok(Vec::new());
        };
        let mut hashes: Vec<_> = signatures.iter().map(|signature| signature.hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        let digests = Digests::read(source, layout, &hashes)?;
        let matches = |one: &Signature| digests.get(one.hash) == Some(one.digest.as_slice());
        Ok(signatures.iter().map(matches).collect())
    }
}

impl From<SignedData> for Signature {
    fn from(data: SignedData) -> Self {
        Self {
            signer: data.signer().map(super::Certificate::subject),
            issuer: name(&data.issuer),
            serial: serial(&data.serial),
            hash: data.image.0,
            digest: data.image.1,
        }
    }
}
