//! Candidates: the phrasings worth comparing with a query in full.
//!
//! [`gather`] is the entry point. It reads the inverted lists of the query's words, pairs of neighbours and characters,
//! the rarest first, until enough has been read, and keeps the phrasings with the most rarity in common, the shorter ones
//! before the longer. Where the bank does not have a pair of neighbours it reads what sounds like it. Which lists are
//! read depends on the whole bank's counts only, so the same bank gives the same candidates whatever its history.

use super::features::sounding;
use super::postings::{Lists, length_weight};
use super::segment::{Doc, Fields, Segment};
use super::tokenizer::{Analysis, Bigram, SoundBigram};
use super::vocabulary::{Rarity, Terms, Vocabulary};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Phrasings compared in full because of the words and characters they share with the query.
const COMPARED: usize = 48;
/// Phrasings compared in full because they sound like the query.
const COMPARED_BY_SOUND: usize = 12;
/// Documents read for one query at least; large banks allow a share of their documents.
const READ: u32 = 4_096;
const READ_SHARE: u32 = 128;
/// Lists that are read however long they are.
const ALWAYS_READ: usize = 2;
/// Documents whose points are added up at a time: they fit into the fastest cache.
const BLOCK: usize = 4_096;

/// A document of one of the segments, by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "said above")]
pub struct Place {
    pub segment: u32,
    pub doc: u32,
}

/// A list to read.
struct Wanted {
    field: fn(&Fields<Lists>) -> &Lists,
    number: u32,
    doc_freq: u32,
    /// What a document gets for holding the term.
    points: u32,
    /// Tells equally rare terms apart, the same in every history.
    key: (u8, u32),
}

/// The best documents so far, the worst of them on top; weighted points, then tie.
type Best = BinaryHeap<Reverse<(u64, Reverse<u32>, Place)>>;

/// The documents of `segments` worth comparing with `query`, in order of place; `visible` tells which may be found.
pub fn gather(
    query: &Analysis,
    segments: &[&Segment],
    vocabulary: &Vocabulary,
    visible: impl Fn(Place, &Doc) -> bool,
) -> Vec<Place> {
    let weights = length_weights(vocabulary.average_length());
    let reader = Reader {
        segments,
        weights: &weights,
        visible,
    };
    let mut found = reader.best(&affordable(lexical(query, vocabulary), vocabulary.documents), COMPARED);
    found.extend(reader.best(
        &affordable(by_sound(query, vocabulary), vocabulary.documents),
        COMPARED_BY_SOUND,
    ));
    found.sort_unstable();
    found.dedup();
    found
}

/// By units of a document: its weight, in 1/1024.
fn length_weights(average: f64) -> [u32; 256] {
    std::array::from_fn(|length| (length_weight(length, average) * 1024.0).round() as u32)
}

fn lexical(query: &Analysis, vocabulary: &Vocabulary) -> Vec<Wanted> {
    let rarity = vocabulary.rarity();
    let mut wanted = Vec::with_capacity(query.words.len() + 2 * query.units.len());
    for word in &query.words {
        wanted.extend(want(&vocabulary.words, rarity, (0, word.0), |fields| &fields.words));
    }
    for pair in query.units.windows(2) {
        let key = (1, Bigram::new(pair[0], pair[1]).0);
        wanted.extend(want(&vocabulary.bigrams, rarity, key, |fields| &fields.bigrams).map(Wanted::halved));
    }
    for unit in &query.units {
        wanted.extend(want(&vocabulary.units, rarity, (2, unit.0), |fields| &fields.units));
    }
    wanted
}

/// What sounds like the pairs of neighbours that the bank does not have.
fn by_sound(query: &Analysis, vocabulary: &Vocabulary) -> Vec<Wanted> {
    let rarity = vocabulary.rarity();
    let pairs = query.units.windows(2).map(|pair| Bigram::new(pair[0], pair[1]).0);
    let is_known: Vec<bool> = pairs.map(|pair| vocabulary.bigrams.doc_freq_of(pair) > 0).collect();
    if is_known.iter().all(|known| *known) {
        return Vec::new();
    }
    let places = sounding(query, vocabulary);
    let mut wanted = Vec::new();
    for (at, pair) in places.windows(2).enumerate() {
        // Typed pinyin has more places than units: then all of it is looked up.
        if places.len() == query.units.len() && is_known.get(at).is_some_and(|known| *known) {
            continue;
        }
        for first in &pair[0] {
            for second in &pair[1] {
                let key = (3, SoundBigram::new(*first, *second).0);
                wanted.extend(want(&vocabulary.sounds, rarity, key, |fields| &fields.sounds));
            }
        }
    }
    wanted
}

