//! Bringing a late answer to the follower: sent as customer-service messages, or left for their next message.
//!
//! [`Errand::deliver`] first decides, within one short turn of the follower, so that of several who would bring the same
//! answer one does, and none brings it once it was told or the follower is forgotten. Sending comes after that turn. What was
//! decided to send is kept as that turn's record, and whoever takes over goes on from it; right before the first message
//! goes out that is noted, and nobody sends after the note: who dies between it and WeChat's answer has lost the answer,
//! never sent it twice. What others may know of is decided and noted where all see it, or not yet: while the store they
//! share is away the answer waits.

use super::sweep::{By, Listed};
use super::{Errand, Remembered};
use crate::bank::Answer as BankAnswer;
use crate::bot::held::{Held, Reach, report};
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
/// For a store that cannot say what stands. After a session's usual life it could not say any more.
const ABSENCE: Duration = Duration::from_secs(1_800);
/// Between two questions whether the turn is free.
const LOOK: Duration = Duration::from_millis(50);
/// Between two questions whether a store is back.
const LOOK_BACK: Duration = Duration::from_millis(200);

/// What is done with an answer.
enum Decision {
    /// These are sent; what does not fit the follower's quota waits.
    Send(Vec<Message>, Shown),
    /// It waits for the next message.
    Wait,
    /// Somebody has told it, or nobody wants it any more.
    Drop,
    /// The session does not know of it: as above, or it waits where it was asked for to be written.
    Leave,
    /// WeChat has to be given the file of this answer first.
    Fetch(BankAnswer),
}

/// What the follower is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Answer,
    /// That its file is not to be had.
    Excuse,
}

/// What has become of an answer.
enum Brought {
    /// In so many messages.
    Sent(Shown, usize),
    /// WeChat took so many of its messages; for the rest see the line before.
    Failed(usize),
    /// It waits for the next message.
    Placed(&'static str),
    /// By somebody else, or it has begun to be.
    Before,
    /// It was told, or the follower has left.
    Unwanted,
    /// Nobody can say whether it was told.
    Unknown,
}

/// Whether something is left to do for an answer.
pub(super) enum Left {
    Nothing,
    /// Whoever finds the work on the list looks again.
    Something,
}

impl Errand {
    /// Brings `finding` to the follower, once.
    pub(super) async fn deliver(&self, finding: Finding) -> Left {
        let cut = finding == Finding::Cut;
        let file = match &finding {
            Finding::File(file) => file.answer(),
            _ => None,
        };
        let brought = match self.decide(finding).await {
            Some(Decision::Send(messages, shown)) => match self.way.api().cloned() {
                Some(api) => self.send(&*api, messages, shown, file.as_ref()).await,
                // Since it was decided the account has lost the right.
                None => self.place_instead(&messages, file.as_ref(), "next message").await,
            },
            Some(Decision::Wait) => {
                metrics::counter!("wxfaq_late_placed_total").increment(1);
                Brought::Placed("next message")
            }
            Some(Decision::Drop | Decision::Fetch(_)) => {
                // Nor is it to be read from the record of the work.
                self.bot.forget(&self.work_place().follower).await;
                Brought::Unwanted
            }
            Some(Decision::Leave) => {
                self.pass_over();
                return Left::Something;
            }
            None => Brought::Unknown,
        };
        self.report_brought(&brought, cut);
        match brought {
            Brought::Unknown => Left::Something,
            _ => Left::Nothing,
        }
    }

