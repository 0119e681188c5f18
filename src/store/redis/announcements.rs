//! What instances tell one another over pub/sub: that the bank has come to a revision, that a follower has left.
//!
//! [`Link::announce`] sends, [`Link::subscribe`] listens over a connection of its own, which can hold up nobody. A
//! message is a hint and no more: it may be lost, repeated or forged, and whoever hears it checks whose it is.

use super::link::{self, Link};
use crate::store::StoreError;
use futures_util::StreamExt;
use redis::{Pipeline, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The longest message that can be ours: a seal and a number.
const MAX_MESSAGE_BYTES: usize = 128;
/// About what goes around a message: its kind, the channel, lengths.
const FRAME_BYTES: usize = 40;
/// Between two questions whether a silent server is still there.
const SILENCE: Duration = Duration::from_secs(15);
/// How long it may take with the answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// An open subscription.
pub struct Subscription {
    pubsub: redis::aio::PubSub,
    /// Bytes received since the last message was taken.
    unanswered: Arc<AtomicUsize>,
}

impl Link {
    /// Tells every subscriber; nobody listening is no error.
    pub async fn announce(&self, message: &[u8]) -> Result<(), StoreError> {
        let mut publish = Pipeline::new();
        publish.cmd("PUBLISH").arg(self.key("bank")).arg(message);
        match self.run(&publish).await?.as_slice() {
            [Value::Int(_)] => Ok(()),
            [reply] => Err(self.nonsense(reply)),
            _ => Err(self.distrust("a question has not one answer")),
        }
    }

    /// Opens a connection and listens.
    pub async fn subscribe(&self) -> Result<Subscription, StoreError> {
        let unanswered = Arc::new(AtomicUsize::new(0));
        let opening = async {
            let mut pubsub = self.open_pubsub(&unanswered).await?;
            pubsub.subscribe(self.key("bank")).await?;
            Ok(pubsub)
        };
        let opened = tokio::time::timeout(PATIENCE, opening).await;
        let pubsub = opened
            .map_err(|_| silent())?
            .map_err(|error| link::unavailable(&error))?;
        Ok(Subscription { pubsub, unanswered })
    }
}

impl Subscription {
    /// The next message that could be ours.
    ///
    /// # Errors
    /// The connection is gone; a new one has to be opened.
    pub async fn next(&mut self) -> Result<Vec<u8>, StoreError> {
        loop {
            let heard = tokio::time::timeout(SILENCE, self.pubsub.on_message().next()).await;
            match &heard {
                // What waits behind it goes on counting: a flood must not fill the memory.
                Ok(Some(message)) => self.answer(message.get_payload_bytes().len()),
                _ => self.unanswered.store(0, Ordering::Relaxed),
            }
            match heard {
                Ok(Some(message)) if message.get_payload_bytes().len() <= MAX_MESSAGE_BYTES => {
                    return Ok(message.get_payload_bytes().to_vec());
                }
                Ok(Some(_)) => {}
                Ok(None) => return Err(gone()),
                Err(_) => {
                    let answered = tokio::time::timeout(PATIENCE, self.pubsub.ping::<Value>()).await;
                    answered
                        .map_err(|_| silent())?
                        .map_err(|error| link::unavailable(&error))?;
                }
            }
        }
    }
}

impl Subscription {
    /// Takes a message of so many bytes off the count.
    fn answer(&self, bytes: usize) {
        let taken = |unanswered: usize| Some(unanswered.saturating_sub(bytes + FRAME_BYTES));
        // Every number has a successor here: it cannot fail.
        let _ = self
            .unanswered
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken);
    }
}

fn silent() -> StoreError {
    link::no_use("no answer in time")
}

fn gone() -> StoreError {
    link::no_use("the connection was closed")
}
