//! The tables and the watch on texts in the form of the kernel's and of what runs
//! on it.

use std::time::Duration;

use super::*;
use crate::{
    outcome::{End, ResetBy},
    readiness::Notice,
};

mod corpus;

const AT: Duration = Duration::from_secs(1);

fn watched(policy: Policy, pieces: &[&[u8]]) -> Watch {
    let mut watch = Watch::new(policy);
    for piece in pieces {
        watch.push(piece, AT, &mut |_| {}, &mut |_| {});
    }
    watch.finish(AT, &mut |_| {}, &mut |_| {});
    watch
}

fn found(watch: &Watch) -> Vec<(&str, Severity, usize)> {
    let of = |finding: &Finding| finding.excerpt.len();
    watch.findings().iter().map(|one| (one.name.as_str(), one.severity, of(one))).collect()
}

fn expecting(expressions: &[&str]) -> Policy {
    let expects = expressions.iter().map(|text| Expression::new(text).unwrap()).collect();
    Policy { criterion: Criterion { expects, ..Criterion::default() }, ..Policy::default() }
}

fn ending(end: End) -> Ending {
    Ending { end, at_us: 2_000_000, restarted: false }
}

#[test]
fn every_text_of_the_corpus_is_found_under_its_name_and_bounded() {
    for (wanted, text) in corpus::FAILURES {
        let watch = watched(Policy::default(), &[b"before\n", text.as_bytes(), b"\nafter\n"]);
        let names: Vec<_> = watch.findings().iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, *wanted, "{text}");
        for finding in watch.findings() {
            assert!(!finding.cause.is_empty() && !finding.next_step.is_empty());
            assert!(finding.excerpt.contains(&finding.text), "{finding:?}");
        }
    }
}

#[test]
fn what_is_well_finds_nothing() {
    for text in corpus::HARMLESS {
        let watch = watched(Policy::default(), &[text.as_bytes()]);
        assert_eq!(found(&watch), [], "{text}");
    }
}

#[test]
fn a_trace_is_in_the_excerpt_from_its_first_line_to_its_last() {
    let watch = watched(Policy::default(), &[corpus::PANIC.as_bytes(), b"[    9.0] later\n"]);
    let finding = &watch.findings()[0];
    assert_eq!(finding.name, "init-exited");
    let excerpt: Vec<_> = corpus::PANIC.lines().collect();
    assert_eq!(finding.excerpt, excerpt);
    assert!(!finding.is_cut);
}

#[test]
fn any_split_of_a_stream_gives_the_same_findings() {
    let stream: Vec<u8> = corpus::FAILURES
        .iter()
        .flat_map(|(_, text)| [b"\x1b[0;31m", text.as_bytes(), b"\x1b[0m\r\n"].concat())
        .collect();
    let told = |pieces: &[&[u8]]| {
        let watch = watched(expecting(&["Modules linked in", "end"]), pieces);
        let proofs: Vec<_> = watch.proofs().cloned().collect();
        (watch.findings().to_vec(), watch.marks().to_vec(), proofs)
    };
    let whole = told(&[&stream]);
    assert!(whole.0.len() > 20, "{}", whole.0.len());
    for size in [1, 2, 3, 7, 64, 1000] {
        let pieces: Vec<_> = stream.chunks(size).collect();
        assert!(told(&pieces) == whole, "pieces of {size}");
    }
    for cut in (0..stream.len()).step_by(97) {
        let (head, tail) = stream.split_at(cut);
        assert!(told(&[head, tail]) == whole, "cut at {cut}");
    }
}

fn verdict(text: &str) -> (u8, String) {
    let watch = watched(Policy::default(), &[text.as_bytes()]);
    let Conclusion { verdict, summary, .. } = conclude(&watch, &ending(End::Decided));
    assert!(summary.contains("(line "), "{summary}");
    (verdict.status, verdict.cause)
}

const BROKEN: &str = "[  0.4] Initramfs unpacking failed: ZSTD-compressed data is truncated\n";
const NO_ROOT: &str =
    "[  1.1] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n";

#[test]
fn what_a_panic_comes_of_decides() {
    let origin = |text: &str| (101, text.to_owned());
    assert_eq!(verdict(&format!("{BROKEN}{NO_ROOT}")), origin("initrd-broken"));
    assert_eq!(verdict(NO_ROOT), origin("root-missing"));
    // It did without what could not be unpacked.
    assert_eq!(verdict(&format!("{BROKEN}{}", corpus::PANIC)), origin("init-exited"));
    let oops = "[  0.1] BUG: Bad page state in process\n";
    assert_eq!(verdict(&format!("{oops}{NO_ROOT}")), origin("root-missing"));
}

