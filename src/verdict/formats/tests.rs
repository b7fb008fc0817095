//! The forms on runs whose words mean something to each of them.

use quick_xml::{Reader, events::Event};

use super::{super::report::Result, *};
use crate::verdict::{
    Finding, Proof, Severity,
    report::{Stamp, Suite},
};

const HOSTILE: &str = "a # b % c::error::d ]]> <e> & \"f\" \u{1}\u{fffe} |g| \\h";

fn passed() -> Report {
    Report {
        cause: "proven".into(),
        duration_us: 1_500_000,
        proofs: vec![Proof {
            wanted: "expect \"hello\"".into(),
            line: Some(3),
            text: "hello".into(),
            at_us: 1_250_000,
        }],
        milestones: vec![Stamp {
            name: "linux_version".into(),
            at_us: 250_000,
            line: Some(1),
            text: Some(HOSTILE.into()),
        }],
        last_lines: vec!["hello".into()],
        ..Report::without_run("good.efi".into(), Result::Pass, 0, "all was seen".into())
    }
}

fn failed() -> Report {
    let finding = Finding {
        name: "oops".into(),
        severity: Severity::Fail,
        line: 7,
        at_us: 1,
        text: HOSTILE.into(),
        cause: "why".into(),
        next_step: "what".into(),
        listed: None,
        excerpt: vec![HOSTILE.into(), "::set-output name=x::y".into()],
        is_cut: false,
    };
    Report {
        cause: "oops".into(),
        next_step: Some("look,\nthere".into()),
        findings: vec![finding],
        missing: vec!["a clean end".into()],
        last_lines: vec![HOSTILE.into()],
        duration_us: 2_000_000,
        run: 2,
        ..Report::without_run("bad:1,2#.efi".into(), Result::Fail, 103, HOSTILE.into())
    }
}

fn suite() -> Suite {
    let skipped = Report::without_run("none.efi".into(), Result::Skip, 77, "no KVM".into());
    let error = Report::without_run("no.efi".into(), Result::Error, 65, "no UKI".into());
    Suite::new(vec![
        ("good.efi".into(), vec![passed()]),
        (
            "bad:1,2#.efi".into(),
            vec![Report { image: "bad:1,2#.efi".into(), ..passed() }, failed()],
        ),
        ("none.efi".into(), vec![skipped]),
        ("no.efi".into(), vec![error]),
    ])
}

#[test]
fn a_person_reads_what_proves_a_pass() {
    assert_eq!(
        human(&passed(), Style::Plain),
        "PASS good.efi: all was seen, 1.500 s\n  \
           seen      expect \"hello\" (line 3: hello; 1.250 s)\n"
    );
    assert!(human(&passed(), Style::Coloured).starts_with("\x1b[1;32mPASS\x1b[0m good.efi"));
}

