//! The ways to boot a UKI.

mod ukivm;

pub use ukivm::{Decompressor, Told, Ukivm};

use std::{
    fmt, io,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::trial::{Trial, Unit};
use crate::{cli::JobOptions, engine::Kind};

/// A way to boot a UKI.
///
/// It starts processes of its own for each trial, and leaves none behind, nor any
/// file, whatever happens.
pub trait Arm: fmt::Debug {
    /// Its name, as `--arm` takes it.
    fn name(&self) -> &'static str;

    /// What runs the guest's code. What different engines run is not compared.
    fn engine(&self) -> Kind;

    /// Whether it can be used on this host, in this mode. Asked once, before anything
    /// is booted; one that can't be used is left out, and why is reported.
    fn available(&self, mode: Mode) -> Result<(), Why>;

    /// What it uses that the host may have in another version: name and version.
    fn versions(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Boots the subject once.
    fn trial(&self, request: &Request<'_>) -> Result<Trial, Error>;
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Time.
    Time,
    /// The guest's instructions, exactly.
    Count,
}

impl Mode {
    /// What its trials are measured in.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Self::Time => Unit::Nanoseconds,
            Self::Count => Unit::Instructions,
        }
    }
}

/// Where a trial ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// Where the guest ends: it powers off or resets, or writes its status.
    #[default]
    End,
    /// Where userspace shows that it runs.
    Init,
    /// At a prompt that ends in "login:".
    Login,
}

/// What is to be booted, and how.
pub type Subject = JobOptions;

/// One trial that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What is booted.
    pub subject: &'a Subject,
    /// What is measured.
    pub mode: Mode,
    /// How far the guest is to come.
    pub until: Until,
    /// How long the trial may take.
    pub time_limit: Duration,
    /// Set as soon as nobody wants the trial any more: it is to be given up then.
    pub stop: &'a AtomicBool,
}

impl Request<'_> {
    /// Whether the trial is to be given up.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Why an arm can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Why {
    /// What is lacking.
    pub reason: String,
    /// What mends it, where that is known.
    pub mend: Option<String>,
}

/// Why there is no trial.
#[derive(Debug, Error)]
pub enum Error {
    /// The guest did not end as it should.
    #[error("the guest did not end well: {how}{}", behind(console))]
    End {
        /// How it ended.
        how: String,
        /// The last lines on its console.
        console: Vec<String>,
    },
    /// The guest was not what was to be booted.
    #[error("the wrong {what} was booted: {found}, wanted {wanted}")]
    Wrong {
        /// What of it: kernel, initrd.
        what: &'static str,
        /// What was found.
        found: String,
        /// What was wanted.
        wanted: String,
    },
    /// A phase without which the trial says nothing was not seen.
    #[error("{what} was never seen: {why}")]
    Unseen {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The time limit passed.
    #[error("the time limit of {} s passed{}", limit.as_secs_f64(), behind(console))]
    TimeLimit {
        /// The limit.
        limit: Duration,
        /// The last lines on its console.
        console: Vec<String>,
    },
    /// A program can't be started, or said something that was not expected.
    #[error("{}: {what}", program.display())]
    Program {
        /// Which.
        program: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What the host said.
        #[source]
        source: Option<io::Error>,
    },
    /// The host refused something.
    #[error("{what}")]
    Host {
        /// What was tried.
        what: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The trial was given up since nobody wanted it any more.
    #[error("given up")]
    Stopped,
}

/// What the console had last, as the end of a sentence.
fn behind(console: &[String]) -> String {
    match console {
        [] => String::new(),
        lines => format!("; its console had last:\n    {}", lines.join("\n    ")),
    }
}
