//! Respelling: what a follower who typed pinyin, initials or a same-sounding character meant, in the bank's own words.
//!
//! [`Lexicon::respell`] is the entry point. It reads the query as a row of slots and finds the cheapest row of words
//! from the bank that sounds the same (a Viterbi search over a word-unigram model, as in an input method). Latin runs
//! the bank knows stay as they are; a Chinese character changes only where the gain outweighs `CHANGE`. Costs are whole
//! steps of a natural-log unit, from the vocabulary's counts at the moment of the query.

use super::effort;
use super::pinyin::{self, Syllable};
use super::tokenizer::{Analysis, Unit};
use super::vocabulary::{Frequency, IDF_STEPS, Rarity, Recognised, Vocabulary};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Cost of changing one typed character.
const CHANGE: u32 = (6.0 * IDF_STEPS) as u32;
/// Cost of one initial: there are many more words behind two initials than behind two syllables.
const INITIAL: u32 = (2.0 * IDF_STEPS) as u32;
/// Cost of leaving a typed syllable or initial as it is.
const UNREAD: u32 = (25.0 * IDF_STEPS) as u32;
/// Longest word looked for, in slots.
const LONGEST: usize = 6;
/// Longest Latin run read as initials.
const MAX_INITIALS: usize = 8;

/// The bank's words by their sounds and by their initials, and its characters by their syllables.
///
/// It only grows; whether a word is still in the bank, and how often, the vocabulary tells.
#[derive(Clone, Default)]
pub struct Lexicon {
    settled: Arc<Shelf>,
    /// What came with recent edits.
    recent: Shelf,
}

#[derive(Clone, Default)]
struct Shelf {
    words: Vec<Known>,
    /// By key of a text: position in `words`.
    by_text: FxHashMap<Key, u32>,
    /// By key of a row of syllables: positions. The beginnings of longer rows are there as well, without words.
    by_sound: FxHashMap<Key, Vec<u32>>,
    /// By key of a row of initials, likewise.
    by_initials: FxHashMap<Key, Vec<u32>>,
    /// By syllable: numbers of characters that may be read so.
    by_syllable: FxHashMap<Syllable, Vec<u32>>,
    /// Runs of letters or digits with their numbers.
    runs: BTreeMap<Box<str>, u32>,
}

/// A row of characters, syllables or initials, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Key(u64);

#[derive(Clone)]
struct Known {
    text: Box<str>,
    /// The word's number in the vocabulary.
    number: u32,
}

/// A query in the bank's spelling.
#[derive(Debug, Clone, PartialEq)]
pub struct Respelled {
    /// A normalised text.
    pub text: String,
    /// Chinese characters that were changed.
    pub changed: usize,
    /// Syllables and initials that were read as characters.
    pub read: usize,
}

/// One thing the follower typed.
enum Slot<'a> {
    Char(char, &'static [Syllable], Frequency),
    Syllable(Syllable),
    Initial(u8),
    Fixed(&'a str),
}

/// How some slots are read.
#[derive(Clone, Copy)]
enum Reading<'a> {
    AsTyped,
    Word(&'a str),
    Char(char),
}

/// The cheapest way to read the slots before a place.
#[derive(Clone, Copy)]
struct Step<'a> {
    cost: u32,
    /// Where its last piece begins.
    start: usize,
    piece: Reading<'a>,
}

