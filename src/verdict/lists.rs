//! Lists of regular expressions, one a line: what is to fail, what is to pass.

use thiserror::Error;

use super::{
    expression::{Expression, Invalid},
    line::Line,
    matcher,
};

/// Why a list can't be used.
#[derive(Debug, Error)]
pub enum Error {
    /// A line of it is no regular expression.
    #[error("line {line}: {expression:?} is no regular expression")]
    Expression {
        /// Its number, from 1.
        line: usize,
        /// What it says.
        expression: String,
        /// Why it is none.
        #[source]
        source: Invalid,
    },
    /// A line of it matches everything.
    #[error("line {line}: {expression:?} matches an empty line too, and so everything")]
    Everything {
        /// Its number, from 1.
        line: usize,
        /// What it says.
        expression: String,
    },
    /// Nothing is on it.
    #[error("no regular expression is in it; leave the option out if none is wanted")]
    Empty,
}

/// The expressions of a list: one a line; empty lines and those that begin with
/// `#` do not count. One without any is refused: a list that was cut short by
/// accident must not look like a clean run.
pub fn read(text: &str) -> Result<Vec<Expression>, Error> {
    let wanted = |line: &str| !line.trim().is_empty() && !line.starts_with('#');
    // Some editors begin a file with a mark that no guest prints.
    let text = text.trim_start_matches('\u{feff}');
    let lines = text.lines().enumerate().filter(|(_, line)| wanted(line));
    let expressions: Vec<_> = lines
        .map(|(at, text)| {
            let (line, expression) = (at.saturating_add(1), text.to_owned());
            match Expression::new(text) {
                Ok(regex) if regex.is_match(b"") => Err(Error::Everything { line, expression }),
                Ok(regex) => Ok(regex),
                Err(source) => Err(Error::Expression { line, expression, source }),
            }
        })
        .collect::<Result<_, _>>()?;
    if expressions.is_empty() { Err(Error::Empty) } else { Ok(expressions) }
}

/// What is to fail beside the built-in patterns.
#[derive(Clone, Debug, Default)]
pub struct Deny(pub Vec<Expression>);

impl Deny {
    /// The expression that `line` matches, if any.
    pub(super) fn find(&self, line: &Line<'_>) -> Option<String> {
        let found = self.0.iter().find(|regex| matcher::is_new(regex, line));
        found.map(|regex| regex.as_str().to_owned())
    }
}

/// What is to pass though a pattern matches.
#[derive(Clone, Debug, Default)]
pub struct Allow(pub Vec<Expression>);

impl Allow {
    /// The expression that a line of `excerpt` matches, if any.
    pub(super) fn find(&self, excerpt: &[String]) -> Option<String> {
        let matches =
            |regex: &&Expression| excerpt.iter().any(|line| regex.is_match(line.as_bytes()));
        self.0.iter().find(matches).map(|regex| regex.as_str().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_empty_lines_do_not_count() {
        let list = read("# mine\n\nfoo.*bar\n  \nbaz\n").unwrap();
        assert_eq!(list.iter().map(Expression::as_str).collect::<Vec<_>>(), ["foo.*bar", "baz"]);
    }

    #[test]
    fn a_list_without_expressions_is_refused() {
        assert!(matches!(read(""), Err(Error::Empty)));
        assert!(matches!(read("# nothing\n"), Err(Error::Empty)));
    }

    #[test]
    fn a_bad_expression_is_refused_with_its_line() {
        let error = read("good\n(bad\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: \"(bad\" is no regular expression");
    }
}
