//! Integration tests: one binary, a file per subject.
#![allow(missing_docs, reason = "tests are read, not documented")]
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for something else")]

mod conversations;
mod fallback;
mod architecture;
mod support;
<<<<<<< HEAD
mod vectors;
=======
>>>>>>> 2c64367 (systemd: run sandboxed behind a socket that outlives restarts)
mod systemd;
