//! `wxfaq rule`: rules beside the bank, from a file, into a file, as a list.
//!
//! A file is taken whole or not at all, as the bank's; running daemons take a change over at once with Redis, else
//! within `database.poll_ms`.

use super::beside::{self, Terms};
use super::import::ImportError;
use super::{Exit, Failure, media, operator, unix_seconds};
use crate::app::{self, AppError, Missing};
use crate::bank::format::RowError;
use crate::bank::import::Mode;
use crate::bank::rule::file;
use crate::bank::rule::{Warning, review};
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
    Import {
        /// .jsonl
        file: PathBuf,
        /// append adds and updates; replace also removes what the file lacks.
        #[arg(long, default_value = "append", value_parser = parse_mode)]
        mode: Mode,
        /// Only report what would happen, row by row.
        #[arg(long)]
        dry_run: bool,
        /// For programs.
        #[arg(long)]
        json: bool,
    },
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

/// As clap wants it.
pub fn parse_mode(text: &str) -> Result<Mode, String> {
    match text {
        "append" => Ok(Mode::Append),
        "replace" => Ok(Mode::Replace),
        _ => Err("append or replace".to_owned()),
    }
}

/// Does it and says what was done.
pub async fn run(file: Option<PathBuf>, args: Args) -> Result<Exit, Failure> {
    let config = app::configure(file, Missing::Leave)?.config;
    let url = config.database_url.expose();
    match args {
        Args::Import {
            file,
            mode,
            dry_run,
            json,
        } => {
            let text = beside::read(&file)?;
            let terms = Terms {
                mode,
                dry_run,
                who: &operator(),
                source: "import",
            };
            let database = Database::open(url).await.map_err(AppError::from)?;
            let report = import(&database, || file::read(&text), terms).await;
            database.close().await;
            let mut report = report?;
            if report.applied {
                app::announce_revision(&config, report.revision).await;
            }
            let rules: Vec<Rule> = file::read(&text).filter_map(|(_, rule)| rule.ok()).collect();
            let problems = media::rule_problems(media::Shelf::of(&config), &rules);
            report.warnings.extend(problems);
            match json {
                true => say!("{}", serde_json::to_string_pretty(&report).unwrap_or_default()),
                false => say!("{report}"),
            }
            Ok(report.exit())
        }
        Args::Export { file } => {
            beside::export(&file, "rules", &beside::load(url, Database::rules).await?)?;
            Ok(Exit::Ok)
        }
        Args::List { json } => {
            let (_, mut rules) = beside::load(url, Database::rules).await?;
            rules.sort_by(|a, b| a.trigger.name().cmp(b.trigger.name()).then_with(|| a.answers_before(b)));
            if json {
                say!("{}", serde_json::to_string_pretty(&rules).unwrap_or_default());
                return Ok(Exit::Ok);
            }
            for rule in &rules {
                say!("{}", summary(rule));
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
