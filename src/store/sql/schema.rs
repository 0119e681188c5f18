//! The schema: brought up to date when the database is opened, by one process at a time.
//!
//! Each database has its migrations in a folder of its own, equal in number and meaning, and forward only: a file there
//! is never changed once released. MySQL commits every change of the schema on its own, so its files are written to be
//! run again: what was interrupted is repeated at the next start.

use super::OpenError;
use super::dialect::Dialect;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AnyConnection, Row};
use std::sync::LazyLock;
use std::time::Duration;

/// How long another process may take with its migrations.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// Held by connections that migrate, until they are closed. In the file of SQLite the caller holds a lock.
const MYSQL_LOCK: &str = "SELECT GET_LOCK(CONCAT('wxfaq.', MD5(DATABASE())), 60) AS locked";
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

/// Brings the schema up to date. On a server the connection has to be closed afterwards.
pub(super) async fn migrate(dialect: Dialect, connection: &mut AnyConnection) -> Result<(), OpenError> {
    lock(dialect, connection).await?;
    if dialect == Dialect::MySql && is_there(dialect, connection).await? {
        let forget = sqlx::query("DELETE FROM _sqlx_migrations WHERE success = FALSE");
        let forgotten = forget.execute(&mut *connection).await;
        if forgotten.map_err(|error| dialect.error(&error))?.rows_affected() > 0 {
            tracing::warn!("a migration of the database was interrupted and is run again");
        }
    }
    let migrations = dialect.migrations();
    let known = migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
    // `run` takes what can be acquired, of which the compiler does not see that the future is `Send`.
    let run = migrations.run_direct(None, connection, false).await;
    run.map_err(|error| match error {
        MigrateError::VersionMissing(found) => OpenError::Newer { found, known },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => dialect.error(&error).into(),
        other => dialect.unavailable(other).into(),
    })
}

/// The first migration that is to be run on a SQLite database which others have been run on; `None`: there is none.
pub(super) async fn next_migration(dialect: Dialect, connection: &mut AnyConnection) -> Result<Option<i64>, OpenError> {
    let select = "SELECT COUNT(*) AS found FROM sqlite_schema WHERE name = '_sqlx_migrations'";
    let number = async |connection: &mut AnyConnection, select: &'static str| {
        let row = sqlx::query(select).fetch_one(connection).await;
        row.and_then(|row| row.try_get::<i64, _>("found"))
            .map_err(|error| dialect.error(&error))
    };
    if number(connection, select).await? == 0 {
        return Ok(None);
    }
    let last = number(
        connection,
        "SELECT COALESCE(MAX(version), 0) AS found FROM _sqlx_migrations",
    )
    .await?;
    let versions = dialect.migrations().iter().map(|migration| migration.version);
    Ok(versions.filter(|version| *version > last && last > 0).min())
}

/// Whether a server's database has ever been migrated.
pub(super) async fn is_there(dialect: Dialect, connection: &mut AnyConnection) -> Result<bool, OpenError> {
    let current = match dialect {
        Dialect::Postgres => "current_schema()",
        Dialect::Sqlite | Dialect::MySql => "DATABASE()",
    };
    let select = format!(
        "SELECT COUNT(*) AS found FROM information_schema.tables \
         WHERE table_name = '_sqlx_migrations' AND table_schema = {current}"
    );
    let row = sqlx::query(dialect.sql(&select)).fetch_one(&mut *connection).await;
    let found = row.and_then(|row| row.try_get::<i64, _>("found"));
    Ok(found.map_err(|error| dialect.error(&error))? > 0)
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
