//! What stood in a database before it is migrated, kept by itself: of SQLite a copy beside the file, of a server a backup
//! in a folder.
//!
//! [`beside`] and [`in_folder`] return when what they keep is on the disk under its name; until then nothing is migrated.

use super::{BackupError, Database, Place, StoreError};
use crate::bank::format::beijing;
use sqlx::AnyConnection;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A backup of the same revision that is not older stands for another one: a service that cannot migrate and is started
/// again and again shall not fill the disk.
const STANDS_FOR: Duration = Duration::from_secs(3_600);

/// Why nothing was kept.
#[derive(Debug, thiserror::Error)]
#[error("nothing can be kept of it before migrating: {0}")]
pub(super) enum KeepError {
    File(#[from] io::Error),
    Database(#[from] sqlx::Error),
    Backup(#[from] BackupError),
    Store(#[from] StoreError),
}

/// Copies SQLite's file, as it is before migration number `next`, into one beside it. One that is there already stays: it
/// was taken before the same migration was tried for the first time.
pub(super) async fn beside(file: &Path, next: i64, connection: &mut AnyConnection) -> Result<(), KeepError> {
    let copy = with_ending(file, &format!(".before-migration-{next}"));
    if copy.exists() {
        return Ok(());
    }
    let unfinished = with_ending(&copy, ".tmp");
    // SQLite writes into a file that is there and empty; so it is the owner's from the beginning.
    let made = create(&unfinished)?;
    let into = sqlx::query("VACUUM INTO ?").bind(unfinished.to_string_lossy().into_owned());
    into.execute(connection).await?;
    finish(&made, &unfinished, &copy)
}

/// Backs a server's database up, as it is before migration number `next`, into a file of its own in the folder of
/// `place`, if that names one. `name`: the database's.
pub(super) async fn in_folder(database: &Database, place: Place<'_>, name: &str, next: i64) -> Result<(), KeepError> {
    let Some(folder) = place.backups else {
        return Ok(());
    };
    let folder = std::path::absolute(folder)?;
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let revision = database.questions().revision().await?;
    let beginning = format!("{name}-before-migration-{next}-revision-{revision}-");
    let now = SystemTime::now();
    if is_kept(&folder, &beginning, now)? {
        return Ok(());
    }
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let time = beijing::format(now).replace([':', ' '], "-");
    let copy = folder.join(format!("{beginning}{time}.backup"));
    let unfinished = with_ending(&copy, ".tmp");
    let mut out = BufWriter::new(create(&unfinished)?);
    database.back_up(&mut out, now).await?;
    out.flush()?;
    finish(out.get_ref(), &unfinished, &copy)
}

/// Whether such a backup of the last hour is there.
fn is_kept(folder: &Path, beginning: &str, now: SystemTime) -> io::Result<bool> {
    for file in fs::read_dir(folder)? {
        let file = file?;
        let name = file.file_name();
        let is_meant = name
            .to_str()
            .is_some_and(|name| name.starts_with(beginning) && name.ends_with(".backup"));
        let age = now.duration_since(file.metadata()?.modified()?);
        if is_meant && age.is_ok_and(|age| age < STANDS_FOR) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// What is kept may hold what followers wrote: it is the owner's alone.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Gives what is written its name, to stay.
fn finish(written: &File, unfinished: &Path, copy: &Path) -> Result<(), KeepError> {
    written.sync_all()?;
    fs::rename(unfinished, copy)?;
    File::open(copy.parent().unwrap_or(Path::new("/")))?.sync_all()?;
    tracing::info!(copy = %copy.display(), "the database is about to be migrated; what it holds is kept");
    Ok(())
}
