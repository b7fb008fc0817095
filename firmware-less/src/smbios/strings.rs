//! [`OemStrings`]: what type 11 tells.

use std::fmt;

use thiserror::Error;

/// Strings for whoever in the guest looks for them, in the order in which they
/// are told. DSP0134 3.0, 7.12.
///
/// None is empty and none holds a NUL: either would end the list early. Both are
/// settled in [`OemStrings::push`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OemStrings(Vec<Vec<u8>>);

/// A string that SMBIOS can't tell.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum StringError {
    /// Nothing in it.
    #[error("an empty string can't be told by SMBIOS")]
    Empty,
    /// It would end there.
    #[error("the string has a NUL at {at}, where SMBIOS would end it")]
    Nul {
        /// Which byte.
        at: usize,
    },
}

impl OemStrings {
    /// Adds `string` behind the others.
    pub fn push(&mut self, string: Vec<u8>) -> Result<(), StringError> {
        if string.is_empty() {
            return Err(StringError::Empty);
        }
        if let Some(at) = string.iter().position(|byte| *byte == 0) {
            return Err(StringError::Nul { at });
        }
        self.0.push(string);
        Ok(())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in order.
    pub(super) fn as_slice(&self) -> &[Vec<u8>] {
        &self.0
    }
}

/// Shows no string: it may hold a secret.
impl fmt::Debug for OemStrings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OemStrings").field("count", &self.0.len()).finish_non_exhaustive()
    }
}
