//! Features: how a query and one phrasing of the bank compare, in numbers.
//!
//! [`Query::compare`] is the entry point; what the features are worth is `ranking`'s business. Everything is computed
//! from the terms of the two sides and the bank's document frequencies, in whole idf steps, so the same pair gives the
//! same numbers whatever the edit history. One comparison is linear in the phrasing's length.

mod overlap;
mod places;
mod room;

pub use room::Room;

use super::segment::{AnswerWords, Row};
use super::sounding::Sounding;
use super::tokenizer::{Analysis, Contrasted, Unit};
use super::vocabulary::{Frequency, Recognised, Scales, Vocabulary};
use overlap::{CommonSounds, CommonUnits, CommonWords, QueryWord};

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
    /// 1 when both have the same units in the same order, at most 64.
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
    words: Vec<QueryWord>,
    /// Those of its words that some answer has.
    answer_words: Vec<AnswerWord>,
    mass: Mass,
    numbers: Runs,
    /// Those that the bank has: an unknown one may be pinyin or a typing error.
    latin: Runs,
    /// Places of what is heard.
    heard: usize,
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
        let rarest = rarity.of(Frequency::default());
        let mut mass = Mass {
            units: room.take_units(&known.units[..own.len()], rarity),
            sounds: room.take_sounds(sounding, scales, rarest),
            ..Mass::default()
        };
        room.words.take(&known.words);
        let (mut words, mut unseen) = (Vec::with_capacity(known.words.len()), 0);
        let mut answer_words = Vec::with_capacity(known.words.len());
        for (at, (span, known)) in analysis.word_spans.iter().zip(&known.words).enumerate() {
            let (places, idf) = (places_within(*span, &analysis.unit_starts), rarity.of(known.frequency));
            mass.words += u64::from(idf);
            unseen += if known.doc_freq() == 0 { u64::from(idf) } else { 0 };
            words.push(QueryWord::new(places, idf));
            let entries = vocabulary.words.get(known.number).more;
            let idf = answers.idf(entries);
            mass.answer += u64::from(idf);
            if entries > 0 {
                answer_words.push(AnswerWord {
                    number: known.number,
                    place: bit(at),
                    idf,
                });
            }
        }
        let places_of = |holds: &dyn Fn(usize) -> bool| {
            (0..own.len()).fold(0, |places, at| if holds(at) { places | bit(at) } else { places })
        };
        Self {
            numbers: Runs::at(places_of(&|at| own[at].is_number())),
            latin: Runs::at(places_of(&|at| own[at].is_latin() && known.units[at].doc_freq() > 0)),
            unknown: ratio(unseen, mass.words),
            heard: sounding.len(),
            denies: denies(analysis),
            read: (read as f64 / analysis.units.len().max(1) as f64).min(1.0),
            words,
            answer_words,
            mass,
            analysis,
            vocabulary,
            scales,
            rarest,
            room,
        }
    }

    /// The features of one phrasing but those that depend on the other candidates.
    /// `covered` gathers, as bits, the query's units that the phrasings of one entry have; 0 before the first.
    pub fn compare(&mut self, phrasing: Row<'_>, answer: AnswerWords<'_>, covered: &mut u64) -> Features {
        let (length, own_length) = (phrasing.units.len(), self.analysis.units.len());
        let bank = (self.vocabulary, self.scales);
        let units = CommonUnits::of(self.room, bank, phrasing.units);
        let sounds = CommonSounds::of(self.room, &self.room.heard[..length], self.mass.sounds, self.rarest);
        let words = CommonWords::of(self.room, &self.words, bank, phrasing.words, units.matched_places);
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
            sound_sequence: 2.0 * f64::from(sounds.sequence) / (self.heard + length).max(1) as f64,
            length: length.min(own_length) as f64 / length.max(own_length).max(1) as f64,
            same: flag(length == own_length && *phrasing.units == *self.room.numbers),
            answer: heeded * ratio(answer.matched, self.mass.answer),
            answer_adds: heeded * ratio(answer.adds, self.mass.answer),
            numbers_differ: self.numbers.differ(units.named, units.runs.of_digits()),
            latin_differs: self.latin.differ(units.named, units.runs.of_letters()),
            latin_one_sided: flag((self.latin.count == 0) == (units.runs.of_letters() > 0)),
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
        ratio(self.room.unit_idf.at(covered), self.mass.units)
    }

    /// `named`: the query's words that the phrasing has.
    fn compare_answer(&self, answer: AnswerWords<'_>, named: u64) -> CommonAnswer {
        let mut common = CommonAnswer::default();
        for word in &self.answer_words {
            if answer.hold(word.number) {
                common.matched += u64::from(word.idf);
                common.adds += u64::from(if named & word.place == 0 { word.idf } else { 0 });
            }
        }
        common
    }
}

