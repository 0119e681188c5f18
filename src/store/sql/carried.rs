//! What a database holds that a backup put into it must not undo: how far its bank's revision has come, which API keys are
//! revoked, and whose rows are about to go.
//!
//! [`Database::carried`] reads it before the tables are emptied, [`Database::carry_over`] puts it back once they are filled.

use super::erasures::Erasure;
use super::history::signed;
use super::{Database, StoreError};
use crate::store::api_key::random_id;
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};

/// As it was before the restore.
pub(super) struct Carried {
    /// The bank's.
    pub revision: u64,
    revoked: Vec<Revoked>,
    erasures: Vec<Erasure>,
}

struct Revoked {
    id: String,
    at: i64,
    by: Option<String>,
}

impl Database {
    /// What is to outlive the restore.
    pub(super) async fn carried(&self, transaction: &mut Transaction<'static, Any>) -> Result<Carried, StoreError> {
        let select = "SELECT id, revoked_at, revoked_by FROM api_key WHERE revoked_at IS NOT NULL";
        let query = sqlx::query(self.dialect.sql(select));
        let rows = self.answer(query.fetch_all(&mut **transaction)).await?;
        let revoked = |row: &AnyRow| {
            Ok(Revoked {
                id: row.try_get("id")?,
                at: row.try_get("revoked_at")?,
                by: row.try_get("revoked_by")?,
            })
        };
        let revoked = rows.iter().map(revoked).collect::<Result<_, sqlx::Error>>();
        Ok(Carried {
            revision: self.bank_revision(transaction).await?,
            revoked: revoked.map_err(|error| self.dialect.error(&error))?,
            erasures: self.erasures().all_in(transaction).await?,
        })
    }

    /// Puts it into what was restored, which becomes another bank, at a revision that neither the backup's nor this
    /// database's has come to: whoever was told one of those has seen something else. Returns that revision.
    pub(super) async fn carry_over(
        &self,
        transaction: &mut Transaction<'static, Any>,
        carried: &Carried,
    ) -> Result<u64, StoreError> {
        let revision = self.bank_revision(transaction).await?.max(carried.revision) + 1;
        let update = sqlx::query(self.dialect.sql("UPDATE bank_revision SET revision = ?")).bind(signed(revision));
        self.answer(update.execute(&mut **transaction)).await?;
        let id = random_id().map_err(|error| self.dialect.unavailable(error))?;
        let update = sqlx::query(self.dialect.sql("UPDATE bank_id SET id = ?, since = ?"));
        let update = update.bind(id).bind(signed(revision));
        self.answer(update.execute(&mut **transaction)).await?;
        for Revoked { id, at, by } in &carried.revoked {
            let update = "UPDATE api_key SET revoked_at = ?, revoked_by = ? WHERE id = ? AND revoked_at IS NULL";
            let update = sqlx::query(self.dialect.sql(update));
            let update = update.bind(*at).bind(by.clone()).bind(id.clone());
            self.answer(update.execute(&mut **transaction)).await?;
        }
        self.erasures().note_in(transaction, &carried.erasures).await?;
        Ok(revision)
    }
}
