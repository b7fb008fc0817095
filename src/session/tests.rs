#![expect(
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    reason = "small numbers, and how long it took"
)]

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read},
    thread,
};

use sha2::{Digest as _, Sha256};

use super::*;
use crate::verdict::{Criterion, Policy};

/// What the flood consists of: colours, carriage returns, what is no UTF-8, NUL.
const POURED: &[u8] = b"[    1.000000] \x1b[31mred\x1b[0m and\0 \xff\xfe a text like any\r\n\
    \x1b]0;title\x07[    1.000001]  10%\r 20%\r\n";
/// What a session may hold of it, in KiB.
const HELD_MAX: u64 = 16 << 10;

/// The count and the digest of what can be read.
fn digest(mut from: impl Read) -> (usize, [u8; 32]) {
    let (mut count, mut sha, mut buffer) = (0, Sha256::new(), vec![0; 1 << 16]);
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        count += read;
        sha.update(&buffer[..read]);
    }
    (count, sha.finalize().into())
}

/// The resident memory of this process that is its own, in KiB.
fn held() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// Pours at least `bytes` into a session, as fast as it takes them, in pieces of a length
/// that cuts everything everywhere.
fn pour(bytes: usize) {
    let (raw, raw_end) = io::pipe().unwrap();
    let (text, text_end) = io::pipe().unwrap();
    let raw = thread::spawn(move || digest(raw));
    let text = thread::spawn(move || BufReader::new(text).split(b'\n').count());
    let record = Record {
        raw: vec![Output::start(raw_end, |error| panic!("{error}")).unwrap()],
        text: Some(Output::start(text_end, |error| panic!("{error}")).unwrap()),
        news: None,
        observer: None,
        signals: None,
    };
    let expects = vec![crate::verdict::Expression::new("^the end$").unwrap()];
    let criterion = Criterion { expects, ..Criterion::default() };
    let watch = Watch::new(Policy { criterion, ..Policy::default() });
    let start = Instant::now();
    let limits = Limits { start, time_limit: None, interactive: false };
    let session = Session::watched(record, watch, limits, Timeline::new(start)).unwrap();

    let times = bytes.div_ceil(POURED.len());
    let piece = POURED.repeat(64);
    let (mut sha, mut sent, mut pieces) = (Sha256::new(), 0, 0);
    let before = held();
    let mut peak = before;
    let all = POURED.len() * times;
    while sent < all {
        let from = sent % POURED.len();
        let len = (all - sent).min(4093);
        let bytes = &piece[from..][..len];
        session.output(bytes);
        sha.update(bytes);
        sent += len;
        pieces += 1;
        if pieces % 256 == 0 {
            peak = peak.max(held());
        }
    }
    session.output(b"the end\r\n");
    sha.update(b"the end\r\n");
    peak = peak.max(held());
    session.end(End::PowerOff);
    let finished = session.finish();
    assert_eq!(finished.watch.proofs().count(), 1);
    assert_eq!(raw.join().unwrap(), (sent + 9, sha.finalize().into()));
    // A carriage return parts lines there.
    assert_eq!(text.join().unwrap(), times * 3 + 1);
    assert!(peak - before < HELD_MAX, "{before} KiB, and {peak} later");
    eprintln!("{sent} bytes in {:?}, {} KiB more held", start.elapsed(), peak - before);
}

#[test]
fn what_is_poured_into_a_session_is_whole_and_takes_no_memory() {
    pour(20_000_000);
}

/// Ten megabytes a second, or as fast as it goes.
#[test]
fn what_is_poured_for_a_minute_is_whole_and_takes_no_memory() {
    pour(600_000_000);
}
