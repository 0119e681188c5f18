//! Erasing what is kept of a follower: a queue in the database, and the tables it is for.
//!
//! [`ErasureQueue::work_off`] is run by a worker of the daemon. A table that keeps rows under pseudonyms is named in
//! [`PERSONAL_TABLES`], and has the columns `account` and `pseudonym` as `store::conversations::Follower` has them. What came
//! after an erasure was asked for stays: the follower may be back.

use super::{Database, StoreError};
use crate::store::conversations::Follower;
use crate::store::erasures::Erasures;
use async_trait::async_trait;
use sqlx::any::AnyRow;
use sqlx::{Any, Column, Row, Transaction};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Every table with rows under pseudonyms, and its column that says since when, in Unix seconds.
pub const PERSONAL_TABLES: &[(&str, &str)] = &[("feedback", "given_at"), ("query_log", "asked_at")];

/// For so many seconds after it was asked an erasure is repeated: rows may still be on their way in other queues.
const REPEATED: i64 = 30;
/// Erasures that wait in this process while the database cannot be written.
const MOST_WAITING: usize = 10_000;
/// Worked off in one go.
const BATCH: i64 = 500;

/// The queue on one database. Clones share what waits in this process.
#[derive(Debug, Clone)]
pub struct ErasureQueue {
    database: Database,
    tables: &'static [(&'static str, &'static str)],
    waiting: Arc<Mutex<VecDeque<(Follower, i64)>>>,
}

