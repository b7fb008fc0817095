//! [`Expression`]: a regular expression over the bytes of a line.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use regex_automata::{
    Input,
    hybrid::{
        BuildError, dfa,
        regex::{Cache, Regex},
    },
    nfa::thompson,
    util::syntax,
};

/// The most that an expression may take, compiled: `.{1000}{1000}` is refused, not
/// tried.
const SIZE_MAX: usize = 10 << 20;

/// A regular expression over bytes: `.` and the classes are of bytes, and case and
/// words are ASCII's.
///
/// Of the engines that the crate `regex` would choose from, it has the one that is
/// fast on every line: automata whose states are made when they are first reached.
#[derive(Clone)]
pub struct Expression {
    text: Arc<str>,
    automata: Arc<Regex>,
    /// The states made so far.
    states: Arc<Mutex<Cache>>,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text).finish()
    }
}

/// Why a text is no regular expression.
#[derive(Debug, thiserror::Error)]
#[error("{}", innermost(.0))]
pub struct Invalid(Box<BuildError>);

impl Expression {
    /// Compiles `text`.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let automata = Regex::builder()
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(SIZE_MAX)))
            .dfa(dfa::Config::new().skip_cache_capacity_check(true))
            .build(text)
            .map_err(|error| Invalid(Box::new(error)))?;
        let states = Arc::new(Mutex::new(automata.create_cache()));
        Ok(Self { text: text.into(), automata: Arc::new(automata), states })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches anywhere in `line`.
    #[must_use]
    pub fn is_match(&self, line: &[u8]) -> bool {
        self.with(|automata, states| automata.is_match(states, line))
    }

    /// Where the first match at or behind `from` ends.
    pub(super) fn end_of_match(&self, line: &[u8], from: usize) -> Option<usize> {
        let input = Input::new(line).span(from..line.len());
        self.with(|automata, states| automata.find(states, input)).map(|found| found.end())
    }

    /// Whether any of its matches, one behind the other, reaches beyond `offset`.
    pub(super) fn matches_beyond(&self, line: &[u8], offset: usize) -> bool {
        self.with(|automata, states| {
            automata.find_iter(states, line).any(|found| found.end() > offset)
        })
    }

    fn with<T>(&self, search: impl FnOnce(&Regex, &mut Cache) -> T) -> T {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        search(&self.automata, &mut states)
    }
}

/// The cause that says what is wrong, and where: those above it only name stages.
fn innermost(error: &BuildError) -> &dyn Error {
    let mut cause: &dyn Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expression(text: &str) -> Expression {
        Expression::new(text).expect(text)
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_matched_as_any() {
        assert!(expression("^a.b$").is_match(b"a\xffb"));
        assert!(expression(r"\xff").is_match(b"a\xffb"));
        assert!(expression("(?i)LOGIN:").is_match(b"debian login: "));
        assert!(expression(r"\blogin\b").is_match(b"\xfflogin:"));
        assert!(!expression(r"^\w+$").is_match("\u{e4}".as_bytes()));
    }

    #[test]
    fn a_match_is_found_behind_an_offset_with_what_is_before_it_in_sight() {
        let words = expression(r"\bab*");
        assert_eq!(words.end_of_match(b"abb abbb", 0), Some(3));
        assert_eq!(words.end_of_match(b"abb abbb", 1), Some(8));
        assert_eq!(words.end_of_match(b"xabb", 1), None);
        assert_eq!(expression("^a").end_of_match(b"aa", 1), None);
        assert!(words.matches_beyond(b"abb abbb", 7));
        assert!(!words.matches_beyond(b"abb abbb", 8));
    }

    #[test]
    fn what_is_wrong_is_shown_where_it_is() {
        let error = Expression::new("a(b").expect_err("not closed").to_string();
        assert!(error.contains("unclosed group") && error.contains("a(b"), "{error}");
        let error = Expression::new("(.{1000}){1000}").expect_err("too large").to_string();
        assert!(error.contains("10485760"), "{error}");
    }

    #[test]
    fn a_line_of_a_million_bytes_is_matched_in_time_linear_in_it() {
        let line = vec![b'a'; 1 << 20];
        assert!(!expression("(a*)*b").is_match(&line));
        assert!(expression("(a|aa)+$").is_match(&line));
    }
}
