//! One message from claim to record.
//!
//! [`Work::run`] is the entry point. It waits its turn, decides, answers, and keeps record and session right after. Where
//! it cannot have the session in time, because the store is away or another message of the follower holds it, it decides
//! without: a reply that forgets the list is better than none. A repeat of a message under way waits for the record.

mod consult;

use super::answers::Way;
use super::flood::Judgement;
use super::held::{Held, report};
use super::late::{LateState, Remembered, key_of, worker_of};
use super::matches::Lookup;
use super::queries::Answered;
use super::turns::TurnGuard;
use super::{Answer, Bot, WECHAT_WAITS, seals};
use crate::bank::{Channel, EntryId, RuleId};
use crate::dialog::{self, Desk, Outcome, Plan, Session, Told};
use crate::matching::{Matches, Scope};
use crate::store::conversations::{Arrival, Begun, Finished, Follower, OWN_BYTES, SessionChange};
use crate::wechat::{Delivery, Inbound, Reply};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// From the first delivery to WeChat's last one.
const LAST_DELIVERY: Duration = Duration::from_secs(10);
/// A delivery that comes so long after the message was sent is the last: WeChat's times are whole seconds.
const LAST_DELIVERY_FROM: Duration = Duration::from_secs(9);

/// Between two questions whether another is done with the message, or with an earlier one of the follower.
const BUSY_PAUSE: Duration = Duration::from_millis(25);

/// Whoever waits for a held delivery gives up first: what ends without a word before that looks like a panic.
const AFTER_HANG_UP: Duration = Duration::from_secs(1);

/// One message being handled.
pub(super) struct Work {
    bot: Arc<Bot>,
    pub started: Instant,
    arrival: Arrival,
    inbound: Inbound,
    way: Arc<Way>,
    /// How long ago WeChat delivered it first.
    age: Duration,
    /// Which of WeChat's deliveries of it this is, as far as they were counted; 0: not yet. Counted where some are held.
    number: AtomicU8,
    /// Somebody, here or elsewhere, works on it for longer than a search takes.
    is_slow: AtomicBool,
}

