//! Text from outside, made fit for a terminal.

/// `text` with everything escaped that a terminal would not show as itself:
/// control characters, those that change the direction of writing, and the like.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\'' | '"' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_move_the_cursor_is_escaped_and_words_are_not() {
        assert_eq!(visible("a=\"b c\\d\" é 'x'"), "a=\"b c\\d\" é 'x'");
        assert_eq!(visible("\x1b[2J\x07\n\u{9b}1m"), r"\u{1b}[2J\u{7}\n\u{9b}1m");
        assert_eq!(visible("a\u{202e}b\u{200f}"), r"a\u{202e}b\u{200f}");
    }
}
