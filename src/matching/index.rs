//! The index over every phrasing of the bank.
//!
//! [`Index::search`] is the entry point. A document is one phrasing (the question or a similar question) of an entry;
//! hits are entries, each by its best phrasing. Search goes in two steps: `candidates` names the phrasings worth a look,
//! then every one of them is compared with the query in full. The bank lies in segments, a large one and small ones from
//! recent edits; [`Index::apply`] adds to them, [`Index::compacted`] makes them one again. Neither shows in a result:
//! counts are those of the whole bank, and ties are broken by what the entries are.

use super::candidates::{Place, gather};
use super::drafts::Drafts;
use super::features::{Features, Query};
use super::segment::{Item, Segment, phrasing_text};
use super::sounding::Sounding;
use super::spelling::{Lexicon, Respelled};
use super::tokenizer::{Analysis, Word};
use super::vocabulary::Vocabulary;
use super::{Analyzer, Guard, Hit, Matches, Score, confidence, effort, ranking};
use crate::bank::{Channel, Entry, EntryId, State};
use std::collections::BTreeMap;
use std::sync::Arc;

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

/// A search with all its steps; what [`Index::search`] returns is cut from it.
pub(super) struct Ranking<'a> {
    /// As the cache is keyed.
    pub normalized: String,
    /// What was compared: normalised, with synonyms, respelled.
    pub analysis: Analysis,
    /// How the query was respelled, when it was.
    pub respelled: Option<Respelled>,
    /// Best first: by score, priority, id.
    pub candidates: Vec<Candidate<'a>>,
    /// Why the best must not be answered directly.
    pub guard: Option<Guard>,
}

/// One entry, compared.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub entry: &'a Arc<Entry>,
    pub phrasing: u16,
    pub features: Features,
    /// [`ranking::score`] of the features.
    pub raw: f64,
    pub score: Score,
}

/// A part of a search that is done, for whoever measures it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The text is normalised and its terms are known.
    Analysed,
    /// It is respelled, and analysed anew where that changed it.
    Respelled,
    /// The phrasings to compare are found.
    Gathered,
    /// They are compared and in order.
    Ranked,
}

/// Which phrasings are compared in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breadth {
    /// Those that `candidates` finds.
    Candidates,
    /// Every visible one: slow, for judging the other.
    Everything,
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
        let mut inner = Inner {
            parts: Vec::new(),
            vocabulary: Vocabulary::default(),
            lexicon: Lexicon::default(),
            content: 0,
            boundaries: Arc::default(),
            analyzer,
        };
        let drafts = drafts(&entries, &inner.analyzer);
        let segment = Segment::of(drafts, &mut inner.vocabulary, &mut inner.lexicon);
        inner.add(segment);
        inner.settle();
        Self { inner: Arc::new(inner) }
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
        let segment = Segment::of(vec![drafts], &mut inner.vocabulary, &mut inner.lexicon);
        inner.add(segment);
        inner.merge_small();
        Self { inner: Arc::new(inner) }
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
        Self { inner: Arc::new(inner) }
    }

    /// The at most `k` entries in `scope` that answer `query` best.
    pub fn search(&self, query: &str, scope: Scope<'_>, k: usize) -> Matches {
        self.rank(query, scope, Breadth::Candidates).into_matches(k)
    }

    /// As [`Index::search`], and tells `reached` each part as soon as it is done.
    pub fn search_watched(&self, query: &str, scope: Scope<'_>, k: usize, reached: impl FnMut(Stage)) -> Matches {
        let ranking = self.rank_watched(query, scope, Breadth::Candidates, reached);
        ranking.into_matches(k)
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

    /// Ranks every candidate.
    pub(super) fn rank(&self, query: &str, scope: Scope<'_>, breadth: Breadth) -> Ranking<'_> {
        self.rank_watched(query, scope, breadth, |_| {})
    }

    fn rank_watched(
        &self,
        query: &str,
        scope: Scope<'_>,
        breadth: Breadth,
        mut reached: impl FnMut(Stage),
    ) -> Ranking<'_> {
        let inner = &*self.inner;
        let normalized = inner.analyzer.normalize(query);
        let typed = inner.analyzer.analyze_normalized(&normalized);
        reached(Stage::Analysed);
        let respelled = inner.lexicon.respell(&typed, &inner.vocabulary);
        let analysis = match &respelled {
            Some(respelled) => inner.analyzer.analyze_normalized(&respelled.text),
            None => typed,
        };
        reached(Stage::Respelled);
        let anyone = scope.category.is_none();
        let visible = |place: Place| {
            let part = &inner.parts[place.segment as usize];
            part.is_alive(place.doc)
                && ((anyone && part.segment.is_open(place.doc))
                    || scope.admits(&part.segment.item(part.segment.doc(place.doc).item).entry))
        };
        let exact = inner.exact(&normalized, visible);
        let sounding = Sounding::of(&analysis, &inner.vocabulary);
        let mut places = inner.places(&analysis, &sounding, breadth, visible);
        places.extend(&exact);
        places.sort_unstable();
        places.dedup();
        reached(Stage::Gathered);
        let read = respelled.as_ref().map_or(0, |respelled| respelled.read);
        let mut candidates = inner.compare(&mut Query::new(&analysis, &sounding, read, &inner.vocabulary), &places);
        for &place in &exact {
            let id = &inner.item(place).entry.id;
            let phrasing = inner.parts[place.segment as usize].segment.doc(place.doc).phrasing;
            let same = |candidate: &&mut Candidate| candidate.entry.id == *id && candidate.score != Score::EXACT;
            if let Some(candidate) = candidates.iter_mut().find(same) {
                (candidate.score, candidate.phrasing) = (Score::EXACT, phrasing);
            }
        }
        let candidates = in_order(&candidates);
        let guard = confidence::guard(&analysis, &candidates, &inner.analyzer);
        reached(Stage::Ranked);
        Ranking {
            normalized,
            analysis,
            respelled,
            candidates,
            guard,
        }
    }
}

