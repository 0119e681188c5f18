//! `wxfaq check`: is everything as it must be, before it has to be?
//!
//! Configuration, templates and dictionaries are read as `serve` reads them, these from wherever they are; rules are held
//! to their limits and to one another; database, Redis and WeChat are tried, and what an account may do there is found
//! out. What is wrong is said with its place; the status is that of the first thing that is wrong. Looking makes nothing.

mod wechat;

use super::{Exit, Failure, category, media, rule, texts};
use crate::app::sources::{Layers, Live};
use crate::app::{self, AppError, Missing, Sources};
use crate::bank::beside::{self, Beside};
use crate::bank::category::{counts, upwards};
use crate::bank::duplicates::duplicates;
use crate::bank::history::Subject;
use crate::bank::terminal::lines;
use crate::bank::{Answer, Category, Entry, Rule, TextKind};
use crate::config::Config;
use crate::matching::text::normalize;
use crate::store::fallback::Upstream;
use crate::store::sql::{Database, OpenError, Standing, StoredText};
use serde::Serialize;
use std::path::PathBuf;

/// Categories named in one warning.
const STRAYS_SHOWN: usize = 5;

/// What to leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct Args {
    /// For programs.
    #[arg(long)]
    pub json: bool,
    /// Leave out what needs the network: Redis and WeChat.
    #[arg(long)]
    pub offline: bool,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
struct Finding {
    subject: String,
    #[serde(flatten)]
    verdict: Verdict,
}

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
enum Verdict {
    Good {
        detail: String,
    },
    Warning {
        detail: String,
    },
    Wrong {
        detail: String,
        #[serde(skip)]
        exit: Exit,
    },
}

/// Looks at everything and prints what it finds.
pub async fn run(file: Option<PathBuf>, args: Args) -> Result<Exit, Failure> {
    let place = file
        .as_ref()
        .map_or("embedded defaults".to_owned(), |file| file.display().to_string());
    let config = app::configure(file, Missing::Leave)?.config;
    let mut findings = vec![good(
        "configuration",
        format!("{place}: {} account(s)", config.accounts.len()),
    )];
    findings.extend(config.warnings.iter().map(|warning| {
        finding(
            "configuration",
            Verdict::Warning {
                detail: warning.clone(),
            },
        )
    }));
    let mut saved = Vec::new();
    let of_database = database(&config, &mut saved).await;
    findings.extend(content(&config, &saved));
    findings.extend(of_database);
    if !args.offline {
        findings.extend(redis(&config).await);
        findings.extend(wechat::check(&config).await);
    }
    print(&findings, args.json);
    let wrong = findings.iter().find_map(|finding| match finding.verdict {
        Verdict::Wrong { exit, .. } => Some(exit),
        _ => None,
    });
    Ok(wrong.unwrap_or(Exit::Ok))
}

fn finding(subject: impl Into<String>, verdict: Verdict) -> Finding {
    Finding {
        subject: subject.into(),
        verdict,
    }
}

fn good(subject: impl Into<String>, detail: impl Into<String>) -> Finding {
    finding(subject, Verdict::Good { detail: detail.into() })
}

fn wrong(subject: impl Into<String>, detail: impl Into<String>, exit: Exit) -> Finding {
    finding(
        subject,
        Verdict::Wrong {
            detail: detail.into(),
            exit,
        },
    )
}

/// Templates and dictionaries, with `saved` of the database.
fn content(config: &Config, saved: &[StoredText]) -> Vec<Finding> {
    let sources = Sources::of(config);
    let read = |kind| match kind {
        TextKind::Template => sources.load_templates(saved, &[]).map(|_| ()),
        TextKind::Dictionary => sources.load_dictionaries(saved, &[]).map(|_| ()),
    };
    let looked = |kind| {
        let found = read(kind).and_then(|()| sources.layers(kind, saved));
        overridden(kind, &sources, found)
    };
    TextKind::ALL.into_iter().flat_map(looked).collect()
}

