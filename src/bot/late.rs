//! Work that takes longer than WeChat waits: who does it, who joins it, and what becomes of its answer.
//!
//! [`Errand::pursue`] is the entry point. One claim per question decides who works, over all instances: the claim of a
//! follower that is none, so that the real one's next messages do not wait for it. The work is a task of its own. Whoever
//! pursues the question while it goes on gets the finding; when nobody does any more, [`deliver`] brings it to the
//! follower. If whoever works dies, the next delivery or the follower's next message takes over; where the answer is to be
//! sent, the follower need not write: [`sweep`] finds the work.

mod deliver;
mod state;
mod windows;
mod sweep;

use deliver::Left;
use sweep::Listed;
pub(super) use sweep::{InHand, PassedOver};

pub(super) use state::{Entry, LateState, MOST_QUESTION_BYTES, Remembered};

use super::answers::Way;
use super::held::{Held, Reach, report};
use super::seals::{hex, short};
use super::{Bot, Snapshot};
use crate::bank::{Answer as BankAnswer, Channel};
use crate::dialog::late::{FileAnswer, Finding};
use crate::matching::Scope;
use crate::store::conversations::{Arrival, Begun, Finished, Follower, SessionChange, Turn};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// So often WeChat delivers a message that is not answered.
const DELIVERIES: u8 = 3;
/// Between two looks whether somebody else is done.
const LOOK: Duration = Duration::from_millis(50);

/// One question that is being looked into, on behalf of one follower.
#[derive(Clone)]
pub(super) struct Errand {
    pub bot: Arc<Bot>,
    pub way: Arc<Way>,
    pub follower: Follower,
    /// For sending only; never kept.
    pub openid: String,
    /// Of the message that asked.
    pub key: String,
    pub question: String,
    /// The answer that is known and whose file WeChat is given; `None`: the source is asked.
    pub file: Option<FileAnswer>,
    pub channel: Channel,
    pub started: Instant,
    /// Where it stands on the list of open work.
    pub listed: Option<Listed>,
    /// Who must know what becomes of the answer.
    pub reach: Reach,
}

/// What came of waiting for a finding.
pub(super) enum Pursued {
    Found(Finding),
    /// The time is over; the work goes on.
    Late,
    /// There is no work to wait for.
    Failed,
}

/// The key of a message among its follower's: 32 hexadecimal digits.
pub(super) fn key_of(message: &str) -> String {
    hex(&Sha256::digest(message)[..16])
}

/// Under whose name the work on the follower's message `key` is claimed and recorded.
pub(super) fn worker_of(follower: &Follower, key: &str) -> Follower {
    Follower {
        account: follower.account.clone(),
        pseudonym: format!("{}.{key}", follower.pseudonym),
    }
}

