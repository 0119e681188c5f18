//! Feedback on its way from a message to the database: a bounded queue, written in batches behind the replies.
//!
//! [`FeedbackQueue::push`] never waits. A task writes as long as there is something to write, and belongs to the bot's
//! tasks, so that a stop waits for it. What the queue has no room for, and what cannot be written, is dropped and counted.

use crate::store::feedback::{FeedbackLog, FeedbackRow};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// Words that may wait.
const MOST_WAITING: usize = 1_000;
/// Words written at once.
const BATCH: usize = 100;
/// Pauses before a batch is tried again.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// Feedback that waits to be written.
pub(super) struct FeedbackQueue {
    log: Arc<dyn FeedbackLog>,
    waiting: Mutex<Waiting>,
    pauses: [Duration; 3],
}

#[derive(Default)]
struct Waiting {
    rows: VecDeque<FeedbackRow>,
    is_being_written: bool,
}

impl FeedbackQueue {
    pub fn new(log: Arc<dyn FeedbackLog>) -> Arc<Self> {
        Arc::new(Self {
            log,
            waiting: Mutex::default(),
            pauses: PAUSES,
        })
    }

    /// Queues a word; a task of `tasks` writes it.
    pub fn push(self: &Arc<Self>, row: FeedbackRow, tasks: &TaskTracker) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.rows.len() >= MOST_WAITING {
            drop(waiting);
            return dropped(1);
        }
        waiting.rows.push_back(row);
        if !std::mem::replace(&mut waiting.is_being_written, true) {
            tasks.spawn(self.clone().write());
        }
    }

    /// Writes until nothing waits.
    async fn write(self: Arc<Self>) {
        while let Some(batch) = self.next() {
            let mut pauses = self.pauses.iter();
            while let Err(error) = self.log.write(&batch).await {
                let Some(pause) = pauses.next() else {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, rows = batch.len(), "feedback is not kept");
                    dropped(batch.len());
                    break;
                };
                tokio::time::sleep(*pause).await;
            }
        }
    }

    /// What is to be written next; `None` ends the task.
    fn next(&self) -> Option<Vec<FeedbackRow>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.rows.len().min(BATCH);
        waiting.is_being_written = count > 0;
        (count > 0).then(|| waiting.rows.drain(..count).collect())
    }
}

fn dropped(count: usize) {
    metrics::counter!("wxfaq_feedback_dropped_total").increment(count as u64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;
    use crate::store::conversations::Follower;
    use crate::store::feedback::Word;
    use async_trait::async_trait;
    use tokio::sync::Semaphore;

    /// Writes when told to, and fails so many times before.
    struct Slow {
        written: Mutex<Vec<Vec<FeedbackRow>>>,
        may: Semaphore,
        failures: Mutex<usize>,
    }

    #[async_trait]
    impl FeedbackLog for Slow {
        async fn write(&self, rows: &[FeedbackRow]) -> Result<(), StoreError> {
            self.may.acquire().await.unwrap().forget();
            let mut failures = self.failures.lock().unwrap();
            if let Some(left) = failures.checked_sub(1) {
                *failures = left;
                return Err(StoreError::Unavailable {
                    backend: "sqlite",
                    reason: "locked".to_owned(),
                });
            }
            self.written.lock().unwrap().push(rows.to_vec());
            Ok(())
        }
    }

    fn slow(failures: usize) -> (Arc<Slow>, Arc<FeedbackQueue>, TaskTracker) {
        let log = Arc::new(Slow {
            written: Mutex::default(),
            may: Semaphore::new(0),
            failures: Mutex::new(failures),
        });
        let queue = FeedbackQueue {
            log: log.clone(),
            waiting: Mutex::default(),
            pauses: [Duration::ZERO; 3],
        };
        (log, Arc::new(queue), TaskTracker::new())
    }

    fn row(n: usize) -> FeedbackRow {
        FeedbackRow {
            follower: Follower {
                account: "a".to_owned(),
                pseudonym: "p".to_owned(),
            },
            entry: "e".to_owned(),
            message: n.to_string(),
            score: None,
            word: Word::Useful,
            given_at: 1,
        }
    }

    #[tokio::test]
    async fn a_slow_database_holds_nobody_up_and_gets_batches_then() {
        let (log, queue, tasks) = slow(0);
        for n in 0..MOST_WAITING + 50 {
            queue.push(row(n), &tasks);
        }
        log.may.add_permits(100);
        tasks.close();
        tasks.wait().await;
        let written = log.written.lock().unwrap();
        assert!(written.iter().all(|batch| batch.len() <= BATCH));
        let all: Vec<_> = written.concat();
        assert_eq!(all.len(), MOST_WAITING, "what there is no room for is dropped");
        assert!(all.iter().map(|row| row.message.parse::<usize>().unwrap()).is_sorted());
    }

    #[tokio::test]
    async fn a_batch_is_tried_again_and_given_up_in_the_end() {
        for (failures, kept) in [(PAUSES.len(), 1), (PAUSES.len() + 1, 0)] {
            let (log, queue, tasks) = slow(failures);
            log.may.add_permits(100);
            queue.push(row(1), &tasks);
            tasks.close();
            tasks.wait().await;
            assert_eq!(log.written.lock().unwrap().len(), kept, "{failures}");
        }
    }

    #[tokio::test]
    async fn words_after_the_last_batch_find_a_writer_again() {
        let (log, queue, tasks) = slow(0);
        log.may.add_permits(100);
        for n in 0..3 {
            queue.push(row(n), &tasks);
            tasks.close();
            tasks.wait().await;
            tasks.reopen();
        }
        assert_eq!(log.written.lock().unwrap().len(), 3);
    }
}
