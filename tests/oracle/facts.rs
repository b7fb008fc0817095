//! What real kernels were seen to do, kept so that every case with every kernel can
//! be compared each time: `tests/oracle/facts/KERNEL.json`.

use std::{collections::BTreeMap, fs, mem, path::PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use ukivm::digest::hex;

use super::record::{Outcome, Record};

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
    /// Values that are the same in each case; kept once.
    #[serde(default)]
    common: BTreeMap<String, String>,
    /// What came of each case.
    pub(super) cases: BTreeMap<String, Outcome>,
}

impl Facts {
    pub(super) fn new(kernel: String, qemu: String, cases: BTreeMap<String, Outcome>) -> Self {
        Self { kernel, qemu, made_by: made_by(), common: BTreeMap::new(), cases }
    }

    pub(super) fn kept(kernel: &str) -> Self {
        let text = fs::read(path(kernel)).expect("facts: `make oracle` makes them");
        let mut facts: Self = serde_json::from_slice(&text).expect("facts in JSON");
        let common = mem::take(&mut facts.common);
        for record in facts.handed() {
            record.values.extend(common.clone());
        }
        facts
    }

    pub(super) fn keep(mut self, kernel: &str) {
        let mut common = self.handed().next().map(|first| first.values.clone()).unwrap_or_default();
        for record in self.handed() {
            common.retain(|name, value| record.values.get(name) == Some(value));
        }
        for record in self.handed() {
            record.values.retain(|name, _| !common.contains_key(name));
        }
        self.common = common;
        let text = serde_json::to_string_pretty(&self).expect("JSON");
        fs::write(path(kernel), text + "\n").expect("a place for facts");
    }

    fn handed(&mut self) -> impl Iterator<Item = &mut Record> {
        self.cases.values_mut().filter_map(|outcome| match outcome {
            Outcome::Handed(record) => Some(record),
            Outcome::Refused(_) => None,
        })
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
