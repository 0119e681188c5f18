//! Features: how a query and one phrasing of the bank compare, in numbers.
//!
//! [`Query::compare`] is the entry point; what the features are worth is `ranking`'s business. Everything is computed
//! from the terms of the two sides and the bank's document frequencies, in whole idf steps, so the same pair gives the
//! same numbers whatever the edit history. One comparison is linear in the phrasing's length.

use super::pinyin::Syllable;
use super::segment::{AnswerWords, Row, Sieve};
use super::sounding::Sounding;
use super::tokenizer::{Analysis, Contrasted, Unit};
use super::vocabulary::{IDF_STEPS, Rarity, Terms, Vocabulary};

/// Units of a query that are compared; what follows counts for length only. The bits of a mask.
const POSITIONS: usize = 64;
/// From this share of the query on, in the phrasing, what the answer says counts in full; below in proportion. An answer
/// alone is poor evidence.
const ANSWER_HEEDED: f64 = 0.5;
/// The number of a term that the bank does not have.
const NOBODYS: u32 = u32::MAX;

/// The named features of one phrasing; each in 0–1 but `lead`.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Features {
    /// Share of the query's idf mass of units that the entry's compared phrasings have between them.
    pub query_units: f64,
    /// Share of the phrasing's idf mass of units that the query has.
    pub phrasing_units: f64,
    /// Cosine of idf-weighted units: the geometric mean of the two shares, before phrasings are joined.
    pub units: f64,
    /// Share of the phrasing's pairs of neighbouring units that the query has.
    pub pairs: f64,
    /// Common idf mass of words, twice, by the sum of both sides'.
    pub words: f64,
    /// Share of the query's idf mass of words that the phrasing has, a word that it has in part counting in part.
    pub parts: f64,
    /// Cosine of idf-weighted fuzzy syllables and pairs of them.
    pub sounds: f64,
    /// Longest common subsequence of syllables, twice, by the sum of the lengths.
    pub sound_sequence: f64,
    /// Shorter by longer length.
    pub length: f64,
    /// 1 when both have the same units in the same order.
    pub same: f64,
    /// Share of the query's idf mass of words that the answer has; less where the phrasing has little of the query.
    pub answer: f64,
    /// The same, of words that the phrasing lacks.
    pub answer_adds: f64,
    /// Numbers both sides hold and that differ.
    pub numbers_differ: f64,
    /// Latin words both sides hold and that differ.
    pub latin_differs: f64,
    /// 1 when one side holds Latin words and the other does not.
    pub latin_one_sided: f64,
    /// 1 when one side denies something (不, 没 …) and the other does not.
    pub negation_differs: f64,
    /// Contrast groups of which the sides name different members.
    pub contrast: f64,
    /// Share of the query's idf mass of words that the bank does not know.
    pub unknown: f64,
    /// One by the number of the query's units.
    pub brief: f64,
    /// Share of the query's characters that were read from pinyin or initials.
    pub read: f64,
    /// The best `query_units` of all candidates.
    pub found_query: f64,
    /// The best `phrasing_units` of all candidates.
    pub found_phrasing: f64,
    /// `ranking`'s likeness less the best other entry's; may be negative.
    pub lead: f64,
}

/// A query, prepared for comparison.
pub struct Query<'a> {
    vocabulary: &'a Vocabulary,
    rarity: Rarity,
    /// Rarity of what nobody has.
    rarest: u32,
    analysis: &'a Analysis,
    /// Numbers of its units and words; [`NOBODYS`] where the bank has none.
    units: Vec<u32>,
    words: Vec<u32>,
    /// Of both.
    units_sieve: Sieve,
    words_sieve: Sieve,
    unit_idf: Vec<u32>,
    word_idf: Vec<u32>,
    /// Those of its words that some answer has.
    answer_words: Vec<AnswerWord>,
    mass: Mass,
    /// Where numbers stand, and Latin words that the bank has: an unknown one may be pinyin or a typing error. As bits.
    numbers: u64,
    latin: u64,
    /// Where a syllable is heard, as bits, by syllable.
    sound_places: Box<[u64; Syllable::COUNT]>,
    /// By place of what is heard, squared.
    sounds: Vec<u64>,
    sound_pairs: Vec<u64>,
    /// Where in the query a word stands, as bits.
    word_places: Vec<u64>,
    denies: bool,
    unknown: f64,
    read: f64,
    unit_facts: Memo<UnitFacts>,
    word_facts: Memo<WordFacts>,
}

