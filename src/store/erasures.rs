//! The port through which a follower's rows are asked to go: when they leave, or when an operator says so.

use super::StoreError;
use super::conversations::Follower;
use async_trait::async_trait;

/// Followers whose personal rows are to be erased.
///
/// **Durable.** What was asked is done even after a crash. **Repeated.** Asking twice is asking once, from the later time.
/// **Off the reply path.** It may take as long as the database does.
#[async_trait]
pub trait Erasures: Send + Sync {
    /// Asks that every row kept under the follower's pseudonym goes. `now` is in Unix seconds.
    ///
    /// # Errors
    /// The database cannot be written: it is remembered in this process, as far as there is room, and tried again.
    async fn ask(&self, follower: &Follower, now: i64) -> Result<(), StoreError>;
}
