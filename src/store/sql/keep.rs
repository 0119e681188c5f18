//! What stood in a database before it is migrated, kept by itself: of SQLite a copy beside the file, of a server a backup
//! in a folder.
//!
//! [`beside`] and [`in_folder`] return when what they keep is on the disk under its name; until then nothing is migrated.
//! It is written under a name that every attempt has in common, which goes with the attempt, and what is kept of the very
//! same state stands for it: a service that cannot migrate and is started again and again leaves nothing behind.

use super::{BackupError, Database, Place, StoreError, check_backup};
use crate::bank::format::beijing;
use sqlx::AnyConnection;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Of one database before one migration at most so many are kept, the first of all and the last: somebody may go on
/// writing while an upgrade is tried in vain, and the disk shall not fill.
const MOST_KEPT: usize = 8;

/// What stands beside a file of SQLite that somebody has opened.
const BESIDE: [&str; 3] = [".lock", "-wal", "-shm"];

/// Of every file of SQLite's.
const SQLITE_HEAD_BYTES: u64 = 100;

/// Why nothing was kept.
#[derive(Debug, thiserror::Error)]
#[error("nothing can be kept of it before migrating: {0}")]
pub(super) enum KeepError {
    File(#[from] io::Error),
    Database(#[from] sqlx::Error),
    Backup(#[from] BackupError),
    Store(#[from] StoreError),
}

/// Copies SQLite's file, as it is before migration number `next`, into one beside it, whose path is returned. What was
/// kept before stays, and stands for this one if it is the same to the byte.
pub(super) async fn beside(file: &Path, next: i64, connection: &mut AnyConnection) -> Result<PathBuf, KeepError> {
    let first = with_ending(file, &format!(".before-migration-{next}"));
    // SQLite writes into a file that is there and empty; so it is the owner's from the beginning.
    let unfinished = Unfinished::create(with_ending(&first, ".tmp"))?;
    let into = sqlx::query("VACUUM INTO ?").bind(unfinished.path.to_string_lossy().into_owned());
    into.execute(connection).await?;
    let kept = kept_as(&first)?;
    for (_, copy) in &kept {
        if is_as_written(copy)? && is_same(copy, &unfinished.path)? {
            return Ok(copy.clone());
        }
    }
    let copy = match kept.last() {
        None => first.clone(),
        Some((number, _)) => with_ending(&first, &format!("-{}", number + 1)),
    };
    unfinished.finish(&copy)?;
    let_go(kept_as(&first)?.into_iter().map(|(_, copy)| copy))?;
    Ok(copy)
}

/// Backs a server's database up, as it is before migration number `next`, into a file of its own in the folder of
/// `place`, if that names one, and returns its path. What was kept before stays, and stands for this one if it holds the
/// same.
pub(super) async fn in_folder(
    database: &Database,
    place: Place<'_>,
    name: &str,
    next: i64,
) -> Result<Option<PathBuf>, KeepError> {
    let Some(folder) = place.backups else {
        return Ok(None);
    };
    let folder = std::path::absolute(folder)?;
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let step = format!("{name}-before-migration-{next}");
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let unfinished = Unfinished::create(folder.join(format!("{step}.backup.tmp")))?;
    let mut out = BufWriter::new(&unfinished.file);
    let contents = database.back_up(&mut out, now).await?;
    out.flush()?;
    drop(out);
    let kept = backups_in(&folder, &format!("{step}-revision-"))?;
    for copy in &kept {
        // One that is gone by now, or not whole, stands for nothing.
        let checked = File::open(copy).map_err(BackupError::from);
        let checked = checked.and_then(|copy| check_backup(BufReader::new(copy)));
        if checked.is_ok_and(|kept| kept.state == contents.state) {
            return Ok(Some(copy.clone()));
        }
    }
    let time = beijing::format(now).replace([':', ' '], "-");
    let named = format!("{step}-revision-{}-{time}", contents.revision);
    let mut copy = folder.join(format!("{named}.backup"));
    let mut number = 2;
    while copy.exists() {
        copy = folder.join(format!("{named}-{number}.backup"));
        number += 1;
    }
    unfinished.finish(&copy)?;
    let_go(backups_in(&folder, &format!("{step}-revision-"))?.into_iter())?;
    Ok(Some(copy))
}

/// The copies beside SQLite's file with their numbers, from the first to the last.
fn kept_as(first: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let name = first.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = first.parent().unwrap_or(Path::new("/"));
    let mut kept = Vec::new();
    for file in fs::read_dir(folder)? {
        let file = file?;
        let found = file.file_name();
        let number = found
            .to_str()
            .and_then(|found| found.strip_prefix(&name))
            .and_then(|rest| match rest {
                "" => Some(1),
                _ => rest.strip_prefix('-')?.parse().ok(),
            });
        kept.extend(number.map(|number| (number, file.path())));
    }
    kept.sort();
    Ok(kept)
}

/// The backups in a folder whose names begin so, from the first to the last written.
fn backups_in(folder: &Path, beginning: &str) -> io::Result<Vec<PathBuf>> {
    let mut kept = Vec::new();
    for file in fs::read_dir(folder)? {
        let file = file?;
        let name = file.file_name();
        let is_meant = name
            .to_str()
            .is_some_and(|name| name.starts_with(beginning) && name.ends_with(".backup"));
        if !is_meant {
            continue;
        }
        match file.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            metadata => kept.push((metadata?.modified()?, file.path())),
        }
    }
    kept.sort();
    Ok(kept.into_iter().map(|(_, path)| path).collect())
}

/// Whether nobody has written to the copy through SQLite since, which would stand in its log.
fn is_as_written(copy: &Path) -> io::Result<bool> {
    match fs::metadata(with_ending(copy, "-wal")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        log => Ok(log?.len() == 0),
    }
}

/// Whether two databases of SQLite hold the same; one that is not there holds nothing. Their heads hold counters of what was
/// done to them.
fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let open = |path: &Path| match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    };
    let (Some(one), Some(other)) = (open(one)?, open(other)?) else {
        return Ok(false);
    };
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (BufReader::new(one), BufReader::new(other));
    for file in [&mut one, &mut other] {
        file.seek(SeekFrom::Start(SQLITE_HEAD_BYTES))?;
    }
    let (mut ours, mut theirs) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read = one.read(&mut ours)?;
        if read == 0 {
            return Ok(true);
        }
        other.read_exact(&mut theirs[..read])?;
        if ours[..read] != theirs[..read] {
            return Ok(false);
        }
    }
}

