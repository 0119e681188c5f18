//! What was asked, in the database: rows that go when they are old, and counts by day that stay.

use super::history::{batches, tuples};
use super::{Database, StoreError};
use crate::store::query_log::{MAX_TEXT_CHARS, QueryRow};
use crate::store::{Log, log_dropped};
use async_trait::async_trait;
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};
use std::collections::BTreeMap;

/// The log on one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct QueryLog {
    database: Database,
    /// Whether questions are kept word by word, or only counted.
    keeps_rows: bool,
}

/// Which questions to look at.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// From this moment on; Unix seconds.
    pub since: i64,
    /// The account's id; `None`: all.
    pub account: Option<String>,
    /// Most rows.
    pub limit: u32,
}

/// A text that was asked, perhaps more than once.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AskedText {
    #[expect(missing_docs, reason = "the name says it")]
    pub text: String,
    /// How often.
    pub count: u64,
    /// Unix seconds of the last time.
    pub last_at: i64,
}

/// One question, as it is kept.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Kept {
    /// The account's id.
    pub account: String,
    /// Where it came from.
    pub channel: String,
    /// As asked.
    pub text: String,
    /// What happened.
    pub decision: String,
    /// The entry that was answered with.
    pub entry: Option<String>,
    /// How sure the answer was, in 0–1.
    pub score: Option<f64>,
    /// From the message's arrival to its reply, µs.
    pub took_us: u64,
    /// Unix seconds.
    pub asked_at: i64,
}

/// An entry and how often it answered.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct EntryCount {
    /// The entry's id.
    pub entry: String,
    /// Its question; `None`: it has left the bank.
    pub question: Option<String>,
    #[expect(missing_docs, reason = "the name says it")]
    pub answers: u64,
}

/// What became of the questions of one day.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DayCount {
    /// In China, since 1970-01-01.
    pub day: i64,
    /// Where they came from.
    pub channel: String,
    /// What happened.
    pub decision: String,
    /// How many.
    pub queries: u64,
    /// Mean time to the reply, µs.
    pub mean_us: u64,
}

/// A key of `query_day` after the day: account, channel, decision.
type Kind<'a> = (&'a str, &'static str, &'static str);

const INSERT: &str = "INSERT INTO query_log (id, account, channel, pseudonym, question, decision, entry_id, score, \
                      took_us, asked_at) VALUES ";
/// Rows that are deleted at once: nobody waits long for the lock.
const SWEPT: i64 = 2_000;

#[async_trait]
impl Log<QueryRow> for QueryLog {
    /// All or nothing; what was written before, as far as it is known, is not written again.
    async fn write(&self, rows: &[QueryRow]) -> Result<(), StoreError> {
        let Some(first) = rows.first() else { return Ok(()) };
        let mut transaction = self.database.begin_write().await?;
        if self.is_written(&mut transaction, &first.id).await? {
            return Ok(());
        }
        if self.keeps_rows {
            self.keep(&mut transaction, rows).await?;
        }
        self.count(&mut transaction, rows).await?;
        self.database.commit(transaction).await
    }

    fn dropped(&self, rows: usize) {
        log_dropped("query_log", rows);
    }
}

impl QueryLog {
    pub(super) fn new(database: Database, keeps_rows: bool) -> Self {
        Self { database, keeps_rows }
    }

    /// Whether the batch that begins with this row was committed and we were not told.
    async fn is_written(&self, transaction: &mut Transaction<'static, Any>, id: &str) -> Result<bool, StoreError> {
        let select = self.database.dialect.sql("SELECT id FROM query_log WHERE id = ?");
        let query = sqlx::query(select).bind(id.to_owned());
        let found = self.database.answer(query.fetch_optional(&mut **transaction)).await?;
        Ok(found.is_some())
    }

    async fn keep(&self, transaction: &mut Transaction<'static, Any>, rows: &[QueryRow]) -> Result<(), StoreError> {
        for batch in batches(rows.iter().map(|row| row.text.len())) {
            let batch = &rows[batch];
            let insert = self
                .database
                .dialect
                .sql(&format!("{INSERT}{}", tuples(batch.len(), 10)));
            let query = batch.iter().fold(sqlx::query(insert), |query, row| {
                // PostgreSQL keeps no NUL.
                let text: String = row.text.chars().filter(|c| *c != '\0').take(MAX_TEXT_CHARS).collect();
                query
                    .bind(row.id.clone())
                    .bind(row.follower.account.clone())
                    .bind(row.channel.as_str())
                    .bind(row.follower.pseudonym.clone())
                    .bind(text)
                    .bind(row.decision)
                    .bind(row.entry.clone())
                    .bind(row.score.map(i64::from))
                    .bind(i64::try_from(row.took_us).unwrap_or(i64::MAX))
                    .bind(row.asked_at)
            });
            self.database.answer(query.execute(&mut **transaction)).await?;
        }
        Ok(())
    }

