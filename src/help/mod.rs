//! What `ukivm help TOPIC` tells, and the pages of section 7: one text for both.

mod block;

pub use block::{Block, blocks};

use std::fmt::Write as _;

use firmware_less::uki::Reading;

use crate::exit;

/// Something to be read about.
#[derive(Clone, Copy, Debug)]
pub struct Topic {
    /// As it is asked for.
    pub name: &'static str,
    /// What it is about, in a few words.
    pub title: &'static str,
    text: fn() -> String,
}

/// All of them.
pub const TOPICS: [Topic; 8] = [
    Topic {
        name: "guide",
        title: "from a failing boot to its cause",
        text: || include_str!("guide.txt").to_owned(),
    },
    Topic { name: "exit-status", title: "what each exit status means", text: exit_status },
    Topic { name: "readings", title: "the readings of the UKI format", text: readings },
    Topic {
        name: "hand-off",
        title: "how the kernel is handed over",
        text: || include_str!("hand-off.txt").to_owned(),
    },
    Topic {
        name: "engines",
        title: "what runs the guest's code",
        text: || include_str!("engines.txt").to_owned(),
    },
    Topic {
        name: "devices",
        title: "disks, networks, shares and what else is on PCI",
        text: || include_str!("devices.txt").to_owned(),
    },
    Topic {
        name: "json",
        title: "reports for programs, their schemas and their versions",
        text: || include_str!("json.txt").to_owned(),
    },
    Topic {
        name: "cache",
        title: "what is kept for the next boot",
        text: || include_str!("cache.txt").to_owned(),
    },
];

impl Topic {
    /// The topic of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TOPICS.iter().find(|topic| topic.name == name)
    }

    /// Its text, part by part.
    #[must_use]
    pub fn blocks(&self) -> Vec<Block> {
        blocks(&(self.text)())
    }

    /// Its text as a terminal shows it.
    #[must_use]
    pub fn plain(&self) -> String {
        let mut text = format!("{}: {}\n", self.name, self.title);
        for block in self.blocks() {
            // Writing to a string can't fail.
            let _ = write!(text, "\n{block}");
        }
        text
    }
}

/// The end of `ukivm --help`.
#[must_use]
pub fn list() -> String {
    let mut text = "Topics, by `ukivm help TOPIC`:".to_owned();
    for topic in TOPICS {
        let _ = write!(text, "\n  {:11}  {}", topic.name, topic.title);
    }
    text
}

fn exit_status() -> String {
    let mut text = String::new();
    for meaning in exit::TABLE {
        let whose = match meaning.commands {
            [] => String::new(),
            commands => format!(" ({})", commands.join(", ")),
        };
        let _ = writeln!(text, "{}\n  {}{whose}", meaning.statuses("-"), meaning.text);
    }
    format!("{text}\n{}\n\nOf several runs of smoke, the gravest.\n", exit::ORDER)
}

fn readings() -> String {
    let mut text = "The UKI format has been read in different ways, by specifications and by \
                    programs. --as READING chooses whose rules apply; a refusal names the rule, \
                    and the readings that would accept the file. ukivm inspect asks all of them.\n\n"
        .to_owned();
    for reading in Reading::ALL {
        let _ = writeln!(text, "{reading}\n  {} ({})", reading.title(), reading.source());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_is_told_in_lines_that_a_terminal_has_room_for() {
        for topic in TOPICS {
            let text = topic.plain();
            assert!(text.lines().count() > 5, "{text}");
            for line in text.lines() {
                assert!(line.chars().count() <= 79 && line == line.trim_end(), "{line:?}");
            }
        }
    }

    #[test]
    fn every_exit_status_and_every_reading_has_its_place() {
        let text = Topic::named("exit-status").expect("a topic").plain();
        for meaning in exit::TABLE {
            assert!(text.contains(&format!("\n{}\n", meaning.statuses("-"))), "{meaning:?}");
        }
        let text = Topic::named("readings").expect("a topic").plain();
        for reading in Reading::ALL {
            assert!(text.contains(&format!("\n{reading}\n")), "{reading}");
        }
    }
}
