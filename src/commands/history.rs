//! `wxfaq history`, `show`, `diff` and `revert`: what the bank was, and the way back.
//!
//! A thing is named as [`Thing::parse`] says: an entry by its id, a rule as `rule/ID`, what is set for a category as
//! `category/PATH`, a template or dictionary as `template/FILE` or `dict/FILE`, the restores as `bank/restored`; `--bank` means
//! all but these. Going back is one more revision: what was there before it stays in the history.

use super::import::ImportError;
use super::{Exit, Failure, operator, texts, unix_seconds, write_out};
use crate::app::sources::known;
use crate::app::{self, AppError, Missing};
use crate::bank::beside::{self, Beside};
use crate::bank::category::is_within;
use crate::bank::format::{self, beijing};
use crate::bank::history::{Difference, Recorded, Subject, Thing, differences};
use crate::bank::terminal::one_line;
use crate::bank::{Category, Entry, EntryError, EntryId, Rule, RuleId, Text, TextKind, TextName};
use crate::matching::text::normalize;
use crate::store::StoreError;
use crate::store::sql::{ApplyError, Author, BankChange, Database, StoredText};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `history`
#[derive(Debug, Clone, clap::Args)]
pub struct HistoryArgs {
    /// An entry's id, rule/ID, category/PATH, template/FILE, dict/FILE or bank/restored; without it, everything.
    #[arg(value_parser = Thing::parse)]
    pub thing: Option<Thing>,
    /// Only so many of the last changes.
    #[arg(long, default_value_t = 20)]
    pub limit: u32,
    /// For programs.
    #[arg(long)]
    pub json: bool,
}

/// What is meant.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub struct What {
    /// An entry's id, rule/ID, category/PATH, template/FILE or dict/FILE.
    #[arg(value_parser = Thing::parse)]
    pub thing: Option<Thing>,
    /// Everything: entries, rules, categories, edited templates and dictionaries.
    #[arg(long)]
    pub bank: bool,
}

/// `show`
#[derive(Debug, Clone, clap::Args)]
pub struct ShowArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub what: What,
    /// As it was then; without it, as it is.
    #[arg(long, value_name = "N")]
    pub revision: Option<u64>,
}

/// `diff`
#[derive(Debug, Clone, clap::Args)]
pub struct DiffArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub what: What,
    /// The earlier revision.
    #[arg(long, value_name = "N")]
    pub from: u64,
    /// The later one; without it, as it is.
    #[arg(long, value_name = "N")]
    pub to: Option<u64>,
    /// For programs.
    #[arg(long)]
    pub json: bool,
}

/// `revert`
#[derive(Debug, Clone, clap::Args)]
pub struct RevertArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub what: What,
    /// The revision to go back to.
    #[arg(long, value_name = "N")]
    pub to: u64,
    /// Only report what would change.
    #[arg(long)]
    pub dry_run: bool,
}

/// One thing at two revisions.
#[derive(Debug, Serialize)]
struct Changed {
    #[serde(flatten)]
    thing: Thing,
    #[serde(skip)]
    before: Option<String>,
    #[serde(skip)]
    after: Option<String>,
    differences: Vec<Difference>,
}

/// `wxfaq history`
pub async fn list(file: Option<PathBuf>, args: HistoryArgs) -> Result<Exit, Failure> {
    let database = open(file).await?;
    let listed = async {
        if let Some(thing) = &args.thing {
            refuse_unknown(&database, thing).await?;
        }
        let last = database.revisions().last(args.thing.as_ref(), args.limit).await;
        Ok::<_, Failure>(last.map_err(AppError::from)?)
    };
    let last = listed.await;
    database.close().await;
    let last = last?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&last).unwrap_or_default());
        return Ok(Exit::Ok);
    }
    if last.is_empty() {
        say!("no change is known");
    }
    for change in &last {
        say!("{}", line(change));
    }
    Ok(Exit::Ok)
}

fn line(change: &Recorded) -> String {
    let Recorded {
        revision,
        thing,
        changed_at,
        changed_by,
        source,
        ..
    } = change;
    let when = beijing::format(*changed_at);
    let summary = change.summary();
    one_line(&format!(
        "{revision:>6}  {when}  {changed_by} ({source})  {thing}: {summary}"
    ))
}

