//! The console on a terminal: raw while the guest runs, as it was afterwards.

use std::{process::Command, time::Duration};

use crate::support::{
    Scratch, engines,
    run::{Running, is_alive, within},
    tiny::{echo, guest},
};

/// The escape key.
const QUIT: &[u8] = b"\x1d\x1d\x1d";

/// A shell on a terminal of its own that runs an echoing guest, says how that
/// ended, and shows the terminal's settings before and after.
fn on_a_terminal(engine: &str) -> (Scratch, Running) {
    let scratch = Scratch::new();
    scratch.file("guest.efi", guest(echo));
    let line = format!(
        "stty -g; {} run --engine {engine} --memory 64M guest.efi; echo status=$?; stty -g; echo end",
        env!("CARGO_BIN_EXE_ukivm")
    );
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command.current_dir(scratch.path()).env("SHELL", "/bin/sh");
    let running = Running::start(command);
    running.wait_for("ready");
    (scratch, running)
}

/// The terminal's settings, as printed before and after.
fn settings(seen: &str) -> Vec<&str> {
    let is_settings = |line: &&str| line.matches(':').count() > 10;
    seen.lines().map(str::trim).filter(is_settings).collect()
}

/// That ukivm ended with `status` and left the terminal as it was.
fn ended_with(running: &Running, status: i32) {
    running.wait_for("end");
    let seen = running.seen();
    assert!(seen.contains(&format!("status={status}")), "{seen}");
    let settings = settings(&seen);
    assert_eq!(settings.len(), 2, "{seen}");
    assert_eq!(settings[0], settings[1], "the terminal is not as it was");
}

#[test]
fn keys_reach_the_guest_and_the_terminal_is_restored() {
    for engine in engines("keys_reach_the_guest_and_the_terminal_is_restored") {
        let (_scratch, mut running) = on_a_terminal(engine);
        assert!(running.seen().contains("press Ctrl-] three times"), "{}", running.seen());
        // ^C is the guest's, ^Z and ^\ too.
        running.type_in(b"a\x03\x1a\x1cz");
        running.wait_for("aCZ\\z");
        running.type_in(b"q");
        ended_with(&running, 0);
    }
}

#[test]
fn the_escape_key_quits() {
    for engine in engines("the_escape_key_quits") {
        let (_scratch, mut running) = on_a_terminal(engine);
        running.type_in(QUIT);
        ended_with(&running, 130);
    }
}

#[test]
fn a_signal_restores_the_terminal_too() {
    for engine in engines("a_signal_restores_the_terminal_too") {
        let (_scratch, running) = on_a_terminal(engine);
        let ukivm = running.descendants().into_iter().find(|process| {
            let name = std::fs::read_to_string(format!("/proc/{process}/comm"));
            name.is_ok_and(|name| name.trim() == "ukivm")
        });
        let sent = Command::new("kill").arg(ukivm.expect("a ukivm").to_string()).status();
        assert!(sent.expect("kill runs").success());
        ended_with(&running, 143);
    }
}

#[test]
fn a_terminal_that_goes_away_ends_the_run() {
    for engine in engines("a_terminal_that_goes_away_ends_the_run") {
        let (_scratch, running) = on_a_terminal(engine);
        let processes = running.descendants();
        assert!(processes.len() > 1, "a shell and ukivm, at least");
        running.signal("-KILL");
        let gone = || !processes.iter().any(|process| is_alive(*process));
        assert!(within(Duration::from_secs(20), gone), "{engine} left some of {processes:?}");
    }
}
