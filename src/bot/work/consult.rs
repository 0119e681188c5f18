//! What a message is decided with: the follower's late answers, the bank, and a slow answer source if there is one.
//!
//! `Work::decide` is the entry point. Without a source it waits for nothing.

use super::{Decided, LAST_DELIVERY, LAST_DELIVERY_FROM, Work};
use crate::bank::{Answer as BankAnswer, Channel};
use crate::bot::held::Reach;
use crate::bot::late::{Entry, Errand, LateState, MOST_QUESTION_BYTES, Pursued, Remembered, key_of};
use crate::bot::matches::Lookup;
use crate::dialog::late::{
    Brought, FileAnswer, Finding, acknowledged, goes_first, moves_on, searching, tell, with_own,
};
use crate::dialog::{self, Desk, Outcome, Session, Told};
use crate::matching::Matches;
use crate::wechat::Inbound;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

/// What telling a finding comes to within the message's time.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each message, and it is moved once"
)]
enum Telling {
    Told(Outcome),
    /// WeChat is still being given the answer's file; the session once it is told.
    Lacking(Box<BankAnswer>, Session),
}

impl Work {
    /// Decides with what the store has kept of the follower. `cached` as of `decide_at_once`.
    pub(super) async fn decide(
        &self,
        remembered: Option<&[u8]>,
        lookup: Lookup<'_>,
        cached: Option<Arc<Matches>>,
    ) -> Decided {
        let Remembered { session, mut late } = Remembered::from_bytes(remembered);
        let hot = self.hot(&session, lookup);
        let desk = Desk {
            hot: &hot,
            ..self.desk(lookup)
        };
        let ready = if self.is_event() { None } else { late.take_ready() };
        let mut decided = match ready {
            Some(ready) => self.bring(ready, late, session, lookup, cached, desk).await,
            None => {
                let decided = self.decide_at_once(session.clone(), lookup, cached.clone());
                let decided = Decided { late, ..decided };
                self.go_on(decided, session, lookup, cached, desk).await
            }
        };
        if self.way.api().is_some() && !decided.late.is_empty() {
            decided.late.windows.note(&self.inbound, lookup.scope.now);
        }
        decided
    }

    /// Decides with the answer that is `ready`: it is told, or waits on behind what the message asks itself.
    async fn bring(
        &self,
        (entry, finding): (Entry, Finding),
        mut late: LateState,
        session: Session,
        lookup: Lookup<'_>,
        cached: Option<Arc<Matches>>,
        desk: Desk<'_>,
    ) -> Decided {
        let telling = self.told(&finding, &entry.question, &session, desk).await;
        let own = self.decide_at_once(session.clone(), lookup, cached.clone());
        let (outcome, spent) = match telling {
            Telling::Told(told) => {
                let again = |desk: Desk<'_>| told_late(tell(&finding, &entry.question, session.clone(), desk));
                match with_own(told_late(told), again, own.outcome, self.text(), desk) {
                    Brought::Told(outcome) => (outcome.fitting(&self.inbound), Some(entry.key)),
                    Brought::Waits(outcome) => {
                        late.put_back(&entry.key, &entry.question, finding);
                        let decided = Decided { outcome, late, ..own };
                        return self.go_on(decided, session, lookup, cached, desk).await;
                    }
                }
            }
            Telling::Lacking(answer, after) => {
                let sent = self.sent_later(&answer, after, &mut late, desk).await;
                let spent = sent.is_some().then(|| entry.key.clone());
                if sent.is_none() {
                    late.put_back(&entry.key, &entry.question, finding);
                }
                if goes_first(&own.outcome, self.text(), desk) {
                    let decided = Decided { late, spent, ..own };
                    return self.go_on(decided, session, lookup, cached, desk).await;
                }
                (sent.unwrap_or_else(|| searching(session, desk)), spent)
            }
        };
        Decided {
            outcome,
            late,
            asked: None,
            is_single: true,
            spent,
            ..own
        }
    }