/// `wxfaq show`
pub async fn show(file: Option<PathBuf>, args: ShowArgs) -> Result<Exit, Failure> {
    let database = open(file).await?;
    let shown = async {
        let states = states_at(&database, &args.what, args.revision).await?;
        match &args.what.thing {
            Some(thing) if states.is_empty() => {
                refuse_unknown(&database, thing).await?;
                Err(Failure::report(Exit::NoInput, absent(thing, args.revision)))
            }
            _ => Ok(states),
        }
    };
    let shown = shown.await;
    database.close().await;
    let states = shown?;
    for (thing, state) in &states {
        match (TextKind::of(thing.subject), &args.what.thing) {
            (None, _) => say!("{state}"),
            (Some(_), Some(_)) => write_out(state.as_bytes()),
            // Among others each is a line.
            (Some(_), None) => say!("{}", json!({"text": thing.to_string(), "body": state})),
        }
    }
    Ok(Exit::Ok)
}

/// That a thing is not there, though it has been or could be.
fn absent(thing: &Thing, revision: Option<u64>) -> String {
    let when = revision.map(|revision| format!(" at revision {revision}"));
    let when = when.unwrap_or_default();
    let command = match TextKind::of(thing.subject) {
        None => return format!("there is no {thing}{when}"),
        Some(TextKind::Template) => "template",
        Some(TextKind::Dictionary) => "dict",
    };
    let (has_not_been, id) = (if when.is_empty() { "is not" } else { "was not" }, &thing.id);
    format!("{thing} {has_not_been} edited in the database{when}; `wxfaq {command} show {id}` prints the one in use")
}

/// A name that nothing has or had would read like one that nobody has changed.
async fn refuse_unknown(database: &Database, thing: &Thing) -> Result<(), Failure> {
    let last = database
        .revisions()
        .last(Some(thing), 1)
        .await
        .map_err(AppError::from)?;
    let refused = |text: String| Err(Failure::report(Exit::NoInput, text));
    match (TextKind::of(thing.subject), thing.subject) {
        _ if !last.is_empty() => Ok(()),
        (Some(kind), _) if known(kind).contains(&thing.id.as_str()) => Ok(()),
        (Some(kind), _) => refused(texts::no_such(&TextName::new(kind, &thing.id))),
        (None, Subject::Category) => {
            let (_, entries) = database.questions().load().await.map_err(AppError::from)?;
            match entries.iter().any(|entry| is_within(&entry.category, &thing.id)) {
                true => Ok(()),
                false => refused(format!("there is no {thing}, and never was: no entry stands in it")),
            }
        }
        (None, _) => refused(format!("there is no {thing}, and never was")),
    }
}

/// A revision that is still to come shows nothing, however it is asked for, nor one that went with a restore.
async fn refuse_unseen(database: &Database, asked: u64) -> Result<(), Failure> {
    let found = database.questions().revision().await.map_err(AppError::from)?;
    if asked > found {
        return Err(ImportError::from(ApplyError::Ahead { asked, found }).into());
    }
    match database.revisions().gap_at(asked).await.map_err(AppError::from)? {
        None => Ok(()),
        Some((last, since)) => Err(Failure::report(
            Exit::BadData,
            format!(
                "nothing is known of revision {asked}: a backup was restored, and the bank went on from revision {last} \
                 at {since}"
            ),
        )),
    }
}

/// Everything meant that was there at a revision.
async fn states_at(
    database: &Database,
    what: &What,
    revision: Option<u64>,
) -> Result<BTreeMap<Thing, String>, Failure> {
    if let Some(asked) = revision {
        refuse_unseen(database, asked).await?;
    }
    let revision = revision.unwrap_or(u64::MAX);
    if let Some(thing) = &what.thing {
        let state = database.revisions().at(thing, revision).await.map_err(AppError::from)?;
        return Ok(state.map(|state| (thing.clone(), state)).into_iter().collect());
    }
    let mut states: BTreeMap<Thing, String> = current(database).await.map_err(AppError::from)?;
    let (_, earlier) = database
        .revisions()
        .changed_after(revision)
        .await
        .map_err(AppError::from)?;
    for (thing, state) in earlier {
        match state {
            Some(state) => states.insert(thing, state),
            None => states.remove(&thing),
        };
    }
    Ok(states)
}

