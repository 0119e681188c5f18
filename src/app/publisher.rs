//! Making snapshots: bank and rules from the database, templates and dictionaries from where [`Sources`] finds them.
//!
//! [`Publisher`] is the one that changes what the bot decides with: when the bank's revision rises, when a file changes,
//! when the configuration is reloaded. What cannot be used is reported, and the last good one stays.

use super::AppError;
use super::compaction::Compaction;
use super::lag::Lag;
use super::sources::{Contents, Sources};
use crate::bank::{Category, Dictionaries, Entry, Rule, TextKind};
use crate::bot::{Bot, SearchRequest, Snapshot, SnapshotParts};
use crate::dialog::{CategoryBook, RuleBook, Templates};
use crate::matching::{Analyzer, Change, Index};
use crate::store::StoreError;
use crate::store::sql::{Bank, Changes, Database, Edition, OpenBank, StoredText};
use crate::web::ops::Dependency;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_blocking;

/// How long the look for news may take: shorter than any other call of the database, because how the database is, is
/// to be seen within five seconds, and between two looks there are two of them.
const LOOK_PATIENCE: Duration = Duration::from_millis(2_500);

/// What the bot decides with beside entries and rules, and where it is from.
#[derive(Debug, Clone, PartialEq)]
pub struct Inputs {
    #[expect(missing_docs, reason = "the type says it")]
    pub sources: Sources,
    /// The texts of the database as they are there.
    saved: Vec<StoredText>,
    /// Those in use: the same, but for what is wrong.
    used: Vec<StoredText>,
    /// As in [`Edition::bank`].
    bank: String,
}

/// Pages of the bank that may wait to be indexed.
const PAGES_AHEAD: usize = 4;

/// The snapshot of everything as it is now, and what went into it. Takes as long as indexing the bank.
pub async fn first_snapshot(database: &Database, sources: Sources) -> Result<(Snapshot, Inputs), AppError> {
    let OpenBank {
        id,
        rules,
        categories,
        texts,
        mut pages,
    } = database.open_bank().await?;
    let revision = pages.revision;
    let inputs = Inputs {
        bank: id,
        used: Vec::new(),
        saved: texts,
        sources: sources.clone(),
    };
    let contents = inputs.read(sources.clone()).await?;
    let (templates, dictionaries) = (contents.templates, contents.dictionaries);
    let used = contents.used;
    let (read, mut arrived) = mpsc::channel(PAGES_AHEAD);
    let built = spawn_blocking(move || {
        let analyzer = Arc::new(Analyzer::new(&dictionaries));
        let index = Index::build_in_pieces(std::iter::from_fn(|| arrived.blocking_recv()), analyzer);
        let rules = RuleBook::new(rules, &dictionaries.sensitive);
        let Sources {
            thresholds,
            max_suggestions,
            max_bytes,
            habits,
            handoffs,
            ..
        } = sources;
        Snapshot::new(SnapshotParts {
            index,
            dictionaries,
            rules: Arc::new(rules),
            categories: Arc::new(CategoryBook::new(categories)),
            templates,
            thresholds,
            max_suggestions,
            max_bytes,
            habits,
            handoffs,
            revision,
        })
    });
    loop {
        let page = pages.next().await?;
        if page.is_empty() || read.send(page).await.is_err() {
            break;
        }
    }
    drop(read);
    // Its own words could quote the bank.
    let built = built
        .await
        .map_err(|_| AppError::Content("the bank cannot be indexed: the attempt has panicked".into()))?;
    Ok((built, Inputs { used, ..inputs }))
}

impl Inputs {
    /// Templates and dictionaries by `sources`; what is wrong in the database is reported.
    async fn read(&self, sources: Sources) -> Result<Contents, AppError> {
        let (saved, good) = (self.saved.clone(), self.used.clone());
        let read = spawn_blocking(move || sources.contents(&saved, &good));
        let contents = read.await.unwrap_or_else(|panic| resume_unwind(panic.into_panic()))?;
        for fault in &contents.faults {
            tracing::error!("in the database and not used; what was good before, or stands in a file, stays:\n{fault}");
        }
        Ok(contents)
    }
}

