//! Integration tests: one binary, a file per subject.
#![allow(missing_docs, reason = "tests are read, not documented")]
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for something else")]

mod conversations;
mod fallback;
mod architecture;
mod support;
mod vectors;
mod systemd;
