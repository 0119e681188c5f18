//! The index over every phrasing of the bank.
//!
//! [`Index::search`] is the entry point. A document is one phrasing (the question or a similar question) of an entry;
//! hits are entries, each by its best phrasing; `search` says how they are found. The bank lies in segments, a large one and small ones from
//! recent edits; [`Index::apply`] adds to them, [`Index::compacted`] makes them one again. Neither shows in a result:
//! counts are those of the whole bank, and ties are broken by what the entries are.

mod search;

pub use search::Stage;
pub(super) use search::{Breadth, Candidate, Ranking};

use super::Analyzer;
use super::drafts::{Drafts, content};
use super::segment::{Item, Segment};
use super::spelling::Lexicon;
use super::vocabulary::{Scales, Vocabulary};
use crate::bank::category::is_within;
use crate::bank::{Channel, Entry, EntryId, State};
use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};

/// Entries in small segments that are merged at once, as part of an edit; more wait for [`Index::compacted`].
const MERGED_AT_ONCE: usize = 1_024;
/// Small segments are merged when the newer one has grown to a fourth of the older.
const GROWTH: usize = 4;
/// From this many segments on compacting pays.
const MANY_SEGMENTS: usize = 10;
/// From this share of dead entries on compacting pays.
const MANY_DEAD: usize = 4;

/// An immutable index; cloning shares it.
#[derive(Clone)]
pub struct Index {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    analyzer: Arc<Analyzer>,
    /// The large one first, then from older to newer.
    parts: Vec<Part>,
    vocabulary: Vocabulary,
    /// Of `vocabulary`.
    scales: Arc<Scales>,
    lexicon: Lexicon,
    /// Sum over the living entries.
    content: u128,
    /// Moments at which some living entry begins or ceases to apply, and how many of them; Unix seconds.
    boundaries: Arc<BTreeMap<i64, u32>>,
}

/// A segment, less the entries that were changed or removed since.
#[derive(Clone)]
pub(super) struct Part {
    pub segment: Arc<Segment>,
    /// A bit for each document.
    dead: Arc<Vec<u64>>,
    deaths: usize,
}

/// One edit of the bank.
#[derive(Debug, Clone)]
pub enum Change {
    /// Adds the entry, or replaces the one with its id.
    Put(Arc<Entry>),
    /// Absent: nothing happens.
    Remove(EntryId),
}

impl Change {
    fn id(&self) -> &EntryId {
        match self {
            Self::Put(entry) => &entry.id,
            Self::Remove(id) => id,
        }
    }
}

/// Which entries a search may return: published ones that this asker may see now.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The account's id in the configuration.
    pub account: &'a str,
    /// Where the question comes from.
    pub channel: Channel,
    /// Unix seconds, for validity windows.
    pub now: i64,
    /// Only this category and those below it (`开户` includes `开户/科创板`); `None`: all.
    pub category: Option<&'a str>,
}

impl Index {
    /// Builds the index of a bank, on all cores. Of entries with one id the last counts.
    pub fn build(entries: impl IntoIterator<Item = Arc<Entry>>, analyzer: Arc<Analyzer>) -> Self {
        let mut entries: Vec<Arc<Entry>> = entries.into_iter().collect();
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        // Of equal neighbours `dedup` keeps the first.
        entries.reverse();
        entries.dedup_by(|a, b| a.id == b.id);
        entries.reverse();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let piece = entries.len().div_ceil(cores).max(MERGED_AT_ONCE);
        Self::build_in_pieces(entries.chunks(piece).map(<[_]>::to_vec), analyzer)
    }

    /// As [`Index::build`], of entries in the order of ids, each id once: what has come is analysed while more is on its
    /// way. Pieces of some thousands of entries are best.
    pub fn build_in_pieces<P>(pieces: impl Iterator<Item = P> + Send, analyzer: Arc<Analyzer>) -> Self
    where
        P: IntoIterator<Item: Into<Arc<Entry>>>,
    {
        let mut inner = Inner {
            parts: Vec::new(),
            scales: Arc::new(Vocabulary::default().scales()),
            vocabulary: Vocabulary::default(),
            lexicon: Lexicon::default(),
            content: 0,
            boundaries: Arc::default(),
            analyzer,
        };
        let drafts = drafts(pieces, &inner.analyzer);
        inner.add(drafts);
        inner.settle();
        inner.into_index()
    }

