//! What was measured, for people and for programs.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use ukivm::bench::host::Host;

use crate::{
    arm::Arm,
    memory::Resident,
    statistics::{Ratio, Summary},
    trial::{Step, Trial},
};

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Trials of each program and image.
    pub(crate) runs: usize,
    /// The machine.
    pub(crate) facts: Host,
    /// By size of the image.
    pub(crate) sizes: Vec<SizeReport>,
}

/// For one image.
#[derive(Debug, Serialize)]
pub(crate) struct SizeReport {
    /// The image's size.
    pub(crate) megabytes: u64,
    /// By program, the floor first.
    pub(crate) arms: Vec<ArmReport>,
}

/// For one program and image.
#[derive(Debug, Serialize)]
pub(crate) struct ArmReport {
    name: String,
    /// Microseconds from before exec to each step.
    steps_us: BTreeMap<Step, Summary>,
    /// Of the whole, to the floor's.
    ratio: Ratio,
    memory: Resident,
    /// Microseconds of the whole, trial by trial.
    trials_us: Vec<f64>,
}

/// The reports of `arms`, the first of which is the floor.
pub(crate) fn arms(arms: &[Arm], trials: &[Vec<Trial>], peaks: Vec<Resident>) -> Vec<ArmReport> {
    let floor = trials.first().map(|trials| times(trials, Step::FirstByte)).unwrap_or_default();
    let each = arms.iter().zip(trials).zip(peaks);
    each.map(|((arm, trials), memory)| {
        let told = trials.first().into_iter().flat_map(|trial| trial.steps.keys().copied());
        let whole = times(trials, Step::FirstByte);
        ArmReport {
            name: arm.to_string(),
            steps_us: told.map(|step| (step, Summary::of(&times(trials, step)))).collect(),
            ratio: Ratio::of(&whole, &floor),
            memory,
            trials_us: whole,
        }
    })
    .collect()
}

fn times(trials: &[Trial], step: Step) -> Vec<f64> {
    trials.iter().filter_map(|trial| trial.steps.get(&step)).copied().collect()
}

impl fmt::Display for SizeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nUKI of {} MB: exec to first guest instruction, ms", self.megabytes)?;
        self.arms.iter().try_for_each(|arm| arm.fmt(f))
    }
}

impl fmt::Display for ArmReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {}", self.name)?;
        for (step, Summary { median, min, spread }) in &self.steps_us {
            let [median, min, spread] = [median, min, spread].map(|us| us / 1e3);
            writeln!(
                f,
                "    {:<14} median {median:8.2}   min {min:8.2}   quartiles {spread:7.2} apart",
                format!("{step:?}"),
            )?;
        }
        let Ratio { of_medians, of_minima, interval: [low, high] } = self.ratio;
        writeln!(
            f,
            "    to the floor's: {of_medians:.3} (95 %: {low:.3} to {high:.3}), \
             of minima {of_minima:.3}"
        )?;
        let Resident { peak_kib, at_entry_kib, samples } = self.memory;
        writeln!(
            f,
            "    memory beside guest RAM: peak {peak_kib} KiB in {samples} samples, \
             {at_entry_kib} KiB at first entry"
        )
    }
}
