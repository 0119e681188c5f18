//! The `wxfaq` command.

fn main() {}
