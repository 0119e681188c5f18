//! One message from claim to record.
//!
//! [`Work::run`] is the entry point. It waits its turn, decides, answers, and keeps record and session right after. Where
//! it cannot have the session in time, because the store is away or another message of the follower holds it, it decides
//! without: a reply that forgets the list is better than none. A repeat of a message under way waits for the record.

use super::matches::Lookup;
use super::turns::TurnGuard;
use super::{Answer, Bot, seals};
use crate::bank::Channel;
use crate::dialog::{self, Outcome, Plan, Session, Told};
use crate::matching::{Matches, Scope};
use crate::store::StoreError;
use crate::store::conversations::{Arrival, Begun, Finished, Follower, OWN_BYTES, SessionChange, Turn};
use crate::wechat::{Delivery, Inbound, Reply};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Between two questions whether another is done with the message, or with an earlier one of the follower.
const BUSY_PAUSE: Duration = Duration::from_millis(25);

/// One message being handled.
pub(super) struct Work {
    bot: Arc<Bot>,
    pub started: Instant,
    arrival: Arrival,
    inbound: Inbound,
}

/// What a message was decided with.
struct Decided {
    outcome: Outcome,
    create_time: i64,
    /// What a search found that nobody has found before.
    found: Option<Arc<Matches>>,
}

/// Why a message is handled without its session.
#[derive(Debug, Clone, Copy)]
enum Alone {
    /// No store can be reached.
    Store,
    /// What the store holds is not ours.
    Record,
    /// Another message of the follower is being handled, for too long.
    Occupied,
    /// The deadline nears.
    Late,
}

/// A claim that is given back unless it is finished, whatever happens.
struct Held {
    bot: Arc<Bot>,
    since: Instant,
    turn: Option<Turn>,
}

impl Work {
    pub fn new(bot: &Arc<Bot>, account: &str, delivery: &Delivery, inbound: &Inbound) -> Self {
        let pseudonym = bot.seals.pseudonym(account, &inbound.head().openid);
        Self {
            bot: bot.clone(),
            started: Instant::now(),
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
        }
    }

    /// Handles the message; the reply goes to `answering` as soon as it stands.
    pub async fn run(self: Arc<Self>, answering: oneshot::Sender<Answer>) {
        // A holder that has died is found out within a lease; one that lives and takes longer is not waited for.
        let patience = self.started + self.bot.lease + 2 * BUSY_PAUSE;
        let turn = self.bot.turns.take(&self.arrival.follower);
        let place = tokio::time::timeout_at(patience, turn).await.ok().flatten();
        let snapshot = self.bot.snapshot();
        let normalized = snapshot.index.analyzer().normalize(self.text());
        let lookup = Lookup {
            snapshot: &snapshot,
            scope: self.scope(),
            normalized: &normalized,
        };
        let (conversations, arrival) = (&self.bot.conversations, &self.arrival);
        // Claim and cached matches are asked for at the same time: together they cost one round trip.
        let (mut begun, cached) = tokio::join!(conversations.begin(arrival), self.bot.matches.get(lookup));
        let answer = loop {
            match begun {
                Ok(Begun::Claimed { turn, session }) => {
                    let held = Held::new(&self.bot, turn);
                    let decided = held.renewed(async { self.decide(session.as_deref(), lookup, cached) });
                    let decided = decided.await;
                    return self.keep(held, decided, lookup, place, answering).await;
                }
                Ok(Begun::Done(record)) => match self.repeat(&record) {
                    Some(answer) => break answer,
                    None => break self.alone(lookup, cached, Alone::Record),
                },
                Ok(Begun::Refused) => break Answer::Refused,
                Ok(Begun::Busy) if self.started.elapsed() < self.bot.deadline => {}
                // The late answer has been given.
                Ok(Begun::Busy) => return,
                Ok(Begun::Occupied) if place.is_some() && Instant::now() < patience => {}
                Ok(Begun::Occupied) => break self.alone(lookup, cached, Alone::Occupied),
                Err(error) => {
                    report(&error, "the message's claim is not to be had");
                    break self.alone(lookup, cached, Alone::Store);
                }
            }
            tokio::time::sleep(BUSY_PAUSE).await;
            begun = conversations.begin(arrival).await;
        };
        // Nobody waits for it when WeChat has hung up.
        let _ = answering.send(answer);
    }

    /// Answers without session, since the deadline nears.
    pub fn answer_late(&self) -> Answer {
        let snapshot = self.bot.snapshot();
        let normalized = snapshot.index.analyzer().normalize(self.text());
        let lookup = Lookup {
            snapshot: &snapshot,
            scope: self.scope(),
            normalized: &normalized,
        };
        self.alone(lookup, None, Alone::Late)
    }

