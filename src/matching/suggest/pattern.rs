//! What is typed, as an automaton over rows of unit numbers.
//!
//! A typed text is a row of *places*: a Chinese character, a letter, a number. A [`Pattern`] has the *steps* that lead over
//! one or more places and the units of the bank that each of them stands for: a character itself; what sounds like a
//! syllable, or like the beginning of one; a run of letters or digits. Text, full pinyin, initials and mixtures of them
//! are ways through the same places, and the automaton is in all of them at once (bit-parallel simulation: Baeza-Yates &
//! Gonnet 1992).

use crate::matching::pinyin::{self, Syllable};
use crate::matching::segment::Field;
use crate::matching::spelling::Lexicon;
use crate::matching::tokenizer::{Bigram, SoundBigram, Unit, units};
use crate::matching::vocabulary::Vocabulary;

/// Places of one pattern at most: a bit each.
const MOST_PLACES: usize = 63;
/// Steps of one pattern at most; more are made of long pinyin only.
const MOST_STEPS: usize = 96;
/// So many phrasings are read without looking for shorter lists; else so many places are tried together with the next.
const FEW: usize = 1_024;
const MOST_PAIRED: usize = 4;
/// Sets of lists whose common phrasings are compared, and how much longer than the shortest one they may be: to read on
/// in a list costs far less than a comparison.
const MOST_SETS: usize = 3;
const WORTH: usize = 4;
/// Longest piece of a run of letters: syllables have six at most (zhuang), a run of the bank may have more.
const LONGEST_PIECE: usize = 12;
/// Pinyin is split into the fewest syllables and initials, and into one more, as `xian` into xi an; long texts are not.
const MORE_PIECES: [usize; 2] = [1, 0];

/// A way from one place to a later one.
#[derive(Debug, Clone, PartialEq)]
struct Step {
    from: usize,
    to: usize,
    means: Means,
}

/// What a step stands for.
#[derive(Debug, Clone, PartialEq)]
enum Means {
    /// This character, or this run as a whole.
    Exactly(Unit),
    /// A run that begins so.
    RunBeginning(String),
    /// A character that is read so.
    Sound(Syllable),
    /// A character whose reading begins so.
    SoundBeginning(String),
}

/// What the bank knows about how it is typed.
#[derive(Clone, Copy)]
pub struct Bank<'a> {
    pub lexicon: &'a Lexicon,
    pub vocabulary: &'a Vocabulary,
}

/// A step with the numbers of the units of the bank that it stands for.
struct Known {
    step: Step,
    numbers: Vec<u32>,
}

/// An inverted list: its field and the number of its term.
pub type Listed = (Field, u32);

/// What is typed, ready to be compared with rows of unit numbers.
pub struct Pattern {
    /// The automaton has matched when it is past them.
    places: usize,
    /// How many places steps lead over, each number once.
    spans: Vec<u32>,
    /// By number of a unit: its row in `fits`; the first row is empty.
    takes: Vec<u32>,
    /// A row has a mask for each of `spans`: the places from which the unit leads so far.
    fits: Vec<u64>,
    /// Numbers of the units with which a row must begin to begin with it.
    pub firsts: Vec<u32>,
    /// Every match is in each of these, the shortest first; at least one.
    pub holding: Vec<Holding>,
}

/// Lists that together hold every match.
pub struct Holding {
    pub lists: Vec<Listed>,
    /// Phrasings in them, those in several counted as often.
    pub documents: usize,
}

