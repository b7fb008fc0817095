//! Everything that is tested from outside: one binary, so that it links once.
#![expect(clippy::arithmetic_side_effects, reason = "an overflow in a test fails it")]
#![expect(clippy::tests_outside_test_module, reason = "every module here is one")]

/// The command line: options, messages, exit statuses.
mod cli;
/// What ukivm says of a plan: golden text and JSON.
mod plan;
/// What the other modules share: the program, hand-made UKIs, scratch files.
mod support;