/// An erasure that was worked off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    #[expect(missing_docs, reason = "the type says it")]
    pub follower: Follower,
    /// Unix seconds.
    pub asked_at: i64,
    /// An operator asked; the follower has not left.
    pub by_hand: bool,
    /// Rows that went this time.
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

    /// Erases what was asked for, oldest first, each follower in a transaction of its own.
    ///
    /// # Errors
    /// The database cannot be read or written; what was done before stays done.
    pub async fn work_off(&self, now: i64) -> Result<Vec<Erased>, StoreError> {
        self.note_waiting().await?;
        let dialect = self.database.dialect;
        let select = "SELECT account, pseudonym, asked_at, by_hand FROM erasure \
                      ORDER BY asked_at, account, pseudonym LIMIT ?";
        let query = sqlx::query(dialect.sql(select)).bind(BATCH);
        let rows = self.database.answer(query.fetch_all(&self.database.pool)).await?;
        let mut erased = Vec::new();
        for row in &rows {
            let read = |error: sqlx::Error| dialect.error(&error);
            let follower = Follower {
                account: row.try_get("account").map_err(read)?,
                pseudonym: row.try_get("pseudonym").map_err(read)?,
            };
            let asked_at = row.try_get("asked_at").map_err(read)?;
            let by_hand = row.try_get::<i64, _>("by_hand").map_err(read)? != 0;
            let rows = self.erase(&follower, asked_at, now).await?;
            erased.push(Erased {
                follower,
                asked_at,
                by_hand,
                rows,
            });
        }
        Ok(erased)
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

    async fn erase(&self, follower: &Follower, asked_at: i64, now: i64) -> Result<u64, StoreError> {
        let mut transaction = self.database.begin_write().await?;
        let mut rows = 0;
        for (table, since) in self.tables {
            let delete = format!("DELETE FROM {table} WHERE account = ? AND pseudonym = ? AND {since} <= ?");
            rows += self.delete(&mut transaction, &delete, follower, Some(asked_at)).await?;
        }
        if now >= asked_at + REPEATED {
            // Asked again meanwhile, it stays.
            let delete = "DELETE FROM erasure WHERE account = ? AND pseudonym = ? AND asked_at = ?";
            self.delete(&mut transaction, delete, follower, Some(asked_at)).await?;
        }
        self.database.commit(transaction).await?;
        Ok(rows)
    }

    async fn delete(
        &self,
        transaction: &mut Transaction<'static, Any>,
        statement: &str,
        follower: &Follower,
        asked_at: Option<i64>,
    ) -> Result<u64, StoreError> {
        let dialect = self.database.dialect;
        let mut query = sqlx::query(dialect.sql(statement))
            .bind(follower.account.clone())
            .bind(follower.pseudonym.clone());
        if let Some(asked_at) = asked_at {
            query = query.bind(asked_at);
        }
        let deleted = self.database.answer(query.execute(&mut **transaction)).await?;
        Ok(deleted.rows_affected())
    }

    /// As [`Erasures::ask`], by an operator: daemons forget the follower's conversation, too. Nothing waits in this process.
    ///
    /// # Errors
    /// The database cannot be written; nothing is asked.
    pub async fn ask_by_hand(&self, follower: &Follower, now: i64) -> Result<(), StoreError> {
        self.note(follower, now, true).await
    }

    async fn note(&self, follower: &Follower, asked_at: i64, by_hand: bool) -> Result<(), StoreError> {
        let dialect = self.database.dialect;
        let mut transaction = self.database.begin_write().await?;
        let delete = "DELETE FROM erasure WHERE account = ? AND pseudonym = ?";
        self.delete(&mut transaction, delete, follower, None).await?;
        let insert = "INSERT INTO erasure (account, pseudonym, asked_at, by_hand) VALUES (?, ?, ?, ?)";
        let query = sqlx::query(dialect.sql(insert))
            .bind(follower.account.clone())
            .bind(follower.pseudonym.clone())
            .bind(asked_at)
            .bind(i64::from(by_hand));
        self.database.answer(query.execute(&mut *transaction)).await?;
        self.database.commit(transaction).await
    }

    /// Writes down what could not be written when it was asked.
    async fn note_waiting(&self) -> Result<(), StoreError> {
        loop {
            let Some((follower, asked_at)) = self.waiting().front().cloned() else {
                return Ok(());
            };
            self.note(&follower, asked_at, false).await?;
            self.waiting().pop_front();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(Follower, i64)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Erasures for ErasureQueue {
    async fn ask(&self, follower: &Follower, now: i64) -> Result<(), StoreError> {
        let Err(error) = self.note(follower, now, false).await else {
            return Ok(());
        };
        let mut waiting = self.waiting();
        if waiting.len() < MOST_WAITING {
            waiting.push_back((follower.clone(), now));
        } else {
            metrics::counter!("wxfaq_store_dropped_total", "store" => "sql", "item" => "erasure").increment(1);
        }
        Err(error)
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

    #[tokio::test]
    async fn every_personal_table_has_the_columns_and_is_emptied_of_the_follower() {
        let folder = tempfile::tempdir().unwrap();
        let queue = with_notes(&folder).await;
        for name in ["a", "a", "b"] {
            keep(&queue, &follower(name), "文字").await;
        }
        let shipped = ErasureQueue::new(queue.database.clone());
        assert!(shipped.rows_of(&follower("a")).await.unwrap().is_empty());
        shipped.erase(&follower("a"), 0, 0).await.unwrap();
        assert_eq!(queue.rows_of(&follower("a")).await.unwrap()["note"].len(), 2);
        queue.ask(&follower("a"), 100).await.unwrap();
        let erased = queue.work_off(100).await.unwrap();
        assert_eq!((erased.len(), erased[0].rows), (1, 2));
        assert!(queue.rows_of(&follower("a")).await.unwrap().is_empty());
        let kept = queue.rows_of(&follower("b")).await.unwrap();
        assert_eq!(kept["note"][0]["at"], "7");
        assert_eq!(kept["note"][0]["text"], "文字");
    }

    #[tokio::test]
    async fn an_erasure_outlives_its_process_and_takes_what_comes_late() {
        let folder = tempfile::tempdir().unwrap();
        let queue = with_notes(&folder).await;
        queue.ask(&follower("a"), 100).await.unwrap();
        queue.database.close().await;
        let queue = with_notes(&folder).await;
        assert_eq!(queue.work_off(110).await.unwrap()[0].asked_at, 100);
        keep(&queue, &follower("a"), "on its way when the follower left").await;
        assert_eq!(queue.work_off(130).await.unwrap()[0].rows, 1);
        assert_eq!(queue.work_off(131).await.unwrap(), []);
        queue.ask(&follower("a"), 200).await.unwrap();
        queue.ask(&follower("a"), 220).await.unwrap();
        assert_eq!(queue.work_off(230).await.unwrap().len(), 1, "from the later time");
        assert_eq!(queue.work_off(250).await.unwrap().len(), 1);
        assert_eq!(queue.work_off(251).await.unwrap(), []);
    }

    #[tokio::test]
    async fn what_cannot_be_written_down_is_once_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let queue = with_notes(&folder).await;
        let held = queue.database.begin_write().await.unwrap();
        queue.ask(&follower("a"), 100).await.unwrap_err();
        assert!(queue.work_off(100).await.is_err());
        held.rollback().await.unwrap();
        assert_eq!(queue.work_off(100).await.unwrap().len(), 1);
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
        queue.ask(&follower("a"), 100).await.unwrap();
        assert_eq!(queue.work_off(105).await.unwrap()[0].rows, 2);
        let kept = queue.rows_of(&follower("a")).await.unwrap();
        assert_eq!(kept["feedback"][0]["message"], "after");
    }
}
