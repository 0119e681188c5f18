//! Features: how a query and one phrasing of the bank compare, in numbers.
//!
//! [`Query::compare`] is the entry point; what the features are worth is `ranking`'s business. Everything is computed
//! from the terms of the two sides and the bank's document frequencies, in whole idf steps, so the same pair gives the
//! same numbers whatever the edit history. One comparison is linear in the phrasing's length.

mod places;

use super::pinyin::Syllable;
use super::segment::{AnswerWords, Row};
use super::sounding::Sounding;
use super::tokenizer::{Analysis, Contrasted, Unit};
use super::vocabulary::{IDF_STEPS, KnownUnit, Recognised, Scales, Vocabulary};
use places::Places;
use std::cell::RefCell;

/// Units of a query that are compared; what follows counts for length only. The bits of a mask.
const POSITIONS: usize = 64;
/// From this share of the query on, in the phrasing, what the answer says counts in full; below in proportion. An answer
/// alone is poor evidence.
const ANSWER_HEEDED: f64 = 0.5;

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
    scales: &'a Scales,
    /// Rarity of what nobody has.
    rarest: u32,
    analysis: &'a Analysis,
    /// Numbers of its units and words; [`NOBODYS`] where the bank has none.
    units: Vec<u32>,
    unit_idf: Vec<u32>,
    /// Where they stand.
    unit_places: Places,
    word_places: Places,
    words: Vec<QueryWord>,
    /// Those of its words that some answer has.
    answer_words: Vec<AnswerWord>,
    mass: Mass,
    numbers: Runs,
    /// Those that the bank has: an unknown one may be pinyin or a typing error.
    latin: Runs,
    /// By place of what is heard, squared.
    sounds: Vec<u64>,
    sound_pairs: Vec<u64>,
    denies: bool,
    unknown: f64,
    read: f64,
    room: &'a mut Room,
}

/// Runs of one kind in a query.
#[derive(Clone, Copy)]
struct Runs {
    /// Where they stand, as bits.
    places: u64,
    count: u32,
}

impl Runs {
    fn at(places: u64) -> Self {
        let count = places.count_ones();
        Self { places, count }
    }

    /// Where both sides have such runs: the share of the shorter list that the other lacks. `named`: what of the query the
    /// phrasing has; `others`: how many such the phrasing has.
    fn differ(self, named: u64, others: u32) -> f64 {
        let fewer = self.count.min(others);
        if fewer == 0 {
            return 0.0;
        }
        1.0 - (f64::from((self.places & named).count_ones()) / f64::from(fewer)).min(1.0)
    }
}

/// A word of the query.
struct QueryWord {
    /// Where its units stand, as bits, and how many they are.
    places: u64,
    units: u32,
    idf: u32,
}

/// Room for what comparing needs; each thread has one, because making it costs as much as a short query.
pub struct Room {
    /// Where a syllable is heard in the query, as bits, by syllable.
    sound_places: Box<[u64; Syllable::COUNT]>,
    /// Of the phrasing that is compared.
    units: Vec<UnitFacts>,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::new(Room {
        sound_places: Box::new([0; Syllable::COUNT]),
        units: Vec::new(),
    });
}

impl Room {
    /// Lends the thread's for one query; not to be asked for anew meanwhile.
    pub fn lent<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        ROOM.with_borrow_mut(|room| {
            room.sound_places.fill(0);
            work(room)
        })
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
    sound: Sound,
    kind: Kinds,
}

/// How many of a phrasing's units are runs.
#[derive(Clone, Copy, Default)]
struct Kinds {
    /// Of letters above the lower half, of digits in it: both are counted at once.
    both: u32,
}

impl Kinds {
    fn of(unit: Unit) -> Self {
        let both = u32::from(unit.is_number()) | u32::from(unit.is_latin()) << 16;
        Self { both }
    }

    fn numbers(self) -> u32 {
        self.both & 0xffff
    }

    fn latin(self) -> u32 {
        self.both >> 16
    }
}

/// How rare the first syllable of a place is.
#[derive(Clone, Copy, Default)]
struct Sound {
    /// 0 where nothing sounds.
    rarity: u32,
    /// All bits set, none where nothing sounds.
    sounds: u64,
}

impl Sound {
    fn of(syllable: Syllable, scales: &Scales) -> Self {
        Self {
            rarity: scales.syllable(syllable),
            sounds: u64::MAX,
        }
    }

    fn squared(self) -> u64 {
        square(self.rarity)
    }

