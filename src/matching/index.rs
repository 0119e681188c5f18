//! The inverted index over every phrasing of the bank.

use super::{Analyzer, Matches};
use crate::bank::{Channel, Entry, EntryId};
use std::sync::Arc;

/// An immutable index; cloning shares it.
#[derive(Clone)]
pub struct Index {}

/// One edit of the bank.
#[derive(Debug, Clone)]
pub enum Change {
    /// Adds the entry, or replaces the one with its id.
    Put(Arc<Entry>),
    /// Absent: nothing happens.
    Remove(EntryId),
}

/// Which entries a search may return: published ones that this asker may see now.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The account's id in the configuration.
    pub account: &'a str,
    /// Where the question comes from.
    pub channel: Channel,
    /// Unix seconds, for validity windows.
    pub now: i64,
    /// Only this category and those below it (`开户` includes `开户/科创板`); `None`: all.
    pub category: Option<&'a str>,
}

impl Index {
    /// Builds the index of a bank. Of entries with one id the last counts.
    pub fn build(entries: impl IntoIterator<Item = Arc<Entry>>, analyzer: Arc<Analyzer>) -> Self {
        let _ = (entries.into_iter(), analyzer);
        todo!()
    }

    /// The index after `changes`, in order; `self` stays as it is.
    #[must_use]
    pub fn apply(&self, changes: &[Change]) -> Self {
        let _ = changes;
        todo!()
    }

    /// The at most `k` entries in `scope` that answer `query` best.
    pub fn search(&self, query: &str, scope: Scope<'_>, k: usize) -> Matches {
        let _ = (query, scope, k);
        todo!()
    }

    /// The entry with that id, whatever its state.
    pub fn entry(&self, id: &str) -> Option<&Arc<Entry>> {
        let _ = id;
        todo!()
    }

    /// Entries, whatever their state.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every entry, by id.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        std::iter::empty()
    }

    /// The analyzer it was built with.
    pub fn analyzer(&self) -> &Arc<Analyzer> {
        todo!()
    }
}

impl Scope<'_> {
    /// Whether `entry` may be returned.
    pub fn admits(&self, entry: &Entry) -> bool {
        let _ = entry;
        todo!()
    }
}
