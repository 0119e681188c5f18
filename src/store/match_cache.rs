//! The shared cache of matches: which entries a normalised text found in one snapshot of the bank.
//!
//! Values are entry ids and scores, as `matching` found them, never reply text; whoever reads one still asks what is
//! visible now. [`super::memory::MemoryMatchCache`] is the first level, [`super::redis::RedisMatchCache`] the second,
//! and [`super::fallback::TieredMatchCache`] both.

use super::StoreError;
use super::conversations::digest;
use async_trait::async_trait;

/// The longest value kept, in bytes.
pub const MAX_MATCH_BYTES: usize = 4 * 1024;

/// What a cached search is filed under. The value depends on nothing else, the time of day included.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MatchKey {
    /// The account's id in the configuration.
    pub account: String,
    /// Hash of everything that decides: bank, dictionaries, thresholds, ranking. Hex.
    pub snapshot: String,
    /// The normalised text.
    pub text: String,
}

impl MatchKey {
    /// What the shared store files the value under; each text is kept wherever it falls, for all of a snapshot's in one
    /// place would be one server's work.
    pub(super) fn tag(&self) -> String {
        format!("{}:{}:{:032x}", self.account, self.snapshot, digest(&[&self.text]))
    }

    /// Stands for the key where its text must not be seen.
    pub(super) fn digest(&self) -> u128 {
        digest(&[&self.account, &self.snapshot, &self.text])
    }
}

/// Bounded; an entry may vanish at any time, and one longer than [`MAX_MATCH_BYTES`] is not kept at all. Values are
/// opaque bytes.
#[async_trait]
pub trait MatchCache: Send + Sync {
    /// `None` when absent or expired.
    async fn get(&self, key: &MatchKey) -> Result<Option<Vec<u8>>, StoreError>;
    /// Replaces; expires after the cache's own lifetime.
    async fn put(&self, key: &MatchKey, value: &[u8]) -> Result<(), StoreError>;
}
