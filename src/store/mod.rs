//! What must outlive a message: conversations, cached matches, access tokens, the bank itself.
//!
//! The traits in [`conversations`] and [`match_cache`] are what `bot` knows, [`access_tokens`] is `wechat_api`'s;
//! [`memory`] and [`redis`] stand behind them, chosen in `app`. [`fallback`] puts memory behind Redis when Redis is away.
//! [`sql`] keeps the bank, the keys of the JSON API, which [`api_key`] describes, and through [`feedback`] what followers
//! think of answers.

pub mod api_key;
pub mod conversations;
pub mod fallback;
pub mod match_cache;
pub mod feedback;
pub mod access_tokens;
pub mod erasures;
pub mod memory;
pub mod redis;
pub mod sql;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The back-end refused, hung, is full, or is known to be away.
    #[error("{backend} is unavailable: {reason}")]
    Unavailable {
        /// `redis`, `sqlite`, …
        backend: &'static str,
        /// Never holds a password or a personal identifier.
        reason: String,
    },
    /// What is stored is not what we wrote.
    #[error("{backend} holds something unreadable: {reason}")]
    Corrupt {
        /// As above.
        backend: &'static str,
        /// As above.
        reason: String,
    },
}
