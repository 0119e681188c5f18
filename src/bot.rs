//! One message, from [`Delivery`] to [`Answer`]: repeats, session, decision, record.
//!
//! [`Bot::handle`] is the entry point. Deciding is `dialog`'s and `matching`'s work on the current [`Snapshot`];
//! keeping things is behind the traits of `store`. The bot adds the order of events (`work`), the deadline, and the
//! seals that make stored bytes trustworthy. A reply needs neither database nor Redis, and no message meets silence for
//! want of its session. What takes longer than WeChat waits goes on by itself (`late`).

mod asked;
mod work;
mod held;
mod flood;
mod late;
mod answers;
mod converse;
mod turns;
mod log_queue;
mod queries;
mod media;
mod matches;
mod sealed;
mod seals;
mod snapshot;

pub use answers::{AnswerSource, Deliveries, Delivery as LateDelivery, Late, SourceError};
pub use asked::Asked;
pub use converse::{Conversed, Words};
pub use matches::MatchStore;
pub use media::{FileProblem, MediaError, Shelf, Uploader, Uploads, check_file};
pub use sealed::{SealedAccessTokens, SealedConversations, SealedMatches};
pub use seals::{Pseudonym, Seals};
pub use snapshot::{Snapshot, SnapshotParts};

use crate::bank::{Channel, EntryId};
use crate::dialog::{self, Session};
use crate::matching::{Matches, Scope, Trace};
use crate::store::Log;
use crate::store::conversations::{Conversations, Follower};
use crate::store::erasures::Erasures;
use crate::store::feedback::FeedbackRow;
use crate::store::open_work::OpenWork;
use crate::store::query_log::QueryRow;
use crate::wechat::{Delivery, Reply};
use arc_swap::ArcSwap;
use flood::Floods;
use late::{InHand, PassedOver};
use log_queue::LogQueue;
use matches::{Lookup, Sought};
use queries::Queries;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use turns::Turns;
use work::Work;

/// Matches looked up for one question: what a list can page through.
const DEPTH: usize = dialog::MAX_OFFER;

/// How long WeChat waits for the answer to one delivery; then it hangs up and, twice, delivers again.
const WECHAT_WAITS: Duration = Duration::from_secs(5);

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Unix seconds.
    fn now(&self) -> i64;
}

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }
}

/// What a bot is made of.
pub struct Parts {
    /// What everything is decided with, until [`Bot::publish`].
    pub snapshot: Snapshot,
    /// Sessions and repeat protection.
    pub conversations: Arc<dyn Conversations>,
    /// Cached matches.
    pub matches: MatchStore,
    /// Where feedback is kept; `None`: nowhere.
    pub feedback: Option<Arc<dyn Log<FeedbackRow>>>,
    /// Where questions are kept; `None`: nowhere.
    pub queries: Option<Arc<dyn Log<QueryRow>>>,
    /// Where the files of answers stand with WeChat.
    pub media: Arc<Uploads>,
    /// For pseudonyms.
    pub seals: Seals,
    #[expect(missing_docs, reason = "the type says it")]
    pub clock: Arc<dyn Clock>,
    /// Time for one reply. When four fifths have passed it is decided without the session; the work goes on, and a
    /// repeat gets its result.
    pub deadline: Duration,
    /// The lease of `conversations`.
    pub lease: Duration,
    #[expect(missing_docs, reason = "the type says it")]
    pub late: Late,
    /// Where rows are asked to go of followers who leave; `None`: there are none.
    pub erasures: Option<Arc<dyn Erasures>>,
    /// Where work is listed whose answer is to be sent, for [`Bot::sweep`]; `None`: nowhere.
    pub open_work: Option<Arc<dyn OpenWork>>,
    /// Messages of one follower that are answered within a minute; 0: any number.
    pub per_minute: u32,
    /// How late answers travel, until [`Bot::change_deliveries`].
    pub deliveries: Deliveries,
}

/// Answers messages and searches. Shared by every request.
pub struct Bot {
    snapshot: ArcSwap<Snapshot>,
    conversations: Arc<dyn Conversations>,
    matches: MatchStore,
    feedback: Option<Arc<LogQueue<FeedbackRow>>>,
    queries: Option<Queries>,
    media: Arc<Uploads>,
    seals: Seals,
    clock: Arc<dyn Clock>,
    deadline: Duration,
    lease: Duration,
    asked: Asked,
    late: Late,
    erasures: Option<Arc<dyn Erasures>>,
    open_work: Option<Arc<dyn OpenWork>>,
    passed_over: PassedOver,
    /// How many items of open work the next look leaves out: the one before has come to there.
    look_from: AtomicUsize,
    in_hand: InHand,
    deliveries: ArcSwap<Deliveries>,
    turns: Turns,
    floods: Floods,
    tasks: TaskTracker,
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Answer with this.
    Reply {
        #[expect(missing_docs, reason = "the type says it")]
        reply: Reply,
        /// The reply's `CreateTime`, Unix seconds: the same for repeats.
        create_time: i64,
    },
    /// Its signature was seen with another message.
    Refused,
    /// Nothing, and not even `success`: WeChat has hung up, or soon will, and delivers the message again.
    Held,
}

