//! Templates and dictionaries that were edited in the database: whole, and the one way to change them.
//!
//! They share the bank's revision. Texts come in as [`Text::new`] takes them; whether they are good is not looked at,
//! neither here when they are written nor when they are read.

use super::history::{Edit, Record, signed};
use super::{Database, StoreError};
use crate::bank::history::Subject;
use crate::bank::{Text, TextKind, TextName};
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};
use std::collections::BTreeMap;
use std::fmt::Display;

/// The edited texts on one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Texts {
    database: Database,
}

/// A text with what the database knows of its making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredText {
    #[expect(missing_docs, reason = "the type says it")]
    pub text: Text,
    /// Unix seconds.
    pub updated_at: i64,
    #[expect(missing_docs, reason = "the name says it")]
    pub updated_by: String,
    /// The bank's revision that brought it to what it is, at least the one at which a backup was restored.
    pub revision: u64,
}

const SELECT: &str = "SELECT subject, name, body, updated_at, updated_by, revision FROM bank_text";

const INSERT: &str =
    "INSERT INTO bank_text (subject, name, body, updated_at, updated_by, revision) VALUES (?, ?, ?, ?, ?, ?)";

impl Texts {
    pub(super) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Every edited text by name, and the bank's revision.
    pub async fn load(&self) -> Result<(u64, Vec<StoredText>), StoreError> {
        let mut transaction = self.database.begin_read().await?;
        let revision = self.database.bank_revision(&mut transaction).await?;
        Ok((revision, self.load_in(&mut transaction).await?))
    }

    pub(super) async fn load_in(
        &self,
        transaction: &mut Transaction<'static, Any>,
    ) -> Result<Vec<StoredText>, StoreError> {
        let query = sqlx::query(self.database.dialect.sql(SELECT));
        let rows = self.database.answer(query.fetch_all(&mut **transaction)).await?;
        let since = self.database.bank_since(transaction).await?;
        let mut texts: Vec<StoredText> = Vec::new();
        for row in &rows {
            texts.extend(self.read(row)?);
        }
        for stored in &mut texts {
            stored.revision = stored.revision.max(since);
        }
        texts.sort_unstable_by(|a, b| a.text.name.cmp(&b.text.name));
        Ok(texts)
    }

    /// Every one if any has changed since the bank's `revision`.
    pub(super) async fn changed_in(
        &self,
        transaction: &mut Transaction<'static, Any>,
        revision: u64,
    ) -> Result<Option<Vec<StoredText>>, StoreError> {
        let subjects = TextKind::ALL.map(TextKind::subject);
        let changes = self.database.changes_of(transaction, &subjects, revision).await?;
        match changes {
            0 => Ok(None),
            _ => Ok(Some(self.load_in(transaction).await?)),
        }
    }

    /// Writes what differs, with its history; returns whether anything did.
    pub(super) async fn write(
        &self,
        transaction: &mut Transaction<'static, Any>,
        put: &[Text],
        remove: &[TextName],
        edit: Edit<'_>,
    ) -> Result<bool, StoreError> {
        if put.is_empty() && remove.is_empty() {
            return Ok(false);
        }
        let before = self.load_in(transaction).await?;
        let before: BTreeMap<TextName, Text> = before
            .into_iter()
            .map(|stored| (stored.text.name.clone(), stored.text))
            .collect();
        let put = put.iter().map(|text| (&text.name, Some(text)));
        let all = put.chain(remove.iter().map(|name| (name, None)));
        let changed: Vec<_> = all.filter(|(name, after)| before.get(name) != *after).collect();
        for (name, after) in &changed {
            self.replace(transaction, name, *after, edit).await?;
        }
        for kind in TextKind::ALL {
            let of_kind = changed.iter().filter(|(name, _)| name.kind == kind);
            let record = |(name, after): &(&TextName, Option<&Text>)| Record {
                id: name.file.clone(),
                before: before.get(name).map(|text| text.body.clone()),
                after: after.map(|text| text.body.clone()),
            };
            let records: Vec<Record> = of_kind.map(record).collect();
            self.database
                .record(transaction, kind.subject(), &records, edit)
                .await?;
        }
        Ok(!changed.is_empty())
    }

    async fn replace(
        &self,
        transaction: &mut Transaction<'static, Any>,
        name: &TextName,
        after: Option<&Text>,
        edit: Edit<'_>,
    ) -> Result<(), StoreError> {
        let dialect = self.database.dialect;
        let subject = name.kind.subject().as_str();
        let delete = dialect.sql("DELETE FROM bank_text WHERE subject = ? AND name = ?");
        let query = sqlx::query(delete).bind(subject).bind(name.file.clone());
        self.database.answer(query.execute(&mut **transaction)).await?;
        let Some(text) = after else { return Ok(()) };
        let query = sqlx::query(dialect.sql(INSERT))
            .bind(subject)
            .bind(name.file.clone())
            .bind(text.body.clone())
            .bind(edit.now)
            .bind(edit.by.who.clone())
            .bind(signed(edit.revision));
        self.database.answer(query.execute(&mut **transaction)).await?;
        Ok(())
    }

    /// `None`: of a kind that only another release knows.
    fn read(&self, row: &AnyRow) -> Result<Option<StoredText>, StoreError> {
        let corrupt = |reason: &dyn Display| StoreError::Corrupt {
            backend: self.database.dialect.name(),
            reason: format!("bank_text: {reason}"),
        };
        let cells = || {
            let (subject, file): (String, String) = (row.try_get("subject")?, row.try_get("name")?);
            let (body, updated_at) = (row.try_get("body")?, row.try_get("updated_at")?);
            let (updated_by, revision): (_, i64) = (row.try_get("updated_by")?, row.try_get("revision")?);
            let kind = Subject::parse(&subject).and_then(TextKind::of);
            Ok(kind.map(|kind| StoredText {
                text: Text {
                    name: TextName::new(kind, file),
                    body,
                },
                updated_at,
                updated_by,
                revision: u64::try_from(revision).unwrap_or(0),
            }))
        };
        cells().map_err(|error: sqlx::Error| corrupt(&error))
    }
}
