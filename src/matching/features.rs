//! Features: how a query and one phrasing of the bank compare, in numbers.
//!
//! [`Query::compare`] is the entry point; what the features are worth is `ranking`'s business. Everything is computed
//! from the terms of the two sides and the bank's document frequencies, in whole idf steps, so the same pair gives the
//! same numbers whatever the edit history. One comparison is linear in the phrasing's length.

use super::pinyin::{self, Syllable};
use super::postings::{Field, IDF_STEPS, idf};
use super::tokenizer::{Analysis, Bigram, Contrasted, SoundBigram, Unit, Word, units};
use rustc_hash::FxHashMap;

/// Units of a query that are compared; what follows counts for length only. The bits of a mask.
const POSITIONS: usize = 128;

/// What the whole bank says about terms.
#[derive(Debug, Clone)]
pub struct Statistics {
    #[expect(missing_docs, reason = "a field each")]
    pub words: Field<Word>,
    #[expect(missing_docs, reason = "a field each")]
    pub units: Field<Unit>,
    #[expect(missing_docs, reason = "a field each")]
    pub bigrams: Field<Bigram>,
    #[expect(missing_docs, reason = "a field each")]
    pub sounds: Field<SoundBigram>,
    /// Rarity of a character read so, by syllable.
    pub syllable_idf: Vec<u32>,
    /// Answers holding a word.
    pub answer_freq: FxHashMap<Word, u32>,
    /// Entries.
    pub answers: u32,
}

/// What is compared of a phrasing.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "as in `Analysis`")]
pub struct Phrasing<'a> {
    pub units: &'a [Unit],
    pub words: &'a [Word],
    pub contrasts: &'a [Contrasted],
}

impl<'a> From<&'a Analysis> for Phrasing<'a> {
    fn from(analysis: &'a Analysis) -> Self {
        Self {
            units: &analysis.units,
            words: &analysis.words,
            contrasts: &analysis.contrasts,
        }
    }
}

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
    /// Share of the query's idf mass of words that the answer has.
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
    statistics: &'a Statistics,
    analysis: &'a Analysis,
    /// Where in the query a unit stands, as bits.
    places: FxHashMap<Unit, u128>,
    unit_idf: Vec<u32>,
    word_idf: Vec<u32>,
    answer_idf: Vec<u32>,
    mass: Mass,
    numbers: Vec<Unit>,
    latin: Vec<Unit>,
    /// Where in `sounding` a syllable stands, as bits, by syllable.
    sound_places: Vec<u128>,
    sound_idf: Vec<u32>,
    sound_bigram_idf: Vec<u32>,
    /// Where in the query a word stands, as bits.
    word_places: Vec<u128>,
    denies: bool,
    unknown: f64,
    read: f64,
}

/// The query's own idf mass, by field.
#[derive(Default)]
struct Mass {
    units: u64,
    words: u64,
    answer: u64,
    /// Of squares.
    sounds: f64,
}

