//! `wxfaq backup` and `wxfaq restore`: the whole database in one file, for every kind of database.

use super::import::open_file;
use super::replacement::{Readers, Replacement};
use super::{Exit, Failure, operator};
use crate::app::{self, AppError, Missing};
use crate::bank::format::beijing;
use crate::bot::{Clock, SystemClock};
use crate::store::sql::{BackupError, Contents, Database, Restored, Restorer, Target, check_backup};
use serde_json::{Value, json};
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// `backup`
#[derive(Debug, clap::Args)]
pub struct BackupArgs {
    /// Where to; replaced when it is there.
    pub file: PathBuf,
    /// For programs.
    #[arg(long)]
    pub json: bool,
}

/// `restore`
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// What `backup` wrote.
    pub file: PathBuf,
    /// Also where there is a bank: it goes, and all that is kept beside it.
    #[arg(long)]
    pub replace: bool,
    /// For programs.
    #[arg(long)]
    pub json: bool,
}

/// Writes the backup; a daemon may serve meanwhile.
pub async fn back_up(config: Option<PathBuf>, args: &BackupArgs) -> Result<Exit, Failure> {
    let config = app::configure(config, Missing::Leave)?.config;
    let opened = Database::open_as_it_is(app::place_of(&config)).await;
    let database = opened.map_err(AppError::from)?;
    let written = async {
        let mut file = Replacement::begin(&args.file, Readers::Owner)?;
        let contents = database.back_up(&mut file.out, SystemClock.now()).await?;
        file.finish()?;
        Ok::<_, BackupError>(contents)
    };
    let written = written.await;
    database.close().await;
    let written = written.map_err(|error| failure(&args.file, &error, Exit::CannotCreate))?;
    match args.json {
        true => say!("{}", described(&args.file, &written)),
        false => show(&args.file, &written),
    }
    Ok(Exit::Ok)
}

/// Puts a backup into the database, which is made if there is none.
pub async fn restore(config: Option<PathBuf>, args: &RestoreArgs) -> Result<Exit, Failure> {
    let config = app::configure(config, Missing::Leave)?.config;
    let unreadable = |error: BackupError| failure(&args.file, &error, Exit::NoInput);
    let open = || open_file(&args.file).map(BufReader::new);
    // A file that is not there or not whole makes no database.
    let checked = open().map_err(BackupError::from).and_then(check_backup);
    checked.map_err(unreadable)?;
    let opened = Database::open(app::place_of(&config)).await;
    let database = opened.map_err(AppError::from)?;
    let target = if args.replace { Target::Any } else { Target::Empty };
    let by = Restorer {
        who: &operator(),
        file: &args.file.display().to_string(),
        now: SystemClock.now(),
    };
    let restored = database.restore(open, target, by).await;
    database.close().await;
    let Restored { contents, revision } = restored.map_err(unreadable)?;
    if args.json {
        let mut report = described(&args.file, &contents);
        report["bank_revision"] = revision.into();
        say!("{report}");
        return Ok(Exit::Ok);
    }
    show(&args.file, &contents);
    say!(
        "the bank is at revision {revision}; daemons on this database take it up by themselves, within database.poll_ms"
    );
    Ok(Exit::Ok)
}

fn show(file: &Path, contents: &Contents) {
    let taken = beijing::format(contents.taken_at);
    let Contents { revision, rows, .. } = contents;
    say!("{}: revision {revision}, {rows} rows, taken {taken}", file.display());
}

/// For programs.
fn described(file: &Path, contents: &Contents) -> Value {
    let Contents {
        revision,
        rows,
        taken_at,
        sha256,
        ..
    } = contents;
    json!({ "file": file, "revision": revision, "rows": rows, "taken_at": taken_at, "sha256": sha256 })
}

/// `on_file`: what it means that the file cannot be had.
fn failure(file: &Path, error: &BackupError, on_file: Exit) -> Failure {
    let exit = match error {
        BackupError::File(_) => on_file,
        BackupError::Damaged { .. } | BackupError::Sqlite | BackupError::Newer { .. } | BackupError::Occupied(_) => {
            Exit::BadData
        }
        BackupError::Store(_) => Exit::Unavailable,
    };
    Failure::report(exit, format!("{}: {error}", file.display()))
}
