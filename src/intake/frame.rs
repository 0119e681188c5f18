//! What travels from the child to its parent: one JSON object a line.

use crate::bank::format::Item;
use serde::{Deserialize, Serialize};

/// Longest frame, in bytes, with the line's end. Cells have at most 1 MiB each; no valid row comes near.
pub const MAX_BYTES: usize = 8 << 20;

/// One line.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Frame {
    /// What was found. The file's format comes first, unless it is refused at once.
    Item(Item),
    /// The last: the file as a whole is not read.
    Refused(String),
    /// The last: everything has been sent.
    End,
}

impl Frame {
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("texts, numbers and lists can be written as JSON");
        line.push(b'\n');
        line
    }
}
