//! What is typed, as an automaton over rows of unit numbers.
//!
//! A typed text is a row of *places*: a Chinese character, a letter, a number. A [`Pattern`] has the *steps* that lead over
//! one or more places and the units of the bank that each of them stands for: a character itself; what sounds like a
//! syllable, or like the beginning of one; a run of letters or digits. Text, full pinyin, initials and mixtures of them
//! are ways through the same places, and the automaton is in all of them at once (bit-parallel simulation: Baeza-Yates &
//! Gonnet 1992).

use crate::matching::pinyin;
use crate::matching::spelling::Lexicon;
use crate::matching::tokenizer::{Unit, units};
use crate::matching::vocabulary::Vocabulary;

/// Places and steps of one pattern at most: a bit each.
const MOST_PLACES: usize = 63;
const MOST_STEPS: usize = 64;
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
    Sound(pinyin::Syllable),
    /// A character whose reading begins so.
    SoundBeginning(String),
}

/// What the bank knows about how it is typed.
#[derive(Clone, Copy)]
pub struct Bank<'a> {
    pub lexicon: &'a Lexicon,
    pub vocabulary: &'a Vocabulary,
}

/// A step with the numbers of the units it stands for: numbers, from, to.
type Known = (Vec<u32>, usize, usize);

/// What is typed, ready to be compared with rows of unit numbers.
pub struct Pattern {
    /// Places; the automaton has matched when it is past them.
    places: usize,
    /// From and to of each step.
    steps: Vec<(u32, u32)>,
    /// By number of a unit: the steps it takes, a bit each.
    takes: Vec<u64>,
    /// Every match holds one of these units.
    pub rarest: Vec<u32>,
    /// Phrasings that hold them, at most.
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
            numbers.retain(|number| vocabulary.unit(*number).as_char().is_some_and(is_meant));
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
            let known = steps
                .into_iter()
                .map(|step| (step.means.numbers(bank), step.from, step.to));
            let mut known: Vec<Known> = known.filter(|(numbers, ..)| !numbers.is_empty()).collect();
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
        let mut takes = vec![0; vocabulary.units.numbers()];
        let mut taken = Vec::new();
        for (step, (numbers, ..)) in known.iter().enumerate() {
            for &number in numbers {
                if takes[number as usize] == 0 {
                    taken.push(number);
                }
                takes[number as usize] |= 1 << step;
            }
        }
        let held_at = |place: usize| {
            let is_over = |(_, from, to): &Known| *from <= place && place < *to;
            let over = (0..).zip(known).map(|(step, known)| u64::from(is_over(known)) << step);
            let over: u64 = over.sum();
            let holds = |number: &u32| takes[*number as usize] & over != 0;
            let holding: Vec<u32> = taken.iter().copied().filter(holds).collect();
            let doc_freq = |number: &u32| vocabulary.units.doc_freq(*number) as usize;
            let documents = holding.iter().map(doc_freq).sum();
            (holding, documents)
        };
        let (rarest, documents) = (0..places).map(held_at).min_by_key(|(_, documents)| *documents)?;
        Some(Self {
            places,
            steps: known.iter().map(|(_, from, to)| (*from as u32, *to as u32)).collect(),
            takes,
            rarest,
            documents,
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
        let mut steps = self.takes.get(unit as usize).copied().unwrap_or(0);
        let mut reached = 0;
        while steps != 0 && at != 0 {
            let (from, to) = self.steps[steps.trailing_zeros() as usize];
            reached |= (at >> from & 1) << to;
            steps &= steps - 1;
        }
        reached
    }

    fn is_past(&self, at: u64) -> bool {
        at >> self.places & 1 == 1
    }
}

/// Drops the steps that are on no way from the first place past the last one.
fn keep_ways_through(steps: &mut Vec<Known>, places: usize) {
    let (mut from_start, mut to_end) = (1_u64, 1_u64 << places);
    steps.sort_by_key(|(_, from, to)| (*from, *to));
    for (_, from, to) in &*steps {
        from_start |= (from_start >> from & 1) << to;
    }
    for (_, from, to) in steps.iter().rev() {
        to_end |= (to_end >> to & 1) << from;
    }
    steps.retain(|(_, from, to)| from_start >> from & to_end >> to & 1 == 1);
}
