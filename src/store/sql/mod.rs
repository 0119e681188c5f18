//! The database that lasts: opening it, its schema, and what differs between SQLite, MySQL and PostgreSQL.
//!
//! [`Database::open`] brings the schema up to date and gives out the stores, [`Questions`], [`Rules`], [`Categories`],
//! [`Texts`], [`Revisions`], [`ApiKeys`], [`Feedback`] and [`ErasureQueue`]. They hold one set of statements in plain SQL with
//! `?` for parameters; everything
//! that must differ by database is in `dialect`, `schema`, and where it is opened, `sqlite` and `server`. Nothing on the
//! reply path calls into this module.

mod dialect;
mod schema;
mod keep;
mod migrated;
mod sqlite;
mod server;
mod api_keys;
mod backup;
mod carried;
mod history;
mod query_log;
mod edit;
mod revisions;
mod questions;
mod beside;
mod texts;
mod erasures;
mod feedback;

pub use api_keys::{ApiKeys, Revocation};
pub use backup::{BackupError, Contents, Restored, Restorer, Target, check_backup};
pub use beside::{Categories, Rules, Tabled, Things};
pub use erasures::{Erasure, ErasureQueue, PERSONAL_TABLES, PersonalRow, WorkedOff};
pub use feedback::{EntryFeedback, Feedback, Given};
pub use history::{ApplyError, Author, BankChange, Edition};
pub use migrated::Migrated;
pub use query_log::{Asked, AskedText, DayCount, EntryCount, Kept, QueryLog};
pub use questions::{Bank, Changes, OpenBank, Pages, Questions, StoredEntry};
pub use revisions::Revisions;
pub use schema::Standing;
pub use sqlite::sqlite_url;
pub use texts::{StoredText, Texts};

use super::StoreError;
use dialect::Dialect;
use sqlx::{Any, AnyPool, Row, Transaction};
use std::future::Future;
use std::path::Path;
use std::time::Duration;

/// Readers do not block one another, so a few connections are enough for console, import and snapshot reload.
const MAX_CONNECTIONS: u32 = 4;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a server may take with a statement, or with the next row of one. A server that is gone without a word is
/// noticed by nothing else: the drivers wait as long as TCP does.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// An open database with the schema this program knows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pool: AnyPool,
    dialect: Dialect,
}

/// Where a database is.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// As [`Database::open`] says.
    pub url: &'a str,
    /// Where a server's database is backed up to before it is migrated, a folder that is made if it is not there. SQLite's
    /// copy stands beside its file. `None`: it is not backed up.
    pub backups: Option<&'a Path>,
    /// Told of a migration once it has been run; never of the first ones of a new database.
    pub told: fn(&Migrated),
}

impl<'a> From<&'a str> for Place<'a> {
    fn from(url: &'a str) -> Self {
        Self {
            url,
            backups: None,
            told: |_| (),
        }
    }
}

impl<'a> From<&'a String> for Place<'a> {
    fn from(url: &'a String) -> Self {
        url.as_str().into()
    }
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is wrong or names a database this program cannot use.
    #[error("database.url: {0}")]
    Configuration(String),
    /// There is none, and none was to be made.
    #[error("there is no {0}; `wxfaq import FILE` makes one, and so does the first `wxfaq serve`")]
    Absent(String),
    /// A server is there and lets us in, or would, but it has no such database, and making one is its administrator's.
    #[error(
        "there is no database {name} on the server, or the user may not use it; its administrator makes it with: {remedy}"
    )]
    NoDatabase {
        /// As in the address.
        name: String,
        /// Statements.
        remedy: String,
    },
    /// A newer release has migrated it; going on could destroy what that one keeps there.
    #[error(
        "the database is newer than this program: a newer release of wxfaq has migrated it to {found}, this one knows up to \
         {known}; install that release, or restore a backup from before the upgrade"
    )]
    Newer {
        /// The last migration of the database.
        found: i64,
        /// The last one this program has.
        known: i64,
    },
    /// An older release has made it, and who only reads does not migrate it: that one may still be at work.
    #[error(
        "the database is older than this program: it is at migration {found}, this release works with {known}; \
         it was left as it is. The first `wxfaq serve` of this release migrates it, and so does a command that changes \
         something; what it holds is kept before"
    )]
    Older {
        /// The last migration of the database.
        found: i64,
        /// The last one this program has.
        known: i64,
    },
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    Store(#[from] StoreError),
}

