//! What a database holds that a backup put into it must not undo: how far its bank's revision has come, which API keys are
//! revoked, whose rows are about to go, and when the very same backup was put into it before.
//!
//! [`Database::carried`] reads it before the tables are emptied, [`Database::carry_over`] puts it back once they are filled, and
//! [`Database::record_restore`] writes down what happened.

use super::backup::{Contents, Restorer};
use super::erasures::Erasure;
use super::history::{Author, Edit, Record, SELECT_HISTORY, signed};
use super::{Database, StoreError};
use crate::bank::history::{Recorded, Restoration, Subject};
use crate::store::api_key::random_id;
use crate::store::conversations::Follower;
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};
use std::collections::HashMap;

/// As it was before the restore.
pub(super) struct Carried {
    /// The bank's.
    pub revision: u64,
    revoked: Vec<Revoked>,
    erasures: Vec<Erasure>,
    /// Every earlier restore that the history has.
    restored: Vec<Recorded>,
}

/// A whole row of `api_key`: a backup put in later may have the key though this one has not.
struct Revoked {
    id: String,
    name: String,
    key_hash: String,
    scopes: String,
    per_minute: i64,
    created_at: i64,
    created_by: String,
    at: i64,
    by: Option<String>,
}

impl Database {
    /// What is to outlive the restore.
    pub(super) async fn carried(&self, transaction: &mut Transaction<'static, Any>) -> Result<Carried, StoreError> {
        let select = "SELECT id, name, key_hash, scopes, per_minute, created_at, created_by, revoked_at, revoked_by \
                      FROM api_key WHERE revoked_at IS NOT NULL";
        let query = sqlx::query(self.dialect.sql(select));
        let rows = self.answer(query.fetch_all(&mut **transaction)).await?;
        let revoked = |row: &AnyRow| {
            Ok(Revoked {
                id: row.try_get("id")?,
                name: row.try_get("name")?,
                key_hash: row.try_get("key_hash")?,
                scopes: row.try_get("scopes")?,
                per_minute: row.try_get("per_minute")?,
                created_at: row.try_get("created_at")?,
                created_by: row.try_get("created_by")?,
                at: row.try_get("revoked_at")?,
                by: row.try_get("revoked_by")?,
            })
        };
        let revoked = rows.iter().map(revoked).collect::<Result<_, sqlx::Error>>();
        Ok(Carried {
            revision: self.bank_revision(transaction).await?,
            revoked: revoked.map_err(|error| self.dialect.error(&error))?,
            erasures: self.erasures().all_in(transaction).await?,
            restored: self.restores(transaction).await?,
        })
    }

    /// Every restore that the history has, in no order.
    async fn restores(&self, transaction: &mut Transaction<'static, Any>) -> Result<Vec<Recorded>, StoreError> {
        let select = format!("{SELECT_HISTORY} WHERE subject = ?");
        let query = sqlx::query(self.dialect.sql(&select)).bind(Subject::Bank.as_str());
        self.recorded(transaction, query).await
    }

    /// Puts it into what was restored, which becomes another bank, at a revision that neither the backup's nor this
    /// database's has come to: whoever was told one of those has seen something else. Returns that revision.
    pub(super) async fn carry_over(
        &self,
        transaction: &mut Transaction<'static, Any>,
        carried: &Carried,
        contents: &Contents,
    ) -> Result<u64, StoreError> {
        let revision = contents.revision.max(carried.revision) + 1;
        let update = sqlx::query(self.dialect.sql("UPDATE bank_revision SET revision = ?")).bind(signed(revision));
        self.answer(update.execute(&mut **transaction)).await?;
        let id = random_id().map_err(|error| self.dialect.unavailable(error))?;
        let update = sqlx::query(self.dialect.sql("UPDATE bank_id SET id = ?, since = ?"));
        let update = update.bind(id).bind(signed(revision));
        self.answer(update.execute(&mut **transaction)).await?;
        for key in &carried.revoked {
            self.put_back(transaction, key).await?;
        }
        let erasures = self.erasures();
        let both = later_of(&carried.erasures, &erasures.all_in(transaction).await?);
        erasures.note_in(transaction, &both).await?;
        Ok(revision)
    }