/// Takes them over; where texts are cut otherwise, all of the bank is indexed anew.
fn take_over(parts: &mut SnapshotParts, templates: Arc<Templates>, dictionaries: Arc<Dictionaries>) {
    if !parts.dictionaries.cuts_as(&dictionaries) {
        let analyzer = Arc::new(Analyzer::new(&dictionaries));
        parts.index = Index::build(parts.index.entries().cloned(), analyzer);
    }
    for (file, lines) in parts.dictionaries.emptied(&dictionaries) {
        tracing::warn!(%file, lines, "a dictionary is empty now; all its lines went away");
    }
    if parts.dictionaries.sensitive != dictionaries.sensitive {
        parts.rules = Arc::new(parts.rules.with_sensitive(&dictionaries.sensitive));
    }
    parts.dictionaries = dictionaries;
    parts.templates = templates;
}

/// What is new in the bank.
struct News {
    /// That of the bank now.
    revision: u64,
    entries: NewEntries,
    /// All of them, if any has changed; the same below.
    rules: Option<Vec<Rule>>,
    categories: Option<Vec<Category>>,
    texts: Option<Vec<StoredText>>,
}

enum NewEntries {
    Edited(Vec<Change>),
    /// A backup was put in the place of the bank, which is this one now, as in [`Edition::bank`].
    PutBack {
        bank: String,
        all: Vec<Entry>,
    },
}

impl From<Changes> for News {
    fn from(changes: Changes) -> Self {
        let put = changes.put.into_iter().map(|entry| Change::Put(Arc::new(entry)));
        let edits = put.chain(changes.removed.into_iter().map(Change::Remove));
        Self {
            revision: changes.revision,
            entries: NewEntries::Edited(edits.collect()),
            rules: changes.rules,
            categories: changes.categories,
            texts: changes.texts,
        }
    }
}

impl From<Bank> for News {
    fn from(bank: Bank) -> Self {
        Self {
            revision: bank.revision,
            entries: NewEntries::PutBack {
                bank: bank.id,
                all: bank.entries,
            },
            rules: Some(bank.rules),
            categories: Some(bank.categories),
            texts: Some(bank.texts),
        }
    }
}

impl News {
    /// Takes everything over; `contents` is what has become of its texts, if they are good.
    fn take_over(self, parts: &mut SnapshotParts, contents: Option<(Arc<Templates>, Arc<Dictionaries>)>) {
        parts.index = match self.entries {
            NewEntries::Edited(edits) => parts.index.apply(&edits),
            NewEntries::PutBack { all, .. } => {
                Index::build(all.into_iter().map(Arc::new), parts.index.analyzer().clone())
            }
        };
        parts.revision = self.revision;
        if let Some((templates, dictionaries)) = contents {
            take_over(parts, templates, dictionaries);
        }
        if let Some(rules) = self.rules {
            parts.rules = Arc::new(RuleBook::new(rules, &parts.dictionaries.sensitive));
        }
        if let Some(categories) = self.categories {
            parts.categories = Arc::new(CategoryBook::new(categories));
        }
    }
}

/// Changes what the bot decides with, one change at a time.
pub struct Publisher {
    bot: Arc<Bot>,
    store: Database,
    inputs: tokio::sync::Mutex<Inputs>,
    /// The bank that is used, as in [`Edition::bank`].
    bank: Mutex<String>,
    /// Told when the folders of `inputs` may have changed.
    pub(super) moved: Notify,
    database: Mutex<Dependency>,
    compaction: Compaction,
    lag: Lag,
    /// Told when the database is to be looked at before its time.
    heard: Notify,
}

impl Publisher {
    /// `inputs` are those of the bot's snapshot.
    pub fn new(bot: Arc<Bot>, database: &Database, inputs: Inputs) -> Self {
        Self {
            bank: Mutex::new(inputs.bank.clone()),
            lag: Lag::new(bot.snapshot().revision),
            heard: Notify::new(),
            bot,
            store: database.clone(),
            inputs: tokio::sync::Mutex::new(inputs),
            moved: Notify::new(),
            database: Mutex::new(Dependency::Up),
            compaction: Compaction::default(),
        }
    }

    /// The bot it publishes to.
    pub fn bot(&self) -> &Arc<Bot> {
        &self.bot
    }

    /// The folders to watch, absolute: templates, dictionaries.
    pub async fn folders(&self) -> Vec<PathBuf> {
        let inputs = self.inputs.lock().await;
        let folders = TextKind::ALL.into_iter().filter_map(|kind| inputs.sources.folder(kind));
        folders
            .map(|folder| std::path::absolute(&folder).unwrap_or(folder))
            .collect()
    }

