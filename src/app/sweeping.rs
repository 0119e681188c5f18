//! Looking through the work that all instances have listed.

use crate::bot::Bot;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Between two looks, and up to half as much more, so that instances do not look in step.
const LOOK: Duration = Duration::from_secs(2);

/// Takes over what dead instances have left; runs until dropped.
pub async fn follow(bot: Arc<Bot>) {
    let random = RandomState::new();
    for look in 0_u64.. {
        let extra = random.hash_one(look) % 1_000;
        tokio::time::sleep(LOOK + LOOK / 2_000 * u32::try_from(extra).unwrap_or(0)).await;
        bot.sweep().await;
    }
}

/// Time since 1970.
pub fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
