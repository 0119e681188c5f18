//! Backups: every table in one file that any of the databases takes back.
//!
//! [`Database::back_up`] writes, [`Database::restore`] reads. A file is lines of JSON: what it is, then for each table its
//! name with its columns and its rows, and at the end a checksum of all before. It is one state of the database, whatever is
//! written meanwhile.

use super::dialect::Dialect;
use super::history::{batches, tuples};
use super::sqlite::SQLITE_HEAD;
use super::{Database, StoreError};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};
use std::fmt::Write as _;
use std::io::{self, BufRead, Write};

/// What files are written as.
const FORMAT: u32 = 1;
/// Of the database and not of the bank: what sqlx did to the schema, and which bank this is.
const OWN_TABLES: [&str; 2] = ["_sqlx_migrations", "bank_id"];

/// Its one row is the lock of all who change the bank, so it never goes; the revision it holds is said in a backup's head, too.
const LOCK_TABLE: &str = "bank_revision";

/// No bank ever comes so far, and one that is there can still grow: revisions are BIGINT.
const MOST_REVISIONS: u64 = 1 << 62;

/// What is in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// The bank's.
    pub revision: u64,
    /// Of all tables.
    pub rows: u64,
    /// Unix seconds.
    pub taken_at: i64,
    /// Of the file, which ends with it; hexadecimal.
    pub sha256: String,
    /// The same for the same tables and rows, whenever they were written down and in whatever order.
    #[serde(skip)]
    pub(super) state: u128,
}

/// What a restore has put into the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Of the backup.
    pub contents: Contents,
    /// The bank's now: one that was never seen of the backup's nor of the one that was there.
    pub revision: u64,
}

/// Who restores what, for the history.
#[derive(Debug, Clone, Copy)]
pub struct Restorer<'a> {
    /// The name of the operator.
    pub who: &'a str,
    /// The backup's, as it was named.
    pub file: &'a str,
    /// Unix seconds.
    pub now: i64,
}

/// What a database must be for a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Without a bank.
    Empty,
    /// Whatever it is: what is in it goes.
    Any,
}

/// Why nothing was backed up, or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file cannot be read or written.
    #[error("{0}")]
    File(#[from] io::Error),
    /// It is no backup, or not a whole one.
    #[error("line {line}: {reason}")]
    Damaged {
        /// From 1.
        line: u64,
        #[expect(missing_docs, reason = "the name says it")]
        reason: String,
    },
    /// It is what SQLite keeps, as is kept beside its file before a migration.
    #[error(
        "is a whole database of SQLite, as is kept before a migration, and no backup. To go back to it and the release from \
         before: stop the daemon, remove database.url's file with its -wal and -shm, and put this one there. To take \
         it into this release: `wxfaq backup NEW` with its address as database.url, then `restore NEW`, \
         with --replace where there is a bank"
    )]
    Sqlite,
    /// A newer release made it.
    #[error(
        "a newer release of wxfaq made it (migration {found}, this one knows up to {known}); restore it with that one"
    )]
    Newer {
        /// A migration this program does not have.
        found: i64,
        /// The last one it has.
        known: i64,
    },
    /// There is something in the database.
    #[error(
        "there is a bank in the database already, at revision {0}; with --replace it goes, and all that is kept beside it"
    )]
    Occupied(u64),
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    Store(#[from] StoreError),
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    wxfaq_backup: u32,
    /// The last one that was run.
    migration: i64,
    revision: u64,
    /// Unix seconds.
    taken_at: i64,
}

/// Begins a table.
#[derive(Debug, Serialize, Deserialize)]
struct TableHead {
    table: String,
    columns: Vec<String>,
}

impl TableHead {
    /// Why a row cannot be one of a bank at `revision`.
    fn refused_revision(&self, row: &[Value], revision: u64) -> Option<&'static str> {
        let at = self.columns.iter().position(|column| column == "revision")?;
        let found = row.get(at)?.as_u64();
        match self.table == LOCK_TABLE {
            true if found != Some(revision) => Some("is of another revision than the first line says"),
            false if found.is_none_or(|found| found > revision) => {
                Some("is of a revision that the bank of the first line has not had")
            }
            _ => None,
        }
    }
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    rows: u64,
    /// Of all lines before, with their ends; hexadecimal.
    sha256: String,
}

/// A table of the database.
struct Table {
    name: String,
    columns: Vec<(String, Kind)>,
}

/// All the schema has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    Text,
}

/// A line of a backup.
enum Line {
    Table(TableHead),
    Row(Vec<Value>),
    End(End),
}

