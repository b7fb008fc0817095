use std::{cell::Cell, sync::atomic::Ordering};

use clap::Parser as _;

use super::*;
use crate::{
    bench::{Phase, Proof, Unit},
    cli::{Cli, Command},
    engine::Kind,
};

/// An arm that needs no host: its nth boot takes n, and fails when it is told to.
#[derive(Debug, Default)]
struct Paper {
    boots: Cell<u64>,
    fails_at: Option<u64>,
    stops_at: Option<u64>,
    missing: bool,
}

impl Arm for Paper {
    fn name(&self) -> &'static str {
        "paper"
    }

    fn engine(&self) -> Kind {
        Kind::Tcg
    }

    fn available(&self, _mode: Mode) -> Result<(), Why> {
        let why = Why { reason: "no paper".to_owned(), mend: None };
        if self.missing { Err(why) } else { Ok(()) }
    }

    fn trial(&self, request: &Request<'_>) -> Result<Trial, arm::Error> {
        let boot = self.boots.get().saturating_add(1);
        self.boots.set(boot);
        if self.stops_at == Some(boot) {
            request.stop.store(true, Ordering::Relaxed);
            return Err(arm::Error::Stopped);
        }
        if self.fails_at == Some(boot) {
            return Err(arm::Error::End { how: "panic".to_owned(), console: Vec::new() });
        }
        let proof = Proof { release: Some("6.12".to_owned()), ..Proof::default() };
        Ok(Trial::new(Unit::Nanoseconds, proof).reached(Phase::End, boot))
    }
}

fn contender<'a>(name: &str, arm: &'a Paper) -> Contender<'a> {
    let subject = match Cli::parse_from(["ukivm", "run", name]).command {
        Command::Run(options) => options.job,
        other => panic!("{other:?}"),
    };
    Contender { name: name.to_owned(), subject, arm, release: Some("6.12".to_owned()) }
}

const EXTENT: Extent = Extent {
    mode: Mode::Time,
    until: Until::End,
    warm_ups: 1,
    rounds: 3,
    time_limit: Duration::from_secs(1),
};

fn told(contenders: &[Contender<'_>]) -> (Vec<Record>, Vec<String>) {
    let mut events = Vec::new();
    let records = run(contenders, &EXTENT, &AtomicBool::new(false), &mut |event| {
        events.push(match event {
            Event::Turn { name, turn, done, of } => format!("{name}{} {done}/{of}", turn.round),
            Event::Trial { .. } => return,
            Event::Failed { name, failure } => format!("{name} failed: {}", failure.why),
            Event::Unavailable { name, why } => format!("{name} missing: {why}"),
        });
    });
    (records, events)
}

#[test]
fn all_take_turns_and_warm_ups_do_not_count() {
    let (a, b) = (Paper::default(), Paper::default());
    let (records, events) = told(&[contender("A", &a), contender("B", &b)]);
    let turns = "A0 0/8 B0 1/8 A1 2/8 B1 3/8 B2 4/8 A2 5/8 A3 6/8 B3 7/8";
    assert_eq!(events.join(" "), turns);
    let rounds: Vec<_> = records[1].trials.iter().map(|round| round.round).collect();
    assert_eq!(rounds, [1, 2, 3]);
}

#[test]
fn one_that_fails_is_given_up_and_the_others_go_on() {
    let (a, b) = (Paper::default(), Paper { fails_at: Some(2), ..Paper::default() });
    let (records, events) = told(&[contender("A", &a), contender("B", &b)]);
    assert_eq!(records[0].trials.len(), 3);
    assert_eq!(records[1].trials.len(), 0);
    assert_eq!(records[1].failure.as_ref().map(|failure| failure.round), Some(1));
    assert_eq!(b.boots.get(), 2);
    assert!(events.contains(&"A3 5/6".to_owned()), "{events:?}");
}

#[test]
fn an_arm_that_is_missing_is_never_asked_to_boot() {
    let (a, b) = (Paper { missing: true, ..Paper::default() }, Paper::default());
    let (records, events) = told(&[contender("A", &a), contender("B", &b)]);
    assert_eq!(events.first().map(String::as_str), Some("A missing: no paper"));
    assert_eq!((a.boots.get(), b.boots.get()), (0, 4));
    assert_eq!(records[1].trials.len(), 3);
}

#[test]
fn what_there_was_is_kept_when_nobody_wants_more() {
    let (a, b) = (Paper::default(), Paper { stops_at: Some(3), ..Paper::default() });
    let (records, _) = told(&[contender("A", &a), contender("B", &b)]);
    assert_eq!(records[0].trials.len(), 1);
    assert_eq!(records[1].trials.len(), 1);
    assert_eq!(records[1].failure, None, "to be stopped is no failure");
}

#[test]
fn another_kernel_than_the_ukis_is_a_failure() {
    let arm = Paper::default();
    let other = Contender { release: Some("7.0".to_owned()), ..contender("A", &arm) };
    let (records, _) = told(&[other]);
    let why = records[0].failure.as_ref().map(|failure| failure.why.as_str());
    assert_eq!(why, Some("the wrong kernel was booted: 6.12, wanted 7.0"));
}
