//! [`Block`]: a part of a text that is shown on terminals and in man pages.

use std::fmt;

/// The width of what a terminal shows.
const WIDTH: usize = 79;
/// How far what belongs to something is moved in.
const INDENT: &str = "    ";

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// `# HEADING`.
    Heading(String),
    /// Lines that are no other part.
    Paragraph(String),
    /// Lines that begin with `* `, one a point.
    Points(Vec<String>),
    /// A term on a line, and on the next ones, moved in, what it means.
    Terms(Vec<(String, String)>),
    /// Lines that are all moved in: commands, as they are typed.
    Verbatim(Vec<String>),
}

/// The parts of `text`, which blank lines divide.
#[must_use]
pub fn blocks(text: &str) -> Vec<Block> {
    text.split("\n\n")
        .map(|part| part.trim_matches('\n'))
        .filter(|part| !part.is_empty())
        .map(block)
        .collect()
}

fn block(part: &str) -> Block {
    let moved_in = |line: &str| line.starts_with("  ");
    if let Some(heading) = part.strip_prefix("# ") {
        Block::Heading(heading.to_owned())
    } else if part.lines().all(moved_in) {
        let lines = part.lines().map(|line| line.trim_start().to_owned());
        Block::Verbatim(lines.collect())
    } else if part.starts_with("* ") {
        let points = part.lines().map(|line| line.trim_start_matches("* ").to_owned());
        Block::Points(points.collect())
    } else if part.lines().nth(1).is_some_and(moved_in) {
        let mut terms: Vec<(String, String)> = Vec::new();
        for line in part.lines() {
            match terms.last_mut() {
                Some((_, meaning)) if moved_in(line) => meaning.push_str(line.trim_start()),
                _ => terms.push((line.to_owned(), String::new())),
            }
        }
        Block::Terms(terms)
    } else {
        Block::Paragraph(part.replace('\n', " "))
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heading(text) => writeln!(f, "{text}"),
            Self::Paragraph(text) => wrapped(f, "", "", text),
            Self::Points(points) => {
                points.iter().try_for_each(|point| wrapped(f, "* ", "  ", point))
            }
            Self::Terms(terms) => terms.iter().try_for_each(|(term, meaning)| {
                writeln!(f, "{term}")?;
                wrapped(f, INDENT, INDENT, meaning)
            }),
            Self::Verbatim(lines) => {
                lines.iter().try_for_each(|line| writeln!(f, "{INDENT}{line}"))
            }
        }
    }
}

/// `text` in lines of no more than [`WIDTH`], `first` before the first of them and
/// `others` before the others.
fn wrapped(f: &mut fmt::Formatter<'_>, first: &str, others: &str, text: &str) -> fmt::Result {
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split_whitespace() {
        let len = line.chars().count().saturating_add(word.chars().count());
        if !is_empty && len >= WIDTH {
            writeln!(f, "{line}")?;
            others.clone_into(&mut line);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    writeln!(f, "{line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_part_is_told_by_how_it_is_written() {
        let text = "a\nb\n\n# HEAD\n\n  ls -l\n\nterm\n  is it\nother\n  is that\n\n* x\n* y\n";
        let pair = |term: &str, meaning: &str| (term.to_owned(), meaning.to_owned());
        assert_eq!(
            blocks(text),
            [
                Block::Paragraph("a b".into()),
                Block::Heading("HEAD".into()),
                Block::Verbatim(vec!["ls -l".into()]),
                Block::Terms(vec![pair("term", "is it"), pair("other", "is that")]),
                Block::Points(vec!["x".into(), "y".into()]),
            ]
        );
    }

    #[test]
    fn a_long_line_is_wrapped_between_words_and_a_long_word_is_left_whole() {
        let words = vec!["word"; 40].join(" ");
        let shown = Block::Points(vec![words.clone()]).to_string();
        assert!(shown.lines().count() > 1);
        assert!(
            shown.lines().skip(1).all(|line| line.starts_with("  word") && line.len() <= WIDTH)
        );
        assert_eq!(shown.split_whitespace().skip(1).collect::<Vec<_>>().join(" "), words);
        let long = "x".repeat(100);
        assert_eq!(Block::Paragraph(long.clone()).to_string(), format!("{long}\n"));
    }
}