    /// The index after `changes`, in order; `self` stays as it is. Finds what building the changed bank would find.
    ///
    /// Takes time proportional to the changes, and sometimes to a thousand entries.
    #[must_use]
    pub fn apply(&self, changes: &[Change]) -> Self {
        let mut inner = (*self.inner).clone();
        let last: BTreeMap<&EntryId, &Change> = changes.iter().map(|change| (change.id(), change)).collect();
        let mut drafts = Drafts::default();
        for (id, change) in last {
            inner.remove(id.as_str());
            if let Change::Put(entry) = change {
                drafts.push(Arc::clone(entry), &inner.analyzer);
            }
        }
        inner.add(vec![drafts]);
        inner.merge_small();
        inner.into_index()
    }

    /// Whether edits have left enough behind for [`Index::compacted`] to pay.
    pub fn wants_compaction(&self) -> bool {
        let parts = &self.inner.parts;
        let dead: usize = parts.iter().map(|part| part.deaths).sum();
        parts.len() >= MANY_SEGMENTS || dead * MANY_DEAD > self.len().max(MERGED_AT_ONCE)
    }

    /// The same bank in one segment. Takes time proportional to the bank.
    #[must_use]
    pub fn compacted(&self) -> Self {
        if self.inner.vocabulary.is_mostly_unused() {
            return Self::build(self.entries().cloned(), Arc::clone(&self.inner.analyzer));
        }
        let mut inner = (*self.inner).clone();
        inner.merge_from(0);
        inner.settle();
        inner.into_index()
    }

    /// The entry with that id, whatever its state.
    pub fn entry(&self, id: &str) -> Option<&Arc<Entry>> {
        let (part, item) = self.inner.find(id)?;
        Some(&self.inner.parts[part].segment.item(item).entry)
    }

    /// Entries, whatever their state.
    pub fn len(&self) -> usize {
        self.inner.vocabulary.entries as usize
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every entry, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.inner.living().map(|item| &item.entry)
    }

    /// The analyzer it was built with.
    pub fn analyzer(&self) -> &Arc<Analyzer> {
        &self.inner.analyzer
    }

    /// The same for the same entries, whatever the history.
    pub fn content(&self) -> u128 {
        self.inner.content
    }

    /// How many moments up to `now` (Unix seconds) let some entry begin or cease to apply.
    pub fn boundaries_passed(&self, now: i64) -> u64 {
        self.inner
            .boundaries
            .range(..=now)
            .map(|(_, count)| u64::from(*count))
            .sum()
    }

    /// Bytes in memory by part, without entries and dictionaries.
    pub fn bytes(&self) -> BTreeMap<&'static str, usize> {
        let mut bytes = BTreeMap::new();
        for (what, size) in self.inner.parts.iter().flat_map(|part| part.segment.bytes()) {
            *bytes.entry(what).or_default() += size;
        }
        bytes
    }

    /// What the bank says about terms.
    pub(super) fn vocabulary(&self) -> &Vocabulary {
        &self.inner.vocabulary
    }

    /// The bank's words, characters and runs by how they are typed.
    pub(super) fn lexicon(&self) -> &Lexicon {
        &self.inner.lexicon
    }

    /// Where its entries are.
    pub(super) fn parts(&self) -> &[Part] {
        &self.inner.parts
    }
}

/// Analyses entries, on all cores; in the order of pieces.
fn drafts<P>(pieces: impl Iterator<Item = P> + Send, analyzer: &Analyzer) -> Vec<Drafts>
where
    P: IntoIterator<Item: Into<Arc<Entry>>>,
{
    let pieces = Mutex::new((0_u32..).zip(pieces).fuse());
    let work = || {
        let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
        let mut made = Vec::new();
        while let Some((number, piece)) = next() {
            let mut drafts = Drafts::default();
            for entry in piece {
                drafts.push(entry.into(), analyzer);
            }
            made.push((number, drafts));
        }
        made
    };
    let others = std::thread::available_parallelism().map_or(0, |cores| cores.get() - 1);
    let mut made = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..others).map(|_| scope.spawn(work)).collect();
        let mut made = work();
        for worker in workers {
            made.extend(worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        made
    });
    made.sort_unstable_by_key(|(number, _)| *number);
    made.into_iter().map(|(_, drafts)| drafts).collect()
}

impl Part {
    pub fn is_alive(&self, doc: u32) -> bool {
        self.dead
            .get(doc as usize / 64)
            .is_none_or(|bits| bits >> (doc % 64) & 1 == 0)
    }

