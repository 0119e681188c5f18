//! The database on a server: its address, what a connection is set to, and what to do when there is no such database.

use super::dialect::{Dialect, told};
use super::{
    ACQUIRE_TIMEOUT, Database, MAX_CONNECTIONS, Migrated, OpenError, Place, Purpose, StoreError, keep, schema,
};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Connection};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that does not even answer this is not given back.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// What an address may say behind `?`. The drivers would ignore the rest or put it into the log, and a misspelt `sslmode`
/// is not to go unnoticed.
const MYSQL_PARAMETERS: [&str; 9] = [
    "ssl-mode", "sslmode", "ssl-ca", "sslca", "ssl-cert", "sslcert", "ssl-key", "sslkey", "socket",
];
const POSTGRES_PARAMETERS: [&str; 10] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
];

/// How every connection reads and writes, whatever the server's defaults are.
const MYSQL_SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'";
const POSTGRES_SESSION: &str = "SET application_name = 'wxfaq'; SET client_min_messages = 'warning'";

/// For how long a statement waits for others, and goes on when nobody may be there any more to hear of it. MariaDB reads
/// the first comment, MySQL the second.
const MYSQL_LIMITS: &str = "SET SESSION innodb_lock_wait_timeout = 5 /*M! , max_statement_time = 60 */ \
                            /*!50708 , max_execution_time = 60000 */";
const POSTGRES_LIMITS: &str = "SET lock_timeout = '5s'; SET statement_timeout = '60s'; \
                               SET idle_in_transaction_session_timeout = '60s'";

/// An address that can be connected to.
struct Address {
    options: AnyConnectOptions,
    /// The database's name.
    name: String,
}

/// Connects, and brings the schema up to date.
pub(super) async fn open(dialect: Dialect, place: Place<'_>, purpose: Purpose) -> Result<AnyPool, OpenError> {
    let address = Address::parse(dialect, place.url)?;
    sqlx::any::install_default_drivers();
    // By a connection of its own: a pool says that it has none, and not why.
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, AnyConnection::connect_with(&address.options)).await;
    let connected = connecting.map_err(|_| {
        let reason = format!("no connection within {} seconds", CONNECT_TIMEOUT.as_secs());
        address.unavailable(dialect, &reason)
    })?;
    let mut connection = connected.map_err(|error| address.refused(dialect, &error))?;
    let pool = pool(dialect, address.options.clone());
    let database = Database {
        pool: pool.clone(),
        dialect,
    };
    let prepared = prepare(&database, &mut connection, (place, &address.name), purpose).await;
    // With it goes the lock.
    let _ = tokio::time::timeout(PING_TIMEOUT, connection.close()).await;
    prepared?;
    Ok(pool)
}

/// Connects when somebody needs a connection.
fn pool(dialect: Dialect, options: AnyConnectOptions) -> AnyPool {
    let (session, limits) = session_and_limits(dialect);
    AnyPoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(session).execute(&mut *connection).await?;
                sqlx::raw_sql(limits).execute(&mut *connection).await?;
                Ok(())
            })
        })
        // The pool waits for ever for what it takes back, and as long the connection counts as in use.
        .after_release(|connection, _| {
            Box::pin(async move {
                match tokio::time::timeout(PING_TIMEOUT, connection.ping()).await {
                    Ok(answer) => answer.map(|()| true),
                    Err(_) => Err(sqlx::Error::PoolTimedOut),
                }
            })
        })
        .connect_lazy_with(options)
}

/// What every connection is set to, and what those that do not migrate are limited to.
fn session_and_limits(dialect: Dialect) -> (&'static str, &'static str) {
    match dialect {
        Dialect::Postgres => (POSTGRES_SESSION, POSTGRES_LIMITS),
        Dialect::Sqlite | Dialect::MySql => (MYSQL_SESSION, MYSQL_LIMITS),
    }
}