/// What a query has found out about terms; candidates share most of them. A term takes the place of another whose number
/// has the same last bits.
struct Memo<T> {
    slots: Box<[(u32, T)]>,
}

impl<T: Copy + Default> Memo<T> {
    const SLOTS: usize = 256;

    fn new() -> Self {
        Self {
            slots: vec![(NOBODYS, T::default()); Self::SLOTS].into(),
        }
    }

    fn get_or(&mut self, number: u32, find: impl FnOnce() -> T) -> T {
        let slot = &mut self.slots[number as usize % Self::SLOTS];
        if slot.0 != number {
            *slot = (number, find());
        }
        slot.1
    }
}

/// A unit of the bank, seen from the query.
#[derive(Clone, Copy, Default)]
struct UnitFacts {
    /// Where it stands in the query, as bits.
    places: u64,
    /// Where something that sounds like it is heard.
    sounding: u64,
    idf: u32,
    /// Rarity of its first syllable; `None` when it has none.
    sound: Option<u32>,
    is_number: bool,
    is_latin: bool,
}

/// A word of the bank, seen from the query.
#[derive(Clone, Copy, Default)]
struct WordFacts {
    /// As bits; 0: not in the query.
    place: u64,
    idf: u32,
}

/// A word of the query that some answer has.
struct AnswerWord {
    number: u32,
    /// As a bit.
    place: u64,
    /// Rarity among answers.
    idf: u32,
}

/// The query's own idf mass, by field.
#[derive(Default)]
struct Mass {
    units: u64,
    words: u64,
    answer: u64,
    /// Of squares.
    sounds: u64,
}

impl<'a> Query<'a> {
    /// `read` is the number of characters that respelling read from pinyin or initials.
    pub fn new(analysis: &'a Analysis, sounding: &Sounding, read: usize, vocabulary: &'a Vocabulary) -> Self {
        let rarity = vocabulary.rarity();
        let own = &analysis.units[..analysis.units.len().min(POSITIONS)];
        let (units, unit_freq): (Vec<u32>, Vec<u32>) = own.iter().map(|unit| known(&vocabulary.units, unit.0)).unzip();
        let (words, word_freq): (Vec<u32>, Vec<u32>) = analysis
            .words
            .iter()
            .map(|word| known(&vocabulary.words, word.0))
            .unzip();
        let rarest = rarity.idf(0);
        let word_idf: Vec<u32> = word_freq.iter().map(|freq| rarity.idf(*freq)).collect();
        let unseen = word_freq.iter().zip(&word_idf).filter(|(freq, _)| **freq == 0);
        let answers = Rarity::among(vocabulary.entries);
        let answer_freq: Vec<u32> = words.iter().map(|number| vocabulary.answer_freq.get(*number)).collect();
        let answer_idf = answer_freq.iter().map(|freq| u64::from(answers.idf(*freq)));
        let answer_words = (0..words.len()).filter(|at| answer_freq[*at] > 0).map(|at| AnswerWord {
            number: words[at],
            place: bit(at),
            idf: answers.idf(answer_freq[at]),
        });
        let mut sound_places = Box::new([0; Syllable::COUNT]);
        for (at, readings) in sounding.places().enumerate() {
            for syllable in readings {
                sound_places[syllable.index()] |= bit(at);
            }
        }
        let heard = |readings: &[Syllable]| readings.first().map(|first| vocabulary.sound_idf(rarity, *first));
        let heard: Vec<Option<u32>> = sounding.places().map(heard).collect();
        let places_of = |holds: &dyn Fn(usize) -> bool| {
            (0..own.len()).fold(0, |places, at| if holds(at) { places | bit(at) } else { places })
        };
        let mut query = Self {
            mass: Mass {
                answer: answer_idf.sum(),
                ..Mass::default()
            },
            numbers: places_of(&|at| own[at].is_number()),
            latin: places_of(&|at| own[at].is_latin() && unit_freq[at] > 0),
            unit_idf: unit_freq.iter().map(|freq| rarity.idf(*freq)).collect(),
            unknown: ratio(unseen.map(|(_, idf)| u64::from(*idf)).sum(), sum(&word_idf)),
            answer_words: answer_words.collect(),
            word_idf,
            sounds: heard.iter().map(|sound| square(sound.unwrap_or(0))).collect(),
            sound_pairs: (0..heard.len())
                .map(|at| sound_pair(at.checked_sub(1).and_then(|before| heard[before]), heard[at], rarest))
                .collect(),
            sound_places,
            word_places: word_places(analysis),
            denies: denies(own),
            read: (read as f64 / analysis.units.len().max(1) as f64).min(1.0),
            unit_facts: Memo::new(),
            word_facts: Memo::new(),
            units_sieve: units.iter().copied().collect(),
            words_sieve: words.iter().copied().collect(),
            units,
            words,
            analysis,
            vocabulary,
            rarity,
            rarest,
        };
        query.mass = Mass {
            units: sum(&query.unit_idf),
            words: sum(&query.word_idf),
            answer: query.mass.answer,
            sounds: query.sounds.iter().chain(&query.sound_pairs).sum(),
        };
        query
    }

