//! `wxfaq category`: the tree of categories and what is set for its nodes: title, order, default reply.
//!
//! A category that an entry names is there without being declared; here it gets settings. As with entries, what somebody
//! changed since it was seen is not overwritten.

use super::beside::{self, ImportArgs};
use super::import::ImportError;
use super::{Exit, Failure, operator, unix_seconds};
use crate::app::{self, AppError, Missing};
use crate::bank::beside::{self as file, Beside};
use crate::bank::category::{Category, Node, Warning, counts, is_within, review, tree, upwards};
use crate::bank::terminal::{lines, one_line};
use crate::bank::{Entry, State};
use crate::config::Config;
use crate::dialog::CategoryBook;
use crate::matching::text::normalize;
use crate::store::sql::{Author, Bank, BankChange, Database};
use serde_json::json;
use std::path::PathBuf;
use std::slice::from_ref;

/// What to do with categories.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Args {
    /// Show the tree: every category, set or only named by entries, with how many entries stand in and below it.
    List {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Show what is set for one, and which default reply stands for it.
    Show {
        /// As entries name it: 开户/科创板
        category: String,
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Set what is given and keep the rest; refused when somebody changed it since.
    Put(Put),
    /// Take its settings away; its entries stay.
    Remove {
        /// As entries name it.
        category: String,
        /// The revision at which you saw it.
        #[arg(long, value_name = "N")]
        made_from: Option<u64>,
    },
    /// Read settings from a file (.jsonl) into the database, all of it or nothing.
    Import(ImportArgs),
    /// Write all settings to a file (.jsonl).
    Export {
        /// .jsonl
        file: PathBuf,
    },
}

/// `put`
#[derive(Debug, Clone, clap::Args)]
pub struct Put {
    /// As entries name it: 开户/科创板
    pub category: String,
    /// For people, in place of the last part of its name; '' takes it away.
    #[arg(long)]
    pub title: Option<String>,
    /// Among its siblings, lower first.
    #[arg(long, allow_negative_numbers = true)]
    pub order: Option<i32>,
    /// The default reply; '' takes it away.
    #[arg(long, value_name = "TEXT")]
    pub reply: Option<String>,
    /// The revision at which you saw it: refused when somebody changed it since.
    #[arg(long, value_name = "N")]
    pub made_from: Option<u64>,
}

/// Does it and says what was done.
pub async fn run(file: Option<PathBuf>, args: Args) -> Result<Exit, Failure> {
    let config = app::configure(file, Missing::Leave)?.config;
    match args {
        Args::List { json } => list(&bank(&config).await?, json),
        Args::Show { category, json } => return show(&bank(&config).await?, &category, json),
        Args::Put(put) => return set(&config, put).await,
        Args::Remove { category, made_from } => return remove(&config, category, made_from).await,
        Args::Import(args) => {
            let review = async |database: &Database, categories: &[Category]| {
                let (_, entries) = database.questions().load().await.map_err(ImportError::from)?;
                Ok(warnings(categories, &entries))
            };
            return beside::import_file(&config, &args, Database::categories, review).await;
        }
        Args::Export { file } => {
            beside::export(&file, "categories", &beside::load(&config, Database::categories).await?)?;
        }
    }
    Ok(Exit::Ok)
}

async fn bank(config: &Config) -> Result<Bank, Failure> {
    let database = Database::open_to_read(app::place_of(config))
        .await
        .map_err(AppError::from)?;
    let bank = database.load_bank().await;
    database.close().await;
    Ok(bank.map_err(AppError::from)?)
}

/// Of the entries that followers may see, whenever and wherever.
fn published(entries: &[Entry]) -> impl Iterator<Item = &Entry> {
    entries.iter().filter(|entry| entry.state == State::Published)
}

fn list(bank: &Bank, is_json: bool) {
    let nodes = tree(&bank.categories, &counts(published(&bank.entries)));
    if is_json {
        say!("{}", serde_json::to_string_pretty(&nodes).unwrap_or_default());
        return;
    }
    if nodes.is_empty() {
        say!("no entry has a category, and none is set");
    }
    print(&nodes, &bank.categories, 0);
    for warning in warnings(&bank.categories, &bank.entries) {
        say!("warning: {}", one_line(&warning.to_string()));
    }
}

fn print(nodes: &[Node], settings: &[Category], depth: usize) {
    for node in nodes {
        let set = settings.iter().find(|set| set.category == node.category);
        let title = match set.map_or("", |set| set.title.as_str()) {
            "" => String::new(),
            title => format!("  {}", one_line(title)),
        };
        let reply = set
            .filter(|set| !set.reply.is_empty())
            .map_or("", |_| "  default reply");
        let last = one_line(crate::bank::category::last_part(&node.category));
        say!(
            "{}{last}{title}  {} entries, {} with those below{reply}",
            "  ".repeat(depth),
            node.count,
            node.total
        );
        print(&node.children, settings, depth + 1);
    }
}

fn show(bank: &Bank, category: &str, is_json: bool) -> Result<Exit, Failure> {
    let set = |node: &str| bank.categories.iter().find(|set| set.category == node);
    let below = published(&bank.entries).filter(|entry| is_within(&entry.category, category));
    let own = set(category);
    let total = below.count();
    if own.is_none() && total == 0 {
        let text = format!("no entry stands in {category}, and nothing is set for it");
        return Err(Failure::report(Exit::NoInput, text));
    }
    let shown = own.cloned().unwrap_or_else(|| Category::new(category));
    let reply = upwards(category).filter_map(set).find(|set| !set.reply.is_empty());
    if is_json {
        let from = reply.map(|set| &set.category);
        say!(
            "{}",
            json!({ "settings": own, "entries": total, "reply_of": from, "reply": reply.map(|set| &set.reply) })
        );
        return Ok(Exit::Ok);
    }
    say!("{}", file::to_line(&shown));
    say!("entries  {total}, with those below");
    match reply {
        None => say!("reply    none, nor above it"),
        Some(set) if set.category == category => say!("reply    its own"),
        Some(set) => say!("reply    that of {}: {}", one_line(&set.category), lines(&set.reply)),
    }
    Ok(Exit::Ok)
}

async fn set(config: &Config, put: Put) -> Result<Exit, Failure> {
    let database = Database::open_existing(app::place_of(config))
        .await
        .map_err(AppError::from)?;
    let done = async {
        let (revision, existing) = database.categories().load().await.map_err(AppError::from)?;
        let named = Category::new(put.category.trim());
        let known = existing.iter().find(|set| set.category == named.category);
        let before = known.cloned().unwrap_or(named);
        let mut category = Category {
            title: put.title.unwrap_or(before.title),
            order: put.order.unwrap_or(before.order),
            reply: put.reply.unwrap_or(before.reply),
            ..before
        };
        category.tidy();
        let invalid = |error| Failure::report(Exit::BadData, format!("nothing was written: {error}"));
        category.validate().map_err(invalid)?;
        let change = BankChange {
            put_categories: from_ref(&category),
            made_from: Some(put.made_from.unwrap_or(revision)),
            ..BankChange::default()
        };
        let revision = edit(&database, change).await?;
        app::announce_revision(config, revision).await;
        warn_of(&database, &category, existing).await;
        let category = one_line(&category.category);
        say!("{category} is set; the bank is at revision {revision}");
        Ok(Exit::Ok)
    }
    .await;
    database.close().await;
    done
}

/// Says what of the category's settings does nothing, beside what was set before them. They are set by now, whatever the bank
/// has to say of it.
async fn warn_of(database: &Database, category: &Category, before: Vec<Category>) {
    let entries = match database.questions().load().await {
        Ok((_, entries)) => entries,
        Err(error) => {
            say!(
                "warning: whether entries stand in it is not known: {}",
                lines(&error.to_string())
            );
            return;
        }
    };
    let others = before.into_iter().filter(|set| set.category != category.category);
    let set: Vec<Category> = others.chain([category.clone()]).collect();
    let own = warnings(&set, &entries).into_iter();
    for warning in own.filter(|warning| warning.category == category.category) {
        say!("warning: {}", one_line(&warning.to_string()));
    }
}

async fn remove(config: &Config, category: String, made_from: Option<u64>) -> Result<Exit, Failure> {
    let database = Database::open_existing(app::place_of(config))
        .await
        .map_err(AppError::from)?;
    let done = async {
        let (revision, existing) = database.categories().load().await.map_err(AppError::from)?;
        if !existing.iter().any(|set| set.category == category) {
            let text = format!("nothing is set for {category}");
            return Err(Failure::report(Exit::NoInput, text));
        }
        let change = BankChange {
            remove_categories: from_ref(&category),
            made_from: Some(made_from.unwrap_or(revision)),
            ..BankChange::default()
        };
        edit(&database, change).await
    }
    .await;
    database.close().await;
    let revision = done?;
    app::announce_revision(config, revision).await;
    let category = one_line(&category);
    say!("nothing is set for {category} any more; the bank is at revision {revision}");
    Ok(Exit::Ok)
}

async fn edit(database: &Database, change: BankChange<'_>) -> Result<u64, Failure> {
    let by = Author {
        who: operator(),
        source: "command line".to_owned(),
    };
    let done = database.edit(change, &by, unix_seconds(), normalize).await;
    Ok(done.map_err(ImportError::from)?)
}

/// What of the settings does nothing, or not all that it seems to do.
pub fn warnings(categories: &[Category], entries: &[Entry]) -> Vec<Warning> {
    let mut warnings = review(categories, &counts(published(entries)));
    warnings.extend(CategoryBook::new(categories.to_vec()).shared_names());
    warnings
}
