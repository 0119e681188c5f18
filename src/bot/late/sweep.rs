//! Taking over what a dead instance owed to followers who wait for a customer-service message and need not write again.
//!
//! Whoever works for such a follower lists it ([`Listed`]); [`Bot::sweep`] looks through the list, which all instances
//! share. A claim tells whether the holder lives: nothing here decides that by the clock.

use super::{Errand, read};
use crate::bank::Channel;
use crate::bot::Bot;
use crate::bot::held::{Reach, report};
use crate::dialog::late::FileAnswer;
use crate::store::StoreError;
use crate::store::conversations::{Begun, Follower};
use crate::store::open_work::{MOST_LISTED, OpenWork};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What items are encrypted for.
const PURPOSE: &str = "open work";
/// Items looked at in one sweep, about; and read at once.
const MOST: usize = 1_000;
/// So long finished work is tried to be taken off the list: as long as it would stay there.
const STRIKING: Duration = Duration::from_secs(600);
/// Between two attempts.
const LOOK_BACK: Duration = Duration::from_secs(1);

/// An item of the list: what it takes to do the work from its beginning. Only ever kept encrypted.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    account: String,
    openid: String,
    key: String,
    question: String,
    /// Unix seconds.
    asked_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<FileAnswer>,
}

/// The item that stands on the list for an errand.
#[derive(Clone)]
pub(in crate::bot) struct Listed {
    item: Arc<[u8]>,
    pub(super) by: By,
}

/// Who has listed it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Us,
    /// Another instance, or this one under another errand.
    Others,
}

/// Digests of the items this instance has looked at and cannot do anything for. Beyond as many as the list holds it begins
/// anew: then some are looked at again.
#[derive(Default)]
pub(in crate::bot) struct PassedOver(Mutex<HashSet<[u8; 32]>>);

/// Items this instance is taking over or waits for: a slow one is not begun again by every look.
#[derive(Default)]
pub(in crate::bot) struct InHand(Mutex<HashSet<Vec<u8>>>);

/// One of them; dropped, it is not.
struct Taken {
    bot: Arc<Bot>,
    item: Vec<u8>,
}

impl InHand {
    fn items(&self) -> MutexGuard<'_, HashSet<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// `None`: it is in hand already.
    fn new(bot: &Arc<Bot>, item: &[u8]) -> Option<Self> {
        let item = item.to_vec();
        let is_new = bot.in_hand.items().insert(item.clone());
        let bot = bot.clone();
        is_new.then(|| Self { bot, item })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.bot.in_hand.items().remove(&self.item);
    }
}

impl PassedOver {
    fn digests(&self) -> MutexGuard<'_, HashSet<[u8; 32]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, item: &[u8]) {
        let mut digests = self.digests();
        if digests.len() >= MOST_LISTED {
            digests.clear();
        }
        digests.insert(Sha256::digest(item).into());
    }

    fn holds(&self, item: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(item).into();
        self.digests().contains(&digest)
    }
}

impl Errand {
    /// Lists the work, unless it is listed, if its answer is to be sent: any other comes with the follower's next message.
    /// From then on others may know of it.
    pub(super) async fn list(&mut self) {
        let Some(open) = self.bot.open_work.clone() else { return };
        if self.listed.is_some() || self.way.api().is_none() {
            return;
        }
        let item = Item {
            account: self.follower.account.clone(),
            openid: self.openid.clone(),
            key: self.key.clone(),
            question: self.question.clone(),
            asked_at: self.bot.now() - self.started.elapsed().as_secs().cast_signed(),
            file: self.file.clone(),
        };
        let item = serde_json::to_vec(&item).unwrap_or_default();
        let item: Arc<[u8]> = self.bot.seals.encrypt(&[PURPOSE], &item).into();
        match open.list(&item).await {
            Ok(()) => self.listed = Some(Listed { item, by: By::Us }),
            Err(error) => {
                match error {
                    // Nobody else hears of it.
                    StoreError::Away { .. } => self.reach = Reach::Any,
                    // It may be listed all the same.
                    _ => self.listed = Some(Listed { item, by: By::Us }),
                }
                report(
                    &error,
                    "work is not listed: should this instance die, the follower has to write again",
                );
            }
        }
    }

