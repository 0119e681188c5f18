//! Candidates: the phrasings worth comparing with a query in full.
//!
//! [`gather`] is the entry point. It reads the inverted lists of the query's words, pairs of neighbours and characters,
//! the rarest first, until enough has been read, and keeps the phrasings with the most rarity in common, the shorter ones
//! before the longer. Where the bank does not have a pair of neighbours it reads what sounds like it. Which lists are
//! read depends on the whole bank's counts only, so the same bank gives the same candidates whatever its history.

use super::segment::{Field, Segment};
use super::sounding::Sounding;
use super::tokenizer::{Analysis, Bigram, SoundBigram};
use super::vocabulary::{Known, Rarity, Recognised, Scales, Vocabulary};
use std::cell::RefCell;

/// Phrasings compared in full because of the words and characters they share with the query.
const COMPARED: usize = 32;
/// Phrasings compared in full because they sound like the query.
const COMPARED_BY_SOUND: usize = 6;
/// Documents read for one query at least; large banks allow a share of their documents.
const READ: u32 = 2_048;
const READ_SHARE: u32 = 256;
/// Of what sounds like the query so many times fewer are read: there are few of them to compare, and pairs that the bank
/// does not have sound like rare ones.
const FEWER_BY_SOUND: u32 = 4;
/// Room for what is added to the places found by words and characters, mostly.
const MOST_BESIDE: usize = COMPARED_BY_SOUND + 2;
/// Phrasings with less than so many hundredths of the best one's points are not compared.
const NEAR: u64 = 30;
/// Lists that are read however long they are.
const ALWAYS_READ: usize = 2;
/// Documents whose points are added up at a time: they fit into a near cache.
const BLOCK: usize = 32_768;

/// Points of one document: small, because there are many.
type Points = u16;

/// A document of one of the segments, by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "said above")]
pub struct Place {
    pub segment: u32,
    pub doc: u32,
}

/// A list to read.
struct Wanted {
    number: u32,
    doc_freq: u32,
    /// What a document gets for holding the term.
    points: u32,
    /// The term itself: tells equally rare ones apart, the same in every history.
    term: (Field, u32),
}

/// The documents of `segments` worth comparing with `query`, in no order, some twice; `visible` tells which may be found.
pub fn gather(
    query: &Analysis,
    known: &Recognised,
    sounding: &Sounding,
    segments: &[&Segment],
    (vocabulary, scales): (&Vocabulary, &Scales),
    visible: impl Fn(Place) -> bool,
) -> Vec<Place> {
    let rarity = scales.rarity;
    let reader = Reader {
        segments,
        weights: &scales.lengths,
        visible,
    };
    let allowed = READ.max(vocabulary.documents / READ_SHARE);
    let mut found = reader.best(&affordable(lexical(query, known, rarity), allowed), COMPARED);
    let by_sound = affordable(by_sound(known, sounding, vocabulary, rarity), allowed / FEWER_BY_SOUND);
    found.extend(reader.best(&by_sound, COMPARED_BY_SOUND));
    found
}

fn lexical(query: &Analysis, known: &Recognised, rarity: Rarity) -> Vec<Wanted> {
    let mut wanted = Vec::with_capacity(query.words.len() + 2 * query.units.len());
    for (word, known) in query.words.iter().zip(&known.words) {
        wanted.extend(want(*known, rarity, (Field::Words, word.0)));
    }
    for (pair, known) in query.units.windows(2).zip(&known.bigrams) {
        let pair = (Field::Bigrams, Bigram::new(pair[0], pair[1]).0);
        wanted.extend(want(*known, rarity, pair).map(Wanted::halved));
    }
    for (unit, known) in query.units.iter().zip(&known.units) {
        wanted.extend(want(*known, rarity, (Field::Units, unit.0)));
    }
    wanted
}

