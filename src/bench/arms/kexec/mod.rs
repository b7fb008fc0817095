//! A real `kexec_file_load(2)` of the UKI's parts.
//!
//! A first kernel, the UKI's own, is booted by ukivm with an initrd that has a small
//! static init. That loads the UKI's kernel, initrd and command line, says so by a
//! byte on the milestone port, and goes there by `reboot(2)`. The trial begins with
//! that byte: a machine is up when it does a kexec, and how it came up is not to the
//! point. Where instructions are counted, of which the milestone port's have no number,
//! it begins a little before, with the end of the line that says that all is loaded.
//!
//! Before the first trial of a UKI there is one that is not measured, with words on
//! the second kernel's command line that make it say which kernel it is and where its
//! initrd is. ukivm then reads the initrd out of guest memory and holds it against the
//! UKI's.

mod boot;
mod recorder;
mod told;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

pub(crate) use self::boot::{Way, boot};
use self::told::Told;
use super::parts::Parts;
use crate::{
    bench::{
        arm::{Arm, Error, Mode, Request, Why},
        process::{self, Finished},
        trial::Trial,
    },
    engine::{Kind, tcg},
};

/// How much longer a trial's process may take than its guest.
const GRACE: Duration = Duration::from_secs(10);

/// A real kexec, a process a trial: this program, started again.
#[derive(Debug)]
pub struct Kexec {
    engine: Kind,
    program: PathBuf,
    arguments: Vec<OsString>,
    /// What was seen of each subject that was looked at.
    checked: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
}

impl Kexec {
    /// An arm that starts `program` with `arguments`, those of `ukivm bench`, to which
    /// it adds what makes a trial of it.
    #[must_use]
    pub fn new(engine: Kind, program: PathBuf, arguments: Vec<OsString>) -> Self {
        Self { engine, program, arguments, checked: Mutex::default() }
    }

    fn arguments(&self, request: &Request<'_>, how: &str) -> Vec<OsString> {
        let mut own = self.arguments.iter().cloned();
        let command = own.next();
        let mut image = OsString::from("--trial=");
        image.push(&request.subject.image);
        let engine = format!("--trial-engine={}", self.engine).into();
        let kexec = format!("--trial-kexec={how}").into();
        command.into_iter().chain([image, engine, kexec]).chain(own).collect()
    }

    fn run(&self, request: &Request<'_>, how: &str) -> Result<Told, Error> {
        let limit = request.time_limit.saturating_add(GRACE);
        let Finished { status, stdout, stderr, .. } =
            process::run(&self.program, &self.arguments(request, how), request, limit)?;
        serde_json::from_slice(&stdout).map_err(|_not_told| Error::Program {
            program: self.program.clone(),
            what: format!("no trial: it ended with {status}: {}", stderr.trim()),
            source: None,
        })
    }

    /// What a boot that is not measured shows of the second kernel, once for each
    /// subject.
    fn check(
        &self,
        request: &Request<'_>,
        parts: &Parts,
    ) -> Result<BTreeMap<String, String>, Error> {
        let subject = format!("{:?}", request.subject);
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = checked.get(&subject) {
            return Ok(known.clone());
        }
        let told = self.run(request, "check")?;
        let shown = told.checked(parts)?;
        checked.insert(subject, shown.clone());
        Ok(shown)
    }
}

impl Arm for Kexec {
    fn name(&self) -> &'static str {
        "kexec"
    }

    fn engine(&self) -> Kind {
        self.engine
    }

    fn available(&self, mode: Mode) -> Result<(), Why> {
        if (self.engine, mode) == (Kind::Kvm, Mode::Count) {
            let reason = "KVM does not count a guest's instructions".to_owned();
            return Err(Why { reason, mend: Some("use --engine tcg".to_owned()) });
        }
        Ok(())
    }

    fn versions(&self) -> Vec<(String, String)> {
        let own = ("ukivm".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        let qemu = (self.engine == Kind::Tcg).then(tcg::qemu).and_then(Result::ok);
        [own].into_iter().chain(qemu.map(|qemu| ("QEMU".to_owned(), qemu.version))).collect()
    }

    fn trial(&self, request: &Request<'_>) -> Result<Trial, Error> {
        let parts = Parts::open(request.subject)?;
        let shown = self.check(request, &parts)?;
        let how = match request.mode {
            Mode::Time => "measure",
            Mode::Count => "count",
        };
        let mut trial = self.run(request, how)?.trial(&parts)?;
        trial.proof.more.extend(shown);
        Ok(trial)
    }
}
