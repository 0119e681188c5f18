//! One message, from [`Delivery`] to [`Answer`]: repeats, session, decision, record.
//!
//! [`Bot::handle`] is the entry point. Deciding is `dialog`'s and `matching`'s work on the current [`Snapshot`];
//! keeping things is behind the traits of `store`. The bot adds the order of events, the deadline, and the seals that
//! make stored bytes trustworthy. A reply needs neither database nor Redis.

mod matches;
mod seals;
mod snapshot;
mod turns;

pub use matches::MatchStore;
pub use seals::{Pseudonym, Seals};
pub use snapshot::{Snapshot, SnapshotParts};

use crate::bank::Channel;
use crate::dialog::{self, Outcome, Plan, Session, Told};
use crate::matching::{Matches, Scope};
use crate::store::conversations::{Arrival, Begun, Conversations, Finished, Follower, SessionChange, Turn};
use crate::wechat::{Delivery, Inbound, Reply};
use arc_swap::ArcSwap;
use matches::Lookup;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use turns::{TurnGuard, Turns};

/// Matches looked up for one question: what a list can page through.
const DEPTH: usize = dialog::MAX_OFFER;
/// Between two questions whether another instance is done with a follower's earlier message.
const BUSY_PAUSE: Duration = Duration::from_millis(25);

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
    /// Pseudonyms, and the authentication of what is stored.
    pub seals: Seals,
    #[expect(missing_docs, reason = "the type says it")]
    pub clock: Arc<dyn Clock>,
    /// Time for one reply; then `success` is answered, the work goes on, and a repeat gets its result.
    pub deadline: Duration,
}

/// Answers messages and searches. Shared by every request.
pub struct Bot {
    snapshot: ArcSwap<Snapshot>,
    conversations: Arc<dyn Conversations>,
    matches: MatchStore,
    seals: Seals,
    clock: Arc<dyn Clock>,
    deadline: Duration,
    turns: Turns,
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
}

impl Answer {
    fn nothing(now: i64) -> Self {
        Self::Reply {
            reply: Reply::Acknowledge,
            create_time: now,
        }
    }
}

/// What is kept of a handled message, for repeats.
#[derive(Serialize, Deserialize)]
struct Record {
    create_time: i64,
    reply: Reply,
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
            seals: parts.seals,
            clock: parts.clock,
            deadline: parts.deadline,
            turns: Turns::default(),
            tasks: TaskTracker::new(),
        })
    }

    /// What everything is decided with now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// From now on decides with `snapshot`; messages under way keep theirs.
    pub fn publish(&self, snapshot: Snapshot) {
        show(&snapshot);
        self.snapshot.store(Arc::new(snapshot));
    }

    /// Unix seconds.
    pub fn now(&self) -> i64 {
        self.clock.now()
    }

    /// Work that goes on after its request; closed and awaited at a stop.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
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
    /// The work is a task of its own: when the deadline passes, or WeChat hangs up, it goes on, and a repeat gets its
    /// result.
    pub async fn handle(self: &Arc<Self>, account: &str, delivery: &Delivery) -> Answer {
        let Ok(inbound) = &delivery.inbound else {
            return Answer::nothing(self.now());
        };
        let started = Instant::now();
        let pseudonym = self.seals.pseudonym(account, &inbound.head().openid);
        let work = Work {
            bot: self.clone(),
            started,
            arrival: Arrival {
                follower: Follower {
                    account: account.to_owned(),
                    pseudonym: pseudonym.as_str().to_owned(),
                },
                message: inbound.dedup_id(),
                signature: delivery.signature.clone(),
                fingerprint: seals::hex(&delivery.fingerprint),
            },
            inbound: inbound.clone(),
        };
        let task = self.tasks.spawn(work.run());
        match tokio::time::timeout_at(started + self.deadline, task).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => {
                tracing::error!(
                    error = &panic as &dyn std::error::Error,
                    "message acknowledged without a reply"
                );
                metrics::counter!("wxfaq_messages_failed_total").increment(1);
                Answer::nothing(self.now())
            }
            Err(_) => {
                tracing::warn!(account, follower = %pseudonym.short(), "no reply within the deadline; acknowledged");
                metrics::counter!("wxfaq_messages_late_total").increment(1);
                Answer::nothing(self.now())
            }
        }
    }

    /// Searches the bank for the JSON API.
    pub async fn search(&self, request: SearchRequest<'_>) -> Found {
        let snapshot = self.snapshot();
        let scope = Scope {
            account: request.account,
            channel: Channel::Api,
            now: self.now(),
            category: request.category,
        };
        let normalized = snapshot.index.analyzer().normalize(request.text);
        let lookup = Lookup {
            snapshot: &snapshot,
            scope,
            normalized: &normalized,
        };
        let cacheable = request.category.is_none() && request.top <= DEPTH;
        let cached = if cacheable {
            self.matches.get(lookup).await
        } else {
            None
        };
        let mut matches = match cached {
            Some(matches) => matches,
            None if cacheable => self.find(request.text, lookup),
            None => snapshot.index.search(request.text, scope, request.top),
        };
        matches.hits.truncate(request.top);
        Found {
            normalized,
            matches,
            snapshot,
        }
    }

    /// Searches, and keeps what was found.
    fn find(&self, text: &str, lookup: Lookup<'_>) -> Matches {
        let started = Instant::now();
        let matches = lookup.snapshot.index.search(text, lookup.scope, DEPTH);
        metrics::histogram!("wxfaq_search_seconds").record(started.elapsed());
        self.matches.put(lookup, &matches, &self.tasks);
        matches
    }
}