    /// Takes the work off the list: it is done, or nobody wants it. A store that is away is waited for, as long as items
    /// are kept.
    pub(super) async fn strike(&self) {
        let (Some(open), Some(Listed { item, .. })) = (&self.bot.open_work, &self.listed) else {
            return;
        };
        let until = Instant::now() + STRIKING;
        while let Err(error) = open.strike(item).await {
            if Instant::now() >= until || self.bot.tasks.is_closed() {
                return report(&error, "finished work stays listed until it expires");
            }
            tokio::time::sleep(LOOK_BACK).await;
        }
    }

    /// The work is left to who has listed it, and is not looked at again.
    pub(super) fn pass_over(&self) {
        if let Some(Listed { item, .. }) = &self.listed {
            self.bot.passed_over.add(item);
        }
    }

    fn of_item(bot: &Arc<Bot>, encrypted: &[u8]) -> Option<Self> {
        let item = bot.seals.decrypt(&[PURPOSE], encrypted)?;
        let item: Item = serde_json::from_slice(&item).ok()?;
        let pseudonym = bot.seals.pseudonym(&item.account, &item.openid);
        let age = Duration::from_secs((bot.now() - item.asked_at).max(0).unsigned_abs());
        let now = Instant::now();
        Some(Self {
            bot: bot.clone(),
            way: bot.deliveries.load().of(&item.account),
            follower: Follower {
                pseudonym: pseudonym.as_str().to_owned(),
                account: item.account,
            },
            openid: item.openid,
            key: item.key,
            question: item.question,
            file: item.file,
            channel: Channel::Wechat,
            started: now.checked_sub(age).unwrap_or(now),
            listed: Some(Listed {
                item: encrypted.into(),
                by: By::Others,
            }),
            reach: Reach::All,
        })
    }

    /// Does what is left of the work if whoever did it is dead.
    async fn take_over(self) {
        match self.bot.conversations.begin(&self.work_place()).await {
            Ok(Begun::Claimed { turn, .. }) => {
                metrics::counter!("wxfaq_late_taken_over_total").increment(1);
                tracing::info!(
                    account = self.follower.account,
                    follower = self.name(),
                    "work of a dead instance taken over"
                );
                drop(self.begin(turn));
            }
            Ok(Begun::Done(record)) => match read(&record) {
                Some(finding) => self.settle(finding).await,
                None => self.strike().await,
            },
            // Somebody is at it.
            Ok(Begun::Busy | Begun::Occupied) => {}
            Ok(Begun::Refused) => self.strike().await,
            Err(error) => report(&error, "open work is not looked at"),
        }
    }
}

impl Bot {
    /// Looks through the work that all instances have listed, the next after as much as one look takes, and takes over what
    /// dead ones have left. What is as young as a lease is left alone.
    pub async fn sweep(self: &Arc<Self>) {
        let Some(open) = &self.open_work else { return };
        let mut looks = 0;
        // What nothing can be done for, or somebody works on, hides nothing that is younger. What is struck meanwhile moves
        // the rest up: what is missed for that is found in the next round.
        for from in (self.look_from.swap(0, Ordering::Relaxed)..MOST_LISTED).step_by(MOST) {
            let items = match open.listed(self.lease, from, MOST).await {
                Ok(items) => items,
                // The store's breaker has said so, once; this would say it every time.
                Err(error) => return tracing::debug!(%error, "open work is not looked through"),
            };
            let is_last = items.len() < MOST;
            for item in items {
                looks += usize::from(self.look_at(&**open, &item).await);
                tokio::task::yield_now().await;
            }
            if is_last {
                return;
            }
            if looks >= MOST {
                return self.look_from.store(from + MOST, Ordering::Relaxed);
            }
        }
    }

    /// Takes an item over if it is to be; whether that had to be found out.
    async fn look_at(self: &Arc<Self>, open: &dyn OpenWork, item: &[u8]) -> bool {
        if self.passed_over.holds(item) {
            return false;
        }
        let Some(taken) = Taken::new(self, item) else {
            return false;
        };
        match Errand::of_item(self, item) {
            Some(errand) => drop(self.tasks.spawn(async move {
                errand.take_over().await;
                drop(taken);
            })),
            // Another install key, or nobody's.
            None => drop(open.strike(item).await),
        }
        true
    }
}
