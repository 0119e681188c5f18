//! The worker that deletes what followers typed when it is old.

use crate::bot::Bot;
use crate::store::sql::QueryLog;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(3_600);

/// Deletes what is older than `retention`; runs until dropped.
pub async fn follow(log: QueryLog, bot: Arc<Bot>, retention: Duration) {
    let retention = i64::try_from(retention.as_secs()).unwrap_or(i64::MAX);
    loop {
        match log.sweep(bot.now().saturating_sub(retention)).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "questions and comments of followers deleted, they were old"),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "old questions of followers are not deleted; tried again in an hour"
            ),
        }
        tokio::time::sleep(LOOK).await;
    }
}