async fn prepare(
    database: &Database,
    connection: &mut AnyConnection,
    (place, name): (Place<'_>, &str),
    purpose: Purpose,
) -> Result<(), OpenError> {
    let dialect = database.dialect;
    let set = sqlx::raw_sql(session_and_limits(dialect).0)
        .execute(&mut *connection)
        .await;
    set.map_err(|error| dialect.error(&error))?;
    if purpose != Purpose::Create && !schema::is_there(dialect, connection).await? {
        return Err(OpenError::Absent(format!(
            "question bank in the database {name} on the server"
        )));
    }
    if !purpose.migrates() {
        return schema::look(dialect, connection, purpose).await;
    }
    let pending = schema::begin(dialect, connection).await?;
    let mut kept = None;
    if let Some(pending) = pending {
        let copy = keep::in_folder(database, place, name, pending.next).await;
        kept = copy.map_err(|error| dialect.unavailable(error))?;
    }
    schema::run(dialect, connection).await?;
    if let Some(pending) = pending {
        (place.told)(&Migrated::new(pending, kept));
    }
    Ok(())
}

impl Address {
    fn parse(dialect: Dialect, url: &str) -> Result<Self, OpenError> {
        let refuse = |reason: String| OpenError::Configuration(reason);
        // The reason alone: the text of the address holds the password.
        let options: AnyConnectOptions = url.parse().map_err(|error| {
            refuse(format!(
                "is no address ({error}); in user and password write @ : / ? # % as %40 and so on"
            ))
        })?;
        let options = options.disable_statement_logging();
        let known: &[&str] = match dialect {
            Dialect::Postgres => &POSTGRES_PARAMETERS,
            Dialect::Sqlite | Dialect::MySql => &MYSQL_PARAMETERS,
        };
        let parameters: Vec<_> = options.database_url.query_pairs().collect();
        if let Some((name, _)) = parameters.iter().find(|(name, _)| !known.contains(&name.as_ref())) {
            let name: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
            return Err(refuse(format!("parameter {name} is none of {}", known.join(", "))));
        }
        let path = percent_encoding::percent_decode_str(options.database_url.path().trim_start_matches('/'));
        let name = path.decode_utf8().map(String::from).unwrap_or_default();
        let spoils = |c: char| c.is_control() || matches!(c, '`' | '"' | '\'' | '/' | '\\' | ';');
        if name.is_empty() || name.contains(spoils) {
            let example = format!("{}://USER:PASSWORD@HOST/NAME", dialect.name());
            return Err(refuse(format!("must name a database, as in {example}")));
        }
        Ok(Self { options, name })
    }

    fn unavailable(&self, dialect: Dialect, reason: &str) -> StoreError {
        let url = &self.options.database_url;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = url.host_str().filter(|host| !host.is_empty());
        let at = host.map(|host| format!("{host}{port}: ")).unwrap_or_default();
        dialect.unavailable(format!("{at}{reason}"))
    }

    /// Why the server did not let us in.
    fn refused(&self, dialect: Dialect, error: &sqlx::Error) -> OpenError {
        if let sqlx::Error::Configuration(reason) = error {
            return OpenError::Configuration(reason.to_string());
        }
        let no_database = error.as_database_error().is_some_and(|error| match dialect {
            Dialect::Postgres => error.code().as_deref() == Some("3D000"),
            // 1049 there is none, 1044 the user may not use it, which MySQL also says of one that is not there.
            Dialect::Sqlite | Dialect::MySql => error
                .try_downcast_ref::<MySqlDatabaseError>()
                .is_some_and(|error| matches!(error.number(), 1044 | 1049)),
        });
        if !no_database {
            return self.unavailable(dialect, &told(error)).into();
        }
        let Self { name, .. } = self;
        let user = percent_encoding::percent_decode_str(self.options.database_url.username()).decode_utf8_lossy();
        let user: String = user
            .chars()
            .filter(|c| !matches!(c, '"' | '\'') && !c.is_control())
            .collect();
        let remedy = match dialect {
            Dialect::Postgres => {
                format!(r#"CREATE DATABASE "{name}" OWNER "{user}" ENCODING 'UTF8' TEMPLATE template0;"#)
            }
            Dialect::Sqlite | Dialect::MySql => {
                format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4; GRANT ALL ON `{name}`.* TO '{user}'@'%';")
            }
        };
        OpenError::NoDatabase {
            name: name.clone(),
            remedy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_meant_is_refused_without_showing_it() {
        for (url, expected) in [
            (
                "mysql://u:canary@h",
                "must name a database, as in mysql://USER:PASSWORD@HOST/NAME",
            ),
            ("postgres://u:canary@h/a%22b", "must name a database"),
            (
                "postgres://u:canary@h/d?pasword=canary",
                "parameter pasword is none of sslmode,",
            ),
            ("postgres://u@h/d?password=canary", "parameter password is none of"),
            ("mysql://u:canary@h/d?sslmod=REQUIRED", "parameter sslmod is none of"),
            ("mysql://u:canary#@h/d", "is no address ("),
            ("mysql://u:canary@h:port/d", "is no address ("),
        ] {
            let dialect = Dialect::of(url).unwrap();
            let error = Address::parse(dialect, url).map(|_| ()).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("database.url: {expected}")),
                "{url}: {error}"
            );
            assert!(!error.contains("canary"), "{error}");
        }
        for url in [
            "mariadb://u@h/d?ssl-mode=REQUIRED",
            "postgres:///d?host=/run/postgresql",
            "mysql://u@localhost/题库?socket=/s",
        ] {
            assert!(Address::parse(Dialect::of(url).unwrap(), url).is_ok(), "{url}");
        }
    }
}