    /// The features of one phrasing but those that depend on the other candidates.
    /// `covered` gathers, as bits, the query's units that the phrasings of one entry have; 0 before the first.
    pub fn compare(&mut self, phrasing: Row<'_>, answer: AnswerWords<'_>, covered: &mut u64) -> Features {
        let (length, own_length) = (phrasing.units.len(), self.analysis.units.len());
        let units = self.compare_units(phrasing.units);
        let words = self.compare_words(phrasing.words, units.matched_places);
        let answer = self.compare_answer(answer, words.places);
        *covered |= units.matched_places;
        let query_units = ratio(units.matched, self.mass.units);
        let phrasing_units = ratio(units.matched, units.mass);
        let heeded = (query_units / ANSWER_HEEDED).min(1.0);
        Features {
            query_units,
            phrasing_units,
            units: (query_units * phrasing_units).sqrt(),
            pairs: f64::from(units.pairs) / length.saturating_sub(1).max(1) as f64,
            words: ratio(2 * words.matched, self.mass.words + words.mass),
            parts: if self.mass.words > 0 {
                ratio(words.in_part, self.mass.words)
            } else {
                query_units
            },
            sounds: units.sounds,
            sound_sequence: 2.0 * f64::from(units.sound_sequence) / (self.sounds.len() + length).max(1) as f64,
            length: length.min(own_length) as f64 / length.max(own_length).max(1) as f64,
            same: flag(length == own_length && *phrasing.units == *self.units),
            answer: heeded * ratio(answer.matched, self.mass.answer),
            answer_adds: heeded * ratio(answer.adds, self.mass.answer),
            numbers_differ: differ(self.numbers, units.named, units.numbers),
            latin_differs: differ(self.latin, units.named, units.latin),
            latin_one_sided: flag((self.latin == 0) == (units.latin > 0)),
            negation_differs: flag(self.denies != phrasing.denies),
            contrast: contrast(&self.analysis.contrasts, phrasing.contrasts),
            unknown: self.unknown,
            brief: 1.0 / own_length.max(1) as f64,
            read: self.read,
            ..Features::default()
        }
    }

    /// The share of the query's idf mass of units at `covered`.
    pub fn coverage(&self, covered: u64) -> f64 {
        ratio(mass_at(covered, &self.unit_idf), self.mass.units)
    }

    fn facts_of_unit(&mut self, number: u32) -> UnitFacts {
        let Self {
            vocabulary,
            rarity,
            units,
            units_sieve,
            sound_places,
            unit_facts,
            ..
        } = self;
        unit_facts.get_or(number, || {
            let unit = vocabulary.unit(number);
            let readings = unit.readings();
            let heard = readings.iter().map(|reading| sound_places[reading.index()]);
            UnitFacts {
                places: places_of(units, *units_sieve, number),
                sounding: heard.fold(0, |places, more| places | more),
                idf: rarity.idf(vocabulary.units.doc_freq(number)),
                sound: readings.first().map(|first| vocabulary.sound_idf(*rarity, *first)),
                is_number: unit.is_number(),
                is_latin: unit.is_latin(),
            }
        })
    }