/// Everything as it is.
async fn current(database: &Database) -> Result<BTreeMap<Thing, String>, StoreError> {
    let bank = database.load_bank().await?;
    let entry = |entry: &Entry| (Thing::new(Subject::Entry, entry.id.as_str()), format::to_line(entry));
    let text = |stored: StoredText| (stored.text.name.thing(), stored.text.body);
    let beside = bank
        .rules
        .iter()
        .map(line_of)
        .chain(bank.categories.iter().map(line_of));
    let lines = bank.entries.iter().map(entry).chain(beside);
    Ok(lines.chain(bank.texts.into_iter().map(text)).collect())
}

fn line_of<T: Beside>(thing: &T) -> (Thing, String) {
    let line = beside::to_line(thing);
    (Thing::new(T::SUBJECT, thing.id().to_string()), line)
}

/// `wxfaq diff`
pub async fn diff(file: Option<PathBuf>, args: DiffArgs) -> Result<Exit, Failure> {
    let database = open(file).await?;
    let changed = compare(&database, &args.what, args.from, args.to).await;
    database.close().await;
    let changed = changed?;
    if args.json {
        say!("{}", serde_json::to_string_pretty(&changed).unwrap_or_default());
        return Ok(Exit::Ok);
    }
    if changed.is_empty() {
        say!("no difference");
    }
    changed.iter().for_each(print);
    Ok(Exit::Ok)
}

fn print(changed: &Changed) {
    let thing = one_line(&changed.thing.to_string());
    match (&changed.before, &changed.after) {
        (None, _) => say!("{thing}: made"),
        (_, None) => say!("{thing}: removed"),
        _ => say!("{thing}"),
    }
    let marked = |mark: char, text: &Option<String>| {
        let lines = text.iter().flat_map(|text| text.lines());
        lines.for_each(|line| say!("    {mark} {}", on_terminal(line)));
    };
    for Difference { field, before, after } in &changed.differences {
        say!("  {field}");
        marked('-', before);
        marked('+', after);
    }
}

/// A line of what somebody typed; tabs separate the words of dictionaries.
fn on_terminal(line: &str) -> String {
    line.split('\t').map(one_line).collect::<Vec<_>>().join("\t")
}

/// What differs between two revisions, by thing; `to`: now.
async fn compare(database: &Database, what: &What, from: u64, to: Option<u64>) -> Result<Vec<Changed>, Failure> {
    for asked in [Some(from), to].into_iter().flatten() {
        refuse_unseen(database, asked).await?;
    }
    if let Some(thing) = &what.thing {
        refuse_unknown(database, thing).await?;
    }
    let revisions = database.revisions();
    let mut changed = Vec::new();
    let things: Vec<Thing> = match &what.thing {
        Some(thing) => vec![thing.clone()],
        None => {
            // Whichever way it is asked.
            let first = to.map_or(from, |to| to.min(from));
            let (_, later) = revisions.changed_after(first).await.map_err(AppError::from)?;
            later.into_keys().collect()
        }
    };
    for thing in things {
        let before = revisions.at(&thing, from).await.map_err(AppError::from)?;
        let after = revisions
            .at(&thing, to.unwrap_or(u64::MAX))
            .await
            .map_err(AppError::from)?;
        if before != after {
            changed.push(Changed {
                differences: differences(before.as_deref(), after.as_deref()),
                thing,
                before,
                after,
            });
        }
    }
    Ok(changed)
}

/// `wxfaq revert`
pub async fn revert(file: Option<PathBuf>, args: RevertArgs) -> Result<Exit, Failure> {
    let config = app::configure(file, Missing::Leave)?.config;
    let place = app::place_of(&config);
    let opened = match args.dry_run {
        true => Database::open_to_read(place).await,
        false => Database::open_existing(place).await,
    };
    let database = opened.map_err(AppError::from)?;
    let done = revert_to(&database, &args).await;
    database.close().await;
    let (revision, changed) = done?;
    app::announce_revision(&config, revision).await;
    // What is now becomes what was.
    for Changed {
        thing, before, after, ..
    } in &changed
    {
        let thing = one_line(&thing.to_string());
        match (before, after) {
            (None, _) => say!("{thing}: removed again"),
            (_, None) => say!("{thing}: back again"),
            _ => say!("{thing}: as it was at revision {}", args.to),
        }
    }
    let prefix = if args.dry_run { "dry run, nothing written: " } else { "" };
    say!("{prefix}{} changed; the bank is at revision {revision}", changed.len());
    Ok(Exit::Ok)
}

