//! Every phase of every boot, for spreadsheets and scripts. RFC 4180.

use std::fmt::Write as _;

use crate::bench::{
    phase::Phase,
    report::{Entry, Report},
    trial::Unit,
};

/// The names of the columns.
const HEAD: &str = "entry,arm,engine,image,round,phase,after,start,end,unit";

/// A line for each phase of each boot, below the names of the columns.
#[must_use]
pub fn csv(report: &Report) -> String {
    let unit = match report.settings.unit {
        Unit::Nanoseconds => "ns",
        Unit::Instructions => "instructions",
    };
    let mut text = format!("{HEAD}\r\n");
    for entry in &report.entries {
        let Entry { name, arm, engine, image, trials, .. } = entry;
        let whose = [name.as_str(), arm, &engine.to_string(), image].map(field).join(",");
        for round in trials {
            for span in &round.trial.phases {
                let after = span.after.map_or("", Phase::name);
                // Writing to a string can't fail.
                let _ = write!(
                    text,
                    "{whose},{},{},{after},{},{},{unit}\r\n",
                    round.round, span.phase, span.start, span.end
                );
            }
        }
    }
    text
}

/// A field, in quotes where it has to be.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::formats::sample;

    #[test]
    fn there_is_a_line_for_each_phase_of_each_boot() {
        let report = sample();
        let text = csv(&report);
        let lines: Vec<_> = text.split("\r\n").collect();
        assert_eq!(lines.first(), Some(&HEAD));
        assert_eq!(lines.last(), Some(&""));
        let phases: usize = report
            .entries
            .iter()
            .flat_map(|entry| &entry.trials)
            .map(|round| round.trial.phases.len())
            .sum();
        assert_eq!(lines.len(), phases + 2);
        assert_eq!(lines[1], "A.efi,ukivm,tcg,A.efi,1,parse,,0,100000,ns");
    }

    #[test]
    fn names_with_commas_and_quotes_stay_one_field() {
        assert_eq!(field("a,b.efi"), "\"a,b.efi\"");
        assert_eq!(field("a\"b\n.efi"), "\"a\"\"b\n.efi\"");
        assert_eq!(field("a b.efi"), "a b.efi");
    }
}
