//! The promises of `SECURITY.md`: each has a test.

use std::{fs, path::Path};

/// Every Rust source under `folder`.
fn sources(folder: &Path, found: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&fs::read_to_string(&path).expect("a source"));
        }
    }
}

#[test]
fn every_promise_names_a_test_that_there_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join(".github/SECURITY.md")).expect("SECURITY.md");
    let (_, promises) = text.split_once("| promise | test |").expect("a table of promises");
    let rows: Vec<_> = promises.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 9, "{rows:?}");
    let mut code = String::new();
    for folder in ["src", "tests", "firmware-less/src"] {
        sources(&root.join(folder), &mut code);
    }
    for row in rows {
        let name = row.rsplit('`').nth(1).unwrap_or_else(|| panic!("no test: {row}"));
        let definition = format!("#[test]\nfn {name}()");
        let inner = format!("#[test]\n    fn {name}()");
        assert!(code.contains(&definition) || code.contains(&inner), "no such test: {name}");
    }
}
