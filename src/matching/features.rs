//! Features: how a query and one phrasing of the bank compare, in numbers.
//!
//! [`Query::compare`] is the entry point; what the features are worth is `ranking`'s business. Everything is computed
//! from the terms of the two sides and the bank's document frequencies, in whole idf steps, so the same pair gives the
//! same numbers whatever the edit history. One comparison is linear in the phrasing's length.

use super::pinyin::{self, Syllable};
use super::segment::Row;
use super::tokenizer::{Analysis, Contrasted, SoundBigram, Unit, units};
use super::vocabulary::{IDF_STEPS, Rarity, Vocabulary};
use rustc_hash::FxHashMap;

/// Units of a query that are compared; what follows counts for length only. The bits of a mask.
const POSITIONS: usize = 64;
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
    vocabulary: &'a Vocabulary,
    rarity: Rarity,
    analysis: &'a Analysis,
    /// Numbers of its units and words; [`NOBODYS`] where the bank has none.
    units: Vec<u32>,
    words: Vec<u32>,
    unit_idf: Vec<u32>,
    word_idf: Vec<u32>,
    answer_idf: Vec<u32>,
    mass: Mass,
    numbers: Vec<Unit>,
    latin: Vec<Unit>,
    /// Where in `sounding` a syllable stands, as bits, by syllable.
    sound_places: Vec<u64>,
    sound_idf: Vec<u32>,
    sound_bigram_idf: Vec<u32>,
    /// Where in the query a word stands, as bits.
    word_places: Vec<u64>,
    denies: bool,
    unknown: f64,
    read: f64,
    memo: Memo,
}

/// What a query has found out about terms; candidates share most of them.
#[derive(Default)]
struct Memo {
    units: FxHashMap<u32, UnitFacts>,
    words: FxHashMap<u32, WordFacts>,
    /// Squared idf by pair of syllables.
    sound_pairs: FxHashMap<SoundBigram, u64>,
}

/// A unit of the bank, seen from the query.
#[derive(Clone, Copy)]
struct UnitFacts {
    /// Where it stands in the query, as bits.
    places: u64,
    /// Where something that sounds like it stands in `sounding`.
    sounding: u64,
    idf: u32,
    /// Squared idf of its first syllable; 0 when it has none.
    sound: u64,
    syllable: Option<Syllable>,
}

/// A word of the bank, seen from the query.
#[derive(Clone, Copy)]
struct WordFacts {
    /// As bits; 0: not in the query.
    place: u64,
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
    pub fn new(analysis: &'a Analysis, read: usize, vocabulary: &'a Vocabulary) -> Self {
        let rarity = vocabulary.rarity();
        let query_units = &analysis.units[..analysis.units.len().min(POSITIONS)];
        let units = query_units
            .iter()
            .map(|unit| vocabulary.units.number(unit.0).unwrap_or(NOBODYS));
        let units: Vec<u32> = units.collect();
        let words = analysis
            .words
            .iter()
            .map(|word| vocabulary.words.number(word.0).unwrap_or(NOBODYS));
        let words: Vec<u32> = words.collect();
        let word_freq: Vec<u32> = words.iter().map(|number| vocabulary.words.doc_freq(*number)).collect();
        let word_idf: Vec<u32> = word_freq.iter().map(|freq| rarity.idf(*freq)).collect();
        let unseen = word_freq.iter().zip(&word_idf).filter(|(freq, _)| **freq == 0);
        let answers = Rarity::among(vocabulary.entries);
        let sounding = sounding(analysis, vocabulary);
        let mut sound_places = vec![0; Syllable::COUNT];
        for (at, readings) in sounding.iter().enumerate() {
            for syllable in readings {
                sound_places[syllable.index()] |= bit(at);
            }
        }
        let sounds = Sounds { vocabulary, rarity };
        let mut query = Self {
            mass: Mass::default(),
            numbers: vocabulary.known_runs(&analysis.units, Unit::is_number),
            latin: vocabulary.known_runs(&analysis.units, Unit::is_latin),
            unit_idf: units
                .iter()
                .map(|number| rarity.idf(vocabulary.units.doc_freq(*number)))
                .collect(),
            unknown: ratio(unseen.map(|(_, idf)| u64::from(*idf)).sum(), sum(&word_idf)),
            answer_idf: words
                .iter()
                .map(|number| answers.idf(vocabulary.answer_freq.get(*number)))
                .collect(),
            word_idf,
            sound_idf: sounding
                .iter()
                .map(|readings| sounds.idf(readings.first().copied()))
                .collect(),
            sound_bigram_idf: before_and_at(&sounding, |a, b| {
                sounds.pair_idf(a.first().copied(), b.first().copied())
            }),
            sound_places,
            word_places: word_places(analysis),
            denies: denies(query_units),
            read: (read as f64 / analysis.units.len().max(1) as f64).min(1.0),
            memo: Memo::default(),
            units,
            words,
            analysis,
            vocabulary,
            rarity,
        };
        query.mass = Mass {
            units: sum(&query.unit_idf),
            words: sum(&query.word_idf),
            answer: sum(&query.answer_idf),
            sounds: squares(&query.sound_idf) + squares(&query.sound_bigram_idf),
        };
        query
    }