/// Shows in the metrics what is decided with.
fn show(snapshot: &Snapshot) {
    metrics::gauge!("wxfaq_bank_revision").set(snapshot.revision as f64);
    metrics::gauge!("wxfaq_bank_entries").set(snapshot.index.len() as f64);
}

/// One message being handled.
struct Work {
    bot: Arc<Bot>,
    started: Instant,
    arrival: Arrival,
    inbound: Inbound,
}

/// What a message was decided with, for its log line.
struct Decided {
    outcome: Outcome,
    record: Vec<u8>,
    create_time: i64,
}

impl Work {
    async fn run(self) -> Answer {
        let Some(guard) = self.bot.turns.take(&self.arrival.follower).await else {
            metrics::counter!("wxfaq_messages_shed_total").increment(1);
            return Answer::nothing(self.bot.now());
        };
        let snapshot = self.bot.snapshot();
        let now = self.bot.now();
        let account = self.arrival.follower.account.clone();
        let scope = Scope {
            account: &account,
            channel: Channel::Wechat,
            now,
            category: None,
        };
        let text = dialog::question(&self.inbound).unwrap_or_default();
        let normalized = snapshot.index.analyzer().normalize(text);
        let lookup = Lookup {
            snapshot: &snapshot,
            scope,
            normalized: &normalized,
        };
        loop {
            // Claim and cached matches are asked for at the same time: together they cost one round trip.
            let (begun, cached) = tokio::join!(
                self.bot.conversations.begin(&self.arrival),
                self.bot.matches.get(lookup)
            );
            match begun {
                Ok(Begun::Claimed { turn, session }) => {
                    let decided = self.decide(session.as_deref(), lookup, cached);
                    return self.keep(turn, decided, guard).await;
                }
                Ok(Begun::Done(record)) => match self.open_record(&record) {
                    Some(record) => {
                        self.log_repeat();
                        return Answer::Reply {
                            reply: record.reply,
                            create_time: record.create_time,
                        };
                    }
                    None => return self.alone(lookup, cached),
                },
                Ok(Begun::Busy) if self.started.elapsed() < self.bot.deadline => tokio::time::sleep(BUSY_PAUSE).await,
                Ok(Begun::Busy) => return Answer::nothing(now),
                Ok(Begun::Refused) => return Answer::Refused,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "message handled without its session"
                    );
                    return self.alone(lookup, cached);
                }
            }
        }
    }

    /// `cached` are the matches of the message's own text, the only one a plan searches.
    fn decide(&self, session: Option<&[u8]>, lookup: Lookup<'_>, cached: Option<Matches>) -> Decided {
        let desk = lookup.snapshot.desk(lookup.scope);
        let session = session.and_then(|bytes| self.open_session(bytes)).unwrap_or_default();
        let mut outcome = match dialog::plan(&self.inbound, session.clone(), desk) {
            Plan::Say(outcome) => outcome,
            Plan::Search(text) => {
                let matches = cached.unwrap_or_else(|| self.bot.find(&text, lookup));
                dialog::conclude(&matches, session, desk)
            }
        };
        outcome.reply = outcome.reply.fitting(&self.inbound);
        let create_time = lookup.scope.now;
        let record = Record {
            create_time,
            reply: outcome.reply.clone(),
        };
        let record = serde_json::to_vec(&record).unwrap_or_default();
        Decided {
            record: self.bot.seals.seal(&self.record_context(), &record),
            outcome,
            create_time,
        }
    }

    /// Answers first and keeps record and session right after; a repeat or the next message waits for that. When much
    /// of the lease is gone, somebody may have taken the message over: then it keeps first and answers what stands.
    async fn keep(self, turn: Turn, decided: Decided, guard: TurnGuard) -> Answer {
        self.log(&decided.outcome);
        let session = match &decided.outcome.session {
            Some(session) if session.is_fresh() && turn.session_version == 0 => SessionChange::Keep,
            Some(session) => SessionChange::Put(self.bot.seals.seal(&self.session_context(), &session.to_bytes())),
            None => SessionChange::Delete,
        };
        let answer = Answer::Reply {
            reply: decided.outcome.reply.clone(),
            create_time: decided.create_time,
        };
        let in_doubt = self.started.elapsed() > self.bot.deadline / 2;
        let bot = self.bot.clone();
        let finish = bot.tasks.spawn({
            let bot = bot.clone();
            async move {
                let finished = bot.conversations.finish(&turn, &decided.record, session).await;
                drop(guard);
                finished
            }
        });
        if !in_doubt {
            return answer;
        }
        match finish.await {
            Ok(Ok(Finished::Superseded(Some(theirs)))) => match self.open_record(&theirs) {
                Some(record) => Answer::Reply {
                    reply: record.reply,
                    create_time: record.create_time,
                },
                None => answer,
            },
            _ => answer,
        }
    }

    /// Answers without session and record: no store can be reached, or what it holds is not ours.
    fn alone(&self, lookup: Lookup<'_>, cached: Option<Matches>) -> Answer {
        let decided = self.decide(None, lookup, cached);
        self.log(&decided.outcome);
        Answer::Reply {
            reply: decided.outcome.reply,
            create_time: decided.create_time,
        }
    }

    fn record_context(&self) -> [&str; 4] {
        let Follower { account, pseudonym } = &self.arrival.follower;
        ["record", account, pseudonym, &self.arrival.message]
    }

    fn session_context(&self) -> [&str; 3] {
        let Follower { account, pseudonym } = &self.arrival.follower;
        ["session", account, pseudonym]
    }

    fn open_record(&self, sealed: &[u8]) -> Option<Record> {
        let bytes = self.bot.seals.open(&self.record_context(), sealed)?;
        serde_json::from_slice(bytes).ok()
    }

    fn open_session(&self, sealed: &[u8]) -> Option<Session> {
        Session::from_bytes(self.bot.seals.open(&self.session_context(), sealed)?)
    }

    fn log(&self, outcome: &Outcome) {
        let told = outcome.told.name();
        let Follower { account, pseudonym } = &self.arrival.follower;
        let follower = seals::short(pseudonym);
        let elapsed_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        match &outcome.told {
            Told::Answer(id, score) => {
                let score = score.get();
                tracing::info!(
                    account,
                    follower,
                    decision = told,
                    entry = id.as_str(),
                    score,
                    elapsed_us,
                    "answered"
                );
            }
            Told::Choice(id) => {
                tracing::info!(
                    account,
                    follower,
                    decision = told,
                    entry = id.as_str(),
                    elapsed_us,
                    "answered"
                );
            }
            _ => tracing::info!(account, follower, decision = told, elapsed_us, "answered"),
        }
        if let Some(fault) = &outcome.fault {
            tracing::error!(%fault, "a reply template failed; the embedded one stood in for it");
            metrics::counter!("wxfaq_template_faults_total").increment(1);
        }
        metrics::counter!("wxfaq_messages_total", "account" => account.clone(), "decision" => told).increment(1);
        metrics::histogram!("wxfaq_reply_seconds").record(self.started.elapsed());
    }

    fn log_repeat(&self) {
        let Follower { account, pseudonym } = &self.arrival.follower;
        let follower = seals::short(pseudonym);
        let elapsed_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::info!(account, follower, decision = "repeat", elapsed_us, "answered as before");
        metrics::counter!("wxfaq_messages_total", "account" => account.clone(), "decision" => "repeat").increment(1);
    }
}