impl Database {
    /// Opens the database at an address and migrates it.
    ///
    /// `sqlite://PATH`, PATH relative to the working directory or absolute: what is missing is created, folders for the
    /// owner only (0700), the file likewise (0600). `mysql://USER:PASSWORD@HOST/NAME`, `mariadb://…` and `postgres://…`:
    /// the database has to be there.
    pub async fn open<'a>(place: impl Into<Place<'a>>) -> Result<Self, OpenError> {
        Self::open_for(place.into(), Purpose::Create).await
    }

    /// As [`Database::open`] for a database that holds a bank; makes none, nor a folder.
    ///
    /// # Errors
    /// [`OpenError::Absent`] only where it is sure that there is none: what may not be looked at is [`StoreError::Unavailable`].
    pub async fn open_existing<'a>(place: impl Into<Place<'a>>) -> Result<Self, OpenError> {
        Self::open_for(place.into(), Purpose::Change).await
    }

    /// As [`Database::open_existing`] for who only reads: migrates nothing.
    ///
    /// # Errors
    /// [`OpenError::Older`] when the schema is not the one this program knows.
    pub async fn open_to_read<'a>(place: impl Into<Place<'a>>) -> Result<Self, OpenError> {
        Self::open_for(place.into(), Purpose::Read).await
    }

    /// One without a bank, in memory only, for who would try what to do where there is none yet.
    pub async fn empty() -> Result<Self, OpenError> {
        Ok(Self {
            pool: sqlite::in_memory().await?,
            dialect: Dialect::Sqlite,
        })
    }

    /// As [`Database::open_to_read`] whatever release it is from, if it is no newer one: [`Database::standing`] says which,
    /// [`Database::back_up`] takes any.
    pub async fn open_as_it_is<'a>(place: impl Into<Place<'a>>) -> Result<Self, OpenError> {
        Self::open_for(place.into(), Purpose::Look).await
    }

    async fn open_for(place: Place<'_>, purpose: Purpose) -> Result<Self, OpenError> {
        let dialect = Dialect::of(place.url)?;
        let pool = match dialect {
            Dialect::Sqlite => sqlite::open(place, purpose).await?,
            Dialect::MySql | Dialect::Postgres => server::open(dialect, place, purpose).await?,
        };
        Ok(Self { pool, dialect })
    }

    /// How far its schema has come.
    pub async fn standing(&self) -> Result<Standing, StoreError> {
        let mut connection = self.answer(self.pool.acquire()).await?;
        schema::standing(self.dialect, &mut connection).await
    }

    /// The question bank.
    pub fn questions(&self) -> Questions {
        Questions::new(self.clone())
    }

    /// The rules beside it.
    pub fn rules(&self) -> Rules {
        Rules::new(self.clone())
    }

    /// What is set for its categories.
    pub fn categories(&self) -> Categories {
        Categories::new(self.clone())
    }

    /// The templates and dictionaries that were edited in it.
    pub fn texts(&self) -> Texts {
        Texts::new(self.clone())
    }

    /// The history of all of them.
    pub fn revisions(&self) -> Revisions {
        Revisions::new(self.clone())
    }

    /// The keys of the JSON API.
    pub fn api_keys(&self) -> ApiKeys {
        ApiKeys::new(self.clone())
    }

    /// The queue of followers whose rows are to go.
    pub fn erasures(&self) -> ErasureQueue {
        ErasureQueue::new(self.clone())
    }

    /// What followers think of answers.
    pub fn feedback(&self) -> Feedback {
        Feedback::new(self.clone())
    }

    /// What was asked; `keeps_rows`: word by word, not only in numbers.
    pub fn query_log(&self, keeps_rows: bool) -> QueryLog {
        QueryLog::new(self.clone(), keeps_rows)
    }

    /// Ends every connection, after what they are doing.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// What runs the statements, such as `MariaDB 10.11.14`.
    pub async fn version(&self) -> Result<String, StoreError> {
        let row = self
            .answer(sqlx::query(self.dialect.version()).fetch_one(&self.pool))
            .await?;
        let text: String = row.try_get("version").map_err(|error| self.dialect.error(&error))?;
        let number = text.split([' ', '-']).next().unwrap_or_default();
        let kind = match self.dialect {
            Dialect::Sqlite => "SQLite",
            Dialect::MySql if text.contains("MariaDB") => "MariaDB",
            Dialect::MySql => "MySQL",
            Dialect::Postgres => "PostgreSQL",
        };
        Ok(format!("{kind} {number}"))
    }

    /// A transaction that sees one state of the database throughout.
    async fn begin_read(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.answer(self.pool.begin_with(self.dialect.begin_read())).await
    }

    async fn begin_write(&self) -> Result<Transaction<'static, Any>, StoreError> {
        self.answer(self.pool.begin_with(self.dialect.begin_write())).await
    }

    async fn commit(&self, transaction: Transaction<'static, Any>) -> Result<(), StoreError> {
        self.answer(transaction.commit()).await
    }

    /// Has SQLite take over its log into the file and begin it anew; `false`: somebody reads from it.
    async fn truncate_log(&self) -> Result<bool, StoreError> {
        match self.dialect {
            Dialect::Sqlite => self.answer(sqlite::truncate_log(&self.pool)).await,
            Dialect::MySql | Dialect::Postgres => Ok(true),
        }
    }

    /// What the database says to one statement, within the time a server has for it.
    async fn answer<T>(&self, statement: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
        self.answer_as(statement, Dialect::error).await
    }

    /// The same, with another way to tell of errors.
    async fn answer_as<T>(
        &self,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
        told: fn(Dialect, &sqlx::Error) -> StoreError,
    ) -> Result<T, StoreError> {
        let answer = match self.dialect {
            Dialect::Sqlite => statement.await,
            Dialect::MySql | Dialect::Postgres => match tokio::time::timeout(ANSWER_TIMEOUT, statement).await {
                Ok(answer) => answer,
                Err(_) => {
                    let reason = format!("no answer within {} seconds", ANSWER_TIMEOUT.as_secs());
                    return Err(self.dialect.unavailable(reason));
                }
            },
        };
        answer.map_err(|error| told(self.dialect, &error))
    }
}

/// What a database is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// It is made where it is not there, and migrated.
    Create,
    /// It has to be there, and is migrated.
    Change,
    /// It has to be there as this program knows it.
    Read,
    /// It has to be there, and may be from an older release.
    Look,
}

impl Purpose {
    /// Whether it is brought up to date.
    fn migrates(self) -> bool {
        matches!(self, Self::Create | Self::Change)
    }
}