#[derive(Default)]
struct CommonAnswer {
    matched: u64,
    /// Of it, what the phrasing lacks.
    adds: u64,
}

/// Whether something is denied (不, 没 …); 能不能 and 有没有 only ask, and the 别 of 区别 denies nothing.
pub fn denies(text: &Analysis) -> bool {
    const DENIALS: [char; 5] = ['不', '没', '无', '未', '非'];
    /// Denies only where it is no part of a longer word.
    const ALONE: char = '别';
    let units = &text.units;
    let asks = |at: usize| {
        let (before, after) = (at.checked_sub(1).and_then(|at| units.get(at)), units.get(at + 1));
        before.is_some_and(|before| after == Some(before))
    };
    // A word is listed where it comes first only, so every place of it is looked at.
    let words = text
        .word_spans
        .iter()
        .map(|(from, to)| &text.text[*from as usize..*to as usize]);
    let longer: Vec<&str> = words
        .filter(|word| word.contains(ALONE) && word.chars().count() > 1)
        .collect();
    let is_within = |at: usize, word: &str| {
        let place = text.unit_starts[at] as usize;
        let mut begins = word
            .match_indices(ALONE)
            .filter_map(|(inside, _)| place.checked_sub(inside));
        begins.any(|begin| text.text.get(begin..).is_some_and(|rest| rest.starts_with(word)))
    };
    let is_alone = |at: usize| !longer.iter().any(|word| is_within(at, word));
    let is = |at: usize, c: char| Unit::of_char(c) == units[at];
    let denial = |at: usize| DENIALS.iter().any(|c| is(at, *c)) || (is(at, ALONE) && is_alone(at));
    (0..units.len()).any(|at| denial(at) && !asks(at))
}

/// The units within a byte range, as bits.
fn places_within((start, end): (u32, u32), unit_starts: &[u32]) -> u64 {
    let before = |byte: u32| unit_starts.partition_point(|at| *at < byte);
    let below = |place: usize| bit(place).wrapping_sub(1);
    below(before(end)) & !below(before(start))
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

fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

fn ratio(part: u64, whole: u64) -> f64 {
    // Masses are far below 2^63, and signed numbers become floating ones at once.
    let float = |mass: u64| mass.cast_signed() as f64;
    if whole == 0 { 0.0 } else { float(part) / float(whole) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::Dictionaries;
    use crate::matching::Analyzer;

    #[test]
    fn what_denies_is_told_from_what_only_has_the_character() {
        let analyzer = Analyzer::new(&Dictionaries::default());
        for text in ["收不到验证码", "别扣我的钱", "非会员怎么买", "没有到账", "无法登录"] {
            assert!(denies(&analyzer.analyze(text)), "{text}");
        }
        for text in [
            "有什么区别",
            "区别一和区别二",
            "能不能买",
            "有没有手续费",
            "特别处理是什么",
            "怎么开户",
        ] {
            assert!(!denies(&analyzer.analyze(text)), "{text}");
        }
    }
}
