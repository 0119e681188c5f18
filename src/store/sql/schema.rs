//! The schema: brought up to date when the database is opened, by one process at a time.
//!
//! Each database has its migrations in a folder of its own, equal in number and meaning, and forward only: a file there
//! is never changed once released. MySQL commits every change of the schema on its own, so its files are written to be
//! run again: what was interrupted is repeated at the next start.

use super::dialect::Dialect;
use super::{OpenError, Purpose, StoreError};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::{AnyConnection, Row};
use std::sync::LazyLock;
use std::time::Duration;

/// How long another process may take with its migrations.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// Held by connections that migrate, until they are closed. In the file of SQLite the caller holds a lock.
const MYSQL_LOCK: &str = "SELECT GET_LOCK(CONCAT('wxfaq.', MD5(DATABASE())), 60) AS locked";
/// MySQL's `ER_NO_SUCH_TABLE`.
const NO_SUCH_TABLE: u16 = 1146;
/// The number is no one else's as far as we know, and the lock is one of this database.
const POSTGRES_LOCK: &str = "SELECT pg_advisory_lock(8243109573024186)";

impl Dialect {
    fn migrations(self) -> &'static Migrator {
        static SQLITE: LazyLock<Migrator> =
            LazyLock::new(|| unlocked(sqlx::migrate!("src/store/sql/migrations/sqlite")));
        static MYSQL: LazyLock<Migrator> = LazyLock::new(|| unlocked(sqlx::migrate!("src/store/sql/migrations/mysql")));
        static POSTGRES: LazyLock<Migrator> =
            LazyLock::new(|| unlocked(sqlx::migrate!("src/store/sql/migrations/postgres")));
        match self {
            Self::Sqlite => &SQLITE,
            Self::MySql => &MYSQL,
            Self::Postgres => &POSTGRES,
        }
    }
}

/// sqlx's own lock waits for ever, and stays with the connection when a migration fails.
fn unlocked(mut migrations: Migrator) -> Migrator {
    migrations.set_locking(false);
    migrations
}

/// What is to be run on a database on which migrations have been run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    /// The last one that has been.
    pub from: i64,
    /// The first that is to be.
    pub next: i64,
    /// The last that is to be.
    pub to: i64,
}

/// How far the schema of a database has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The last migration that was run there; 0: none.
    pub found: i64,
    /// The last one this program has.
    pub known: i64,
}

/// As it is.
pub(super) async fn standing(dialect: Dialect, connection: &mut AnyConnection) -> Result<Standing, StoreError> {
    let select = "SELECT COALESCE(MAX(version), 0) AS found FROM _sqlx_migrations WHERE success = TRUE";
    Ok(Standing {
        found: number(dialect, connection, select).await?,
        known: known(dialect),
    })
}

/// Whether who changes nothing of the schema can use it.
pub(super) async fn look(dialect: Dialect, connection: &mut AnyConnection, purpose: Purpose) -> Result<(), OpenError> {
    let Standing { found, known } = standing(dialect, connection).await?;
    match found {
        newer if newer > known => Err(OpenError::Newer { found, known }),
        older if older < known && purpose == Purpose::Read => Err(OpenError::Older { found, known }),
        _ => Ok(()),
    }
}

fn known(dialect: Dialect) -> i64 {
    let versions = dialect.migrations().iter().map(|migration| migration.version);
    versions.max().unwrap_or(0)
}

/// Waits until no other process migrates, and says what is to be run; `None`: nothing, or the database is new. On a server the connection has to be closed after [`run`].
pub(super) async fn begin(dialect: Dialect, connection: &mut AnyConnection) -> Result<Option<Pending>, OpenError> {
    lock(dialect, connection).await?;
    if !is_there(dialect, connection).await? {
        return Ok(None);
    }
    look(dialect, connection, Purpose::Change).await?;
    if dialect == Dialect::MySql {
        let forget = sqlx::query("DELETE FROM _sqlx_migrations WHERE success = FALSE");
        let forgotten = forget.execute(&mut *connection).await;
        if forgotten.map_err(|error| dialect.error(&error))?.rows_affected() > 0 {
            tracing::warn!("a migration of the database was interrupted and is run again");
        }
    }
    let from = "SELECT COALESCE(MAX(version), 0) AS found FROM _sqlx_migrations";
    let from = number(dialect, connection, from).await?;
    let versions = dialect.migrations().iter().map(|migration| migration.version);
    let missing = versions.filter(|version| *version > from && from > 0);
    let ends = missing.fold(None, |ends, version| match ends {
        None => Some((version, version)),
        Some((next, to)) => Some((version.min(next), version.max(to))),
    });
    Ok(ends.map(|(next, to)| Pending { from, next, to }))
}