/// Removes what is more than [`MOST_KEPT`], from the second on: the first one is from before anything was tried.
fn let_go(kept: impl ExactSizeIterator<Item = PathBuf>) -> io::Result<()> {
    let spare = kept.len().saturating_sub(MOST_KEPT);
    for copy in kept.skip(1).take(spare) {
        tracing::info!(copy = %copy.display(), "an older copy of the database goes, there are later ones");
        fs::remove_file(&copy)?;
        for own in BESIDE {
            // Mostly it is not there.
            let _ = fs::remove_file(with_ending(&copy, own));
        }
    }
    Ok(())
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
    fn the_first_copy_stays_and_the_last_ones_do() {
        let folder = tempfile::tempdir().unwrap();
        let first = folder.path().join("a.db.before-migration-20");
        for number in 1..=12 {
            let ending = if number == 1 {
                String::new()
            } else {
                format!("-{number}")
            };
            fs::write(with_ending(&first, &ending), "").unwrap();
        }
        for other in ["-wal", "-2-wal", ".tmp", ".before-migration-20", "1"] {
            fs::write(with_ending(&first, other), "").unwrap();
        }
        let kept = kept_as(&first).unwrap();
        assert_eq!(kept.len(), 12);
        let_go(kept.into_iter().map(|(_, copy)| copy)).unwrap();
        let numbers: Vec<u64> = kept_as(&first).unwrap().into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [1, 6, 7, 8, 9, 10, 11, 12]);
        assert!(!with_ending(&first, "-2-wal").exists());
        assert!(with_ending(&first, "-wal").exists());
    }

    #[test]
    fn backups_stand_in_the_order_in_which_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        for (name, at) in [
            ("a-2.backup", 2),
            ("a-1.backup", 3),
            ("a-3.backup", 1),
            ("b-1.backup", 1),
            ("a-1.tmp", 1),
        ] {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(UNIX_EPOCH + std::time::Duration::from_secs(at))
                .unwrap();
        }
        let found = backups_in(folder.path(), "a-").unwrap();
        assert_eq!(
            found,
            ["a-3.backup", "a-2.backup", "a-1.backup"].map(|name| folder.path().join(name))
        );
    }

    #[test]
    fn files_are_compared_to_the_last_byte() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let mut content = vec![7; 200_000];
        let (one, same) = (file("one", &content), file("same", &content));
        content[199_999] = 8;
        let (other, longer) = (
            file("other", &content),
            file("longer", &[content.as_slice(), b"9"].concat()),
        );
        assert!(is_same(&one, &same).unwrap());
        let mut counted = vec![7; 200_000];
        counted[99] = 8;
        assert!(is_same(&file("counted", &counted), &one).unwrap());
        for unlike in [other, longer, folder.path().join("absent")] {
            assert!(!is_same(&unlike, &one).unwrap(), "{}", unlike.display());
        }
        assert!(is_as_written(&one).unwrap());
        file("one-wal", b"");
        assert!(is_as_written(&one).unwrap());
        file("one-wal", b"written");
        assert!(!is_as_written(&one).unwrap());
    }
}
