//! The database that lasts: opening it, its schema, and what differs between SQLite, MySQL and PostgreSQL.
//!
//! [`Database::open`] brings the schema up to date and gives out the stores, [`Questions`], [`Rules`], [`ApiKeys`] and
//! [`Feedback`]. They hold one set of statements in plain SQL with `?` for parameters; everything that must differ by
//! database is in `Dialect`. So far only SQLite is compiled in. Nothing on the reply path calls into this module.

mod api_keys;
mod history;
mod questions;
mod rules;
mod erasures;
mod feedback;

pub use api_keys::{ApiKeys, Revocation};
pub use erasures::{Erased, ErasureQueue, PERSONAL_TABLES, PersonalRow};
pub use feedback::{EntryFeedback, Feedback, Given};
pub use history::{ApplyError, Author};
pub use questions::{Changes, Questions};
pub use rules::Rules;

use super::StoreError;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Any, AnyPool, AssertSqlSafe, ConnectOptions, Transaction};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Forward-only: a file here is never changed once released.
static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("src/store/sql/migrations/sqlite");

/// What each connection to SQLite is set to. FULL, because in WAL mode NORMAL loses acknowledged writes on power loss.
/// The busy timeout comes last: until then sqlx's longer one lets a connection wait for the recovery after a crash.
const SQLITE_PRAGMAS: [&str; 5] = [
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    // What is erased is gone from the file, too.
    "PRAGMA secure_delete = ON",
    "PRAGMA busy_timeout = 200",
];

/// Readers do not block one another, so a few connections are enough for console, import and snapshot reload.
const MAX_CONNECTIONS: u32 = 4;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// An open database with the schema this program knows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pool: AnyPool,
    dialect: Dialect,
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is wrong or names a database this program cannot use.
    #[error("database.url: {0}")]
    Configuration(String),
    /// There is none, and none was to be made.
    #[error("there is no database at {}; `wxfaq import FILE` makes one, and so does the first `wxfaq serve`", .0.display())]
    Absent(PathBuf),
    /// A newer release has migrated it; going on could destroy what that one keeps there.
    #[error(
        "the database has been used by a newer release of wxfaq (migration {found}, this one knows up to {known}); \
         install that release, or restore a backup from before the upgrade"
    )]
    Newer {
        /// A migration this program does not have.
        found: i64,
        /// The last one it has.
        known: i64,
    },
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    Store(#[from] StoreError),
}

impl Database {
    /// Opens `sqlite://PATH`, PATH relative to the working directory or absolute, and migrates it.
    ///
    /// What is missing is created: folders for the owner only (0700), the file likewise (0600).
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        Self::open_or(url, Absent::Create).await
    }

    /// As [`Database::open`] for a database that is there; makes none, nor a folder.
    ///
    /// # Errors
    /// [`OpenError::Absent`] also where a file of that name could not even be looked for.
    pub async fn open_existing(url: &str) -> Result<Self, OpenError> {
        Self::open_or(url, Absent::Refuse).await
    }

    async fn open_or(url: &str, absent: Absent) -> Result<Self, OpenError> {
        match Dialect::of(url)? {
            Dialect::Sqlite => Self::open_sqlite(sqlite_path(url)?, absent).await,
            dialect => {
                let reason = format!("{} is not available yet, use sqlite://PATH", dialect.name());
                Err(OpenError::Configuration(reason))
            }
        }
    }

    /// The question bank.
    pub fn questions(&self) -> Questions {
        Questions::new(self.clone())
    }

    /// The rules beside it.
    pub fn rules(&self) -> Rules {
        Rules::new(self.clone())
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

    /// Ends every connection, after what they are doing.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn open_sqlite(path: PathBuf, absent: Absent) -> Result<Self, OpenError> {
        if absent == Absent::Refuse && !path.is_file() {
            return Err(OpenError::Absent(std::path::absolute(&path).unwrap_or(path)));
        }
        let dialect = Dialect::Sqlite;
        let about = |error: &dyn std::fmt::Display| StoreError::Unavailable {
            backend: dialect.name(),
            reason: format!("{}: {error}", path.display()),
        };
        let location = path.clone();
        let created = tokio::task::spawn_blocking(move || create_and_lock(&location));
        let (path, lock) = created
            .await
            .map_err(|error| about(&error))?
            .map_err(|error| about(&error))?;

        sqlx::any::install_default_drivers();
        let options: AnyConnectOptions = sqlite_url(&path)
            .parse()
            .map_err(|error| OpenError::Configuration(format!("{error}")))?;
        let pool = AnyPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    for pragma in SQLITE_PRAGMAS {
                        sqlx::query(pragma).execute(&mut *connection).await?;
                    }
                    Ok(())
                })
            })
            .connect_with(options.disable_statement_logging())
            .await
            .map_err(|error| about(&error))?;
        migrate(&SQLITE_MIGRATIONS, &pool, dialect).await?;
        drop(lock);
        Ok(Self { pool, dialect })
    }

    /// A transaction that sees one state of the database throughout.
    async fn begin_read(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let begun = self.pool.begin_with(self.dialect.begin_read()).await;
        begun.map_err(|error| self.dialect.error(&error))
    }

    async fn begin_write(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let begun = self.pool.begin_with(self.dialect.begin_write()).await;
        begun.map_err(|error| self.dialect.error(&error))
    }
}

/// What to do about a database that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absent {
    Create,
    Refuse,
}

/// What differs between the databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Sqlite,
    MySql,
    Postgres,
}

