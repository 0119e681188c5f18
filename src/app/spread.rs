//! How instances hear of a change of the bank at once, its revision, and of who has left: announced over Redis.
//!
//! An announcement is sealed. A revision is a number and does nothing but wake [`Publisher::follow_bank`], which reads the
//! database; without Redis, or when one is lost, the look every `database.poll_ms` finds the change. Who has left is a
//! digest of the pseudonym, for instances that keep a copy of the session; what may have been missed, while nobody
//! listened, is made good by giving up all copies.

use super::{AppError, Publisher, redis_link};
use crate::bot::Seals;
use crate::config::Config;
use crate::store::StoreError;
use crate::store::fallback::{FallbackConversations, Farewells};
use crate::store::redis::Link;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// What the seal of an announcement is bound to.
const CONTEXT: &[&str] = &["bank revision"];
/// And of a farewell.
const LEFT: &[&str] = &["follower left"];
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

    /// The digest of who has left; `None`: it was not sealed by us.
    fn farewell(&self, message: &[u8]) -> Option<u128> {
        let payload = self.seals.open(LEFT, message)?;
        Some(u128::from_be_bytes(payload.try_into().ok()?))
    }

    /// Wakes `publisher` when it is behind an announced revision; runs until dropped. How Redis is, its breaker says.
    /// Copies in `conversations` go with those who have left.
    pub(super) async fn follow(self, publisher: Arc<Publisher>, conversations: Arc<FallbackConversations>) {
        loop {
            if let Ok(mut subscription) = self.link.subscribe().await {
                // What was announced before is not heard again.
                publisher.look();
                conversations.distrust_copies().await;
                while let Ok(message) = subscription.next().await {
                    match (self.revision(&message), self.farewell(&message)) {
                        (Some(revision), _) => publisher.hear(revision),
                        (None, Some(follower)) => conversations.forget_copy(follower),
                        (None, None) => metrics::counter!("wxfaq_announcements_refused_total").increment(1),
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[async_trait]
impl Farewells for Spread {
    async fn announce(&self, follower: u128) -> Result<(), StoreError> {
        self.link
            .announce(&self.seals.seal(LEFT, &follower.to_be_bytes()))
            .await
    }
}

/// After a command has changed the bank: tells the instances, if the configuration says how.
pub async fn announce_revision(config: &Config, revision: u64) {
    if let Ok(Some(spread)) = Spread::of(config) {
        spread.announce(revision).await;
    }
}