    fn report_brought(&self, brought: &Brought, cut: bool) {
        let (way, parts) = match brought {
            Brought::Sent(Shown::Answer, parts) => ("customer-service messages", *parts),
            Brought::Sent(Shown::Excuse, parts) => ("customer-service messages: its file is not to be had", *parts),
            Brought::Failed(parts) => ("not sent, or not to its end", *parts),
            Brought::Placed(how) => (*how, 0),
            Brought::Unwanted => ("none: told before, or the follower has left", 0),
            // Every message of the follower may come upon it again.
            Brought::Before => return tracing::debug!(follower = self.name(), "a late answer was sent before"),
            Brought::Unknown => {
                metrics::counter!("wxfaq_late_failed_total").increment(1);
                return tracing::warn!(
                    account = self.follower.account,
                    follower = self.name(),
                    elapsed_ms = self.elapsed_ms(),
                    "a late answer is held back: the store cannot say whether it was sent"
                );
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
        let until = Instant::now() + self.absence();
        let mut was_fetched = false;
        loop {
            let (held, mut remembered) = match self.turn(&place, until).await? {
                Turned::Ours(held, session) => (held, Remembered::from_bytes(session.as_deref())),
                // Whoever has decided it may have died before it was sent.
                Turned::Done(record) => return Some(decided(&record)),
            };
            let decision = match self.way.api() {
                _ if !remembered.late.pending().any(|entry| entry.key == self.key) => self.unwanted(),
                Some(_) => self.messages(&finding, &mut remembered, was_fetched),
                None => Decision::Wait,
            };
            let (record, change) = match &decision {
                // Not within the turn: the follower's own messages go on.
                Decision::Fetch(answer) => {
                    drop(held);
                    was_fetched = true;
                    self.fetch(answer).await;
                    continue;
                }
                Decision::Send(messages, _) => {
                    let record = serde_json::to_vec(messages).unwrap_or_default();
                    (record, SessionChange::Put(remembered.to_bytes()))
                }
                Decision::Wait => {
                    remembered.late.ready(&self.key, finding.clone());
                    (DECIDED.to_vec(), SessionChange::Put(remembered.to_bytes()))
                }
                Decision::Drop => (DECIDED.to_vec(), SessionChange::Keep),
                Decision::Leave => return Some(decision),
            };
            match held.finish(&record, change).await {
                Some(Finished::Stored) => return Some(decision),
                Some(Finished::Superseded(Some(theirs))) => return Some(decided(&theirs)),
                // The turn was too long, or the store has not answered: what stands it says when asked again.
                Some(Finished::Superseded(None)) | None if Instant::now() < until => tokio::time::sleep(LOOK).await,
                Some(Finished::Superseded(None)) | None => return None,
            }
        }
    }

    /// What is done with an answer that the follower's session does not know of. Who took the work over cannot tell
    /// whether it was told, or whether who was asked, cut off, has yet to write it there.
    fn unwanted(&self) -> Decision {
        match self.listed {
            Some(Listed { by: By::Others, .. }) => Decision::Leave,
            _ => Decision::Drop,
        }
    }

    /// The messages that tell `finding`, as far as the follower may get them; the rest is left waiting.
    /// `was_fetched`: what file it may lack now is not to be had.
    fn messages(&self, finding: &Finding, remembered: &mut Remembered, was_fetched: bool) -> Decision {
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
        let mut outcome = sendable(outcome, desk);
        let shown = match outcome.lacks.take() {
            Some(answer) if !was_fetched => return Decision::Fetch(*answer),
            Some(_) => Shown::Excuse,
            None => Shown::Answer,
        };
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
        Decision::Send(messages, shown)
    }

    /// Sends one message after another, and no other answer to the same follower meanwhile. `file`: the answer whose file
    /// the only message shows.
    async fn send(
        &self,
        api: &dyn WechatApi,
        messages: Vec<Message>,
        shown: Shown,
        file: Option<&BankAnswer>,
    ) -> Brought {
        let place = self.place(
            format!("{}.send", self.follower.pseudonym),
            format!("send:{}", self.key),
        );
        let turned = self.turn(&place, Instant::now() + self.absence()).await;
        if let Some(Turned::Done(_)) = turned {
            return Brought::Before;
        }
        let Some(Turned::Ours(held, _)) = turned else {
            let how = "next message: another answer is being sent for too long";
            return self.place_instead(&messages, file, how).await;
        };
        match held.renewed(self.note_sending()).await {
            Some(true) => {}
            Some(false) => return Brought::Before,
            None => return Brought::Unknown,
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
        // The note is what counts; without this the next answer waits for a lease.
        held.reaching(Reach::Any).finish(b"sent", SessionChange::Keep).await;
        metrics::counter!("wxfaq_late_parts_sent_total").increment(sent as u64);
        if let Some(error) = error {
            self.failed(&error, &messages, sent, file).await;
            return Brought::Failed(sent);
        }
        match shown {
            Shown::Answer => metrics::counter!("wxfaq_late_sent_total").increment(1),
            Shown::Excuse => metrics::counter!("wxfaq_late_failed_total").increment(1),
        }
        Brought::Sent(shown, sent)
    }

    /// Lets what was to be sent wait for the next message, unless somebody sends it.
    async fn place_instead(&self, messages: &[Message], file: Option<&BankAnswer>, how: &'static str) -> Brought {
        match self.note_sending().await {
            Some(true) => {
                self.keep_unsent(messages, messages.len(), None, file).await;
                Brought::Placed(how)
            }
            Some(false) => Brought::Before,
            None => Brought::Unknown,
        }
    }

    /// Notes that the answer goes out now, for as long as a session lasts; `false`: somebody else has noted it. `None`:
    /// nobody can say.
    async fn note_sending(&self) -> Option<bool> {
        let place = self.place(
            format!("{}.{}.sent", self.follower.pseudonym, self.key),
            "begun".to_owned(),
        );
        let until = Instant::now() + self.absence();
        // What an attempt without an answer may have noted.
        let mut ours: Vec<Vec<u8>> = Vec::new();
        loop {
            let note = match self.turn(&place, until).await? {
                Turned::Done(noted) | Turned::Ours(_, Some(noted)) => return Some(ours.contains(&noted)),
                Turned::Ours(note, None) => note,
            };
            let token = note.token().as_bytes().to_vec();
            ours.push(token.clone());
            match note.finish(&token, SessionChange::Put(token.clone())).await {
                Some(Finished::Stored) => return Some(true),
                Some(Finished::Superseded(Some(noted))) => return Some(ours.contains(&noted)),
                Some(Finished::Superseded(None)) | None if Instant::now() < until => tokio::time::sleep(LOOK).await,
                Some(Finished::Superseded(None)) | None => return None,
            }
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
        if !self.fetch(answer).await {
            return None;
        }
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
        let (until, last) = (Instant::now() + PATIENCE, Instant::now() + 2 * PATIENCE);
        loop {
            // Nobody else has it: better in this instance alone than nowhere.
            let reach = if Instant::now() < until { self.reach } else { Reach::Any };
            let errand = Self { reach, ..self.clone() };
            let (held, mut remembered) = match errand.turn(&place, until).await {
                Some(Turned::Ours(held, session)) => (held, Remembered::from_bytes(session.as_deref())),
                Some(Turned::Done(_)) => return,
                None if Instant::now() < last => {
                    tokio::time::sleep(LOOK_BACK).await;
                    continue;
                }
                None => break,
            };
            // The windows at least were there: the follower has left, or been silent for a session's life. Unless only this
            // instance could be asked, which may never have had the session, and must not make one up.
            if remembered.is_fresh() {
                if reach == self.reach {
                    return;
                }
                break;
            }
            self.put_back(&mut remembered, messages, file);
            match remedy {
                Some(Remedy::GiveUp) => remembered.late.windows.exhaust(),
                _ => remembered.late.windows.give_back(unused),
            }
            match held.finish(b"kept", SessionChange::Put(remembered.to_bytes())).await {
                Some(Finished::Stored | Finished::Superseded(Some(_))) => return,
                Some(Finished::Superseded(None)) | None if Instant::now() < last => tokio::time::sleep(LOOK).await,
                Some(Finished::Superseded(None)) | None => break,
            }
        }
        tracing::warn!(
            account = self.follower.account,
            follower = self.name(),
            "what was not sent of a late answer is lost: it could not be kept for the next message"
        );
    }

    /// Lets `messages` wait before everything else.
    fn put_back(&self, remembered: &mut Remembered, messages: &[Message], file: Option<&BankAnswer>) {
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
    }

    /// How long a store is waited for that cannot say what stands.
    fn absence(&self) -> Duration {
        match self.listed {
            Some(_) => ABSENCE,
            // Somebody else has it listed, or it comes with the next message.
            None => PATIENCE,
        }
    }

    /// A turn at `place`, known to whom the errand's reach says; a store that is away is waited for until `until`. `None`:
    /// it is not to be had.
    async fn turn(&self, place: &Arrival, until: Instant) -> Option<Turned> {
        let mut free_by = Instant::now() + PATIENCE;
        let mut is_away = false;
        loop {
            let begun = match self.reach {
                Reach::Any => self.bot.conversations.begin(place).await,
                Reach::All => self.bot.conversations.begin_for_all(place).await,
            };
            match begun {
                Ok(Begun::Claimed { turn, session }) => {
                    return Some(Turned::Ours(Held::new(&self.bot, turn).reaching(self.reach), session));
                }
                Ok(Begun::Done(record)) => return Some(Turned::Done(record)),
                Ok(Begun::Busy | Begun::Occupied) if Instant::now() < free_by => tokio::time::sleep(LOOK).await,
                Ok(_) => return None,
                Err(error) if Instant::now() >= until || self.bot.tasks.is_closed() => {
                    report(&error, "a late answer has no turn");
                    return None;
                }
                Err(_) => {
                    if !is_away {
                        is_away = true;
                        tracing::info!(
                            follower = self.name(),
                            "a late answer waits until the store says what stands"
                        );
                    }
                    tokio::time::sleep(LOOK_BACK).await;
                    free_by = Instant::now() + PATIENCE;
                }
            }
        }
    }
}

/// The record of a turn in which nothing was decided to be sent.
const DECIDED: &[u8] = b"decided";

/// What a turn's record says was decided.
fn decided(record: &[u8]) -> Decision {
    let messages = serde_json::from_slice(record).ok();
    messages.map_or(Decision::Drop, |messages| Decision::Send(messages, Shown::Answer))
}

/// A turn that was waited for.
enum Turned {
    /// With the session of the place.
    Ours(Held, Option<Vec<u8>>),
    /// What it was for is done; its record.
    Done(Vec<u8>),
}
