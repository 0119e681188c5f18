//! Conversations of pages and apps: the same as in WeChat, without its messages.
//!
//! [`Bot::converse`] is the entry point. Sessions live in the same store; their ids are made here, cannot be guessed, and
//! belong to the API key they were made for ([`Bot::new_session`], [`Bot::is_session`]).

mod slow;

use super::held::Held;
use super::late::{Remembered, worker_of};
use super::matches::Lookup;
use super::queries::Answered;
use super::seals::hex;
use super::{Bot, DEPTH, Snapshot};
use crate::bank::{Channel, Entry, EntryId, RuleId};
use crate::dialog::link::Tap;
use crate::dialog::{self, Desk, Feedback, Given, Outcome, Plan, Session, Told, Verdict};
use crate::store::conversations::{Arrival, Begun, Follower, SessionChange};
use crate::store::feedback::{FeedbackRow, Word};
use crate::wechat::{Head, Inbound, Reply};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use slow::PageDecided;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What session ids are sealed for.
const PURPOSE: &str = "api-session";
/// Between two questions whether an earlier text of the session has been answered.
const BUSY_PAUSE: Duration = Duration::from_millis(25);

/// What a page's visitor says.
#[derive(Debug, Clone)]
pub enum Words {
    /// Types.
    Text(String),
    /// Judges an answer, and may say why.
    Verdict(Verdict, EntryId, String),
}

/// What they get.
#[derive(Debug, Clone)]
pub struct Conversed {
    /// What happened, as in logs.
    pub decision: &'static str,
    #[expect(missing_docs, reason = "the type says it")]
    pub reply: Reply,
    /// What can be chosen by number: numbers and entries; may be empty.
    pub choices: Vec<(usize, Arc<Entry>)>,
    /// Whether 更多 has something to show.
    pub more: bool,
    /// The entry of the answer, if it is one.
    pub entry: Option<EntryId>,
}

/// One text, or verdict, of a session.
struct Page {
    arrival: Arrival,
    inbound: Inbound,
    /// What was wrong with the answer that is judged.
    why: String,
    started: Instant,
    /// Whether the session is had, and kept afterwards.
    is_remembered: bool,
}

impl Page {
    fn is_typed(&self) -> bool {
        matches!(self.inbound, Inbound::Text { menu_id: None, .. })
    }
}