impl Database {
    /// Writes everything to `out`; nobody waits for it.
    ///
    /// # Errors
    /// What is in `out` then is no backup.
    pub async fn back_up(&self, out: &mut (dyn Write + Send), now: i64) -> Result<Contents, BackupError> {
        let tables = self.tables().await?;
        let mut transaction = self.begin_read().await?;
        let head = Head {
            wxfaq_backup: FORMAT,
            migration: self.last_migration(&mut transaction).await?,
            revision: self.bank_revision(&mut transaction).await?,
            taken_at: now,
        };
        let mut lines = Lines {
            out,
            sums: Sums::default(),
        };
        lines.write(&head)?;
        let mut rows = 0;
        for table in &tables {
            rows += self.write_table(&mut transaction, table, &mut lines).await?;
        }
        let state = lines.sums.state;
        let sha256 = lines.sums.sha256();
        let end = End { rows, sha256 };
        lines.write(&end)?;
        Ok(Contents {
            revision: head.revision,
            rows,
            taken_at: now,
            sha256: end.sha256,
            state,
        })
    }

    /// Puts what `open` reads into the database, all of it or nothing. It is read twice: first to see that it is whole.
    /// Daemons on the database see that it is another bank. What was revoked stays so, and who was about to be erased will be.
    /// The history says what was done.
    pub async fn restore<R: BufRead>(
        &self,
        open: impl Fn() -> io::Result<R>,
        target: Target,
        by: Restorer<'_>,
    ) -> Result<Restored, BackupError> {
        let contents = check_backup(open()?)?;
        let tables = self.tables().await?;
        let mut transaction = self.begin_write().await?;
        let known = self.last_migration(&mut transaction).await?;
        // Its lock first: changes of the bank wait.
        self.execute(&mut transaction, "UPDATE bank_revision SET revision = revision")
            .await?;
        let carried = self.carried(&mut transaction).await?;
        if target == Target::Empty && carried.revision > 0 {
            return Err(BackupError::Occupied(carried.revision));
        }
        let mut reader = Reader::new(open()?);
        let head = reader.head()?;
        if head.migration > known {
            let found = head.migration;
            return Err(BackupError::Newer { found, known });
        }
        for table in tables.iter().filter(|table| table.name != LOCK_TABLE) {
            self.execute(&mut transaction, &format!("DELETE FROM {}", table.name))
                .await?;
        }
        self.fill(&mut transaction, &mut reader, &tables).await?;
        let revision = self.carry_over(&mut transaction, &carried, &contents).await?;
        self.record_restore(&mut transaction, &carried, &contents, (by, revision))
            .await?;
        self.commit(transaction).await?;
        Ok(Restored { contents, revision })
    }

    /// Puts every row after the first line into its table.
    async fn fill<R: BufRead>(
        &self,
        transaction: &mut Transaction<'static, Any>,
        reader: &mut Reader<R>,
        tables: &[Table],
    ) -> Result<(), BackupError> {
        let mut filled: Option<Filled> = None;
        loop {
            let line = reader.line()?;
            match line {
                Line::Row(row) => match &mut filled {
                    Some(filled) if filled.table == LOCK_TABLE => {}
                    Some(filled) => {
                        filled.rows.push(row);
                        if filled.is_full() {
                            self.insert(transaction, filled).await?;
                        }
                    }
                    None => return Err(reader.damaged("a row without a table")),
                },
                Line::Table(_) | Line::End(_) => {
                    if let Some(mut filled) = filled.take() {
                        self.insert(transaction, &mut filled).await?;
                    }
                    let Line::Table(head) = line else { return Ok(()) };
                    filled = Some(Filled::new(&head, tables).map_err(|reason| reader.damaged(reason))?);
                }
            }
        }
    }

    /// Every table of ours, by name.
    async fn tables(&self) -> Result<Vec<Table>, StoreError> {
        let select = match self.dialect {
            Dialect::Sqlite => {
                "SELECT tables.name AS t, columns.name AS c, columns.type AS k FROM sqlite_schema AS tables \
                 JOIN pragma_table_info(tables.name) AS columns WHERE tables.type = 'table' \
                 AND tables.name NOT LIKE 'sqlite_%' ORDER BY tables.name, columns.cid"
            }
            Dialect::MySql => {
                "SELECT CAST(table_name AS CHAR) AS t, CAST(column_name AS CHAR) AS c, CAST(data_type AS CHAR) AS k \
                 FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position"
            }
            Dialect::Postgres => {
                "SELECT CAST(table_name AS TEXT) AS t, CAST(column_name AS TEXT) AS c, CAST(data_type AS TEXT) AS k \
                 FROM information_schema.columns WHERE table_schema = current_schema() \
                 ORDER BY table_name, ordinal_position"
            }
        };
        let read = |error: sqlx::Error| self.dialect.error(&error);
        let rows = self.answer(sqlx::query(select).fetch_all(&self.pool)).await?;
        let mut tables: Vec<Table> = Vec::new();
        for row in rows {
            let text = |column| row.try_get::<String, _>(column).map_err(read);
            let (name, column, kind) = (text("t")?, text("c")?, text("k")?);
            if OWN_TABLES.contains(&name.as_str()) {
                continue;
            }
            if tables.last().is_none_or(|table| table.name != name) {
                tables.push(Table {
                    name,
                    columns: Vec::new(),
                });
            }
            let kind = if kind.eq_ignore_ascii_case("bigint") {
                Kind::Integer
            } else {
                Kind::Text
            };
            if let Some(table) = tables.last_mut() {
                table.columns.push((column, kind));
            }
        }
        Ok(tables)
    }

