//! Open work of one process: nobody outlives it, but a task of it may have failed.

use super::Clock;
use crate::store::StoreError;
use crate::store::open_work::{MOST_LISTED, OpenWork, check_item};
use async_trait::async_trait;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// [`OpenWork`] in memory.
pub struct MemoryOpenWork {
    lifetime: Duration,
    clock: Clock,
    items: Mutex<Items>,
}

/// The oldest first, with when it was listed.
type Items = VecDeque<(Duration, Vec<u8>)>;

impl MemoryOpenWork {
    /// An empty list, whose items go after `lifetime`.
    pub fn new(lifetime: Duration, clock: Clock) -> Self {
        Self {
            lifetime,
            clock,
            items: Mutex::default(),
        }
    }

    /// The list without what has expired, and the time.
    fn current(&self) -> (MutexGuard<'_, Items>, Duration) {
        let now = (self.clock)();
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        while items.front().is_some_and(|(listed, _)| *listed + self.lifetime <= now) {
            items.pop_front();
        }
        (items, now)
    }
}

#[async_trait]
impl OpenWork for MemoryOpenWork {
    async fn list(&self, item: &[u8]) -> Result<(), StoreError> {
        check_item("memory", item)?;
        let (mut items, now) = self.current();
        items.retain(|(_, known)| known != item);
        items.push_back((now, item.to_vec()));
        if items.len() > MOST_LISTED {
            items.pop_front();
            metrics::counter!("wxfaq_store_dropped_total", "store" => "memory", "item" => "open work").increment(1);
        }
        Ok(())
    }

    async fn strike(&self, item: &[u8]) -> Result<(), StoreError> {
        self.current().0.retain(|(_, known)| known != item);
        Ok(())
    }

    async fn listed(&self, age: Duration, from: usize, most: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let (items, now) = self.current();
        let old = items.iter().take_while(|(listed, _)| *listed + age <= now);
        Ok(old.skip(from).take(most).map(|(_, item)| item.clone()).collect())
    }
}
