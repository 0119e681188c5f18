//! The port through which a follower's rows are asked to go when they leave.

use super::conversations::Follower;

/// Followers whose personal rows are to be erased.
///
/// **Never waits.** Who has left is remembered in this process, as far as there is room, and written down by a worker right
/// after; from then on **durable**: it is done even after a crash. **Repeated.** Asking twice is asking once, from the later
/// time.
pub trait Erasures: Send + Sync {
    /// Asks that every row kept under the follower's pseudonym goes. `now` is in Unix seconds.
    fn ask(&self, follower: &Follower, now: i64);
}
