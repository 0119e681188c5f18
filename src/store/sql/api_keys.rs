//! API keys in the database: made and revoked by commands, read by the daemon.
//!
//! Rows are never removed: a revoked key stays as a record of who had what. Making or revoking one is one statement, so
//! it is there whole or not at all.

use super::{Database, StoreError};
use crate::store::api_key::{ApiKey, KeyHash, KeyScope};
use sqlx::any::AnyRow;
use sqlx::{Any, Decode, Row, Type};
use std::collections::BTreeSet;

/// The keys on one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiKeys {
    database: Database,
}

/// What became of a key that was to be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// It is good no longer.
    Revoked,
    /// It was not good any more.
    AlreadyRevoked,
    /// There is no key with that id.
    Unknown,
}

impl ApiKeys {
    pub(super) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Every key, the revoked ones too, from the oldest to the newest.
    ///
    /// A scope that this program does not know is left out: a newer release made it.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] names the key and the column that cannot be read.
    pub async fn all(&self) -> Result<Vec<ApiKey>, StoreError> {
        let dialect = self.database.dialect;
        let select = "SELECT id, name, key_hash, scopes, per_minute, created_at, created_by, revoked_at, revoked_by \
                      FROM api_key ORDER BY created_at, id";
        let query = sqlx::query(dialect.sql(select));
        let rows = self.database.answer(query.fetch_all(&self.database.pool)).await?;
        rows.iter().map(|row| self.key(row)).collect()
    }

    /// Keeps a new key. Its id and hash must be new, as random ones are.
    pub async fn add(&self, key: &ApiKey) -> Result<(), StoreError> {
        let dialect = self.database.dialect;
        let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        let insert = "INSERT INTO api_key (id, name, key_hash, scopes, per_minute, created_at, created_by) \
                      VALUES (?, ?, ?, ?, ?, ?, ?)";
        let query = sqlx::query(dialect.sql(insert))
            .bind(key.id.clone())
            .bind(key.name.clone())
            .bind(key.hash.to_string())
            .bind(serde_json::to_string(&scopes).unwrap_or_default())
            .bind(i64::from(key.per_minute))
            .bind(key.created_at)
            .bind(key.created_by.clone());
        self.database.answer(query.execute(&self.database.pool)).await?;
        Ok(())
    }

    /// Ends a key; `now` is in Unix seconds. One that was revoked before keeps its date.
    pub async fn revoke(&self, id: &str, by: &str, now: i64) -> Result<Revocation, StoreError> {
        let dialect = self.database.dialect;
        let update = "UPDATE api_key SET revoked_at = ?, revoked_by = ? WHERE id = ? AND revoked_at IS NULL";
        let query = sqlx::query(dialect.sql(update))
            .bind(now)
            .bind(by.to_owned())
            .bind(id.to_owned());
        let updated = self.database.answer(query.execute(&self.database.pool)).await?;
        if updated.rows_affected() == 1 {
            return Ok(Revocation::Revoked);
        }
        let query = sqlx::query(dialect.sql("SELECT id FROM api_key WHERE id = ?")).bind(id.to_owned());
        let found = self.database.answer(query.fetch_optional(&self.database.pool)).await?;
        Ok(match found {
            Some(_) => Revocation::AlreadyRevoked,
            None => Revocation::Unknown,
        })
    }

    fn key(&self, row: &AnyRow) -> Result<ApiKey, StoreError> {
        let backend = self.database.dialect.name();
        let id: String = row.try_get("id").unwrap_or_else(|_| "?".to_owned());
        let corrupt = |column: &str, reason: &dyn std::fmt::Display| StoreError::Corrupt {
            backend,
            reason: format!("API key {id}, column {column}: {reason}"),
        };
        let hash: String = get(row, "key_hash", corrupt)?;
        let scopes: String = get(row, "scopes", corrupt)?;
        let scopes: Vec<String> = serde_json::from_str(&scopes).map_err(|error| corrupt("scopes", &error))?;
        let per_minute: i64 = get(row, "per_minute", corrupt)?;
        let revoked_at: Option<i64> = get(row, "revoked_at", corrupt)?;
        let revoked_by: Option<String> = get(row, "revoked_by", corrupt)?;
        Ok(ApiKey {
            id: id.clone(),
            name: get(row, "name", corrupt)?,
            hash: KeyHash::parse(&hash).ok_or_else(|| corrupt("key_hash", &"is no SHA-256"))?,
            scopes: scopes
                .iter()
                .filter_map(|name| KeyScope::parse(name))
                .collect::<BTreeSet<_>>(),
            per_minute: u32::try_from(per_minute).map_err(|error| corrupt("per_minute", &error))?,
            created_at: get(row, "created_at", corrupt)?,
            created_by: get(row, "created_by", corrupt)?,
            revoked: revoked_at.map(|at| (at, revoked_by.unwrap_or_default())),
        })
    }
}

fn get<'r, T: Decode<'r, Any> + Type<Any>>(
    row: &'r AnyRow,
    column: &str,
    corrupt: impl Fn(&str, &dyn std::fmt::Display) -> StoreError,
) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| corrupt(column, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::api_key::{KeySecret, random_id};
    use crate::store::sql::sqlite_url;

    #[tokio::test]
    async fn the_key_itself_is_not_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let url = sqlite_url(&folder.path().join("keys.db"));
        let keys = Database::open(&url).await.unwrap().api_keys();
        let secret = KeySecret::random().unwrap();
        let key = ApiKey {
            id: random_id().unwrap(),
            name: "小程序".to_owned(),
            hash: secret.hash(),
            scopes: [KeyScope::Search].into(),
            per_minute: 60,
            created_at: 1,
            created_by: "operator".to_owned(),
            revoked: None,
        };
        keys.add(&key).await.unwrap();
        let files = std::fs::read_dir(folder.path()).unwrap();
        for file in files.map(|file| std::fs::read(file.unwrap().path()).unwrap()) {
            let secret = secret.expose().as_bytes();
            assert!(!file.windows(secret.len()).any(|part| part == secret));
        }
    }
}