impl<'a> Query<'a> {
    /// `read` is the number of characters that respelling read from pinyin or initials.
    pub fn new(analysis: &'a Analysis, read: usize, statistics: &'a Statistics) -> Self {
        let query_units = &analysis.units[..analysis.units.len().min(POSITIONS)];
        let mut places: FxHashMap<Unit, u128> = FxHashMap::default();
        for (at, unit) in query_units.iter().enumerate() {
            *places.entry(*unit).or_default() |= 1 << at;
        }
        let word_idf: Vec<u32> = analysis.words.iter().map(|word| statistics.words.idf(*word)).collect();
        let unseen = analysis
            .words
            .iter()
            .zip(&word_idf)
            .filter(|(word, _)| statistics.words.doc_freq(**word) == 0);
        let sounding = sounding(analysis, statistics);
        let mut sound_places = vec![0; Syllable::COUNT];
        for (at, readings) in sounding.iter().enumerate() {
            for syllable in readings {
                sound_places[syllable.index()] |= 1 << at;
            }
        }
        let answer_freq = |word| statistics.answer_freq.get(word).copied().unwrap_or(0);
        let mut query = Self {
            mass: Mass::default(),
            numbers: statistics.known_runs(&analysis.units, Unit::is_number),
            latin: statistics.known_runs(&analysis.units, Unit::is_latin),
            unit_idf: query_units.iter().map(|unit| statistics.units.idf(*unit)).collect(),
            unknown: ratio(unseen.map(|(_, idf)| u64::from(*idf)).sum(), sum(&word_idf)),
            answer_idf: analysis
                .words
                .iter()
                .map(|word| idf(answer_freq(word), statistics.answers))
                .collect(),
            word_idf,
            sound_idf: sounding
                .iter()
                .map(|readings| statistics.syllable_idf(readings))
                .collect(),
            sound_bigram_idf: before_and_at(&sounding, |a, b| statistics.sound_bigram_idf(a, b)),
            sound_places,
            word_places: word_places(analysis),
            denies: denies(query_units),
            read: (read as f64 / analysis.units.len().max(1) as f64).min(1.0),
            places,
            analysis,
            statistics,
        };
        let squares = |idfs: &[u32]| idfs.iter().map(|idf| square(*idf)).sum::<f64>();
        query.mass = Mass {
            units: sum(&query.unit_idf),
            words: sum(&query.word_idf),
            answer: sum(&query.answer_idf),
            sounds: squares(&query.sound_idf) + squares(&query.sound_bigram_idf),
        };
        query
    }

