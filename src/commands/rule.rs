//! `wxfaq rule`: rules beside the bank, from a file, into a file, as a list.
//!
//! A file is taken whole or not at all, as the bank's; running daemons take a change over at once with Redis, else
//! within `database.poll_ms`.

use super::beside::{self, ImportArgs, Terms};
use super::import::ImportError;
use super::{Exit, Failure, media, unix_seconds};
use crate::app::{self, Missing};
use crate::bank::format::RowError;
use crate::bank::rule::{Warning, review};
use crate::bank::terminal::one_line;
use crate::bank::{Rule, State};
use crate::matching::text::normalize;
use crate::store::sql::Database;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What an import of rules did.
pub type Report = beside::Report<Warning>;

/// What to do with rules.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Args {
    /// Read rules from a file (.jsonl) into the database, all of it or nothing.
    Import(ImportArgs),
    /// Write every rule to a file (.jsonl).
    Export {
        /// .jsonl
        file: PathBuf,
    },
    /// Show every rule in the order in which they answer.
    List {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
}

/// Does it and says what was done.
pub async fn run(file: Option<PathBuf>, args: Args) -> Result<Exit, Failure> {
    let config = app::configure(file, Missing::Leave)?.config;
    match args {
        Args::Import(args) => {
            let review = async |database: &Database, rules: &[Rule]| {
                let mut found = warnings(database, rules).await?;
                found.extend(media::rule_problems(media::Shelf::of(&config), rules));
                Ok(found)
            };
            beside::import_file(&config, &args, Database::rules, review).await
        }
        Args::Export { file } => {
            beside::export(&file, "rules", &beside::load(&config, Database::rules).await?)?;
            Ok(Exit::Ok)
        }
        Args::List { json } => {
            let (_, mut rules) = beside::load(&config, Database::rules).await?;
            rules.sort_by(|a, b| a.trigger.name().cmp(b.trigger.name()).then_with(|| a.answers_before(b)));
            if json {
                say!("{}", serde_json::to_string_pretty(&rules).unwrap_or_default());
                return Ok(Exit::Ok);
            }
            for rule in &rules {
                say!("{}", one_line(&summary(rule)));
            }
            if rules.is_empty() {
                say!("there are no rules; `wxfaq rule import FILE` brings some");
            }
            Ok(Exit::Ok)
        }
    }
}

/// One line of the list. Sensitive words are counted, not shown.
fn summary(rule: &Rule) -> String {
    let trigger = serde_json::to_value(&rule.trigger).unwrap_or_default();
    let items = trigger
        .get(rule.trigger.name())
        .and_then(|items| items.as_array().cloned())
        .unwrap_or_default();
    let items = match (rule.trigger.name(), items.as_slice()) {
        ("sensitive", items) => format!(" ({} words)", items.len()),
        (_, []) => String::new(),
        (_, items) => format!(" {}", serde_json::Value::from(items)),
    };
    let mut parts = vec![
        rule.id.to_string(),
        format!("{}{items}", rule.trigger.name()),
        format!("{} replies", rule.replies.len()),
    ];
    if rule.priority != 0 {
        parts.push(format!("priority {}", rule.priority));
    }
    if !rule.accounts.is_empty() {
        parts.push(format!("accounts {}", rule.accounts.join(", ")));
    }
    if let Some(window) = &rule.window {
        parts.push(serde_json::to_string(window).unwrap_or_default());
    }
    if rule.state != State::Published {
        parts.push(rule.state.as_str().to_owned());
    }
    if !rule.name.is_empty() {
        parts.push(rule.name.clone());
    }
    parts.join("  ")
}

/// Imports the rules that `rows` gives, anew when somebody else changes the bank meanwhile.
pub async fn import<R>(database: &Database, rows: impl Fn() -> R, terms: Terms<'_>) -> Result<Report, Failure>
where
    R: Iterator<Item = (u64, Result<Rule, RowError>)>,
{
    let review = async |rules: &[Rule]| warnings(database, rules).await;
    beside::import(&database.rules(), rows, terms, review).await
}

/// What of `rules` is lost on followers, given the bank in `database`.
pub async fn warnings(database: &Database, rules: &[Rule]) -> Result<Vec<Warning>, Failure> {
    let (_, entries) = database.questions().load().await.map_err(ImportError::from)?;
    let by_id: BTreeMap<_, _> = entries.iter().map(|entry| (&entry.id, entry)).collect();
    Ok(review(rules, &by_id, &normalize, unix_seconds()))
}