    /// Squared rarity of this and the next, as if each came by chance: counting every pair is dear, and what a pair adds to
    /// its two sounds is order. 0 unless both sound.
    fn with(self, next: Self, rarest: u32) -> u64 {
        square((self.rarity + next.rarity).min(rarest)) & self.sounds & next.sounds
    }
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
    pub fn new(
        analysis: &'a Analysis,
        known: &Recognised,
        sounding: &Sounding,
        read: usize,
        (vocabulary, scales): (&'a Vocabulary, &'a Scales),
        room: &'a mut Room,
    ) -> Self {
        let (rarity, answers) = (scales.rarity, scales.answers);
        let own = &analysis.units[..analysis.units.len().min(POSITIONS)];
        let known_units = &known.units[..own.len()];
        let units: Vec<u32> = known_units.iter().map(|known| known.number).collect();
        let words: Vec<u32> = known.words.iter().map(|known| known.number).collect();
        let rarest = rarity.idf(0);
        let spans = analysis.word_spans.iter().zip(&known.words);
        let query_words: Vec<QueryWord> = spans
            .map(|(span, known)| {
                let places = places_within(*span, &analysis.unit_starts);
                QueryWord {
                    places,
                    units: places.count_ones(),
                    idf: rarity.idf(known.doc_freq),
                }
            })
            .collect();
        let unseen = known
            .words
            .iter()
            .zip(&query_words)
            .filter(|(known, _)| known.doc_freq == 0);
        let unseen = unseen.map(|(_, word)| u64::from(word.idf)).sum();
        let word_mass = query_words.iter().map(|word| u64::from(word.idf)).sum();
        let answer_freq: Vec<u32> = words.iter().map(|number| vocabulary.answer_freq.get(*number)).collect();
        let answer_idf = answer_freq.iter().map(|freq| u64::from(answers.idf(*freq)));
        let answer_words = (0..words.len()).filter(|at| answer_freq[*at] > 0).map(|at| AnswerWord {
            number: words[at],
            place: bit(at),
            idf: answers.idf(answer_freq[at]),
        });
        for (at, readings) in sounding.places().enumerate() {
            for syllable in readings {
                room.sound_places[syllable.index()] |= bit(at);
            }
        }
        let heard = |readings: &[Syllable]| {
            let first = readings.first().map(|first| Sound::of(*first, scales));
            first.unwrap_or_default()
        };
        let heard: Vec<Sound> = sounding.places().map(heard).collect();
        let places_of = |holds: &dyn Fn(usize) -> bool| {
            (0..own.len()).fold(0, |places, at| if holds(at) { places | bit(at) } else { places })
        };
        let mut query = Self {
            mass: Mass {
                answer: answer_idf.sum(),
                ..Mass::default()
            },
            numbers: Runs::at(places_of(&|at| own[at].is_number())),
            latin: Runs::at(places_of(&|at| own[at].is_latin() && known_units[at].doc_freq > 0)),
            unit_idf: known_units.iter().map(|known| rarity.idf(known.doc_freq)).collect(),
            unknown: ratio(unseen, word_mass),
            answer_words: answer_words.collect(),
            sounds: heard.iter().map(|sound| sound.squared()).collect(),
            sound_pairs: std::iter::once(&Sound::default())
                .chain(&heard)
                .zip(&heard)
                .map(|(before, sound)| before.with(*sound, rarest))
                .collect(),
            denies: denies(own),
            read: (read as f64 / analysis.units.len().max(1) as f64).min(1.0),
            room,
            unit_places: Places::of(&units),
            word_places: Places::of(&words),
            units,
            words: query_words,
            analysis,
            vocabulary,
            scales,
            rarest,
        };
        query.mass = Mass {
            units: sum(&query.unit_idf),
            words: word_mass,
            answer: query.mass.answer,
            sounds: query.sounds.iter().chain(&query.sound_pairs).sum(),
        };
        query
    }

