//! One page that needs nothing else: no script, no font, no picture from elsewhere.

mod distribution;
mod scale;
mod svg;
mod waterfall;

use std::fmt::Write as _;

use self::svg::escaped;
use super::{
    amount::{amount, counted, ratio},
    human::{boots, outliers, verdict},
    markdown::command,
};
use crate::bench::{
    judge::Versus,
    report::{Entry, Report},
    statistics::float,
    trial::Unit,
};

/// How the page looks, in light and in dark.
const STYLE: &str = include_str!("style.css");

/// The page.
#[must_use]
pub fn html(report: &Report) -> String {
    let names: Vec<_> = report.entries.iter().map(|entry| entry.name.as_str()).collect();
    let title = escaped(&format!("ukivm bench: {}", names.join(", ")));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>ukivm bench</h1>\n{}{}{}{}{}</main>\n</body>\n</html>\n",
        notices(report),
        facts(report),
        comparisons(report),
        entries(report),
        distributions(report),
    )
}

fn notices(report: &Report) -> String {
    let notice =
        |notice: &String| format!("<p class=\"note\" role=\"note\">{}</p>\n", escaped(notice));
    report.notices.iter().map(notice).collect()
}

fn facts(report: &Report) -> String {
    let host = &report.host;
    let facts = [
        ("Processor", format!("{} × {}, governor {}", host.cpus, host.cpu, host.governor)),
        ("Host", format!("Linux {}, KVM: {}", host.kernel, host.kvm)),
        ("Huge pages, clock", format!("{}, {}", host.huge_pages, host.clock)),
        ("Load", format!("{} before, {} after", host.load_before, host.load_after)),
        ("Engine", format!("{} ({})", report.engine.kind, report.engine.reason)),
        ("Boots", boots(&report.settings)),
        ("Command", command(report)),
        ("ukivm", report.ukivm.clone()),
    ];
    let row = |(name, value): (&str, String)| {
        format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escaped(&value))
    };
    format!("<dl class=\"facts\">\n{}</dl>\n", facts.into_iter().map(row).collect::<String>())
}

fn comparisons(report: &Report) -> String {
    let unit = report.settings.unit;
    report.comparisons.iter().map(|versus| comparison(versus, unit)).collect()
}

fn comparison(versus: &Versus, unit: Unit) -> String {
    let (base, other) = (escaped(&versus.base), escaped(&versus.other));
    let mut text = format!("<section>\n<h2>{other}, compared with {base}</h2>\n");
    // Writing to a string can't fail.
    if let Some(why) = &versus.refused {
        let _ = writeln!(text, "<p class=\"note\">Not compared: {}</p>\n</section>", escaped(why));
        return text;
    }
    let _ = writeln!(text, "<p class=\"verdict\">{}</p>", escaped(&verdict(versus, unit)));
    let ratio_is = match unit {
        Unit::Nanoseconds => "ratio, 95 % interval, chance",
        Unit::Instructions => "ratio",
    };
    let _ = writeln!(
        text,
        "<table class=\"ratios\">\n<thead><tr><th></th><th>difference</th><th>{ratio_is}</th></tr>\
         </thead>\n<tbody>"
    );
    for compared in &versus.metrics {
        let class = if compared.differs() { " class=\"differs\"" } else { "" };
        let _ = writeln!(
            text,
            "<tr{class}><th>{}</th><td>{}</td><td>{}</td></tr>",
            compared.metric,
            amount(unit, compared.difference()),
            ratio(&compared.comparison, unit)
        );
    }
    text + "</tbody>\n</table>\n</section>\n"
}

fn entries(report: &Report) -> String {
    let whole = waterfall::whole(report);
    report.entries.iter().map(|one| entry(one, report.settings.unit, whole)).collect()
}

fn entry(entry: &Entry, unit: Unit, whole: f64) -> String {
    let versions: Vec<_> =
        entry.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let what = format!(
        "arm {} on {} ({}); Linux {}; {} bytes; command line: {}",
        entry.arm,
        entry.engine,
        versions.join(", "),
        entry.release.as_deref().unwrap_or("?"),
        entry.image_len,
        entry.cmdline
    );
    let mut text = format!(
        "<section>\n<h2>{}</h2>\n<p class=\"what\">{}</p>\n",
        escaped(&entry.name),
        escaped(&what)
    );
    if let Some(why) = &entry.unavailable {
        let _ = writeln!(text, "<p class=\"note\">Left out: {}</p>", escaped(why));
    }
    if let Some(failure) = &entry.failure {
        let why = escaped(&failure.why);
        let _ = writeln!(text, "<p class=\"note\">Failed and given up:</p>\n<pre>{why}</pre>");
    }
    if !entry.trials.is_empty() {
        text += &waterfall::svg(entry, unit, whole);
        text += &table(entry, unit);
    }
    for (phase, why) in &entry.unseen {
        let _ = writeln!(text, "<p class=\"unseen\">No {phase}: {}</p>", escaped(why));
    }
    text + "</section>\n"
}

fn table(entry: &Entry, unit: Unit) -> String {
    let show = |value| amount(unit, value);
    let row = |measured: &crate::bench::report::Measured| {
        let summary = &measured.summary;
        let cells = [
            summary.median,
            summary.mean,
            summary.stdev,
            summary.mad,
            float(summary.min),
            summary.p5,
            summary.p95,
            float(summary.max),
        ];
        let cells: String = cells.map(|value| format!("<td>{}</td>", show(value))).concat();
        format!("<tr><th>{}</th>{cells}<td>{}</td></tr>\n", measured.metric, summary.outliers.len())
    };
    let rows: String = entry.metrics.iter().map(row).collect();
    format!(
        "<details>\n<summary>{}{}: the numbers</summary>\n<div class=\"wide\"><table>\n\
         <thead><tr><th></th><th>median</th><th>mean</th><th>stdev</th><th>MAD</th><th>min</th>\
         <th>5 %</th><th>95 %</th><th>max</th><th>outliers</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n</details>\n",
        counted(entry.trials.len(), "boot"),
        escaped(&outliers(entry, unit))
    )
}

fn distributions(report: &Report) -> String {
    let cards = distribution::all(report);
    if cards.is_empty() {
        return String::new();
    }
    format!(
        "<section>\n<h2>Distributions</h2>\n<p class=\"what\">A dot is a boot; the box holds the \
         middle half, the line is the median. Axes do not begin at zero.</p>\n\
         <div class=\"cards\">\n{cards}</div>\n</section>\n"
    )
}

#[cfg(test)]
mod tests;
