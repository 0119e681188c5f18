//! `wxfaq entry`: one entry of the bank, beside whoever else edits it.
//!
//! `import` takes a whole file as the operator's word; here every change names the revision it was made from, and what
//! somebody changed since is not overwritten.

use super::import::ImportError;
use super::{Exit, Failure, operator, unix_seconds};
use crate::app::{self, AppError, Missing};
use crate::bank::duplicates::{duplicates, merge};
use crate::bank::format::{self, beijing};
use crate::bank::terminal::one_line;
use crate::bank::{Entry, EntryId, State};
use crate::matching::text::normalize;
use crate::store::sql::{Author, BankChange, Database, StoredEntry};
use serde_json::json;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// What to do.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Args {
    /// The entry, who made it and who changed it last.
    Show {
        /// An entry's id.
        #[arg(value_parser = parse_id)]
        id: EntryId,
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Write entries from a file (.jsonl) as `show` prints them, refused when somebody changed one since.
    Put {
        /// .jsonl
        file: PathBuf,
        /// The revision at which you saw them: refused when somebody changed one since. Without it they must be new.
        #[arg(long, value_name = "N", default_value_t = 0)]
        made_from: u64,
    },
    /// Offer it to followers; refused when another entry says the same.
    Publish(Edit),
    /// Withdraw it, and keep it.
    Disable(Edit),
    /// Make it a draft.
    Draft(Edit),
    /// Remove it; `wxfaq revert` brings it back.
    Remove(Edit),
    /// Give one entry the phrasings and tags of another, which goes.
    Merge {
        /// The entry that stays, with its answer.
        #[arg(value_parser = parse_id)]
        kept: EntryId,
        /// The entry that goes.
        #[arg(value_parser = parse_id)]
        other: EntryId,
    },
    /// Name every phrasing that two entries have which one follower could be offered both of.
    Duplicates {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
}

/// An entry to edit.
#[derive(Debug, Clone, clap::Args)]
pub struct Edit {
    /// An entry's id.
    #[arg(value_parser = parse_id)]
    pub id: EntryId,
    /// The revision at which you saw it: refused when somebody changed it since.
    #[arg(long, value_name = "N")]
    pub made_from: Option<u64>,
}

fn parse_id(text: &str) -> Result<EntryId, String> {
    EntryId::parse(text).map_err(|error| error.reason)
}

/// Does it and says what was done.
pub async fn run(file: Option<PathBuf>, args: Args) -> Result<Exit, Failure> {
    let config = app::configure(file, Missing::Leave)?.config;
    let is_change = !matches!(args, Args::Show { .. } | Args::Duplicates { .. });
    let place = app::place_of(&config);
    let opened = match is_change {
        true => Database::open_existing(place).await,
        false => Database::open_to_read(place).await,
    };
    let database = opened.map_err(AppError::from)?;
    let done = match args {
        Args::Show { id, json } => show(&database, &id, json).await,
        Args::Put { file, made_from } => put(&database, &file, made_from).await,
        Args::Publish(edit) => set_state(&database, edit, State::Published).await,
        Args::Disable(edit) => set_state(&database, edit, State::Disabled).await,
        Args::Draft(edit) => set_state(&database, edit, State::Draft).await,
        Args::Remove(edit) => remove(&database, edit).await,
        Args::Merge { kept, other } => merge_entries(&database, &kept, &other).await,
        Args::Duplicates { json } => show_duplicates(&database, json).await,
    };
    if is_change
        && done.is_ok()
        && let Ok(revision) = database.questions().revision().await
    {
        app::announce_revision(&config, revision).await;
    }
    database.close().await;
    done
}

async fn find(database: &Database, id: &EntryId) -> Result<StoredEntry, Failure> {
    let found = database.questions().find(id).await.map_err(AppError::from)?;
    found.ok_or_else(|| Failure::report(Exit::NoInput, format!("there is no entry {id}")))
}

async fn show(database: &Database, id: &EntryId, is_json: bool) -> Result<Exit, Failure> {
    let stored = find(database, id).await?;
    let line = format::to_line(&stored.entry);
    if is_json {
        let mut value = json!(stored);
        value["entry"] = serde_json::from_str(&line).unwrap_or_default();
        say!("{value}");
        return Ok(Exit::Ok);
    }
    let when = beijing::format;
    say!("{line}");
    say!(
        "made     {} by {}",
        when(stored.created_at),
        one_line(&stored.created_by)
    );
    say!(
        "changed  {} by {}, revision {}",
        when(stored.updated_at),
        one_line(&stored.updated_by),
        stored.revision
    );
    Ok(Exit::Ok)
}

async fn put(database: &Database, file: &Path, made_from: u64) -> Result<Exit, Failure> {
    let failed = |exit, error: &dyn Display| Failure::report(exit, format!("{}: {error}", file.display()));
    let bytes = std::fs::read(file).map_err(|error| failed(Exit::NoInput, &error))?;
    let text = format::decode(&bytes).map_err(|error| failed(Exit::BadData, &error))?;
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let entry = |(number, line): (u64, &str)| {
        let refused = |reason: &dyn Display| failed(Exit::BadData, &format_args!("row {number}: {reason}"));
        let mut entry = format::from_line(line).map_err(|reason| refused(&reason))?;
        entry.tidy();
        entry.validate().map_err(|error| refused(&error))?;
        Ok::<_, Failure>(entry)
    };
    let entries = lines.map(entry).collect::<Result<Vec<_>, _>>()?;
    let change = BankChange {
        put: &entries,
        made_from: Some(made_from),
        ..BankChange::default()
    };
    let revision = apply(database, change).await?;
    say!("{} entries; the bank is at revision {revision}", entries.len());
    Ok(Exit::Ok)
}

async fn set_state(database: &Database, edit: Edit, state: State) -> Result<Exit, Failure> {
    let stored = find(database, &edit.id).await?;
    let entry = Entry { state, ..stored.entry };
    let change = BankChange {
        put: &[entry],
        made_from: Some(edit.made_from.unwrap_or(stored.revision)),
        ..BankChange::default()
    };
    let revision = apply(database, change).await?;
    say!("{} is {}; the bank is at revision {revision}", edit.id, state.as_str());
    Ok(Exit::Ok)
}

async fn remove(database: &Database, edit: Edit) -> Result<Exit, Failure> {
    let stored = find(database, &edit.id).await?;
    let change = BankChange {
        remove: std::slice::from_ref(&edit.id),
        made_from: Some(edit.made_from.unwrap_or(stored.revision)),
        ..BankChange::default()
    };
    let revision = apply(database, change).await?;
    say!("{} is gone; the bank is at revision {revision}", edit.id);
    Ok(Exit::Ok)
}

async fn merge_entries(database: &Database, kept: &EntryId, other: &EntryId) -> Result<Exit, Failure> {
    if kept == other {
        return Err(Failure::report(Exit::Usage, "an entry cannot be merged with itself"));
    }
    let revision = database.questions().revision().await.map_err(AppError::from)?;
    let (kept, other) = (find(database, kept).await?.entry, find(database, other).await?.entry);
    let merged = merge(&kept, &other, &normalize);
    let refused = |error| Failure::report(Exit::BadData, format!("{} would break a limit: {error}", kept.id));
    merged.validate().map_err(refused)?;
    let change = BankChange {
        put: &[merged],
        remove: std::slice::from_ref(&other.id),
        made_from: Some(revision),
        ..BankChange::default()
    };
    let revision = apply(database, change).await?;
    say!(
        "{} has what {} had; the bank is at revision {revision}",
        kept.id,
        other.id
    );
    Ok(Exit::Ok)
}

async fn show_duplicates(database: &Database, is_json: bool) -> Result<Exit, Failure> {
    let (_, bank) = database.questions().load().await.map_err(AppError::from)?;
    let found = duplicates(&bank, &normalize);
    match is_json {
        true => say!("{}", serde_json::to_string_pretty(&found).unwrap_or_default()),
        false => found
            .iter()
            .for_each(|duplicate| say!("{}", one_line(&duplicate.to_string()))),
    }
    if found.is_empty() && !is_json {
        say!("no phrasing stands in two entries");
    }
    Ok(if found.is_empty() { Exit::Ok } else { Exit::BadData })
}

async fn apply(database: &Database, change: BankChange<'_>) -> Result<u64, Failure> {
    let by = Author {
        who: operator(),
        source: "command line".to_owned(),
    };
    let done = database.edit(change, &by, unix_seconds(), normalize).await;
    Ok(done.map_err(ImportError::from)?)
}
