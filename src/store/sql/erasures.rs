//! Erasing what is kept of a follower: a queue in the database, and the tables it is for.
//!
//! [`ErasureQueue::write_down`] and [`ErasureQueue::work_off`] are run by a worker of the daemon, in batches, since whole
//! crowds may leave at once. A table that keeps rows under pseudonyms is named in [`PERSONAL_TABLES`], and has the columns
//! `account` and `pseudonym` as `store::conversations::Follower` has them. What came after an erasure was asked for stays:
//! the follower may be back.

use super::{Database, StoreError};
use crate::store::conversations::Follower;
use crate::store::erasures::Erasures;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, Column, Row, Transaction};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Every table with rows under pseudonyms, and its column that says since when, in Unix seconds.
pub const PERSONAL_TABLES: &[(&str, &str)] = &[("feedback", "given_at"), ("query_log", "asked_at")];

/// So many seconds after it was asked an erasure is repeated: rows may still have been on their way in other queues.
const REPEATED: i64 = 30;
/// Followers that wait in this process until they are written down.
const MOST_WAITING: usize = 50_000;
/// Followers in one transaction.
const BATCH: u16 = 500;
/// Followers in one statement: SQLite takes some thousand parameters, and a thousand alternatives.
const CHUNK: usize = 100;

/// The queue on one database. Clones share what waits in this process.
#[derive(Debug, Clone)]
pub struct ErasureQueue {
    database: Database,
    tables: &'static [(&'static str, &'static str)],
    waiting: Arc<Waiting>,
}

/// What is not written down yet: followers, and when they left.
#[derive(Debug, Default)]
struct Waiting {
    followers: Mutex<BTreeMap<Follower, i64>>,
    more: Notify,
}

/// An erasure in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    #[expect(missing_docs, reason = "the type says it")]
    pub follower: Follower,
    /// Unix seconds.
    pub asked_at: i64,
    /// An operator asked; the follower has not left.
    pub by_hand: bool,
}

/// What was done at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkedOff {
    #[expect(missing_docs, reason = "the name says it")]
    pub followers: usize,
    /// Rows that went.
    pub rows: u64,
}

/// A row, by column; NULL is absent.
pub type PersonalRow = BTreeMap<String, String>;

impl ErasureQueue {
    pub(super) fn new(database: Database) -> Self {
        Self {
            database,
            tables: PERSONAL_TABLES,
            waiting: Arc::default(),
        }
    }

    /// Waits until a follower has left.
    pub async fn asked(&self) {
        self.waiting.more.notified().await;
    }

    /// Writes down who has left, so that a crash does not lose it.
    ///
    /// # Errors
    /// The database cannot be written; what was written stays, the rest waits.
    pub async fn write_down(&self) -> Result<(), StoreError> {
        loop {
            let batch: Vec<Erasure> = self.waiting().iter().take(usize::from(BATCH)).map(left).collect();
            if batch.is_empty() {
                return Ok(());
            }
            self.note(&batch).await?;
            let mut waiting = self.waiting();
            for written in &batch {
                // Left again meanwhile, they wait again.
                if waiting.get(&written.follower) == Some(&written.asked_at) {
                    waiting.remove(&written.follower);
                }
            }
        }
    }

    /// Erases for one batch of the queue: first those nothing has been done for, then those whose rows may have come
    /// late. Nobody: there is nothing to do.
    ///
    /// # Errors
    /// The database cannot be read or written; then nothing was done.
    pub async fn work_off(&self, now: i64) -> Result<WorkedOff, StoreError> {
        let select = "SELECT account, pseudonym, asked_at, by_hand FROM erasure WHERE worked_at = 0 OR asked_at <= ? \
                      ORDER BY worked_at, asked_at, account, pseudonym LIMIT ?";
        let query = sqlx::query(self.database.dialect.sql(select))
            .bind(now.saturating_sub(REPEATED))
            .bind(i64::from(BATCH));
        let batch = self.erasures(query).await?;
        let rows = if batch.is_empty() {
            0
        } else {
            self.erase(&batch, now).await?
        };
        Ok(WorkedOff {
            followers: batch.len(),
            rows,
        })
    }

