//! Integration tests: one binary, a file per subject.
#![allow(missing_docs, reason = "tests are read, not documented")]

mod support;
mod vectors;
