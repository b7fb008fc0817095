//! One run of one program, timed from outside.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    path::Path,
};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::{Result, arm::Arm, floor, guest::OnDisk};

/// Steps on the way to the guest's first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// The program's `main` began.
    Main,
    /// The UKI is parsed and checked.
    ImageParsed,
    /// The VM exists.
    VmCreated,
    /// Guest memory is loaded.
    MemoryLoaded,
    /// The vCPU is about to run.
    FirstEntry,
    /// The guest's first byte has come out of the program.
    FirstByte,
}

/// When each step was, in microseconds since just before the program was
/// started.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    /// The steps that the program tells of.
    pub(crate) steps: BTreeMap<Step, f64>,
}

impl Trial {
    /// Boots `guest` by `arm`.
    pub(crate) fn run(arm: &Arm, guest: &OnDisk) -> Result<Self> {
        let json = guest.path.with_extension("json");
        let mut command = arm.command(guest, &json)?;
        let start = now_us();
        let mut child = command.spawn()?;
        let mut byte = [0];
        let said = child.stdout.as_mut().ok_or("no pipe")?.read_exact(&mut byte);
        let first_byte = now_us() - start;
        let output = child.wait_with_output()?;
        if said.is_err() || !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{arm} failed, {}:\n{stderr}", output.status).into());
        }
        let mut steps = match arm {
            Arm::Floor => floor_steps(&output.stderr, start)?,
            Arm::Ukivm(_) => ukivm_steps(&json, first_byte)?,
        };
        steps.insert(Step::FirstByte, first_byte);
        Ok(Self { steps })
    }
}

fn floor_steps(stderr: &[u8], start: f64) -> Result<BTreeMap<Step, f64>> {
    let times = floor::times(stderr).ok_or("the floor told no times")?;
    let steps = [Step::Main, Step::VmCreated, Step::MemoryLoaded, Step::FirstEntry];
    Ok(steps.into_iter().zip(times.map(|time| time - start)).collect())
}

/// The part of ukivm's report that matters here.
#[derive(Debug, Deserialize)]
struct Report {
    timeline: BTreeMap<String, Time>,
}

#[derive(Debug, Deserialize)]
struct Time {
    at_us: Option<f64>,
}

/// ukivm counts from its `main`: what it took to get there is what is missing
/// from the whole, and includes the first byte's way to us.
fn ukivm_steps(json: &Path, first_byte: f64) -> Result<BTreeMap<Step, f64>> {
    let report: Report = serde_json::from_slice(&fs::read(json)?)?;
    let at = |name: &str| report.timeline.get(name).and_then(|time| time.at_us);
    let wrote = at("first_console_byte").ok_or("ukivm saw no byte on the console")?;
    let main = first_byte - wrote;
    let mut steps = BTreeMap::from([(Step::Main, main)]);
    for (step, name) in [
        (Step::ImageParsed, "image_parsed"),
        (Step::VmCreated, "vm_created"),
        (Step::MemoryLoaded, "memory_loaded"),
        (Step::FirstEntry, "first_entry"),
    ] {
        steps.insert(step, main + at(name).ok_or_else(|| io::Error::other(name))?);
    }
    Ok(steps)
}

/// The monotonic clock, which is the same for all processes, in microseconds.
#[expect(clippy::cast_precision_loss, reason = "a host that is up for less than 140 years")]
pub(crate) fn now_us() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 * 1e6 + now.tv_nsec as f64 / 1e3
}
