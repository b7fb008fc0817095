//! The kernel command line as systemd-stub makes it of `.cmdline`.

use std::str::Utf8Error;

use crate::bytes::until_nul;

/// `raw` as systemd-stub would pass it on: cut at the first NUL, ends trimmed,
/// and every blank or control character in between made a space, one for one.
///
/// `src/boot/util.c`, `mangle_stub_cmdline`. Two differences, both on purpose:
/// invalid UTF-8 is refused, where the stub drops it silently; and characters
/// past U+FFFF stay, where the stub loses them on its way over UTF-16.
pub fn mangle(raw: &[u8]) -> Result<String, Utf8Error> {
    str::from_utf8(until_nul(raw)).map(without_controls)
}

/// The same with invalid UTF-8 replaced: for people, never for a kernel.
#[must_use]
pub fn mangle_lossily(raw: &[u8]) -> String {
    without_controls(&String::from_utf8_lossy(until_nul(raw)))
}

fn without_controls(text: &str) -> String {
    text.trim_matches(is_blank).replace(is_blank, " ")
}

/// What the stub takes for white space.
fn is_blank(c: char) -> bool {
    matches!(c, '\u{1}'..=' ' | '\u{7f}')
}

/// Adds `words` at the end, after one space if anything is there already.
pub fn append(cmdline: &mut Vec<u8>, words: &[u8]) {
    if words.is_empty() {
        return;
    }
    if !cmdline.is_empty() {
        cmdline.push(b' ');
    }
    cmdline.extend(words);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mangled(raw: &[u8]) -> String {
        mangle(raw).unwrap()
    }

    #[test]
    fn ends_are_trimmed_and_controls_become_spaces() {
        assert_eq!(mangled(b"  a\tb\n"), "a b");
        assert_eq!(mangled(b" \n"), "");
        assert_eq!(mangled(b""), "");
        assert_eq!(mangled(b"\x01a\x1fb\x1f"), "a b");
    }

    #[test]
    fn runs_of_blanks_are_kept() {
        assert_eq!(mangled(b"\x7f a  b \n"), "a  b");
        assert_eq!(
            mangled(b"root=/dev/vda  quiet \n console=ttyS0\n"),
            "root=/dev/vda  quiet   console=ttyS0"
        );
    }

    #[test]
    fn the_first_nul_ends_it() {
        assert_eq!(mangled(b"a\0b"), "a");
        assert_eq!(mangled(b"\0b"), "");
        assert_eq!(mangled(b"a \0\xff"), "a");
    }

    #[test]
    fn other_characters_stay_as_they_are() {
        assert_eq!(
            mangled("name=\u{e9}\u{85}\u{a0}\u{1f427} ".as_bytes()),
            "name=\u{e9}\u{85}\u{a0}\u{1f427}"
        );
    }

    #[test]
    fn invalid_utf8_is_refused_where_it_begins() {
        assert_eq!(mangle(b"ab\xc3(").unwrap_err().valid_up_to(), 2);
    }

    #[test]
    fn appended_words_follow_one_space() {
        let mut cmdline = Vec::new();
        append(&mut cmdline, b"a");
        append(&mut cmdline, b"");
        append(&mut cmdline, b"b  c");
        assert_eq!(cmdline, b"a b  c");
    }

    #[test]
    fn for_people_invalid_utf8_is_replaced() {
        assert_eq!(mangle_lossily(b" a\tb\xff\n\0c"), "a b\u{fffd}");
    }
}
