//! The port that lists work under way for followers who wait, so that any instance can take over what a dead one did.

use super::StoreError;
use async_trait::async_trait;
use std::time::Duration;

/// Work listed at once; beyond, the oldest is taken off the list.
pub const MOST_LISTED: usize = 10_000;
/// The longest item, in bytes.
pub const MAX_ITEM_BYTES: usize = 8 * 1024;

/// What the list is filed under in the shared store.
pub(super) const TAG: &str = "open-work";

/// Items of work that is not done, shared by every instance on one back-end.
///
/// An item is opaque, differs from every other, and is named by its bytes. **Bounded.** At most [`MOST_LISTED`]; one that
/// is too long is refused. **Expiring.** An item goes by itself after the lifetime of the list: whoever was to have its
/// work then has been told otherwise. **Repeated calls.** Listing an item twice is listing it once; striking one that is
/// not there is no error. **Not trusted.** What others have put there may be listed, too.
#[async_trait]
pub trait OpenWork: Send + Sync {
    /// Puts `item` on the list.
    async fn list(&self, item: &[u8]) -> Result<(), StoreError>;
    /// Takes `item` off.
    async fn strike(&self, item: &[u8]) -> Result<(), StoreError>;
    /// Up to `most` items that have been listed for `age`, the oldest first, without the `from` oldest of them.
    async fn listed(&self, age: Duration, from: usize, most: usize) -> Result<Vec<Vec<u8>>, StoreError>;
}

/// Refuses what is longer than [`MAX_ITEM_BYTES`].
pub(super) fn check_item(backend: &'static str, item: &[u8]) -> Result<(), StoreError> {
    if item.len() <= MAX_ITEM_BYTES {
        return Ok(());
    }
    Err(StoreError::Unavailable {
        backend,
        reason: format!(
            "{} bytes of open work are over the limit of {MAX_ITEM_BYTES}",
            item.len()
        ),
    })
}