    pub fn lives(&self, item: u32) -> bool {
        self.is_alive(self.segment.docs_of(item).start)
    }

    fn kill(&mut self, item: u32) {
        let dead = Arc::make_mut(&mut self.dead);
        for doc in self.segment.docs_of(item) {
            dead.resize(dead.len().max(doc as usize / 64 + 1), 0);
            dead[doc as usize / 64] |= 1 << (doc % 64);
        }
        self.deaths += 1;
    }
}

impl Inner {
    fn into_index(mut self) -> Index {
        self.scales = Arc::new(self.vocabulary.scales());
        Index { inner: Arc::new(self) }
    }

    /// Takes in entries that have no like among the living.
    fn add(&mut self, drafts: Vec<Drafts>) {
        for part in &drafts {
            self.content = self.content.wrapping_add(part.content);
        }
        let segment = Segment::of(drafts, &mut self.vocabulary, &mut self.lexicon);
        for item in 0..segment.entries() as u32 {
            self.note_boundaries(&segment.item(item).entry, 1);
        }
        if segment.entries() > 0 {
            self.push(segment);
        }
    }

    fn push(&mut self, segment: Segment) {
        self.parts.push(Part {
            segment: Arc::new(segment),
            dead: Arc::default(),
            deaths: 0,
        });
    }

    /// Notes the moments at which an entry begins and ceases to apply: it has come (`by` 1) or gone (−1).
    fn note_boundaries(&mut self, entry: &Entry, by: i32) {
        for moment in [entry.valid_from, entry.valid_until].into_iter().flatten() {
            let boundaries = Arc::make_mut(&mut self.boundaries);
            let count = boundaries.entry(moment).or_default();
            *count = count.saturating_add_signed(by);
            if *count == 0 {
                boundaries.remove(&moment);
            }
        }
    }

    fn remove(&mut self, id: &str) {
        let Some((part, item)) = self.find(id) else { return };
        let segment = Arc::clone(&self.parts[part].segment);
        segment.discount(item, &mut self.vocabulary);
        let entry = &segment.item(item).entry;
        self.content = self.content.wrapping_sub(content(entry));
        self.note_boundaries(entry, -1);
        self.parts[part].kill(item);
    }

    /// Where the living entry with that id is.
    fn find(&self, id: &str) -> Option<(usize, u32)> {
        let parts = self.parts.iter().enumerate();
        let mut found = parts.filter_map(|(number, part)| {
            let item = part.segment.find(id)?;
            part.lives(item).then_some((number, item))
        });
        found.next()
    }

    fn living(&self) -> impl Iterator<Item = &Item> {
        self.parts.iter().flat_map(|part| {
            let items = 0..part.segment.entries() as u32;
            items
                .filter(|item| part.lives(*item))
                .map(|item| part.segment.item(item))
        })
    }

    /// Keeps the number of small segments within the logarithm of the number of edits.
    fn merge_small(&mut self) {
        let size = |part: &Part| part.segment.entries();
        let mut first = self.parts.len();
        let mut together = 0;
        while let Some(before) = first.checked_sub(1) {
            let older = size(&self.parts[before]);
            let grown = together == 0 || together * GROWTH >= older;
            if !grown || together + older > MERGED_AT_ONCE {
                break;
            }
            together += older;
            first = before;
        }
        if self.parts.len() - first > 1 {
            self.merge_from(first);
        }
    }

    /// Makes one segment of the parts from `first` on.
    fn merge_from(&mut self, first: usize) {
        let merged = self.parts.split_off(first);
        let segments: Vec<&Segment> = merged.iter().map(|part| &*part.segment).collect();
        let segment = Segment::merge(&segments, |part, item| merged[part].lives(item), &mut self.vocabulary);
        if segment.entries() > 0 {
            self.push(segment);
        }
    }

    fn settle(&mut self) {
        self.vocabulary.settle();
        self.lexicon.settle();
    }
}

impl Scope<'_> {
    /// Whether `entry` may be returned.
    pub fn admits(&self, entry: &Entry) -> bool {
        entry.state == State::Published
            && (entry.accounts.is_empty() || entry.accounts.iter().any(|account| account == self.account))
            && (entry.channels.is_empty() || entry.channels.contains(&self.channel))
            && entry.valid_from.is_none_or(|from| from <= self.now)
            && entry.valid_until.is_none_or(|until| self.now < until)
            && self.category.is_none_or(|node| is_within(&entry.category, node))
    }
}
