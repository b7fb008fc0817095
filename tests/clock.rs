//! A host whose clock jumps while a guest runs.

use std::fs;

use crate::support::{bed, disks::Guest, skip};

/// What is around the program in the bed: its clock jumps by days, there and back. Any other
/// host's is left alone.
const HOST: &str = r#"
[ -d /run/bed/job ] || exit 77
(while :; do
    date --set '+2 days'; sleep 0.3; date --set '-4 days'; sleep 0.3; date --set '+2 days'
done) >"$(dirname "$0")/jumps" &
jumping=$!
"$@"
status=$?
kill $jumping
exit $status
"#;

/// A line of the timeline: when the guest ended, in seconds.
fn ended_after(stdout: &str) -> Option<f64> {
    let line = stdout.lines().find(|line| line.ends_with("end: power-off"))?;
    line.trim_start().split(' ').next()?.parse().ok()
}

#[test]
fn a_clock_that_jumps_ends_no_guest_and_is_in_no_time_on_kvm() {
    let test = "a_clock_that_jumps_ends_no_guest_and_is_in_no_time_on_kvm";
    let Some(guest) = Guest::new(test, "sleep 4") else { return };
    let host = guest.scratch.file("host.sh", HOST);
    let limits = ["--timeout=200", "--silence-timeout=100", "--boot-timeout=150"];
    let command = guest.command(&[&["smoke", "--live"][..], &limits].concat(), "kvm");
    let Some(ran) = bed::on_kvm_by(test, Some(&host), &command, guest.scratch.path()) else {
        return;
    };
    if ran.status == Some(77) {
        return skip(test, "this is not the bed, and the host's clock is left alone");
    }
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let jumps = fs::read_to_string(guest.path("jumps")).expect("what date(1) printed");
    assert!(jumps.lines().count() > 10, "{jumps}");
    let end = ended_after(&ran.stdout);
    assert!(end.is_some_and(|seconds| (4.0..200.0).contains(&seconds)), "{ran:?}");
}
