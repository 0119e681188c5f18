//! The worker that erases followers who have left.

use crate::bot::Bot;
use crate::store::conversations::Follower;
use crate::store::sql::ErasureQueue;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks. A follower's rows are gone within a minute.
const LOOK: Duration = Duration::from_secs(5);

/// Works the queue off and forgets in this process whom an operator had erased; runs until dropped.
pub async fn follow(queue: ErasureQueue, bot: Arc<Bot>) {
    // When the last erasure was asked that was seen, of those still in the queue.
    let mut seen: HashMap<Follower, i64> = HashMap::new();
    let mut is_well = true;
    loop {
        match queue.work_off(bot.now()).await {
            Ok(erased) => {
                is_well = true;
                let rows: u64 = erased.iter().map(|erased| erased.rows).sum();
                metrics::counter!("wxfaq_erased_rows_total").increment(rows);
                for erased in &erased {
                    // Who has left was forgotten then, and may be back.
                    if erased.by_hand && seen.get(&erased.follower) != Some(&erased.asked_at) {
                        bot.forget(&erased.follower).await;
                    }
                }
                seen = erased
                    .into_iter()
                    .map(|erased| (erased.follower, erased.asked_at))
                    .collect();
            }
            Err(error) => {
                if is_well {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "rows of followers who left are not erased; tried again"
                    );
                }
                is_well = false;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}
