//! What several subjects need: servers, folders, the binary.

pub mod vectors;
