//! The inverted index over every phrasing of the bank.
//!
//! [`Index::search`] is the entry point. A document is one phrasing (the question or a similar question) of an entry;
//! hits are entries, each by its best phrasing. Search goes in two steps: the postings name at most `CANDIDATES`
//! phrasings by words, bigrams, rare units and sounds, then every one of them is compared with the query in full.
//! Documents are numbered by entry id, so neither the order of a file nor the history of edits can show in a result.

use super::features::{Features, Query, Statistics, sounding};
use super::postings::{Field, idf, length_weight};
use super::spelling::{Lexicon, Respelled};
use super::tokenizer::{Analysis, Bigram, SoundBigram, Unit, Word};
use super::{Analyzer, Guard, Hit, Matches, Score, confidence, ranking};
use crate::bank::{Answer, Channel, Entry, EntryId, State};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Phrasings compared in full because of the characters and words they share with the query.
const CANDIDATES: usize = 64;
/// Phrasings compared in full because they sound like the query.
const SOUND_CANDIDATES: usize = 32;
/// Postings of units read for one query, rarest unit first. The two rarest are always read.
const UNIT_POSTINGS: usize = 40_000;

/// An immutable index; cloning shares it.
#[derive(Clone)]
pub struct Index {
    inner: Arc<Inner>,
}

struct Inner {
    analyzer: Arc<Analyzer>,
    /// By id.
    items: Vec<Arc<Item>>,
    docs: Vec<Doc>,
    statistics: Statistics,
    lexicon: Lexicon,
    /// Hash of a phrasing's normalised text, and its document; sorted.
    exact: Vec<(Word, u32)>,
}

/// An entry with everything that depends on it alone, so that rebuilding postings analyses nothing anew.
struct Item {
    entry: Arc<Entry>,
    /// The question, then the similar questions.
    phrasings: Vec<Analysis>,
    /// [`Word`] of each phrasing's normalised text.
    normalized: Vec<Word>,
    /// Sorted.
    answer: Box<[Word]>,
}

#[derive(Clone, Copy)]
struct Doc {
    item: u32,
    phrasing: u16,
    length_weight: f32,
}

/// One edit of the bank.
#[derive(Debug, Clone)]
pub enum Change {
    /// Adds the entry, or replaces the one with its id.
    Put(Arc<Entry>),
    /// Absent: nothing happens.
    Remove(EntryId),
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
pub(super) struct Ranking {
    /// As the cache is keyed.
    pub normalized: String,
    /// What was compared: normalised, with synonyms, respelled.
    pub analysis: Analysis,
    /// How the query was respelled, when it was.
    pub respelled: Option<Respelled>,
    /// Best first: by score, priority, id.
    pub candidates: Vec<Candidate>,
    /// Why the best must not be answered directly.
    pub guard: Option<Guard>,
}

/// One entry, compared.
#[derive(Clone)]
pub(super) struct Candidate {
    pub entry: Arc<Entry>,
    pub phrasing: u16,
    pub features: Features,
    /// [`ranking::score`] of the features.
    pub raw: f64,
    pub score: Score,
}

impl Index {
    /// Builds the index of a bank. Of entries with one id the last counts.
    pub fn build(entries: impl IntoIterator<Item = Arc<Entry>>, analyzer: Arc<Analyzer>) -> Self {
        let entries: BTreeMap<EntryId, Arc<Entry>> =
            entries.into_iter().map(|entry| (entry.id.clone(), entry)).collect();
        let items = entries
            .into_values()
            .map(|entry| Arc::new(Item::new(entry, &analyzer)))
            .collect();
        Self::from_items(items, analyzer)
    }

