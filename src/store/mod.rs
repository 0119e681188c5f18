//! What must outlive a message: conversations, cached matches, access tokens, the bank itself.
//!
//! The traits in [`conversations`] and [`match_cache`] are what `bot` knows, [`access_tokens`] is `wechat_api`'s;
//! [`memory`] and [`redis`] stand behind them, chosen in `app`. [`fallback`] puts memory behind Redis when Redis is away.
//! [`sql`] keeps the bank, the keys of the JSON API, which [`api_key`] describes, and as a [`Log`] what followers ask
//! ([`query_log`]) and what they think of answers ([`feedback`]).

use async_trait::async_trait;

pub mod api_key;
pub mod conversations;
pub mod fallback;
pub mod match_cache;
pub mod feedback;
pub mod query_log;
pub mod access_tokens;
pub mod erasures;
pub mod open_work;
pub mod memory;
pub mod redis;
pub mod sql;

/// Keeps rows behind the replies: `bot` queues them and writes them in batches.
#[async_trait]
pub trait Log<Row>: Send + Sync {
    /// Keeps every row, or none. The same rows twice are the same as once.
    async fn write(&self, rows: &[Row]) -> Result<(), StoreError>;

    /// So many rows found no room, or could not be written.
    fn dropped(&self, rows: usize);
}

/// Counts rows that a log does not keep.
fn log_dropped(log: &'static str, rows: usize) {
    metrics::counter!("wxfaq_log_dropped_total", "log" => log).increment(rows as u64);
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The back-end refused, hung, or is full. What it was asked it may have done all the same, or may do yet.
    #[error("{backend} is unavailable: {reason}")]
    Unavailable {
        /// `redis`, `sqlite`, …
        backend: &'static str,
        /// Never holds a password or a personal identifier.
        reason: String,
    },
    /// Somebody else was writing for longer than one waits; trying again helps.
    #[error("{backend} is busy, another process is changing it; try again: {reason}")]
    Busy {
        /// As above.
        backend: &'static str,
        /// As above.
        reason: String,
    },
    /// The back-end is known to be away; it was not even asked.
    #[error("{backend} is unavailable: known to be away")]
    Away {
        /// As above.
        backend: &'static str,
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
