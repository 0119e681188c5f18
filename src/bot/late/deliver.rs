//! Bringing a late answer to the follower: sent as customer-service messages, or left for their next message.
//!
//! [`Errand::deliver`] first decides, within one short turn of the follower, so that of several who would bring the same
//! answer one does, and none brings it once it was told or the follower is forgotten. Sending comes after that turn. What was
//! decided to send is kept as that turn's record, and whoever takes over goes on from it; right before the first message
//! goes out that is noted, and nobody sends after the note: who dies between it and WeChat's answer has lost the answer,
//! never sent it twice.

use super::{Errand, Remembered};
use crate::bank::Answer as BankAnswer;
use crate::bot::held::{Held, report};
use crate::bot::matches::Lookup;
use crate::dialog::late::{FileAnswer, Finding, parts, sendable, tell, words};
use crate::dialog::templates::Continued;
use crate::dialog::{Desk, MediaIds, Session};
use crate::store::conversations::{Arrival, Begun, Finished, SessionChange};
use crate::wechat_api::{ApiError, Message, Remedy, WechatApi};
use std::time::Duration;
use tokio::time::Instant;

/// Between two messages of one answer: WeChat shows those that come together in any order.
const BETWEEN_PARTS: Duration = Duration::from_millis(500);
/// Longest text of one customer-service message, in bytes.
const MAX_PART_BYTES: usize = 2_048;
/// For a turn of the follower. Their own messages take seconds at most.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two questions whether the turn is free.
const LOOK: Duration = Duration::from_millis(50);

/// What is done with an answer.
enum Decision {
    /// These are sent; what does not fit the follower's quota waits.
    Send(Vec<Message>),
    /// It waits for the next message.
    Wait,
    /// Somebody has told it, or nobody wants it any more.
    Drop,
}

