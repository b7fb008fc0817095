//! `--share`.

use std::{path::PathBuf, str::FromStr};

use thiserror::Error;

/// `--share`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareOption {
    /// The folder.
    pub path: PathBuf,
    /// By what the guest mounts it, where the user chose that.
    pub tag: Option<String>,
    /// The guest can't write to it.
    pub read_only: bool,
}

/// What is wrong with a value of `--share`.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ShareError {
    /// No folder.
    #[error("want DIR[:TAG][:ro]")]
    Form,
    /// A tag of nothing.
    #[error("the tag is empty")]
    NoTag,
    /// A tag that does not fit.
    #[error("the tag {tag:?} has {} bytes, and there is room for {TAG_MAX}", tag.len())]
    Long {
        /// Which.
        tag: String,
    },
}

/// The most bytes of a tag. Virtio 1.2, 5.11.4.
pub const TAG_MAX: usize = 36;

impl FromStr for ShareOption {
    type Err = ShareError;

    /// From the right, since a path may have colons; a tag has no slash.
    fn from_str(text: &str) -> Result<Self, ShareError> {
        let (text, read_only) = match text.strip_suffix(":ro") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let (path, tag) = match text.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (text, None),
        };
        if path.is_empty() {
            return Err(ShareError::Form);
        }
        let tag = tag.map(checked).transpose()?;
        Ok(Self { path: path.into(), tag, read_only })
    }
}

/// `tag`, if it can be one.
pub(crate) fn checked(tag: &str) -> Result<String, ShareError> {
    match tag.len() {
        0 => Err(ShareError::NoTag),
        len if len > TAG_MAX => Err(ShareError::Long { tag: tag.to_owned() }),
        _ => Ok(tag.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(text: &str) -> (String, Option<String>, bool) {
        let ShareOption { path, tag, read_only } = text.parse().unwrap();
        (path.display().to_string(), tag, read_only)
    }

    #[test]
    fn a_share_is_a_folder_and_perhaps_a_tag_and_perhaps_read_only() {
        let is = |path: &str, tag: Option<&str>, read_only| {
            (path.to_owned(), tag.map(str::to_owned), read_only)
        };
        assert_eq!(share("/a/b"), is("/a/b", None, false));
        assert_eq!(share("/a/b:data"), is("/a/b", Some("data"), false));
        assert_eq!(share("/a/b:ro"), is("/a/b", None, true));
        assert_eq!(share("/a/b:data:ro"), is("/a/b", Some("data"), true));
        assert_eq!(share("/a/b:ro:ro"), is("/a/b", Some("ro"), true));
        assert_eq!(share("/a:b/c"), is("/a:b/c", None, false), "no tag has a slash");
        assert_eq!(share("."), is(".", None, false));
    }

    #[test]
    fn what_is_wrong_with_a_share_is_said() {
        let wrong = |text: &str| text.parse::<ShareOption>().unwrap_err().to_string();
        assert_eq!(wrong(""), "want DIR[:TAG][:ro]");
        assert_eq!(wrong(":data"), "want DIR[:TAG][:ro]");
        assert_eq!(wrong(":ro"), "want DIR[:TAG][:ro]");
        assert_eq!(wrong("/a:"), "the tag is empty");
        let tag = "t".repeat(37);
        let expected = format!("the tag {tag:?} has 37 bytes, and there is room for 36");
        assert_eq!(wrong(&format!("/a:{tag}")), expected);
        assert_eq!(share(&format!("/a:{}", "t".repeat(36))).1.map(|tag| tag.len()), Some(36));
    }
}
