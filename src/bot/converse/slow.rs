//! A page's text that the bank does not answer: the slow source is asked as for a message of WeChat, within the deadline.
//!
//! [`Bot::consult_for_page`] is the entry point. What is found later waits for the session's next text, as it waits for the
//! next message of a follower without customer-service messages.

use super::Page;
use crate::bank::Channel;
use crate::bot::held::Reach;
use crate::bot::late::{Errand, MOST_QUESTION_BYTES, Pursued, Remembered, key_of};
use crate::bot::{Bot, Snapshot};
use crate::dialog::late::{Brought, Finding, moves_on, searching, tell, with_own};
use crate::dialog::{self, Desk, Outcome, Session, Told};
use std::sync::Arc;
use tokio::time::Instant;

/// What a page's text was decided with.
pub(super) struct PageDecided {
    pub outcome: Outcome,
    pub snapshot: Arc<Snapshot>,
    /// What is late afterwards; its session is the outcome's.
    pub remembered: Remembered,
    /// The work whose finding is told.
    pub spent: Option<String>,
}

/// What was found, for what question, and the session that it is told in.
struct Waited<'a> {
    finding: &'a Finding,
    question: &'a str,
    session: Session,
}

impl Bot {
    /// Decides with what is remembered of the session; `turn` goes once the bank has been searched.
    pub(super) async fn decide_with_late(
        self: &Arc<Self>,
        page: &Page,
        mut remembered: Remembered,
        turn: impl Send,
    ) -> PageDecided {
        if page.is_typed()
            && let Some((entry, finding)) = remembered.late.take_ready()
        {
            let session = std::mem::take(&mut remembered.session);
            let (own, snapshot) = self.decide_for_page(page, session.clone());
            let waited = Waited {
                finding: &finding,
                question: &entry.question,
                session,
            };
            let (outcome, spent) = match self.told_late_to_page(page, &snapshot, &waited, own) {
                Brought::Told(outcome) => (outcome, Some(entry.key)),
                Brought::Waits(outcome) => {
                    remembered.late.put_back(&entry.key, &entry.question, finding);
                    (outcome, None)
                }
            };
            return PageDecided {
                outcome,
                snapshot,
                remembered,
                spent,
            };
        }
        let session = std::mem::take(&mut remembered.session);
        let (outcome, snapshot) = self.decide_for_page(page, session.clone());
        drop(turn);
        let decided = PageDecided {
            outcome,
            snapshot,
            remembered,
            spent: None,
        };
        if page.is_typed() && page.is_remembered {
            self.consult_for_page(page, decided, session).await
        } else {
            decided
        }
    }

    /// Asks the source where the bank has no direct answer, or joins those who wait for an earlier text's.
    async fn consult_for_page(
        self: &Arc<Self>,
        page: &Page,
        mut decided: PageDecided,
        session: Session,
    ) -> PageDecided {
        let snapshot = decided.snapshot.clone();
        let desk = self.page_desk(page, &snapshot, &[]);
        let late = &mut decided.remembered.late;
        let pending = late.pending().next();
        let joined = pending.filter(|_| !moves_on(&decided.outcome, desk));
        let joined = joined.map(|entry| (entry.key.clone(), entry.question.clone()));
        let is_joined = joined.is_some();
        let is_asked = self.late.source.is_some()
            && pending.is_none()
            && late.has_room()
            && matches!(decided.outcome.told, Told::NotFound | Told::List(_));
        let own = || {
            let question = dialog::question(&page.inbound).filter(|_| is_asked)?;
            let question = dialog::cut::cut(question, MOST_QUESTION_BYTES).map_or(question, |(part, _)| part);
            Some((key_of(&page.arrival.message), question.to_owned()))
        };
        let Some((key, question)) = joined.or_else(own) else {
            return decided;
        };
        let errand = Errand {
            bot: self.clone(),
            way: Arc::default(),
            follower: page.arrival.follower.clone(),
            // Nothing is ever sent to a page.
            openid: String::new(),
            key,
            question,
            file: None,
            channel: Channel::Api,
            started: page.started,
            listed: None,
            reach: Reach::Any,
        };
        let until: Instant = page.started + self.deadline * 3 / 4;
        match errand.pursue(until).await {
            Pursued::Found(finding) => {
                let waited = Waited {
                    finding: &finding,
                    question: &errand.question,
                    session,
                };
                decided.outcome = if is_joined {
                    match self.told_late_to_page(page, &snapshot, &waited, decided.outcome) {
                        Brought::Told(outcome) => outcome,
                        Brought::Waits(outcome) => return PageDecided { outcome, ..decided },
                    }
                } else {
                    self.told_to_page(page, &snapshot, &waited, desk)
                };
                late.take_pending(&errand.key);
                decided.spent = Some(errand.key);
            }
            Pursued::Late => {
                decided.outcome = searching(session, desk);
                late.add(&errand.key, &errand.question, None);
            }
            Pursued::Failed => {}
        }
        decided
    }

    fn told_to_page(&self, page: &Page, snapshot: &Snapshot, waited: &Waited<'_>, desk: Desk<'_>) -> Outcome {
        let hot = self.hot_for_page(page, snapshot, &waited.session);
        let desk = Desk { hot: &hot, ..desk };
        tell(waited.finding, waited.question, waited.session.clone(), desk)
    }

    /// With what the text gets itself, `own`.
    fn told_late_to_page(&self, page: &Page, snapshot: &Snapshot, waited: &Waited<'_>, own: Outcome) -> Brought {
        let desk = self.page_desk(page, snapshot, &[]);
        let tell = |desk: Desk<'_>| Outcome {
            told: Told::Late,
            ..self.told_to_page(page, snapshot, waited, desk)
        };
        with_own(
            tell(desk),
            tell,
            own,
            dialog::question(&page.inbound).unwrap_or_default(),
            desk,
        )
    }
}