    /// Writes into the history that the bank has become `contents` at `revision`. What it says of earlier restores stays,
    /// as [`Restoration::left`] has it.
    pub(super) async fn record_restore(
        &self,
        transaction: &mut Transaction<'static, Any>,
        carried: &Carried,
        contents: &Contents,
        (by, revision): (Restorer<'_>, u64),
    ) -> Result<(), StoreError> {
        let restoration = Restoration {
            file: by.file.to_owned(),
            sha256: contents.sha256.clone(),
            taken_at: contents.taken_at,
            from: contents.revision,
            replaced: carried.revision,
        };
        let now = Recorded {
            revision,
            thing: Restoration::thing(),
            before: None,
            after: serde_json::to_string(&restoration).ok(),
            changed_at: by.now,
            changed_by: by.who.to_owned(),
            source: "restore".to_owned(),
        };
        let there = self.restores(transaction).await?;
        let left = Restoration::left(&carried.restored, &there, &contents.sha256);
        for line in left.iter().chain([&now]) {
            let by = Author {
                who: line.changed_by.clone(),
                source: line.source.clone(),
            };
            let edit = Edit {
                by: &by,
                now: line.changed_at,
                revision: line.revision,
            };
            let record = Record {
                id: line.thing.id.clone(),
                before: None,
                after: line.after.clone(),
            };
            self.record(transaction, line.thing.subject, &[record], edit).await?;
        }
        Ok(())
    }

    async fn put_back(&self, transaction: &mut Transaction<'static, Any>, key: &Revoked) -> Result<(), StoreError> {
        let delete = sqlx::query(self.dialect.sql("DELETE FROM api_key WHERE id = ?")).bind(key.id.clone());
        self.answer(delete.execute(&mut **transaction)).await?;
        let insert = "INSERT INTO api_key (id, name, key_hash, scopes, per_minute, created_at, created_by, revoked_at, \
                      revoked_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let insert = sqlx::query(self.dialect.sql(insert))
            .bind(key.id.clone())
            .bind(key.name.clone())
            .bind(key.key_hash.clone())
            .bind(key.scopes.clone())
            .bind(key.per_minute)
            .bind(key.created_at)
            .bind(key.created_by.clone())
            .bind(key.at)
            .bind(key.by.clone());
        self.answer(insert.execute(&mut **transaction)).await?;
        Ok(())
    }
}

/// What is to go of those in `own`: as late as either queue has it, by hand if either says so.
fn later_of(own: &[Erasure], restored: &[Erasure]) -> Vec<Erasure> {
    let restored: HashMap<&Follower, &Erasure> = restored.iter().map(|erasure| (&erasure.follower, erasure)).collect();
    let joined = |erasure: &Erasure| match restored.get(&erasure.follower) {
        Some(other) => Erasure {
            asked_at: erasure.asked_at.max(other.asked_at),
            by_hand: erasure.by_hand || other.by_hand,
            ..erasure.clone()
        },
        None => erasure.clone(),
    };
    own.iter().map(joined).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_erasure_in_both_queues_takes_what_either_would_take() {
        let erasure = |pseudonym: &str, asked_at, by_hand| Erasure {
            follower: Follower {
                account: "a".to_owned(),
                pseudonym: pseudonym.to_owned(),
            },
            asked_at,
            by_hand,
        };
        let own = [erasure("p", 500, true), erasure("q", 7, false), erasure("r", 9, false)];
        let restored = [
            erasure("q", 3, false),
            erasure("p", 1_000, false),
            erasure("s", 1, true),
        ];
        let expected = [
            erasure("p", 1_000, true),
            erasure("q", 7, false),
            erasure("r", 9, false),
        ];
        assert_eq!(later_of(&own, &restored), expected);
    }
}
