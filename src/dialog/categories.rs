//! Default replies of categories: what is said where the bank has no certain answer but the subject is clear.
//!
//! A [`CategoryBook`] is made once per snapshot. A message that is just a category's name gets that category's default reply
//! with a list of its entries; where a search ends in a list or in vain and all that is likely stands in one category, its
//! reply heads the list or takes the place of `not_found`. A category without a reply has that of the nearest above it.
//! [`topic`] tells which of this happens, for explanations.

use super::say::Say;
use super::{Desk, MAX_OFFER, Outcome, Plan, Session, comment, search};
use crate::bank::category::{Category, Node, Warning, common, is_within, last_part, tree, upwards};
use crate::bank::{Entry, EntryId};
use crate::matching::text::normalize;
use crate::matching::{Decision, Hit, Matches, Scope};
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// How sure the best hit of a search in vain must be, of what a list needs: a question about nothing in the bank is like
/// something in it, too.
const LIKELY: f64 = 0.75;

/// What is set for categories, ready for messages.
#[derive(Debug, Default)]
pub struct CategoryBook {
    settings: BTreeMap<String, Category>,
    /// By normalised name: the categories that have it, those by path or title before those by the path's last part.
    names: FxHashMap<String, Vec<(Rank, String)>>,
}

/// How a category comes to a name; the first counts for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    PathOrTitle,
    LastPart,
}

/// The category a message is about although nothing answers it, and what is said about that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Topic<'a> {
    /// Its path.
    pub category: &'a str,
    /// The category whose default reply it is: this one, or the nearest above that has one.
    pub reply_of: &'a str,
    #[expect(missing_docs, reason = "the name says it")]
    pub reply: &'a str,
    #[expect(missing_docs, reason = "the type says it")]
    pub why: Why,
}

/// How a category is known to be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The message is its name.
    Name,
    /// All that is listed stands in it.
    Listed,
    /// Nothing is sure enough to be listed, and all that comes near stands in it.
    Near,
}

impl fmt::Display for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { category, reply_of, .. } = self;
        match self.why {
            Why::Name => write!(
                f,
                "the message is the name of category {category}: its entries are listed, headed by"
            ),
            Why::Listed => write!(
                f,
                "all that is listed stands in category {category}: the list is headed by"
            ),
            Why::Near => write!(
                f,
                "all that comes near stands in category {category}: instead of not_found.txt, there is"
            ),
        }?;
        write!(f, " the default reply of {reply_of}")
    }
}

impl CategoryBook {
    /// Of valid categories, each once.
    pub fn new(categories: impl IntoIterator<Item = Category>) -> Self {
        let settings = categories.into_iter().map(|set| (set.category.clone(), set));
        let mut book = Self {
            settings: settings.collect(),
            names: FxHashMap::default(),
        };
        let mut names: FxHashMap<String, Vec<(Rank, String)>> = FxHashMap::default();
        for set in book.settings.values().filter(|set| book.reply(&set.category).is_some()) {
            let named = [
                (Rank::PathOrTitle, set.category.as_str()),
                (Rank::PathOrTitle, set.title.as_str()),
                (Rank::LastPart, last_part(&set.category)),
            ];
            for (rank, name) in named {
                let owners = names.entry(normalize(name)).or_default();
                if owners.iter().all(|(_, owner)| *owner != set.category) {
                    owners.push((rank, set.category.clone()));
                }
            }
        }
        names.remove("");
        for owners in names.values_mut() {
            owners.sort_unstable();
        }
        book.names = names;
        book
    }

    /// The category that has this name, or this name as a title, or one whose path ends in it; `None`: none that has a
    /// default reply and `is_seen`, or several with equal right.
    pub fn named(&self, text: &str, is_seen: impl Fn(&str) -> bool) -> Option<&str> {
        if self.names.is_empty() {
            return None;
        }
        let owners = self.names.get(&normalize(text))?.iter();
        let mut owners = owners.filter(|(_, category)| is_seen(category));
        let (first, category) = owners.next()?;
        match owners.next() {
            Some((second, _)) if second == first => None,
            _ => Some(category),
        }
    }

    /// Names that mean none because several categories have them.
    pub fn shared_names(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for (name, owners) in &self.names {
            if self.named(name, |_| true).is_some() {
                continue;
            }
            let all: Vec<&str> = owners.iter().map(|(_, owner)| owner.as_str()).collect();
            warnings.extend(all.first().map(|first| Warning {
                category: (*first).to_owned(),
                reason: format!(
                    "{name:?} alone means none of {}: give one of them a title",
                    all.join(", ")
                ),
            }));
        }
        warnings.sort_by(|a, b| (&a.category, &a.reason).cmp(&(&b.category, &b.reason)));
        warnings
    }

