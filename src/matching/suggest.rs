//! Suggestions while typing: entries whose wording begins with what is typed so far, or holds it.
//!
//! [`Index::suggest`] is the entry point. A `Pattern` is made of what is typed; the phrasings that hold its rarest place
//! are read, each is compared with it, and the best are kept. Nothing is kept for it beside the index. [`Index::hottest`]
//! is what to offer before anything is typed.

mod pattern;

use super::index::Part;
use super::popularity::Popularity;
use super::segment::{Segment, phrasing_text};
use super::{Analyzer, Index, Scope, text};
use crate::bank::{Entry, EntryId};
use pattern::{Bank, Holding, Pattern};
use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

/// Readings of one typed text, and ways to go on that are looked at for them.
const MOST_READINGS: usize = 6;
const MOST_COMPLETED: usize = 12;
/// Longest end of the text that is taken for the beginning of a wording, in characters.
const HALF_TYPED: usize = 8;

/// An entry to offer.
#[derive(Debug, Clone)]
pub struct Suggestion {
    #[expect(missing_docs, reason = "the type says it")]
    pub entry: Arc<Entry>,
    /// The phrasing that matched best: 0 is the question, n the n-th similar question.
    pub phrasing: u16,
}

impl Suggestion {
    /// The wording that matched.
    pub fn matched(&self) -> &str {
        phrasing_text(&self.entry, self.phrasing)
    }
}

/// What decides the order of suggestions, better is less; equal ones are ordered by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    is_infix: bool,
    asked: Reverse<u32>,
    priority: Reverse<i8>,
    length: u8,
}

impl Index {
    /// At most `k` entries in `scope` that `typed` may become: wordings that begin with it before those that hold it,
    /// then the most asked first, by priority, the shorter first, by id. Each entry once, by its best phrasing. Empty
    /// for what nothing in the bank begins with or holds.
    pub fn suggest(&self, typed: &str, scope: Scope<'_>, popularity: &Popularity, k: usize) -> Vec<Suggestion> {
        let mut best = Best::new(self.parts(), scope, popularity, k);
        let bank = Bank {
            lexicon: self.lexicon(),
            vocabulary: self.vocabulary(),
        };
        let patterns = readings(typed, self.analyzer()).into_iter();
        let patterns: Vec<Pattern> = patterns.filter_map(|reading| Pattern::new(&reading, bank)).collect();
        let parts = || self.parts().iter().enumerate();
        let narrowed = patterns.iter().flat_map(|pattern| {
            parts().map(move |(number, part)| (number, pattern, common(&part.segment, &pattern.holding)))
        });
        let narrowed: Vec<(usize, &Pattern, Option<Vec<u64>>)> = narrowed.collect();
        for (number, pattern, common) in &narrowed {
            best.read_beginnings(*number, pattern, common.as_deref());
        }
        for (number, pattern, common) in &narrowed {
            best.read_within(*number, pattern, common.as_deref());
        }
        best.into_suggestions()
    }

