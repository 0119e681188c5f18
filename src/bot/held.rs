//! A claim in the hands of whoever handles a message: renewed while work goes on, given back whatever happens.

use super::Bot;
use crate::store::StoreError;
use crate::store::conversations::{Finished, SessionChange, Turn};
use std::sync::Arc;
use tokio::time::Instant;

/// Who must know of a claim while the shared store may be away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Whoever can be told; at worst this instance alone.
    Any,
    /// Every instance, or there is none.
    All,
}

/// A claim that is given back unless it is finished, whatever happens.
pub(super) struct Held {
    bot: Arc<Bot>,
    pub since: Instant,
    turn: Option<Turn>,
    reach: Reach,
}

impl Held {
    pub fn new(bot: &Arc<Bot>, turn: Turn) -> Self {
        Self {
            bot: bot.clone(),
            since: Instant::now(),
            turn: Some(turn),
            reach: Reach::Any,
        }
    }

    /// The claim ends before those of `reach`.
    pub fn reaching(mut self, reach: Reach) -> Self {
        self.reach = reach;
        self
    }

    /// Names the claim and no other.
    pub fn token(&self) -> &str {
        self.turn.as_ref().map_or("", |turn| &turn.token)
    }

    pub fn session_version(&self) -> u64 {
        self.turn.as_ref().map_or(0, |turn| turn.session_version)
    }

    /// Runs `work` and renews the lease whenever a third of it has passed.
    pub async fn renewed<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            if let Ok(done) = tokio::time::timeout(self.bot.lease / 3, work.as_mut()).await {
                return done;
            }
            if let Some(turn) = &self.turn
                && let Err(error) = self.bot.conversations.renew(turn).await
            {
                report(&error, "a claim is not renewed");
            }
        }
    }

    /// Ends the claim with a record; `None`: the store could not be asked.
    pub async fn finish(mut self, record: &[u8], session: SessionChange) -> Option<Finished> {
        let turn = self.turn.as_ref()?;
        let conversations = &self.bot.conversations;
        let finished = match self.reach {
            Reach::Any => self.renewed(conversations.finish(turn, record, session)).await,
            Reach::All => self.renewed(conversations.finish_for_all(turn, record, session)).await,
        };
        match finished {
            Ok(finished) => {
                self.turn = None;
                Some(finished)
            }
            Err(error) => {
                match self.reach {
                    Reach::Any => report(&error, "record and session are not kept"),
                    // Whoever wants it known to all asks again.
                    Reach::All => {
                        tracing::debug!(error = &error as &dyn std::error::Error, "an end is not known to all");
                    }
                }
                None
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(turn) = self.turn.take() else { return };
        let bot = self.bot.clone();
        self.bot.tasks.spawn(async move {
            if let Err(error) = bot.conversations.release(&turn).await {
                report(&error, "a claim is left to its lease");
            }
        });
    }
}

pub(super) fn report(error: &StoreError, what: &str) {
    tracing::warn!(error = error as &dyn std::error::Error, "{what}");
}
