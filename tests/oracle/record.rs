//! All that a kernel is handed, as values with names; found or planned.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use ukivm::digest::hex;

/// One hand-off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The params segment.
    #[serde(with = "sparse")]
    pub(super) params: Vec<u8>,
    /// Everything else.
    pub(super) values: BTreeMap<String, String>,
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// Refused with that error of `kexec_file_load(2)`.
    Refused(i32),
    /// Handed over.
    Handed(Record),
}

impl Record {
    /// A number of the params segment, little-endian.
    pub(super) fn number<const LEN: usize>(&self, at: usize) -> u64 {
        let bytes = &self.params[at..at + LEN];
        bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// Bytes that are mostly zeros: the others by their offset.
mod sparse {
    use std::collections::BTreeMap;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

    use super::hex;

    const LEN: &str = "length";
    const LINE: usize = 16;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        let lines = bytes.chunks(LINE).zip((0..).step_by(LINE));
        let mut map: BTreeMap<String, String> = lines
            .filter(|(line, _)| line.iter().any(|byte| *byte != 0))
            .map(|(line, at)| (format!("{at:#06x}"), hex(line)))
            .collect();
        map.insert(LEN.into(), format!("{:#x}", bytes.len()));
        map.serialize(to)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<u8>, D::Error> {
        let mut map = BTreeMap::<String, String>::deserialize(from)?;
        let number = |text: &str| {
            let digits = text.strip_prefix("0x").unwrap_or(text);
            usize::from_str_radix(digits, 16).map_err(D::Error::custom)
        };
        let len = map.remove(LEN).ok_or_else(|| D::Error::custom("no length"))?;
        let mut bytes = vec![0; number(&len)?];
        for (at, line) in map {
            for (place, pair) in bytes[number(&at)?..].iter_mut().zip(line.as_bytes().chunks(2)) {
                let pair = str::from_utf8(pair).map_err(D::Error::custom)?;
                *place = u8::from_str_radix(pair, 16).map_err(D::Error::custom)?;
            }
        }
        Ok(bytes)
    }
}
