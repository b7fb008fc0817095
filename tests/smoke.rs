//! Verdicts on guests of a few instructions, each with the exit status it has to
//! have; what they leave; several at once.

mod flood;
pub(crate) mod forms;
mod guests;
mod interrupted;
mod silence;

use std::fs;

use serde_json::Value;

use self::guests::{PANIC, write};
use crate::support::{Ran, Scratch, engines};

/// Limits short enough for a guest that does nothing, on a busy machine.
const SHORT_SETTLE: &str = "--settle=300ms";
const SHORT_SILENCE: &str = "--silence-timeout=2s";

/// Boots `guest` on the engine that is here, KVM if there is one.
fn smoke(scratch: &Scratch, options: &[&str], images: &[&str]) -> Ran {
    let kvm = fs::File::options().read(true).write(true).open("/dev/kvm");
    let engine = if kvm.is_ok() { "--engine=kvm" } else { "--engine=tcg" };
    let fixed = ["smoke", "--memory=64M", engine, SHORT_SETTLE];
    let has_own = options.iter().any(|option| option.starts_with("--silence-timeout"));
    let silence = (!has_own).then_some(&SHORT_SILENCE);
    scratch.ukivm(fixed.iter().chain(silence).chain(options).chain(images))
}

/// Boots one guest and gives its report.
fn report(name: &str, options: &[&str]) -> (Option<i32>, Value) {
    let scratch = Scratch::new();
    write(&scratch, name);
    let ran = smoke(&scratch, &[options, &["--format=json"]].concat(), &[&format!("{name}.efi")]);
    (ran.status, forms::result(&ran.stdout))
}

