//! What was: the history of a thing or of the bank, and everything as it was at an earlier revision.
//!
//! [`Revisions`] only reads. Going back is one more change ([`Database::change`]) to what these say that was.

use super::history::{SELECT_HISTORY, signed};
use super::{Database, StoreError};
use crate::bank::history::{Recorded, Restoration, Thing, gap_at};
use sqlx::Row;
use std::collections::BTreeMap;

/// The history in one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Revisions {
    database: Database,
}

impl Revisions {
    pub(super) fn new(database: Database) -> Self {
        Self { database }
    }

    /// The last changes, of one thing or of everything, newest first, at most `limit`. Of [`Restoration::thing`] every restore,
    /// those of banks that went included.
    pub async fn last(&self, thing: Option<&Thing>, limit: u32) -> Result<Vec<Recorded>, StoreError> {
        let dialect = self.database.dialect;
        let mut transaction = self.database.begin_read().await?;
        let order = format!("ORDER BY revision DESC, subject, subject_id LIMIT {limit}");
        let query = match thing {
            None => sqlx::query(dialect.sql(&format!("{SELECT_HISTORY} {order}"))),
            Some(thing) if *thing == Restoration::thing() => {
                let select = format!("{SELECT_HISTORY} WHERE subject = ? {order}");
                sqlx::query(dialect.sql(&select)).bind(thing.subject.as_str())
            }
            Some(thing) => {
                let select = format!("{SELECT_HISTORY} WHERE subject = ? AND subject_id = ? {order}");
                let query = sqlx::query(dialect.sql(&select));
                query.bind(thing.subject.as_str()).bind(thing.id.clone())
            }
        };
        self.database.recorded(&mut transaction, query).await
    }

    /// As of [`gap_at`](crate::bank::history::gap_at); of a restore that no line tells of, as releases before them left it, by
    /// where the bank began anew.
    pub async fn gap_at(&self, revision: u64) -> Result<Option<(u64, u64)>, StoreError> {
        let restored = self.last(Some(&Restoration::thing()), u32::MAX).await?;
        let mut transaction = self.database.begin_read().await?;
        let since = self.database.bank_since(&mut transaction).await?;
        let is_told_of = restored.iter().any(|line| line.revision == since);
        if revision < since && !is_told_of {
            let select = "SELECT COALESCE(MAX(revision), 0) AS last FROM history WHERE revision < ?";
            let query = sqlx::query(self.database.dialect.sql(select)).bind(signed(since));
            let row = self.database.answer(query.fetch_one(&mut *transaction)).await?;
            let last: Result<i64, sqlx::Error> = row.try_get("last");
            let last = u64::try_from(last.map_err(|error| self.database.dialect.error(&error))?).unwrap_or(0);
            if last < revision {
                return Ok(Some((last, since)));
            }
        }
        Ok(gap_at(&restored, revision))
    }

    /// What the thing was at `revision`, as in files; `None`: it was not there.
    pub async fn at(&self, thing: &Thing, revision: u64) -> Result<Option<String>, StoreError> {
        let select = format!(
            "{SELECT_HISTORY} WHERE subject = ? AND subject_id = ? AND revision <= ? ORDER BY revision DESC LIMIT 1"
        );
        let mut transaction = self.database.begin_read().await?;
        let query = sqlx::query(self.database.dialect.sql(&select))
            .bind(thing.subject.as_str())
            .bind(thing.id.clone())
            .bind(signed(revision));
        let recorded = self.database.recorded(&mut transaction, query).await?;
        Ok(recorded.into_iter().next().and_then(|recorded| recorded.after))
    }

    /// The bank's revision now, and what everything that changed after `revision` was then; `None`: it was not there.
    /// What is not named is now as it was, but for [`Restoration::thing`], which is never named.
    pub async fn changed_after(&self, revision: u64) -> Result<(u64, BTreeMap<Thing, Option<String>>), StoreError> {
        let select = format!(
            "{SELECT_HISTORY} WHERE subject <> ? AND revision = (SELECT MIN(later.revision) FROM history later WHERE \
             later.subject = history.subject AND later.subject_id = history.subject_id AND later.revision > ?)"
        );
        let mut transaction = self.database.begin_read().await?;
        let current = self.database.bank_revision(&mut transaction).await?;
        let query = sqlx::query(self.database.dialect.sql(&select))
            .bind(Restoration::thing().subject.as_str())
            .bind(signed(revision));
        let recorded = self.database.recorded(&mut transaction, query).await?;
        let states = recorded.into_iter().map(|recorded| (recorded.thing, recorded.before));
        Ok((current, states.collect()))
    }
}
