//! What systemd in the guest says of itself: that it is ready, which units are active,
//! with what status it ends.
//!
//! It connects to the socket that the credential `vmm.notify_socket` names, sends lines as
//! sd_notify(3) has them, and closes; a connection a message. systemd(1), "Readiness
//! Protocol".

mod lines;
mod notice;

use std::time::Duration;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

pub use self::{lines::Lines, notice::Notice};
use crate::timeline::micros;

/// The port of the host's that the guest calls.
pub const PORT: u32 = 0x756b_6976;

/// The most units of which is known when they became active: a guest may name units
/// without end.
const UNITS_MAX: usize = 4096;

/// What has been said so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// When all had started that was to start: a milestone.
    #[serde(skip)]
    pub ready: Option<Duration>,
    /// Its last word on what it is at.
    pub status: Option<String>,
    /// Units, and when each became active for the first time.
    #[serde(serialize_with = "times")]
    pub units: Vec<(String, Duration)>,
    /// What it calls itself.
    pub hostname: Option<String>,
    /// The status that it ends with.
    pub exit_status: Option<u8>,
}

/// Units and times as a JSON object, in microseconds.
fn times<S: Serializer>(units: &[(String, Duration)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(units.len()))?;
    for (unit, at) in units {
        map.serialize_entry(unit, &micros(*at))?;
    }
    map.end()
}

impl Readiness {
    /// Notes what was said at that time. What is said twice counts the first time, but for
    /// the words on what it is at, its name and its status, of which the last counts.
    pub fn note(&mut self, notice: Notice, at: Duration) {
        match notice {
            Notice::Ready => {
                self.ready.get_or_insert(at);
            }
            Notice::Status(text) => self.status = Some(text),
            Notice::UnitActive(unit) => {
                let is_new = !self.units.iter().any(|(known, _)| *known == unit);
                if is_new && self.units.len() < UNITS_MAX {
                    self.units.push((unit, at));
                }
            }
            Notice::Hostname(name) => self.hostname = Some(name),
            Notice::ExitStatus(status) => self.exit_status = Some(status),
        }
    }

    /// When that unit became active.
    #[must_use]
    pub fn unit(&self, name: &str) -> Option<Duration> {
        self.units.iter().find(|(known, _)| known == name).map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_ready_counts_and_the_last_status() {
        let mut readiness = Readiness::default();
        for (seconds, notice) in [
            (1, Notice::Status("Starting".to_owned())),
            (2, Notice::UnitActive("a.service".to_owned())),
            (3, Notice::Ready),
            (4, Notice::Ready),
            (5, Notice::UnitActive("a.service".to_owned())),
            (6, Notice::Status("Ready".to_owned())),
            (7, Notice::ExitStatus(3)),
            (8, Notice::Hostname("web".to_owned())),
        ] {
            readiness.note(notice, at(seconds));
        }
        let wanted = Readiness {
            ready: Some(at(3)),
            status: Some("Ready".to_owned()),
            units: vec![("a.service".to_owned(), at(2))],
            hostname: Some("web".to_owned()),
            exit_status: Some(3),
        };
        assert_eq!(readiness, wanted);
        assert_eq!((readiness.unit("a.service"), readiness.unit("a")), (Some(at(2)), None));
    }

    #[test]
    fn a_guest_that_names_units_without_end_is_bounded() {
        let mut readiness = Readiness::default();
        for number in 0..10_000 {
            readiness.note(Notice::UnitActive(number.to_string()), at(1));
        }
        assert_eq!(readiness.units.len(), UNITS_MAX);
    }
}