    /// The default reply that stands for a category, and whose it is.
    pub fn reply(&self, category: &str) -> Option<(&str, &str)> {
        let mut set = upwards(category).filter_map(|node| self.settings.get(node));
        let set = set.find(|set| !set.reply.is_empty())?;
        Some((&set.category, &set.reply))
    }

    /// The tree of the categories in which entries stand, `counts` of them in each, as they were set.
    pub fn tree(&self, counts: &BTreeMap<&str, usize>) -> Vec<Node> {
        let is_used = |set: &&Category| counts.keys().any(|named| is_within(named, &set.category));
        tree(self.settings.values().filter(is_used), counts)
    }

    fn topic<'a>(&'a self, category: &'a str, why: Why) -> Option<Topic<'a>> {
        let (reply_of, reply) = self.reply(category)?;
        Some(Topic {
            category,
            reply_of,
            reply,
            why,
        })
    }
}

/// The hits that are as sure as what is shown of a list, best first. Scores count the distance to the best, so what follows
/// it scores lower and still belongs in the list.
pub(super) fn near<'m>(matches: &'m Matches, desk: Desk<'_>) -> impl Iterator<Item = &'m Hit> {
    let floor = desk.thresholds.suggest / 2.0;
    matches.hits.iter().take_while(move |hit| hit.score.get() >= floor)
}

/// The category in which all near hits of a search that answers nothing stand, if a default reply stands for it.
pub(super) fn of_matches<'a>(matches: &'a Matches, desk: Desk<'a>) -> Option<Topic<'a>> {
    let why = match matches.decide(desk.thresholds) {
        Decision::Answer => return None,
        Decision::Suggest => Why::Listed,
        Decision::None => Why::Near,
    };
    let is_likely = |hit: &Hit| why == Why::Listed || hit.score.get() >= desk.thresholds.suggest * LIKELY;
    matches.hits.first().filter(|best| is_likely(best))?;
    let categories = near(matches, desk).map(|hit| hit.entry.category.as_str());
    let category = categories.reduce(common)?;
    desk.categories.topic(category, why)
}

/// The category that is to be spoken of in answer to `text`, whose search found `matches`; `None`: there is an answer, or no
/// category that a default reply stands for.
pub fn topic<'a>(text: &str, matches: &'a Matches, desk: Desk<'a>) -> Option<Topic<'a>> {
    if desk.answers(matches) {
        return None;
    }
    match desk.categories.named(text, is_seen(desk)) {
        Some(named) => desk.categories.topic(named, Why::Name),
        None => of_matches(matches, desk),
    }
}

/// What is said to a category's name; `None`: it is none, the bank answers it, or the follower may see nothing of it.
pub(super) fn named(text: &str, session: &Session, desk: Desk<'_>) -> Option<Outcome> {
    let named = desk.categories.named(text, is_seen(desk))?;
    let find = |text: &str| desk.index.search(text, desk.scope, MAX_OFFER);
    let own = find(text);
    if desk.answers(&own) {
        return None;
    }
    if let Plan::FollowUp { follow_up, before, .. } = search(text, session, desk)
        && let Some(better) = desk.followed(&own, &follow_up, &before)
        && desk.answers(&better)
    {
        return None;
    }
    let offer = entries(named, desk);
    if offer.is_empty() {
        return None;
    }
    let topic = desk.categories.topic(named, Why::Name)?;
    let feedback = comment(session);
    let session = Session {
        offer,
        answered: session.answered.clone(),
        moved_on: true,
        ..Session::default()
    };
    let mut outcome = Say { desk }.list_under(topic.reply, session, desk.max_suggestions);
    outcome.feedback = feedback;
    Some(outcome)
}

/// Whether the follower may see something of a category.
fn is_seen(desk: Desk<'_>) -> impl Fn(&str) -> bool {
    move |category| !entries(category, desk).is_empty()
}

/// The entries in a category and below it that the follower may see: by priority, then by how often they are asked for, as
/// far as [`Desk::hot`] says, then by id. At most [`MAX_OFFER`].
fn entries(category: &str, desk: Desk<'_>) -> Vec<EntryId> {
    let scope = Scope {
        category: Some(category),
        ..desk.scope
    };
    let hot = desk.hot.iter().filter_map(|id| desk.index.entry(id.as_str()));
    let hot = hot.filter(|entry| scope.admits(entry));
    // Whatever is not asked for most stands behind as many of equal right.
    let mut all: Vec<&Arc<Entry>> = desk
        .index
        .of_category(scope, MAX_OFFER)
        .into_iter()
        .chain(hot)
        .collect();
    let asked = |entry: &Entry| desk.hot.iter().position(|id| *id == entry.id).unwrap_or(usize::MAX);
    all.sort_by_cached_key(|entry| (Reverse(entry.priority), asked(entry), entry.id.clone()));
    all.dedup_by(|a, b| a.id == b.id);
    all.truncate(MAX_OFFER);
    all.into_iter().map(|entry| entry.id.clone()).collect()
}
