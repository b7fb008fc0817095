//! JUnit XML as Jenkins, GitLab and most others read it:
//! <https://github.com/testmoapp/junitxml>, and the schema of Jenkins' xunit
//! plug-in (`jenkins-junit.xsd`).

use std::io;

use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

use super::super::report::{Image, Overall, Report, Result, Suite};

/// A test suite a UKI, a test case a run.
#[must_use]
pub fn junit(suite: &Suite) -> String {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    // Writing to memory can't fail.
    let written = writer
        .write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))
        .and_then(|()| suites(&mut writer, suite));
    drop(written);
    let mut text = String::from_utf8_lossy(&writer.into_inner()).into_owned();
    text.push('\n');
    text
}

fn suites(writer: &mut Writer<Vec<u8>>, suite: &Suite) -> io::Result<()> {
    let runs: Vec<&Report> = suite.runs().collect();
    writer
        .create_element("testsuites")
        .with_attribute(("name", "ukivm"))
        .with_attributes(counts(&runs).iter().map(|(name, value)| (*name, value.as_str())))
        .write_inner_content(|writer| {
            suite.images.iter().try_for_each(|image| test_suite(writer, image))
        })?;
    Ok(())
}

fn test_suite(writer: &mut Writer<Vec<u8>>, image: &Image) -> io::Result<()> {
    let runs: Vec<&Report> = image.runs.iter().collect();
    let skipped = runs.iter().filter(|run| run.result == Result::Skip).count().to_string();
    writer
        .create_element("testsuite")
        .with_attribute(("name", clean(&image.name).as_str()))
        .with_attributes(counts(&runs).iter().map(|(name, value)| (*name, value.as_str())))
        .with_attribute(("skipped", skipped.as_str()))
        .write_inner_content(|writer| {
            if image.result == Overall::Flaky {
                writer.create_element("properties").write_inner_content(|writer| {
                    let property = writer.create_element("property");
                    let property = property.with_attributes([("name", "flaky"), ("value", "true")]);
                    property.write_empty()?;
                    Ok(())
                })?;
            }
            runs.iter().try_for_each(|run| test_case(writer, run, runs.len()))
        })?;
    Ok(())
}

fn test_case(writer: &mut Writer<Vec<u8>>, run: &Report, of: usize) -> io::Result<()> {
    let name = if of > 1 { format!("boot, run {} of {of}", run.run) } else { "boot".to_owned() };
    let time = format!("{:.6}", run.seconds());
    writer
        .create_element("testcase")
        .with_attribute(("name", name.as_str()))
        .with_attribute(("classname", clean(&run.image).as_str()))
        .with_attribute(("time", time.as_str()))
        .write_inner_content(|writer| {
            let problem = match run.result {
                Result::Pass => None,
                Result::Fail => Some("failure"),
                Result::Error => Some("error"),
                Result::Skip => Some("skipped"),
            };
            match problem {
                None => {}
                // The schema has no attributes for this one.
                Some("skipped") => {
                    let element = writer.create_element("skipped");
                    element.write_text_content(BytesText::new(&clean(&run.summary)))?;
                }
                Some(problem) => {
                    writer
                        .create_element(problem)
                        .with_attribute(("message", clean(&run.summary).as_str()))
                        .with_attribute(("type", run.cause.as_str()))
                        .write_text_content(BytesText::new(&clean(&details(run))))?;
                }
            }
            if !run.last_lines.is_empty() {
                writer
                    .create_element("system-out")
                    .write_text_content(BytesText::new(&clean(&run.last_lines.join("\n"))))?;
            }
            Ok(())
        })?;
    Ok(())
}

fn details(run: &Report) -> String {
    let mut lines = vec![format!("exit status {}, {}", run.exit_status, run.cause)];
    lines.extend(run.missing.iter().map(|missing| format!("not seen: {missing}")));
    lines.extend(run.explanation.iter().cloned());
    lines.extend(run.next_step.iter().map(|step| format!("next: {step}")));
    lines.extend(run.decisive().iter().flat_map(|finding| finding.excerpt.iter().cloned()));
    lines.extend(run.crash.iter().cloned());
    lines.join("\n")
}

fn counts(runs: &[&Report]) -> [(&'static str, String); 4] {
    let count = |result| runs.iter().filter(|run| run.result == result).count().to_string();
    let seconds: f64 = runs.iter().map(|run| run.seconds()).sum();
    [
        ("tests", runs.len().to_string()),
        ("failures", count(Result::Fail)),
        ("errors", count(Result::Error)),
        ("time", format!("{seconds:.6}")),
    ]
}

/// `text` with what XML can't hold replaced. XML 1.0, 2.2 "Characters".
fn clean(text: &str) -> String {
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.chars().map(|c| if allowed(c) { c } else { '\u{fffd}' }).collect()
}