    /// The features of one phrasing but those that depend on the other candidates. `answer` is sorted.
    /// `covered` gathers, as bits, the query's units that the phrasings of one entry have; 0 before the first.
    pub fn compare(&mut self, phrasing: Row<'_>, answer: &[u32], covered: &mut u64) -> Features {
        let (length, own_length) = (phrasing.units.len(), self.analysis.units.len());
        let units = self.compare_units(phrasing.units);
        let words = self.compare_words(phrasing.words, units.places);
        let answer = self.compare_answer(answer, words.places);
        *covered |= units.places;
        let query_units = ratio(units.matched, self.mass.units);
        let phrasing_units = ratio(units.matched, units.mass);
        let runs = if phrasing.traits.has_runs {
            phrasing
                .units
                .iter()
                .map(|number| self.vocabulary.unit(*number))
                .collect()
        } else {
            Vec::new()
        };
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
            sound_sequence: 2.0 * f64::from(units.sound_sequence) / (self.sound_idf.len() + length).max(1) as f64,
            length: length.min(own_length) as f64 / length.max(own_length).max(1) as f64,
            same: flag(length == own_length && *phrasing.units == *self.units),
            answer: ratio(answer.matched, self.mass.answer),
            answer_adds: ratio(answer.adds, self.mass.answer),
            numbers_differ: self.differ(&self.numbers, &runs, Unit::is_number),
            latin_differs: self.differ(&self.latin, &runs, Unit::is_latin),
            latin_one_sided: flag(self.latin.is_empty() == runs.iter().any(|unit| unit.is_latin())),
            negation_differs: flag(self.denies != phrasing.traits.denies),
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

    fn unit_facts(&mut self, number: u32) -> UnitFacts {
        if let Some(facts) = self.memo.units.get(&number) {
            return *facts;
        }
        let unit = self.vocabulary.unit(number);
        let places = self.units.iter().enumerate().filter(|(_, own)| **own == number);
        let readings = unit.readings();
        let syllable = readings.first().copied();
        let sounds = Sounds {
            vocabulary: self.vocabulary,
            rarity: self.rarity,
        };
        let facts = UnitFacts {
            places: places.fold(0, |places, (at, _)| places | bit(at)),
            sounding: readings
                .iter()
                .fold(0, |places, reading| places | self.sound_places[reading.index()]),
            idf: self.rarity.idf(self.vocabulary.units.doc_freq(number)),
            sound: square(sounds.idf(syllable)),
            syllable,
        };
        self.memo.units.insert(number, facts);
        facts
    }

    fn word_facts(&mut self, number: u32) -> WordFacts {
        if let Some(facts) = self.memo.words.get(&number) {
            return *facts;
        }
        let place = self.words.iter().position(|own| *own == number);
        let facts = WordFacts {
            place: place.map_or(0, bit),
            idf: self.rarity.idf(self.vocabulary.words.doc_freq(number)),
        };
        self.memo.words.insert(number, facts);
        facts
    }

    fn sound_pair(&mut self, first: Option<Syllable>, second: Option<Syllable>) -> u64 {
        let (Some(a), Some(b)) = (first, second) else { return 0 };
        let sounds = Sounds {
            vocabulary: self.vocabulary,
            rarity: self.rarity,
        };
        let pairs = &mut self.memo.sound_pairs;
        *pairs
            .entry(SoundBigram::new(a, b))
            .or_insert_with(|| square(sounds.pair_idf(first, second)))
    }

    fn compare_units(&mut self, phrasing: &[u32]) -> UnitOverlap {
        let mut overlap = UnitOverlap::default();
        let (mut matched, mut pairs, mut before) = (0_u64, 0_u64, 0_u64);
        let (mut heard, mut heard_pairs, mut heard_before) = (0_u64, 0_u64, 0_u64);
        let (mut sound_mass, mut syllable_before) = (0_u64, None);
        // Bit-parallel longest common subsequence (Hyyrö 2004): as long as there are zero bits.
        let mut open = u64::MAX;
        for number in phrasing {
            let facts = self.unit_facts(*number);
            overlap.mass += u64::from(facts.idf);
            matched |= first_of(facts.places & !matched);
            pairs |= first_of((before << 1) & facts.places & !pairs);
            before = facts.places;
            heard |= first_of(facts.sounding & !heard);
            heard_pairs |= first_of((heard_before << 1) & facts.sounding & !heard_pairs);
            heard_before = facts.sounding;
            let taken = open & facts.sounding;
            open = open.wrapping_add(taken) | (open - taken);
            sound_mass += facts.sound + self.sound_pair(syllable_before, facts.syllable);
            syllable_before = facts.syllable;
        }
        overlap.places = matched;
        overlap.matched = mass_at(matched, &self.unit_idf);
        overlap.pairs = pairs.count_ones();
        overlap.sound_sequence = (!open).count_ones();
        let at = |bits: u64, idfs: &[u32]| set_bits(bits).map(|at| square(idfs[at])).sum::<u64>();
        let common = at(heard, &self.sound_idf) + at(heard_pairs, &self.sound_bigram_idf);
        if common > 0 {
            // In natural-log units, so that the product stays far below what f64 holds.
            let natural = |mass: u64| mass as f64 / (IDF_STEPS * IDF_STEPS);
            overlap.sounds = (natural(common) / (natural(self.mass.sounds) * natural(sound_mass)).sqrt()).min(1.0);
        }
        overlap
    }

    /// `covered`: the query's units that the phrasing has.
    fn compare_words(&mut self, phrasing: &[u32], covered: u64) -> WordOverlap {
        let mut overlap = WordOverlap::default();
        for number in phrasing {
            let facts = self.word_facts(*number);
            overlap.mass += u64::from(facts.idf);
            overlap.matched += u64::from(if facts.place == 0 { 0 } else { facts.idf });
            overlap.places |= facts.place;
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
    fn compare_answer(&self, answer: &[u32], named: u64) -> AnswerOverlap {
        let mut overlap = AnswerOverlap::default();
        for (at, (number, idf)) in self.words.iter().zip(&self.answer_idf).enumerate() {
            if answer.binary_search(number).is_ok() {
                overlap.matched += u64::from(*idf);
                overlap.adds += u64::from(if named & bit(at) == 0 { *idf } else { 0 });
            }
        }
        overlap
    }

    /// Where both sides have such runs: the share of the shorter list that the other lacks.
    fn differ(&self, own: &[Unit], phrasing: &[Unit], kind: fn(Unit) -> bool) -> f64 {
        if own.is_empty() || phrasing.is_empty() {
            return 0.0;
        }
        let other = self.vocabulary.known_runs(phrasing, kind);
        let common = own.iter().filter(|unit| other.contains(unit)).count();
        let fewer = own.len().min(other.len());
        if fewer == 0 {
            0.0
        } else {
            1.0 - (common as f64 / fewer as f64).min(1.0)
        }
    }
}

impl Vocabulary {
    /// Every number, and the Latin runs the bank has: an unknown one may be pinyin or a typing error.
    fn known_runs(&self, units: &[Unit], kind: fn(Unit) -> bool) -> Vec<Unit> {
        let is_known = |unit: &Unit| unit.is_number() || self.units.doc_freq_of(unit.0) > 0;
        units
            .iter()
            .copied()
            .filter(|unit| kind(*unit) && is_known(unit))
            .collect()
    }
}

/// Rarity of sounds.
#[derive(Clone, Copy)]
struct Sounds<'a> {
    vocabulary: &'a Vocabulary,
    rarity: Rarity,
}

impl Sounds<'_> {
    fn idf(self, syllable: Option<Syllable>) -> u32 {
        syllable.map_or(0, |syllable| {
            self.rarity.idf(self.vocabulary.syllable_freq[syllable.index()])
        })
    }

    fn pair_idf(self, first: Option<Syllable>, second: Option<Syllable>) -> u32 {
        first.zip(second).map_or(0, |(first, second)| {
            let pair = SoundBigram::new(first, second);
            self.rarity.idf(self.vocabulary.sounds.doc_freq_of(pair.0))
        })
    }
}

#[derive(Default)]
struct UnitOverlap {
    /// Of the query's units, as bits.
    places: u64,
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

/// What the query sounds like, a place for each syllable; unread pinyin is taken apart, other runs sound like nothing.
pub fn sounding(query: &Analysis, vocabulary: &Vocabulary) -> Vec<Vec<Syllable>> {
    let mut places = Vec::new();
    for (_, part) in units(&query.text) {
        let unit = Unit::new(part);
        match pinyin::split(part) {
            Some(syllables) if vocabulary.units.doc_freq_of(unit.0) == 0 => {
                places.extend(syllables.into_iter().map(|syllable| vec![syllable]));
            }
            _ => places.push(unit.readings().to_vec()),
        }
    }
    places.truncate(POSITIONS);
    places
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

fn squares(idfs: &[u32]) -> u64 {
    idfs.iter().map(|idf| square(*idf)).sum()
}