/// The places of a text and the steps over them; see [`Bank::pieces`] for `more`.
fn steps(text: &str, more: usize, bank: Bank<'_>) -> (usize, Vec<Step>) {
    let units: Vec<&str> = units(text).map(|(_, unit)| unit).collect();
    let mut steps = Vec::new();
    let mut from = 0;
    for (at, unit) in units.iter().enumerate() {
        let is_last = at + 1 == units.len();
        let is_typed = unit.bytes().all(|b| b.is_ascii_lowercase());
        let to = from + if is_typed { unit.len() } else { 1 };
        let code = Unit::new(unit);
        let means = match code.as_char() {
            None if is_last => Means::RunBeginning((*unit).to_owned()),
            _ => Means::Exactly(code),
        };
        steps.push(Step { from, to, means });
        if is_typed && unit.len() <= MOST_PLACES {
            steps.extend(bank.pieces(unit, is_last, more).into_iter().map(|step| Step {
                from: step.from + from,
                to: step.to + from,
                ..step
            }));
        }
        from = to;
    }
    (from, steps)
}

impl Bank<'_> {
    /// The steps over a run of letters that is pinyin, or pinyin beside a run of the bank, in as few pieces as can be,
    /// or so many `more`. The last syllable or run of what is typed may be incomplete. Empty when it is none of it.
    fn pieces(self, run: &str, is_last: bool, more: usize) -> Vec<Step> {
        /// A run of the bank in the midst of letters weighs as much as two syllables.
        const RUN: usize = 2;
        let length = run.len();
        let mut steps: Vec<(usize, Step)> = Vec::new();
        for from in 0..length {
            for to in from + 1..=length.min(from + LONGEST_PIECE) {
                let (piece, is_end) = (&run[from..to], is_last && to == length);
                if let Some(means) = sound(piece, is_end) {
                    steps.push((1, Step { from, to, means }));
                }
                let means = match is_end {
                    true => Means::RunBeginning(piece.to_owned()),
                    false => Means::Exactly(Unit::new(piece)),
                };
                if (2..length).contains(&piece.len()) && !means.numbers(self).is_empty() {
                    steps.push((RUN, Step { from, to, means }));
                }
            }
        }
        // The fewest pieces before and after each place; far more than there are where no way leads.
        let far = 4 * MOST_PLACES;
        let (mut before, mut after) = (vec![far; length + 1], vec![far; length + 1]);
        (before[0], after[length]) = (0, 0);
        for (weight, step) in &steps {
            before[step.to] = before[step.to].min(before[step.from] + weight);
        }
        for (weight, step) in steps.iter().rev() {
            after[step.from] = after[step.from].min(after[step.to] + weight);
        }
        let most = (before[length] + more).min(far);
        steps.retain(|(weight, step)| before[step.from] + weight + after[step.to] <= most);
        steps.into_iter().map(|(_, step)| step).collect()
    }
}

/// What letters stand for as pinyin: a syllable, an initial, or at the end the beginning of a syllable.
fn sound(piece: &str, is_end: bool) -> Option<Means> {
    let is_initial = piece.len() == 1 || matches!(piece, "zh" | "ch" | "sh");
    if (is_initial || is_end) && !pinyin::beginning(piece).is_empty() {
        Some(Means::SoundBeginning(piece.to_owned()))
    } else {
        pinyin::typed(piece).map(Means::Sound)
    }
}

impl Means {
    /// How the units sound that it stands for; `None` where some of them have no sound.
    fn sounds(&self) -> Option<Vec<Syllable>> {
        let sounds = match self {
            Self::Exactly(unit) => unit.readings().all().to_vec(),
            Self::RunBeginning(_) => Vec::new(),
            Self::Sound(syllable) => vec![*syllable],
            Self::SoundBeginning(letters) => pinyin::beginning(letters),
        };
        Some(sounds).filter(|sounds| !sounds.is_empty())
    }

