//! What is said of guests that say nothing.

use serde_json::Value;

use super::{
    forms::result,
    guests::{SYSTEM_MAP, write},
};
use crate::support::{Scratch, engines};

/// What is said of a silent guest.
fn explanation(engine: &str, name: &str, words: &[&str]) -> String {
    let scratch = Scratch::new();
    write(&scratch, name);
    let image = format!("{name}.efi");
    let fixed = ["smoke", "--memory=64M", "--engine", engine, "--silence-timeout=1s"];
    let ran = scratch.ukivm(fixed.iter().chain(&["--format=json", &image, "--"]).chain(words));
    assert_eq!(ran.status, Some(104), "{engine} {name}: {ran:?}");
    let report = result(&ran.stdout);
    report["explanation"].as_str().expect("a text").to_owned()
}

#[test]
fn silence_is_explained_by_what_the_guest_is_at() {
    for engine in engines("silence_is_explained_by_what_the_guest_is_at") {
        let halted = explanation(engine, "halt", &[]);
        assert!(halted.contains("vCPU 0 is halted at 0x"), "{engine}: {halted}");
        assert!(halted.contains("with interrupts off"), "{engine}: {halted}");
        let spinning = explanation(engine, "spin", &[]);
        assert!(spinning.contains("vCPU 0 spins "), "{engine}: {spinning}");
        for text in [&halted, &spinning] {
            let (_, looks) = text.split_once("(in ").expect("how often");
            let looks = looks.split(' ').next().and_then(|number| number.parse::<u32>().ok());
            assert!(looks >= Some(10), "{engine}: {text}");
            assert!(text.contains("a console that is there (console=uart,io,0x3f8"), "{text}");
        }
        let elsewhere = explanation(engine, "halt", &["console=ttyS1"]);
        assert!(
            elsewhere.contains("console=ttyS1, and this machine has none of it"),
            "{elsewhere}"
        );
        let unconfigured = explanation(engine, "halt-without-8250", &[]);
        assert!(
            unconfigured.contains("as a module (CONFIG_SERIAL_8250=m)"),
            "{engine}: {unconfigured}"
        );
        assert!(!halted.contains("CONFIG_"), "{engine}: {halted}");
        let posted = explanation(engine, "posts-and-halts", &[]);
        let told = posted.contains("The last I/O port written was 0x80 (POST code");
        // QEMU does not tell.
        assert_eq!(told && posted.contains("with 0x5a."), engine == "kvm", "{engine}: {posted}");
        assert!(halted != spinning && halted != elsewhere && spinning != elsewhere);
    }
}

#[test]
fn a_silent_guest_s_place_has_a_name_where_there_is_a_system_map() {
    for engine in engines("a_silent_guest_s_place_has_a_name_where_there_is_a_system_map") {
        let scratch = Scratch::new();
        write(&scratch, "has-a-table");
        write(&scratch, "spin");
        scratch.file("System.map", SYSTEM_MAP);
        scratch.file("stub", "ffffffffffffffff B The real System.map is elsewhere\n");
        let run = |map: &str, image: &str| {
            let fixed = ["smoke", "--memory=64M", "--engine", engine, "--silence-timeout=1s"];
            let ran = scratch.ukivm(fixed.iter().chain(&["--format=json", map, image]));
            let report: Value = serde_json::from_str(&ran.stdout).expect("JSON");
            let explanation = report["explanation"].as_str().unwrap_or_default().to_owned();
            (ran.status, ran.stderr, explanation)
        };
        let (_, _, named) = run("--system-map=System.map", "has-a-table.efi");
        assert!(named.contains("(all_of_it+0x"), "{engine}: {named}");
        // It has another table, or none: nobody knows how far away it runs.
        let (_, _, unknown) = run("--system-map=System.map", "spin.efi");
        assert!(unknown.contains("spins") && !unknown.contains("all_of_it"), "{unknown}");
        let (status, said, _) = run("--system-map=stub", "spin.efi");
        assert_eq!(status, Some(64), "{said}");
        assert!(said.contains("stub: no kernel's System.map"), "{said}");
    }
}

#[test]
fn a_guest_that_has_stopped_for_good_is_not_waited_for() {
    for engine in engines("a_guest_that_has_stopped_for_good_is_not_waited_for") {
        let scratch = Scratch::new();
        write(&scratch, "up-and-on");
        let options = ["--silence-timeout=50s", "--timeout=55s", "--format=json"];
        let fixed = ["smoke", "--memory=64M", "--cpus=2", "--engine", engine, "up-and-on.efi"];
        let ran = scratch.ukivm(fixed.iter().chain(&options));
        let report: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        assert_eq!((ran.status, &report["cause"]), (Some(104), &Value::from("halted")), "{ran:?}");
        assert_eq!(report["outcome"]["kind"], "halted");
        assert!(report["duration_us"].as_u64() < Some(30_000_000), "{engine}: {report:#}");
        let explanation = report["explanation"].as_str().expect("a text");
        for words in ["vCPU 0 is halted at 0x", "vCPU 1 is halted at 0x", "nothing can wake it"] {
            assert!(explanation.contains(words), "{engine}: {explanation}");
        }
    }
}