impl Errand {
    /// Brings `finding` to the follower, once.
    pub(super) async fn deliver(&self, finding: Finding) {
        let cut = finding == Finding::Cut;
        let file = match &finding {
            Finding::File(file) => file.answer(),
            _ => None,
        };
        let (way, parts) = match self.decide(finding).await {
            Some(Decision::Send(messages)) => match self.way.api().cloned() {
                Some(api) => self.send(&*api, messages, file.as_ref()).await,
                None => ("failed", 0),
            },
            Some(Decision::Wait) => {
                metrics::counter!("wxfaq_late_placed_total").increment(1);
                ("next message", 0)
            }
            Some(Decision::Drop) => {
                // Nor is it to be read from the record of the work.
                self.bot.forget(&self.work_place().follower).await;
                ("none: told before, or the follower has left", 0)
            }
            None => {
                metrics::counter!("wxfaq_late_failed_total").increment(1);
                ("none: the session is not to be had", 0)
            }
        };
        tracing::info!(
            account = self.follower.account,
            follower = self.name(),
            by = way,
            parts,
            cut,
            elapsed_ms = self.elapsed_ms(),
            "late answer"
        );
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Decides within a turn of the follower; `None`: it is not to be had.
    async fn decide(&self, finding: Finding) -> Option<Decision> {
        let place = self.place(self.follower.pseudonym.clone(), format!("late:{}", self.key));
        let (held, mut remembered) = match self.turn(&place).await? {
            Turned::Ours(held, remembered) => (held, remembered),
            // Whoever has decided it may have died before it was sent.
            Turned::Done(record) => {
                let messages = serde_json::from_slice(&record).ok();
                return Some(messages.map_or(Decision::Drop, Decision::Send));
            }
        };
        let decision = match self.way.api() {
            _ if !remembered.late.pending().any(|entry| entry.key == self.key) => Decision::Drop,
            Some(_) => self.messages(&finding, &mut remembered),
            None => Decision::Wait,
        };
        if matches!(decision, Decision::Wait) {
            remembered.late.ready(&self.key, finding);
        }
        let change = match decision {
            Decision::Drop => SessionChange::Keep,
            _ => SessionChange::Put(remembered.to_bytes()),
        };
        let record = match &decision {
            Decision::Send(messages) => serde_json::to_vec(messages).unwrap_or_default(),
            Decision::Wait | Decision::Drop => b"decided".to_vec(),
        };
        match held.finish(&record, change).await? {
            Finished::Stored => Some(decision),
            Finished::Superseded(_) => Some(Decision::Drop),
        }
    }

    /// The messages that tell `finding`, as far as the follower may get them; the rest is left waiting.
    fn messages(&self, finding: &Finding, remembered: &mut Remembered) -> Decision {
        let snapshot = self.snapshot();
        let mut desk = snapshot.desk(
            self.scope(),
            &[&self.follower.account, &self.follower.pseudonym, &self.key],
        );
        desk.max_bytes = usize::MAX;
        desk.media = &*self.bot.media;
        let hot = self.bot.hot(Lookup {
            snapshot: &snapshot,
            scope: self.scope(),
            normalized: "",
        });
        desk.hot = &hot;
        let outcome = tell(finding, &self.question, remembered.session.clone(), desk);
        let outcome = sendable(outcome, desk);
        let now = self.bot.now();
        let messages = match words(&outcome) {
            Some(text) => {
                let (tail, _) = snapshot.templates.words(&Continued {});
                let all = parts(text, MAX_PART_BYTES);
                let allowed = remembered.late.windows.take(all.len(), now);
                if allowed == 0 {
                    return Decision::Wait;
                }
                if allowed == all.len() {
                    all.into_iter().map(Message::text).collect()
                } else {
                    let all = parts(text, MAX_PART_BYTES - tail.len());
                    let rest = Finding::Text(all[allowed..].join("\n"));
                    remembered.late.put_back(&self.key, "", rest);
                    let last = allowed - 1;
                    let part = |(n, part)| Message::text(format!("{part}{}", if n == last { &*tail } else { "" }));
                    all.into_iter().take(allowed).enumerate().map(part).collect()
                }
            }
            None => match Message::of_reply(&outcome.reply) {
                Some(message) if remembered.late.windows.take(1, now) == 1 => vec![message],
                _ => return Decision::Wait,
            },
        };
        remembered.late.take_pending(&self.key);
        remembered.session = outcome.session.unwrap_or_default();
        Decision::Send(messages)
    }

    /// Sends one message after another, and no other answer to the same follower meanwhile. How it went, and how many
    /// WeChat took. `file`: the answer whose file the only message shows.
    async fn send(
        &self,
        api: &dyn WechatApi,
        messages: Vec<Message>,
        file: Option<&BankAnswer>,
    ) -> (&'static str, usize) {
        let place = self.place(
            format!("{}.send", self.follower.pseudonym),
            format!("send:{}", self.key),
        );
        let held = match self.turn(&place).await {
            Some(Turned::Ours(held, _)) => held,
            Some(Turned::Done(_)) => return ("none: sent before", 0),
            None => {
                self.keep_unsent(&messages, messages.len(), None, file).await;
                return ("next message: another answer is being sent for too long", 0);
            }
        };
        match self.note_sending().await {
            Some(Finished::Stored) => {}
            Some(Finished::Superseded(_)) => return ("none: whoever began to send it may have done so", 0),
            None => {
                self.keep_unsent(&messages, messages.len(), None, file).await;
                return ("next message: it could not be noted that it is sent", 0);
            }
        }
        let sending = async {
            for (n, message) in messages.iter().enumerate() {
                if n > 0 {
                    tokio::time::sleep(BETWEEN_PARTS).await;
                }
                let mut sent = api.send(&self.openid, message).await;
                if let Err(error) = &sent
                    && error.remedy() == Some(Remedy::Upload)
                    && let Some(fresh) = self.uploaded_again(file).await
                {
                    sent = api.send(&self.openid, &fresh).await;
                }
                if let Err(error) = sent {
                    return (n, Some(error));
                }
            }
            (messages.len(), None)
        };
        let (sent, error) = held.renewed(sending).await;
        held.finish(b"sent", SessionChange::Keep).await;
        metrics::counter!("wxfaq_late_parts_sent_total").increment(sent as u64);
        let Some(error) = error else {
            metrics::counter!("wxfaq_late_sent_total").increment(1);
            return ("customer-service messages", sent);
        };
        self.failed(&error, &messages, sent, file).await;
        ("not sent, or not to its end", sent)
    }

    /// Notes that the answer goes out now; superseded: somebody has noted it before. `None`: it could not be noted.
    async fn note_sending(&self) -> Option<Finished> {
        let place = self.place(
            format!("{}.{}.sent", self.follower.pseudonym, self.key),
            "begun".to_owned(),
        );
        match self.turn(&place).await? {
            Turned::Ours(note, _) => note.finish(b"begun", SessionChange::Keep).await,
            Turned::Done(record) => Some(Finished::Superseded(Some(record))),
        }
    }

    /// The message that shows `file`, when WeChat does not know the id it had any more.
    async fn uploaded_again(&self, file: Option<&BankAnswer>) -> Option<Message> {
        let answer = file?;
        let (kind, path) = answer.file()?;
        let (account, media) = (&self.follower.account, &self.bot.media);
        if let Some(id) = media.media_id(account, kind, path) {
            media.forget(account, kind, path, &id).await;
        }
        media.fetch(account, kind, path, &self.bot.tasks).await.ok()?;
        let snapshot = self.snapshot();
        let desk = Desk {
            media: &**media,
            ..snapshot.desk(self.scope(), &[])
        };
        let finding = Finding::File(FileAnswer::of(answer));
        Message::of_reply(&tell(&finding, "", Session::default(), desk).reply)
    }

    /// What WeChat did not take waits, unless it may have been shown, or the follower cannot be written to.
    async fn failed(&self, error: &ApiError, messages: &[Message], sent: usize, file: Option<&BankAnswer>) {
        metrics::counter!("wxfaq_late_failed_total").increment(1);
        tracing::warn!(
            account = self.follower.account,
            follower = self.name(),
            error = error as &dyn std::error::Error,
            "a late answer is not sent"
        );
        match error.remedy() {
            Some(Remedy::Drop) => return,
            Some(Remedy::SwitchOff) => {
                tracing::warn!(
                    account = self.follower.account,
                    "customer-service messages are off until the next reload: set customer_service = false"
                );
                self.way.refuse();
            }
            _ => {}
        }
        let shown = sent + usize::from(!error.had_no_effect());
        let unused = messages.len() - shown;
        let left = &messages[shown.min(messages.len())..];
        self.keep_unsent(left, unused, error.remedy(), file).await;
    }

    /// Lets `messages` wait for the follower's next one, and settles the quota. `file`: the answer whose file they show.
    async fn keep_unsent(
        &self,
        messages: &[Message],
        unused: usize,
        remedy: Option<Remedy>,
        file: Option<&BankAnswer>,
    ) {
        let place = self.place(self.follower.pseudonym.clone(), format!("unsent:{}", self.key));
        let Some(Turned::Ours(held, mut remembered)) = self.turn(&place).await else {
            return;
        };
        // The windows at least were there: the follower has left, or been silent for a session's life.
        if remembered.is_fresh() {
            return;
        }
        let texts: Vec<&str> = messages
            .iter()
            .filter_map(|message| match message {
                Message::Text { content } => Some(content.as_str()),
                _ => None,
            })
            .collect();
        if !texts.is_empty() {
            remembered.late.put_back(&self.key, "", Finding::Text(texts.join("\n")));
        } else if !messages.is_empty() {
            // Only the bank has other answers than texts, and it has those without a file of ours again.
            let finding = file.map_or(Finding::Nothing, |answer| Finding::File(FileAnswer::of(answer)));
            remembered.late.put_back(&self.key, &self.question, finding);
        }
        match remedy {
            Some(Remedy::GiveUp) => remembered.late.windows.exhaust(),
            _ => remembered.late.windows.give_back(unused),
        }
        held.finish(b"kept", SessionChange::Put(remembered.to_bytes())).await;
    }

    /// A turn at `place`; `None`: it is not to be had.
    async fn turn(&self, place: &Arrival) -> Option<Turned> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.bot.conversations.begin(place).await {
                Ok(Begun::Claimed { turn, session }) => {
                    let remembered = Remembered::from_bytes(session.as_deref());
                    return Some(Turned::Ours(Held::new(&self.bot, turn), Box::new(remembered)));
                }
                Ok(Begun::Done(record)) => return Some(Turned::Done(record)),
                Ok(Begun::Busy | Begun::Occupied) if Instant::now() < until => tokio::time::sleep(LOOK).await,
                Ok(_) => return None,
                Err(error) => {
                    report(&error, "a late answer has no turn");
                    return None;
                }
            }
        }
    }
}

/// A turn that was waited for.
enum Turned {
    Ours(Held, Box<Remembered>),
    /// What it was for is done; its record.
    Done(Vec<u8>),
}
