//! Everything a reply is decided with, immutable: bank, index, rules, categories, templates, thresholds.
//!
//! A change makes a new [`Snapshot`] that takes the old one's place. Its [`Snapshot::cache_key`] names all that decides
//! a search, the passing of validity windows included, so that cached matches can never outlive what they rest on.

use super::seals::hex;
use crate::bank::Dictionaries;
use crate::dialog::{CategoryBook, Desk, Habits, Handoff, NoMedia, RuleBook, Templates};
use crate::matching::{Index, Scope, Thresholds};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a snapshot is made of.
#[derive(Clone)]
pub struct SnapshotParts {
    #[expect(missing_docs, reason = "the type says it")]
    pub index: Index,
    /// What the index's analyzer was made with, and the sensitive words of `rules`.
    pub dictionaries: Arc<Dictionaries>,
    /// Decides no search, so cached matches outlive a change of it.
    pub rules: Arc<RuleBook>,
    /// Likewise decides no search.
    pub categories: Arc<CategoryBook>,
    #[expect(missing_docs, reason = "the type says it")]
    pub templates: Arc<Templates>,
    #[expect(missing_docs, reason = "the type says it")]
    pub thresholds: Thresholds,
    /// Entries on one page of a list.
    pub max_suggestions: usize,
    /// Longest text reply, in bytes.
    pub max_bytes: usize,
    #[expect(missing_docs, reason = "the type says it")]
    pub habits: Habits,
    /// By account; who is not named hands over where the bank says so.
    pub handoffs: BTreeMap<String, Handoff>,
    /// The bank's revision in the database.
    pub revision: u64,
}

/// Everything a reply is decided with.
pub struct Snapshot {
    parts: SnapshotParts,
    /// Hash of what decides a search, but for the time.
    hash: String,
}

impl std::ops::Deref for Snapshot {
    type Target = SnapshotParts;
    fn deref(&self) -> &SnapshotParts {
        &self.parts
    }
}

impl Snapshot {
    /// Of its parts.
    pub fn new(parts: SnapshotParts) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(env!("CARGO_PKG_VERSION"));
        hasher.update(parts.index.content().to_be_bytes());
        hasher.update(format!("{:?}", parts.dictionaries));
        hasher.update(format!("{:?}", parts.thresholds));
        let hash = hex(&hasher.finalize()[..16]);
        Self { parts, hash }
    }

    /// The parts, for making the next snapshot.
    pub fn parts(&self) -> &SnapshotParts {
        &self.parts
    }

    /// The same for everything that gives the same matches at `now` (Unix seconds).
    pub fn cache_key(&self, now: i64) -> String {
        format!("{}.{}", self.hash, self.index.boundaries_passed(now))
    }

    /// A desk for one message, not yet named, whose `key` is the same in every delivery.
    pub fn desk<'a>(&'a self, scope: Scope<'a>, key: &[&str]) -> Desk<'a> {
        let mut hasher = Sha256::new();
        for part in key {
            hasher.update(part);
            hasher.update([0]);
        }
        let luck = hasher.finalize();
        let luck = luck.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        Desk {
            index: &self.index,
            templates: &self.templates,
            rules: &self.rules,
            categories: &self.categories,
            luck,
            scope,
            thresholds: self.thresholds,
            max_suggestions: self.max_suggestions,
            max_bytes: self.max_bytes,
            habits: self.habits,
            handoff: self.handoffs.get(scope.account).copied().unwrap_or_default(),
            hot: &[],
            media: &NoMedia,
            message: "",
        }
    }
}