async fn revert_to(database: &Database, args: &RevertArgs) -> Result<(u64, Vec<Changed>), Failure> {
    let current = database.questions().revision().await.map_err(AppError::from)?;
    let changed = compare(database, &args.what, args.to, None).await?;
    let back = Back::to(&changed)?;
    texts::refuse_faults(&back.put_texts)?;
    let change = BankChange {
        made_from: Some(current),
        ..back.change()
    };
    if args.dry_run || changed.is_empty() {
        let looked = database.try_edit(change, normalize).await;
        looked.map_err(ImportError::from)?;
        return Ok((current, changed));
    }
    let by = Author {
        who: operator(),
        source: format!("revert to {}", args.to),
    };
    let revision = database.edit(change, &by, unix_seconds(), normalize).await;
    Ok((revision.map_err(ImportError::from)?, changed))
}

/// The change that leads back.
#[derive(Default)]
struct Back {
    put: Vec<Entry>,
    remove: Vec<EntryId>,
    put_rules: Vec<Rule>,
    remove_rules: Vec<RuleId>,
    put_texts: Vec<Text>,
    remove_texts: Vec<TextName>,
    put_categories: Vec<Category>,
    remove_categories: Vec<String>,
}

impl Back {
    fn to(changed: &[Changed]) -> Result<Self, Failure> {
        let mut back = Self::default();
        for Changed { thing, before, .. } in changed {
            let taken = back.take(thing, before.as_deref());
            taken.map_err(|reason| Failure::report(Exit::BadData, format!("{thing}: {reason}")))?;
        }
        Ok(back)
    }

    /// Limits may have become narrower since.
    fn take(&mut self, thing: &Thing, state: Option<&str>) -> Result<(), String> {
        let told = |error: EntryError| error.to_string();
        match (thing.subject, state) {
            (Subject::Bank, _) => return Err("what was restored is left by restoring another backup".to_owned()),
            (Subject::Entry, None) => self.remove.push(EntryId::parse(&thing.id).map_err(told)?),
            (Subject::Rule, None) => self.remove_rules.push(RuleId::parse(&thing.id).map_err(told)?),
            (Subject::Category, None) => self.remove_categories.push(thing.id.clone()),
            (Subject::Entry, Some(line)) => {
                let entry = format::from_line(line)?;
                entry.validate().map_err(told)?;
                self.put.push(entry);
            }
            (Subject::Rule, Some(line)) => {
                let rule: Rule = beside::from_line(line)?;
                rule.validate().map_err(told)?;
                self.put_rules.push(rule);
            }
            (Subject::Category, Some(line)) => {
                let category: Category = beside::from_line(line)?;
                category.validate().map_err(told)?;
                self.put_categories.push(category);
            }
            (Subject::Template, state) => self.take_text(TextName::new(TextKind::Template, &thing.id), state)?,
            (Subject::Dictionary, state) => self.take_text(TextName::new(TextKind::Dictionary, &thing.id), state)?,
        }
        Ok(())
    }

    fn take_text(&mut self, name: TextName, state: Option<&str>) -> Result<(), String> {
        match state {
            None => self.remove_texts.push(name),
            Some(body) => {
                let text = Text::new(name, body.as_bytes()).map_err(|fault| fault.to_string())?;
                self.put_texts.push(text);
            }
        }
        Ok(())
    }

    fn change(&self) -> BankChange<'_> {
        BankChange {
            put: &self.put,
            remove: &self.remove,
            put_rules: &self.put_rules,
            remove_rules: &self.remove_rules,
            put_texts: &self.put_texts,
            remove_texts: &self.remove_texts,
            put_categories: &self.put_categories,
            remove_categories: &self.remove_categories,
            made_from: None,
        }
    }
}

/// The configured database, to read.
async fn open(file: Option<PathBuf>) -> Result<Database, AppError> {
    let config = app::configure(file, Missing::Leave)?.config;
    Ok(Database::open_to_read(app::place_of(&config)).await?)
}