/// What sounds like the pairs of neighbours that the bank does not have.
fn by_sound(known: &Recognised, sounding: &Sounding, vocabulary: &Vocabulary, rarity: Rarity) -> Vec<Wanted> {
    let is_held = |pair: usize| known.bigrams.get(pair).is_some_and(|pair| pair.doc_freq() > 0);
    if (0..known.bigrams.len()).all(is_held) {
        return Vec::new();
    }
    let mut wanted = Vec::new();
    for at in 1..sounding.len() {
        // Typed pinyin has more places than units: then all of it is looked up.
        if sounding.len() == known.units.len() && is_held(at - 1) {
            continue;
        }
        for first in sounding.at(at - 1) {
            for second in sounding.at(at) {
                let pair = SoundBigram::new(*first, *second).0;
                wanted.extend(want(vocabulary.sounds.known(pair), rarity, (Field::Sounds, pair)));
            }
        }
    }
    wanted
}

/// `None` when no document has the term.
fn want(known: Known, rarity: Rarity, term: (Field, u32)) -> Option<Wanted> {
    (known.doc_freq() > 0).then(|| Wanted {
        number: known.number,
        doc_freq: known.doc_freq(),
        points: rarity.of(known.frequency).max(2),
        term,
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

/// The rarest of `wanted`, each once, as many as hold the `allowed` documents.
fn affordable(mut wanted: Vec<Wanted>, allowed: u32) -> Vec<Wanted> {
    wanted.sort_unstable_by_key(|wanted| (wanted.doc_freq, wanted.term));
    wanted.dedup_by_key(|wanted| wanted.term);
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

/// A list that is being read.
struct Reading<'a> {
    /// What is left of it.
    rest: &'a [u32],
    /// How much of that lies in the block at hand.
    here: usize,
    /// What a document gets for being in it.
    points: Points,
}

impl<V: Fn(Place) -> bool> Reader<'_, V> {
    /// The at most `count` visible documents with the most weighted points, unordered.
    fn best(&self, wanted: &[Wanted], count: usize) -> Vec<Place> {
        if wanted.is_empty() {
            return Vec::new();
        }
        // The shortest documents weigh most.
        let mut best = Best::new(count, self.weights[0], |place: Place| {
            self.segments[place.segment as usize].ties[place.doc as usize]
        });
        // As fine as the sum of all leaves room for. A term may be left without a point where it is worth less than a 2^16th of
        // the query: no document is found by such a term alone.
        let all: u64 = wanted.iter().map(|wanted| u64::from(wanted.points)).sum();
        let coarse = (u64::BITS - all.leading_zeros()).saturating_sub(Points::BITS);
        BLOCKS.with_borrow_mut(|block| {
            if std::mem::replace(&mut block.in_use, true) {
                block.points.fill(0);
            }
            for (number, segment) in self.segments.iter().enumerate() {
                let lists: Vec<_> = wanted
                    .iter()
                    .map(|wanted| (segment.found_by(wanted.term.0, wanted.number), wanted.points))
                    .collect();
                let mut lists: Vec<_> = lists
                    .iter()
                    .map(|(docs, points)| Reading {
                        rest: docs,
                        here: 0,
                        points: (points >> coarse) as Points,
                    })
                    .collect();
                lists.retain(|list| !list.rest.is_empty());
                while let Some(first) = lists.iter().map(|list| list.rest[0]).min() {
                    let start = first - first % BLOCK as u32;
                    block.add(&mut lists, start);
                    self.keep(number as u32, &mut lists, block, &mut best);
                    lists.retain(|list| !list.rest.is_empty());
                }
            }
            block.in_use = false;
        });
        best.places()
    }

    /// Moves the points that `lists` gave to the documents of a block into `best`, and goes on in the lists.
    fn keep(&self, number: u32, lists: &mut [Reading<'_>], block: &mut Block, best: &mut Best<impl Fn(Place) -> u32>) {
        let segment = self.segments[number as usize];
        // The most that a document has which is in none of the lists before.
        let mut most: Points = lists.iter().map(|list| list.points).sum();
        for list in lists {
            let (here, rest) = list.rest.split_at(list.here);
            list.rest = rest;
            if most < best.enough {
                block.clear(here);
                continue;
            }
            most -= list.points;
            for &doc in here {
                // A document that is in several lists is dealt with when it comes first.
                let sum = std::mem::take(block.of(doc));
                // Most have little: what there is need not be weighed to see that.
                if sum < best.enough {
                    continue;
                }
                let weighted = u64::from(sum) * u64::from(self.weights[usize::from(segment.lengths[doc as usize])]);
                let place = Place { segment: number, doc };
                if weighted >= best.least && (self.visible)(place) {
                    best.offer(weighted, place);
                }
            }
        }
    }
}

thread_local! {
    /// Zeroing one for every query would cost more than reading the lists of most.
    static BLOCKS: RefCell<Block> = RefCell::new(Block {
        points: zeros(),
        in_use: false,
    });
}

/// The points of some documents that stand side by side.
struct Block {
    /// All zero between uses.
    points: Box<[Points; BLOCK]>,
    /// Also when a panic has ended the last use: then the points are anything.
    in_use: bool,
}

impl Block {
    /// The points of a document; blocks begin at multiples of their size.
    #[inline]
    fn of(&mut self, doc: u32) -> &mut Points {
        &mut self.points[doc as usize % BLOCK]
    }

    /// Adds what the lists have of the documents from `start`, and notes in them how much that is.
    fn add(&mut self, lists: &mut [Reading<'_>], start: u32) {
        let end = start.saturating_add(BLOCK as u32);
        for list in lists {
            list.here = before(list.rest, end);
            for doc in &list.rest[..list.here] {
                *self.of(*doc) += list.points;
            }
        }
    }

    /// Forgets the points of these documents.
    fn clear(&mut self, docs: &[u32]) {
        for doc in docs {
            *self.of(*doc) = 0;
        }
    }
}

/// On the heap from the beginning: an array of this size would not do the stack good.
fn zeros() -> Box<[Points; BLOCK]> {
    vec![0; BLOCK].try_into().expect("it has just been made so long")
}

/// How many of `docs`, which ascend, lie before `end`; quick when they are few.
fn before(docs: &[u32], end: u32) -> usize {
    let mut size = 32;
    while docs.get(size).is_some_and(|doc| *doc < end) {
        size *= 2;
    }
    let from = if size > 32 { size / 2 } else { 0 };
    let near = &docs[from..docs.len().min(size)];
    from + near.partition_point(|doc| *doc < end)
}

/// The best documents so far, by weighted points, then by tie. Ties are looked up only where they decide: the memory is
/// far.
struct Best<T> {
    count: usize,
    /// The heaviest weight.
    heaviest: u32,
    tie: T,
    /// At most twice as many as wanted.
    found: Vec<(u64, Place)>,
    most: u64,
    /// Less than this need not be offered.
    least: u64,
    /// Fewer points than this are less than `least` with every weight; at least one.
    enough: Points,
}

impl<T: Fn(Place) -> u32> Best<T> {
    fn new(count: usize, heaviest: u32, tie: T) -> Self {
        Self {
            count,
            heaviest: heaviest.max(1),
            tie,
            found: Vec::with_capacity(2 * count),
            most: 0,
            least: 0,
            enough: 1,
        }
    }

    fn offer(&mut self, weighted: u64, place: Place) {
        if weighted > self.most {
            self.most = weighted;
            self.demand(weighted / 100 * NEAR);
        }
        self.found.push((weighted, place));
        if self.found.len() == 2 * self.count {
            self.cut();
        }
    }

    fn demand(&mut self, weighted: u64) {
        if weighted > self.least {
            self.least = weighted;
            self.enough = self
                .least
                .div_ceil(self.heaviest.into())
                .try_into()
                .unwrap_or(Points::MAX);
        }
    }

    fn cut(&mut self) {
        if self.found.len() > self.count {
            let tie = &self.tie;
            let better = |a: &(u64, Place), b: &(u64, Place)| b.0.cmp(&a.0).then_with(|| tie(a.1).cmp(&tie(b.1)));
            let (_, last, _) = self.found.select_nth_unstable_by(self.count - 1, better);
            let last = last.0;
            self.demand(last);
            self.found.truncate(self.count);
        }
    }

    fn places(mut self) -> Vec<Place> {
        self.cut();
        let mut places = Vec::with_capacity(self.found.len() + MOST_BESIDE);
        let near = self.found.iter().filter(|(weighted, _)| *weighted >= self.least);
        places.extend(near.map(|(_, place)| place));
        places
    }
}