    /// What the bank alone has decided, with what is slow about it.
    async fn go_on(
        &self,
        mut decided: Decided,
        session: Session,
        lookup: Lookup<'_>,
        cached: Option<Arc<Matches>>,
        desk: Desk<'_>,
    ) -> Decided {
        match decided.outcome.lacks.take() {
            Some(answer) => self.fetch(&answer, decided, session, lookup, cached).await,
            None => self.consult(decided, session, desk).await,
        }
    }

    /// Gives WeChat the file of `answer` and decides again; when that takes too long it goes on, and the answer comes
    /// later.
    async fn fetch(
        &self,
        answer: &BankAnswer,
        mut decided: Decided,
        session: Session,
        lookup: Lookup<'_>,
        cached: Option<Arc<Matches>>,
    ) -> Decided {
        let Some((kind, file)) = answer.file() else {
            return decided;
        };
        let account = &self.arrival.follower.account;
        self.is_slow.store(true, Ordering::Relaxed);
        self.count_delivery().await;
        let fetching = self.bot.media.fetch(account, kind, file, &self.bot.tasks);
        match tokio::time::timeout_at(self.patience(), fetching).await {
            Ok(Ok(_)) => Decided {
                late: decided.late,
                ..self.decide_at_once(session, lookup, cached)
            },
            // The reply says that the file is not to be had.
            Ok(Err(_)) => decided,
            Err(_) if !decided.late.has_room() => decided,
            Err(_) => {
                let session = decided.outcome.session.clone().unwrap_or_default();
                let desk = self.desk(lookup);
                if let Some(outcome) = self.later(answer, session, &mut decided.late, desk).await {
                    decided.outcome = outcome;
                }
                decided
            }
        }
    }

    /// Makes the answer whose file WeChat is being given a late one; what is said meanwhile, with `session` after it. `None`:
    /// it cannot be one.
    async fn later(
        &self,
        answer: &BankAnswer,
        session: Session,
        late: &mut LateState,
        desk: Desk<'_>,
    ) -> Option<Outcome> {
        let file = FileAnswer::of(answer);
        let errand = Errand {
            file: Some(file.clone()),
            ..self.errand(&key_of(&self.arrival.message), "")
        };
        let Pursued::Late = errand.pursue(Instant::now()).await else {
            return None;
        };
        late.add(&errand.key, "", Some(file));
        Some(self.searching(session, desk))
    }

    /// As `later`, where late answers are sent; `None` also where they are not.
    async fn sent_later(
        &self,
        answer: &BankAnswer,
        session: Session,
        late: &mut LateState,
        desk: Desk<'_>,
    ) -> Option<Outcome> {
        self.way.api()?;
        self.later(answer, session, late, desk).await
    }

    /// Until when this delivery waits for what is slow.
    fn patience(&self) -> Instant {
        let mut until = self.started + self.bot.deadline * 3 / 4;
        if self.way.holds() && self.age() < LAST_DELIVERY_FROM {
            until += LAST_DELIVERY.saturating_sub(self.age());
        }
        until
    }

