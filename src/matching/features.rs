//! Features: how a query and one phrasing of the bank compare, in numbers.
//!
//! [`Query::compare`] is the entry point; what the features are worth is `ranking`'s business. Everything is computed
//! from the terms of the two sides and the bank's document frequencies, in whole idf steps, so the same pair gives the
//! same numbers whatever the edit history. One comparison is linear in the phrasing's length.

use super::pinyin::{self, Syllable};
use super::postings::{Field, IDF_STEPS, idf, length_weight};
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
    /// Mean units of a document.
    pub average_length: f64,
}

/// The named features of one phrasing; each in −1–1.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Features {
    /// BM25 over units, divided by the query's own.
    pub units: f64,
    /// BM25 over words and bigrams, divided by the query's own.
    pub words_bigrams: f64,
    /// Share of the query's idf mass of units that the entry's compared phrasings have between them.
    pub query_units: f64,
    /// Share of the phrasing's idf mass of units that the query has.
    pub phrasing_units: f64,
    /// Share of the phrasing's idf mass of words that the query has.
    pub phrasing_words: f64,
    /// Cosine of idf-weighted fuzzy syllables and pairs of them.
    pub sounds: f64,
    /// Longest common subsequence, twice, by the sum of the lengths.
    pub sequence: f64,
    /// Shorter by longer length.
    pub length: f64,
    /// 1 when both have the same units in the same order.
    pub same: f64,
    /// Numbers both sides hold and that differ.
    pub numbers_differ: f64,
    /// Latin words both sides hold and that differ.
    pub latin_differs: f64,
    /// Contrast groups of which the sides name different members.
    pub contrast: f64,
    /// Share of the query's idf mass of words that the answer has.
    pub answer: f64,
    /// `units` less the best other entry's.
    pub units_gap: f64,
    /// `words_bigrams` less the best other entry's.
    pub words_bigrams_gap: f64,
    /// `sounds` less the best other entry's.
    pub sounds_gap: f64,
    /// `sequence` less the best other entry's.
    pub sequence_gap: f64,
    /// [`Features::evidence`] less the best other entry's.
    pub evidence_gap: f64,
    /// Share of the query's idf mass of words that the bank does not know.
    pub unknown: f64,
    /// Share of the query's characters that were corrected by sound.
    pub corrected: f64,
    /// Share of the query's characters that were read from pinyin or initials.
    pub read: f64,
}

impl Features {
    /// What speaks for the entry as a whole: its best phrasing, all its phrasings together, and its answer.
    pub fn evidence(&self) -> f64 {
        0.35 * self.units + 0.15 * self.query_units + 0.5 * self.answer
    }
}

/// A query, prepared for comparison.
pub struct Query<'a> {
    statistics: &'a Statistics,
    analysis: &'a Analysis,
    /// Where in the query a unit stands, as bits.
    places: FxHashMap<Unit, u128>,
    unit_idf: Vec<u32>,
    /// Of the unit at a position with the one before it.
    bigram_idf: Vec<u32>,
    word_idf: Vec<u32>,
    answer_idf: Vec<u32>,
    mass: Mass,
    numbers: Vec<Unit>,
    latin: Vec<Unit>,
    /// Where in `sounding` a syllable stands, as bits, by syllable.
    sound_places: Vec<u128>,
    sound_idf: Vec<u32>,
    sound_bigram_idf: Vec<u32>,
    unknown: f64,
    corrected: f64,
    read: f64,
}

/// The query's own idf mass, by field.
#[derive(Default)]
struct Mass {
    units: u64,
    bigrams: u64,
    words: u64,
    answer: u64,
    /// Of squares.
    sounds: f64,
}