    /// The index after `changes`, in order; `self` stays as it is. Equal to building the changed bank.
    #[must_use]
    pub fn apply(&self, changes: &[Change]) -> Self {
        // TODO: rebuilds all postings from the analysed items, about 1 s per 100,000 entries; a delta with tombstones
        // beside the immutable base would make an edit independent of the bank's size.
        let unchanged = self
            .inner
            .items
            .iter()
            .map(|item| (item.entry.id.clone(), Arc::clone(item)));
        let mut items: BTreeMap<EntryId, Arc<Item>> = unchanged.collect();
        for change in changes {
            match change {
                Change::Put(entry) => {
                    items.insert(
                        entry.id.clone(),
                        Arc::new(Item::new(Arc::clone(entry), &self.inner.analyzer)),
                    );
                }
                Change::Remove(id) => {
                    items.remove(id);
                }
            }
        }
        Self::from_items(items.into_values().collect(), Arc::clone(&self.inner.analyzer))
    }

    /// The at most `k` entries in `scope` that answer `query` best.
    pub fn search(&self, query: &str, scope: Scope<'_>, k: usize) -> Matches {
        self.rank(query, scope, None).into_matches(k)
    }

    /// The entry with that id, whatever its state.
    pub fn entry(&self, id: &str) -> Option<&Arc<Entry>> {
        self.item(id).map(|item| &item.entry)
    }

    /// Entries, whatever their state.
    pub fn len(&self) -> usize {
        self.inner.items.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every entry, by id.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.inner.items.iter().map(|item| &item.entry)
    }

    /// The analyzer it was built with.
    pub fn analyzer(&self) -> &Arc<Analyzer> {
        &self.inner.analyzer
    }

    /// What the bank says about terms.
    pub(super) fn statistics(&self) -> &Statistics {
        &self.inner.statistics
    }

    /// Ranks every candidate. `hidden`: a phrasing that shall not match, for replaying a bank against itself.
    pub(super) fn rank(&self, query: &str, scope: Scope<'_>, hidden: Option<(&str, u16)>) -> Ranking {
        let inner = &*self.inner;
        let normalized = inner.analyzer.normalize(query);
        let typed = inner.analyzer.analyze_normalized(&normalized);
        let respelled = inner.lexicon.respell(&typed, &inner.statistics.units);
        let analysis = match &respelled {
            Some(respelled) => inner.analyzer.analyze_normalized(&respelled.text),
            None => typed,
        };
        let visible = |doc: Doc| {
            let entry = &inner.items[doc.item as usize].entry;
            scope.admits(entry)
                && hidden.is_none_or(|(id, phrasing)| entry.id.as_str() != id || doc.phrasing != phrasing)
        };
        let read = respelled.as_ref().map_or(0, |respelled| respelled.read);
        let query = Query::new(&analysis, read, &inner.statistics);
        let exact = inner.exact_docs(&normalized, visible);
        let mut docs = inner.candidates(&analysis, visible);
        docs.extend(&exact);
        docs.sort_unstable();
        docs.dedup();
        let mut candidates = inner.compare(&query, &docs);
        for &doc in &exact {
            let Doc { item, phrasing, .. } = inner.docs[doc as usize];
            let id = &inner.items[item as usize].entry.id;
            if let Some(candidate) = candidates
                .iter_mut()
                .find(|c| c.entry.id == *id && c.score != Score::EXACT)
            {
                (candidate.score, candidate.phrasing) = (Score::EXACT, phrasing);
            }
        }
        candidates.sort_by(|a, b| {
            let better = b.score.cmp(&a.score).then(b.entry.priority.cmp(&a.entry.priority));
            better.then_with(|| a.entry.id.cmp(&b.entry.id))
        });
        let guard = confidence::guard(&analysis, &candidates, &inner.analyzer);
        Ranking {
            normalized,
            analysis,
            respelled,
            candidates,
            guard,
        }
    }

    fn item(&self, id: &str) -> Option<&Arc<Item>> {
        let items = &self.inner.items;
        let found = items.binary_search_by(|item| item.entry.id.as_str().cmp(id));
        found.ok().map(|at| &items[at])
    }

