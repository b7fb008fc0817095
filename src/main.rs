//! The `ukivm` program.

fn main() {}
