//! [`PhasePath`]: the boot phases that a system has gone through.

use std::{convert::Infallible, fmt, str::FromStr};

/// The words that `systemd-pcrextend` measures as the boot goes on, in order.
///
/// Written with colons between them. Empty words do not count, so that the empty
/// path is where the stub leaves off. `src/measure/measure-tool.c`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhasePath(String);

impl PhasePath {
    /// The paths that `systemd-measure` takes where none is given.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let words = ["enter-initrd", "leave-initrd", "sysinit", "ready"];
        let mut path = String::new();
        let longer = |word| {
            if !path.is_empty() {
                path.push(':');
            }
            path.push_str(word);
            Self(path.clone())
        };
        words.into_iter().map(longer).collect()
    }

    /// The words, none of them empty.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split(':').filter(|word| !word.is_empty())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for PhasePath {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let words: Vec<_> = text.split(':').filter(|word| !word.is_empty()).collect();
        Ok(Self(words.join(":")))
    }
}

impl fmt::Display for PhasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
