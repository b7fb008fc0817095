//! [`Denied`]: an EFI signature list, or the same as text.

use thiserror::Error;

use super::{Certificate, Hash, Malformed};

/// The size of `EFI_SIGNATURE_LIST` before its entries.
const LIST_HEADER: usize = 28;
/// The size of an entry's owner, a GUID.
const OWNER: usize = 16;
/// The size of `EFI_TIME`, when a certificate was revoked.
const TIME: usize = 16;
/// Where `EFI_VARIABLE_AUTHENTICATION_2` has its `WIN_CERTIFICATE_UEFI_GUID`.
const AUTHENTICATION: usize = 16;
/// `EFI_CERT_TYPE_PKCS7_GUID`, which that certificate's type is.
const PKCS7: Guid = guid(0x4aaf_d29d, 0x68df, 0x49ee, 0x8aa9_347d_3756_65a7);
/// `EFI_CERT_X509_GUID`.
const X509: Guid = guid(0xa5c0_59a1, 0x94e4, 0x4aa7, 0x87b5_ab15_5c2b_f072);
/// The types of digests: whose they are, the GUID, the hash. UEFI specification
/// 2.10, 32.4.1.
const DIGESTS: [(Whose, Guid, Hash); 7] = [
    (Whose::Image, guid(0x826c_a512, 0xcf10, 0x4ac9, 0xb187_be01_4966_31bd), Hash::Sha1),
    (Whose::Image, guid(0xc1c4_1626, 0x504c, 0x4092, 0xaca9_41f9_3693_4328), Hash::Sha256),
    (Whose::Image, guid(0xff3e_5307, 0x9fd0, 0x48c9, 0x85f1_8ad5_6c70_1e01), Hash::Sha384),
    (Whose::Image, guid(0x093e_0fae, 0xa6c4, 0x4f50, 0x9f1b_d41e_2b89_c19a), Hash::Sha512),
    (Whose::Certificate, guid(0x3bd2_a492, 0x96c0, 0x4079, 0xb420_fcf9_8ef1_03ed), Hash::Sha256),
    (Whose::Certificate, guid(0x7076_876e, 0x80c2, 0x4ee6, 0xaad2_28b3_49a6_865b), Hash::Sha384),
    (Whose::Certificate, guid(0x446d_bf63, 0x2502, 0x4cda, 0xbcfa_2465_d2b0_fe9d), Hash::Sha512),
];

/// How a block of PEM begins, whatever is in it.
const BEGIN: &str = "-----BEGIN ";
/// How a block with a certificate begins.
const BEGIN_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

type Guid = [u8; 16];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Image,
    Certificate,
}

/// What a signature database lists: `dbx`, where it is denied.
///
/// The time at which a certificate was revoked does not count: there is no
/// trustworthy time to compare it with, so it is denied for good.
#[derive(Clone, Debug, Default)]
pub struct Denied {
    /// Digests of images.
    pub images: Vec<(Hash, Vec<u8>)>,
    /// Digests of what is signed of certificates.
    pub digests: Vec<(Hash, Vec<u8>)>,
    /// Certificates: what they signed, at whatever remove, is denied too.
    pub certificates: Vec<Certificate>,
}

/// Why a list is not taken. What is not understood cannot be enforced, so nothing
/// of such a list is.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ListError {
    /// Nothing in it.
    #[error("the list is empty")]
    Empty,
    /// Neither binary nor text.
    #[error(
        "line {line} is neither a SHA-256 digest in hex nor of a PEM certificate, and the file is \
         no EFI signature list"
    )]
    Line {
        /// Which line, from 1.
        line: usize,
    },
    /// PEM that is of no certificate.
    #[error(
        "line {line} begins a PEM block of another kind than CERTIFICATE, which can't be enforced"
    )]
    Block {
        /// Which line, from 1.
        line: usize,
    },
    /// Two kinds of text in one file.
    #[error(
        "line {line} is a digest, in a file of PEM certificates: put digests into a file of their \
         own"
    )]
    Mixed {
        /// Which line, from 1.
        line: usize,
    },
    /// A list that is not whole, or whose sizes contradict each other.
    #[error("the EFI signature list at {at:#x} {what}")]
    List {
        /// Where in the file.
        at: usize,
        /// What about it.
        what: &'static str,
    },
    /// A certificate that cannot be read.
    #[error("a certificate in the list cannot be read")]
    Certificate(#[from] Malformed),
}

impl Denied {
    /// Reads a list, whatever form it has: EFI signature lists as they are, behind
    /// the header of an authenticated update (`dbxupdate`), or behind the four bytes
    /// of efivarfs; certificates as PEM; SHA-256 digests of images in hex, one a line,
    /// with comments behind `#`.
    pub fn parse(file: &[u8]) -> Result<Self, ListError> {
        let mut denied = Self::default();
        if file.trim_ascii().is_empty() {
            return Err(ListError::Empty);
        }
        if let Some(at) = binary(file) {
            denied.add_lists(file, at)?;
        } else if contains(file, BEGIN.as_bytes()) {
            check_only_certificates(file)?;
            denied.certificates = Certificate::load(file)?;
        } else {
            denied.images = digests(file)?;
        }
        Ok(denied)
    }

    /// Adds what another list has.
    pub fn extend(&mut self, other: Self) {
        self.images.extend(other.images);
        self.digests.extend(other.digests);
        self.certificates.extend(other.certificates);
    }

    /// Whether that certificate is denied, or one that signed it.
    #[must_use]
    pub(super) fn has(&self, certificate: &Certificate) -> bool {
        let by_digest = |(hash, digest): &(Hash, Vec<u8>)| certificate.digest(*hash) == *digest;
        let by_itself = |own: &Certificate| own == certificate || certificate.is_signed_by(own);
        self.digests.iter().any(by_digest) || self.certificates.iter().any(by_itself)
    }