impl Errand {
    /// Waits for the finding until `until`, and begins the work if nobody does it.
    pub async fn pursue(&self, until: Instant) -> Pursued {
        let place = self.work_place();
        loop {
            match self.bot.conversations.begin(&place).await {
                Ok(Begun::Claimed { turn, .. }) => return self.wait(self.begin(turn), until).await,
                Ok(Begun::Done(record)) => return read(&record).map_or(Pursued::Failed, Pursued::Found),
                Ok(Begun::Busy | Begun::Occupied) => {}
                Ok(Begun::Refused) => return Pursued::Failed,
                Err(error) => {
                    report(&error, "a slow answer is not looked for");
                    return Pursued::Failed;
                }
            }
            if Instant::now() + LOOK >= until {
                tokio::time::sleep_until(until).await;
                return Pursued::Late;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Begins the work if whoever did it is dead, and brings its answer if that was not done. Who has died is found out
    /// within a lease.
    pub async fn revive(self) {
        let until = Instant::now() + self.bot.lease + 2 * LOOK;
        let place = self.work_place();
        loop {
            match self.bot.conversations.begin(&place).await {
                Ok(Begun::Claimed { turn, .. }) => return drop(self.begin(turn)),
                Ok(Begun::Done(record)) => {
                    return if let Some(finding) = read(&record) {
                        // What is left to do comes with the next message.
                        let _ = self.deliver(finding).await;
                    };
                }
                Ok(Begun::Busy | Begun::Occupied) if Instant::now() < until => tokio::time::sleep(LOOK).await,
                _ => return,
            }
        }
    }

    /// Sends what was found, though it could not be told in time to whoever waited for it.
    pub async fn bring(mut self, finding: Finding) {
        self.list().await;
        self.settle(finding).await;
    }

    /// Begins the work under `turn`.
    fn begin(&self, turn: Turn) -> oneshot::Receiver<Finding> {
        let (handing, finding) = oneshot::channel();
        let held = Held::new(&self.bot, turn);
        self.bot.tasks.spawn(self.clone().work(held, handing));
        finding
    }

    async fn wait(&self, mut finding: oneshot::Receiver<Finding>, until: Instant) -> Pursued {
        match tokio::time::timeout_at(until, &mut finding).await {
            Ok(Ok(finding)) => Pursued::Found(finding),
            // The task has ended without a word: the source panicked.
            Ok(Err(_)) => Pursued::Failed,
            Err(_) => {
                finding.close();
                // Handed over in the last moment.
                finding.try_recv().map_or(Pursued::Late, Pursued::Found)
            }
        }
    }

    /// Asks the source, and hands over what it finds: to who waits, or to the follower.
    async fn work(mut self, held: Held, handing: oneshot::Sender<Finding>) {
        held.renewed(self.list()).await;
        let finding = held.renewed(self.ask()).await;
        let record = serde_json::to_vec(&finding).unwrap_or_default();
        let was_awaited = handing.send(finding.clone()).is_ok();
        // Should it be known here alone, no more than the work is done twice: what counts is decided later.
        match held.finish(&record, SessionChange::Keep).await {
            _ if was_awaited => self.strike().await,
            // Whoever has taken the work over brings it.
            Some(Finished::Superseded(Some(_))) => {
                tracing::debug!(follower = self.name(), "a late answer was taken over");
            }
            _ => self.settle(finding).await,
        }
    }

    /// Brings `finding` to the follower; then the work is done, unless nobody can say so.
    async fn settle(&self, finding: Finding) {
        if let Left::Nothing = self.deliver(finding).await {
            self.strike().await;
        }
    }

    async fn ask(&self) -> Finding {
        if let Some(file) = &self.file {
            return self.give(file).await;
        }
        let Some(source) = &self.bot.late.source else {
            return Finding::Nothing;
        };
        let scope = self.scope();
        match tokio::time::timeout(self.bot.late.work, source.answer(&self.question, scope)).await {
            Ok(Ok(words)) => Finding::of_words(words),
            Ok(Err(error)) => {
                tracing::warn!(
                    account = self.follower.account,
                    error = &error as &dyn std::error::Error,
                    "the answer source cannot answer"
                );
                metrics::counter!("wxfaq_answer_source_failures_total").increment(1);
                Finding::Nothing
            }
            Err(_) => {
                metrics::counter!("wxfaq_late_cut_total").increment(1);
                Finding::Cut
            }
        }
    }

    /// Gives WeChat the answer's file. What is told afterwards says whether it was possible.
    async fn give(&self, file: &FileAnswer) -> Finding {
        if let Some(answer) = file.answer() {
            self.fetch(&answer).await;
        }
        Finding::File(file.clone())
    }

    /// Whether WeChat has the answer's file, once it was given it.
    async fn fetch(&self, answer: &BankAnswer) -> bool {
        let Some((kind, path)) = answer.file() else {
            return false;
        };
        let (account, media) = (&self.follower.account, &self.bot.media);
        let fetching = media.fetch(account, kind, path, &self.bot.tasks);
        // An error is reported where it happens.
        matches!(tokio::time::timeout(self.bot.late.work, fetching).await, Ok(Ok(_)))
    }

    fn scope(&self) -> Scope<'_> {
        Scope {
            account: &self.follower.account,
            channel: self.channel,
            now: self.bot.now(),
            category: None,
        }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.bot.snapshot()
    }

    /// The follower as logs name them.
    fn name(&self) -> String {
        short(&self.follower.pseudonym)
    }

    /// Which of WeChat's deliveries of the message this is, from 1, as far as they have come to any instance. Whether our
    /// clock goes right does not matter.
    pub async fn delivery_number(&self) -> u8 {
        let pseudonym = format!("{}.{}.seen", self.follower.pseudonym, self.key);
        for number in 1..DELIVERIES {
            match self
                .bot
                .conversations
                .begin(&self.place(pseudonym.clone(), number.to_string()))
                .await
            {
                Ok(Begun::Claimed { turn, .. }) => {
                    Held::new(&self.bot, turn)
                        .finish(b"delivery", SessionChange::Keep)
                        .await;
                    return number;
                }
                Ok(_) => {}
                Err(error) => {
                    report(&error, "a delivery is not counted");
                    return number;
                }
            }
        }
        DELIVERIES
    }

    /// Where the work is claimed.
    fn work_place(&self) -> Arrival {
        self.place(worker_of(&self.follower, &self.key).pseudonym, "work".to_owned())
    }

    /// A message nobody has sent; under a signature of its own, which nobody can have seen.
    fn place(&self, pseudonym: String, message: String) -> Arrival {
        let account = &self.follower.account;
        let signature = hex(&Sha256::digest(format!("late {account} {pseudonym} {message}")));
        Arrival {
            follower: Follower {
                account: account.clone(),
                pseudonym,
            },
            message,
            fingerprint: signature.clone(),
            signature,
        }
    }
}

fn read(record: &[u8]) -> Option<Finding> {
    serde_json::from_slice(record).ok()
}