/// What is used in the place of the embedded texts, and what is wrong about it.
fn overridden(kind: TextKind, sources: &Sources, found: Result<Vec<Layers>, AppError>) -> Vec<Finding> {
    let subject = match kind {
        TextKind::Template => "templates",
        TextKind::Dictionary => "dictionaries",
    };
    let all = match found {
        Ok(all) => all,
        // Each line of it names another file.
        Err(error) => {
            let faults = error.to_string();
            let faults = faults.lines().map(|fault| wrong(subject, fault, Exit::Configuration));
            return faults.collect();
        }
    };
    let names = |which: fn(&Live<'_>) -> bool| {
        let found = all.iter().filter(|text| which(&text.live()));
        let names: Vec<&str> = found.map(|text| text.name.file.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let edited = names(|live| matches!(live, Live::Database(_))).map(|names| format!("database: {names}"));
    let files = names(|live| matches!(live, Live::Folder(_)));
    let folder = sources.folder(kind).map(|folder| folder.display().to_string());
    let idle = folder.as_ref().filter(|_| all.iter().all(|text| text.file.is_none()));
    let files = folder
        .as_ref()
        .zip(files)
        .map(|(folder, names)| format!("{folder}: {names}"));
    let places: Vec<String> = edited.into_iter().chain(files).collect();
    let mut findings = match (idle, places.is_empty()) {
        (Some(folder), _) => {
            let detail = format!("{folder}: none of its files overrides an embedded one");
            vec![finding(subject, Verdict::Warning { detail })]
        }
        (None, true) => vec![good(subject, "embedded")],
        (None, false) => Vec::new(),
    };
    findings.extend((!places.is_empty()).then(|| good(subject, places.join("; "))));
    for text in &all {
        if let Some(fault) = texts::fault(text) {
            findings.push(wrong(subject, format!("not used: {fault}"), Exit::BadData));
        }
        let content = text.live().content().ok();
        let emptied = content.and_then(|content| texts::emptied(text, content)).map(|lines| {
            format!(
                "{} is empty: {lines} lines that came with this release are not used",
                text.name
            )
        });
        let warnings = texts::hidden(text).into_iter().chain(emptied);
        findings.extend(warnings.map(|detail| finding(subject, Verdict::Warning { detail })));
    }
    findings
}

/// Also gives out the templates and dictionaries that were edited there.
async fn database(config: &Config, saved: &mut Vec<StoredText>) -> Vec<Finding> {
    let database = match Database::open_as_it_is(app::place_of(config)).await {
        Ok(database) => database,
        // `serve` would start and make it, so nothing is wrong; a mistyped path looks the same.
        Err(error @ OpenError::Absent(_)) => {
            let detail = error.to_string();
            return vec![finding("database", Verdict::Warning { detail })];
        }
        Err(error) => return vec![wrong("database", error.to_string(), Exit::from(&error))],
    };
    let version = match database.version().await {
        Ok(version) => version,
        Err(error) => return vec![wrong("database", error.to_string(), Exit::from(&error))],
    };
    match database.standing().await {
        Ok(Standing { found, known }) if found < known => {
            database.close().await;
            let detail = format!(
                "{version} is at migration {found}, this release works with {known}: `wxfaq serve` migrates it, and keeps what \
                 it holds before; what is in it was not looked at"
            );
            return vec![finding("database", Verdict::Warning { detail })];
        }
        Ok(_) => {}
        Err(error) => return vec![wrong("database", error.to_string(), Exit::from(&error))],
    }
    match database.texts().load().await {
        Ok((_, texts)) => *saved = texts,
        Err(error) => return vec![wrong("database", error.to_string(), Exit::from(&error))],
    }
    let mut of_entries = Vec::new();
    let bank = match database.questions().load().await {
        Ok((revision, entries)) if entries.is_empty() => {
            of_entries.extend(categories(&database, &entries).await);
            let detail = format!("{version}, revision {revision}, the bank is empty: fill it with `wxfaq import FILE`");
            finding("database", Verdict::Warning { detail })
        }
        Ok((revision, entries)) => {
            of_entries.extend(entry_files(config, &entries));
            of_entries.extend(shared_phrasings(&entries));
            of_entries.extend(categories(&database, &entries).await);
            let detail = format!("{version}, revision {revision}, {} entries", entries.len());
            good("database", detail)
        }
        Err(error) => return vec![wrong("database", error.to_string(), Exit::from(&error))],
    };
    let mut findings = vec![bank];
    findings.extend(of_entries);
    findings.extend(rules(config, &database).await);
    database.close().await;
    findings
}

/// Entries whose files followers would not see.
fn entry_files(config: &Config, entries: &[Entry]) -> Vec<Finding> {
    let shelf = media::Shelf::of(config);
    let problem = |entry: &Entry| {
        let reason = shelf.problem(&entry.answer)?;
        Some(wrong("media", format!("{}: {reason}", entry.id), Exit::BadData))
    };
    entries.iter().filter_map(problem).collect()
}

/// What two entries say both to one follower: who asks it gets a list instead of an answer.
fn shared_phrasings(entries: &[Entry]) -> Option<Finding> {
    let found = duplicates(entries, &normalize);
    let first = found.first()?;
    let more = match found.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more; see `wxfaq entry duplicates`"),
    };
    let detail = format!("{first}{more}");
    Some(finding("bank", Verdict::Warning { detail }))
}

/// Settings of categories that cannot be read, that break a limit or do nothing, and categories of entries that none of
/// them is for.
async fn categories(database: &Database, entries: &[Entry]) -> Vec<Finding> {
    let set = match database.categories().load().await {
        Ok((_, set)) => set,
        Err(error) => return vec![wrong("categories", error.to_string(), Exit::from(&error))],
    };
    let replies = set.iter().filter(|category| !category.reply.is_empty()).count();
    let detail = format!("{} set in the database, {replies} with a default reply", set.len());
    let mut findings = vec![good("categories", detail)];
    for category in &set {
        if let Err(error) = category.validate() {
            findings.push(wrong(
                "categories",
                format!("{}: {error}", category.category),
                Exit::BadData,
            ));
        }
    }
    findings.extend(too_many(&set));
    let warnings = category::warnings(&set, entries)
        .into_iter()
        .map(|warning| warning.to_string());
    let warnings = warnings.chain(strays(&set, entries));
    findings.extend(warnings.map(|detail| finding("categories", Verdict::Warning { detail })));
    findings
}

/// Categories of entries that stand in no tree whose root is set, while others do: misspelt, perhaps.
fn strays(set: &[Category], entries: &[Entry]) -> Option<String> {
    let has_set = |named: &str| upwards(named).any(|above| set.iter().any(|set| set.category == above));
    let counts = counts(entries);
    let strays: Vec<String> = counts
        .iter()
        .filter(|(named, _)| !named.is_empty() && !set.is_empty() && !has_set(named))
        .map(|(named, count)| format!("{named} ({count} entries)"))
        .collect();
    let shown = strays.iter().take(STRAYS_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    let more = match strays.len().saturating_sub(STRAYS_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!strays.is_empty()).then(|| format!("entries name what nothing is set for, nor above it: {shown}{more}"))
}

/// Rules that break a limit, that answer nobody, that name accounts which are not there.
async fn rules(config: &Config, database: &Database) -> Vec<Finding> {
    let rules = match database.rules().load().await {
        Ok((_, rules)) => rules,
        Err(error) => return vec![wrong("rules", error.to_string(), Exit::from(&error))],
    };
    let mut findings = vec![good("rules", format!("{} in the database", rules.len()))];
    for rule in &rules {
        if let Err(error) = rule.validate() {
            findings.push(wrong("rules", format!("{}: {error}", rule.id), Exit::BadData));
        }
        let is_known = |id: &String| config.accounts.iter().any(|account| account.id == *id);
        if let Some(unknown) = rule.accounts.iter().find(|id| !is_known(id)) {
            let detail = format!("{}: there is no account {unknown}", rule.id);
            findings.push(finding("rules", Verdict::Warning { detail }));
        }
    }
    findings.extend(too_many(&rules));
    findings.extend(mute_accounts(config, &rules));
    for problem in media::rule_problems(media::Shelf::of(config), &rules) {
        findings.push(wrong("media", problem.to_string(), Exit::BadData));
    }
    match rule::warnings(database, &rules).await {
        Ok(warnings) => findings.extend(warnings.iter().map(|warning| {
            let detail = warning.to_string();
            finding("rules", Verdict::Warning { detail })
        })),
        Err(error) => findings.push(wrong("rules", error.to_string(), error.exit())),
    }
    findings
}

/// A database can hold more than any command writes: what a restore brought, say.
fn too_many<T: Beside>(things: &[T]) -> Option<Finding> {
    let count = beside::too_many([].iter(), things.iter())?;
    let subject = match T::SUBJECT {
        Subject::Category => "categories",
        _ => "rules",
    };
    Some(wrong(subject, format!("there are {count}"), Exit::BadData))
}

/// Accounts whose followers a rule answers with a file that only other accounts can upload.
fn mute_accounts(config: &Config, rules: &[Rule]) -> Vec<Finding> {
    let can_upload = |id: &String| {
        let account = config.accounts.iter().find(|account| account.id == *id);
        account.is_none_or(|account| !account.app_secret.is_empty())
    };
    let mute = |(rule, _): (&Rule, &Answer)| {
        let id = rule.accounts.iter().find(|id| !can_upload(id))?;
        let detail = format!("{}: account {id} has no app_secret to upload its file with", rule.id);
        Some(finding("media", Verdict::Warning { detail }))
    };
    media::of_rules(rules).filter_map(mute).collect()
}

async fn redis(config: &Config) -> Option<Finding> {
    let tried = match app::redis_link(&config.redis) {
        Ok(None) => return None,
        Ok(Some(link)) => link.probe().await,
        Err(error) => Err(error),
    };
    Some(match tried {
        Ok(()) => good("redis", "reachable, takes writes"),
        Err(error) => wrong("redis", error.to_string(), Exit::Unavailable),
    })
}

fn print(findings: &[Finding], json: bool) {
    if json {
        say!("{}", serde_json::to_string_pretty(findings).unwrap_or_default());
        return;
    }
    for Finding { subject, verdict } in findings {
        let (word, detail) = match verdict {
            Verdict::Good { detail } => ("ok", detail),
            Verdict::Warning { detail } => ("warning", detail),
            Verdict::Wrong { detail, .. } => ("WRONG", detail),
        };
        say!("{word:<7}  {subject}: {}", lines(detail));
    }
}