impl Dialect {
    fn of(url: &str) -> Result<Self, OpenError> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Ok(Self::Sqlite),
            Some("mysql" | "mariadb") => Ok(Self::MySql),
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            _ => {
                let reason = "is none of sqlite://PATH, mysql://…, postgres://…".to_owned();
                Err(OpenError::Configuration(reason))
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::MySql => "mysql",
            Self::Postgres => "postgres",
        }
    }

    fn begin_read(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::MySql => "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    /// In SQLite a transaction that reads first and writes later fails at once when another one writes in between.
    fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::MySql | Self::Postgres => "BEGIN",
        }
    }

    /// The statement as this database takes it; `text` never holds data.
    fn sql(self, text: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(match self {
            Self::Sqlite | Self::MySql => text.to_owned(),
            Self::Postgres => numbered(text),
        })
    }

    fn error(self, error: &sqlx::Error) -> StoreError {
        let backend = self.name();
        let reason = error.to_string();
        let is_damage = match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => true,
            // SQLITE_CORRUPT and SQLITE_NOTADB.
            sqlx::Error::Database(error) => {
                self == Self::Sqlite && matches!(error.code().as_deref(), Some("11" | "26"))
            }
            _ => false,
        };
        if is_damage {
            StoreError::Corrupt { backend, reason }
        } else {
            StoreError::Unavailable { backend, reason }
        }
    }
}

/// Replaces each `?` outside of literals by `$1`, `$2` and so on.
fn numbered(text: &str) -> String {
    let mut statement = String::with_capacity(text.len() + 16);
    let mut number = 0;
    let mut in_literal = false;
    for c in text.chars() {
        in_literal ^= c == '\'';
        if c == '?' && !in_literal {
            number += 1;
            statement.push('$');
            statement.push_str(&number.to_string());
        } else {
            statement.push(c);
        }
    }
    statement
}

async fn migrate(migrations: &Migrator, pool: &AnyPool, dialect: Dialect) -> Result<(), OpenError> {
    let known = migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
    migrations.run(pool).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) => OpenError::Newer { found, known },
        MigrateError::Execute(error) => dialect.error(&error).into(),
        other => OpenError::Store(StoreError::Unavailable {
            backend: dialect.name(),
            reason: other.to_string(),
        }),
    })
}

/// What stands for itself in the path of a URL.
const URL_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// The address of the SQLite database at `path`, as [`Database::open`] takes it.
pub fn sqlite_url(path: &Path) -> String {
    format!("sqlite://{}", utf8_percent_encode(&path.to_string_lossy(), URL_PATH))
}

fn sqlite_path(url: &str) -> Result<PathBuf, OpenError> {
    let rest = url
        .strip_prefix("sqlite://")
        .filter(|rest| !rest.is_empty() && !rest.contains(['?', '#']));
    let path = rest.and_then(|rest| percent_decode_str(rest).decode_utf8().ok());
    let path = path.filter(|path| path != ":memory:" && !path.ends_with('/'));
    path.map(|path| PathBuf::from(path.as_ref())).ok_or_else(|| {
        let reason = "must be sqlite:// and the path of a file, without parameters".to_owned();
        OpenError::Configuration(reason)
    })
}

/// Creates the file if it is not there, and returns its absolute path and a lock beside it, held until dropped: SQLite
/// has none of its own for migrations, so two instances starting together would both run them.
fn create_and_lock(path: &Path) -> io::Result<(PathBuf, File)> {
    let path = std::path::absolute(path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut lock_path = path.clone().into_os_string();
    lock_path.push(".lock");
    let owner_only = |options: &mut OpenOptions, path: &Path| options.mode(0o600).open(path);
    let lock = owner_only(OpenOptions::new().write(true).create(true), Path::new(&lock_path))?;
    lock.lock()?;
    if !path.exists() {
        owner_only(OpenOptions::new().write(true).create_new(true), &path)?;
        File::open(folder)?.sync_all()?;
    }
    Ok((path, lock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_outside_of_literals() {
        assert_eq!(
            Dialect::Postgres
                .sql("SELECT '?''?' FROM t WHERE a = ? AND b IN (?, ?)")
                .0,
            "SELECT '?''?' FROM t WHERE a = $1 AND b IN ($2, $3)"
        );
        assert_eq!(Dialect::MySql.sql("a = ?").0, "a = ?");
    }

    #[test]
    fn a_path_is_taken_from_the_url() {
        for (url, path) in [
            ("sqlite://data/wxfaq.db", Some("data/wxfaq.db")),
            ("sqlite:///var/lib/wxfaq/wxfaq.db", Some("/var/lib/wxfaq/wxfaq.db")),
            ("sqlite://%E9%A2%98%E5%BA%93.db", Some("题库.db")),
            ("sqlite://", None),
            ("sqlite://:memory:", None),
            ("sqlite://a.db?mode=memory", None),
            ("sqlite://data/", None),
        ] {
            assert_eq!(sqlite_path(url).ok().as_deref(), path.map(Path::new), "{url}");
        }
        for path in ["data/wxfaq.db", "a%20b#c/题 库?.db", "/var/lib/wxfaq/wxfaq.db"] {
            assert_eq!(sqlite_path(&sqlite_url(Path::new(path))).unwrap(), Path::new(path));
        }
    }

    #[tokio::test]
    async fn other_databases_are_refused_without_showing_the_address() {
        for (url, expected) in [
            (
                "mysql://u:secret@h/d",
                "database.url: mysql is not available yet, use sqlite://PATH",
            ),
            (
                "postgres://u:secret@h/d",
                "database.url: postgres is not available yet, use sqlite://PATH",
            ),
            (
                "secret",
                "database.url: is none of sqlite://PATH, mysql://…, postgres://…",
            ),
        ] {
            assert_eq!(Database::open(url).await.unwrap_err().to_string(), expected);
        }
    }
}