    fn compare_units(&mut self, phrasing: &[u32]) -> UnitOverlap {
        let mut overlap = UnitOverlap::default();
        let (mut matched, mut pairs, mut before) = (0_u64, 0_u64, 0_u64);
        let (mut heard, mut heard_pairs, mut heard_before) = (0_u64, 0_u64, 0_u64);
        let (mut sound_mass, mut sound_before) = (0_u64, None);
        // Bit-parallel longest common subsequence (Hyyrö 2004): as long as there are zero bits.
        let mut open = u64::MAX;
        for number in phrasing {
            let facts = self.facts_of_unit(*number);
            overlap.mass += u64::from(facts.idf);
            overlap.named |= facts.places;
            overlap.numbers += u32::from(facts.is_number);
            overlap.latin += u32::from(facts.is_latin);
            matched |= first_of(facts.places & !matched);
            pairs |= first_of((before << 1) & facts.places & !pairs);
            before = facts.places;
            heard |= first_of(facts.sounding & !heard);
            heard_pairs |= first_of((heard_before << 1) & facts.sounding & !heard_pairs);
            heard_before = facts.sounding;
            let taken = open & facts.sounding;
            open = open.wrapping_add(taken) | (open - taken);
            sound_mass += square(facts.sound.unwrap_or(0)) + sound_pair(sound_before, facts.sound, self.rarest);
            sound_before = facts.sound;
        }
        overlap.matched_places = matched;
        overlap.matched = mass_at(matched, &self.unit_idf);
        overlap.pairs = pairs.count_ones();
        overlap.sound_sequence = (!open).count_ones();
        let at = |bits: u64, squares: &[u64]| set_bits(bits).map(|at| squares[at]).sum::<u64>();
        let common = at(heard, &self.sounds) + at(heard_pairs, &self.sound_pairs);
        if common > 0 {
            // In natural-log units, so that the product stays far below what f64 holds.
            let natural = |mass: u64| mass as f64 / (IDF_STEPS * IDF_STEPS);
            overlap.sounds = (natural(common) / (natural(self.mass.sounds) * natural(sound_mass)).sqrt()).min(1.0);
        }
        overlap
    }

    fn facts_of_word(&mut self, number: u32) -> WordFacts {
        let Self {
            vocabulary,
            rarity,
            words,
            words_sieve,
            word_facts,
            ..
        } = self;
        word_facts.get_or(number, || WordFacts {
            place: places_of(words, *words_sieve, number),
            idf: rarity.idf(vocabulary.words.doc_freq(number)),
        })
    }

    /// `covered`: the query's units that the phrasing has.
    fn compare_words(&mut self, phrasing: &[u32], covered: u64) -> WordOverlap {
        let mut overlap = WordOverlap::default();
        for number in phrasing {
            let facts = self.facts_of_word(*number);
            overlap.mass += u64::from(facts.idf);
            overlap.matched += u64::from(if facts.place == 0 { 0 } else { facts.idf });
            overlap.places |= facts.place;
        }
        for (at, (places, idf)) in self.word_places.iter().zip(&self.word_idf).enumerate() {
            let part = places & covered;
            let counts = if overlap.places & bit(at) != 0 || (part == *places && part != 0) {
                *idf
            } else if part == 0 {
                0
            } else {
                idf * part.count_ones() / places.count_ones()
            };
            overlap.in_part += u64::from(counts);
        }
        overlap
    }

    /// `named`: the query's words that the phrasing has.
    fn compare_answer(&self, answer: AnswerWords<'_>, named: u64) -> AnswerOverlap {
        let mut overlap = AnswerOverlap::default();
        for word in &self.answer_words {
            if answer.hold(word.number) {
                overlap.matched += u64::from(word.idf);
                overlap.adds += u64::from(if named & word.place == 0 { word.idf } else { 0 });
            }
        }
        overlap
    }
}

impl Vocabulary {
    fn sound_idf(&self, rarity: Rarity, syllable: Syllable) -> u32 {
        rarity.idf(self.syllable_freq[syllable.index()])
    }
}

/// Squared rarity of two neighbouring sounds, as if each came by chance: counting every pair is dear, and what a pair adds
/// to its two sounds is order.
fn sound_pair(first: Option<u32>, second: Option<u32>, rarest: u32) -> u64 {
    let (Some(first), Some(second)) = (first, second) else {
        return 0;
    };
    square((first + second).min(rarest))
}

