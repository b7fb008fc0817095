//! PEM (RFC 7468): what is between its lines.
//!
//! Text before, between and after the blocks does not count, as `openssl x509
//! -text` writes it.

use base64ct::{Base64, Encoding as _};

/// Why there is no content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// A block has no end.
    End,
    /// A block is not Base64.
    Base64,
}

/// The contents of the blocks with that label, in order; none if there are none.
pub(super) fn contents(text: &[u8], label: &str) -> Result<Vec<Vec<u8>>, Error> {
    let text = String::from_utf8_lossy(text);
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let decode = |block: &str| {
        let (body, _) = block.split_once(&end).ok_or(Error::End)?;
        let digits: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        Base64::decode_vec(&digits).or(Err(Error::Base64))
    };
    text.split(&begin).skip(1).map(decode).collect()
}