impl Bot {
    /// The id of a new session, for the holder of `key`.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new_session(&self, key: &str) -> std::io::Result<String> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(std::io::Error::other)?;
        Ok(URL_SAFE_NO_PAD.encode(self.seals.seal(&[PURPOSE, key], &random)))
    }

    /// Whether `session` was made here for the holder of `key`.
    pub fn is_session(&self, key: &str, session: &str) -> bool {
        let sealed = URL_SAFE_NO_PAD.decode(session).ok();
        sealed.is_some_and(|sealed| self.seals.open(&[PURPOSE, key], &sealed).is_some())
    }

    /// Answers one text of a session, or keeps a verdict; texts of one session follow one another. Where the store cannot
    /// be reached the answer is decided without the session. `turn` is waited for when it is the text's turn in its session,
    /// and what it gives is dropped once the bank has been searched.
    ///
    /// # Errors
    /// `turn` gave nothing, the system has no random numbers, or the bot is broken.
    pub async fn converse(
        self: &Arc<Self>,
        account: &str,
        session: &str,
        words: Words,
        turn: impl Future<Output = Option<impl Send + 'static>> + Send + 'static,
    ) -> std::io::Result<Conversed> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(std::io::Error::other)?;
        let (bot, account, session) = (self.clone(), account.to_owned(), session.to_owned());
        // A task of its own: whoever hangs up leaves no claim behind.
        let talk = async move { bot.converse_once(&account, &session, words, &hex(&random), turn).await };
        let said = self.tasks.spawn(talk).await.map_err(std::io::Error::other)?;
        said.ok_or_else(|| std::io::Error::other("too many searches at once"))
    }

    async fn converse_once(
        self: &Arc<Self>,
        account: &str,
        session: &str,
        words: Words,
        id: &str,
        turn: impl Future<Output = Option<impl Send>> + Send,
    ) -> Option<Conversed> {
        let mut page = self.page(account, session, words, id);
        // An earlier text may wait for the slow source.
        let slowest = self.late.source.as_ref().map_or(self.lease, |_| self.deadline);
        let patience = page.started + slowest;
        let place = tokio::time::timeout_at(patience, self.turns.take(&page.arrival.follower)).await;
        let (held, stored) = self.claim(&page.arrival, patience).await;
        page.is_remembered = held.is_some();
        let turn = turn.await?;
        let deciding = self.decide_with_late(&page, Remembered::from_bytes(stored.as_deref()), turn);
        let PageDecided {
            mut outcome,
            snapshot,
            remembered,
            spent,
        } = match &held {
            Some(held) => held.renewed(deciding).await,
            None => deciding.await,
        };
        if let Some(held) = held {
            keep(held, &outcome, remembered).await;
        }
        if let Some(key) = spent {
            self.forget(&worker_of(&page.arrival.follower, &key)).await;
        }
        drop(place);
        self.tell_of(&page, &mut outcome);
        Some(conversed(outcome, &snapshot.index))
    }

    /// `words` as a message of the follower that `session` is; `id` is its own.
    fn page(&self, account: &str, session: &str, words: Words, id: &str) -> Page {
        let started = Instant::now();
        let (content, menu_id, why) = match words {
            Words::Text(text) => (text, None, String::new()),
            Words::Verdict(Verdict::Useful, entry, why) => (String::new(), Some(Tap::Useful(entry)), why),
            Words::Verdict(Verdict::Useless, entry, why) => (String::new(), Some(Tap::Useless(entry)), why),
        };
        let inbound = Inbound::Text {
            head: Head {
                account: String::new(),
                openid: session.to_owned(),
                create_time: self.now(),
            },
            msg_id: id.to_owned(),
            content,
            menu_id: menu_id.as_ref().map(Tap::menu_id),
        };
        let arrival = Arrival {
            follower: Follower {
                account: account.to_owned(),
                pseudonym: self.seals.pseudonym(account, session).as_str().to_owned(),
            },
            message: inbound.dedup_id(),
            signature: id.to_owned(),
            fingerprint: id.to_owned(),
        };
        Page {
            arrival,
            inbound,
            why,
            started,
            is_remembered: false,
        }
    }

    /// Claims the message, with the session as it is kept, once no earlier one of it is under way; without both where
    /// that is not to be had until `patience`.
    async fn claim(self: &Arc<Self>, arrival: &Arrival, patience: Instant) -> (Option<Held>, Option<Vec<u8>>) {
        let begun = loop {
            match self.conversations.begin(arrival).await {
                Ok(Begun::Occupied) if Instant::now() < patience => tokio::time::sleep(BUSY_PAUSE).await,
                begun => break begun,
            }
        };
        match begun {
            Ok(Begun::Claimed { turn, session }) => (Some(Held::new(self, turn)), session),
            _ => (None, None),
        }
    }

    /// Feedback, what was asked, log and metrics.
    fn tell_of(&self, page: &Page, outcome: &mut Outcome) {
        let Arrival { follower, .. } = &page.arrival;
        let said = dialog::question(&page.inbound).unwrap_or_default();
        self.keep_feedback(follower, outcome, said);
        if let (false, Some(feedback)) = (page.why.is_empty(), outcome.feedback.as_mut()) {
            feedback.given = Given::Comment;
            self.keep_feedback(follower, outcome, &page.why);
        }
        self.keep_query(&Answered {
            follower,
            channel: Channel::Api,
            text: said,
            told: &outcome.told,
            took: page.started.elapsed(),
        });
        let (account, decision) = (&follower.account, outcome.told.name());
        let elapsed_us = u64::try_from(page.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let rule = outcome.rule.as_deref().map(RuleId::as_str);
        tracing::info!(account, decision, rule, elapsed_us, "answered a page");
        metrics::counter!("wxfaq_asked_total", "account" => account.clone(), "decision" => decision).increment(1);
    }

    fn page_desk<'a>(&'a self, page: &'a Page, snapshot: &'a Snapshot, hot: &'a [EntryId]) -> Desk<'a> {
        let Arrival { follower, message, .. } = &page.arrival;
        Desk {
            hot,
            message,
            ..snapshot.desk(
                self.api_scope(&follower.account),
                &[&follower.account, &follower.pseudonym, message],
            )
        }
    }

    fn hot_for_page(&self, page: &Page, snapshot: &Snapshot, session: &Session) -> Vec<EntryId> {
        let lookup = Lookup {
            snapshot,
            scope: self.api_scope(&page.arrival.follower.account),
            normalized: "",
        };
        self.hot_for(dialog::question(&page.inbound).unwrap_or_default(), session, lookup)
    }

    fn decide_for_page(&self, page: &Page, session: Session) -> (Outcome, Arc<Snapshot>) {
        let snapshot = self.snapshot();
        let scope = self.api_scope(&page.arrival.follower.account);
        let hot = self.hot_for_page(page, &snapshot, &session);
        let desk = self.page_desk(page, &snapshot, &hot);
        let search = |text: &str| snapshot.index.search(text, scope, DEPTH);
        let outcome = match dialog::plan(&page.inbound, session.clone(), desk) {
            Plan::Say(judged) if judged.feedback.is_some() && !page.why.is_empty() => {
                dialog::with_reasons(judged, desk)
            }
            Plan::Say(outcome) => outcome,
            Plan::Search(text) => dialog::conclude(&search(&text), session, desk),
            Plan::FollowUp {
                text,
                follow_up,
                before,
            } => {
                let own = search(&text);
                let followed = desk.followed(&own, &follow_up, &before);
                dialog::conclude(followed.as_ref().unwrap_or(&own), session, desk)
            }
        };
        if let Told::Answer(id, _) | Told::Choice(id) = &outcome.told {
            self.asked.note(id);
        }
        if let Some(fault) = &outcome.fault {
            tracing::error!(%fault, "a reply template failed; the embedded one stood in for it");
        }
        (outcome, snapshot)
    }

    /// Queues what a message says about an answer. A message handled twice says it once.
    pub(super) fn keep_feedback(&self, follower: &Follower, outcome: &Outcome, text: &str) {
        let (Some(queue), Some(Feedback { given, about })) = (&self.feedback, &outcome.feedback) else {
            return;
        };
        let word = match given {
            Given::Verdict(Verdict::Useful) => Word::Useful,
            Given::Verdict(Verdict::Useless) => Word::Useless,
            Given::Comment => Word::Comment(text.to_owned()),
        };
        let row = FeedbackRow {
            follower: follower.clone(),
            entry: about.entry.to_string(),
            message: about.message.clone(),
            score: about.score,
            word,
            given_at: self.now(),
        };
        queue.push(row, &self.tasks);
    }
}

/// Keeps the session as `outcome` leaves it, beside what else is remembered.
async fn keep(held: Held, outcome: &Outcome, mut remembered: Remembered) {
    let change = match &outcome.session {
        None => SessionChange::Delete,
        Some(session) => {
            remembered.session = session.clone();
            SessionChange::Put(remembered.to_bytes())
        }
    };
    held.finish(b"{}", change).await;
}

fn conversed(outcome: Outcome, index: &crate::matching::Index) -> Conversed {
    let session = outcome.session.unwrap_or_default();
    let shown = (1..)
        .zip(&session.offer)
        .take(outcome.shown.end)
        .skip(outcome.shown.start);
    let choices = shown
        .filter_map(|(n, id)| Some((n, index.entry(id.as_str())?.clone())))
        .collect();
    Conversed {
        decision: outcome.told.name(),
        choices,
        more: session.has_more(),
        entry: match outcome.told {
            Told::Answer(id, _) | Told::Choice(id) => Some(id),
            _ => None,
        },
        reply: outcome.reply,
    }
}