    async fn last_migration(&self, transaction: &mut Transaction<'static, Any>) -> Result<i64, StoreError> {
        let select = "SELECT MAX(version) AS version FROM _sqlx_migrations";
        let row = self.answer(sqlx::query(select).fetch_one(&mut **transaction)).await?;
        row.try_get("version").map_err(|error| self.dialect.error(&error))
    }

    async fn write_table(
        &self,
        transaction: &mut Transaction<'static, Any>,
        table: &Table,
        lines: &mut Lines<'_>,
    ) -> Result<u64, BackupError> {
        let columns: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
        lines.write(&TableHead {
            table: table.name.clone(),
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        })?;
        let select = format!("SELECT {} FROM {}", columns.join(", "), table.name);
        let query = sqlx::query(self.dialect.sql(&select));
        let mut rows = query.fetch(&mut **transaction);
        let mut count = 0;
        while let Some(row) = self.answer(rows.try_next()).await? {
            let values = values(&row, table).map_err(|error| self.dialect.error(&error))?;
            lines.write(&values)?;
            count += 1;
        }
        Ok(count)
    }

    async fn execute(&self, transaction: &mut Transaction<'static, Any>, statement: &str) -> Result<(), StoreError> {
        let query = sqlx::query(self.dialect.sql(statement));
        self.answer(query.execute(&mut **transaction)).await?;
        Ok(())
    }

    /// Writes the rows that wait.
    async fn insert(&self, transaction: &mut Transaction<'static, Any>, filled: &mut Filled) -> Result<(), StoreError> {
        let rows = std::mem::take(&mut filled.rows);
        for batch in batches(rows.iter().map(|row| size(row))) {
            let batch = &rows[batch];
            let insert = format!("{}{}", filled.insert, tuples(batch.len(), filled.kinds.len()));
            let mut query = sqlx::query(self.dialect.sql(&insert));
            for (value, kind) in batch.iter().flat_map(|row| row.iter().zip(&filled.kinds)) {
                query = match kind {
                    Kind::Integer => query.bind(value.as_i64()),
                    Kind::Text => query.bind(value.as_str().map(str::to_owned)),
                };
            }
            let written = query.execute(&mut **transaction);
            self.answer_as(written, Dialect::error_among_writers).await?;
        }
        Ok(())
    }
}

/// A table that is being filled.
struct Filled {
    table: String,
    insert: String,
    kinds: Vec<Kind>,
    rows: Vec<Vec<Value>>,
}

impl Filled {
    fn new(head: &TableHead, tables: &[Table]) -> Result<Self, String> {
        let table = tables.iter().find(|table| table.name == head.table);
        let table = table.ok_or_else(|| format!("there is no table {:?}", head.table))?;
        let kind = |name: &String| {
            let column = table.columns.iter().find(|(known, _)| known == name);
            column
                .map(|(_, kind)| *kind)
                .ok_or_else(|| format!("{} has no column {name:?}", table.name))
        };
        Ok(Self {
            table: table.name.clone(),
            insert: format!("INSERT INTO {} ({}) VALUES ", table.name, head.columns.join(", ")),
            kinds: head.columns.iter().map(kind).collect::<Result<_, _>>()?,
            rows: Vec::new(),
        })
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= super::history::BATCH
    }
}

/// Lines on their way to a file.
struct Lines<'a> {
    out: &'a mut (dyn Write + Send),
    sums: Sums,
}

/// What lines come to.
#[derive(Default)]
struct Sums {
    /// Of all of them, with their ends.
    file: Sha256,
    /// Of all but the first, which says when they were written.
    state: u128,
    lines: u64,
}

impl Sums {
    fn add(&mut self, text: &str) {
        self.file.update(text.as_bytes());
        self.file.update(b"\n");
        if self.lines > 0 {
            let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
            let (half, _) = digest.split_first_chunk().expect("32 bytes are more than 16");
            // A sum, because a table has no order.
            self.state = self.state.wrapping_add(u128::from_be_bytes(*half));
        }
        self.lines += 1;
    }

    fn sha256(&mut self) -> String {
        hex(&self.file.finalize_reset())
    }
}

