//! The database as a file: its address, how it is made, and what its connections are set to.

use super::dialect::Dialect;
use super::{ACQUIRE_TIMEOUT, MAX_CONNECTIONS, Migrated, OpenError, Place, Purpose, StoreError, keep, schema};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyPool, ConnectOptions, Row};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

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

/// What every file of SQLite that is not empty begins with.
pub(super) const SQLITE_HEAD: &[u8] = b"SQLite format 3\0";

/// Opens the file and brings its schema up to date.
pub(super) async fn open(place: Place<'_>, purpose: Purpose) -> Result<AnyPool, OpenError> {
    let path = sqlite_path(place.url)?;
    let dialect = Dialect::Sqlite;
    let shown = path.display().to_string();
    match standing_at(fs::metadata(&path)) {
        At::File => {}
        At::Nothing if purpose == Purpose::Create => {}
        At::Nothing => {
            let path = std::path::absolute(&path).unwrap_or(path);
            return Err(OpenError::Absent(format!("database at {}", path.display())));
        }
        At::Unusable(reason) => return Err(dialect.unavailable(format!("{shown}: {reason}")).into()),
    }
    if is_something_else(&path) {
        let reason = format!("{shown} is not a database of SQLite");
        return Err(StoreError::Corrupt {
            backend: dialect.name(),
            reason,
        }
        .into());
    }
    let about = |error: &dyn std::fmt::Display| dialect.unavailable(format!("{shown}: {error}"));
    let created = tokio::task::spawn_blocking(move || create_and_lock(&path));
    let (file, lock) = created
        .await
        .map_err(|error| about(&error))?
        .map_err(|error| about(&error))?;

    sqlx::any::install_default_drivers();
    let options: AnyConnectOptions = sqlite_url(&file)
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
    let mut connection = pool.acquire().await.map_err(|error| dialect.error(&error))?;
    if !purpose.migrates() {
        if !schema::is_there(dialect, &mut connection).await? {
            return Err(OpenError::Absent(format!("question bank in {shown}")));
        }
        schema::look(dialect, &mut connection, purpose).await?;
        return Ok(pool);
    }
    let pending = schema::begin(dialect, &mut connection).await?;
    let mut kept = None;
    if let Some(pending) = pending {
        let copy = keep::beside(&file, pending.next, &mut connection).await;
        kept = Some(copy.map_err(|error| about(&error))?);
    }
    schema::run(dialect, &mut connection).await?;
    if let Some(pending) = pending {
        (place.told)(&Migrated::new(pending, kept));
    }
    drop(lock);
    drop(connection);
    Ok(pool)
}

/// An empty database that is nowhere, with its schema. A second connection would have another one.
pub(super) async fn in_memory() -> Result<AnyPool, OpenError> {
    let dialect = Dialect::Sqlite;
    sqlx::any::install_default_drivers();
    let options: AnyConnectOptions = "sqlite::memory:".parse().expect("an address of SQLite");
    let pool = AnyPoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options.disable_statement_logging())
        .await
        .map_err(|error| dialect.error(&error))?;
    let mut connection = pool.acquire().await.map_err(|error| dialect.error(&error))?;
    schema::run(dialect, &mut connection).await?;
    drop(connection);
    Ok(pool)
}

/// Takes the log over into the file and empties it; `false`: somebody reads from it.
pub(super) async fn truncate_log(pool: &AnyPool) -> Result<bool, sqlx::Error> {
    let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(pool).await?;
    let is_blocked: i64 = row.try_get(0)?;
    Ok(is_blocked == 0)
}

/// What stands for itself in the path of a URL.
const URL_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// The address of the SQLite database at `path`, as `Database::open` takes it.
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

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
enum At {
    File,
    /// Surely.
    Nothing,
    /// There may be a database, but not for us; why.
    Unusable(String),
}

/// As the metadata of the path say, or that there were none to be had.
fn standing_at(found: io::Result<fs::Metadata>) -> At {
    match found {
        Ok(metadata) if metadata.is_file() => At::File,
        Ok(metadata) if metadata.is_dir() => At::Unusable("is a directory".to_owned()),
        Ok(_) => At::Unusable("is no regular file".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => At::Nothing,
        Err(error) => At::Unusable(error.to_string()),
    }
}

/// Whether there is a file that SQLite would refuse by its first bytes, which the pool only says as a connection that takes too
/// long. What cannot be read is somebody else's to say.
fn is_something_else(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(SQLITE_HEAD.len() as u64).read_to_end(&mut head));
    read.is_ok() && !head.is_empty() && head != SQLITE_HEAD
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
    fn only_what_is_surely_not_there_is_absent() {
        let failed = |kind: io::ErrorKind| standing_at(Err(kind.into()));
        assert_eq!(failed(io::ErrorKind::NotFound), At::Nothing);
        for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::NotADirectory] {
            assert_eq!(failed(kind), At::Unusable(kind.to_string()));
        }
        let of = |path: &str| standing_at(fs::metadata(path));
        assert_eq!(
            of(env!("CARGO_MANIFEST_DIR")),
            At::Unusable("is a directory".to_owned())
        );
        assert_eq!(of("/dev/null"), At::Unusable("is no regular file".to_owned()));
        assert_eq!(of(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")), At::File);
        assert_eq!(of(concat!(env!("CARGO_MANIFEST_DIR"), "/no such file")), At::Nothing);
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
}
