//! What followers think of answers, in the database: written in batches, read as rates and as rows.

use super::{Database, StoreError};
use crate::store::feedback::{FeedbackRow, MAX_COMMENT_CHARS, Word};
use crate::store::{Log, log_dropped};
use async_trait::async_trait;
use sqlx::{Any, Row, Transaction};
use std::collections::BTreeMap;

/// Feedback on one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Feedback {
    database: Database,
}

/// How one entry's answer is thought of.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EntryFeedback {
    /// The entry's id.
    pub entry: String,
    /// Its question; `None`: it has left the bank.
    pub question: Option<String>,
    /// How often 有用.
    pub useful: u64,
    /// How often 没用.
    pub useless: u64,
    /// How many of them said what was wrong.
    pub comments: u64,
    /// Unix seconds of the last word.
    pub last_at: i64,
}

impl EntryFeedback {
    /// The share of 有用, in 0–1.
    pub fn rate(&self) -> f64 {
        self.useful as f64 / (self.useful + self.useless).max(1) as f64
    }
}

/// One stored word.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Given {
    /// The account's id.
    pub account: String,
    /// Whether the answer was of use.
    pub useful: bool,
    /// What was wrong; may be empty.
    pub comment: String,
    /// How sure the answer was, in 0–1; `None`: the follower chose the entry.
    pub score: Option<f64>,
    /// Unix seconds.
    pub given_at: i64,
}

const UPDATE_VERDICT: &str = "UPDATE feedback SET useful = ?, given_at = ? WHERE id = ?";
const UPDATE_COMMENT: &str = "UPDATE feedback SET comment = ?, given_at = ? WHERE id = ?";
const LAST: &str = "SELECT id FROM feedback WHERE account = ? AND pseudonym = ? AND entry_id = ? \
                    ORDER BY given_at DESC, id LIMIT 1";
const INSERT: &str = "INSERT INTO feedback (id, account, pseudonym, entry_id, message, score, useful, comment, given_at) \
                      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
/// Counted and not summed: sums have other types in other databases.
const COUNTS: &str = "SELECT feedback.entry_id, entry.question, feedback.useful, COUNT(*) AS given, \
                      COUNT(NULLIF(feedback.comment, '')) AS comments, MAX(feedback.given_at) AS last_at \
                      FROM feedback LEFT JOIN entry ON entry.id = feedback.entry_id";
const COUNTS_OF: &str = " GROUP BY feedback.entry_id, entry.question, feedback.useful";
const ROWS: &str = "SELECT account, useful, comment, score, given_at FROM feedback WHERE entry_id = ? \
                    ORDER BY given_at DESC, id LIMIT ?";

#[async_trait]
impl Log<FeedbackRow> for Feedback {
    /// Of one follower's words about one answer the last verdict and the last comment count, a comment being a verdict
    /// against it where there was none. Words about an unknown message count for the answer of that entry of which the
    /// follower spoke last.
    async fn write(&self, rows: &[FeedbackRow]) -> Result<(), StoreError> {
        let mut transaction = self.database.begin_write().await?;
        // Everybody writes in the same order, so that two instances wait for one another and not each for the other. Words of
        // one follower about one entry stay in theirs: one about an unknown message joins what was said last.
        let mut rows: Vec<&FeedbackRow> = rows.iter().collect();
        rows.sort_by(|a, b| (&a.follower, &a.entry).cmp(&(&b.follower, &b.entry)));
        for row in rows {
            self.write_one(&mut transaction, row).await?;
        }
        self.database.commit(transaction).await
    }

    fn dropped(&self, rows: usize) {
        log_dropped("feedback", rows);
    }
}

impl Feedback {
    pub(super) fn new(database: Database) -> Self {
        Self { database }
    }