    /// At most `k` entries in `scope` that `wanted` lets through: the most asked first, the others by priority and id.
    /// Takes time proportional to the bank where fewer than `k` were asked for.
    pub fn hottest(
        &self,
        scope: Scope<'_>,
        popularity: &Popularity,
        k: usize,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Vec<Arc<Entry>> {
        let asked = popularity
            .in_order()
            .into_iter()
            .filter_map(|id| self.entry(id.as_str()));
        let seen = asked.filter(|entry| scope.admits(entry) && wanted(entry));
        let mut hottest: Vec<Arc<Entry>> = seen.take(k).cloned().collect();
        if hottest.len() < k {
            let mut best = Best::new(self.parts(), scope, popularity, k);
            for (number, part) in self.parts().iter().enumerate() {
                for item in 0..part.segment.entries() as u32 {
                    let doc = part.segment.docs_of(item).start;
                    let unasked = Standing {
                        length: 0,
                        asked: Reverse(0),
                        ..best.standing((number, doc))
                    };
                    let entry = &part.segment.item(item).entry;
                    if best.has_room_for(unasked, (number, doc)) && popularity.count(&entry.id) == 0 && wanted(entry) {
                        best.offer(unasked, (number, doc));
                    }
                }
            }
            let others = best.into_suggestions().into_iter().map(|suggestion| suggestion.entry);
            let missing = k - hottest.len();
            hottest.extend(others.take(missing));
        }
        hottest
    }
}

/// The ways in which the bank may spell what is typed, the plain one first; rows of the bank are normalised texts with
/// synonyms in place, and what is half typed may normalise to something else than what it becomes.
fn readings(typed: &str, analyzer: &Analyzer) -> Vec<String> {
    let plain = text::plain(typed);
    let mut readings = Vec::from_iter((!plain.is_empty()).then(|| plain.clone()));
    let mut add = |reading: String| {
        // What begins with a longer one begins with the shorter one.
        let is_covered = readings.iter().any(|known| reading.starts_with(known.as_str()));
        if !reading.is_empty() && readings.len() < MOST_READINGS && !is_covered {
            readings.push(reading);
        }
    };
    if !text::may_become_opening(&plain) {
        add(analyzer.rewrite(&analyzer.normalize(typed)));
    }
    let starts: Vec<usize> = plain.char_indices().map(|(at, _)| at).collect();
    let ends = starts[starts.len().saturating_sub(HALF_TYPED)..].iter();
    let completed = ends.flat_map(|start| {
        let (before, end) = plain.split_at(*start);
        let wordings = text::wordings_beginning(end);
        // One character begins too many words.
        let is_word = end.chars().nth(1).is_some();
        let synonyms = is_word.then(|| analyzer.synonyms_beginning(end));
        let synonyms = synonyms.into_iter().flatten().map(|whole| format!("{before}{whole}"));
        wordings
            .map(|whole| format!("{before}{whole}"))
            .chain(synonyms)
            .collect::<Vec<_>>()
    });
    for whole in completed.take(MOST_COMPLETED) {
        add(analyzer.rewrite(&analyzer.normalize(&whole)));
    }
    readings
}

/// The documents of a segment that are in each of the sets of lists, a bit each; `None` where that may be all.
fn common(segment: &Segment, sets: &[Holding]) -> Option<Vec<u64>> {
    let marked = |set: &Holding| {
        let mut marked = vec![0_u64; segment.documents().div_ceil(64)];
        for (field, number) in &set.lists {
            for doc in &*segment.found_by(*field, *number) {
                marked[*doc as usize / 64] |= 1 << (doc % 64);
            }
        }
        marked
    };
    // A set that is as long as the segment tells nothing apart.
    let sets = sets.iter().take_while(|set| set.documents < segment.documents());
    sets.map(marked).reduce(|mut common, set| {
        for (common, set) in common.iter_mut().zip(set) {
            *common &= set;
        }
        common
    })
}

/// A phrasing: number of its segment, document.
type Place = (usize, u32);

/// The best so far.
struct Best<'a> {
    parts: &'a [Part],
    scope: Scope<'a>,
    popularity: &'a Popularity,
    k: usize,
    /// In order, at most `k`, each entry once.
    kept: Vec<(Standing, Place)>,
}

impl<'a> Best<'a> {
    fn new(parts: &'a [Part], scope: Scope<'a>, popularity: &'a Popularity, k: usize) -> Self {
        Self {
            parts,
            scope,
            popularity,
            k,
            kept: Vec::with_capacity(k + 1),
        }
    }

    /// Offers every phrasing of a segment that begins with what is typed and may be among the best; `common` has a bit
    /// for each document that may match, `None`: all may.
    fn read_beginnings(&mut self, number: usize, pattern: &Pattern, common: Option<&[u64]>) {
        let segment = Arc::clone(&self.parts[number].segment);
        let may_match = |doc: u32| common.is_none_or(|common| common[doc as usize / 64] >> (doc % 64) & 1 == 1);
        for &doc in pattern.firsts.iter().flat_map(|unit| segment.firsts.docs(*unit)) {
            let place = (number, doc);
            if may_match(doc) && !self.is_behind(place, false) && pattern.begins(segment.units(doc)) {
                self.offer(self.standing(place), place);
            }
        }
    }

    /// Offers every phrasing of a segment that holds what is typed and may be among the best; `common` as above.
    fn read_within(&mut self, number: usize, pattern: &Pattern, common: Option<&[u64]>) {
        if self.worst().is_some_and(|worst| !worst.is_infix) {
            return;
        }
        let segment = Arc::clone(&self.parts[number].segment);
        let Some(common) = common else {
            for doc in 0..segment.documents() as u32 {
                self.compare((number, doc), pattern, &segment);
            }
            return;
        };
        for (at, bits) in (0..).step_by(64).zip(common) {
            let mut bits = *bits;
            while bits != 0 {
                self.compare((number, at + bits.trailing_zeros()), pattern, &segment);
                bits &= bits - 1;
            }
        }
    }

