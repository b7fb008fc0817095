//! What is told while boots go on: a bar on a terminal, a line for each elsewhere.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use crate::{
    bench::{
        campaign::Event,
        formats::amount,
        phase::{Metric, Phase},
        statistics::float,
    },
    console::is_terminal,
    messages::say,
    visible::visible,
};

/// How wide the bar is.
const WIDTH: usize = 30;

/// Tells on standard error.
#[derive(Debug)]
pub(super) struct Progress {
    start: Instant,
    bar: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), bar: is_terminal(&io::stderr()) }
    }

    pub(super) fn tell(&self, event: &Event<'_>) {
        match event {
            Event::Turn { name, turn, done, of } if self.bar => {
                let round = match turn.round {
                    0 => "warm-up".to_owned(),
                    round => format!("round {round}"),
                };
                let left = left(self.start.elapsed(), *done, *of);
                let bar = bar(*done, *of);
                let line = format!("{bar} {done}/{of}{left}  {}, {round}", visible(name));
                // A broken terminal is no reason to stop.
                write!(io::stderr(), "\r\x1b[2K{line}").ok();
            }
            Event::Trial { name, turn, trial } if !self.bar => {
                let total = trial.value(Metric::Until(Phase::End)).unwrap_or_default();
                let total = amount(trial.unit, float(total));
                let round = match turn.round {
                    0 => "warm-up".to_owned(),
                    round => format!("round {round}"),
                };
                say(&format!("{round}: {name}: {total}"));
            }
            Event::Turn { .. } | Event::Trial { .. } => {}
            Event::Failed { name, failure } => {
                self.clear();
                // The report shows the console too.
                let why = failure.why.lines().next().unwrap_or_default();
                say(&format!("{name} is given up: {why}"));
            }
            Event::Unavailable { name, why } => {
                self.clear();
                let mend = why.mend.as_ref().map(|mend| format!("; mend: {mend}"));
                say(&format!("{name} is left out: {why}{}", mend.unwrap_or_default()));
            }
        }
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        if self.bar {
            write!(io::stderr(), "\r\x1b[2K").ok();
        }
    }
}

fn bar(done: usize, of: usize) -> String {
    let full = done.saturating_mul(WIDTH).checked_div(of).unwrap_or(0).min(WIDTH);
    format!("[{}{}]", "#".repeat(full), "-".repeat(WIDTH.saturating_sub(full)))
}

/// How long it will take, by how long it has taken.
fn left(passed: Duration, done: usize, of: usize) -> String {
    let boots = u32::try_from(done).ok().filter(|done| *done > 0);
    let each = boots.and_then(|done| passed.checked_div(done));
    let rest = u32::try_from(of.saturating_sub(done)).unwrap_or(u32::MAX);
    let left = each.and_then(|each| each.checked_mul(rest));
    left.map_or(String::new(), |left| format!(", about {} s left", left.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_as_boots_are_done() {
        assert_eq!(bar(0, 4), format!("[{}]", "-".repeat(30)));
        assert_eq!(bar(4, 4), format!("[{}]", "#".repeat(30)));
        assert_eq!(bar(2, 4), format!("[{}{}]", "#".repeat(15), "-".repeat(15)));
        assert_eq!(bar(0, 0), format!("[{}]", "-".repeat(30)));
    }

    #[test]
    fn what_is_left_is_told_by_what_has_passed() {
        assert_eq!(left(Duration::from_secs(10), 2, 5), ", about 15 s left");
        assert_eq!(left(Duration::from_secs(10), 0, 5), "");
    }
}
