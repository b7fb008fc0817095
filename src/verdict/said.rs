//! What the system in the guest has to say of itself, and what it said.

use std::{fmt, time::Duration};

use super::proof::Proof;
use crate::{readiness::Notice, timeline::micros};

/// Something that systemd is to say by `vmm.notify_socket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saying {
    /// That all has started that was to start.
    Ready,
    /// That this unit is active.
    Unit(String),
}

impl Saying {
    /// What an expectation asks for, if it is one of these and no regular expression:
    /// `ready`, or `unit=NAME`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("unit=") {
            Some(name) => Some(Self::Unit(name.to_owned())),
            None => (text == "ready").then_some(Self::Ready),
        }
    }

    fn is_said_by(&self, notice: &Notice) -> bool {
        match (self, notice) {
            (Self::Ready, Notice::Ready) => true,
            (Self::Unit(wanted), Notice::UnitActive(unit)) => wanted == unit,
            _ => false,
        }
    }
}

impl fmt::Display for Saying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => write!(f, "the system says that it is ready"),
            Self::Unit(name) => write!(f, "the system says that {name} is active"),
        }
    }
}

/// Listens for what is to be said, in whatever order it comes.
#[derive(Debug)]
pub(super) struct Sayings(Vec<(Saying, Option<Proof>)>);

impl Sayings {
    pub(super) fn new(wanted: &[Saying]) -> Self {
        Self(wanted.iter().map(|saying| (saying.clone(), None)).collect())
    }

    pub(super) fn hear(&mut self, notice: &Notice, at: Duration) {
        let open = self
            .0
            .iter_mut()
            .filter(|(saying, proof)| proof.is_none() && saying.is_said_by(notice));
        for (saying, proof) in open {
            *proof = Some(Proof {
                wanted: saying.to_string(),
                line: None,
                text: "said by vsock".to_owned(),
                at_us: micros(at),
            });
        }
    }

    /// Whether all of it was said.
    pub(super) fn are_met(&self) -> bool {
        self.0.iter().all(|(_, proof)| proof.is_some())
    }

    pub(super) fn proofs(&self) -> impl Iterator<Item = &Proof> {
        self.0.iter().filter_map(|(_, proof)| proof.as_ref())
    }

    pub(super) fn missing(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter(|(_, proof)| proof.is_none()).map(|(saying, _)| saying.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_words_are_sayings_and_the_rest_is_regular_expressions() {
        assert_eq!(Saying::parse("ready"), Some(Saying::Ready));
        assert_eq!(Saying::parse("unit=a.target"), Some(Saying::Unit("a.target".to_owned())));
        for text in ["[r]eady", "ready ", "Ready", "units=a", "x unit=a"] {
            assert_eq!(Saying::parse(text), None, "{text}");
        }
    }

    #[test]
    fn each_saying_is_proven_by_its_notice_alone_and_the_first_counts() {
        let wanted = [Saying::Ready, Saying::Unit("a.target".to_owned())];
        let mut sayings = Sayings::new(&wanted);
        let times = [1, 2, 3, 4].map(Duration::from_micros);
        sayings.hear(&Notice::UnitActive("b.target".to_owned()), times[0]);
        sayings.hear(&Notice::Status("ready".to_owned()), times[0]);
        assert_eq!(sayings.proofs().count(), 0);
        assert_eq!(sayings.missing().count(), 2);
        sayings.hear(&Notice::UnitActive("a.target".to_owned()), times[1]);
        assert!(!sayings.are_met());
        sayings.hear(&Notice::Ready, times[2]);
        sayings.hear(&Notice::Ready, times[3]);
        assert!(sayings.are_met());
        let at: Vec<_> = sayings.proofs().map(|proof| proof.at_us).collect();
        assert_eq!(at, [3, 2]);
    }
}