    /// Asks the slow source where the bank has no direct answer, or joins those who wait for an earlier question; all
    /// within the message's time.
    async fn consult(&self, mut decided: Decided, session: Session, desk: Desk<'_>) -> Decided {
        let sends = self.way.api().is_some();
        let pending: Vec<Errand> = decided
            .late
            .pending()
            .map(|entry| Errand {
                file: entry.file.clone(),
                ..self.errand(&entry.key, &entry.question)
            })
            .collect();
        if sends {
            for errand in &pending {
                self.bot.tasks.spawn(errand.clone().revive());
            }
        }
        // Where answers come with the next message, anything that moves nothing on is that message.
        let joined = pending
            .first()
            .filter(|_| !sends && !self.is_event() && !moves_on(&decided.outcome, desk));
        let own = || {
            let is_asked = self.bot.late.source.is_some() && decided.late.has_room() && (sends || pending.is_empty());
            let question = decided.asked.as_deref().filter(|_| is_asked)?;
            let question = dialog::cut::cut(question, MOST_QUESTION_BYTES).map_or(question, |(part, _)| part);
            Some(self.errand(&key_of(&self.arrival.message), question))
        };
        let Some(errand) = joined.cloned().or_else(own) else {
            return decided;
        };
        self.is_slow.store(true, Ordering::Relaxed);
        self.count_delivery().await;
        let until = match joined {
            Some(_) => self.started + self.bot.deadline * 3 / 4,
            None => self.patience(),
        };
        match errand.pursue(until).await {
            Pursued::Found(finding) => {
                let Telling::Told(outcome) = self.told(&finding, &errand.question, &session, desk).await else {
                    decided.outcome = self.searching(session, desk);
                    decided.late.add(&errand.key, &errand.question, errand.file.clone());
                    if sends {
                        // Once this message is done, which gives it back its turn.
                        self.bot.tasks.spawn(errand.bring(finding));
                    }
                    return decided;
                };
                let outcome = if joined.is_some() {
                    let again = |desk: Desk<'_>| told_late(tell(&finding, &errand.question, session, desk));
                    match with_own(told_late(outcome), again, decided.outcome, self.text(), desk) {
                        Brought::Told(outcome) => outcome,
                        Brought::Waits(outcome) => return Decided { outcome, ..decided },
                    }
                } else {
                    outcome
                };
                decided.late.take_pending(&errand.key);
                decided.is_single = true;
                decided.spent = Some(errand.key);
                decided.outcome = outcome.fitting(&self.inbound);
            }
            Pursued::Late => {
                decided.outcome = self.searching(session, desk);
                decided.late.add(&errand.key, &errand.question, errand.file.clone());
            }
            Pursued::Failed => {}
        }
        decided
    }

    /// Tells what was found; WeChat is given the file first that it lacks.
    async fn told(&self, finding: &Finding, question: &str, session: &Session, desk: Desk<'_>) -> Telling {
        let mut outcome = tell(finding, question, session.clone(), desk);
        let Some(answer) = outcome.lacks.take() else {
            return Telling::Told(outcome);
        };
        let Some((kind, file)) = answer.file() else {
            return Telling::Told(outcome);
        };
        self.is_slow.store(true, Ordering::Relaxed);
        let account = &self.arrival.follower.account;
        let fetching = self.bot.media.fetch(account, kind, file, &self.bot.tasks);
        match tokio::time::timeout_at(self.started + self.bot.deadline * 3 / 4, fetching).await {
            Ok(Ok(_)) => Telling::Told(tell(finding, question, session.clone(), desk)),
            // The reply says that the file is not to be had.
            Ok(Err(_)) => Telling::Told(outcome),
            Err(_) => Telling::Lacking(answer, outcome.session.unwrap_or_default()),
        }
    }

    /// What the follower is told while the answer is looked for.
    pub(super) fn searching(&self, session: Session, desk: Desk<'_>) -> Outcome {
        match self.way.api() {
            Some(_) => acknowledged(session),
            None => searching(session, desk),
        }
    }

    pub(super) fn errand(&self, key: &str, question: &str) -> Errand {
        Errand {
            bot: self.bot.clone(),
            way: self.way.clone(),
            follower: self.arrival.follower.clone(),
            openid: self.inbound.head().openid.clone(),
            key: key.to_owned(),
            question: question.to_owned(),
            file: None,
            channel: Channel::Wechat,
            started: self.started,
            listed: None,
            // Nobody but the follower's next message brings what is not sent.
            reach: if self.way.api().is_some() {
                Reach::All
            } else {
                Reach::Any
            },
        }
    }

    fn is_event(&self) -> bool {
        matches!(self.inbound, Inbound::Event { .. })
    }
}

fn told_late(outcome: Outcome) -> Outcome {
    Outcome {
        told: Told::Late,
        ..outcome
    }
}