    /// The features of one phrasing but those that depend on the other candidates.
    /// `covered` gathers, as bits, the query's units that the phrasings of one entry have; 0 before the first.
    pub fn compare(&self, phrasing: Phrasing<'_>, answer: &[Word], covered: &mut u128) -> Features {
        let (length, own_length) = (phrasing.units.len(), self.analysis.units.len());
        let units = self.compare_units(phrasing.units);
        let words = self.compare_words(phrasing.words, units.places);
        let answer = self.compare_answer(answer, words.places);
        let (sounds, sound_sequence) = self.compare_sounds(phrasing.units);
        *covered |= units.places;
        let query_units = ratio(units.matched, self.mass.units);
        let phrasing_units = ratio(units.matched, units.mass);
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
            sounds,
            sound_sequence,
            length: length.min(own_length) as f64 / length.max(own_length).max(1) as f64,
            same: flag(*phrasing.units == *self.analysis.units),
            answer: ratio(answer.matched, self.mass.answer),
            answer_adds: ratio(answer.adds, self.mass.answer),
            numbers_differ: self.differ(&self.numbers, phrasing.units, Unit::is_number),
            latin_differs: self.differ(&self.latin, phrasing.units, Unit::is_latin),
            latin_one_sided: flag(self.latin.is_empty() == phrasing.units.iter().any(|unit| unit.is_latin())),
            negation_differs: flag(self.denies != denies(phrasing.units)),
            contrast: contrast(&self.analysis.contrasts, phrasing.contrasts),
            unknown: self.unknown,
            brief: 1.0 / own_length.max(1) as f64,
            read: self.read,
            ..Features::default()
        }
    }

    /// The share of the query's idf mass of units at `covered`.
    pub fn coverage(&self, covered: u128) -> f64 {
        ratio(mass_at(covered, &self.unit_idf), self.mass.units)
    }

    fn compare_units(&self, phrasing: &[Unit]) -> UnitOverlap {
        let mut overlap = UnitOverlap::default();
        let (mut matched, mut pairs, mut before) = (0_u128, 0_u128, 0_u128);
        for unit in phrasing {
            overlap.mass += u64::from(self.statistics.units.idf(*unit));
            let places = self.places.get(unit).copied().unwrap_or(0);
            matched |= first_of(places & !matched);
            pairs |= first_of((before << 1) & places & !pairs);
            before = places;
        }
        overlap.places = matched;
        overlap.matched = mass_at(matched, &self.unit_idf);
        overlap.pairs = pairs.count_ones();
        overlap
    }

    /// `covered`: the query's units that the phrasing has.
    fn compare_words(&self, phrasing: &[Word], covered: u128) -> WordOverlap {
        let mut overlap = WordOverlap::default();
        for word in phrasing {
            let place = self.analysis.words.iter().position(|own| own == word);
            let idf = place.map_or_else(|| self.statistics.words.idf(*word), |at| self.word_idf[at]);
            overlap.mass += u64::from(idf);
            if let Some(at) = place {
                overlap.matched += u64::from(idf);
                overlap.places |= bit(at);
            }
        }
        for (at, (places, idf)) in self.word_places.iter().zip(&self.word_idf).enumerate() {
            let (part, whole) = if overlap.places & bit(at) == 0 {
                ((places & covered).count_ones(), places.count_ones().max(1))
            } else {
                (1, 1)
            };
            overlap.in_part += u64::from(idf * part / whole);
        }
        overlap
    }

    /// `named`: the query's words that the phrasing has.
    fn compare_answer(&self, answer: &[Word], named: u128) -> AnswerOverlap {
        let mut overlap = AnswerOverlap::default();
        for (at, (word, idf)) in self.analysis.words.iter().zip(&self.answer_idf).enumerate() {
            if answer.binary_search(word).is_ok() {
                overlap.matched += u64::from(*idf);
                overlap.adds += u64::from(if named & bit(at) == 0 { *idf } else { 0 });
            }
        }
        overlap
    }

    /// Cosine, and longest common subsequence by length.
    fn compare_sounds(&self, phrasing: &[Unit]) -> (f64, f64) {
        let (mut matched, mut bigrams) = (0_u128, 0_u128);
        // Bit-parallel longest common subsequence (Hyyrö 2004): as long as there are zero bits.
        let mut open = u128::MAX;
        let mut mass = 0.0;
        let mut before: (&[Syllable], u128) = (&[], 0);
        for unit in phrasing {
            let readings = unit.readings();
            let places = readings
                .iter()
                .fold(0, |places, reading| places | self.sound_places[reading.index()]);
            matched |= first_of(places & !matched);
            bigrams |= first_of((before.1 << 1) & places & !bigrams);
            let taken = open & places;
            open = open.wrapping_add(taken) | (open - taken);
            mass += square(self.statistics.syllable_idf(readings));
            mass += square(self.statistics.sound_bigram_idf(before.0, readings));
            before = (readings, places);
        }
        let at = |bits: u128, idfs: &[u32]| -> f64 { set_bits(bits).map(|at| square(idfs[at])).sum() };
        let common = at(matched, &self.sound_idf) + at(bigrams, &self.sound_bigram_idf);
        let product = self.mass.sounds * mass;
        let cosine = if product > 0.0 {
            (common / product.sqrt()).min(1.0)
        } else {
            0.0
        };
        let lengths = self.sound_idf.len() + phrasing.len();
        (cosine, 2.0 * f64::from((!open).count_ones()) / lengths.max(1) as f64)
    }

    /// Where both sides have such runs: the share of the shorter list that the other lacks.
    fn differ(&self, own: &[Unit], phrasing: &[Unit], kind: fn(Unit) -> bool) -> f64 {
        if own.is_empty() {
            return 0.0;
        }
        let other = self.statistics.known_runs(phrasing, kind);
        let common = own.iter().filter(|unit| other.contains(unit)).count();
        let fewer = own.len().min(other.len());
        if fewer == 0 {
            0.0
        } else {
            1.0 - (common as f64 / fewer as f64).min(1.0)
        }
    }
}

impl Statistics {
    /// Every number, and the Latin runs the bank has: an unknown one may be pinyin or a typing error.
    fn known_runs(&self, units: &[Unit], kind: fn(Unit) -> bool) -> Vec<Unit> {
        let is_known = |unit: &Unit| unit.is_number() || self.units.doc_freq(*unit) > 0;
        units
            .iter()
            .copied()
            .filter(|unit| kind(*unit) && is_known(unit))
            .collect()
    }