/// Brings the schema up to date, after [`begin`].
pub(super) async fn run(dialect: Dialect, connection: &mut AnyConnection) -> Result<(), OpenError> {
    let migrations = dialect.migrations();
    let known = known(dialect);
    // `run` takes what can be acquired, of which the compiler does not see that the future is `Send`.
    let run = migrations.run_direct(None, connection, false).await;
    run.map_err(|error| match error {
        MigrateError::VersionMissing(found) => OpenError::Newer { found, known },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => dialect.error(&error).into(),
        other => dialect.unavailable(other).into(),
    })
}

/// Whether the database has ever been migrated, also where the user may not look at it.
pub(super) async fn is_there(dialect: Dialect, connection: &mut AnyConnection) -> Result<bool, OpenError> {
    let select = match dialect {
        Dialect::Sqlite => "SELECT COUNT(*) AS found FROM sqlite_schema WHERE name = '_sqlx_migrations'",
        Dialect::MySql => {
            "SELECT COUNT(*) AS found FROM information_schema.tables \
             WHERE table_name = '_sqlx_migrations' AND table_schema = DATABASE()"
        }
        // Its information_schema leaves out the tables, and its search path the schemas, that the user has no right to.
        Dialect::Postgres => {
            "SELECT CASE WHEN current_schema() IS NULL THEN -1 ELSE (SELECT COUNT(*) FROM pg_catalog.pg_class AS tables \
             JOIN pg_catalog.pg_namespace AS schemas ON schemas.oid = tables.relnamespace \
             WHERE tables.relname = '_sqlx_migrations' AND schemas.nspname = current_schema()) END AS found"
        }
    };
    match number(dialect, connection, select).await? {
        ..0 => Err(dialect
            .unavailable("the user may use no schema of the database's search_path")
            .into()),
        0 if dialect == Dialect::MySql => Ok(is_seen_by_name(connection).await?),
        found => Ok(found > 0),
    }
}

/// The same of MySQL by asking for the table, which its `information_schema` leaves out where the user has no right to it.
async fn is_seen_by_name(connection: &mut AnyConnection) -> Result<bool, StoreError> {
    let asked = sqlx::query("SELECT 1 FROM _sqlx_migrations LIMIT 1");
    let Err(error) = asked.fetch_optional(connection).await else {
        return Ok(true);
    };
    let number = error.as_database_error().and_then(|error| {
        let error = error.try_downcast_ref::<MySqlDatabaseError>();
        error.map(MySqlDatabaseError::number)
    });
    match number {
        Some(NO_SUCH_TABLE) => Ok(false),
        _ => Err(Dialect::MySql.error(&error)),
    }
}

/// What a statement gives as `found`.
async fn number(dialect: Dialect, connection: &mut AnyConnection, select: &'static str) -> Result<i64, StoreError> {
    let row = sqlx::query(select).fetch_one(connection).await;
    let found = row.and_then(|row| row.try_get("found"));
    found.map_err(|error| dialect.error(&error))
}

async fn lock(dialect: Dialect, connection: &mut AnyConnection) -> Result<(), OpenError> {
    let statement = match dialect {
        Dialect::Sqlite => return Ok(()),
        Dialect::MySql => MYSQL_LOCK,
        Dialect::Postgres => POSTGRES_LOCK,
    };
    let held = || dialect.unavailable("another process has been migrating it for over a minute");
    let asked = tokio::time::timeout(LOCK_TIMEOUT, sqlx::query(statement).fetch_one(&mut *connection));
    let row = asked
        .await
        .map_err(|_| held())?
        .map_err(|error| dialect.error(&error))?;
    match dialect {
        Dialect::MySql if row.try_get::<i64, _>("locked").ok() != Some(1) => Err(held().into()),
        _ => Ok(()),
    }
}
