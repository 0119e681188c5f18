//! The question bank (题库): entries, the operator's dictionaries, and the formats they are kept in.
//!
//! [`Entry`] is the type everything else speaks of; [`Dictionaries`] are the words the operator teaches the matcher.
//! [`mod@format`] reads and writes banks as JSONL and CSV, [`import`] compares a file with the bank that is there; a
//! [`Rule`] answers beside the bank, by key words and events; a [`Category`] says what stands for a subject; a [`Text`] is a
//! template or a dictionary as it is edited; [`history`] is what changes leave behind.
//! Nothing here knows how a bank is searched or stored.

mod calendar;
pub mod dictionary;
mod entry;
pub mod media;
mod review;
pub mod terminal;
pub mod history;
pub mod duplicates;
pub mod format;
pub mod import;
pub mod limits;
pub mod beside;
pub mod category;
pub mod rule;
pub mod text;

pub use category::Category;
pub use dictionary::Dictionaries;
pub use entry::{Answer, Article, Channel, Entry, EntryError, EntryId, Miniprogram, Music, State, Video};
pub use review::EntryWarning;
pub use rule::{Rule, RuleId};
pub use text::{Text, TextFault, TextKind, TextName};
