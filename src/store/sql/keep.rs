//! What stood in a database before it is migrated, kept by itself: of SQLite a copy beside the file, of a server a backup
//! in a folder.
//!
//! [`beside`] and [`in_folder`] return when what they keep is on the disk under its name; until then nothing is migrated.
//! It is written under a name that every attempt has in common, which goes with the attempt: a service that cannot migrate
//! and is started again and again leaves nothing behind.

use super::{BackupError, Database, Place, StoreError};
use crate::bank::format::beijing;
use sqlx::AnyConnection;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, DirEntry, File, OpenOptions};
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
    // SQLite writes into a file that is there and empty; so it is the owner's from the beginning.
    let unfinished = Unfinished::create(with_ending(&copy, ".tmp"))?;
    let into = sqlx::query("VACUUM INTO ?").bind(unfinished.path.to_string_lossy().into_owned());
    into.execute(connection).await?;
    unfinished.finish(&copy)
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
    let step = format!("{name}-before-migration-{next}");
    let beginning = format!("{step}-revision-{revision}-");
    let now = SystemTime::now();
    if is_kept(fs::read_dir(&folder)?, &beginning, now)? {
        return Ok(());
    }
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let time = beijing::format(now).replace([':', ' '], "-");
    let copy = folder.join(format!("{beginning}{time}.backup"));
    let unfinished = Unfinished::create(folder.join(format!("{step}.backup.tmp")))?;
    let mut out = BufWriter::new(&unfinished.file);
    database.back_up(&mut out, now).await?;
    out.flush()?;
    drop(out);
    unfinished.finish(&copy)
}

/// Whether such a backup of the last hour is among the files. One that is gone by now is not.
fn is_kept(files: impl Iterator<Item = io::Result<DirEntry>>, beginning: &str, now: SystemTime) -> io::Result<bool> {
    for file in files {
        let file = file?;
        let name = file.file_name();
        let is_meant = name
            .to_str()
            .is_some_and(|name| name.starts_with(beginning) && name.ends_with(".backup"));
        if !is_meant {
            continue;
        }
        let made = match file.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?.modified()?,
        };
        if now.duration_since(made).is_ok_and(|age| age < STANDS_FOR) {
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

/// A file on its way to its name; without one it goes again.
struct Unfinished {
    path: PathBuf,
    file: File,
}

impl Unfinished {
    /// What is kept may hold what followers wrote: it is the owner's alone.
    fn create(path: PathBuf) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self { path, file })
    }

    /// Gives what is written its name, to stay.
    fn finish(self, copy: &Path) -> Result<(), KeepError> {
        self.file.sync_all()?;
        fs::rename(&self.path, copy)?;
        File::open(copy.parent().unwrap_or(Path::new("/")))?.sync_all()?;
        tracing::info!(
            copy = %copy.display(),
            "the database is about to be migrated; what it holds is kept, with what followers wrote: \
             delete the copy when this release has proved itself"
        );
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Under its name it is here no more.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_by_now_is_not_kept_and_other_files_are_nobodys_business() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["a-1.backup", "other.tmp"].map(|name| folder.path().join(name));
        let listed = || fs::read_dir(folder.path()).unwrap();
        for path in &names {
            fs::write(path, "").unwrap();
        }
        let now = || SystemTime::now() + Duration::from_secs(1);
        assert!(is_kept(listed(), "a-", now()).unwrap());
        assert!(!is_kept(listed(), "b-", now()).unwrap());
        assert!(!is_kept(listed(), "a-", now() + STANDS_FOR).unwrap());
        let files: Vec<_> = listed().collect();
        assert_eq!(files.len(), 2);
        for path in &names {
            fs::remove_file(path).unwrap();
        }
        assert!(!is_kept(files.into_iter(), "a-", now()).unwrap());
    }
}