    fn text(&self) -> &str {
        dialog::question(&self.inbound).unwrap_or_default()
    }

    fn scope(&self) -> Scope<'_> {
        Scope {
            account: &self.arrival.follower.account,
            channel: Channel::Wechat,
            now: self.bot.now(),
            category: None,
        }
    }

    /// `cached` are the matches of the message's own text, the only one a plan searches.
    fn decide(&self, session: Option<&[u8]>, lookup: Lookup<'_>, cached: Option<Arc<Matches>>) -> Decided {
        let Arrival { follower, message, .. } = &self.arrival;
        let key = [&follower.account, &follower.pseudonym, message];
        let desk = lookup.snapshot.desk(lookup.scope, &key.map(String::as_str));
        let session = session.and_then(Session::from_bytes).unwrap_or_default();
        let mut found = None;
        let mut outcome = match dialog::plan(&self.inbound, session.clone(), desk) {
            Plan::Say(outcome) => outcome,
            Plan::Search(text) => {
                let matches = cached.unwrap_or_else(|| {
                    let sought = self.bot.find(&text, lookup);
                    found = sought.is_new.then(|| sought.matches.clone());
                    sought.matches
                });
                dialog::conclude(&matches, session, desk)
            }
        };
        outcome.reply = outcome.reply.fitting(&self.inbound);
        Decided {
            outcome,
            create_time: lookup.scope.now,
            found,
        }
    }

    /// Answers first and keeps record and session right after; a repeat or the next message waits for that. When much
    /// of the lease is gone, somebody may have taken the message over: then it keeps first and answers what stands.
    async fn keep(
        &self,
        held: Held,
        decided: Decided,
        lookup: Lookup<'_>,
        place: Option<TurnGuard>,
        answering: oneshot::Sender<Answer>,
    ) {
        let Decided {
            outcome,
            create_time,
            found,
        } = decided;
        self.log(&outcome);
        let session = match &outcome.session {
            Some(session) if session.is_fresh() && held.session_version() == 0 => SessionChange::Keep,
            Some(session) => SessionChange::Put(session.to_bytes()),
            None => SessionChange::Delete,
        };
        let record = record(create_time, &outcome.reply);
        let answer = Answer::Reply {
            reply: outcome.reply,
            create_time,
        };
        let found = found.map(|matches| self.bot.matches.put(lookup, &matches));
        let found = async {
            if let Some(put) = found {
                put.await;
            }
        };
        if held.since.elapsed() > self.bot.lease / 2 {
            let standing = held.finish(&record, session).await;
            let _ = answering.send(standing.and_then(|theirs| self.repeat(&theirs)).unwrap_or(answer));
            drop(place);
            return found.await;
        }
        let _ = answering.send(answer);
        let finish = async {
            held.finish(&record, session).await;
            drop(place);
        };
        tokio::join!(finish, found);
    }

    /// Answers without session and record. A follower who leaves is forgotten all the same.
    fn alone(&self, lookup: Lookup<'_>, cached: Option<Arc<Matches>>, cause: Alone) -> Answer {
        let decided = self.decide(None, lookup, cached);
        let Follower { account, pseudonym } = &self.arrival.follower;
        let follower = seals::short(pseudonym);
        tracing::warn!(account, follower, ?cause, "message handled without its session");
        metrics::counter!("wxfaq_messages_alone_total", "cause" => cause.name()).increment(1);
        self.log(&decided.outcome);
        if decided.outcome.session.is_none() {
            let (bot, follower) = (self.bot.clone(), self.arrival.follower.clone());
            self.bot.tasks.spawn(async move {
                if let Err(error) = bot.conversations.forget(&follower).await {
                    report(&error, "a follower who left is not forgotten");
                }
            });
        }
        Answer::Reply {
            reply: decided.outcome.reply,
            create_time: decided.create_time,
        }
    }

    /// The answer that `record` holds; `None` when it is none of ours.
    fn repeat(&self, record: &[u8]) -> Option<Answer> {
        let (create_time, reply) = record.split_first_chunk::<OWN_BYTES>()?;
        let answer = Answer::Reply {
            reply: serde_json::from_slice(reply).ok()?,
            create_time: i64::from_be_bytes(*create_time),
        };
        let Follower { account, pseudonym } = &self.arrival.follower;
        let follower = seals::short(pseudonym);
        tracing::info!(
            account,
            follower,
            decision = "repeat",
            elapsed_us = self.elapsed_us(),
            "answered as before"
        );
        metrics::counter!("wxfaq_messages_total", "account" => account.clone(), "decision" => "repeat").increment(1);
        Some(answer)
    }

    fn elapsed_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn log(&self, outcome: &Outcome) {
        let told = outcome.told.name();
        let Follower { account, pseudonym } = &self.arrival.follower;
        let follower = seals::short(pseudonym);
        let (entry, score) = match &outcome.told {
            Told::Answer(id, score) => (Some(id.as_str()), Some(score.get())),
            Told::Choice(id) => (Some(id.as_str()), None),
            _ => (None, None),
        };
        if let Told::Answer(id, _) | Told::Choice(id) = &outcome.told {
            self.bot.asked.note(id);
        }
        let rule = match &outcome.told {
            Told::Rule(id) => Some(id.as_str()),
            _ => None,
        };
        tracing::info!(
            account,
            follower,
            decision = told,
            rule,
            entry,
            score,
            elapsed_us = self.elapsed_us(),
            "answered"
        );
        if let Some(fault) = &outcome.fault {
            tracing::error!(%fault, "a reply template failed; the embedded one stood in for it");
            metrics::counter!("wxfaq_template_faults_total").increment(1);
        }
        metrics::counter!("wxfaq_messages_total", "account" => account.clone(), "decision" => told).increment(1);
        metrics::histogram!("wxfaq_reply_seconds").record(self.started.elapsed());
    }
}