    /// In order of key, so that two instances wait for one another and not each for the other.
    async fn count(&self, transaction: &mut Transaction<'static, Any>, rows: &[QueryRow]) -> Result<(), StoreError> {
        let mut days: BTreeMap<(i64, Kind<'_>), (i64, i64)> = BTreeMap::new();
        let mut entries: BTreeMap<(i64, &str, &str), i64> = BTreeMap::new();
        for row in rows {
            let kind = (row.follower.account.as_str(), row.channel.as_str(), row.decision);
            let (queries, took) = days.entry((row.day(), kind)).or_default();
            *queries += 1;
            *took = took.saturating_add(i64::try_from(row.took_us).unwrap_or(i64::MAX));
            if let Some(entry) = &row.entry {
                *entries.entry((row.day(), &row.follower.account, entry)).or_default() += 1;
            }
        }
        for ((day, (account, channel, decision)), (queries, took)) in days {
            self.add(
                transaction,
                "UPDATE query_day SET queries = queries + ?, took_us = took_us + ? \
                 WHERE day = ? AND account = ? AND channel = ? AND decision = ?",
                "INSERT INTO query_day (queries, took_us, day, account, channel, decision) VALUES (?, ?, ?, ?, ?, ?)",
                &[queries, took, day],
                &[account, channel, decision],
            )
            .await?;
        }
        for ((day, account, entry), answers) in entries {
            self.add(
                transaction,
                "UPDATE entry_day SET answers = answers + ? WHERE day = ? AND account = ? AND entry_id = ?",
                "INSERT INTO entry_day (answers, day, account, entry_id) VALUES (?, ?, ?, ?)",
                &[answers, day],
                &[account, entry],
            )
            .await?;
        }
        Ok(())
    }

    /// Adds to a row of counts, or makes it: `numbers` and `texts` in the order of both statements.
    async fn add(
        &self,
        transaction: &mut Transaction<'static, Any>,
        update: &str,
        insert: &str,
        numbers: &[i64],
        texts: &[&str],
    ) -> Result<(), StoreError> {
        for statement in [update, insert] {
            let query = sqlx::query(self.database.dialect.sql(statement));
            let query = numbers.iter().fold(query, |query, number| query.bind(*number));
            let query = texts.iter().fold(query, |query, text| query.bind((*text).to_owned()));
            let done = self.database.answer(query.execute(&mut **transaction)).await?;
            if done.rows_affected() > 0 {
                break;
            }
        }
        Ok(())
    }

    /// Deletes the rows asked before a moment (Unix seconds), and what followers wrote about answers before it; returns
    /// how many. The counts stay.
    pub async fn sweep(&self, before: i64) -> Result<u64, StoreError> {
        let mut swept = 0;
        loop {
            // MySQL deletes from no table that the same statement selects from, unless by way of another.
            let delete = "DELETE FROM query_log WHERE id IN (SELECT id FROM (SELECT id FROM query_log \
                          WHERE asked_at < ? ORDER BY asked_at LIMIT ?) AS old)";
            let query = sqlx::query(self.database.dialect.sql(delete)).bind(before).bind(SWEPT);
            let mut transaction = self.database.begin_write().await?;
            let done = self.database.answer(query.execute(&mut *transaction)).await?;
            self.database.commit(transaction).await?;
            swept += done.rows_affected();
            if done.rows_affected() < SWEPT.unsigned_abs() {
                break;
            }
        }
        let blank = "UPDATE feedback SET comment = '' WHERE comment <> '' AND given_at < ?";
        let mut transaction = self.database.begin_write().await?;
        let query = sqlx::query(self.database.dialect.sql(blank)).bind(before);
        let done = self.database.answer(query.execute(&mut *transaction)).await?;
        self.database.commit(transaction).await?;
        Ok(swept + done.rows_affected())
    }

    /// What the bank had no answer to, most often asked first.
    pub async fn unanswered(&self, asked: &Asked) -> Result<Vec<AskedText>, StoreError> {
        let select = "SELECT question, COUNT(*) AS times, MAX(asked_at) AS last_at FROM query_log \
                      WHERE decision = 'none' AND asked_at >= ?";
        let order = " GROUP BY question ORDER BY times DESC, last_at DESC, question LIMIT ?";
        self.read(select, asked, asked.since, order, |row| {
            Ok(AskedText {
                text: row.try_get("question")?,
                count: row.try_get::<i64, _>("times")?.unsigned_abs(),
                last_at: row.try_get("last_at")?,
            })
        })
        .await
    }

    /// The latest questions, latest first.
    pub async fn recent(&self, asked: &Asked) -> Result<Vec<Kept>, StoreError> {
        let select = "SELECT account, channel, question, decision, entry_id, score, took_us, asked_at FROM query_log \
                      WHERE asked_at >= ?";
        let order = " ORDER BY asked_at DESC, id LIMIT ?";
        self.read(select, asked, asked.since, order, |row| {
            Ok(Kept {
                account: row.try_get("account")?,
                channel: row.try_get("channel")?,
                text: row.try_get("question")?,
                decision: row.try_get("decision")?,
                entry: row.try_get("entry_id")?,
                score: row
                    .try_get::<Option<i64>, _>("score")?
                    .map(|steps| steps as f64 / 10_000.0),
                took_us: row.try_get::<i64, _>("took_us")?.unsigned_abs(),
                asked_at: row.try_get("asked_at")?,
            })
        })
        .await
    }

    /// Which entries answered most, most first.
    pub async fn hot(&self, asked: &Asked) -> Result<Vec<EntryCount>, StoreError> {
        let dialect = self.database.dialect;
        let sum = dialect.sum("counts.answers");
        let select = format!(
            "SELECT counts.entry_id, entry.question, {sum} AS answers FROM entry_day AS counts \
             LEFT JOIN entry ON entry.id = counts.entry_id WHERE counts.day >= ?"
        );
        let order = " GROUP BY counts.entry_id, entry.question ORDER BY answers DESC, counts.entry_id LIMIT ?";
        let since = crate::store::query_log::day_of(asked.since);
        self.read(&select, asked, since, order, |row| {
            Ok(EntryCount {
                entry: row.try_get("entry_id")?,
                question: row.try_get("question")?,
                answers: row.try_get::<i64, _>("answers")?.unsigned_abs(),
            })
        })
        .await
    }

    /// Published entries that have not answered since, by id.
    pub async fn unused(&self, since: i64, limit: u32) -> Result<Vec<EntryCount>, StoreError> {
        let dialect = self.database.dialect;
        let select = "SELECT entry.id, entry.question FROM entry WHERE entry.state = 'published' AND NOT EXISTS \
                      (SELECT 1 FROM entry_day WHERE entry_day.entry_id = entry.id AND entry_day.day >= ?) \
                      ORDER BY entry.id LIMIT ?";
        let query = sqlx::query(dialect.sql(select))
            .bind(crate::store::query_log::day_of(since))
            .bind(i64::from(limit));
        let rows = self.database.answer(query.fetch_all(&self.database.pool)).await?;
        let entries = rows.iter().map(|row| {
            Ok(EntryCount {
                entry: row.try_get("id")?,
                question: Some(row.try_get("question")?),
                answers: 0,
            })
        });
        entries
            .collect::<Result<_, sqlx::Error>>()
            .map_err(|error| dialect.error(&error))
    }

    /// What became of the questions, day by day, the latest first.
    pub async fn daily(&self, asked: &Asked) -> Result<Vec<DayCount>, StoreError> {
        let dialect = self.database.dialect;
        let (queries, took) = (dialect.sum("queries"), dialect.sum("took_us"));
        let select =
            format!("SELECT day, channel, decision, {queries} AS asked, {took} AS took FROM query_day WHERE day >= ?");
        let order = " GROUP BY day, channel, decision ORDER BY day DESC, channel, decision LIMIT ?";
        let since = crate::store::query_log::day_of(asked.since);
        self.read(&select, asked, since, order, |row| {
            let queries = row.try_get::<i64, _>("asked")?.unsigned_abs();
            Ok(DayCount {
                day: row.try_get("day")?,
                channel: row.try_get("channel")?,
                decision: row.try_get("decision")?,
                queries,
                mean_us: row.try_get::<i64, _>("took")?.unsigned_abs() / queries.max(1),
            })
        })
        .await
    }

    /// Runs `select` with `since` for its only parameter, for the account if one is named, and then `order` with the limit.
    async fn read<T>(
        &self,
        select: &str,
        asked: &Asked,
        since: i64,
        order: &str,
        of: impl Fn(&AnyRow) -> Result<T, sqlx::Error>,
    ) -> Result<Vec<T>, StoreError> {
        let dialect = self.database.dialect;
        let account = if asked.account.is_some() {
            " AND account = ?"
        } else {
            ""
        };
        let statement = format!("{select}{account}{order}");
        let mut query = sqlx::query(dialect.sql(&statement)).bind(since);
        if let Some(account) = &asked.account {
            query = query.bind(account.clone());
        }
        let query = query.bind(i64::from(asked.limit));
        let rows = self.database.answer(query.fetch_all(&self.database.pool)).await?;
        let read: Result<Vec<T>, sqlx::Error> = rows.iter().map(of).collect();
        read.map_err(|error| dialect.error(&error))
    }
}