/// A term's number, or [`NOBODYS`], and how many documents hold it.
fn known(terms: &Terms, key: u32) -> (u32, u32) {
    let number = terms.number(key).unwrap_or(NOBODYS);
    (number, terms.doc_freq(number))
}

/// Where both sides have such runs: the share of the shorter list that the other lacks. `own`: where the query has such;
/// `named`: what of the query the phrasing has; `others`: how many such the phrasing has.
fn differ(own: u64, named: u64, others: u32) -> f64 {
    let fewer = own.count_ones().min(others);
    if fewer == 0 {
        return 0.0;
    }
    1.0 - (f64::from((own & named).count_ones()) / f64::from(fewer)).min(1.0)
}

#[derive(Default)]
struct UnitOverlap {
    /// The query's units that the phrasing has, each of the phrasing's for one; as bits.
    matched_places: u64,
    /// The same, each for all of its kind.
    named: u64,
    /// Runs in the phrasing.
    numbers: u32,
    latin: u32,
    matched: u64,
    mass: u64,
    pairs: u32,
    /// Cosine.
    sounds: f64,
    /// Length of the longest common subsequence of syllables.
    sound_sequence: u32,
}

#[derive(Default)]
struct WordOverlap {
    /// Of the query's words, as bits.
    places: u64,
    matched: u64,
    in_part: u64,
    mass: u64,
}

#[derive(Default)]
struct AnswerOverlap {
    matched: u64,
    /// Of it, what the phrasing lacks.
    adds: u64,
}

/// Whether something is denied (不, 没 …); 能不能 and 有没有 only ask.
pub fn denies(units: &[Unit]) -> bool {
    const DENIALS: [char; 6] = ['不', '没', '无', '未', '非', '别'];
    let asks = |at: usize| {
        let (before, after) = (at.checked_sub(1).and_then(|at| units.get(at)), units.get(at + 1));
        before.is_some_and(|before| after == Some(before))
    };
    let denial = |unit: &Unit| DENIALS.iter().any(|c| u32::from(*c) == unit.0);
    (0..units.len()).any(|at| denial(&units[at]) && !asks(at))
}

/// Of each word, the places of its units as bits.
fn word_places(query: &Analysis) -> Vec<u64> {
    let places = |&(start, end): &(u32, u32)| {
        let starts = query.unit_starts.iter().enumerate();
        let inside = starts.filter(|(_, at)| (start..end).contains(*at));
        inside.fold(0, |places, (at, _)| places | bit(at))
    };
    query.word_spans.iter().map(places).collect()
}

/// 1 when some group is named on both sides and no member of it by both; `other`: codes.
fn contrast(own: &[Contrasted], other: &[u32]) -> f64 {
    if own.is_empty() || other.is_empty() {
        return 0.0;
    }
    let conflicts = |group: u16| {
        let named = other.iter().any(|code| Contrasted::group_of(*code) == group);
        named && !own.iter().any(|c| c.group == group && other.contains(&c.code()))
    };
    f64::from(u8::from(own.iter().any(|c| conflicts(c.group))))
}

/// Where `number` stands, as bits; most do not stand anywhere.
fn places_of(numbers: &[u32], sieve: Sieve, number: u32) -> u64 {
    if !sieve.may_hold(number) {
        return 0;
    }
    let places = numbers.iter().enumerate().filter(|(_, own)| **own == number);
    places.fold(0, |places, (at, _)| places | bit(at))
}

/// 0 beyond [`POSITIONS`].
fn bit(at: usize) -> u64 {
    if at < POSITIONS { 1 << at } else { 0 }
}

fn first_of(bits: u64) -> u64 {
    bits & bits.wrapping_neg()
}

fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

fn sum(idfs: &[u32]) -> u64 {
    idfs.iter().map(|idf| u64::from(*idf)).sum()
}

fn mass_at(bits: u64, idfs: &[u32]) -> u64 {
    set_bits(bits).map(|at| u64::from(idfs[at])).sum()
}

fn set_bits(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (at < POSITIONS).then_some(at)
    })
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn square(idf: u32) -> u64 {
    u64::from(idf) * u64::from(idf)
}