#[test]
fn a_person_reads_what_failed_and_the_end_of_the_console() {
    let text = human(&failed(), Style::Plain);
    for part in [
        "[oops, status 103], 2.000 s\n",
        "  not seen  a clean end\n",
        "  oops, from line 7:\n",
        "  the last lines of the console:\n",
        "  next: look,\n",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn the_summary_has_a_line_for_each_image() {
    assert_eq!(
        suite_summary(&suite(), Style::Plain),
        "pass  good.efi, 1.500 s\n\
         FLAKY bad:1,2#.efi, 1 of 2 runs passed, oops (status 103), 3.500 s\n\
         skip  none.efi, skipped (status 77), 0.000 s\n\
         FAIL  no.efi, error (status 65), 0.000 s\n\
         1 passed, 1 failed, 1 flaky, 1 skipped\n"
    );
}

/// A parser of as much of TAP 14 as there is here: version, plan, points, and YAML
/// blocks of one value a line.
fn parse_tap(text: &str) -> Vec<(bool, usize, String, Vec<String>)> {
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("TAP version 14"));
    let plan = lines.next().and_then(|line| line.strip_prefix("1..")).expect("a plan");
    let mut points: Vec<(bool, usize, String, Vec<String>)> = Vec::new();
    while let Some(line) = lines.next() {
        if line == "  ---" {
            let block = lines.by_ref().take_while(|line| *line != "  ...");
            points.last_mut().expect("a point").3 = block.map(str::to_owned).collect();
            continue;
        }
        let (ok, rest) = match line.strip_prefix("not ok ") {
            Some(rest) => (false, rest),
            None => (true, line.strip_prefix("ok ").expect("a point")),
        };
        let (number, name) = rest.split_once(" - ").expect("a description");
        points.push((ok, number.parse().expect("a number"), name.to_owned(), Vec::new()));
    }
    assert_eq!(plan.parse(), Ok(points.len()));
    points
}

#[test]
fn tap_is_what_a_parser_takes() {
    let points = parse_tap(&tap(&suite()));
    let heads: Vec<_> = points.iter().map(|(ok, number, name, _)| (*ok, *number, name)).collect();
    assert_eq!(
        heads,
        [
            (true, 1, &"good.efi".to_owned()),
            (true, 2, &"bad:1,2\\#.efi (run 1 of 2)".to_owned()),
            (false, 3, &"bad:1,2\\#.efi (run 2 of 2)".to_owned()),
            (true, 4, &"none.efi # SKIP no KVM".to_owned()),
            (false, 5, &"no.efi".to_owned()),
        ]
    );
    for line in &points[2].3 {
        let (name, value) = line.trim_start().split_once(": ").expect("a value");
        let value: serde_json::Value = serde_json::from_str(value).expect("JSON is YAML");
        assert_eq!(name == "message", value == HOSTILE, "{line}");
    }
}

/// An element: its depth, its name, its attributes.
type Element = (usize, String, Vec<(String, String)>);

/// The elements in order, each with its depth and attributes; that it is well
/// formed is what the reader sees to.
fn elements(xml: &str) -> Vec<Element> {
    let mut reader = Reader::from_str(xml);
    let (mut depth, mut all) = (0_usize, Vec::new());
    loop {
        let event = reader.read_event().expect("well-formed XML");
        if let Event::Start(start) | Event::Empty(start) = &event {
            let attributes = start.attributes().map(|attribute| {
                let attribute = attribute.expect("an attribute");
                let name = attribute.key.as_ref().to_owned();
                (name, attribute.value.into_owned())
            });
            let name = start.name().as_ref().to_owned();
            all.push((depth, name, attributes.collect()));
        }
        match event {
            Event::Start(_) => depth = depth.saturating_add(1),
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Eof => return all,
            _ => {}
        }
    }
}

/// What the schema allows: parents, and attributes that must be there.
const SCHEMA: &[(&str, &[&str], &[&str])] = &[
    ("testsuites", &[], &["name", "tests", "failures", "errors", "time"]),
    ("testsuite", &["testsuites"], &["name", "tests", "failures", "errors", "time", "skipped"]),
    ("properties", &["testsuite"], &[]),
    ("property", &["properties"], &["name", "value"]),
    ("testcase", &["testsuite"], &["name", "classname", "time"]),
    ("failure", &["testcase"], &["message", "type"]),
    ("error", &["testcase"], &["message", "type"]),
    ("skipped", &["testcase"], &[]),
    ("system-out", &["testcase"], &[]),
];

#[test]
fn junit_keeps_to_its_schema() {
    let xml = junit(&suite());
    let mut path: Vec<String> = Vec::new();
    for (depth, name, attributes) in elements(&xml) {
        path.truncate(depth);
        let (_, parents, wanted) =
            SCHEMA.iter().find(|(known, ..)| *known == name).expect("an element of the schema");
        let parent = path.last().map(String::as_str);
        assert!(parent.map_or(parents.is_empty(), |parent| parents.contains(&parent)), "{name}");
        let found: Vec<_> = attributes.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(found, *wanted, "{name}");
        path.push(name);
    }
    assert!(!xml.contains(['\u{1}', '\u{fffe}']), "no XML holds them");
}

#[test]
fn junit_counts_what_it_holds() {
    let elements = elements(&junit(&suite()));
    let of = |name: &str| elements.iter().filter(|(_, other, _)| other == name).count();
    assert_eq!(
        [of("testsuite"), of("testcase"), of("failure"), of("error"), of("skipped")],
        [4, 5, 1, 1, 1]
    );
    let value = |name: &str| {
        let (_, _, attributes) = &elements[0];
        attributes.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    };
    assert_eq!(value("tests").as_deref(), Some("5"));
    assert_eq!(value("failures").as_deref(), Some("1"));
    assert_eq!(value("errors").as_deref(), Some("1"));
}

#[test]
fn github_annotates_a_failure_in_one_line_and_takes_no_orders_from_a_guest() {
    let text = github(&suite(), "t0ken");
    let errors: Vec<_> = text.lines().filter(|line| line.starts_with("::error ")).collect();
    assert_eq!(errors.len(), 2);
    assert!(
        errors[0].starts_with(
            "::error file=bad%3A1%2C2#.efi,title=bad%3A1%2C2#.efi (run 2 of 2)%3A oops (status \
             103)::a # b %25 c::error::d"
        ),
        "{}",
        errors[0]
    );
    assert!(errors[0].ends_with("%0Anext: look,%0Athere"), "{}", errors[0]);
    let mut is_stopped = false;
    for line in text.lines() {
        match line {
            "::stop-commands::t0ken" => is_stopped = true,
            "::t0ken::" => is_stopped = false,
            line => assert!(is_stopped || !line.starts_with("::set-output"), "{line}"),
        }
    }
    assert!(!is_stopped);
}

#[test]
fn the_step_summary_holds_a_guest_s_words_as_words() {
    let text = step_summary(&suite());
    assert!(text.contains("| ❌ fail | a &#35; b % c::error::d &#93;&#93;&gt; &lt;e&gt; &amp;"));
    assert!(text.contains("| 0.250 | linux_version |"));
    let rows = text.lines().filter(|line| line.starts_with('|') && !line.starts_with("|--"));
    for row in rows {
        assert!([4, 5].contains(&row.matches('|').count()), "{row}");
    }
}
