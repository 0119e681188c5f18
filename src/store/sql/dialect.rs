//! What differs between SQLite, MySQL with MariaDB, and PostgreSQL: how statements are written, transactions begun, and
//! errors told.

use super::{OpenError, StoreError};
use sqlx::AssertSqlSafe;
use sqlx::error::ErrorKind;
use sqlx::mysql::MySqlDatabaseError;
use sqlx::postgres::PgDatabaseError;

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    /// MariaDB too: they differ in nothing that is used here.
    MySql,
    Postgres,
}

impl Dialect {
    /// By the address's scheme.
    pub fn of(url: &str) -> Result<Self, OpenError> {
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

    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::MySql => "mysql",
            Self::Postgres => "postgres",
        }
    }

    /// Begins a transaction that sees one state throughout.
    pub fn begin_read(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::MySql => {
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
                 START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
            }
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        }
    }

    /// Begins a transaction whose statements each see what was committed before them, so that one which has waited for
    /// the lock of another writer sees what that one wrote. In SQLite a transaction that reads first and writes later
    /// fails at once when another one writes in between.
    pub fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::MySql => "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION",
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }

    /// Asks for the version of what runs statements.
    pub fn version(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT sqlite_version() AS version",
            Self::MySql => "SELECT VERSION() AS version",
            Self::Postgres => "SELECT current_setting('server_version') AS version",
        }
    }

    /// The sum of a BIGINT column as a BIGINT; there is a row for each group, so it is never NULL.
    pub fn sum(self, column: &str) -> String {
        let whole = match self {
            Self::Sqlite | Self::Postgres => "BIGINT",
            Self::MySql => "SIGNED",
        };
        format!("CAST(SUM({column}) AS {whole})")
    }

    /// The statement as this database takes it; `text` never holds data.
    pub fn sql(self, text: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(match self {
            Self::Sqlite | Self::MySql => text.to_owned(),
            Self::Postgres => numbered(text),
        })
    }

    pub fn unavailable(self, reason: impl std::fmt::Display) -> StoreError {
        StoreError::Unavailable {
            backend: self.name(),
            reason: reason.to_string(),
        }
    }

    pub fn error(self, error: &sqlx::Error) -> StoreError {
        let fault = match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Fault::Damage,
            sqlx::Error::Database(error) => self.fault(&**error),
            sqlx::Error::PoolTimedOut => return self.unavailable("no connection was to be had in time"),
            _ => Fault::Other,
        };
        let told = told(error);
        match fault {
            Fault::Damage => StoreError::Corrupt {
                backend: self.name(),
                reason: told,
            },
            // The text of MySQL's repeats the value, which may say who somebody is.
            Fault::Taken => self.unavailable("there is a row with that key already"),
            Fault::Busy => StoreError::Busy {
                backend: self.name(),
                reason: told,
            },
            Fault::Full => self.unavailable(format!("it has no room left: {told}")),
            Fault::ReadOnly => self.unavailable(format!("it takes no changes: {told}")),
            Fault::Other => self.unavailable(told),
        }
    }

    /// As [`Dialect::error`] for who has just emptied the table: a key that is taken is another writer's, who was faster.
    pub fn error_among_writers(self, error: &sqlx::Error) -> StoreError {
        match error {
            sqlx::Error::Database(error) if error.kind() == ErrorKind::UniqueViolation => StoreError::Busy {
                backend: self.name(),
                reason: "somebody else has just written a row with the same key; try again".to_owned(),
            },
            error => self.error(error),
        }
    }

    fn fault(self, error: &(dyn sqlx::error::DatabaseError + 'static)) -> Fault {
        if error.kind() == ErrorKind::UniqueViolation {
            return Fault::Taken;
        }
        let code = error.code().unwrap_or_default();
        match self {
            // The low byte is the kind: https://sqlite.org/rescode.html
            Self::Sqlite => match code.parse::<u32>().map(|code| code & 0xff) {
                Ok(5 | 6) => Fault::Busy,
                Ok(8) => Fault::ReadOnly,
                Ok(11 | 26) => Fault::Damage,
                Ok(13) => Fault::Full,
                _ => Fault::Other,
            },
            // 1205 a lock's time is over, 1213 deadlock, 1020 changed meanwhile; 1021, 1114, 3675 disk or table space full;
            // 1290, 1792, 1836 the server or the transaction is read only.
            Self::MySql => match error
                .try_downcast_ref::<MySqlDatabaseError>()
                .map(MySqlDatabaseError::number)
            {
                Some(1020 | 1205 | 1213) => Fault::Busy,
                Some(1021 | 1114 | 3675) => Fault::Full,
                Some(1290 | 1792 | 1836) => Fault::ReadOnly,
                _ => Fault::Other,
            },
            // https://www.postgresql.org/docs/current/errcodes-appendix.html
            Self::Postgres => match &*code {
                "40001" | "40P01" | "55P03" => Fault::Busy,
                "53100" => Fault::Full,
                "25006" => Fault::ReadOnly,
                _ => Fault::Other,
            },
        }
    }
}

/// An error in words. PostgreSQL's end with a line of the server's own source, which sends operators looking in theirs.
pub(super) fn told(error: &sqlx::Error) -> String {
    let database = match error {
        sqlx::Error::Database(database) => database.try_downcast_ref::<PgDatabaseError>(),
        _ => None,
    };
    match database {
        Some(database) => format!("error returned from database: {}", database.message()),
        None => error.to_string(),
    }
}

/// What is wrong, as far as an operator does something else about it.
enum Fault {
    Busy,
    Full,
    ReadOnly,
    /// What is stored cannot be read.
    Damage,
    /// A key is there already.
    Taken,
    Other,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_another_kind_is_refused_without_showing_it() {
        let expected = "database.url: is none of sqlite://PATH, mysql://…, postgres://…";
        for url in ["secret", "oracle://u:secret@h/d", ""] {
            assert_eq!(Dialect::of(url).unwrap_err().to_string(), expected);
        }
    }

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
}
