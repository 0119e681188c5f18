//! How instances hear of a change of the bank at once: its revision, announced over Redis.
//!
//! An announcement carries nothing but a sealed number and does nothing but wake [`Publisher::follow_bank`], which reads
//! the database. Without Redis, or when one is lost, the look every `database.poll_ms` finds the change.

use super::{AppError, Publisher, redis_link};
use crate::bot::Seals;
use crate::config::Config;
use crate::store::redis::Link;
use std::sync::Arc;
use std::time::Duration;

/// What the seal of an announcement is bound to.
const CONTEXT: &[&str] = &["bank revision"];
/// Between two attempts to listen.
const PAUSE: Duration = Duration::from_secs(1);

/// The way of announcements: one Redis, one install key.
#[derive(Clone)]
pub struct Spread {
    link: Arc<Link>,
    seals: Seals,
}

impl Spread {
    /// Over `link`, believing only `seals`.
    pub fn new(link: Arc<Link>, seals: Seals) -> Self {
        Self { link, seals }
    }

    /// By the configuration; `None`: it names no Redis, or there is no install key yet.
    ///
    /// # Errors
    /// `redis.urls` cannot be read.
    pub fn of(config: &Config) -> Result<Option<Self>, AppError> {
        let Some(link) = redis_link(&config.redis)?.filter(|_| !config.install_key.is_empty()) else {
            return Ok(None);
        };
        Ok(Some(Self::new(link, Seals::new(config.install_key.expose()))))
    }

    /// Tells every instance that the bank has come to `revision`. Nothing depends on whether anybody hears it.
    pub async fn announce(&self, revision: u64) {
        let sealed = self.seals.seal(CONTEXT, revision.to_string().as_bytes());
        if let Err(error) = self.link.announce(&sealed).await {
            tracing::debug!(%error, "the new revision could not be announced; instances look by themselves");
        }
    }

    /// The announced revision; `None`: it was not sealed by us.
    fn revision(&self, message: &[u8]) -> Option<u64> {
        let payload = self.seals.open(CONTEXT, message)?;
        std::str::from_utf8(payload).ok()?.parse().ok()
    }

    /// Wakes `publisher` when it is behind an announced revision; runs until dropped. How Redis is, its breaker says.
    pub(super) async fn follow(self, publisher: Arc<Publisher>) {
        loop {
            if let Ok(mut subscription) = self.link.subscribe().await {
                // What was announced before is not heard again.
                publisher.look();
                while let Ok(message) = subscription.next().await {
                    match self.revision(&message) {
                        Some(revision) => publisher.hear(revision),
                        None => metrics::counter!("wxfaq_announcements_refused_total").increment(1),
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// After a command has changed the bank: tells the instances, if the configuration says how.
pub async fn announce_revision(config: &Config, revision: u64) {
    if let Ok(Some(spread)) = Spread::of(config) {
        spread.announce(revision).await;
    }
}
