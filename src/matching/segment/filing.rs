//! Filing: giving a segment's terms their numbers, and making its inverted lists and orders.
//!
//! [`Segment::file`] is the entry point; the documents are in place by then. Of a large bank two cores work at it side by
//! side: what one of them changes the other does not read.

use super::by_hash::ByHash;
use super::{Item, Segment};
use crate::matching::drafts::{Drafts, Term};
use crate::matching::postings::{Lists, PackedLists};
use crate::matching::spelling::Lexicon;
use crate::matching::tokenizer::{Bigram, SoundBigram, Unit, Word};
use crate::matching::vocabulary::{KnownUnit, Terms, Vocabulary};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::panic::resume_unwind;

/// With fewer documents a second core does not pay.
const SMALL: usize = 4_096;

/// How two parts of the work are done.
#[derive(Clone, Copy)]
pub(super) enum Pace {
    OneByOne,
    /// On two cores.
    AtOnce,
}

impl Pace {
    /// For a segment of so many documents that is waited for.
    pub(super) fn of(documents: usize) -> Self {
        match documents {
            ..SMALL => Self::OneByOne,
            _ => Self::AtOnce,
        }
    }

    fn both<A, B: Send>(self, first: impl FnOnce() -> A, second: impl FnOnce() -> B + Send) -> (A, B) {
        match self {
            Self::OneByOne => (first(), second()),
            Self::AtOnce => std::thread::scope(|scope| {
                let second = scope.spawn(second);
                let first = first();
                (first, second.join().unwrap_or_else(|panic| resume_unwind(panic)))
            }),
        }
    }
}

/// Of each field how many documents hold each term.
pub(super) struct Frequencies {
    words: Vec<(u32, u32)>,
    units: Vec<(u32, u32)>,
    bigrams: Vec<(u32, u32)>,
    sounds: Vec<(u32, u32)>,
}

impl Frequencies {
    pub(super) fn count_in(&self, vocabulary: &mut Vocabulary) {
        vocabulary.words.count_all(&self.words);
        vocabulary.units.count_all(&self.units);
        vocabulary.bigrams.count_all(&self.bigrams);
        vocabulary.sounds.count_all(&self.sounds);
    }
}

impl Segment {
    /// Makes the inverted lists and the orders.
    pub(super) fn file(&mut self, vocabulary: &mut Vocabulary, pace: Pace) -> Frequencies {
        let own = &*self;
        let known = &vocabulary.units;
        let (words, units) = (vocabulary.words.numbers(), vocabulary.units.numbers());
        let (bigrams, sounds) = (&mut vocabulary.bigrams, &mut vocabulary.sounds);
        let rows = || (0..own.docs.len() as u32).map(|at| own.row(at));
        let firsts = || rows().map(|row| &row.units[..row.units.len().min(1)]);
        let ((bigrams, words, by_normalized), (sounds, packed, units, firsts, by_category)) = pace.both(
            || {
                let pair = |[first, second]: [KnownUnit; 2]| std::iter::once(Bigram::new(first.unit, second.unit).0);
                let bigrams = own.lists_of_pairs(known, bigrams, pair);
                let words = Lists::build(rows().map(|row| row.words), words);
                (bigrams, words, ByHash::of(&own.normalized))
            },
            || {
                let pair = |[first, second]: [KnownUnit; 2]| {
                    SoundBigram::of(first.readings.all(), second.readings.all()).map(|sound| sound.0)
                };
                let sounds = own.lists_of_pairs(known, sounds, pair);
                let packed = PackedLists::pack(&sounds);
                let firsts = Lists::build(firsts(), units);
                let units = Lists::build(rows().map(|row| row.units), units);
                (
                    sounds.frequencies(),
                    packed,
                    units,
                    firsts,
                    own.in_order_of_categories(),
                )
            },
        );
        let frequencies = Frequencies {
            words: words.frequencies(),
            units: units.frequencies(),
            bigrams: bigrams.frequencies(),
            sounds,
        };
        (self.words, self.units, self.bigrams, self.sounds) = (words, units, bigrams, packed);
        (self.firsts, self.by_normalized, self.by_category) = (firsts, by_normalized, by_category);
        frequencies
    }

    /// Lists by what `pair` makes of two neighbouring units, which `terms` numbers.
    fn lists_of_pairs<I: Iterator<Item = u32>>(
        &self,
        units: &Terms<KnownUnit>,
        terms: &mut Terms,
        pair: impl Fn([KnownUnit; 2]) -> I,
    ) -> Lists {
        let (mut numbers, mut ends) = (Vec::with_capacity(self.rows.len() / 2), Vec::new());
        for at in 0..self.docs.len() as u32 {
            for neighbours in self.row(at).units.windows(2) {
                let pair = pair([units.get(neighbours[0]).more, units.get(neighbours[1]).more]);
                numbers.extend(pair.map(|term| terms.number_or_new(term)));
            }
            ends.push(numbers.len());
        }
        Lists::build(pieces(&numbers, &ends), terms.numbers())
    }

    /// Of one category the highest priority first, then by id.
    fn in_order_of_categories(&self) -> Vec<u32> {
        // There are few names, and they are far away in memory: each is compared once.
        let names = self.items.iter().map(|item| (item.entry.category.as_str(), 0));
        let mut ranks: FxHashMap<&str, u32> = names.collect();
        let mut names: Vec<&str> = ranks.keys().copied().collect();
        names.sort_unstable();
        ranks.extend(names.into_iter().zip(0..));
        let place = |(at, item): (u32, &Item)| (ranks[item.entry.category.as_str()], Reverse(item.priority), at);
        let mut items: Vec<_> = (0..).zip(&self.items).map(place).collect();
        items.sort_unstable();
        items.into_iter().map(|(_, _, at)| at).collect()
    }
}

/// The bank's number of each unit of the drafts; `lexicon` takes in those that are new in the bank.
pub(super) fn number_units(drafts: &Drafts, vocabulary: &mut Vocabulary, lexicon: &mut Lexicon) -> Vec<u32> {
    let number = |unit: &Term<Unit>| {
        let known = vocabulary.units.numbers();
        let number = vocabulary.unit_or_new(unit.key);
        if number as usize >= known {
            lexicon.learn_char(unit.key, number);
            if !unit.spelling.is_empty() {
                lexicon.learn_run(&unit.spelling, number);
            }
        }
        number
    };
    drafts.units.terms.iter().map(number).collect()
}

/// The same for words; the entries whose answers hold them are counted.
pub(super) fn number_words(drafts: &Drafts, vocabulary: &mut Vocabulary, lexicon: &mut Lexicon) -> Vec<u32> {
    let number = |word: &Term<Word>| {
        let number = vocabulary.words.number_or_new(word.key.0);
        if !word.spelling.is_empty() {
            lexicon.learn(&word.spelling, number);
        }
        if word.answers > 0 {
            *vocabulary.words.more_mut(number) += word.answers;
        }
        number
    };
    drafts.words.terms.iter().map(number).collect()
}

/// One slice of `terms` for each of `ends`.
fn pieces<'a>(terms: &'a [u32], ends: &'a [usize]) -> impl Iterator<Item = &'a [u32]> + Clone {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, end)| &terms[start..*end])
}
