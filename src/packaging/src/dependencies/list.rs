//! [`List`]: why each package is there.

use std::collections::BTreeMap;

/// Why a package is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// We use it, for that.
    For(String),
    /// Another needs it, that one.
    By(String),
}

/// `dependencies.txt`: a line for each package, its name and what it is for, or
/// `<` and who needs it; and one, behind `twice`, for each that is there in several
/// versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    packages: BTreeMap<String, Why>,
    pub(super) twice: BTreeMap<String, String>,
}

impl List {
    /// # Errors
    ///
    /// The line that can't be understood, or that says what one before it said.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut list = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let (name, rest) = line.split_once(' ').ok_or_else(|| line.to_owned())?;
            let rest = rest.trim().to_owned();
            let is_new = if name == "twice" {
                let (name, reason) = rest.split_once(' ').ok_or_else(|| line.to_owned())?;
                list.twice.insert(name.to_owned(), reason.trim().to_owned()).is_none()
            } else {
                let why = match rest.strip_prefix("< ") {
                    Some(parent) => Why::By(parent.to_owned()),
                    None => Why::For(rest),
                };
                list.packages.insert(name.to_owned(), why).is_none()
            };
            if !is_new {
                return Err(line.to_owned());
            }
        }
        Ok(list)
    }

    /// Why that package is there, if it is listed.
    #[must_use]
    pub fn why(&self, name: &str) -> Option<&Why> {
        self.packages.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.packages.keys()
    }
}