    /// What is in the queue, by hand first, the latest first; at most a few hundred.
    pub async fn queued(&self) -> Result<Vec<Erasure>, StoreError> {
        let select = "SELECT account, pseudonym, asked_at, by_hand FROM erasure \
                      ORDER BY by_hand DESC, asked_at DESC, account, pseudonym LIMIT ?";
        let query = sqlx::query(self.database.dialect.sql(select)).bind(i64::from(BATCH));
        self.erasures(query).await
    }

    /// Erases the rows of `followers`, whatever else is in the queue, and asks daemons to forget their conversations, too.
    /// How many rows it were.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn erase_now(&self, followers: &[Follower], now: i64) -> Result<u64, StoreError> {
        let by_hand = |follower: &Follower| Erasure {
            follower: follower.clone(),
            asked_at: now,
            by_hand: true,
        };
        let batch: Vec<Erasure> = followers.iter().map(by_hand).collect();
        self.note(&batch).await?;
        self.erase(&batch, now).await
    }

    /// Lets what was erased leave SQLite's log as well; other databases keep to their own rules. `false`: somebody reads
    /// from the log, so try again.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn purge(&self) -> Result<bool, StoreError> {
        self.database.truncate_log().await
    }

    /// What is kept of the follower, by table; tables without rows are left out.
    pub async fn rows_of(&self, follower: &Follower) -> Result<BTreeMap<&'static str, Vec<PersonalRow>>, StoreError> {
        let dialect = self.database.dialect;
        let mut kept = BTreeMap::new();
        for (table, _) in self.tables {
            let select = format!("SELECT * FROM {table} WHERE account = ? AND pseudonym = ?");
            let query = sqlx::query(dialect.sql(&select))
                .bind(follower.account.clone())
                .bind(follower.pseudonym.clone());
            let rows = self.database.answer(query.fetch_all(&self.database.pool)).await?;
            if !rows.is_empty() {
                kept.insert(*table, rows.iter().map(shown).collect());
            }
        }
        Ok(kept)
    }

    async fn erasures(&self, query: Query<'_, Any, AnyArguments>) -> Result<Vec<Erasure>, StoreError> {
        let rows = self.database.answer(query.fetch_all(&self.database.pool)).await?;
        self.read(&rows)
    }

    /// Deletes the rows of `batch`, in one transaction; how many it were. Whoever was asked for long enough ago leaves
    /// the queue, unless asked for again meanwhile.
    async fn erase(&self, batch: &[Erasure], now: i64) -> Result<u64, StoreError> {
        let mut transaction = self.database.begin_write().await?;
        let mut rows = 0;
        for (table, since) in self.tables {
            let delete = format!("DELETE FROM {table} WHERE");
            let condition = format!("account = ? AND pseudonym = ? AND {since} <= ?");
            rows += self.for_each(&mut transaction, &delete, &condition, batch).await?;
        }
        let condition = "account = ? AND pseudonym = ? AND asked_at = ?";
        let (over, begun): (Vec<_>, Vec<_>) = batch.iter().cloned().partition(|one| now >= one.asked_at + REPEATED);
        let delete = "DELETE FROM erasure WHERE";
        self.for_each(&mut transaction, delete, condition, &over).await?;
        let update = format!("UPDATE erasure SET worked_at = {} WHERE", now.max(1));
        self.for_each(&mut transaction, &update, condition, &begun).await?;
        self.database.commit(transaction).await?;
        Ok(rows)
    }

    /// Runs `statement` for all of `batch` at once, as far as one may; `condition` takes account, pseudonym and,
    /// if it has a place for it, the time. How many rows it touched.
    async fn for_each(
        &self,
        transaction: &mut Transaction<'static, Any>,
        statement: &str,
        condition: &str,
        batch: &[Erasure],
    ) -> Result<u64, StoreError> {
        let mut rows = 0;
        let has_time = condition.matches('?').count() > 2;
        for chunk in batch.chunks(CHUNK) {
            let any = vec![format!("({condition})"); chunk.len()].join(" OR ");
            let mut query = sqlx::query(self.database.dialect.sql(&format!("{statement} {any}")));
            for erasure in chunk {
                let Follower { account, pseudonym } = &erasure.follower;
                query = query.bind(account.clone()).bind(pseudonym.clone());
                if has_time {
                    query = query.bind(erasure.asked_at);
                }
            }
            let done = self.database.answer(query.execute(&mut **transaction)).await?;
            rows += done.rows_affected();
        }
        Ok(rows)
    }

    /// Puts `batch` into the queue, in the place of what was asked for the same followers before, in one transaction.
    async fn note(&self, batch: &[Erasure]) -> Result<(), StoreError> {
        let mut transaction = self.database.begin_write().await?;
        self.note_in(&mut transaction, batch).await?;
        self.database.commit(transaction).await
    }

    /// Puts them into the queue, nothing done for any of them yet.
    pub(super) async fn note_in(
        &self,
        transaction: &mut Transaction<'static, Any>,
        batch: &[Erasure],
    ) -> Result<(), StoreError> {
        let condition = "account = ? AND pseudonym = ?";
        let delete = "DELETE FROM erasure WHERE";
        self.for_each(transaction, delete, condition, batch).await?;
        for chunk in batch.chunks(CHUNK) {
            let values = vec!["(?, ?, ?, ?)"; chunk.len()].join(", ");
            let insert = format!("INSERT INTO erasure (account, pseudonym, asked_at, by_hand) VALUES {values}");
            let mut query = sqlx::query(self.database.dialect.sql(&insert));
            for erasure in chunk {
                query = query
                    .bind(erasure.follower.account.clone())
                    .bind(erasure.follower.pseudonym.clone())
                    .bind(erasure.asked_at)
                    .bind(i64::from(erasure.by_hand));
            }
            self.database.answer(query.execute(&mut **transaction)).await?;
        }
        Ok(())
    }

    /// The whole queue.
    pub(super) async fn all_in(&self, transaction: &mut Transaction<'static, Any>) -> Result<Vec<Erasure>, StoreError> {
        let select = "SELECT account, pseudonym, asked_at, by_hand FROM erasure";
        let query = sqlx::query(self.database.dialect.sql(select));
        let rows = self.database.answer(query.fetch_all(&mut **transaction)).await?;
        self.read(&rows)
    }

    fn read(&self, rows: &[AnyRow]) -> Result<Vec<Erasure>, StoreError> {
        let erasure = |row: &AnyRow| {
            Ok(Erasure {
                follower: Follower {
                    account: row.try_get("account")?,
                    pseudonym: row.try_get("pseudonym")?,
                },
                asked_at: row.try_get("asked_at")?,
                by_hand: row.try_get::<i64, _>("by_hand")? != 0,
            })
        };
        let read = rows.iter().map(erasure).collect::<Result<_, sqlx::Error>>();
        read.map_err(|error| self.database.dialect.error(&error))
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Follower, i64>> {
        self.waiting.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Erasures for ErasureQueue {
    fn ask(&self, follower: &Follower, now: i64) {
        let mut waiting = self.waiting();
        if waiting.len() >= MOST_WAITING && !waiting.contains_key(follower) {
            drop(waiting);
            metrics::counter!("wxfaq_store_dropped_total", "store" => "sql", "item" => "erasure").increment(1);
            return;
        }
        waiting.insert(follower.clone(), now);
        drop(waiting);
        self.waiting.more.notify_one();
    }
}

fn left((follower, asked_at): (&Follower, &i64)) -> Erasure {
    Erasure {
        follower: follower.clone(),
        asked_at: *asked_at,
        by_hand: false,
    }
}

fn shown(row: &AnyRow) -> PersonalRow {
    let text = |name: &str| {
        let text = row.try_get::<Option<String>, _>(name);
        text.unwrap_or_else(|_| {
            row.try_get::<Option<i64>, _>(name)
                .ok()
                .flatten()
                .map(|n| n.to_string())
        })
    };
    let columns = row.columns().iter().map(Column::name);
    columns
        .filter_map(|name| Some((name.to_owned(), text(name)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sql::sqlite_url;

    /// A database with a table of notes.
    async fn with_notes(folder: &tempfile::TempDir) -> ErasureQueue {
        let url = sqlite_url(&folder.path().join("bank.db"));
        let database = Database::open(&url).await.unwrap();
        let create =
            "CREATE TABLE IF NOT EXISTS note (account TEXT NOT NULL, pseudonym TEXT NOT NULL, at BIGINT, text TEXT)";
        sqlx::query(create).execute(&database.pool).await.unwrap();
        let queue = ErasureQueue::new(database);
        ErasureQueue {
            tables: &[("note", "at")],
            ..queue
        }
    }

    async fn keep(queue: &ErasureQueue, follower: &Follower, text: &str) {
        let insert = "INSERT INTO note (account, pseudonym, at, text) VALUES (?, ?, 7, ?)";
        let query = sqlx::query(insert)
            .bind(follower.account.clone())
            .bind(follower.pseudonym.clone())
            .bind(text.to_owned());
        query.execute(&queue.database.pool).await.unwrap();
    }

    fn follower(name: &str) -> Follower {
        Follower {
            account: "demo".into(),
            pseudonym: name.into(),
        }
    }

    async fn ask(queue: &ErasureQueue, name: &str, now: i64) {
        queue.ask(&follower(name), now);
        queue.write_down().await.unwrap();
    }

    const fn done(followers: usize, rows: u64) -> WorkedOff {
        WorkedOff { followers, rows }
    }

    #[tokio::test]
    async fn every_personal_table_has_the_columns_and_is_emptied_of_the_follower() {
        let folder = tempfile::tempdir().unwrap();
        let queue = with_notes(&folder).await;
        for name in ["a", "a", "b"] {
            keep(&queue, &follower(name), "文字").await;
        }
        let shipped = ErasureQueue::new(queue.database.clone());
        assert!(shipped.rows_of(&follower("a")).await.unwrap().is_empty());
        assert_eq!(shipped.erase_now(&[follower("x")], 0).await.unwrap(), 0);
        assert_eq!(queue.rows_of(&follower("a")).await.unwrap()["note"].len(), 2);
        ask(&queue, "a", 100).await;
        assert_eq!(queue.work_off(100).await.unwrap(), done(2, 2));
        assert!(queue.rows_of(&follower("a")).await.unwrap().is_empty());
        let kept = queue.rows_of(&follower("b")).await.unwrap();
        assert_eq!(kept["note"][0]["at"], "7");
        assert_eq!(kept["note"][0]["text"], "文字");
    }

    #[tokio::test]
    async fn an_erasure_outlives_its_process_and_takes_what_comes_late() {
        let folder = tempfile::tempdir().unwrap();
        let queue = with_notes(&folder).await;
        ask(&queue, "a", 100).await;
        queue.database.close().await;
        let queue = with_notes(&folder).await;
        assert_eq!(queue.queued().await.unwrap()[0].asked_at, 100);
        assert_eq!(queue.work_off(110).await.unwrap(), done(1, 0));
        keep(&queue, &follower("a"), "on its way when the follower left").await;
        assert_eq!(queue.work_off(129).await.unwrap(), done(0, 0));
        assert_eq!(queue.work_off(130).await.unwrap(), done(1, 1));
        assert_eq!(queue.queued().await.unwrap(), []);
        ask(&queue, "a", 200).await;
        assert_eq!(queue.work_off(210).await.unwrap(), done(1, 0));
        ask(&queue, "a", 220).await;
        assert_eq!(queue.work_off(230).await.unwrap(), done(1, 0), "from the later time");
        assert_eq!(queue.work_off(249).await.unwrap(), done(0, 0));
        assert_eq!(queue.work_off(250).await.unwrap(), done(1, 0));
        assert_eq!(queue.queued().await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_crowd_that_leaves_while_the_database_is_locked_is_worked_off_in_batches() {
        const CROWD: usize = 4_000;
        let folder = tempfile::tempdir().unwrap();
        let queue = with_notes(&folder).await;
        let held = queue.database.begin_write().await.unwrap();
        for n in 0..CROWD {
            queue.ask(&follower(&n.to_string()), 100);
        }
        queue.write_down().await.unwrap_err();
        held.rollback().await.unwrap();
        keep(&queue, &follower("7"), "x").await;
        queue.write_down().await.unwrap();
        let mut all = done(0, 0);
        for batches in 0.. {
            let batch = queue.work_off(101).await.unwrap();
            if batch.followers == 0 {
                assert_eq!((batches, all), (CROWD / usize::from(BATCH), done(CROWD, 1)));
                break;
            }
            all = done(all.followers + batch.followers, all.rows + batch.rows);
        }
        // Whoever is new does not wait for those who are seen to for a second time.
        keep(&queue, &follower("new"), "x").await;
        ask(&queue, "new", 130).await;
        assert_eq!(queue.work_off(130).await.unwrap(), done(usize::from(BATCH), 1));
        assert!(queue.rows_of(&follower("new")).await.unwrap().is_empty());
        // Nor does whom an operator asks for.
        keep(&queue, &follower("now"), "x").await;
        assert_eq!(queue.erase_now(&[follower("now")], 130).await.unwrap(), 1);
        assert_eq!(
            queue.queued().await.unwrap()[0],
            Erasure {
                follower: follower("now"),
                asked_at: 130,
                by_hand: true
            }
        );
    }

    #[tokio::test]
    async fn what_is_erased_leaves_the_log_once_nobody_reads_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let queue = with_notes(&folder).await;
        let canary = "CanaryOfAFollower";
        keep(&queue, &follower("a"), canary).await;
        let is_kept = || {
            let files = std::fs::read_dir(folder.path())
                .unwrap()
                .map(|file| file.unwrap().path());
            files
                .map(|path| std::fs::read(path).unwrap())
                .any(|bytes| bytes.windows(canary.len()).any(|window| window == canary.as_bytes()))
        };
        let mut reading = queue.database.begin_read().await.unwrap();
        sqlx::query("SELECT * FROM note")
            .fetch_all(&mut *reading)
            .await
            .unwrap();
        assert_eq!(queue.erase_now(&[follower("a")], 100).await.unwrap(), 1);
        assert!(!queue.purge().await.unwrap());
        assert!(is_kept(), "the log is needed");
        reading.rollback().await.unwrap();
        assert!(queue.purge().await.unwrap());
        assert!(!is_kept());
    }

    #[tokio::test]
    async fn what_a_follower_says_after_coming_back_stays() {
        use crate::store::Log;
        use crate::store::feedback::{FeedbackRow, Word};
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&sqlite_url(&folder.path().join("bank.db")))
            .await
            .unwrap();
        let queue = ErasureQueue::new(database.clone());
        let row = |message: &str, given_at| FeedbackRow {
            follower: follower("a"),
            entry: "e".into(),
            message: message.into(),
            score: None,
            word: Word::Useful,
            given_at,
        };
        let rows = [row("before", 99), row("with it", 100), row("after", 101)];
        database.feedback().write(&rows).await.unwrap();
        ask(&queue, "a", 100).await;
        assert_eq!(queue.work_off(105).await.unwrap(), done(1, 2));
        let kept = queue.rows_of(&follower("a")).await.unwrap();
        assert_eq!(kept["feedback"][0]["message"], "after");
    }
}
