//! What `ukivm bench` exports, by its schema and by those who read it.

use std::fs;

use jsonschema::Validator;

use super::{bench, engine, image, json};
use crate::support::{
    Scratch,
    tiny::{guest, triple_fault},
};

fn schema() -> Validator {
    let text = include_str!("../../src/bench/report.schema.json");
    let schema = serde_json::from_str(text).expect("JSON");
    jsonschema::validator_for(&schema).expect("a schema")
}

#[test]
fn every_report_is_as_its_schema_has_it() {
    let Some(engine) = engine("every_report_is_as_its_schema_has_it") else { return };
    let scratch = Scratch::new();
    scratch.file("a.efi", image(0));
    scratch.file("bad.efi", guest(triple_fault));
    let schema = schema();
    for images in [["a.efi", "a.efi"], ["a.efi", "bad.efi"]] {
        let exports = ["--runs=8", "--digest", "--export-json=r.json"];
        bench(&scratch, engine, &[exports.as_slice(), &images].concat());
        let report = json(scratch.path().join("r.json"));
        let errors: Vec<_> = schema
            .iter_errors(&report)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:#?}");
        let broken = serde_json::json!({ "schema": 1 });
        assert!(!schema.is_valid(&broken));
    }
}

#[test]
fn all_exports_tell_of_the_same_boots() {
    let Some(engine) = engine("all_exports_tell_of_the_same_boots") else { return };
    let scratch = Scratch::new();
    scratch.file("a.efi", image(0));
    let exports = ["--export-json=r.json", "--export-csv=r.csv", "--export-markdown=r.md"];
    let rest = ["--export-html=r.html", "--runs=3", "--warmup=0", "a.efi"];
    let ran = bench(&scratch, engine, &[exports.as_slice(), &rest].concat());
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let read = |name: &str| fs::read_to_string(scratch.path().join(name)).expect("an export");
    let report = json(scratch.path().join("r.json"));
    let trials = report["entries"][0]["trials"].as_array().expect("trials");
    let phases: usize =
        trials.iter().filter_map(|trial| trial["phases"].as_array()).map(Vec::len).sum();
    let csv = read("r.csv");
    assert_eq!(csv.lines().count(), phases + 1);
    let end = trials[0]["phases"].as_array().and_then(|phases| phases.last());
    let end = end.expect("an end")["end"].to_string();
    assert!(csv.contains(",end,first-output,") && csv.contains(&format!(",{end},ns")));
    assert!(read("r.md").contains("| first-output |"));
    let page = read("r.html");
    assert!(page.contains("Phases of a.efi"), "{page}");
    assert!(!page.contains("http"), "nothing from elsewhere");
}
