//! `wxfaq rule`: rules beside the bank, from a file, into a file, as a list.
//!
//! A file is taken whole or not at all, as the bank's; running daemons take a change over at once with Redis, else
//! within `database.poll_ms`.

use super::import::ImportError;
use super::{Exit, Failure, export, media, operator, unix_seconds};
use crate::app::{self, AppError, Missing};
use crate::bank::format::{RowError, decode};
use crate::bank::import::Mode;
use crate::bank::rule::file::{self, RuleRow, RuleVerdict, plan};
use crate::bank::rule::{Warning, review};
use crate::bank::{Rule, RuleId, State};
use crate::matching::text::normalize;
use crate::store::sql::{ApplyError, Author, Database, OpenError};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Larger than any rules within the limits.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// How often the comparison is made anew because somebody edited the bank meanwhile.
const ATTEMPTS: u32 = 5;

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
            let text = read(&file)?;
            let terms = Terms {
                mode,
                dry_run,
                who: &operator(),
                source: "import",
            };
            let database = opened(Database::open(url).await)?;
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
            check_name(&file)?;
            let (revision, rules) = load(url).await?;
            if rules.is_empty() && file.exists() {
                let text = format!(
                    "there are no rules, and {} is there already: it is kept as it is",
                    file.display()
                );
                return Err(Failure::report(Exit::BadData, text));
            }
            let written = export::replace_file(&file, |out| file::write(&rules, out));
            written.map_err(|error| Failure::report(Exit::CannotCreate, format!("{}: {error}", file.display())))?;
            say!("{}: {} rules, revision {revision}", file.display(), rules.len());
            Ok(Exit::Ok)
        }
        Args::List { json } => {
            let (_, mut rules) = load(url).await?;
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

fn check_name(file: &Path) -> Result<(), Failure> {
    if file.extension().is_some_and(|end| end.eq_ignore_ascii_case("jsonl")) {
        return Ok(());
    }
    let text = format!("{}: the name must end in .jsonl", file.display());
    Err(Failure::report(Exit::Usage, text))
}

fn read(file: &Path) -> Result<String, Failure> {
    check_name(file)?;
    let unreadable = |error| Failure::report(Exit::NoInput, format!("{}: {error}", file.display()));
    let bytes = std::fs::metadata(file).map_err(unreadable)?.len();
    if bytes > MAX_FILE_BYTES {
        let text = format!(
            "{} has {bytes} bytes, at most {MAX_FILE_BYTES} are read",
            file.display()
        );
        return Err(Failure::report(Exit::BadData, text));
    }
    let bytes = std::fs::read(file).map_err(unreadable)?;
    let text =
        decode(&bytes).map_err(|error| Failure::report(Exit::BadData, format!("{}: {error}", file.display())))?;
    Ok(text.to_owned())
}

async fn load(url: &str) -> Result<(u64, Vec<Rule>), Failure> {
    let database = opened(Database::open_existing(url).await)?;
    let loaded = database.rules().load().await;
    database.close().await;
    Ok(loaded.map_err(AppError::from)?)
}

fn opened(database: Result<Database, OpenError>) -> Result<Database, AppError> {
    Ok(database?)
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

/// How rules are imported.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    #[expect(missing_docs, reason = "the type says it")]
    pub mode: Mode,
    /// Report only, write nothing.
    pub dry_run: bool,
    /// For the history.
    pub who: &'a str,
    /// For the history: by which way.
    pub source: &'a str,
}

/// What an import of rules did, or why it did nothing.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    #[expect(missing_docs, reason = "the terms' value")]
    pub dry_run: bool,
    /// Whether the rules are now as the file says. `false`: nothing was written.
    pub applied: bool,
    /// The bank's, afterwards.
    pub revision: u64,
    /// Rules that were, or would be, removed.
    pub removed: Vec<RuleId>,
    /// One a row, in the file's order.
    pub rows: Vec<RuleRow>,
    /// Of all rules as they are afterwards.
    pub warnings: Vec<Warning>,
}

impl Report {
    /// [`Exit::BadData`] when a row keeps the file from being imported.
    pub fn exit(&self) -> Exit {
        match self.count(|verdict| matches!(verdict, RuleVerdict::Error { .. })) {
            0 => Exit::Ok,
            _ => Exit::BadData,
        }
    }

    fn count(&self, which: impl Fn(&RuleVerdict) -> bool) -> usize {
        self.rows.iter().filter(|row| which(&row.verdict)).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let is_shown = match row.verdict {
                RuleVerdict::Error { .. } => true,
                RuleVerdict::New | RuleVerdict::Changed => self.dry_run,
                RuleVerdict::Same => false,
            };
            if is_shown {
                writeln!(f, "{row}")?;
            }
        }
        if self.dry_run {
            self.removed.iter().try_for_each(|id| writeln!(f, "removed, {id}"))?;
        }
        self.warnings
            .iter()
            .try_for_each(|warning| writeln!(f, "warning: {warning}"))?;
        let refused = self.count(|verdict| matches!(verdict, RuleVerdict::Error { .. }));
        if refused > 0 {
            return write!(
                f,
                "nothing imported: {refused} of {} rows cannot be taken",
                self.rows.len()
            );
        }
        if self.dry_run {
            write!(f, "dry run, nothing written: ")?;
        }
        let count = |verdict: RuleVerdict| self.count(|found| *found == verdict);
        write!(
            f,
            "{} new, {} changed, {} same, {} removed; the bank is at revision {}",
            count(RuleVerdict::New),
            count(RuleVerdict::Changed),
            count(RuleVerdict::Same),
            self.removed.len(),
            self.revision
        )
    }
}

/// Imports the rows that `rows` gives, anew when somebody else changes the bank meanwhile.
pub async fn import<R>(database: &Database, rows: impl Fn() -> R, terms: Terms<'_>) -> Result<Report, Failure>
where
    R: Iterator<Item = (u64, Result<Rule, RowError>)>,
{
    let author = Author {
        who: terms.who.to_owned(),
        source: terms.source.to_owned(),
    };
    let rules = database.rules();
    let mut attempt = 1;
    loop {
        let (revision, existing) = rules.load().await.map_err(ImportError::from)?;
        let plan = plan(&existing, rows(), terms.mode);
        if terms.mode == Mode::Replace && plan.rows.is_empty() {
            let text = "the file has no rules: replacing the rules by it would remove every one";
            return Err(Failure::report(Exit::BadData, text));
        }
        let mut report = Report {
            dry_run: terms.dry_run,
            applied: false,
            revision,
            removed: plan.remove.clone(),
            warnings: warnings(database, &plan.outcome).await?,
            rows: plan.rows.clone(),
        };
        if terms.dry_run || !plan.is_applicable() {
            return Ok(report);
        }
        match rules
            .apply(&plan.put, &plan.remove, &author, unix_seconds(), revision)
            .await
        {
            Ok(revision) => {
                (report.applied, report.revision) = (true, revision);
                return Ok(report);
            }
            Err(ApplyError::Conflict { .. }) if attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(ImportError::from(error).into()),
        }
    }
}

/// What of `rules` is lost on followers, given the bank in `database`.
pub async fn warnings(database: &Database, rules: &[Rule]) -> Result<Vec<Warning>, Failure> {
    let (_, entries) = database.questions().load().await.map_err(ImportError::from)?;
    let by_id: BTreeMap<_, _> = entries.iter().map(|entry| (&entry.id, entry)).collect();
    Ok(review(rules, &by_id, &normalize, unix_seconds()))
}