/// What is kept of a handled message, for repeats: the reply's `CreateTime`, which is its own, and the reply.
fn record(create_time: i64, reply: &Reply) -> Vec<u8> {
    let mut record = create_time.to_be_bytes().to_vec();
    // Only a map with keys that are not texts cannot be written.
    serde_json::to_writer(&mut record, reply).expect("a reply can be written as JSON");
    record
}

fn report(error: &StoreError, what: &str) {
    tracing::warn!(error = error as &dyn std::error::Error, "{what}");
}

impl Alone {
    fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Record => "record",
            Self::Occupied => "occupied",
            Self::Late => "late",
        }
    }
}

impl Held {
    fn new(bot: &Arc<Bot>, turn: Turn) -> Self {
        Self {
            bot: bot.clone(),
            since: Instant::now(),
            turn: Some(turn),
        }
    }

    fn session_version(&self) -> u64 {
        self.turn.as_ref().map_or(0, |turn| turn.session_version)
    }

    /// Runs `work` and renews the lease whenever a third of it has passed.
    async fn renewed<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            if let Ok(done) = tokio::time::timeout(self.bot.lease / 3, work.as_mut()).await {
                return done;
            }
            if let Some(turn) = &self.turn
                && let Err(error) = self.bot.conversations.renew(turn).await
            {
                report(&error, "a claim is not renewed");
            }
        }
    }

    /// Ends the claim with a record; another's when theirs stands.
    async fn finish(mut self, record: &[u8], session: SessionChange) -> Option<Vec<u8>> {
        let turn = self.turn.as_ref()?;
        match self.renewed(self.bot.conversations.finish(turn, record, session)).await {
            Ok(finished) => {
                self.turn = None;
                match finished {
                    Finished::Superseded(theirs) => theirs,
                    Finished::Stored => None,
                }
            }
            Err(error) => {
                report(&error, "record and session are not kept");
                None
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(turn) = self.turn.take() else { return };
        let bot = self.bot.clone();
        self.bot.tasks.spawn(async move {
            if let Err(error) = bot.conversations.release(&turn).await {
                report(&error, "a claim is left to its lease");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::Dictionaries;
    use crate::bot::{MatchStore, Parts, Seals, Snapshot, SnapshotParts, SystemClock};
    use crate::dialog::Templates;
    use crate::matching::{Analyzer, Index, Thresholds};
    use crate::store::conversations::{Conversations, Lifetimes};
    use crate::store::memory::{Bounds, MemoryConversations, MemoryMatchCache};
    use crate::wechat::{Event, Head};
    use async_trait::async_trait;
    use std::collections::BTreeMap;
    use tokio::sync::Semaphore;

    const LASTING: Duration = Duration::from_secs(600);

    /// A store that answers some calls in its own way.
    struct Troubled {
        inner: MemoryConversations,
        begins: Option<Begun>,
        finishes: bool,
        renewals: Semaphore,
        forgotten: Semaphore,
    }

    #[async_trait]
    impl Conversations for Troubled {
        async fn begin(&self, arrival: &Arrival) -> Result<Begun, StoreError> {
            match &self.begins {
                Some(begun) => Ok(begun.clone()),
                None => self.inner.begin(arrival).await,
            }
        }
        async fn finish(&self, turn: &Turn, record: &[u8], session: SessionChange) -> Result<Finished, StoreError> {
            if self.finishes {
                return self.inner.finish(turn, record, session).await;
            }
            Err(StoreError::Unavailable {
                backend: "test",
                reason: "test".to_owned(),
            })
        }
        async fn renew(&self, turn: &Turn) -> Result<bool, StoreError> {
            self.renewals.add_permits(1);
            self.inner.renew(turn).await
        }
        async fn release(&self, turn: &Turn) -> Result<(), StoreError> {
            self.inner.release(turn).await
        }
        async fn note_signature(&self, account: &str, signature: &str, fingerprint: &str) -> Result<bool, StoreError> {
            self.inner.note_signature(account, signature, fingerprint).await
        }
        async fn forget(&self, follower: &Follower) -> Result<(), StoreError> {
            self.forgotten.add_permits(1);
            self.inner.forget(follower).await
        }
    }

    fn bot(begins: Option<Begun>, finishes: bool, lease: Duration) -> (Arc<Bot>, Arc<Troubled>) {
        let lifetimes = Lifetimes {
            lease: LASTING,
            signature: LASTING,
            record: LASTING,
            session: LASTING,
        };
        let store = Arc::new(Troubled {
            inner: MemoryConversations::new(lifetimes, Bounds::default(), Arc::new(|| Duration::ZERO)),
            begins,
            finishes,
            renewals: Semaphore::new(0),
            forgotten: Semaphore::new(0),
        });
        let dictionaries = Arc::new(Dictionaries::default());
        let bot = Bot::new(Parts {
            snapshot: Snapshot::new(SnapshotParts {
                index: Index::build([], Arc::new(Analyzer::new(&dictionaries))),
                dictionaries,
                rules: Arc::default(),
                templates: Arc::new(Templates::load(&BTreeMap::new()).unwrap()),
                thresholds: Thresholds {
                    answer: 0.8,
                    suggest: 0.6,
                },
                max_suggestions: 5,
                max_bytes: 2_048,
                revision: 1,
            }),
            conversations: store.clone(),
            matches: MatchStore::new(Arc::new(MemoryMatchCache::new(LASTING, 1 << 20))),
            seals: Seals::new("key"),
            clock: Arc::new(SystemClock),
            deadline: Duration::from_millis(100),
            lease,
        });
        (bot, store)
    }

    fn work(bot: &Arc<Bot>, event: Event) -> Arc<Work> {
        let head = Head {
            account: "gh".into(),
            openid: "o".into(),
            create_time: 1,
        };
        let inbound = Inbound::Event { head, event };
        Arc::new(Work {
            bot: bot.clone(),
            started: Instant::now(),
            arrival: arrival(&inbound.dedup_id()),
            inbound,
        })
    }

    fn arrival(message: &str) -> Arrival {
        Arrival {
            follower: Follower {
                account: "a".into(),
                pseudonym: "p".into(),
            },
            message: message.into(),
            signature: message.into(),
            fingerprint: message.into(),
        }
    }

    fn subscribe() -> Event {
        Event::Subscribe { scene: None }
    }

    async fn answer(work: Arc<Work>) -> Answer {
        let (answering, answer) = oneshot::channel();
        work.run(answering).await;
        answer.await.unwrap()
    }

    fn says_something(answer: &Answer) -> bool {
        matches!(answer, Answer::Reply { reply, .. } if *reply != Reply::Acknowledge)
    }

    #[tokio::test]
    async fn a_claim_whose_end_fails_is_given_back() {
        let (bot, store) = bot(None, false, LASTING);
        assert!(says_something(&answer(work(&bot, subscribe())).await));
        bot.tasks.close();
        bot.tasks.wait().await;
        let next = store.inner.begin(&arrival("next")).await.unwrap();
        assert!(matches!(next, Begun::Claimed { .. }), "{next:?}");
    }

    #[tokio::test]
    async fn a_follower_held_elsewhere_is_answered_and_forgotten_without_a_session() {
        let (bot, store) = bot(Some(Begun::Occupied), true, Duration::ZERO);
        assert!(says_something(&answer(work(&bot, subscribe())).await));
        answer(work(&bot, Event::Unsubscribe)).await;
        store.forgotten.acquire().await.unwrap().forget();
    }

    #[tokio::test]
    async fn a_late_message_is_answered_from_the_snapshot() {
        let (bot, _) = bot(Some(Begun::Busy), true, LASTING);
        assert!(says_something(&work(&bot, subscribe()).answer_late()));
    }

    #[tokio::test]
    async fn a_claim_is_renewed_while_work_goes_on() {
        let (bot, store) = bot(None, true, Duration::from_millis(3));
        let Begun::Claimed { turn, .. } = store.begin(&arrival("1")).await.unwrap() else {
            panic!("not to be had");
        };
        let held = Held::new(&bot, turn);
        held.renewed(async { store.renewals.acquire_many(3).await.unwrap().forget() })
            .await;
        assert_eq!(held.finish(b"record", SessionChange::Keep).await, None);
        assert_eq!(
            store.begin(&arrival("1")).await.unwrap(),
            Begun::Done(b"record".to_vec())
        );
    }
}
