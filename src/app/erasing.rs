//! The worker that erases followers who have left.
//!
//! [`follow`] is the only one who writes the queue on behalf of this process: who leaves is written down and erased in
//! batches, and what was erased is let go of by the database's files.

use crate::bot::Bot;
use crate::store::StoreError;
use crate::store::conversations::Follower;
use crate::store::sql::ErasureQueue;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks while nobody leaves. A follower's rows are gone within a minute.
const LOOK: Duration = Duration::from_secs(5);
/// Before the next attempt when the database cannot be written.
const RETRY: Duration = Duration::from_secs(1);

/// Works the queue off and forgets in this process whom an operator had erased; runs until dropped.
pub async fn follow(queue: ErasureQueue, bot: Arc<Bot>) {
    let mut eraser = Eraser::new(queue, bot);
    let mut is_well = true;
    loop {
        match eraser.round().await {
            Ok(()) => {
                if !is_well {
                    tracing::info!("rows of followers who left are erased again");
                }
                is_well = true;
                let asked = eraser.queue.asked();
                // At most so long: other processes ask, too.
                let _ = tokio::time::timeout(LOOK, asked).await;
            }
            Err(error) => {
                if is_well {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "rows of followers who left are not erased; tried again"
                    );
                }
                is_well = false;
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// At the end of the process: who has left is erased by the next one.
pub async fn write_down(queue: &ErasureQueue) {
    match tokio::time::timeout(RETRY, queue.write_down()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "not every follower who left is noted for erasure"
        ),
        Err(_) => tracing::warn!("not every follower who left is noted for erasure: the database is slow"),
    }
}

struct Eraser {
    queue: ErasureQueue,
    bot: Arc<Bot>,
    /// When the last erasure by hand was asked that was seen, of those still in the queue.
    seen: HashMap<Follower, i64>,
    /// Whether the files hold nothing any more that was erased.
    is_clean: bool,
}

impl Eraser {
    fn new(queue: ErasureQueue, bot: Arc<Bot>) -> Self {
        Self {
            queue,
            bot,
            seen: HashMap::new(),
            // What the process before did is not known.
            is_clean: false,
        }
    }

    /// Writes down and erases until nothing is left to do now.
    async fn round(&mut self) -> Result<(), StoreError> {
        loop {
            self.queue.write_down().await?;
            let done = self.queue.work_off(self.bot.now()).await?;
            metrics::counter!("wxfaq_erased_rows_total").increment(done.rows);
            self.is_clean &= done.rows == 0;
            if done.followers == 0 {
                break;
            }
        }
        let queued = self.queue.queued().await?;
        let by_hand = queued.into_iter().filter(|erasure| erasure.by_hand);
        let by_hand: HashMap<Follower, i64> = by_hand.map(|one| (one.follower, one.asked_at)).collect();
        for (follower, asked_at) in &by_hand {
            // Who has left was forgotten then, and may be back.
            if self.seen.get(follower) != Some(asked_at) {
                self.bot.forget(follower).await;
                self.is_clean = false;
            }
        }
        self.seen = by_hand;
        if !self.is_clean {
            self.is_clean = self.queue.purge().await?;
        }
        Ok(())
    }
}