impl Key {
    /// Of a row one longer.
    fn with(self, next: u32) -> Self {
        Self((self.0.rotate_left(23) ^ u64::from(next).wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn of(row: impl IntoIterator<Item = u32>) -> Self {
        row.into_iter().fold(Self::default(), Self::with)
    }
}

impl Shelf {
    fn learn(&mut self, text: &str, number: u32) {
        let position = self.words.len() as u32;
        self.words.push(Known {
            text: text.into(),
            number,
        });
        self.by_text.insert(Key::of(text.chars().map(u32::from)), position);
        for sound in sounds(text) {
            let row = sound.iter().map(|syllable| syllable.index() as u32);
            file(&mut self.by_sound, row, position);
        }
        let initials = text.chars().filter_map(|c| pinyin::initials(c).next()).map(u32::from);
        file(&mut self.by_initials, initials, position);
    }
}

/// Files a word under its row, and makes known that there are rows with its beginnings.
fn file(shelf: &mut FxHashMap<Key, Vec<u32>>, row: impl Iterator<Item = u32>, position: u32) {
    let mut key = Key::default();
    for next in row {
        key = key.with(next);
        shelf.entry(key).or_default();
    }
    let words = shelf.entry(key).or_default();
    if words.last() != Some(&position) {
        words.push(position);
    }
}

impl Lexicon {
    /// Takes in a word with its number, unless it is known or cannot be meant by a sound.
    pub fn learn(&mut self, text: &str, number: u32) {
        if !is_sounded(text) {
            return;
        }
        let key = Key::of(text.chars().map(u32::from));
        if !self.settled.by_text.contains_key(&key) && !self.recent.by_text.contains_key(&key) {
            self.recent.learn(text, number);
        }
    }

    /// Takes in a unit that is new in the bank, with its number.
    pub fn learn_char(&mut self, unit: Unit, number: u32) {
        for syllable in unit.readings().all() {
            self.recent.by_syllable.entry(*syllable).or_default().push(number);
        }
    }

    /// Takes in a run of letters or digits that is new in the bank, with its number.
    pub fn learn_run(&mut self, run: &str, number: u32) {
        self.recent.runs.insert(run.into(), number);
    }

    /// Numbers of the characters that may be read so; the bank may hold some of them no longer.
    pub fn sounding(&self, syllable: Syllable) -> impl Iterator<Item = u32> {
        let known = self.shelves().filter_map(move |shelf| shelf.by_syllable.get(&syllable));
        known.flatten().copied()
    }

    /// Numbers of the runs that begin with `letters`; the bank may hold some of them no longer.
    pub fn runs_beginning<'a>(&'a self, letters: &'a str) -> impl Iterator<Item = u32> + 'a {
        let from = (Bound::Included(letters), Bound::Unbounded);
        let found = self.shelves().flat_map(move |shelf| {
            let after = shelf.runs.range::<str, _>(from);
            after.take_while(move |(run, _)| run.starts_with(letters))
        });
        found.map(|(_, number)| *number)
    }

    /// Files what is recent with the rest; takes time proportional to all of it.
    pub fn settle(&mut self) {
        let recent = std::mem::take(&mut self.recent);
        if self.settled.words.is_empty() && self.settled.by_syllable.is_empty() && self.settled.runs.is_empty() {
            self.settled = Arc::new(recent);
            return;
        }
        let settled = Arc::make_mut(&mut self.settled);
        for word in recent.words {
            settled.learn(&word.text, word.number);
        }
        for (syllable, numbers) in recent.by_syllable {
            settled.by_syllable.entry(syllable).or_default().extend(numbers);
        }
        settled.runs.extend(recent.runs);
    }

    /// The query as the bank would spell it; `None` when that is how it is spelled.
    pub fn respell(&self, query: &Analysis, known: &Recognised, vocabulary: &Vocabulary) -> Option<Respelled> {
        if is_familiar(query, known) {
            return None;
        }
        let slots = slots(query, known);
        let search = Search {
            lexicon: self,
            vocabulary,
            // Words and characters of all phrasings: what frequencies are shares of.
            rarity: Rarity::among(u32::try_from(2 * vocabulary.total_units).unwrap_or(u32::MAX - 1)),
            slots: &slots,
        };
        let pieces = pieces(&search.cheapest());
        let is_typed = |(_, _, piece): &(usize, usize, Reading<'_>)| matches!(piece, Reading::AsTyped);
        if pieces.iter().all(is_typed) {
            return None;
        }
        let respelled = render(&slots, pieces);
        (respelled.changed + respelled.read > 0).then_some(respelled)
    }

    fn shelves(&self) -> impl Iterator<Item = &Shelf> {
        [&*self.settled, &self.recent].into_iter()
    }
}

/// Whether the query has Chinese characters only and each two neighbours stand side by side in the bank: nothing in it
/// looks like a slip.
fn is_familiar(query: &Analysis, known: &Recognised) -> bool {
    query.units.iter().all(|unit| unit.as_char().is_some()) && known.bigrams.iter().all(|pair| pair.doc_freq() > 0)
}

/// What of a slot makes a key.
type Read = fn(&Slot<'_>) -> Option<u32>;
/// Where words are filed by such keys.
type Filed<'a> = fn(&'a Shelf) -> &'a FxHashMap<Key, Vec<u32>>;

/// One query being read.
struct Search<'a> {
    lexicon: &'a Lexicon,
    vocabulary: &'a Vocabulary,
    rarity: Rarity,
    slots: &'a [Slot<'a>],
}

impl<'a> Search<'a> {
    fn cheapest(&self) -> Vec<Step<'a>> {
        let unreached = Step {
            cost: u32::MAX,
            start: 0,
            piece: Reading::AsTyped,
        };
        let mut best = vec![unreached; self.slots.len() + 1];
        best[0].cost = 0;
        for start in 0..self.slots.len() {
            effort::spend(1);
            let before = best[start].cost;
            let mut offer = |end: usize, cost: u32, piece| {
                let cost = before.saturating_add(cost);
                if cost < best[end].cost {
                    best[end] = Step { cost, start, piece };
                }
            };
            offer(start + 1, self.cost_as_typed(&self.slots[start]), Reading::AsTyped);
            if let Slot::Syllable(syllable) = self.slots[start]
                && let Some((cost, c)) = self.best_char(syllable)
            {
                offer(start + 1, cost, Reading::Char(c));
            }
            self.words_from(start, |end, cost, word| offer(end, cost, Reading::Word(word)));
        }
        best
    }

    fn cost_as_typed(&self, slot: &Slot<'_>) -> u32 {
        match slot {
            Slot::Char(_, _, frequency) => self.rarity.of(*frequency),
            Slot::Syllable(_) | Slot::Initial(_) => UNREAD,
            Slot::Fixed(_) => 0,
        }
    }

    /// The bank's most frequent character that is read so, with its cost; of equal ones the lowest code.
    fn best_char(&self, syllable: Syllable) -> Option<(u32, char)> {
        let known = self.lexicon.sounding(syllable).filter_map(|number| {
            let doc_freq = self.vocabulary.units.doc_freq(number);
            Some((doc_freq, self.vocabulary.unit(number).unit.as_char()?)).filter(|_| doc_freq > 0)
        });
        known.map(|(doc_freq, c)| (self.rarity.idf(doc_freq), c)).min()
    }

    /// Offers the cheapest word for each run of at least two slots that begins at `start`.
    fn words_from(&self, start: usize, mut offer: impl FnMut(usize, u32, &'a str)) {
        let slots = &self.slots[start..self.slots.len().min(start + LONGEST)];
        let rows: [(Read, Filed<'a>); 2] = [
            (|slot| slot.sound(), |shelf| &shelf.by_sound),
            (|slot| slot.initial(), |shelf| &shelf.by_initials),
        ];
        for (read, filed) in rows {
            let mut key = Key::default();
            for (at, slot) in slots.iter().enumerate() {
                let Some(next) = read(slot) else { break };
                key = key.with(next);
                let mut begins = false;
                let mut cheapest: Option<(u32, &str)> = None;
                for shelf in self.lexicon.shelves() {
                    let Some(words) = filed(shelf).get(&key) else { continue };
                    begins = true;
                    effort::spend(1 + words.len());
                    for position in words {
                        let known = &shelf.words[*position as usize];
                        let cost = self.cost_of(known, &slots[..=at]);
                        let found = cost.map(|cost| (cost, &*known.text));
                        cheapest = [cheapest, found].into_iter().flatten().min();
                    }
                }
                if let Some((cost, word)) = cheapest {
                    offer(start + at + 1, cost, word);
                }
                if !begins {
                    break;
                }
            }
        }
    }

    /// What it costs that `slots` were meant as the word; `None` when it is not in the bank, or cannot be.
    fn cost_of(&self, word: &Known, slots: &[Slot<'_>]) -> Option<u32> {
        let doc_freq = self.vocabulary.words.doc_freq(word.number);
        let mut read = 0;
        let mut cost = 0;
        for (slot, c) in slots.iter().zip(word.text.chars()) {
            read += 1;
            cost += match slot {
                Slot::Char(typed, ..) if *typed != c => CHANGE,
                Slot::Initial(_) => INITIAL,
                _ => 0,
            };
        }
        (doc_freq > 0 && read == slots.len()).then(|| cost + self.rarity.idf(doc_freq))
    }
}

impl Slot<'_> {
    fn sound(&self) -> Option<u32> {
        match self {
            Self::Char(_, readings, _) => readings.first().map(|syllable| syllable.index() as u32),
            Self::Syllable(syllable) => Some(syllable.index() as u32),
            Self::Initial(_) | Self::Fixed(_) => None,
        }
    }

    fn initial(&self) -> Option<u32> {
        match self {
            Self::Initial(letter) => Some(u32::from(*letter)),
            _ => None,
        }
    }
}

/// Whether a word has two to six characters, all of which sound.
fn is_sounded(word: &str) -> bool {
    let mut length = 0;
    word.chars().all(|c| {
        length += 1;
        !pinyin::readings(c).is_empty()
    }) && (2..=LONGEST).contains(&length)
}

/// Every way to pronounce a word, at most eight.
fn sounds(word: &str) -> Vec<Box<[Syllable]>> {
    const MOST: usize = 8;
    let mut all = vec![Vec::new()];
    for c in word.chars() {
        let readings = pinyin::readings(c);
        let readings = if all.len() * readings.len() > MOST {
            &readings[..1]
        } else {
            readings
        };
        all = all
            .iter()
            .flat_map(|prefix| readings.iter().map(move |r| [prefix.as_slice(), &[*r]].concat()))
            .collect();
    }
    all.into_iter().map(Vec::into_boxed_slice).collect()
}

fn slots<'a>(query: &'a Analysis, known: &Recognised) -> Vec<Slot<'a>> {
    let mut slots = Vec::with_capacity(query.text.len() / 3 + 8);
    for (at, (unit, known)) in query.units.iter().zip(&known.units).enumerate() {
        let part = query.unit_text(at);
        if let Some(c) = unit.as_char() {
            slots.push(Slot::Char(c, pinyin::readings(c), known.frequency));
        } else if known.doc_freq() > 0 || unit.is_number() {
            slots.push(Slot::Fixed(part));
        } else if let Some(syllables) = pinyin::split(part) {
            slots.extend(syllables.into_iter().map(Slot::Syllable));
        } else if (2..=MAX_INITIALS).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_lowercase()) {
            slots.extend(part.bytes().map(Slot::Initial));
        } else {
            slots.push(Slot::Fixed(part));
        }
    }
    slots
}

