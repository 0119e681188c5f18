//! The shared cache of matches (L2): which entries a normalised text found in one snapshot of the bank.

use super::StoreError;
use async_trait::async_trait;

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

/// Bounded; an entry may vanish at any time. Values are opaque bytes, at most 4 KiB.
#[async_trait]
pub trait MatchCache: Send + Sync {
    /// `None` when absent or expired.
    async fn get(&self, key: &MatchKey) -> Result<Option<Vec<u8>>, StoreError>;
    /// Replaces; expires after the cache's own lifetime.
    async fn put(&self, key: &MatchKey, value: &[u8]) -> Result<(), StoreError>;
}
