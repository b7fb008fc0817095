//! What real kernels were seen to do, kept so that every case with every kernel can
//! be compared each time: `tests/oracle/facts/KERNEL.json`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use ukivm::digest::hex;

use super::record::Outcome;

/// The sources of everything that has a part in what is kept.
const MADE_BY: [&[u8]; 5] = [
    include_bytes!("cases.rs"),
    include_bytes!("found.rs"),
    include_bytes!("mapping.rs"),
    include_bytes!("machine.rs"),
    include_bytes!("record.rs"),
];

/// What one kernel did.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// Which one, by its own version text, which has the package's version.
    pub(super) kernel: String,
    /// The machine that ran it.
    pub(super) qemu: String,
    /// The digest of what made this.
    pub(super) made_by: String,
    /// What came of each case.
    pub(super) cases: BTreeMap<String, Outcome>,
}

impl Facts {
    pub(super) fn kept(kernel: &str) -> Self {
        let text = fs::read(path(kernel)).expect("facts: `make oracle` makes them");
        serde_json::from_slice(&text).expect("facts in JSON")
    }

    pub(super) fn keep(&self, kernel: &str) {
        let text = serde_json::to_string_pretty(self).expect("JSON");
        fs::write(path(kernel), text + "\n").expect("a place for facts");
    }
}

/// The digest of what makes facts.
pub(super) fn made_by() -> String {
    let digests = MADE_BY.map(Sha256::digest);
    hex(&Sha256::digest(digests.concat()))
}

fn path(kernel: &str) -> PathBuf {
    PathBuf::from(format!("{}/tests/oracle/facts/{kernel}.json", env!("CARGO_MANIFEST_DIR")))
}