/// What a message was decided with.
struct Decided {
    outcome: Outcome,
    late: LateState,
    /// What a slow source may be asked, since the bank has no direct answer.
    asked: Option<String>,
    /// It must not be told twice, whoever dies: it is kept before it is told.
    is_single: bool,
    /// The work whose finding is told: its record is of no more use once the reply is kept.
    spent: Option<String>,
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

impl Work {
    pub fn new(bot: &Arc<Bot>, account: &str, delivery: &Delivery, inbound: &Inbound) -> Self {
        let pseudonym = bot.seals.pseudonym(account, &inbound.head().openid);
        // WeChat's word on time counts to the second, and its clock is right. The more is gone, the less is held.
        let age = bot.now().saturating_sub(inbound.head().create_time);
        Self {
            bot: bot.clone(),
            started: Instant::now(),
            way: bot.deliveries.load().of(account),
            age: Duration::from_secs(age.clamp(0, LAST_DELIVERY.as_secs().cast_signed()).unsigned_abs()),
            number: AtomicU8::new(0),
            is_slow: AtomicBool::new(false),
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
                    if let Some(limited) = self.limited(lookup) {
                        return keep_limited(held, limited, place, answering).await;
                    }
                    let decided = held.renewed(self.decide(session.as_deref(), lookup, cached)).await;
                    return self.keep(held, decided, lookup, place, answering).await;
                }
                Ok(Begun::Done(record)) => match self.repeat(&record) {
                    Some(answer) => break answer,
                    None => break self.alone(lookup, cached, Alone::Record),
                },
                Ok(Begun::Refused) => break Answer::Refused,
                Ok(Begun::Busy) => {
                    let account = &self.arrival.follower.account;
                    let may_be_slow = self.bot.late.source.is_some() || self.bot.media.can_upload(account);
                    self.is_slow.store(may_be_slow, Ordering::Relaxed);
                    if may_be_slow {
                        self.count_delivery().await;
                    }
                    let patience = if self.is_held() {
                        WECHAT_WAITS + AFTER_HANG_UP
                    } else {
                        self.bot.deadline
                    };
                    // Then the late answer has been given.
                    if self.started.elapsed() >= patience {
                        return;
                    }
                }
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

    /// Whether this delivery is let run out because the work on its message goes on.
    pub fn is_held(&self) -> bool {
        self.is_slow.load(Ordering::Relaxed) && self.way.holds() && self.age() < LAST_DELIVERY_FROM
    }

    /// How long ago WeChat delivered the message first: by the clock, which may be slow, or by the deliveries counted,
    /// of which one may not have come to us.
    fn age(&self) -> Duration {
        let before = self.number.load(Ordering::Relaxed).saturating_sub(1);
        self.age.max(WECHAT_WAITS * before.into())
    }

    /// Counts this delivery, once, if it may be held.
    async fn count_delivery(&self) {
        if self.way.holds() && self.number.load(Ordering::Relaxed) == 0 {
            let errand = self.errand(&key_of(&self.arrival.message), "");
            self.number.store(errand.delivery_number().await, Ordering::Relaxed);
        }
    }

    fn desk<'a>(&'a self, lookup: Lookup<'a>) -> Desk<'a> {
        let Arrival { follower, message, .. } = &self.arrival;
        let key = [&follower.account, &follower.pseudonym, message];
        Desk {
            message,
            media: &*self.bot.media,
            ..lookup.snapshot.desk(lookup.scope, &key.map(String::as_str))
        }
    }

    fn hot(&self, session: &Session, lookup: Lookup<'_>) -> Vec<EntryId> {
        self.bot.hot_for(self.text(), session, lookup)
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
        if self.is_slow.load(Ordering::Relaxed) {
            let outcome = self.searching(Session::default(), self.desk(lookup));
            self.log(&outcome);
            return Answer::Reply {
                reply: outcome.reply,
                create_time: lookup.scope.now,
            };
        }
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

    /// Decides with the bank alone. `cached` are the matches of the message's own text; what follows on an answer is also
    /// searched in its light.
    fn decide_at_once(&self, session: Session, lookup: Lookup<'_>, cached: Option<Arc<Matches>>) -> Decided {
        let hot = self.hot(&session, lookup);
        let desk = Desk {
            hot: &hot,
            ..self.desk(lookup)
        };
        let (mut found, mut asked) = (None, None);
        let mut outcome = match dialog::plan(&self.inbound, session.clone(), desk) {
            Plan::Say(outcome) => outcome,
            Plan::Search(text) => {
                let own = cached.unwrap_or_else(|| self.found(&text, lookup, &mut found));
                asked = Some(text);
                dialog::conclude(&own, session, desk)
            }
            Plan::FollowUp {
                text,
                follow_up,
                before,
            } => {
                let own = cached.unwrap_or_else(|| self.found(&text, lookup, &mut found));
                let followed = desk.followed(&own, &follow_up, &before);
                // A source that knows the text alone has nothing to add to what the topic found.
                asked = followed.is_none().then_some(text);
                dialog::conclude(followed.as_ref().unwrap_or(&own), session, desk)
            }
        };
        outcome.reply = outcome.reply.fitting(&self.inbound);
        Decided {
            asked: asked.filter(|_| matches!(outcome.told, Told::NotFound | Told::List(_))),
            outcome,
            late: LateState::default(),
            is_single: false,
            spent: None,
            create_time: lookup.scope.now,
            found,
        }
    }

    /// Searches for the message's own text; `new` gets what was not known before.
    fn found(&self, text: &str, lookup: Lookup<'_>, new: &mut Option<Arc<Matches>>) -> Arc<Matches> {
        let sought = self.bot.find(text, lookup);
        *new = sought.is_new.then(|| sought.matches.clone());
        sought.matches
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
            late,
            is_single,
            spent,
            create_time,
            found,
            ..
        } = decided;
        self.log(&outcome);
        self.bot.keep_feedback(&self.arrival.follower, &outcome, self.text());
        if outcome.session.is_none() {
            self.forget_work(&late);
        }
        let remembered = outcome.session.map(|session| Remembered { session, late });
        let session = match &remembered {
            Some(remembered) if remembered.is_fresh() && held.session_version() == 0 => SessionChange::Keep,
            Some(remembered) => SessionChange::Put(remembered.to_bytes()),
            None => {
                self.bot.erase_rows(&self.arrival.follower);
                SessionChange::Delete
            }
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
        if is_single || held.since.elapsed() > self.bot.lease / 2 {
            let standing = match held.finish(&record, session).await {
                Some(Finished::Superseded(Some(theirs))) => self.repeat(&theirs),
                _ => None,
            };
            let _ = answering.send(standing.unwrap_or(answer));
            if let Some(key) = spent {
                self.bot.forget(&worker_of(&self.arrival.follower, &key)).await;
            }
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

    /// What was found for a follower who leaves is not kept either.
    fn forget_work(&self, late: &LateState) {
        for key in late.keys() {
            let (bot, worker) = (self.bot.clone(), worker_of(&self.arrival.follower, key));
            self.bot.tasks.spawn(async move { bot.forget(&worker).await });
        }
    }

    /// What is answered when the follower has sent too much; `None`: they have not.
    fn limited(&self, lookup: Lookup<'_>) -> Option<Answer> {
        let Arrival { follower, message, .. } = &self.arrival;
        let judgement = self.bot.floods.judge(follower, &self.inbound, message, Instant::now());
        let reply = match judgement {
            Judgement::Passed => return None,
            Judgement::Warned => {
                let outcome = dialog::too_often(self.desk(lookup));
                self.log(&outcome);
                outcome.reply.fitting(&self.inbound)
            }
            Judgement::Silenced => Reply::Acknowledge,
        };
        metrics::counter!("wxfaq_messages_limited_total", "account" => follower.account.clone()).increment(1);
        Some(Answer::Reply {
            reply,
            create_time: lookup.scope.now,
        })
    }

    /// Answers without session and record. A follower who leaves is forgotten all the same.
    fn alone(&self, lookup: Lookup<'_>, cached: Option<Arc<Matches>>, cause: Alone) -> Answer {
        if let Some(limited) = self.limited(lookup) {
            return limited;
        }
        let decided = self.decide_at_once(Session::default(), lookup, cached);
        let Follower { account, pseudonym } = &self.arrival.follower;
        let follower = seals::short(pseudonym);
        tracing::warn!(account, follower, ?cause, "message handled without its session");
        metrics::counter!("wxfaq_messages_alone_total", "cause" => cause.name()).increment(1);
        self.log(&decided.outcome);
        let (follower, outcome) = (&self.arrival.follower, &decided.outcome);
        self.bot.keep_feedback(follower, outcome, self.text());
        if decided.outcome.session.is_none() {
            let (bot, follower) = (self.bot.clone(), self.arrival.follower.clone());
            self.bot.erase_rows(&follower);
            self.bot.tasks.spawn(async move { bot.forget(&follower).await });
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
        tracing::info!(
            account,
            follower,
            decision = told,
            rule = outcome.rule.as_deref().map(RuleId::as_str),
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
        self.bot.keep_query(&Answered {
            follower: &self.arrival.follower,
            channel: Channel::Wechat,
            text: self.text(),
            told: &outcome.told,
            took: self.started.elapsed(),
        });
    }
}

/// Answers, and keeps the answer for repeats; the session stays as it is.
async fn keep_limited(held: Held, answer: Answer, place: Option<TurnGuard>, answering: oneshot::Sender<Answer>) {
    let kept = match &answer {
        Answer::Reply { reply, create_time } => record(*create_time, reply),
        Answer::Refused | Answer::Held => Vec::new(),
    };
    // Nobody waits for it when WeChat has hung up.
    let _ = answering.send(answer);
    held.finish(&kept, SessionChange::Keep).await;
    drop(place);
}

/// What is kept of a handled message, for repeats: the reply's `CreateTime`, which is its own, and the reply.
fn record(create_time: i64, reply: &Reply) -> Vec<u8> {
    let mut record = create_time.to_be_bytes().to_vec();
    // Only a map with keys that are not texts cannot be written.
    serde_json::to_writer(&mut record, reply).expect("a reply can be written as JSON");
    record
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

#[cfg(test)]
mod tests;