impl<'a> Query<'a> {
    /// `changed` and `read` are the characters that respelling touched.
    pub fn new(analysis: &'a Analysis, changed: usize, read: usize, statistics: &'a Statistics) -> Self {
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
        let share = |part: usize| part as f64 / analysis.units.len().max(1) as f64;
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
            numbers: statistics.known_runs(analysis, Unit::is_number),
            latin: statistics.known_runs(analysis, Unit::is_latin),
            unit_idf: query_units.iter().map(|unit| statistics.units.idf(*unit)).collect(),
            bigram_idf: before_and_at(query_units, |a, b| statistics.bigrams.idf(Bigram::new(*a, *b))),
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
            corrected: share(changed),
            read: share(read).min(1.0),
            places,
            analysis,
            statistics,
        };
        let squares = |idfs: &[u32]| idfs.iter().map(|idf| square(*idf)).sum::<f64>();
        query.mass = Mass {
            units: sum(&query.unit_idf),
            bigrams: sum(&query.bigram_idf),
            words: sum(&query.word_idf),
            answer: sum(&query.answer_idf),
            sounds: squares(&query.sound_idf) + squares(&query.sound_bigram_idf),
        };
        query
    }

    /// The features of one phrasing, without the gaps.
    /// `covered` gathers, as bits, the query's units that the phrasings of one entry have; 0 before the first.
    pub fn compare(&self, phrasing: &Analysis, answer: &[Word], covered: &mut u128) -> Features {
        let (length, own_length) = (phrasing.units.len(), self.analysis.units.len());
        let units = self.compare_units(phrasing);
        let words = self.compare_words(phrasing);
        let weight = |length| length_weight(length, self.statistics.average_length);
        let normalised = weight(length) / weight(own_length);
        *covered |= units.places;
        let coverage = ratio(units.matched, self.mass.units);
        let pairs = ratio(
            words.matched + units.matched_bigrams,
            self.mass.words + self.mass.bigrams,
        );
        let in_answer = self.analysis.words.iter().zip(&self.answer_idf);
        let in_answer = in_answer
            .filter(|(word, _)| answer.binary_search(word).is_ok())
            .map(|(_, idf)| u64::from(*idf));
        let phrasing_units = ratio(units.matched, units.mass);
        Features {
            units: (coverage * normalised).min(1.0),
            words_bigrams: (pairs * normalised).min(1.0),
            query_units: coverage,
            phrasing_units,
            phrasing_words: ratio(words.matched, words.mass),
            sounds: self.compare_sounds(phrasing),
            sequence: 2.0 * f64::from(units.common) / (length + own_length).max(1) as f64,
            length: length.min(own_length) as f64 / length.max(own_length).max(1) as f64,
            same: f64::from(u8::from(phrasing.units == self.analysis.units)),
            numbers_differ: self.differ(&self.numbers, phrasing, Unit::is_number),
            latin_differs: self.differ(&self.latin, phrasing, Unit::is_latin),
            contrast: contrast(&self.analysis.contrasts, &phrasing.contrasts),
            answer: ratio(in_answer.sum(), self.mass.answer),
            unknown: self.unknown,
            corrected: self.corrected,
            read: self.read,
            ..Features::default()
        }
    }

    /// The share of the query's idf mass of units at `covered`.
    pub fn coverage(&self, covered: u128) -> f64 {
        ratio(mass_at(covered, &self.unit_idf), self.mass.units)
    }

    fn compare_units(&self, phrasing: &Analysis) -> UnitOverlap {
        let mut overlap = UnitOverlap::default();
        let (mut matched, mut bigrams, mut before) = (0_u128, 0_u128, 0_u128);
        // Bit-parallel longest common subsequence (Hyyrö 2004): zero bits are positions of the query in it.
        let mut open = u128::MAX;
        for unit in &phrasing.units {
            overlap.mass += u64::from(self.statistics.units.idf(*unit));
            let places = self.places.get(unit).copied().unwrap_or(0);
            let free = places & !matched;
            matched |= free & free.wrapping_neg();
            let pair = (before << 1) & places & !bigrams;
            bigrams |= pair & pair.wrapping_neg();
            before = places;
            let taken = open & places;
            open = open.wrapping_add(taken) | (open - taken);
        }
        overlap.places = matched;
        overlap.matched = mass_at(matched, &self.unit_idf);
        overlap.matched_bigrams = mass_at(bigrams, &self.bigram_idf);
        overlap.common = (!open).count_ones();
        overlap
    }

    fn compare_words(&self, phrasing: &Analysis) -> WordOverlap {
        let mut overlap = WordOverlap::default();
        for word in &phrasing.words {
            let place = self.analysis.words.iter().position(|own| own == word);
            let idf = place.map_or_else(|| self.statistics.words.idf(*word), |at| self.word_idf[at]);
            overlap.mass += u64::from(idf);
            overlap.matched += u64::from(if place.is_some() { idf } else { 0 });
        }
        overlap
    }

    fn compare_sounds(&self, phrasing: &Analysis) -> f64 {
        let (mut matched, mut bigrams) = (0_u128, 0_u128);
        let mut mass = 0.0;
        let mut before: (&[Syllable], u128) = (&[], 0);
        for unit in &phrasing.units {
            let readings = unit.readings();
            let places = readings
                .iter()
                .fold(0, |places, reading| places | self.sound_places[reading.index()]);
            matched |= places & !matched & (places & !matched).wrapping_neg();
            let pair = (before.1 << 1) & places & !bigrams;
            bigrams |= pair & pair.wrapping_neg();
            mass += square(self.statistics.syllable_idf(readings));
            mass += square(self.statistics.sound_bigram_idf(before.0, readings));
            before = (readings, places);
        }
        let at = |bits: u128, idfs: &[u32]| -> f64 { set_bits(bits).map(|at| square(idfs[at])).sum() };
        let common = at(matched, &self.sound_idf) + at(bigrams, &self.sound_bigram_idf);
        let product = self.mass.sounds * mass;
        if product > 0.0 {
            (common / product.sqrt()).min(1.0)
        } else {
            0.0
        }
    }

    /// Where both sides have such runs: the share of the shorter list that the other lacks.
    fn differ(&self, own: &[Unit], phrasing: &Analysis, kind: fn(Unit) -> bool) -> f64 {
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
    fn known_runs(&self, analysis: &Analysis, kind: fn(Unit) -> bool) -> Vec<Unit> {
        let is_known = |unit: &Unit| unit.is_number() || self.units.doc_freq(*unit) > 0;
        analysis
            .units
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
    matched_bigrams: u64,
    /// Length of the longest common subsequence.
    common: u32,
}

#[derive(Default)]
struct WordOverlap {
    matched: u64,
    mass: u64,
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