impl Answer {
    fn nothing(now: i64) -> Self {
        Self::Reply {
            reply: Reply::Acknowledge,
            create_time: now,
        }
    }
}

/// A question of the search API.
#[derive(Debug, Clone, Copy)]
pub struct SearchRequest<'a> {
    /// As asked.
    pub text: &'a str,
    /// The account's id in the configuration.
    pub account: &'a str,
    /// `None`: all.
    pub category: Option<&'a str>,
    /// At most so many hits.
    pub top: usize,
}

/// What the search API found, with the snapshot it was found in.
pub struct Found {
    /// The text as it was searched.
    pub normalized: String,
    #[expect(missing_docs, reason = "the type says it")]
    pub matches: Matches,
    #[expect(missing_docs, reason = "the type says it")]
    pub snapshot: Arc<Snapshot>,
}

impl Bot {
    /// A bot at work.
    pub fn new(parts: Parts) -> Arc<Self> {
        show(&parts.snapshot);
        Arc::new(Self {
            snapshot: ArcSwap::from_pointee(parts.snapshot),
            conversations: parts.conversations,
            matches: parts.matches,
            feedback: parts.feedback.map(|log| LogQueue::new(log, Duration::ZERO)),
            queries: parts.queries.map(Queries::new),
            media: parts.media,
            seals: parts.seals,
            clock: parts.clock,
            deadline: parts.deadline,
            lease: parts.lease,
            asked: Asked::default(),
            late: parts.late,
            erasures: parts.erasures,
            open_work: parts.open_work,
            passed_over: PassedOver::default(),
            look_from: AtomicUsize::default(),
            in_hand: InHand::default(),
            deliveries: ArcSwap::from_pointee(parts.deliveries),
            turns: Turns::default(),
            floods: Floods::new(parts.per_minute),
            tasks: TaskTracker::new(),
        })
    }

    /// What everything is decided with now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// From now on decides with `snapshot`; messages under way keep theirs. Returns the one before, which takes a while
    /// to drop when the bank is large.
    pub fn publish(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        show(&snapshot);
        self.snapshot.swap(Arc::new(snapshot))
    }

    /// Unix seconds.
    pub fn now(&self) -> i64 {
        self.clock.now()
    }

    /// From now on late answers travel so; those under way keep theirs.
    pub fn change_deliveries(&self, deliveries: Deliveries) {
        self.deliveries.store(Arc::new(deliveries));
    }

    /// The files of answers.
    pub fn media(&self) -> &Uploads {
        &self.media
    }

    /// Forgets the follower's conversation and what waits for them. Failing that it ends with its lifetime.
    pub async fn forget(&self, follower: &Follower) {
        if let Err(error) = self.conversations.forget(follower).await {
            held::report(&error, "a follower who left is not forgotten");
        }
    }

    /// Has the rows of a follower who left erased, when the database comes to it.
    fn erase_rows(&self, follower: &Follower) {
        if let Some(erasures) = &self.erasures {
            erasures.ask(follower, self.now());
        }
    }

