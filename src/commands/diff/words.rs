//! [`compare`]: in what words two command lines differ.

use std::collections::HashMap;

/// The difference between two command lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// Words that only the old one has, in its order.
    pub(super) removed: Vec<String>,
    /// Words that only the new one has, in its order.
    pub(super) added: Vec<String>,
    /// The words that both have, in the order of either, where that is not the same.
    pub(super) order: Option<(String, String)>,
}

/// Compares word by word. A word that stands twice counts twice.
pub(super) fn compare(old: &str, new: &str) -> Words {
    let (old, new) = (words(old), words(new));
    let (kept_of_old, removed) = split(&old, &new);
    let (kept_of_new, added) = split(&new, &old);
    let order =
        (kept_of_old != kept_of_new).then(|| (kept_of_old.join(" "), kept_of_new.join(" ")));
    let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
    Words { removed: owned(removed), added: owned(added), order }
}

/// Those of `words` that are among `others` too, and those that are not.
fn split<'a>(words: &[&'a str], others: &[&str]) -> (Vec<&'a str>, Vec<&'a str>) {
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in others {
        let count = left.entry(word).or_default();
        *count = count.saturating_add(1);
    }
    words.iter().partition(|word| match left.get_mut(**word) {
        Some(count) if *count > 0 => {
            *count = count.saturating_sub(1);
            true
        }
        _ => false,
    })
}

/// The words as the kernel parts them: at blanks that are not between double
/// quotes (`lib/cmdline.c`, `next_arg`).
fn words(cmdline: &str) -> Vec<&str> {
    let mut is_quoted = false;
    let words = cmdline.split(|c: char| {
        is_quoted ^= c == '"';
        c == ' ' && !is_quoted
    });
    words.filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_come_and_go_are_told() {
        let words = compare("root=/dev/vda quiet  quiet", "root=/dev/vdb quiet debug");
        assert_eq!(words.removed, ["root=/dev/vda", "quiet"]);
        assert_eq!(words.added, ["root=/dev/vdb", "debug"]);
        assert_eq!(words.order, None);
    }

    #[test]
    fn another_order_of_the_same_words_is_told() {
        let words = compare("a b c", "c a x b");
        assert_eq!(words.order, Some(("a b c".into(), "c a b".into())));
        assert_eq!((words.removed.len(), words.added), (0, vec!["x".to_owned()]));
    }

    #[test]
    fn quotes_keep_a_word_together() {
        let words = compare("a=\"b c\" d", "a=\"b  c\" d");
        assert_eq!(
            (words.removed, words.added),
            (vec!["a=\"b c\"".into()], vec!["a=\"b  c\"".into()])
        );
    }
}