    fn syllable_idf(&self, readings: &[Syllable]) -> u32 {
        readings.first().map_or(0, |first| self.syllable_idf[first.index()])
    }

    fn sound_bigram_idf(&self, first: &[Syllable], second: &[Syllable]) -> u32 {
        match (first, second) {
            ([first, ..], [second, ..]) => self.sounds.idf(SoundBigram::new(*first, *second)),
            _ => 0,
        }
    }
}

#[derive(Default)]
struct UnitOverlap {
    /// Of the query's units, as bits.
    places: u128,
    matched: u64,
    mass: u64,
    pairs: u32,
}

#[derive(Default)]
struct WordOverlap {
    /// Of the query's words, as bits.
    places: u128,
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

/// What the query sounds like, a place for each syllable; unread pinyin is taken apart, other runs sound like nothing.
pub fn sounding(query: &Analysis, statistics: &Statistics) -> Vec<Vec<Syllable>> {
    let mut places = Vec::new();
    for (_, part) in units(&query.text) {
        let unit = Unit::new(part);
        match pinyin::split(part) {
            Some(syllables) if statistics.units.doc_freq(unit) == 0 => {
                places.extend(syllables.into_iter().map(|syllable| vec![syllable]));
            }
            _ => places.push(unit.readings().to_vec()),
        }
    }
    places.truncate(POSITIONS);
    places
}

/// Whether something is denied; 能不能 and 有没有 only ask.
fn denies(units: &[Unit]) -> bool {
    const DENIALS: [char; 6] = ['不', '没', '无', '未', '非', '别'];
    let asks = |at: usize| {
        let (before, after) = (at.checked_sub(1).and_then(|at| units.get(at)), units.get(at + 1));
        before.is_some_and(|before| after == Some(before))
    };
    let denial = |unit: &Unit| DENIALS.iter().any(|c| u32::from(*c) == unit.0);
    (0..units.len()).any(|at| denial(&units[at]) && !asks(at))
}

/// Of each word, the places of its units as bits.
fn word_places(query: &Analysis) -> Vec<u128> {
    let places = |&(start, end): &(u32, u32)| {
        let starts = query.unit_starts.iter().enumerate();
        let inside = starts.filter(|(_, at)| (start..end).contains(*at));
        inside.fold(0, |places, (at, _)| places | bit(at))
    };
    query.word_spans.iter().map(places).collect()
}

/// 1 when some group is named on both sides and no member of it by both.
fn contrast(own: &[Contrasted], other: &[Contrasted]) -> f64 {
    let conflicts = |group: u16| {
        let named = other.iter().any(|c| c.group == group);
        named && !own.iter().any(|c| c.group == group && other.contains(c))
    };
    f64::from(u8::from(own.iter().any(|c| conflicts(c.group))))
}

/// One value per place: `pair` of the place before and this one; 0 at the first.
fn before_and_at<T>(places: &[T], pair: impl Fn(&T, &T) -> u32) -> Vec<u32> {
    let pairs = places.windows(2).map(|both| pair(&both[0], &both[1]));
    (!places.is_empty()).then_some(0).into_iter().chain(pairs).collect()
}

/// 0 beyond [`POSITIONS`].
fn bit(at: usize) -> u128 {
    if at < POSITIONS { 1 << at } else { 0 }
}

fn first_of(bits: u128) -> u128 {
    bits & bits.wrapping_neg()
}

fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

fn sum(idfs: &[u32]) -> u64 {
    idfs.iter().map(|idf| u64::from(*idf)).sum()
}

fn mass_at(bits: u128, idfs: &[u32]) -> u64 {
    set_bits(bits).map(|at| u64::from(idfs[at])).sum()
}

fn set_bits(mut bits: u128) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (at < POSITIONS).then_some(at)
    })
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// In natural-log units, so that sums stay exact in 53 bits.
fn square(idf: u32) -> f64 {
    let idf = f64::from(idf) / IDF_STEPS;
    idf * idf
}