    /// Work that goes on after its request; closed and awaited at a stop.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Which entries followers were answered with.
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// What callers of the JSON API may see of the bank of an account now.
    pub fn api_scope<'a>(&self, account: &'a str) -> Scope<'a> {
        Scope {
            account,
            channel: Channel::Api,
            now: self.now(),
            category: None,
        }
    }

    /// Whether callers of the JSON API may see that entry of the account now.
    pub fn offers(&self, account: &str, entry: &EntryId) -> bool {
        let snapshot = self.snapshot();
        let entry = snapshot.index.entry(entry.as_str());
        entry.is_some_and(|entry| self.api_scope(account).admits(entry))
    }

    /// Notes the signature of a URL verification; `false`: it was seen with a message.
    pub async fn note_verification(&self, account: &str, signature: &str) -> bool {
        match self
            .conversations
            .note_signature(account, signature, "verification")
            .await
        {
            Ok(fresh) => fresh,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "signature of a verification not noted"
                );
                true
            }
        }
    }

    /// Answers one message within the deadline.
    ///
    /// The work is a task of its own: when the deadline nears, or WeChat hangs up, it goes on, and a repeat gets its
    /// result.
    pub async fn handle(self: &Arc<Self>, account: &str, delivery: &Delivery) -> Answer {
        let Ok(inbound) = &delivery.inbound else {
            return Answer::nothing(self.now());
        };
        let work = Arc::new(Work::new(self, account, delivery, inbound));
        let (answering, mut answer) = oneshot::channel();
        self.tasks.spawn(work.clone().run(answering));
        let mut answered = tokio::time::timeout_at(work.started + self.deadline * 4 / 5, &mut answer).await;
        if answered.is_err() && work.is_held() {
            metrics::counter!("wxfaq_late_held_total").increment(1);
            answered = tokio::time::timeout_at(work.started + WECHAT_WAITS, answer).await;
            if answered.is_err() {
                return Answer::Held;
            }
        }
        match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => {
                tracing::error!(
                    account,
                    "message acknowledged without a reply: its handling ended in a panic"
                );
                metrics::counter!("wxfaq_messages_failed_total").increment(1);
                Answer::nothing(self.now())
            }
            Err(_) => work.answer_late(),
        }
    }

    /// What was found before for the JSON API; asks the shared cache, too. `None`: it must be searched for.
    pub async fn found_before(&self, request: SearchRequest<'_>) -> Option<Found> {
        if !request.is_cacheable() {
            return None;
        }
        let snapshot = self.snapshot();
        let normalized = snapshot.index.analyzer().normalize(request.text);
        let matches = self.matches.get(self.lookup(request, &snapshot, &normalized)).await?;
        Some(Found::new(normalized, matches, snapshot, request.top))
    }

    /// Searches the bank for the JSON API. Takes processor time only.
    pub fn search(&self, request: SearchRequest<'_>) -> Found {
        let snapshot = self.snapshot();
        let normalized = snapshot.index.analyzer().normalize(request.text);
        let lookup = self.lookup(request, &snapshot, &normalized);
        let matches = if request.is_cacheable() {
            let sought = self.find(request.text, lookup);
            if sought.is_new {
                self.tasks.spawn(self.matches.put(lookup, &sought.matches));
            }
            sought.matches
        } else {
            Arc::new(snapshot.index.search(request.text, lookup.scope, request.top))
        };
        Found::new(normalized, matches, snapshot, request.top)
    }

    /// Searches as deep as is cached, unless that has been done a moment ago.
    fn find(&self, text: &str, lookup: Lookup<'_>) -> Sought {
        self.matches.search_once(lookup, || {
            let started = std::time::Instant::now();
            let matches = lookup.snapshot.index.search(text, lookup.scope, DEPTH);
            metrics::histogram!("wxfaq_search_seconds").record(started.elapsed());
            matches
        })
    }

    /// As [`Bot::search`], past every cache, with every step of it.
    pub fn explain(&self, request: SearchRequest<'_>) -> (Found, Trace) {
        let snapshot = self.snapshot();
        let normalized = snapshot.index.analyzer().normalize(request.text);
        let scope = self.lookup(request, &snapshot, &normalized).scope;
        let trace = snapshot
            .index
            .explain(request.text, scope, request.top, snapshot.thresholds);
        let matches = Arc::new(snapshot.index.search(request.text, scope, request.top));
        (Found::new(normalized, matches, snapshot, request.top), trace)
    }

    /// What may be offered to who misses again, or asks for a category by its name: then what is asked most of that one.
    fn hot_for(&self, text: &str, session: &Session, lookup: Lookup<'_>) -> Vec<EntryId> {
        let named = lookup.snapshot.categories.named(text, |_| true);
        if named.is_none() && session.misses == 0 {
            return Vec::new();
        }
        let scope = Scope {
            category: named,
            ..lookup.scope
        };
        self.hot(Lookup { scope, ..lookup })
    }

    /// What followers ask most, most first, as far as this one may see it; nothing that was not asked.
    fn hot(&self, lookup: Lookup<'_>) -> Vec<EntryId> {
        let is_offered = |id: &&EntryId| {
            let entry = lookup.snapshot.index.entry(id.as_str());
            entry.is_some_and(|entry| lookup.scope.admits(entry) && dialog::is_question(entry))
        };
        self.asked.read(|popularity| {
            let asked = popularity.in_order();
            asked
                .into_iter()
                .filter(is_offered)
                .take(dialog::MAX_OFFER)
                .cloned()
                .collect()
        })
    }

    fn lookup<'a>(&self, request: SearchRequest<'a>, snapshot: &'a Snapshot, normalized: &'a str) -> Lookup<'a> {
        let scope = Scope {
            category: request.category,
            ..self.api_scope(request.account)
        };
        Lookup {
            snapshot,
            scope,
            normalized,
        }
    }
}

impl SearchRequest<'_> {
    fn is_cacheable(&self) -> bool {
        self.category.is_none() && self.top <= DEPTH
    }
}

impl Found {
    fn new(normalized: String, matches: Arc<Matches>, snapshot: Arc<Snapshot>, top: usize) -> Self {
        let mut matches = Arc::unwrap_or_clone(matches);
        matches.hits.truncate(top);
        Self {
            normalized,
            matches,
            snapshot,
        }
    }
}

/// Shows in the metrics what is decided with.
fn show(snapshot: &Snapshot) {
    metrics::gauge!("wxfaq_bank_revision").set(snapshot.revision as f64);
    metrics::gauge!("wxfaq_bank_entries").set(snapshot.index.len() as f64);
}