    async fn write_one(
        &self,
        transaction: &mut Transaction<'static, Any>,
        row: &FeedbackRow,
    ) -> Result<(), StoreError> {
        let dialect = self.database.dialect;
        let id = match row.message.as_str() {
            "" => self.last_of(transaction, row).await?.unwrap_or_else(|| row.id()),
            _ => row.id(),
        };
        let comment = match &row.word {
            // PostgreSQL keeps no NUL, and a caller of the API may send one.
            Word::Comment(text) => text.chars().filter(|c| *c != '\0').take(MAX_COMMENT_CHARS).collect(),
            Word::Useful | Word::Useless => String::new(),
        };
        let useful = i64::from(row.word == Word::Useful);
        let update = match row.word {
            Word::Comment(_) => sqlx::query(dialect.sql(UPDATE_COMMENT)).bind(comment.clone()),
            Word::Useful | Word::Useless => sqlx::query(dialect.sql(UPDATE_VERDICT)).bind(useful),
        };
        let updated = update.bind(row.given_at).bind(id.clone()).execute(&mut **transaction);
        if self.database.answer(updated).await?.rows_affected() > 0 {
            return Ok(());
        }
        let insert = sqlx::query(dialect.sql(INSERT))
            .bind(id)
            .bind(row.follower.account.clone())
            .bind(row.follower.pseudonym.clone())
            .bind(row.entry.clone())
            .bind(row.message.clone())
            .bind(row.score.map(i64::from))
            .bind(useful)
            .bind(comment)
            .bind(row.given_at);
        self.database.answer(insert.execute(&mut **transaction)).await?;
        Ok(())
    }

    /// The follower's latest row about the entry.
    async fn last_of(
        &self,
        transaction: &mut Transaction<'static, Any>,
        row: &FeedbackRow,
    ) -> Result<Option<String>, StoreError> {
        let dialect = self.database.dialect;
        let query = sqlx::query(dialect.sql(LAST))
            .bind(row.follower.account.clone())
            .bind(row.follower.pseudonym.clone())
            .bind(row.entry.clone());
        let found = query.fetch_optional(&mut **transaction).await;
        let id = found.and_then(|row| row.map(|row| row.try_get("id")).transpose());
        id.map_err(|error| dialect.error(&error))
    }

    /// Entries with feedback: most 没用 first, then by id. `entry`: only that one.
    pub async fn by_entry(&self, entry: Option<&str>) -> Result<Vec<EntryFeedback>, StoreError> {
        let dialect = self.database.dialect;
        let condition = if entry.is_some() {
            " WHERE feedback.entry_id = ?"
        } else {
            ""
        };
        let statement = format!("{COUNTS}{condition}{COUNTS_OF}");
        let mut query = sqlx::query(dialect.sql(&statement));
        if let Some(entry) = entry {
            query = query.bind(entry.to_owned());
        }
        let mut transaction = self.database.begin_read().await?;
        let read = |error: sqlx::Error| dialect.error(&error);
        let mut entries = BTreeMap::new();
        for row in self.database.answer(query.fetch_all(&mut *transaction)).await? {
            let id: String = row.try_get("entry_id").map_err(read)?;
            let question = row.try_get("question").map_err(read)?;
            let found = entries.entry(id.clone()).or_insert_with(|| EntryFeedback {
                entry: id,
                question,
                useful: 0,
                useless: 0,
                comments: 0,
                last_at: 0,
            });
            let number = |column| row.try_get::<i64, _>(column).map_err(read);
            let given = number("given")?.unsigned_abs();
            match number("useful")? {
                0 => found.useless += given,
                _ => found.useful += given,
            }
            found.comments += number("comments")?.unsigned_abs();
            found.last_at = found.last_at.max(number("last_at")?);
        }
        let mut entries: Vec<EntryFeedback> = entries.into_values().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.useless));
        Ok(entries)
    }

    /// What was said about one entry's answer, latest first, at most `limit` words.
    pub async fn of_entry(&self, entry: &str, limit: u32) -> Result<Vec<Given>, StoreError> {
        let dialect = self.database.dialect;
        let read = |error: sqlx::Error| dialect.error(&error);
        let mut transaction = self.database.begin_read().await?;
        let query = sqlx::query(dialect.sql(ROWS))
            .bind(entry.to_owned())
            .bind(i64::from(limit));
        let rows = self.database.answer(query.fetch_all(&mut *transaction)).await?;
        let given = rows.iter().map(|row| {
            Ok(Given {
                account: row.try_get("account")?,
                useful: row.try_get::<i64, _>("useful")? != 0,
                comment: row.try_get("comment")?,
                score: row
                    .try_get::<Option<i64>, _>("score")?
                    .map(|steps| steps as f64 / 10_000.0),
                given_at: row.try_get("given_at")?,
            })
        });
        given.collect::<Result<_, _>>().map_err(read)
    }
}
