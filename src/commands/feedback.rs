//! `wxfaq feedback list`: what followers think of the answers, by entry, or word by word for one.

use super::{Exit, Failure};
use crate::app::{self, AppError, Missing};
use crate::bank::format::beijing;
use crate::bank::terminal::one_line;
use crate::store::sql::{Database, EntryFeedback, Given};
use serde_json::json;
use std::path::PathBuf;

/// Words shown of one entry.
const MOST_WORDS: u32 = 200;

/// What to do.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// How often each answer was of use, worst first; with --entry also what was said about it.
    List(ListArgs),
}

/// `list`
#[derive(Debug, Clone, clap::Args)]
pub struct ListArgs {
    /// Only this entry.
    #[arg(long, value_name = "ID")]
    pub entry: Option<String>,
    /// For programs.
    #[arg(long)]
    pub json: bool,
}

/// Reads the database and prints.
pub async fn run(file: Option<PathBuf>, command: Command) -> Result<Exit, Failure> {
    let Command::List(args) = command;
    let config = app::configure(file, Missing::Leave)?.config;
    let opened = Database::open_to_read(app::place_of(&config)).await;
    let database = opened.map_err(AppError::from)?;
    let feedback = database.feedback();
    let read = async {
        let entries = feedback.by_entry(args.entry.as_deref()).await?;
        let words = match &args.entry {
            Some(entry) => Some(feedback.of_entry(entry, MOST_WORDS).await?),
            None => None,
        };
        Ok::<_, AppError>((entries, words))
    };
    let read = read.await;
    database.close().await;
    let (entries, words) = read?;
    match args.json {
        true => print_json(&entries, words.as_deref()),
        false => print_table(&entries, words.as_deref()),
    }
    Ok(Exit::Ok)
}

fn print_json(entries: &[EntryFeedback], words: Option<&[Given]>) {
    let entry = |entry: &EntryFeedback| {
        let mut value = json!(entry);
        value["rate"] = json!(entry.rate());
        value
    };
    let mut all = json!({ "entries": entries.iter().map(entry).collect::<Vec<_>>() });
    if let Some(words) = words {
        all["words"] = json!(words);
    }
    say!("{}", serde_json::to_string_pretty(&all).unwrap_or_default());
}

fn print_table(entries: &[EntryFeedback], words: Option<&[Given]>) {
    if entries.is_empty() {
        return say!("no feedback so far");
    }
    say!("useful  useless    rate  comments  entry");
    for entry in entries {
        say!(
            "{:>6}  {:>7}  {:>5.1}%  {:>8}  {}  {}",
            entry.useful,
            entry.useless,
            entry.rate() * 100.0,
            entry.comments,
            entry.entry,
            one_line(entry.question.as_deref().unwrap_or("(no longer in the bank)"))
        );
    }
    for word in words.unwrap_or_default() {
        let verdict = if word.useful { "useful" } else { "useless" };
        let comment = one_line(&word.comment);
        say!(
            "{}  {}  {verdict:<7}  {comment}",
            beijing::format(word.given_at),
            word.account
        );
    }
}