impl Lines<'_> {
    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_string(line)?;
        self.sums.add(&text);
        text.push('\n');
        self.out.write_all(text.as_bytes())
    }
}

/// Lines of a file.
struct Reader<R> {
    lines: io::Lines<R>,
    /// Lines read.
    line: u64,
    sums: Sums,
}

impl<R: BufRead> Reader<R> {
    fn new(file: R) -> Self {
        Self {
            lines: file.lines(),
            line: 0,
            sums: Sums::default(),
        }
    }

    fn damaged(&self, reason: impl Into<String>) -> BackupError {
        BackupError::Damaged {
            line: self.line,
            reason: reason.into(),
        }
    }

    fn text(&mut self) -> Result<String, BackupError> {
        self.line += 1;
        match self.lines.next() {
            Some(Ok(text)) => Ok(text),
            Some(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Err(self.damaged("is no text")),
            Some(Err(error)) => Err(error.into()),
            None => Err(self.damaged("the file ends here, and is not whole")),
        }
    }

    /// Whether there is anything after what was read, text or not.
    fn goes_on(&mut self) -> Result<bool, BackupError> {
        self.line += 1;
        match self.lines.next() {
            None => Ok(false),
            Some(Err(error)) if error.kind() != io::ErrorKind::InvalidData => Err(error.into()),
            Some(_) => Ok(true),
        }
    }

    fn head(&mut self) -> Result<Head, BackupError> {
        let text = self.text()?;
        let head: Head = serde_json::from_str(&text).map_err(|_| self.damaged("is not the first one of a backup"))?;
        if head.wxfaq_backup != FORMAT {
            let format = head.wxfaq_backup;
            return Err(self.damaged(format!("is of format {format}, this release reads {FORMAT}")));
        }
        self.sums.add(&text);
        Ok(head)
    }

    fn line(&mut self) -> Result<Line, BackupError> {
        let text = self.text()?;
        let unreadable = |reader: &Self| reader.damaged("is neither a table nor a row nor the end");
        let line = match text.as_bytes().first() {
            Some(b'[') => Line::Row(serde_json::from_str(&text).map_err(|_| unreadable(self))?),
            _ => match serde_json::from_str(&text) {
                Ok(head) => Line::Table(head),
                Err(_) => return serde_json::from_str(&text).map(Line::End).map_err(|_| unreadable(self)),
            },
        };
        self.sums.add(&text);
        Ok(line)
    }
}

/// Reads to the end: whether the file is whole, and what is in it.
///
/// # Errors
/// What [`Database::restore`] would say of the file before it asks the database.
pub fn check_backup(mut file: impl BufRead) -> Result<Contents, BackupError> {
    if file.fill_buf()?.starts_with(SQLITE_HEAD) {
        return Err(BackupError::Sqlite);
    }
    let mut reader = Reader::new(file);
    let head = reader.head()?;
    if head.revision > MOST_REVISIONS {
        let revision = head.revision;
        return Err(reader.damaged(format!(
            "names revision {revision}, at most {MOST_REVISIONS} is one of a bank"
        )));
    }
    let (mut rows, mut table) = (0, None::<TableHead>);
    loop {
        match reader.line()? {
            Line::Table(head) => table = Some(head),
            Line::Row(row) if table.as_ref().is_some_and(|table| table.columns.len() == row.len()) => {
                let refused = table
                    .as_ref()
                    .and_then(|table| table.refused_revision(&row, head.revision));
                if let Some(reason) = refused {
                    return Err(reader.damaged(reason));
                }
                rows += 1;
            }
            Line::Row(_) => return Err(reader.damaged("has not as many values as its table has columns")),
            Line::End(end) => {
                let state = reader.sums.state;
                let found = reader.sums.sha256();
                if end.rows != rows || end.sha256 != found {
                    return Err(reader.damaged("the checksum is not that of the lines before"));
                }
                if reader.goes_on()? {
                    return Err(reader.damaged("stands after the line that ends a backup"));
                }
                return Ok(Contents {
                    revision: head.revision,
                    rows,
                    taken_at: head.taken_at,
                    sha256: found,
                    state,
                });
            }
        }
    }
}

fn values(row: &AnyRow, table: &Table) -> Result<Vec<Value>, sqlx::Error> {
    let value = |(at, (_, kind)): (usize, &(String, Kind))| {
        Ok(match kind {
            Kind::Integer => row.try_get::<Option<i64>, _>(at)?.into(),
            Kind::Text => row.try_get::<Option<String>, _>(at)?.into(),
        })
    };
    table.columns.iter().enumerate().map(value).collect()
}

fn size(row: &[Value]) -> usize {
    row.iter().filter_map(Value::as_str).map(str::len).sum()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