    fn from_items(items: Vec<Arc<Item>>, analyzer: Arc<Analyzer>) -> Self {
        let phrasings = || items.iter().flat_map(|item| &item.phrasings);
        let documents = phrasings().count();
        let total: usize = phrasings().map(|phrasing| phrasing.units.len()).sum();
        let average_length = total as f64 / documents.max(1) as f64;
        let mut docs = Vec::with_capacity(documents);
        let mut exact = Vec::with_capacity(documents);
        for (number, item) in items.iter().enumerate() {
            for (phrasing, analysis) in item.phrasings.iter().enumerate() {
                exact.push((item.normalized[phrasing], docs.len() as u32));
                docs.push(Doc {
                    item: number as u32,
                    phrasing: phrasing as u16,
                    length_weight: length_weight(analysis.units.len(), average_length) as f32,
                });
            }
        }
        exact.sort_unstable();
        let statistics = Statistics {
            words: Field::build(phrasings().map(|phrasing| phrasing.words.iter().copied())),
            units: Field::build(phrasings().map(|phrasing| phrasing.units.iter().copied())),
            bigrams: Field::build(phrasings().map(bigrams)),
            sounds: Field::build(phrasings().map(sound_bigrams)),
            syllable_idf: syllable_idf(phrasings(), documents as u32),
            answer_freq: answer_freq(&items),
            answers: items.len() as u32,
        };
        let lexicon = lexicon(phrasings(), &statistics);
        Self {
            inner: Arc::new(Inner {
                analyzer,
                items,
                docs,
                statistics,
                lexicon,
                exact,
            }),
        }
    }
}

impl Ranking {
    /// The best `k`.
    pub(super) fn into_matches(self, k: usize) -> Matches {
        let hit = |candidate: Candidate| Hit {
            entry: candidate.entry,
            score: candidate.score,
            phrasing: candidate.phrasing,
        };
        Matches {
            hits: self.candidates.into_iter().take(k).map(hit).collect(),
            guard: self.guard,
        }
    }
}

impl Inner {
    /// Visible documents whose normalised text is the query's.
    fn exact_docs(&self, normalized: &str, visible: impl Fn(Doc) -> bool) -> Vec<u32> {
        let key = Word::new(normalized);
        let start = self.exact.partition_point(|&(text, _)| text < key);
        let same = self.exact[start..]
            .iter()
            .take_while(|&&(text, _)| text == key)
            .map(|&(_, doc)| doc);
        let is_same = |doc: &u32| {
            let Doc { item, phrasing, .. } = self.docs[*doc as usize];
            let phrasing = phrasing_text(&self.items[item as usize].entry, phrasing);
            !normalized.is_empty() && self.analyzer.normalize(phrasing) == normalized
        };
        same.filter(|doc| visible(self.docs[*doc as usize]))
            .filter(is_same)
            .collect()
    }

    /// Visible documents worth comparing.
    fn candidates(&self, query: &Analysis, visible: impl Fn(Doc) -> bool) -> Vec<u32> {
        let statistics = &self.statistics;
        let mut lexical = Tally::new(self.docs.len());
        for word in &query.words {
            lexical.add(statistics.words.docs(*word), statistics.words.idf(*word));
        }
        for bigram in distinct(bigrams(query)) {
            lexical.add(statistics.bigrams.docs(bigram), statistics.bigrams.idf(bigram) / 2);
        }
        let mut rarest: Vec<(u32, Unit)> = distinct(query.units.iter().copied())
            .into_iter()
            .map(|unit| (statistics.units.doc_freq(unit), unit))
            .collect();
        rarest.sort_unstable();
        let mut read = 0;
        for (rank, (doc_freq, unit)) in rarest.into_iter().enumerate() {
            read += doc_freq as usize;
            if rank >= 2 && read > UNIT_POSTINGS {
                break;
            }
            lexical.add(statistics.units.docs(unit), statistics.units.idf(unit));
        }
        let mut sounds = Tally::new(self.docs.len());
        for bigram in distinct(sound_bigrams_of(&sounding(query, statistics))) {
            sounds.add(statistics.sounds.docs(bigram), statistics.sounds.idf(bigram));
        }
        let weight = |doc: u32| self.docs[doc as usize].length_weight;
        let is_visible = |doc: u32| visible(self.docs[doc as usize]);
        let mut best = lexical.best(CANDIDATES, weight, is_visible);
        best.extend(sounds.best(SOUND_CANDIDATES, weight, is_visible));
        best
    }

