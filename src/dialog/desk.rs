//! What a conversation is held with: the bank, the words, the rules, and what the account wants.
//!
//! A [`Desk`] is made for each message, by who knows all of it; nothing in `dialog` looks elsewhere.

use super::{CategoryBook, HUMAN_WORD, MAX_OFFER, RuleBook, Templates, exact};
use crate::bank::media::MediaType;
use crate::bank::{Channel, Entry, EntryId};
use crate::matching::{Decision, FollowUp, Index, Matches, Scope, Thresholds};
use std::sync::Arc;

/// What a conversation is held with; one per message.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// The bank.
    pub index: &'a Index,
    /// The words.
    pub templates: &'a Templates,
    /// What is answered before and after the bank is asked.
    pub rules: &'a RuleBook,
    /// What stands for a subject where the bank has no answer.
    pub categories: &'a CategoryBook,
    /// What is chosen at random is chosen by this; the same for every delivery of the message.
    pub luck: u64,
    /// Who asks, where, when.
    pub scope: Scope<'a>,
    /// Where answering and listing begin.
    pub thresholds: Thresholds,
    /// Entries on one page of a list.
    pub max_suggestions: usize,
    /// Longest text reply, in bytes.
    pub max_bytes: usize,
    /// What else goes with an answer.
    pub habits: Habits,
    /// Whether this account hands followers over to humans.
    pub handoff: Handoff,
    /// What is asked most, most first; may be empty, and may name what has left the bank. For a category's name: what is asked
    /// most of that category.
    pub hot: &'a [EntryId],
    /// What WeChat knows our files by.
    pub media: &'a dyn MediaIds,
    /// The message's key among the follower's, for what a verdict is about.
    pub message: &'a str,
}

/// Where the files of answers stand with WeChat. Asked on the way of a reply: it never waits.
pub trait MediaIds: Send + Sync {
    /// The id WeChat has for the account's `file` now; `None`: not yet, or not any more. Then [`super::Outcome::lacks`] says which
    /// answer it was for.
    fn media_id(&self, account: &str, kind: MediaType, file: &str) -> Option<String>;

    /// Whether WeChat may get one of the account's files later.
    fn takes_files(&self, account: &str) -> bool;
}

/// No file is known to WeChat.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMedia;

impl MediaIds for NoMedia {
    fn media_id(&self, _: &str, _: MediaType, _: &str) -> Option<String> {
        None
    }

    fn takes_files(&self, _: &str) -> bool {
        false
    }
}

impl Desk<'_> {
    /// Whether these matches are answered directly.
    pub(super) fn answers(&self, matches: &Matches) -> bool {
        matches.decide(self.thresholds) == Decision::Answer
    }

    /// What a [`super::Plan::FollowUp`] comes to, when that is more than `own`, the matches of its text.
    pub fn followed(&self, own: &Matches, follow_up: &FollowUp, before: &Arc<Entry>) -> Option<Matches> {
        self.index
            .follow(own, follow_up, before, self.scope, self.thresholds, MAX_OFFER)
    }

    /// Whether what a reply names can be tapped; pages get it in fields of their own.
    pub(super) fn has_taps(&self) -> bool {
        self.scope.channel != Channel::Api
    }

    /// Whether 人工 leads to a human: the account hands over, or the bank says how to.
    pub(super) fn has_human(&self) -> bool {
        match self.handoff {
            Handoff::Always => true,
            Handoff::Bank => exact(HUMAN_WORD, *self).is_some(),
            Handoff::Never => false,
        }
    }
}

/// What goes with an answer; by default nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Habits {
    /// Most entries that are named beside a direct answer; 0: none.
    pub also_asked: usize,
    /// How much less sure than the answer they may be, in confidence.
    pub also_asked_margin: f64,
    /// Whether an answer asks whether it was of use.
    pub feedback: bool,
}

/// When a follower is handed over to a human (`transfer_customer_service`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Handoff {
    /// Where an entry of the bank says so.
    #[default]
    Bank,
    /// There, and whenever a human is asked for.
    Always,
    /// Never: the account has no customer-service desk. A text says so.
    Never,
}