    /// Numbers of the units of the bank it stands for.
    fn numbers(&self, Bank { lexicon, vocabulary }: Bank<'_>) -> Vec<u32> {
        let mut numbers: Vec<u32> = match self {
            Self::Exactly(unit) => vocabulary.units.number(unit.0).into_iter().collect(),
            Self::RunBeginning(letters) => lexicon.runs_beginning(letters).collect(),
            Self::Sound(syllable) => lexicon.sounding(*syllable).collect(),
            Self::SoundBeginning(letters) => {
                let classes = pinyin::beginning(letters).into_iter();
                classes.flat_map(|class| lexicon.sounding(class)).collect()
            }
        };
        numbers.retain(|number| vocabulary.units.doc_freq(*number) > 0);
        // These sound alike, but whoever types an initial knows which one.
        if let Self::SoundBeginning(letters) = self
            && let b"n" | b"l" = letters.as_bytes()
        {
            let is_meant = |c: char| pinyin::initials(c).any(|initial| letters.as_bytes() == [initial]);
            numbers.retain(|number| vocabulary.unit(*number).unit.as_char().is_some_and(is_meant));
        }
        numbers
    }
}

impl Pattern {
    /// `None` when no row of the bank can match, or too much is typed.
    pub fn new(text: &str, bank: Bank<'_>) -> Option<Self> {
        for more in MORE_PIECES {
            let (places, steps) = steps(text, more, bank);
            if !(1..=MOST_PLACES).contains(&places) {
                return None;
            }
            let known = steps.into_iter().map(|step| Known {
                numbers: step.means.numbers(bank),
                step,
            });
            let mut known: Vec<Known> = known.filter(|known| !known.numbers.is_empty()).collect();
            keep_ways_through(&mut known, places);
            match known.len() {
                0 => return None,
                1..=MOST_STEPS => return Self::of(places, &known, bank.vocabulary),
                _ => {}
            }
        }
        None
    }

    fn of(places: usize, known: &[Known], vocabulary: &Vocabulary) -> Option<Self> {
        let mut spans: Vec<u32> = known.iter().map(Known::span).collect();
        spans.sort_unstable();
        spans.dedup();
        let mut takes = vec![0; vocabulary.units.numbers()];
        let mut fits = vec![0; spans.len()];
        for known in known {
            let column = spans.iter().position(|span| *span == known.span())?;
            for number in &known.numbers {
                let row = &mut takes[*number as usize];
                if *row == 0 {
                    *row = (fits.len() / spans.len()) as u32;
                    fits.resize(fits.len() + spans.len(), 0);
                }
                fits[*row as usize * spans.len() + column] |= 1 << known.step.from;
            }
        }
        let mut firsts: Vec<u32> = known
            .iter()
            .filter(|known| known.step.from == 0)
            .flat_map(|known| known.numbers.iter().copied())
            .collect();
        firsts.sort_unstable();
        firsts.dedup();
        Some(Self {
            places,
            firsts,
            spans,
            takes,
            fits,
            holding: shortest(places, known, vocabulary),
        })
    }

    /// Whether a row begins with it.
    pub fn begins(&self, row: &[u32]) -> bool {
        let mut at = 1;
        row.iter().any(|unit| {
            at = self.next(at, *unit);
            self.is_past(at)
        })
    }

    /// Whether a row holds it.
    pub fn is_within(&self, row: &[u32]) -> bool {
        let mut at = 0;
        row.iter().any(|unit| {
            at = self.next(at | 1, *unit);
            self.is_past(at)
        })
    }

    /// The places reached from `at`, a bit each, over one unit.
    fn next(&self, at: u64, unit: u32) -> u64 {
        let row = self.takes.get(unit as usize).copied().unwrap_or(0) as usize;
        if row == 0 || at == 0 {
            return 0;
        }
        let fits = &self.fits[row * self.spans.len()..];
        let reached = fits.iter().zip(&self.spans).map(|(from, span)| (at & from) << span);
        reached.fold(0, |all, reached| all | reached)
    }

    fn is_past(&self, at: u64) -> bool {
        at >> self.places & 1 == 1
    }
}

