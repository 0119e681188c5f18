//! One follower's messages, one after another, within this process; the shared store orders them between processes.
//!
//! [`Turns::take`] waits in line. Its place is kept only while somebody holds or wants it.

use crate::store::conversations::Follower;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;

/// Messages of one follower that may wait; WeChat repeats a message twice, so a few are normal.
const MAX_WAITING: usize = 16;

type Line = Arc<tokio::sync::Mutex<()>>;
type Lines = Arc<Mutex<HashMap<Follower, Line>>>;

/// The lines of all followers with a message under way.
#[derive(Default)]
pub(super) struct Turns {
    lines: Lines,
}

/// The follower's turn; passes to the next in line when dropped.
pub(super) struct TurnGuard {
    lines: Lines,
    follower: Follower,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the follower's turn; `None` at once when too many wait already.
    pub async fn take(&self, follower: &Follower) -> Option<TurnGuard> {
        let line = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            let line = lines.entry(follower.clone()).or_default();
            // One reference is the map's; every holder or waiter has one more.
            if Arc::strong_count(line) > MAX_WAITING {
                return None;
            }
            line.clone()
        };
        // The guard exists before the wait, so that giving up the wait cleans up too.
        let mut guard = TurnGuard {
            lines: self.lines.clone(),
            follower: follower.clone(),
            held: None,
        };
        guard.held = Some(line.lock_owned().await);
        Some(guard)
    }
}

impl Drop for TurnGuard {
    fn drop(&mut self) {
        self.held = None;
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines
            .get(&self.follower)
            .is_some_and(|line| Arc::strong_count(line) == 1)
        {
            lines.remove(&self.follower);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower(name: &str) -> Follower {
        Follower {
            account: "a".into(),
            pseudonym: name.into(),
        }
    }

    #[tokio::test]
    async fn the_second_message_waits_for_the_first() {
        let turns = Arc::new(Turns::default());
        let first = turns.take(&follower("x")).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let second = tokio::spawn({
            let (turns, order) = (turns.clone(), order.clone());
            async move {
                let _turn = turns.take(&follower("x")).await;
                order.lock().unwrap().push("second");
            }
        });
        let _other = turns.take(&follower("y")).await.unwrap();
        tokio::task::yield_now().await;
        order.lock().unwrap().push("first");
        drop(first);
        second.await.unwrap();
        assert_eq!(*order.lock().unwrap(), ["first", "second"]);
    }

    #[tokio::test]
    async fn lines_are_forgotten_and_bounded() {
        let turns = Turns::default();
        let x = follower("x");
        let first = turns.take(&x).await.unwrap();
        let mut waiting: Vec<_> = (1..MAX_WAITING).map(|_| Box::pin(turns.take(&x))).collect();
        for wait in &mut waiting {
            assert!(futures_util::poll!(wait.as_mut()).is_pending());
        }
        assert!(turns.take(&x).await.is_none());
        drop(waiting);
        drop(first);
        assert!(turns.lines.lock().unwrap().is_empty());
    }
}