/// The cheapest pieces, each with the slots it begins and ends at, from the last to the first.
fn pieces<'a>(best: &[Step<'a>]) -> Vec<(usize, usize, Reading<'a>)> {
    let mut pieces = Vec::with_capacity(best.len());
    let mut end = best.len() - 1;
    while end > 0 {
        let Step { start, piece, .. } = best[end];
        pieces.push((start, end, piece));
        end = start;
    }
    pieces
}

fn render(slots: &[Slot<'_>], pieces: Vec<(usize, usize, Reading<'_>)>) -> Respelled {
    let mut respelled = Respelled {
        text: String::new(),
        changed: 0,
        read: 0,
    };
    for (start, end, word) in pieces.into_iter().rev() {
        match (&slots[start], word) {
            (_, Reading::Char(c)) => {
                respelled.read += 1;
                respelled.text.push(c);
            }
            (_, Reading::Word(word)) => {
                for (slot, c) in slots[start..end].iter().zip(word.chars()) {
                    match slot {
                        Slot::Char(typed, ..) => respelled.changed += usize::from(*typed != c),
                        _ => respelled.read += 1,
                    }
                }
                respelled.text.push_str(word);
            }
            (Slot::Char(c, ..), Reading::AsTyped) => respelled.text.push(*c),
            (Slot::Initial(letter), Reading::AsTyped) => respelled.text.push(char::from(*letter)),
            (Slot::Syllable(syllable), Reading::AsTyped) => respelled.text.push_str(syllable.spelling()),
            (Slot::Fixed(run), Reading::AsTyped) => {
                // Two runs would become one without the space that stood between them.
                if respelled.text.ends_with(|c: char| c.is_ascii_alphanumeric()) {
                    respelled.text.push(' ');
                }
                respelled.text.push_str(run);
            }
        }
    }
    respelled
}
