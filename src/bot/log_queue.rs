//! Rows on their way from a message to the database: a bounded queue, written in batches behind the replies.
//!
//! [`LogQueue::push`] never waits. A task writes as long as there is something to write, and belongs to the bot's
//! tasks, so that a stop waits for it. What the queue has no room for, and what cannot be written, is dropped and counted.

use crate::store::Log;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// Rows that may wait.
const MOST_WAITING: usize = 5_000;
/// Rows written at once.
const BATCH: usize = 500;
/// Pauses before a batch is tried again.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// Rows that wait to be written.
pub(super) struct LogQueue<Row> {
    log: Arc<dyn Log<Row>>,
    /// How long the first of a batch waits for others: each batch costs the disk a write that it must wait for.
    linger: Duration,
    waiting: Mutex<Waiting<Row>>,
    pauses: [Duration; 3],
}

struct Waiting<Row> {
    rows: VecDeque<Row>,
    is_being_written: bool,
}

impl<Row: Send + Sync + 'static> LogQueue<Row> {
    pub fn new(log: Arc<dyn Log<Row>>, linger: Duration) -> Arc<Self> {
        Arc::new(Self {
            log,
            linger,
            waiting: Mutex::new(Waiting {
                rows: VecDeque::new(),
                is_being_written: false,
            }),
            pauses: PAUSES,
        })
    }

    /// Queues a row; a task of `tasks` writes it.
    pub fn push(self: &Arc<Self>, row: Row, tasks: &TaskTracker) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.rows.len() >= MOST_WAITING {
            drop(waiting);
            return self.log.dropped(1);
        }
        waiting.rows.push_back(row);
        if !std::mem::replace(&mut waiting.is_being_written, true) {
            tasks.spawn(self.clone().write());
        }
    }

    /// Writes until nothing waits.
    async fn write(self: Arc<Self>) {
        tokio::time::sleep(self.linger).await;
        while let Some(batch) = self.next() {
            let mut pauses = self.pauses.iter();
            while let Err(error) = self.log.write(&batch).await {
                let Some(pause) = pauses.next() else {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, rows = batch.len(), "rows of a log are not kept");
                    self.log.dropped(batch.len());
                    break;
                };
                tokio::time::sleep(*pause).await;
            }
        }
    }

    /// What is to be written next; `None` ends the task.
    fn next(&self) -> Option<Vec<Row>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.rows.len().min(BATCH);
        waiting.is_being_written = count > 0;
        (count > 0).then(|| waiting.rows.drain(..count).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;
    use crate::store::conversations::Follower;
    use crate::store::feedback::{FeedbackRow, Word};
    use async_trait::async_trait;
    use tokio::sync::Semaphore;

    /// Writes when told to, and fails so many times before.
    struct Slow {
        written: Mutex<Vec<Vec<FeedbackRow>>>,
        may: Semaphore,
        failures: Mutex<usize>,
        dropped: Mutex<usize>,
    }

    #[async_trait]
    impl Log<FeedbackRow> for Slow {
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

        fn dropped(&self, rows: usize) {
            *self.dropped.lock().unwrap() += rows;
        }
    }

    fn slow(failures: usize) -> (Arc<Slow>, Arc<LogQueue<FeedbackRow>>, TaskTracker) {
        let log = Arc::new(Slow {
            written: Mutex::default(),
            may: Semaphore::new(0),
            failures: Mutex::new(failures),
            dropped: Mutex::default(),
        });
        let queue = LogQueue {
            pauses: [Duration::ZERO; 3],
            ..Arc::into_inner(LogQueue::new(log.clone(), Duration::ZERO)).unwrap()
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
        assert_eq!(*log.dropped.lock().unwrap(), 50);
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
            assert_eq!(*log.dropped.lock().unwrap(), 1 - kept);
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
