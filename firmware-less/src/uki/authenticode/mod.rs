//! Authenticode: the signature over a whole PE file, and what it is checked with.
//!
//! This is what firmware does with a UKI under Secure Boot, and what the kernel
//! does with what `kexec_file_load(2)` is given (`crypto/asymmetric_keys/`,
//! `verify_pefile.c`): the digest of "Windows Authenticode Portable Executable
//! Signature Format", signed as PKCS#7, by a certificate that leads to one that is
//! trusted. [`Trust::verify`] does all of it, and is stricter than both: no byte of
//! an accepted file can change unnoticed. See there for what that costs.
//!
//! [`Facts`] says what a file claims of itself, without any certificate.

mod certificate;
mod certificate_table;
mod denied;
mod digest;
mod error;
mod facts;
mod key;
mod layout;
mod sbat_level;
mod signed_data;
mod trust;

pub use certificate::{Certificate, Malformed};
pub use denied::{Denied, ListError};
pub use digest::{CheckSum, Digests, Hash};
pub use error::Error;
pub use facts::{Facts, Signature};
pub use key::{PublicKey, Scheme};
pub use layout::{Layout, LayoutError};
pub use sbat_level::{SbatError, SbatLevel};
pub use trust::{Grounds, Trust, Verified};

use der::{Decode as _, Header, Reader as _, SliceReader, Tag, Tagged as _};

/// The value of the next element, which must have that tag.
fn value<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> der::Result<&'a [u8]> {
    let header = Header::decode(reader)?;
    header.tag.assert_eq(tag)?;
    reader.read_slice(header.length)
}

/// What is inside of the next element, which must have that tag.
fn inside<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> der::Result<SliceReader<'a>> {
    SliceReader::new(value(reader, tag)?)
}

/// `[number]`, with elements inside.
const fn context(number: der::TagNumber) -> Tag {
    Tag::ContextSpecific { constructed: true, number }
}

/// Whether the next element has that tag.
fn is_next(reader: &SliceReader<'_>, tag: Tag) -> bool {
    reader.peek_header().is_ok_and(|header| header.tag == tag)
}

/// Whether an algorithm has no parameters, or the NULL that stands for none.
fn has_no_parameters(algorithm: &x509_cert::spki::AlgorithmIdentifierRef<'_>) -> bool {
    algorithm.parameters.is_none_or(|any| any.tag() == Tag::Null && any.value().is_empty())
}