/// Analyses entries, on all cores; a piece for each, in order.
fn drafts(entries: &[Arc<Entry>], analyzer: &Analyzer) -> Vec<Drafts> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let analyse = |piece: &[Arc<Entry>]| {
        let mut drafts = Drafts::default();
        for entry in piece {
            drafts.push(Arc::clone(entry), analyzer);
        }
        drafts
    };
    if entries.len() < MERGED_AT_ONCE || cores == 1 {
        return vec![analyse(entries)];
    }
    std::thread::scope(|scope| {
        let pieces = entries.chunks(entries.len().div_ceil(cores));
        let workers: Vec<_> = pieces.map(|piece| scope.spawn(move || analyse(piece))).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, Drafts>| match worker.join() {
            Ok(drafts) => drafts,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        workers.into_iter().map(join).collect()
    })
}

impl Part {
    pub fn is_alive(&self, doc: u32) -> bool {
        self.dead
            .get(doc as usize / 64)
            .is_none_or(|bits| bits >> (doc % 64) & 1 == 0)
    }

    fn lives(&self, item: u32) -> bool {
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
    /// Takes in a segment of living entries whose terms are counted.
    fn add(&mut self, segment: Segment) {
        for item in 0..segment.entries() as u32 {
            self.note(segment.item(item), 1);
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

    /// Notes that an entry has come (`by` 1) or gone (−1).
    fn note(&mut self, item: &Item, by: i32) {
        self.content = match by {
            1 => self.content.wrapping_add(item.content),
            _ => self.content.wrapping_sub(item.content),
        };
        for moment in [item.entry.valid_from, item.entry.valid_until].into_iter().flatten() {
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
        self.note(segment.item(item), -1);
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

    fn doc_item(&self, place: Place) -> u32 {
        self.parts[place.segment as usize].segment.doc(place.doc).item
    }

    fn item(&self, place: Place) -> &Item {
        self.parts[place.segment as usize].segment.item(self.doc_item(place))
    }

    /// Visible documents whose normalised text is the query's.
    fn exact(&self, normalized: &str, visible: impl Fn(Place) -> bool) -> Vec<Place> {
        let mut found = Vec::new();
        if normalized.is_empty() {
            return found;
        }
        for (number, part) in self.parts.iter().enumerate() {
            for doc in part.segment.normalized_as(Word::new(normalized)) {
                let place = Place {
                    segment: number as u32,
                    doc,
                };
                let (item, phrasing) = (self.item(place), part.segment.doc(doc).phrasing);
                let text = phrasing_text(&item.entry, phrasing);
                if visible(place) && self.analyzer.normalize(text) == normalized {
                    found.push(place);
                }
            }
        }
        found
    }

    /// Visible documents to compare, in order of place.
    fn places(
        &self,
        query: &Analysis,
        sounding: &Sounding,
        breadth: Breadth,
        visible: impl Fn(Place) -> bool,
    ) -> Vec<Place> {
        let segments: Vec<&Segment> = self.parts.iter().map(|part| &*part.segment).collect();
        if breadth == Breadth::Candidates {
            return gather(query, sounding, &segments, &self.vocabulary, visible);
        }
        let everywhere = (0..)
            .zip(&segments)
            .flat_map(|(segment, content)| (0..content.documents() as u32).map(move |doc| Place { segment, doc }));
        everywhere.filter(|place| visible(*place)).collect()
    }

    /// One candidate per entry, by its best phrasing, unordered. Phrasings of one entry stand side by side in `places`.
    fn compare(&self, query: &mut Query<'_>, places: &[Place]) -> Vec<Candidate<'_>> {
        let segment = |place: &Place| &self.parts[place.segment as usize].segment;
        // What is compared is far away in memory. Asked for beforehand, it comes all at once instead of one by one.
        std::hint::black_box(
            places
                .iter()
                .fold(0, |sum, place| sum ^ segment(place).touch(place.doc)),
        );
        let mut candidates: Vec<Candidate<'_>> = Vec::with_capacity(places.len());
        let (mut entry, mut covered) = (None, 0);
        for place in places {
            let segment = segment(place);
            let doc = segment.doc(place.doc);
            let is_first = entry != Some((place.segment, doc.item));
            if is_first {
                (entry, covered) = (Some((place.segment, doc.item)), 0);
            }
            effort::spend(segment.row(place.doc).units.len());
            let features = query.compare(segment.row(place.doc), segment.answer(doc.item), &mut covered);
            let raw = ranking::standing(&features);
            match candidates.last_mut() {
                Some(last) if !is_first => {
                    if raw > last.raw {
                        (last.phrasing, last.features, last.raw) = (doc.phrasing, features, raw);
                    }
                    last.features.query_units = query.coverage(covered);
                }
                _ => candidates.push(Candidate {
                    entry: &segment.item(doc.item).entry,
                    phrasing: doc.phrasing,
                    features,
                    raw,
                    score: Score::default(),
                }),
            }
        }
        ranking::with_rivals(&mut candidates, |candidate| &mut candidate.features);
        for candidate in &mut candidates {
            candidate.raw = ranking::score(&candidate.features);
            candidate.score = confidence::calibrate(candidate.raw);
        }
        candidates
    }
}

/// Best first: by score, priority, id.
fn in_order<'a>(candidates: &[Candidate<'a>]) -> Vec<Candidate<'a>> {
    let mut order: Vec<&Candidate<'a>> = candidates.iter().collect();
    order.sort_unstable_by(|a, b| {
        let better = b.score.cmp(&a.score);
        let better = better.then_with(|| b.entry.priority.cmp(&a.entry.priority));
        better.then_with(|| a.entry.id.cmp(&b.entry.id))
    });
    order.into_iter().copied().collect()
}

impl Ranking<'_> {
    /// The best `k`.
    pub(super) fn into_matches(self, k: usize) -> Matches {
        let hit = |candidate: Candidate<'_>| Hit {
            entry: Arc::clone(candidate.entry),
            score: candidate.score,
            phrasing: candidate.phrasing,
        };
        Matches {
            hits: self.candidates.into_iter().take(k).map(hit).collect(),
            guard: self.guard,
        }
    }
}

impl Scope<'_> {
    /// Whether `entry` may be returned.
    pub fn admits(&self, entry: &Entry) -> bool {
        let below = |category: &str| {
            let rest = entry.category.strip_prefix(category);
            category.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        entry.state == State::Published
            && (entry.accounts.is_empty() || entry.accounts.iter().any(|account| account == self.account))
            && (entry.channels.is_empty() || entry.channels.contains(&self.channel))
            && entry.valid_from.is_none_or(|from| from <= self.now)
            && entry.valid_until.is_none_or(|until| self.now < until)
            && self.category.is_none_or(below)
    }
}