    /// The features of one phrasing but those that depend on the other candidates.
    /// `covered` gathers, as bits, the query's units that the phrasings of one entry have; 0 before the first.
    pub fn compare(&mut self, phrasing: Row<'_>, answer: AnswerWords<'_>, covered: &mut u64) -> Features {
        let (length, own_length) = (phrasing.units.len(), self.analysis.units.len());
        self.look_up(phrasing.units);
        let (units, sounds) = (self.compare_units(), self.compare_sounds());
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
            sounds: sounds.cosine,
            sound_sequence: 2.0 * f64::from(sounds.sequence) / (self.sounds.len() + length).max(1) as f64,
            length: length.min(own_length) as f64 / length.max(own_length).max(1) as f64,
            same: flag(length == own_length && *phrasing.units == *self.units),
            answer: heeded * ratio(answer.matched, self.mass.answer),
            answer_adds: heeded * ratio(answer.adds, self.mass.answer),
            numbers_differ: self.numbers.differ(units.named, units.kinds.numbers()),
            latin_differs: self.latin.differ(units.named, units.kinds.latin()),
            latin_one_sided: flag((self.latin.count == 0) == (units.kinds.latin() > 0)),
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

    fn look_up(&mut self, phrasing: &[u32]) {
        let Self {
            vocabulary,
            scales,
            unit_places,
            room: Room { sound_places, units },
            ..
        } = self;
        units.clear();
        units.extend(phrasing.iter().map(|&number| {
            let KnownUnit { unit, readings } = vocabulary.unit(number);
            let (mut sounding, mut sound) = (0, Sound::default());
            // Most have one.
            if let [first, others @ ..] = readings {
                let others = others.iter().map(|reading| sound_places[reading.index()]);
                sounding = others.fold(sound_places[first.index()], |places, more| places | more);
                sound = Sound::of(*first, scales);
            }
            UnitFacts {
                places: unit_places.at(number),
                sounding,
                idf: scales.rarity.idf(vocabulary.units.doc_freq(number)),
                sound,
                kind: Kinds::of(unit),
            }
        }));
    }

    fn compare_units(&self) -> UnitOverlap {
        let mut overlap = UnitOverlap::default();
        let (mut paired, mut before) = (0_u64, 0_u64);
        for facts in &self.room.units {
            overlap.mass += u64::from(facts.idf);
            overlap.named |= facts.places;
            overlap.kinds.both += facts.kind.both;
            let matched = first_of(facts.places & !overlap.matched_places);
            overlap.matched_places |= matched;
            overlap.matched += if matched == 0 { 0 } else { u64::from(facts.idf) };
            let pair = first_of((before << 1) & facts.places & !paired);
            paired |= pair;
            overlap.pairs += u32::from(pair != 0);
            before = facts.places;
        }
        overlap
    }

    fn compare_sounds(&self) -> SoundOverlap {
        let (mut heard, mut paired, mut before) = (0_u64, 0_u64, 0_u64);
        let (mut mass, mut sound_before) = (0_u64, Sound::default());
        // Bit-parallel longest common subsequence (Hyyrö 2004): as long as there are zero bits.
        let mut open = u64::MAX;
        for facts in &self.room.units {
            heard |= first_of(facts.sounding & !heard);
            paired |= first_of((before << 1) & facts.sounding & !paired);
            before = facts.sounding;
            let taken = open & facts.sounding;
            open = open.wrapping_add(taken) | (open - taken);
            mass += facts.sound.squared() + sound_before.with(facts.sound, self.rarest);
            sound_before = facts.sound;
        }
        let at = |bits: u64, squares: &[u64]| set_bits(bits).map(|at| squares[at]).sum::<u64>();
        let common = at(heard, &self.sounds) + at(paired, &self.sound_pairs);
        let mut overlap = SoundOverlap {
            sequence: (!open).count_ones(),
            cosine: 0.0,
        };
        if common > 0 {
            // In natural-log units, so that the product stays far below what f64 holds.
            let natural = |mass: u64| mass as f64 / (IDF_STEPS * IDF_STEPS);
            overlap.cosine = (natural(common) / (natural(self.mass.sounds) * natural(mass)).sqrt()).min(1.0);
        }
        overlap
    }

    /// `covered`: the query's units that the phrasing has.
    fn compare_words(&self, phrasing: &[u32], covered: u64) -> WordOverlap {
        let mut overlap = WordOverlap::default();
        for number in phrasing {
            let place = self.word_places.at(*number);
            let idf = u64::from(self.scales.rarity.idf(self.vocabulary.words.doc_freq(*number)));
            overlap.mass += idf;
            overlap.matched += if place == 0 { 0 } else { idf };
            overlap.places |= place;
        }
        overlap.in_part = overlap.matched;
        for (at, word) in self.words.iter().enumerate() {
            let part = word.places & covered;
            if part != 0 && overlap.places & bit(at) == 0 {
                overlap.in_part += u64::from(word.idf * part.count_ones() / word.units);
            }
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

#[derive(Default)]
struct UnitOverlap {
    /// The query's units that the phrasing has, each of the phrasing's for one; as bits.
    matched_places: u64,
    /// The same, each for all of its kind.
    named: u64,
    /// The phrasing's.
    kinds: Kinds,
    matched: u64,
    mass: u64,
    pairs: u32,
}

struct SoundOverlap {
    /// Of rarities.
    cosine: f64,
    /// Length of the longest common subsequence of syllables.
    sequence: u32,
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

/// The units within a byte range, as bits.
fn places_within((start, end): (u32, u32), unit_starts: &[u32]) -> u64 {
    let inside = unit_starts
        .iter()
        .enumerate()
        .filter(|(_, at)| (start..end).contains(*at));
    inside.fold(0, |places, (at, _)| places | bit(at))
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
