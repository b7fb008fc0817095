//! What `ukivm smoke` leaves, by the schemas and parsers of those who read it.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::OnceLock,
};

use jsonschema::Validator;
use serde_json::{Value, json};

use super::{guests::write, smoke};
use crate::support::{Scratch, built, engines, skip};

/// `src/verdict/result.schema.json`.
fn schema() -> &'static Validator {
    static SCHEMA: OnceLock<Validator> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let text = include_str!("../../src/verdict/result.schema.json");
        let schema = serde_json::from_str(text).expect("JSON");
        jsonschema::validator_for(&schema).expect("a schema")
    })
}

/// A result as its schema has it.
pub(crate) fn result(text: &str) -> Value {
    let value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let errors: Vec<_> = schema()
        .iter_errors(&value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:?} in {text}");
    value
}

/// A folder that a run of several guests has left, one of each kind of verdict.
fn left(test: &str) -> Option<Scratch> {
    if engines(test).is_empty() {
        return None;
    }
    let scratch = Scratch::new();
    for name in ["up", "oops", "panic", "halt"] {
        write(&scratch, name);
    }
    scratch.file("no#.efi", "not a UKI");
    let images = ["up.efi", "oops.efi", "panic.efi", "halt.efi", "no#.efi"];
    let ran = smoke(&scratch, &["--output=out", "--repeat=2", "--jobs=2"], &images);
    assert_eq!(ran.status, Some(65), "{ran:?}");
    Some(scratch)
}

/// What a run without an engine leaves, where that is to be no error.
fn skipped() -> Scratch {
    let scratch = Scratch::new();
    write(&scratch, "up");
    let output = Command::new(env!("CARGO_BIN_EXE_ukivm"))
        .args(["smoke", "--engine=tcg", "--skip-without-engine", "--output=out", "up.efi"])
        .current_dir(scratch.path())
        .env("UKIVM_QEMU", "/nonexistent/qemu")
        .output();
    assert_eq!(output.expect("ukivm starts").status.code(), Some(77));
    scratch
}

/// What there is under the name of `name` in a folder that was left, deepest too.
fn files(folder: &Path, name: &str) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(files(&path, name));
        } else if path.file_name().is_some_and(|found| found == name) {
            all.push(path);
        }
    }
    all
}

/// `program` with `arguments`; `None`, and `test` noted as skipped, where it is
/// not here.
fn ran(test: &str, program: &str, arguments: &[&str], file: &Path) -> Option<Output> {
    let output = Command::new(program).args(arguments).arg(file).output();
    output.map_err(|error| skip(test, &format!("no {program}: {error}"))).ok()
}

#[test]
fn every_result_is_as_its_schema_has_it() {
    let folders = [left("every_result_is_as_its_schema_has_it"), Some(skipped())];
    for folder in folders.into_iter().flatten() {
        let results = files(&folder.path().join("out"), "result.json");
        assert!(!results.is_empty());
        for path in results {
            result(&fs::read_to_string(path).expect("a result"));
        }
    }
}

#[test]
fn the_schema_refuses_what_is_no_result() {
    let text = fs::read_to_string(skipped().path().join("out/result.json")).expect("a result");
    let sound = result(&text);
    let is_valid = |change: &dyn Fn(&mut Value)| {
        let mut report = sound.clone();
        change(&mut report);
        schema().is_valid(&report)
    };
    assert!(is_valid(&|report| report["new"] = json!(1)), "more members are no fault");
    let members: Vec<_> = sound.as_object().expect("an object").keys().cloned().collect();
    for member in members {
        let without = |report: &mut Value| {
            report.as_object_mut().and_then(|report| report.remove(&member));
        };
        assert!(!is_valid(&without), "{member} is missing");
        assert!(!is_valid(&|report| report[&member] = json!([[]])), "{member} is a list of lists");
    }
    assert!(!is_valid(&|report| report["result"] = json!("pass")), "a pass has status 0");
    assert!(!is_valid(&|report| report["exit_status"] = json!(0)), "only a pass has status 0");
    assert!(!is_valid(&|report| report["outcome"] = json!({ "kind": "bored" })));
}

/// Prints a line a test point, then errors of the stream. The parser may know
/// versions up to 13 only; what is used of 14 here is in that too.
const TAP: &str = r"
    local $/; open my $file, '<', $ARGV[0] or die; my $tap = <$file>;
    $tap =~ s/^TAP version 14$/TAP version 13/m or die 'no version';
    my $parser = TAP::Parser->new({ tap => $tap });
    while (my $result = $parser->next) {
        print 'unknown: ', $result->raw, qq(\n) if $result->is_unknown;
        next unless $result->is_test;
        print $result->is_ok ? 'ok ' : 'not ok ', $result->description, $result->has_skip ? ' skipped' : '', qq(\n);
    }
    print qq(error: $_\n) for $parser->parse_errors;
";

#[test]
fn perl_s_parser_takes_the_tap() {
    let test = "perl_s_parser_takes_the_tap";
    let told = |scratch: &Scratch| {
        let path = scratch.path().join("out/result.tap");
        let output = ran(test, "perl", &["-MTAP::Parser", "-e", TAP], &path)?;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && error.is_empty(), "{error}");
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    if let Some(told) = told(&skipped()) {
        assert_eq!(told, "ok - up.efi skipped\n");
    }
    let Some(told) = left(test).and_then(|scratch| told(&scratch)) else { return };
    let point = |(name, word): &(&str, &str)| {
        format!("{word} - {name} (run 1 of 2)\n{word} - {name} (run 2 of 2)\n")
    };
    let wanted: String = [
        ("up.efi", "ok"),
        ("oops.efi", "not ok"),
        ("panic.efi", "not ok"),
        ("halt.efi", "not ok"),
        ("no\\#.efi", "not ok"),
    ]
    .iter()
    .map(point)
    .collect();
    assert_eq!(told, wanted);
}

#[test]
fn the_junit_is_valid_by_jenkins_own_schema() {
    let test = "the_junit_is_valid_by_jenkins_own_schema";
    let Some(schema) = built(test, "junit-schema/jenkins-junit.xsd") else { return };
    let schema = schema.to_str().expect("UTF-8");
    for scratch in [left(test), Some(skipped())].into_iter().flatten() {
        for path in files(&scratch.path().join("out"), "junit.xml") {
            let arguments = ["--noout", "--nonet", "--schema", schema];
            let Some(output) = ran(test, "xmllint", &arguments, &path) else { return };
            let error = String::from_utf8_lossy(&output.stderr);
            let xml = fs::read_to_string(&path).expect("XML");
            assert!(output.status.success(), "{error} in {xml}");
        }
    }
}
