//! [`SignatureFacts`]: by whom a UKI claims to be signed.

use std::io;

use super::Depth;
use crate::{
    read_at::ReadAt,
    uki::{Headers, authenticode::Facts},
};

/// What can be said of its signatures without any certificate.
#[derive(Debug)]
pub struct SignatureFacts {
    /// The claims.
    pub facts: Facts,
    /// Whether each signature's digest is that of the file, in their order; empty
    /// where that was not asked for, or can't be told.
    pub digests_match: Vec<bool>,
}

/// Reads the claims, and for them to be held against the file all of it.
pub(super) fn of(
    source: &(impl ReadAt + ?Sized),
    headers: &Headers,
    depth: Depth,
) -> io::Result<SignatureFacts> {
    let facts = Facts::read(source, headers);
    let is_signed = facts.signatures.as_ref().is_ok_and(|signatures| !signatures.is_empty());
    let digests_match = match depth {
        Depth::Whole if is_signed => facts.digests_match(source)?,
        _ => Vec::new(),
    };
    Ok(SignatureFacts { facts, digests_match })
}
