//! The guest's console on the host's side: standard input and output, and the
//! terminal where they are one.

mod escape;
mod output;
mod settling;
mod stdin;
mod terminal;

pub(crate) use output::Output;
pub(crate) use settling::Settling;
pub(crate) use stdin::{Source, Stdin};
pub use terminal::{Size, Terminal, is_interactive};
pub(crate) use terminal::{is_terminal, restore as restore_terminal, size as terminal_size};

/// How the escape key is named to the user.
pub const ESCAPE_HINT: &str = "press Ctrl-] three times within a second to quit";
