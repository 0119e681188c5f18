//! The question bank (题库): entries, the operator's dictionaries, and the formats they are kept in.
//!
//! [`Entry`] is the type everything else speaks of; [`Dictionaries`] are the words the operator teaches the matcher.
//! [`mod@format`] reads and writes banks as JSONL and CSV, [`import`] compares a file with the bank that is there.
//! Nothing here knows how a bank is searched or stored.

pub mod dictionary;
mod entry;
pub mod format;
pub mod import;
pub mod limits;

pub use dictionary::Dictionaries;
pub use entry::{Answer, Article, Channel, Entry, EntryError, EntryId, State};