#[test]
fn what_made_an_initrd_open_a_shell_decides_also_where_it_is_said_later() {
    let shell = "[  OK  ] Started emergency.service - Emergency Shell.\n";
    let missing = "Warning: /dev/disk/by-uuid/6d1f5ad3 does not exist\n";
    assert_eq!(verdict(&format!("{shell}{missing}")), (103, "root-missing".to_owned()));
    assert_eq!(verdict(shell), (103, "emergency-shell".to_owned()));
    let oops = "[  0.1] BUG: Bad page state in process\n";
    assert_eq!(verdict(&format!("{oops}{shell}{missing}")), (103, "bug".to_owned()));
}

#[test]
fn binary_rubbish_around_a_panic_does_not_hide_it() {
    let bytes = (0..200_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
    let rubbish: Vec<u8> = bytes.filter(|byte| *byte != b'\n').collect();
    let panic = b"[   12.500000] Kernel panic - not syncing: x\r\n";
    let watch = watched(Policy::default(), &[&rubbish, panic, &rubbish]);
    assert_eq!(watch.findings()[0].name, "panic");
}

#[test]
fn what_is_shown_holds_nothing_that_a_terminal_obeys() {
    let watch = watched(Policy::default(), &["a\u{9b}2Jb\x1b[2J\x07c\u{85}\n".as_bytes()]);
    assert_eq!(watch.recent().collect::<Vec<_>>(), ["a\u{fffd}2Jbc\u{fffd}"]);
}

#[test]
fn a_panic_is_told_behind_any_flood() {
    let mut told = Vec::new();
    let mut watch = Watch::default();
    let flood = "[  OK  ] Reached target Basic System.\n".repeat(1000);
    for text in [flood.as_str(), "[  1.0] Kernel panic - not syncing: x\n"] {
        watch.push(text.as_bytes(), AT, &mut |mark| told.push(mark.name), &mut |_| {});
    }
    assert_eq!(told.len(), 501);
    assert_eq!(told.last(), Some(&MarkName::Finding));
}

#[test]
fn a_flood_is_bounded() {
    let line = b"[    1.000000] WARNING: CPU: 0 PID: 1 at mm/slub.c:1 f+0x1/0x2\r\n";
    let mut watch = Watch::default();
    for _ in 0..20_000 {
        watch.push(line, AT, &mut |_| {}, &mut |_| {});
    }
    watch.push(&vec![b'x'; 5 << 20], AT, &mut |_| {}, &mut |_| {});
    watch.finish(AT, &mut |_| {}, &mut |_| {});
    assert_eq!(watch.findings().len(), 50);
    assert!(watch.marks().len() <= 500);
    assert!(watch.recent().count() <= RECENT);
    let excerpts: usize = watch.findings().iter().map(|finding| finding.excerpt.len()).sum();
    assert!(excerpts <= 50 * 80);
}

#[test]
fn a_failure_is_found_behind_any_number_of_allowed_ones() {
    let allow = lists::Allow(lists::read("task kworker").unwrap());
    let policy = Policy { allow, ..Policy::default() };
    let mut text =
        "[  1.0] INFO: task kworker/0:1 blocked for more than 120 seconds.\n".repeat(200);
    text.push_str("[  2.0] INFO: task init:1 blocked for more than 120 seconds.\n");
    let watch = watched(policy, &[text.as_bytes()]);
    assert_eq!(found(&watch), [("hung-task", Severity::Fail, 1)]);
    assert_eq!(watch.allowed().len(), 50);
}

#[test]
fn no_allowed_finding_hides_another_in_its_excerpt() {
    let allow = lists::Allow(lists::read("at drivers/known.c").unwrap());
    let policy = Policy { allow, ..Policy::default() };
    let text = "[  1.0] WARNING: CPU: 0 PID: 1 at drivers/known.c:7 f+0x1/0x2\n\
                [  1.1] BUG: unable to handle page fault for address: 0000000000000010\n\
                [  1.2] Oops: 0000 [#1] PREEMPT SMP\n\
                [  1.3] ---[ end trace 0000000000000000 ]---\n";
    let watch = watched(policy, &[text.as_bytes()]);
    assert_eq!(found(&watch), [("oops", Severity::Fail, 3)]);
    assert_eq!(watch.allowed().len(), 1);
}

#[test]
fn a_panic_is_never_allowed() {
    let allow = lists::Allow(lists::read(".").unwrap());
    let policy = Policy { allow, ..Policy::default() };
    let watch = watched(policy, &[corpus::PANIC.as_bytes()]);
    assert_eq!(watch.findings().len(), 1);
}

#[test]
fn an_own_pattern_is_a_failure_and_names_itself() {
    let deny = lists::Deny(lists::read("segfault at [0-9a-f]+").unwrap());
    let policy = Policy { deny, ..Policy::default() };
    let watch = watched(policy, &[b"[  3.1] a.out[7]: segfault at 0 ip 4011\n"]);
    assert_eq!(watch.findings()[0].name, "deny");
    assert_eq!(watch.findings()[0].listed.as_deref(), Some("segfault at [0-9a-f]+"));
}

#[test]
fn expected_lines_are_proven_in_order_with_their_lines() {
    let watch = watched(expecting(&["one", "two"]), &[b"two\none\ntwo\n"]);
    let lines: Vec<_> = watch.proofs().map(|proof| proof.line).collect();
    assert_eq!(lines, [Some(2), Some(3)]);
}

#[test]
fn one_line_may_prove_two_but_not_the_same_text_twice() {
    assert_eq!(watched(expecting(&["a", "b"]), &[b"a b\n"]).missing().count(), 0);
    assert_eq!(watched(expecting(&["b", "a"]), &[b"a b\n"]).missing().count(), 1);
    assert_eq!(watched(expecting(&["a", "a"]), &[b"a b\n"]).missing().count(), 1);
    let long = [vec![b'.'; LINE_MAX - 5], b"once".to_vec(), vec![b'.'; 100]].concat();
    assert_eq!(watched(expecting(&["once", "once"]), &[&long]).missing().count(), 1);
}

#[test]
fn in_any_order_all_are_still_needed() {
    let mut policy = expecting(&["one", "two"]);
    policy.criterion.in_any_order = true;
    assert_eq!(watched(policy.clone(), &[b"two\none\n"]).missing().count(), 0);
    assert_eq!(watched(policy, &[b"two\n"]).missing().count(), 1);
}

#[test]
fn a_prompt_counts_when_it_has_stood_for_a_while() {
    let goal = Some(Goal::Login);
    let criterion = Criterion { goal, ..Criterion::default() };
    let mut watch = Watch::new(Policy { criterion, ..Policy::default() });
    watch.push(b"debian login: ", AT, &mut |_| {}, &mut |_| {});
    assert_eq!(watch.login_proof(), None);
    watch.pause(AT, &mut |_| {});
    assert!(watch.login_proof().is_some());
}

#[test]
fn a_shell_s_prompt_is_found_once() {
    let mut watch = Watch::default();
    watch.push(b"(initramfs) ", AT, &mut |_| {}, &mut |_| {});
    watch.pause(AT, &mut |_| {});
    watch.push(b"\x1b[6nexit\r\n", AT, &mut |_| {}, &mut |_| {});
    watch.finish(AT, &mut |_| {}, &mut |_| {});
    assert_eq!(found(&watch), [("initramfs-shell", Severity::Fail, 1)]);
    assert_eq!(watch.findings()[0].excerpt, ["(initramfs)"]);
}

#[test]
fn nothing_but_userspace_and_a_clean_end_passes_by_default() {
    let up = b"[    0.5] Run /init as init process\n";
    let reset = End::Reset { by: ResetBy::Unknown };
    for (text, end, status) in [
        (up.as_slice(), End::PowerOff, 0),
        (up, End::Status { status: 0 }, 0),
        (up, reset, 100),
        (up, End::TimeLimit, 100),
        (up, End::Silence, 104),
        (b"hello\n", End::PowerOff, 100),
        (b"", End::PowerOff, 100),
        (b"", End::Status { status: 0 }, 100),
        (b"", End::TimeLimit, 124),
        (b"", End::BootLimit, 124),
    ] {
        let watch = watched(Policy::default(), &[text]);
        let conclusion = conclude(&watch, &ending(end.clone()));
        assert_eq!(conclusion.verdict.status, status, "{end:?}");
        assert_eq!(conclusion.missing.is_empty(), status == 0, "{end:?}");
    }
}

#[test]
fn a_status_is_a_proof_only_where_it_is_expected() {
    let criterion = Criterion { status: Some(7), ..Criterion::default() };
    let watch = watched(Policy { criterion, ..Policy::default() }, &[]);
    let status = |end| conclude(&watch, &ending(end)).verdict.status;
    assert_eq!(status(End::Status { status: 7 }), 0);
    assert_eq!(status(End::Status { status: 8 }), 8);
    assert_eq!(status(End::Status { status: 200 }), 63);
    assert_eq!(status(End::Status { status: 0 }), 100);
    assert_eq!(status(End::PowerOff), 100);
}

#[test]
fn warnings_fail_only_where_that_is_asked_for() {
    let text =
        b"[  0.5] Run /init as init process\n[  1.0] WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1\n";
    let status = |fail_on| {
        let watch = watched(Policy { fail_on, ..Policy::default() }, &[text]);
        conclude(&watch, &ending(End::PowerOff)).verdict.status
    };
    assert_eq!(status(Severity::Fail), 0);
    assert_eq!(status(Severity::Warning), 103);
}

fn limited(criterion: Criterion) -> Watch {
    Watch::new(Policy { criterion, limits: Limits::DEFAULT, ..Policy::default() })
}

fn say(watch: &mut Watch, at: u64, text: &str) {
    watch.push(text.as_bytes(), Duration::from_secs(at), &mut |_| {}, &mut |_| {});
}

fn due(watch: &Watch) -> (u64, End) {
    let (at, end) = watch.due(Some(Duration::from_secs(1)), false).unwrap();
    (at.as_secs(), end)
}

#[test]
fn limits_follow_what_the_guest_does() {
    let mut watch = limited(Criterion::default());
    assert_eq!(due(&watch), (31, End::Silence));
    say(&mut watch, 20, "[    0.0] Linux version 6.12\n");
    assert_eq!(due(&watch), (50, End::Silence));
    say(&mut watch, 40, "[    1.0] still booting\n");
    assert_eq!(due(&watch), (60, End::BootLimit));
    say(&mut watch, 50, "[    2.0] Run /init as init process\n");
    assert_eq!(due(&watch), (80, End::Silence));
    say(&mut watch, 100, "working\n");
    assert_eq!(due(&watch), (120, End::TimeLimit));
}

#[test]
fn a_guest_that_has_proven_all_goes_on_for_a_while() {
    let mut watch = limited(expecting(&["ready"]).criterion);
    say(&mut watch, 5, "ready\n");
    assert_eq!(due(&watch), (7, End::Decided));
    assert_eq!(watch.due(Some(AT), true).unwrap().1, End::TimeLimit, "a panic takes its time");
}

#[test]
fn what_the_system_says_of_itself_is_a_proof_and_ends_the_run_with_the_rest() {
    let sayings = vec![Saying::Ready];
    let mut watch = limited(Criterion { sayings, ..expecting(&["up"]).criterion });
    say(&mut watch, 2, "ready\n");
    assert_eq!(watch.missing().count(), 2, "a line is no saying");
    watch.hear(&Notice::Ready, Duration::from_secs(3));
    assert!(watch.userspace());
    assert_eq!(due(&watch).1, End::Silence, "the line is still to come");
    say(&mut watch, 5, "up\n");
    assert_eq!(due(&watch), (7, End::Decided));
    let conclusion = conclude(&watch, &ending(End::Decided));
    assert!(conclusion.verdict.is_pass());
    assert_eq!(conclusion.proofs.len(), 2);

    let sayings = vec![Saying::Unit("a.target".to_owned())];
    let mut watch = limited(Criterion { sayings, ..Criterion::default() });
    watch.hear(&Notice::Ready, Duration::from_secs(3));
    let conclusion = conclude(&watch, &ending(End::PowerOff));
    assert_eq!(conclusion.verdict.status, 100);
    assert_eq!(conclusion.missing, ["the system says that a.target is active"]);
    watch.hear(&Notice::UnitActive("a.target".to_owned()), Duration::from_secs(4));
    assert_eq!(due(&watch), (6, End::Decided));
}

#[test]
fn a_stamp_that_is_cut_short_is_no_program_s_line() {
    let mut watch = limited(Criterion::default());
    say(&mut watch, 5, "[    0.1] booting\n[  ");
    watch.pause(Duration::from_secs(7), &mut |_| {});
    assert!(!watch.userspace());
    watch.finish(Duration::from_secs(8), &mut |_| {}, &mut |_| {});
    assert!(!watch.userspace());
    say(&mut watch, 9, "a program\n");
    assert!(watch.userspace());
}

#[test]
fn a_goal_that_is_an_end_is_waited_for() {
    let mut watch =
        limited(Criterion { goal: Some(Goal::PowerOff), ..expecting(&["x"]).criterion });
    say(&mut watch, 5, "x\n");
    assert_eq!(due(&watch), (35, End::Silence));
}

#[test]
fn a_guest_that_has_failed_is_given_time_for_its_last_words() {
    let mut watch = limited(Criterion::default());
    say(&mut watch, 5, "[  1.0] BUG: unable to handle page fault for address: 10\n");
    assert_eq!(due(&watch), (15, End::Decided));
    say(&mut watch, 6, "[  1.1] ---[ end trace 0 ]---\n");
    assert_eq!(due(&watch), (8, End::Decided));
}
