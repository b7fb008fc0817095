#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod console;
mod cpus;
mod ends;
mod entry;
mod guest;
mod later;
mod memory;
mod ports;