    fn add_lists(&mut self, file: &[u8], mut at: usize) -> Result<(), ListError> {
        if at > file.len() {
            let what = "is behind the header of an update that reaches past the end of the file";
            return Err(ListError::List { at, what });
        }
        while let Some(rest) = file.get(at..).filter(|rest| !rest.is_empty()) {
            let list = List::read(rest, at)?;
            for entry in list.entries.chunks_exact(list.entry_size) {
                self.add(&list, entry.get(OWNER..).unwrap_or_default(), at)?;
            }
            at = at.saturating_add(list.size);
        }
        Ok(())
    }

    fn add(&mut self, list: &List<'_>, data: &[u8], at: usize) -> Result<(), ListError> {
        let what = "is of a type that is not understood, and so can't be enforced";
        if list.kind == X509 {
            self.certificates.push(Certificate::parse(data)?);
            return Ok(());
        }
        let kind = DIGESTS.iter().find(|(_, guid, _)| *guid == list.kind);
        let &(whose, _, hash) = kind.ok_or(ListError::List { at, what })?;
        let len = hash.hash().output_size();
        let wanted = if whose == Whose::Image { len } else { len.saturating_add(TIME) };
        if data.len() != wanted {
            return Err(ListError::List {
                at,
                what: "has entries of another size than its type's",
            });
        }
        let digest = (hash, data.get(..len).unwrap_or_default().to_vec());
        match whose {
            Whose::Image => self.images.push(digest),
            Whose::Certificate => self.digests.push(digest),
        }
        Ok(())
    }
}

/// One `EFI_SIGNATURE_LIST`.
struct List<'a> {
    kind: Guid,
    size: usize,
    entry_size: usize,
    entries: &'a [u8],
}

impl<'a> List<'a> {
    fn read(rest: &'a [u8], at: usize) -> Result<Self, ListError> {
        let wrong = |what| ListError::List { at, what };
        let kind = rest.first_chunk().ok_or_else(|| wrong("is cut short"))?;
        let number = |from: usize| {
            let bytes = rest.get(from..).and_then(|rest| rest.first_chunk());
            let number = bytes.map(|bytes| u32::from_le_bytes(*bytes));
            number.and_then(|number| usize::try_from(number).ok())
        };
        let (Some(size), Some(header), Some(entry_size)) = (number(16), number(20), number(24))
        else {
            return Err(wrong("is cut short"));
        };
        let entries = LIST_HEADER.checked_add(header).and_then(|start| rest.get(start..size));
        let entries = entries.ok_or_else(|| wrong("says that it is longer than the file"))?;
        if entry_size <= OWNER || !entries.len().is_multiple_of(entry_size) {
            return Err(wrong("has a size that its entries' size does not divide"));
        }
        Ok(Self { kind: *kind, size, entry_size, entries })
    }
}

/// Where the signature lists begin, if the file has some.
fn binary(file: &[u8]) -> Option<usize> {
    let is_list = |at: &usize| {
        let kind = file.get(*at..).and_then(|rest| rest.first_chunk::<16>());
        kind.is_some_and(|kind| *kind == X509 || DIGESTS.iter().any(|(_, guid, _)| guid == kind))
    };
    let authenticated = || {
        let rest = file.get(AUTHENTICATION..)?;
        let length = u32::from_le_bytes(*rest.first_chunk()?);
        let is_pkcs7 = rest.get(8..)?.first_chunk()? == &PKCS7;
        let lists = AUTHENTICATION.checked_add(usize::try_from(length).ok()?)?;
        is_pkcs7.then_some(lists)
    };
    // An update may have no list, where it empties the variable.
    [0, 4].into_iter().find(is_list).or_else(authenticated).or_else(|| {
        // Bytes that no text has: a list of a type that is not understood.
        file.contains(&0).then_some(0)
    })
}

fn contains(file: &[u8], text: &[u8]) -> bool {
    file.windows(text.len()).any(|window| window == text)
}

/// Checks that text with PEM in it is nothing but certificates and words around them:
/// a digest there, or a block of another kind, would be passed over.
fn check_only_certificates(file: &[u8]) -> Result<(), ListError> {
    let text = String::from_utf8_lossy(file);
    for (line, text) in (1_usize..).zip(text.lines()) {
        if text.contains(BEGIN) && !text.contains(BEGIN_CERTIFICATE) {
            return Err(ListError::Block { line });
        }
        if sha256(uncommented(text)).is_some() {
            return Err(ListError::Mixed { line });
        }
    }
    Ok(())
}

/// What a line of a list says.
fn uncommented(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

/// SHA-256 digests in hex, one a line.
fn digests(file: &[u8]) -> Result<Vec<(Hash, Vec<u8>)>, ListError> {
    let text = String::from_utf8_lossy(file);
    let mut digests = Vec::new();
    for (line, text) in (1_usize..).zip(text.lines()) {
        let text = uncommented(text);
        if !text.is_empty() {
            let digest = sha256(text).ok_or(ListError::Line { line })?;
            digests.push((Hash::Sha256, digest.to_vec()));
        }
    }
    if digests.is_empty() { Err(ListError::Empty) } else { Ok(digests) }
}

/// A SHA-256 digest in hex.
pub(super) fn sha256(text: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut digest = [0; 32];
    if pairs.len() != digest.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(digest)
}

/// A GUID as it is in memory: the first three fields little-endian.
const fn guid(a: u32, b: u16, c: u16, d: u64) -> Guid {
    let (a, b, c, d) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes(), d.to_be_bytes());
    [a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]]
}
