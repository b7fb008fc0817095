//! [`Input`]: what the user gives beside the UKI.

use std::fmt;

use super::{Choice, Error};
use crate::uki::{
    Selector,
    reading::{Addons, Rules},
};

/// What the user gives beside the UKI. Displays as the option of `ukivm` for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Input {
    /// A command line.
    Cmdline,
    /// Words for the end of the command line.
    Append,
    /// An initrd.
    Initrd,
    /// Another profile than the first.
    Profile,
    /// An addon.
    Addon,
    /// Whatever addons there are beside the UKI.
    Addons,
    /// A credential.
    Credential,
    /// A console.
    Console,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cmdline => "--cmdline",
            Self::Append => "--append",
            Self::Initrd => "--initrd",
            Self::Profile => "--profile",
            Self::Addon => "--addon",
            Self::Addons => "--addons",
            Self::Credential => "--extra-credential",
            Self::Console => "--console",
        })
    }
}

/// Refuses what has no place under `rules`, whatever the UKI.
pub(super) fn admit(rules: &Rules, choice: &Choice) -> Result<(), Error> {
    let scope = &rules.scope;
    let asked_for = [
        (Input::Profile, scope.profiles, choice.profile != Selector::default()),
        (Input::Addon, scope.addons != Addons::None, !choice.addons.is_empty()),
        (Input::Credential, scope.extra, !choice.credentials.is_empty()),
        (Input::Console, scope.console, choice.console.is_asked_for()),
    ];
    match asked_for.into_iter().find(|&(_, place, given)| given && !place) {
        Some((input, ..)) => Err(Error::NoPlace { input, rule: scope.rule }),
        None => Ok(()),
    }
}