    fn compare(&mut self, place: Place, pattern: &Pattern, segment: &Segment) {
        // The entry is far away in memory: it is looked at last.
        if !self.is_behind(place, true) && pattern.is_within(segment.units(place.1)) {
            let standing = Standing {
                is_infix: true,
                ..self.standing(place)
            };
            self.offer(standing, place);
        }
    }

    /// The last of the best, once there are enough.
    fn worst(&self) -> Option<&Standing> {
        let is_full = self.kept.len() == self.k;
        self.kept.last().filter(|_| is_full).map(|(worst, _)| worst)
    }

    /// Whether it is clear, without a look at the entry, that a match of this kind is none of the best.
    fn is_behind(&self, (number, doc): Place, is_infix: bool) -> bool {
        let segment = &self.parts[number].segment;
        self.worst().is_some_and(|worst| {
            if is_infix != worst.is_infix {
                return is_infix;
            }
            let is_longer = segment.lengths[doc as usize] > worst.length;
            let is_outdone = is_longer && segment.top_priority <= worst.priority.0;
            match self.popularity.at_most(segment.id_hash(doc)).cmp(&worst.asked.0) {
                Ordering::Less => true,
                Ordering::Equal => is_outdone,
                Ordering::Greater => false,
            }
        })
    }

    /// As a match of the beginning.
    fn standing(&self, (number, doc): Place) -> Standing {
        let segment = &self.parts[number].segment;
        let item = segment.item(segment.doc(doc).item);
        let asked = match self.popularity.at_most(segment.id_hash(doc)) {
            0 => 0,
            _ => self.popularity.count(&item.entry.id),
        };
        Standing {
            is_infix: false,
            asked: Reverse(asked),
            priority: Reverse(item.priority),
            length: segment.lengths[doc as usize],
        }
    }

    /// Whether one that stands so would be among the best, if it matches and may be seen.
    fn has_room_for(&self, standing: Standing, place: Place) -> bool {
        if self.kept.len() < self.k {
            return true;
        }
        let Some((worst, last)) = self.kept.last() else {
            return false;
        };
        // Within a segment, entries stand in the order of ids.
        standing < *worst
            || standing == *worst && !(place.0 == last.0 && place.1 >= last.1) && self.id(place) < self.id(*last)
    }

    fn offer(&mut self, standing: Standing, place: Place) {
        if !self.has_room_for(standing, place) || !self.is_visible(place) {
            return;
        }
        let entry = self.item(place);
        if let Some(at) = self.kept.iter().position(|(_, other)| self.item(*other) == entry) {
            if self.kept[at].0 <= standing {
                return;
            }
            self.kept.remove(at);
        }
        let id = self.id(place);
        let before = |(other, at): &(Standing, Place)| (*other, self.id(*at)) < (standing, id);
        let at = self.kept.partition_point(before);
        self.kept.insert(at, (standing, place));
        self.kept.truncate(self.k);
    }

    fn is_visible(&self, place: Place) -> bool {
        let part = &self.parts[place.0];
        let is_open = part.segment.is_open(place.1) && self.scope.category.is_none();
        part.is_alive(place.1) && (is_open || self.scope.admits(self.entry(place)))
    }

    fn item(&self, (number, doc): Place) -> (usize, u32) {
        (number, self.parts[number].segment.doc(doc).item)
    }

    fn entry(&self, place: Place) -> &Arc<Entry> {
        let (number, item) = self.item(place);
        &self.parts[number].segment.item(item).entry
    }

    fn id(&self, place: Place) -> &EntryId {
        &self.entry(place).id
    }

    fn into_suggestions(self) -> Vec<Suggestion> {
        let suggestion = |(_, place): &(Standing, Place)| Suggestion {
            entry: Arc::clone(self.entry(*place)),
            phrasing: self.parts[place.0].segment.doc(place.1).phrasing,
        };
        self.kept.iter().map(suggestion).collect()
    }
}

#[cfg(test)]
mod tests;