    /// How the database was when it was last asked.
    pub fn database_state(&self) -> Dependency {
        self.database.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a question goes all the way to its matches, past every cache.
    pub fn self_test(&self) -> bool {
        let request = SearchRequest {
            text: "自检",
            account: "",
            category: None,
            // More than is cached.
            top: usize::MAX,
        };
        !self.bot.search(request).normalized.is_empty()
    }

    /// Looks at the database soon.
    pub(super) fn look(&self) {
        self.heard.notify_one();
    }

    /// Somebody says that the bank has come to `revision`: looks, if that is news.
    pub(super) fn hear(&self, revision: u64) {
        if self.lag.hear(revision, Instant::now()) {
            self.look();
        }
    }

    /// The newest revision of the bank that is known of, and for how long there has been one that is not used yet.
    pub fn behind(&self) -> (u64, Duration) {
        self.lag.behind(Instant::now())
    }

    /// Lets the bot decide with `next`.
    fn publish(&self, next: Snapshot) {
        let before = self.bot.publish(next);
        tokio::task::spawn_blocking(move || drop(before));
    }

    /// Takes over what other processes change in the bank, looking every `poll` and when a change is announced.
    pub async fn follow_bank(self: Arc<Self>, poll: Duration) {
        loop {
            let (newest, lag) = self.behind();
            metrics::gauge!("wxfaq_bank_newest_revision").set(newest as f64);
            metrics::gauge!("wxfaq_bank_lag_seconds").set(lag.as_secs_f64());
            tokio::select! {
                () = tokio::time::sleep(poll) => {}
                () = self.heard.notified() => {}
            }
            let state = match self.catch_up().await {
                Ok(()) => Dependency::Up,
                Err(error) => Dependency::Degraded {
                    reason: error.to_string(),
                },
            };
            let mut known = self.database.lock().unwrap_or_else(PoisonError::into_inner);
            match (&*known, &state) {
                (Dependency::Up, Dependency::Degraded { reason }) => {
                    tracing::warn!(reason, "database cannot be read; replies go on from the bank in memory");
                }
                (Dependency::Degraded { .. }, Dependency::Up) => tracing::info!("database can be read again"),
                _ => {}
            }
            *known = state;
        }
    }

    async fn catch_up(self: &Arc<Self>) -> Result<(), StoreError> {
        let found = self.look_at_bank().await?;
        let known = self.edition();
        if found == known {
            self.lag.settle(known.revision, found.revision);
            return Ok(());
        }
        self.lag.hear(found.revision, Instant::now());
        // Held over the whole change, so that no other change starts from the same snapshot.
        let mut inputs = self.inputs.lock().await;
        let snapshot = self.bot.snapshot();
        let mut news = self.news_since(&known).await?;
        let revision = news.revision;
        let contents = match news.texts.take() {
            Some(texts) => self.take_up(&mut inputs, texts).await,
            None => None,
        };
        self.note(&news);
        let put_back = match &news.entries {
            NewEntries::Edited(_) => None,
            NewEntries::PutBack { bank, .. } => Some(bank.clone()),
        };
        let next = rebuild(&snapshot, move |parts| news.take_over(parts, contents));
        self.publish(next.await);
        if let Some(bank) = put_back {
            *self.bank.lock().unwrap_or_else(PoisonError::into_inner) = bank;
        }
        self.lag.settle(revision, revision);
        self.compact();
        Ok(())
    }

    /// What has changed since `known`, or all of it where that is another bank.
    async fn news_since(&self, known: &Edition) -> Result<News, StoreError> {
        Ok(match self.store.questions().changes_after(known).await? {
            Some(changes) => changes.into(),
            None => self.store.load_bank().await?.into(),
        })
    }

    /// Tells the log, and a compaction under way, what is about to be taken over.
    fn note(&self, news: &News) {
        if let Some(rules) = &news.rules {
            tracing::info!(rules = rules.len(), "rules changed");
        }
        if let Some(categories) = &news.categories {
            tracing::info!(categories = categories.len(), "categories changed");
        }
        let revision = news.revision;
        match &news.entries {
            NewEntries::Edited(edits) => {
                self.compaction.note(edits);
                tracing::info!(revision, entries.changed = edits.len(), "bank changed");
            }
            NewEntries::PutBack { .. } => {
                self.compaction.outdate();
                tracing::warn!(revision, "a backup was put in the bank's place; loaded whole");
            }
        }
    }

    /// What is used.
    fn edition(&self) -> Edition {
        Edition {
            bank: self.bank.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            revision: self.bot.snapshot().revision,
        }
    }

    /// What is there to be used.
    async fn look_at_bank(&self) -> Result<Edition, StoreError> {
        let questions = self.store.questions();
        match tokio::time::timeout(LOOK_PATIENCE, questions.edition()).await {
            Ok(found) => found,
            Err(_) => Err(StoreError::Unavailable {
                backend: "database",
                reason: format!("no answer within {LOOK_PATIENCE:?}"),
            }),
        }
    }

    /// Reads the texts that have changed in the database; `None`: they cannot be used, and the last good ones stay.
    async fn take_up(
        &self,
        inputs: &mut Inputs,
        texts: Vec<StoredText>,
    ) -> Option<(Arc<Templates>, Arc<Dictionaries>)> {
        inputs.saved = texts;
        match inputs.read(inputs.sources.clone()).await {
            Ok(contents) => {
                tracing::info!(edited = contents.used.len(), "templates or dictionaries changed");
                inputs.used.clone_from(&contents.used);
                self.outdate(&contents.dictionaries);
                Some((contents.templates, contents.dictionaries))
            }
            Err(error) => {
                tracing::error!("the last good templates and dictionaries stay:\n{error}");
                None
            }
        }
    }

    /// A compaction under way is of no use with dictionaries that cut texts otherwise.
    fn outdate(&self, dictionaries: &Dictionaries) {
        if !self.bot.snapshot().dictionaries.cuts_as(dictionaries) {
            self.compaction.outdate();
        }
    }

    /// Makes the index one again when edits have left much behind; replies and edits go on meanwhile. The caller holds
    /// other changes back until it returns.
    fn compact(self: &Arc<Self>) {
        let snapshot = self.bot.snapshot();
        if !snapshot.index.wants_compaction() || !self.compaction.begin() {
            return;
        }
        let publisher = Arc::clone(self);
        self.bot.tasks().spawn(async move {
            let compacted = spawn_blocking(move || snapshot.index.compacted()).await;
            let _inputs = publisher.inputs.lock().await;
            let edits = publisher.compaction.end();
            let compacted = compacted.unwrap_or_else(|panic| resume_unwind(panic.into_panic()));
            if let Some(edits) = edits {
                let present = publisher.bot.snapshot();
                let next = rebuild(&present, move |parts| parts.index = compacted.apply(&edits));
                publisher.publish(next.await);
            }
        });
    }

    /// Reads templates and dictionaries again; what is wrong is reported and changes nothing.
    pub async fn reload_files(&self) {
        let sources = self.inputs.lock().await.sources.clone();
        match self.replace_sources(sources).await {
            Ok(()) => tracing::info!("templates and dictionaries reloaded"),
            Err(error) => tracing::error!("the last good templates and dictionaries stay:\n{error}"),
        }
    }

    /// Decides with `sources` from now on.
    ///
    /// # Errors
    /// [`AppError::Content`] when they cannot be used; then nothing has changed.
    pub async fn replace_sources(&self, sources: Sources) -> Result<(), AppError> {
        let mut inputs = self.inputs.lock().await;
        let contents = inputs.read(sources.clone()).await?;
        inputs.used.clone_from(&contents.used);
        self.outdate(&contents.dictionaries);
        let taken = sources.clone();
        let snapshot = self.bot.snapshot();
        let next = rebuild(&snapshot, move |parts| {
            take_over(parts, contents.templates, contents.dictionaries);
            parts.thresholds = taken.thresholds;
            parts.max_suggestions = taken.max_suggestions;
            parts.max_bytes = taken.max_bytes;
            parts.habits = taken.habits;
            parts.handoffs = taken.handoffs;
        });
        self.publish(next.await);
        if inputs.sources != sources {
            inputs.sources = sources;
            self.moved.notify_one();
        }
        Ok(())
    }
}

/// The snapshot after `edit`, made where it holds nobody up.
async fn rebuild(snapshot: &Snapshot, edit: impl FnOnce(&mut SnapshotParts) + Send + 'static) -> Snapshot {
    let mut parts = snapshot.parts().clone();
    let made = spawn_blocking(move || {
        edit(&mut parts);
        Snapshot::new(parts)
    });
    match made.await {
        Ok(next) => next,
        Err(panic) => resume_unwind(panic.into_panic()),
    }
}
