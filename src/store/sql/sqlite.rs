//! The database as a file: its address, how it is made, and what its connections are set to.

use super::dialect::Dialect;
use super::{ACQUIRE_TIMEOUT, MAX_CONNECTIONS, Migrated, OpenError, Place, Purpose, StoreError, keep, schema};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyPool, ConnectOptions, Row};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// What each connection to SQLite is set to; nothing of it changes the file. FULL, because in WAL mode NORMAL loses
/// acknowledged writes on power loss. The busy timeout comes last: until then sqlx's longer one lets a connection wait for the
/// recovery after a crash.
const SETTINGS: [&str; 4] = [
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    // What is erased is gone from the file, too.
    "PRAGMA secure_delete = ON",
    "PRAGMA busy_timeout = 200",
];

/// Changes the file for good: only of a database that is ours to change.
const WRITE_AHEAD: &str = "PRAGMA journal_mode = WAL";

/// What every file of SQLite that is not empty begins with.
pub(super) const SQLITE_HEAD: &[u8] = b"SQLite format 3\0";

/// Opens the file and brings its schema up to date. Who does not make a database leaves a file that holds no bank as it is,
/// and who only reads makes nothing beside it either.
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
    let path = std::path::absolute(&path).map_err(|error| about(&error))?;
    if purpose != Purpose::Create {
        let reader = open_as_it_is(&path, &shown, purpose).await?;
        if !purpose.migrates() {
            return Ok(reader);
        }
        reader.close().await;
    }
    let locked = path.clone();
    let locking = tokio::task::spawn_blocking(move || create_and_lock(&locked));
    let lock = locking
        .await
        .map_err(|error| about(&error))?
        .map_err(|reason| dialect.unavailable(reason))?;
    let pool = connect(&path, &shown, &[WRITE_AHEAD]).await?;
    let mut connection = pool.acquire().await.map_err(|error| dialect.error(&error))?;
    let pending = schema::begin(dialect, &mut connection).await?;
    let mut kept = None;
    if let Some(pending) = pending {
        let copy = keep::beside(&path, pending.next, &mut connection).await;
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

/// Connects to a bank that is there, without changing anything.
///
/// # Errors
/// [`OpenError::Absent`] when the file holds none, and what [`schema::look`] says.
async fn open_as_it_is(path: &Path, shown: &str, purpose: Purpose) -> Result<AnyPool, OpenError> {
    let dialect = Dialect::Sqlite;
    let about = |error: &dyn std::fmt::Display| dialect.unavailable(format!("{shown}: {error}"));
    let locked = path.to_owned();
    // Who is just migrating it is to be done with that; its lock says so, if there is one for us.
    let waited = tokio::task::spawn_blocking(move || {
        let lock = File::open(lock_path(&locked)).ok()?;
        lock.lock_shared().ok().map(|()| lock)
    });
    let lock = waited.await.map_err(|error| about(&error))?;
    let pool = connect(path, shown, &[]).await?;
    let looked = async {
        let mut connection = pool.acquire().await.map_err(|error| dialect.error(&error))?;
        if !schema::is_there(dialect, &mut connection).await? {
            return Err(OpenError::Absent(format!("question bank in {shown}")));
        }
        match purpose {
            Purpose::Read | Purpose::Look => schema::look(dialect, &mut connection, purpose).await,
            Purpose::Create | Purpose::Change => Ok(()),
        }
    };
    let looked = looked.await;
    drop(lock);
    if looked.is_err() {
        // What SQLite keeps beside a file goes with its last connection.
        pool.close().await;
    }
    looked.map(|()| pool)
}

/// Connections to a file that is there; each is set to `first` before all that every one is set to.
async fn connect(path: &Path, shown: &str, first: &'static [&'static str]) -> Result<AnyPool, OpenError> {
    sqlx::any::install_default_drivers();
    let options: AnyConnectOptions = sqlite_url(path)
        .parse()
        .map_err(|error| OpenError::Configuration(format!("{error}")))?;
    let pool = AnyPoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                for pragma in first.iter().chain(&SETTINGS) {
                    sqlx::query(*pragma).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .connect_with(options.disable_statement_logging());
    let pool = pool.await;
    Ok(pool.map_err(|error| Dialect::Sqlite.unavailable(format!("{shown}: {error}")))?)
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

fn lock_path(path: &Path) -> PathBuf {
    let mut lock = path.to_owned().into_os_string();
    lock.push(".lock");
    lock.into()
}

/// Creates the file at an absolute path if it is not there, and returns a lock beside it, held until dropped: SQLite
/// has none of its own for migrations, so two instances starting together would both run them.
///
/// # Errors
/// What is wrong, with the path it is wrong with.
fn create_and_lock(path: &Path) -> Result<File, String> {
    let at = |path: &Path| {
        let shown = path.display().to_string();
        move |error: io::Error| format!("{shown}: {error}")
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(at(folder))?;
    let lock_path = lock_path(path);
    let lock = open_lock(path, &lock_path).and_then(|lock| lock.lock().map(|()| lock));
    let lock = lock.map_err(|error| {
        let shown = lock_path.display();
        format!("{shown}: {error}; this file keeps two programs from migrating the database at once, who owns that must own it")
    })?;
    if !path.exists() {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        made.map_err(at(path))?;
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(at(folder))?;
    }
    Ok(lock)
}

/// The lock of the database at `path`. A new one is for whoever the database is for, whoever makes it: root, who looked
/// after the bank once, would keep the daemon out for good.
fn open_lock(path: &Path, lock_path: &Path) -> io::Result<File> {
    let new = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(lock_path);
    match (new, fs::metadata(path)) {
        (Ok(lock), Ok(database)) => {
            lock.set_permissions(Permissions::from_mode(0o600 | database.mode() & 0o660))?;
            // Who is not root may not give it away, but to a group of theirs; the lock still does for them.
            let given = fchown(&lock, Some(database.uid()), Some(database.gid()));
            let _ = given.or_else(|_| fchown(&lock, None, Some(database.gid())));
            Ok(lock)
        }
        (Err(error), _) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().write(true).open(lock_path)
        }
        (new, _) => new,
    }
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