fn verdict(name: &str, options: &[&str]) -> (Option<i32>, String) {
    let (status, report) = report(name, options);
    assert_eq!(report["exit_status"], status.unwrap_or(-1));
    (status, report["cause"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn each_guest_gets_the_verdict_that_it_deserves() {
    if engines("each_guest_gets_the_verdict_that_it_deserves").is_empty() {
        return;
    }
    let table: &[(&str, &[&str], i32, &str)] = &[
        ("up", &[], 0, "proven"),
        ("hello", &[], 100, "power-off-without-proof"),
        ("hello", &["--expect", "he.lo"], 0, "proven"),
        ("hello", &["--expect", "hello", "--expect", "world"], 0, "proven"),
        ("hello", &["--expect", "world", "--expect", "hello"], 100, "power-off-without-proof"),
        ("hello", &["--expect", "world", "--expect", "hello", "--any"], 0, "proven"),
        ("repeats", &["--expect", "[r]eady"], 100, "power-off-without-proof"),
        ("hello", &["--expect", "hello", "--pass-on", "poweroff"], 100, "power-off-without-proof"),
        ("up", &["--expect", "hello", "--pass-on", "poweroff"], 0, "proven"),
        ("up-and-on", &["--pass-on", "init"], 0, "proven"),
        ("login", &["--pass-on", "login"], 0, "proven"),
        ("up-and-on", &["--silence-timeout=off"], 104, "halted"),
        ("status-7", &[], 7, "guest-status"),
        ("status-7", &["--expect-status", "7"], 0, "proven"),
        ("status-7", &["--expect-status", "8"], 7, "guest-status"),
        ("status-200", &[], 63, "guest-status"),
        ("status-200", &["--expect-status", "200"], 0, "proven"),
        ("status-0", &[], 100, "status-without-proof"),
        ("status-0", &["--expect-status", "0"], 0, "proven"),
        ("panic", &[], 101, "init-exited"),
        ("panic", &["--expect", "Kernel panic"], 101, "init-exited"),
        ("says-it-and-panics", &["--expect", "hello"], 101, "init-exited"),
        ("pvpanic", &[], 101, "panic"),
        ("triple-fault", &[], 102, "triple-fault"),
        ("triple-fault", &["--expect", "hello"], 102, "triple-fault"),
        ("oops", &[], 103, "oops"),
        ("oops", &["--expect", "hello"], 103, "oops"),
        ("emergency", &[], 103, "emergency-shell"),
        ("halt", &["--silence-timeout=off"], 104, "halted"),
        ("halt", &["--cpus=2", "--silence-timeout=off"], 104, "halted"),
        ("idle", &[], 104, "silence"),
        ("spin", &[], 104, "silence"),
        ("chatter", &["--timeout=3s"], 100, "time-limit-without-proof"),
        ("boots-for-ever", &["--boot-timeout=3s"], 124, "boot-time-limit"),
        ("boots-for-ever", &["--timeout=3s"], 124, "time-limit"),
        ("reset", &[], 100, "reset-without-proof"),
        ("reset", &["--reboot=restart=2"], 100, "reboot-loop"),
    ];
    let mut wrong = Vec::new();
    for (name, options, status, cause) in table {
        let seen = verdict(name, options);
        if seen != (Some(*status), (*cause).to_owned()) {
            wrong.push(format!("{name} {options:?}: {seen:?}, wanted {status} {cause}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_proof_is_recorded_with_its_line_and_time() {
    if engines("a_proof_is_recorded_with_its_line_and_time").is_empty() {
        return;
    }
    let (_, report) = report("hello", &["--expect", "w.rld"]);
    let proof = &report["proofs"][0];
    assert_eq!((&proof["line"], &proof["text"]), (&Value::from(2), &Value::from("world")));
    assert!(proof["at_us"].as_u64() <= report["duration_us"].as_u64());
    assert!(proof["at_us"].as_u64() > Some(0));
}

#[test]
fn a_panic_has_its_whole_trace_in_the_excerpt() {
    if engines("a_panic_has_its_whole_trace_in_the_excerpt").is_empty() {
        return;
    }
    let (_, report) = report("panic", &[]);
    let excerpt = report["findings"][0]["excerpt"].as_array().expect("a list");
    let wanted: Vec<_> = PANIC.lines().map(Value::from).collect();
    assert_eq!(*excerpt, wanted);
}

#[test]
fn what_a_run_leaves_is_whole_and_says_the_same() {
    if engines("what_a_run_leaves_is_whole_and_says_the_same").is_empty() {
        return;
    }
    let scratch = Scratch::new();
    write(&scratch, "hello");
    // What an earlier run left does not survive.
    fs::create_dir(scratch.path().join("out")).expect("a folder");
    scratch.file("out/serial.log", "stale\n".repeat(1000));
    scratch.file("out/result.json", "stale");
    let ran = smoke(&scratch, &["--output=out", "--expect=hello"], &["hello.efi"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let read = |name: &str| fs::read_to_string(scratch.path().join("out").join(name)).expect(name);
    assert_eq!(read("serial.log"), "hello\r\nworld\r\n");
    let lines: Vec<_> = read("serial.txt").lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("[   ") && lines[0].ends_with("] hello"), "{lines:?}");
    let report = forms::result(&read("result.json"));
    assert_eq!(report["result"], "pass");
    assert_eq!(report["console"]["bytes"], 14);
    let events = read("events.jsonl");
    let events: Vec<Value> =
        events.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(events.last().expect("events")["event"], "end");
    assert!(events.iter().any(|event| event["name"] == "expected"));
    assert!(read("junit.xml").contains("<testcase name=\"boot\" classname=\"hello.efi\""));
    assert!(read("result.tap").starts_with("TAP version 14\n1..1\nok 1 - hello.efi\n"));
    assert_eq!(fs::read_dir(scratch.path().join("out")).expect("a folder").count(), 6);
}

#[test]
fn a_full_disk_is_said_and_the_verdict_stands() {
    if engines("a_full_disk_is_said_and_the_verdict_stands").is_empty() {
        return;
    }
    let scratch = Scratch::new();
    write(&scratch, "hello");
    fs::create_dir(scratch.path().join("out")).expect("a folder");
    for name in ["serial.log", "serial.txt", "events.jsonl"] {
        let link = scratch.path().join("out").join(name);
        std::os::unix::fs::symlink("/dev/full", link).expect("a link");
    }
    let ran = smoke(&scratch, &["--output=out", "--expect=hello"], &["hello.efi"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    for name in ["serial.log", "serial.txt", "events.jsonl"] {
        assert!(ran.stderr.contains(&format!("{name}: writing it failed")), "{ran:?}");
    }
    assert!(ran.stderr.contains("No space left"), "{ran:?}");
    assert!(scratch.path().join("out/result.json").is_file());
}

#[test]
fn a_list_that_is_missing_bad_or_empty_is_refused_before_anything_boots() {
    let scratch = Scratch::new();
    write(&scratch, "up");
    scratch.file("bad", "fine\n(\n");
    scratch.file("empty", "# nothing\n");
    scratch.file("everything", "fine\n.*\n");
    for option in ["--deny", "--allow"] {
        for (file, status) in [("missing", 74), ("bad", 64), ("empty", 64), ("everything", 64)] {
            let ran = smoke(&scratch, &[option, file], &["up.efi"]);
            assert_eq!(ran.status, Some(status), "{option} {file}: {ran:?}");
            assert!(ran.stderr.contains(file), "{ran:?}");
        }
    }
    for expression in ["(", "", ".*"] {
        let ran = smoke(&scratch, &["--expect", expression], &["up.efi"]);
        assert_eq!(ran.status, Some(64), "{ran:?}");
    }
}

#[test]
fn lists_decide_what_fails() {
    if engines("lists_decide_what_fails").is_empty() {
        return;
    }
    let scratch = Scratch::new();
    write(&scratch, "up");
    write(&scratch, "oops");
    scratch.file("deny", "^hello$\n");
    scratch.file("allow", "broken_init\n");
    let ran = smoke(&scratch, &["--deny=deny"], &["up.efi"]);
    assert_eq!(ran.status, Some(103), "{ran:?}");
    let ran = smoke(&scratch, &["--allow=allow", "--expect=hello"], &["oops.efi"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("allowed   oops (line 3"), "{ran:?}");
}

#[test]
fn run_gives_a_status_to_what_it_sees_too() {
    for engine in engines("run_gives_a_status_to_what_it_sees_too") {
        let scratch = Scratch::new();
        write(&scratch, "oops");
        let arguments = ["run", "--memory=64M", "--engine", engine, "--json=r.json", "oops.efi"];
        let ran = scratch.ukivm(arguments);
        assert_eq!(ran.status, Some(103), "{ran:?}");
        assert!(ran.stderr.contains("oops: "), "{ran:?}");
        let text = fs::read_to_string(scratch.path().join("r.json")).expect("a report");
        let report: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(report["findings"][0]["name"], "oops");
        assert_eq!(report["exit_status"], 103);
    }
}

#[test]
fn an_image_that_is_refused_is_an_error_in_every_form() {
    let scratch = Scratch::new();
    scratch.file("no.efi", "not a UKI");
    let ran = smoke(&scratch, &["--format=json", "--output=out"], &["no.efi"]);
    assert_eq!(ran.status, Some(65), "{ran:?}");
    let report = forms::result(&ran.stdout);
    assert_eq!((&report["result"], &report["exit_status"]), (&"error".into(), &65.into()));
    let junit = fs::read_to_string(scratch.path().join("out/junit.xml")).expect("XML");
    assert!(junit.contains("errors=\"1\"") && junit.contains("<error message="), "{junit}");
}

#[test]
fn several_are_a_matrix_with_the_gravest_status() {
    if engines("several_are_a_matrix_with_the_gravest_status").is_empty() {
        return;
    }
    let scratch = Scratch::new();
    for name in ["up", "oops", "panic"] {
        write(&scratch, name);
    }
    let images = ["up.efi", "oops.efi", "panic.efi"];
    let ran = smoke(&scratch, &["--jobs=2", "--output=out"], &images);
    assert_eq!(ran.status, Some(101), "{ran:?}");
    assert!(ran.stdout.ends_with("1 passed, 2 failed, 0 flaky, 0 skipped\n"), "{ran:?}");
    let text = fs::read_to_string(scratch.path().join("out/result.json")).expect("a report");
    let suite = forms::result(&text);
    let names: Vec<_> = (0..3).map(|at| suite["images"][at]["name"].clone()).collect();
    assert_eq!(names, images);
    for folder in ["001-up", "002-oops", "003-panic"] {
        assert!(scratch.path().join("out").join(folder).join("serial.log").is_file(), "{folder}");
    }
    // The words behind `--` go to all of them.
    let ran = smoke(&scratch, &["--format=json"], &["up.efi", "up.efi", "--", "word"]);
    let suite = forms::result(&ran.stdout);
    for image in suite["images"].as_array().expect("a list") {
        let cmdline = image["runs"][0]["cmdline"].as_str().expect("a text");
        assert!(cmdline.contains("quiet word"), "{cmdline}");
    }
}

#[test]
fn shards_part_the_images_and_an_empty_one_is_refused() {
    if engines("shards_part_the_images_and_an_empty_one_is_refused").is_empty() {
        return;
    }
    let scratch = Scratch::new();
    write(&scratch, "up");
    for number in 1..=3 {
        fs::copy(scratch.path().join("up.efi"), scratch.path().join(format!("{number}.efi")))
            .expect("a copy");
    }
    let images = ["1.efi", "2.efi", "3.efi"];
    let booted = |shard: &str| -> Vec<String> {
        let ran = smoke(&scratch, &["--format=tap", "--shard", shard], &images);
        assert_eq!(ran.status, Some(0), "{ran:?}");
        let points = ran.stdout.lines().filter_map(|line| line.split_once(" - "));
        points.map(|(_, name)| name.to_owned()).collect()
    };
    assert_eq!(booted("1/2"), ["1.efi", "3.efi"]);
    assert_eq!(booted("2/2"), ["2.efi"]);
    let ran = smoke(&scratch, &["--shard", "4/4"], &images);
    assert_eq!(ran.status, Some(64), "{ran:?}");
}

#[test]
fn repeated_runs_each_have_their_report() {
    if engines("repeated_runs_each_have_their_report").is_empty() {
        return;
    }
    let scratch = Scratch::new();
    write(&scratch, "up");
    let ran = smoke(&scratch, &["--repeat=3", "--jobs=2", "--output=out"], &["up.efi"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("3 of 3 runs passed"), "{ran:?}");
    let runs = (1..=3).map(|run| scratch.path().join(format!("out/001-up-run{run}/result.json")));
    assert!(runs.into_iter().all(|path| path.is_file()));
}

#[test]
fn a_guest_that_fails_now_and_then_is_called_flaky() {
    if engines("a_guest_that_fails_now_and_then_is_called_flaky").is_empty() {
        return;
    }
    let scratch = Scratch::new();
    write(&scratch, "now-and-then");
    // That all of so many go the same way is one in half a million.
    let options = ["--repeat=20", "--expect=^hello$", "--format=json"];
    let ran = smoke(&scratch, &options, &["now-and-then.efi"]);
    let suite: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let image = &suite["images"][0];
    assert_eq!((&suite["flaky"], &image["result"]), (&Value::from(1), &Value::from("flaky")));
    let runs = image["runs"].as_array().expect("a list");
    let of = |status: u64| runs.iter().filter(|run| run["exit_status"] == status).count();
    assert!(of(0) > 0 && of(7) > 0 && of(0) + of(7) == 20, "{image:#}");
    assert_eq!(ran.status, Some(7), "{ran:?}");
}