/// `None` when no document has the term.
fn want(terms: &Terms, rarity: Rarity, key: (u8, u32), field: fn(&Fields<Lists>) -> &Lists) -> Option<Wanted> {
    let number = terms.number(key.1)?;
    let doc_freq = terms.doc_freq(number);
    (doc_freq > 0).then(|| Wanted {
        field,
        number,
        doc_freq,
        points: rarity.idf(doc_freq).max(2),
        key,
    })
}

impl Wanted {
    fn halved(self) -> Self {
        Self {
            points: self.points / 2,
            ..self
        }
    }
}

/// The rarest of `wanted`, each once, as many as may be read in a bank of so many documents.
fn affordable(mut wanted: Vec<Wanted>, documents: u32) -> Vec<Wanted> {
    wanted.sort_unstable_by_key(|term| (term.doc_freq, term.key));
    wanted.dedup_by_key(|term| term.key);
    let allowed = READ.max(documents / READ_SHARE);
    let mut read = 0_u32;
    let mut rank = 0;
    wanted.retain(|term| {
        read = read.saturating_add(term.doc_freq);
        rank += 1;
        rank <= ALWAYS_READ || read <= allowed
    });
    wanted
}

/// What reading lists needs.
struct Reader<'a, V> {
    segments: &'a [&'a Segment],
    weights: &'a [u32; 256],
    visible: V,
}

impl<V: Fn(Place, &Doc) -> bool> Reader<'_, V> {
    /// The at most `count` visible documents with the most weighted points, unordered.
    fn best(&self, wanted: &[Wanted], count: usize) -> Vec<Place> {
        if wanted.is_empty() {
            return Vec::new();
        }
        let mut best = Best::with_capacity(count + 1);
        let mut points = [0; BLOCK];
        for (number, segment) in self.segments.iter().enumerate() {
            let lists = wanted
                .iter()
                .map(|term| ((term.field)(&segment.fields).docs(term.number), term.points));
            let mut lists: Vec<(&[u32], u32)> = lists.filter(|(docs, _)| !docs.is_empty()).collect();
            while let Some(first) = lists.iter().map(|(docs, _)| docs[0]).min() {
                let start = first - first % BLOCK as u32;
                let touched = add_block(&mut lists, start, &mut points);
                self.keep(number as u32, start, &touched, &mut points, count, &mut best);
            }
        }
        best.into_iter().map(|Reverse((_, _, place))| place).collect()
    }

    /// Moves the points of one block into `best`.
    fn keep(&self, number: u32, start: u32, touched: &[u16], points: &mut [u32; BLOCK], count: usize, best: &mut Best) {
        let segment = self.segments[number as usize];
        for &at in touched {
            let doc = start + u32::from(at);
            let sum = std::mem::take(&mut points[usize::from(at)]);
            let weight = self.weights[usize::from(segment.lengths[doc as usize])];
            let weighted = u64::from(sum) * u64::from(weight);
            let worst = best.peek().map_or(0, |Reverse((weighted, ..))| *weighted);
            if best.len() == count && weighted < worst {
                continue;
            }
            let place = Place { segment: number, doc };
            let found = segment.doc(doc);
            if (self.visible)(place, found) {
                best.push(Reverse((weighted, Reverse(found.tie), place)));
                if best.len() > count {
                    best.pop();
                }
            }
        }
    }
}

/// Adds what the lists have of the documents from `start`, takes it off them, and returns which documents got points.
/// Lists that are read to their end are dropped.
fn add_block(lists: &mut Vec<(&[u32], u32)>, start: u32, points: &mut [u32; BLOCK]) -> Vec<u16> {
    let end = start.saturating_add(BLOCK as u32);
    let mut touched = Vec::new();
    for (docs, gained) in &mut *lists {
        let mut read = 0;
        for doc in docs.iter().take_while(|doc| **doc < end) {
            let at = (doc - start) as usize;
            if points[at] == 0 {
                touched.push(at as u16);
            }
            points[at] += *gained;
            read += 1;
        }
        *docs = &docs[read..];
    }
    lists.retain(|(docs, _)| !docs.is_empty());
    touched
}