/// The shortest sets of lists each of which holds every match, the shortest first, at least one: those of one place, or
/// of one and the next.
fn shortest(places: usize, known: &[Known], vocabulary: &Vocabulary) -> Vec<Holding> {
    let over = |place: usize| known.iter().filter(move |known| known.is_over(place));
    let at = |place: usize| Holding::of(over(place).flat_map(Known::units).collect(), vocabulary);
    // The letters of a syllable are as many places under the same steps: one of them stands for all.
    let same = |place: usize| {
        known
            .iter()
            .all(|known| known.is_over(place) == known.is_over(place - 1))
    };
    let distinct = (0..places).filter(|place| *place == 0 || !same(*place));
    let mut sets: Vec<(usize, Holding)> = distinct.map(|place| (place, at(place))).collect();
    sets.sort_by_key(|(_, set)| set.documents);
    if sets[0].1.documents > FEW {
        let is_followed = |place: usize| over(place).any(|known| known.step.to < places);
        let followed = sets.iter_mut().filter(|(place, _)| is_followed(*place));
        for (place, set) in followed.take(MOST_PAIRED) {
            let pairs = over(*place).flat_map(|first| first.pairs(known, places, vocabulary));
            let pairs = Holding::of(pairs.collect(), vocabulary);
            if pairs.documents < set.documents {
                *set = pairs;
            }
        }
        sets.sort_by_key(|(_, set)| set.documents);
    }
    let worth = WORTH * sets[0].1.documents;
    let sets = sets.into_iter().map(|(_, set)| set);
    let mut sets: Vec<Holding> = sets.take_while(|set| set.documents <= worth).take(MOST_SETS).collect();
    if sets.first().is_some_and(|set| set.documents <= FEW) {
        sets.truncate(1);
    }
    sets
}

impl Holding {
    fn of(mut lists: Vec<Listed>, vocabulary: &Vocabulary) -> Self {
        lists.sort_unstable();
        lists.dedup();
        let documents = lists
            .iter()
            .map(|(field, number)| vocabulary.doc_freq(*field, *number) as usize)
            .sum();
        Self { lists, documents }
    }
}

impl Known {
    fn span(&self) -> u32 {
        (self.step.to - self.step.from) as u32
    }

    fn is_over(&self, place: usize) -> bool {
        (self.step.from..self.step.to).contains(&place)
    }

    fn units(&self) -> impl Iterator<Item = Listed> {
        self.numbers.iter().map(|number| (Field::Units, *number))
    }

    /// Lists that hold whatever takes this step and, unless it is the last, one of those that follow.
    fn pairs(&self, known: &[Self], places: usize, vocabulary: &Vocabulary) -> Vec<Listed> {
        if self.step.to == places {
            return self.units().collect();
        }
        let mut lists = Vec::new();
        for next in known.iter().filter(|next| next.step.from == self.step.to) {
            if let (Means::Exactly(first), Means::Exactly(second)) = (&self.step.means, &next.step.means) {
                let number = vocabulary.bigrams.number(Bigram::new(*first, *second).0);
                lists.extend(number.map(|number| (Field::Bigrams, number)));
                continue;
            }
            let (Some(firsts), Some(seconds)) = (self.step.means.sounds(), next.step.means.sounds()) else {
                return self.units().collect();
            };
            let pairs = firsts
                .iter()
                .flat_map(|first| seconds.iter().map(|second| SoundBigram::new(*first, *second)));
            let numbers = pairs.filter_map(|pair| vocabulary.sounds.number(pair.0));
            lists.extend(numbers.map(|number| (Field::Sounds, number)));
        }
        lists
    }
}

/// Drops the steps that are on no way from the first place past the last one.
fn keep_ways_through(known: &mut Vec<Known>, places: usize) {
    let (mut from_start, mut to_end) = (1_u64, 1_u64 << places);
    known.sort_by_key(|known| (known.step.from, known.step.to));
    for Known { step, .. } in &*known {
        from_start |= (from_start >> step.from & 1) << step.to;
    }
    for Known { step, .. } in known.iter().rev() {
        to_end |= (to_end >> step.to & 1) << step.from;
    }
    known.retain(|Known { step, .. }| from_start >> step.from & to_end >> step.to & 1 == 1);
}
