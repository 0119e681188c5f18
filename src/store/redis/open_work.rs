//! Open work of every instance on one Redis: a sorted set, by when an item was listed.

use super::link::refusal;
use super::{Link, Value};
use crate::store::StoreError;
use crate::store::open_work::{MAX_ITEM_BYTES, MOST_LISTED, OpenWork, TAG, check_item};
use async_trait::async_trait;
use redis::Pipeline;
use std::sync::Arc;
use std::time::Duration;

/// Time since 1970, by a clock that all instances go by.
pub type WallClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// [`OpenWork`] in Redis.
pub struct RedisOpenWork {
    link: Arc<Link>,
    lifetime: Duration,
    clock: WallClock,
}

impl RedisOpenWork {
    /// The list on `link`, whose items go after `lifetime`.
    pub fn new(link: Arc<Link>, lifetime: Duration, clock: WallClock) -> Self {
        Self { link, lifetime, clock }
    }

    fn key(&self) -> String {
        self.link.key(&format!("{{{TAG}}}"))
    }

    /// Milliseconds since 1970, so long ago.
    fn before(&self, age: Duration) -> u64 {
        u64::try_from((self.clock)().saturating_sub(age).as_millis()).unwrap_or(u64::MAX)
    }

    async fn run(&self, commands: &Pipeline) -> Result<Vec<Value>, StoreError> {
        let replies = self.link.run(commands).await?;
        match replies.iter().find(|reply| matches!(reply, Value::ServerError(_))) {
            Some(Value::ServerError(error)) => Err(refusal(error)),
            _ => Ok(replies),
        }
    }
}

#[async_trait]
impl OpenWork for RedisOpenWork {
    async fn list(&self, item: &[u8]) -> Result<(), StoreError> {
        check_item("redis", item)?;
        let key = self.key();
        let mut commands = Pipeline::new();
        commands
            .cmd("ZADD")
            .arg(&key)
            .arg(self.before(Duration::ZERO))
            .arg(item);
        commands
            .cmd("ZREMRANGEBYSCORE")
            .arg(&key)
            .arg("-inf")
            .arg(self.before(self.lifetime));
        let beyond = -i64::try_from(MOST_LISTED).unwrap_or(i64::MAX) - 1;
        commands.cmd("ZREMRANGEBYRANK").arg(&key).arg(0).arg(beyond);
        commands
            .cmd("PEXPIRE")
            .arg(&key)
            .arg(u64::try_from(self.lifetime.as_millis()).unwrap_or(u64::MAX));
        match self.run(&commands).await?.as_slice() {
            [_, _, Value::Int(dropped), _] => {
                let dropped = u64::try_from(*dropped).unwrap_or(0);
                metrics::counter!("wxfaq_store_dropped_total", "store" => "redis", "item" => "open work")
                    .increment(dropped);
                Ok(())
            }
            _ => Err(self.link.distrust("a list was answered with something else")),
        }
    }

    async fn strike(&self, item: &[u8]) -> Result<(), StoreError> {
        let mut commands = Pipeline::new();
        commands.cmd("ZREM").arg(self.key()).arg(item);
        self.run(&commands).await.map(drop)
    }

    async fn listed(&self, age: Duration, from: usize, most: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut commands = Pipeline::new();
        commands
            .cmd("ZRANGEBYSCORE")
            .arg(self.key())
            .arg(format!("({}", self.before(self.lifetime)))
            .arg(self.before(age))
            .arg("LIMIT")
            .arg(from)
            .arg(most);
        let replies = self.run(&commands).await?;
        let Some(Value::Array(items)) = replies.first() else {
            return Err(self.link.distrust("a list has the wrong shape"));
        };
        let item = |value: &Value| match value {
            Value::BulkString(item) if item.len() <= MAX_ITEM_BYTES => Some(item.clone()),
            _ => None,
        };
        Ok(items.iter().take(most).filter_map(item).collect())
    }
}