    /// One candidate per entry, by its best phrasing, unordered.
    fn compare(&self, query: &Query<'_>, docs: &[u32]) -> Vec<Candidate> {
        let mut best: Vec<(u32, u16, Features, f64)> = Vec::with_capacity(docs.len());
        let mut covered = 0;
        for doc in docs {
            let Doc {
                item: number, phrasing, ..
            } = self.docs[*doc as usize];
            let item = &self.items[number as usize];
            let is_first = best.last().is_none_or(|last| last.0 != number);
            if is_first {
                covered = 0;
            }
            let features = query.compare((&item.phrasings[phrasing as usize]).into(), &item.answer, &mut covered);
            let raw = ranking::standing(&features);
            if is_first {
                best.push((number, phrasing, features, raw));
            } else if let Some(last) = best.last_mut() {
                if raw > last.3 {
                    *last = (number, phrasing, features, raw);
                }
                last.2.query_units = query.coverage(covered);
            }
        }
        let mut features: Vec<Features> = best.iter().map(|(_, _, features, _)| *features).collect();
        ranking::with_rivals(&mut features);
        let candidate = |((item, phrasing, ..), features): ((u32, u16, Features, f64), Features)| {
            let raw = ranking::score(&features);
            Candidate {
                entry: Arc::clone(&self.items[item as usize].entry),
                phrasing,
                features,
                raw,
                score: confidence::calibrate(raw),
            }
        };
        best.into_iter().zip(features).map(candidate).collect()
    }
}

impl Item {
    fn new(entry: Arc<Entry>, analyzer: &Analyzer) -> Self {
        let texts = || std::iter::once(&entry.question).chain(&entry.similar);
        let normalized: Vec<String> = texts().map(|text| analyzer.normalize(text)).collect();
        Self {
            phrasings: normalized
                .iter()
                .map(|text| analyzer.analyze_normalized(text))
                .collect(),
            normalized: normalized.iter().map(|text| Word::new(text)).collect(),
            answer: analyzer.vocabulary(&answer_text(&entry.answer)),
            entry,
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

/// The wording of a phrasing: 0 is the question, n the n-th similar question.
pub(super) fn phrasing_text(entry: &Entry, phrasing: u16) -> &str {
    phrasing
        .checked_sub(1)
        .and_then(|n| entry.similar.get(usize::from(n)))
        .unwrap_or(&entry.question)
}

/// What an answer says in words.
fn answer_text(answer: &Answer) -> String {
    match answer {
        Answer::Text(text) => text.clone(),
        Answer::Video { title, description, .. } | Answer::Music { title, description, .. } => {
            format!("{title}\n{description}")
        }
        Answer::News { articles } => {
            let texts = articles
                .iter()
                .flat_map(|article| [article.title.as_str(), article.description.as_str()]);
            texts.collect::<Vec<_>>().join("\n")
        }
        Answer::Miniprogram { title, .. } => title.clone(),
        Answer::Image { .. } | Answer::Voice { .. } | Answer::Handoff { .. } => String::new(),
    }
}

/// Points of documents, added term by term.
struct Tally {
    points: Vec<u32>,
    touched: Vec<u32>,
}

impl Tally {
    fn new(documents: usize) -> Self {
        Self {
            points: vec![0; documents],
            touched: Vec::new(),
        }
    }

    fn add(&mut self, docs: &[u32], points: u32) {
        for &doc in docs {
            let total = &mut self.points[doc as usize];
            if *total == 0 {
                self.touched.push(doc);
            }
            *total += points.max(1);
        }
    }

    /// The at most `count` visible documents with the most weighted points; of equal ones the lowest numbers.
    fn best(self, count: usize, weight: impl Fn(u32) -> f32, visible: impl Fn(u32) -> bool) -> Vec<u32> {
        use std::cmp::Reverse;
        use std::collections::BinaryHeap;
        // The worst of the best on top. Weighted points become whole, so that they order totally.
        let mut best: BinaryHeap<Reverse<(u64, Reverse<u32>)>> = BinaryHeap::with_capacity(count + 1);
        for &doc in &self.touched {
            let points = (self.points[doc as usize] as f32 * weight(doc)) as u64;
            let rank = Reverse((points, Reverse(doc)));
            if (best.len() < count || best.peek().is_some_and(|worst| rank < *worst)) && visible(doc) {
                best.push(rank);
                if best.len() > count {
                    best.pop();
                }
            }
        }
        best.into_iter().map(|Reverse((_, Reverse(doc)))| doc).collect()
    }
}

fn distinct<T: Ord>(terms: impl Iterator<Item = T>) -> Vec<T> {
    let mut terms: Vec<T> = terms.collect();
    terms.sort_unstable();
    terms.dedup();
    terms
}

fn bigrams(analysis: &Analysis) -> impl Iterator<Item = Bigram> {
    analysis.units.windows(2).map(|pair| Bigram::new(pair[0], pair[1]))
}

fn sound_bigrams(analysis: &Analysis) -> impl Iterator<Item = SoundBigram> {
    let pairs = analysis
        .units
        .windows(2)
        .map(|pair| (pair[0].readings(), pair[1].readings()));
    pairs.flat_map(|(first, second)| {
        first
            .iter()
            .flat_map(move |a| second.iter().map(move |b| SoundBigram::new(*a, *b)))
    })
}

fn sound_bigrams_of(places: &[Vec<super::pinyin::Syllable>]) -> impl Iterator<Item = SoundBigram> {
    let pairs = places.windows(2);
    pairs.flat_map(|pair| {
        pair[0]
            .iter()
            .flat_map(move |a| pair[1].iter().map(move |b| SoundBigram::new(*a, *b)))
    })
}

fn syllable_idf<'a>(phrasings: impl Iterator<Item = &'a Analysis>, documents: u32) -> Vec<u32> {
    let mut freq = vec![0; super::pinyin::Syllable::COUNT];
    for phrasing in phrasings {
        for syllable in distinct(phrasing.units.iter().flat_map(|unit| unit.readings())) {
            freq[syllable.index()] += 1;
        }
    }
    freq.into_iter().map(|doc_freq| idf(doc_freq, documents)).collect()
}

fn answer_freq(items: &[Arc<Item>]) -> FxHashMap<Word, u32> {
    let mut freq = FxHashMap::default();
    for word in items.iter().flat_map(|item| &item.answer) {
        *freq.entry(*word).or_default() += 1;
    }
    freq
}

/// The words and characters of the bank, for respelling.
fn lexicon<'a>(phrasings: impl Iterator<Item = &'a Analysis>, statistics: &Statistics) -> Lexicon {
    let mut words: FxHashMap<&'a str, u32> = FxHashMap::default();
    for phrasing in phrasings {
        for (word, &(start, end)) in phrasing.words.iter().zip(&phrasing.word_spans) {
            let text = &phrasing.text[start as usize..end as usize];
            words.entry(text).or_insert_with(|| statistics.words.doc_freq(*word));
        }
        for (unit, start) in phrasing.units.iter().zip(&phrasing.unit_starts) {
            let start = *start as usize;
            if let Some(c) = unit.as_char() {
                words
                    .entry(&phrasing.text[start..start + c.len_utf8()])
                    .or_insert_with(|| statistics.units.doc_freq(*unit));
            }
        }
    }
    Lexicon::build(words.into_iter())
}
