//! Which rows of the tables a line matches. Lines come by the million and matches
//! by the dozen: one pass looks for texts that a match must have, and regular
//! expressions are made when they are first needed.

use std::sync::{LazyLock, OnceLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::{
    expression::Expression,
    line::Line,
    patterns::{PATTERNS, STAMP, Speaker},
    signs::{SIGNS, Sign},
};

/// What a text that was found may be a part of.
#[derive(Clone, Copy)]
enum Candidate {
    Row(usize),
    Sign(usize),
}

static CANDIDATES: LazyLock<Vec<(&'static str, Candidate)>> = LazyLock::new(|| {
    let needle = |(at, pattern): (usize, &super::patterns::Pattern)| {
        pattern.needles.iter().map(move |needle| (*needle, Candidate::Row(at)))
    };
    let rows = PATTERNS.iter().enumerate().flat_map(needle);
    let signs = SIGNS.iter().enumerate();
    rows.chain(signs.map(|(at, telling)| (telling.needle, Candidate::Sign(at)))).collect()
});

#[expect(clippy::expect_used, reason = "a few dozen short texts, compiled by every test")]
static NEEDLES: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let needles = CANDIDATES.iter().map(|(needle, _)| needle);
    // Not the one that searches fastest, by a fifth: that takes seven times as long to make, while
    // the guest waits at its first line, and 300 KB.
    let kind = Some(AhoCorasickKind::ContiguousNFA);
    let automaton = AhoCorasick::builder().kind(kind).build(needles);
    automaton.expect("the tables' texts make an automaton")
});

static STARTS: [OnceLock<Expression>; PATTERNS.len()] = [const { OnceLock::new() }; PATTERNS.len()];
static ENDS: [OnceLock<Expression>; PATTERNS.len()] = [const { OnceLock::new() }; PATTERNS.len()];
static SIGN_STARTS: [OnceLock<Expression>; SIGNS.len()] = [const { OnceLock::new() }; SIGNS.len()];

/// What a line is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hits {
    /// The first row of [`PATTERNS`] that begins with it.
    pub(super) row: Option<usize>,
    /// The signs that it is.
    pub(super) signs: Vec<Sign>,
}

/// Looks `line` up in the tables.
pub(super) fn hits(line: &Line<'_>) -> Hits {
    let (mut rows, mut signs) = (0_u64, 0_u64);
    for found in NEEDLES.find_overlapping_iter(line.text) {
        match CANDIDATES.get(found.pattern().as_usize()) {
            Some((_, Candidate::Row(at))) => rows |= bit(*at),
            Some((_, Candidate::Sign(at))) => signs |= bit(*at),
            None => {}
        }
    }
    if rows == 0 && signs == 0 {
        return Hits::default();
    }
    let row = PATTERNS.iter().zip(&STARTS).enumerate().find(|(at, (pattern, cell))| {
        rows & bit(*at) != 0 && is_new(cached(cell, pattern.speaker, pattern.start), line)
    });
    let signs = SIGNS.iter().zip(&SIGN_STARTS).enumerate().filter(|(at, (telling, cell))| {
        signs & bit(*at) != 0 && is_new(cached(cell, telling.speaker, telling.start), line)
    });
    Hits {
        row: row.map(|(at, _)| at),
        signs: signs.map(|(_, (telling, _))| telling.sign).collect(),
    }
}

/// Whether `text` is the last line of what `row` begins.
pub(super) fn is_end(row: usize, text: &[u8]) -> bool {
    let (Some(pattern), Some(cell)) = (PATTERNS.get(row), ENDS.get(row)) else { return false };
    pattern.end.is_some_and(|end| cached(cell, Speaker::Anyone, end).is_match(text))
}

/// Whether a match reaches into what `line` shows for the first time.
pub(super) fn is_new(expression: &Expression, line: &Line<'_>) -> bool {
    match line.fresh {
        0 => expression.is_match(line.text),
        fresh => expression.matches_beyond(line.text, fresh),
    }
}

const _: () = assert!(PATTERNS.len() <= 64 && SIGNS.len() <= 64, "they are noted in 64 bits");

fn bit(at: usize) -> u64 {
    u32::try_from(at).ok().and_then(|at| 1_u64.checked_shl(at)).unwrap_or(0)
}

#[expect(clippy::expect_used, reason = "the tables are constants, compiled by the tests")]
fn cached(
    cell: &'static OnceLock<Expression>,
    speaker: Speaker,
    text: &str,
) -> &'static Expression {
    cell.get_or_init(|| {
        let expression = match speaker {
            Speaker::Kernel => format!("{STAMP}{text}"),
            Speaker::Anyone => text.to_owned(),
        };
        Expression::new(&expression).expect("the tables' expressions are sound")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line<'_> {
        Line { number: 1, text: text.as_bytes(), fresh: 0, before: 0, is_whole: true }
    }

    fn name(text: &str) -> Option<&'static str> {
        hits(&line(text)).row.map(|row| PATTERNS[row].name)
    }

    #[test]
    fn every_expression_of_the_tables_compiles() {
        for (pattern, cell) in PATTERNS.iter().zip(&STARTS) {
            cached(cell, pattern.speaker, pattern.start);
            assert!(!pattern.needles.is_empty(), "{}", pattern.name);
        }
        (0..PATTERNS.len()).for_each(|row| assert!(!is_end(row, b"nothing of the kind")));
        for (telling, cell) in SIGNS.iter().zip(&SIGN_STARTS) {
            cached(cell, telling.speaker, telling.start);
        }
    }

    #[test]
    fn quoting_the_kernel_is_not_the_kernel() {
        assert_eq!(name("grep: Kernel panic - not syncing"), None);
        assert_eq!(name("[ ok ] Kernel panic - not syncing"), None);
        assert_eq!(name("traps: a.out[7] general protection fault ip:4011 sp:7ffe"), None);
        assert_eq!(name("[    5.1] traps: a.out[7] general protection fault ip:4011"), None);
    }

    #[test]
    fn the_kernel_is_heard_behind_a_prompt() {
        assert_eq!(name("login: [   12.500000] Kernel panic - not syncing: x"), Some("panic"));
        assert_eq!(name("# [   12.5][    T1] BUG: Bad page state in process"), Some("bug"));
    }

    #[test]
    fn what_was_shown_before_is_not_found_again() {
        let text = b"[    1.0] Kernel panic - not syncing: x";
        let seen = Line { number: 1, text, fresh: text.len(), before: 0, is_whole: true };
        assert_eq!(hits(&seen).row, None);
        assert!(hits(&Line { fresh: text.len() - 20, ..seen }).row.is_some());
    }
}
