//! Respelling: what a follower who typed pinyin, initials or a same-sounding character meant, in the bank's own words.
//!
//! [`Lexicon::respell`] is the entry point. It reads the query as a row of slots and finds the cheapest row of words
//! from the bank that sounds the same (a Viterbi search over a word-unigram model, as in an input method). Latin runs
//! the bank knows stay as they are; a Chinese character changes only where the gain outweighs `CHANGE`.

use super::pinyin::{self, Syllable};
use super::postings::Field;
use super::tokenizer::{Analysis, Unit, units};
use rustc_hash::FxHashMap;

/// Cost of changing one typed character, in natural-log units.
const CHANGE: f64 = 6.0;
/// Cost of one initial: there are many more words behind two initials than behind two syllables.
const INITIAL: f64 = 2.0;
/// Cost of leaving a typed syllable or initial as it is.
const UNREAD: f64 = 25.0;
/// Longest word looked for, in slots.
const LONGEST: usize = 6;
/// Words kept for one sound.
const ALTERNATIVES: usize = 4;
/// Longest Latin run read as initials.
const MAX_INITIALS: usize = 8;

/// The bank's words by their sounds and by their initials.
#[derive(Debug, Clone, Default)]
pub struct Lexicon {
    /// Every word with its negative log probability.
    costs: FxHashMap<Box<str>, f64>,
    by_sound: FxHashMap<Box<[Syllable]>, Vec<Known>>,
    by_initials: FxHashMap<Box<[u8]>, Vec<Known>>,
    /// ln of the number of occurrences of words.
    total: f64,
}

#[derive(Debug, Clone)]
struct Known {
    text: Box<str>,
    /// Negative log probability.
    cost: f64,
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
    Char(char, &'static [Syllable]),
    Syllable(Syllable),
    Initial(u8),
    Fixed(&'a str),
}

impl Lexicon {
    /// From the bank's words with their document frequencies, each word once, in any order.
    pub fn build<'a>(words: impl Iterator<Item = (&'a str, u32)>) -> Self {
        let mut words: Vec<(&str, u32)> = words.filter(|(text, _)| is_sounded(text)).collect();
        // Order decides among equals, so it must not be the hash map's.
        words.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let total = words
            .iter()
            .map(|(_, count)| f64::from(*count))
            .sum::<f64>()
            .max(1.0)
            .ln();
        let mut lexicon = Self {
            total,
            ..Self::default()
        };
        for (text, count) in words {
            let cost = total - f64::from(count).ln();
            let known = Known {
                text: text.into(),
                cost,
            };
            lexicon.costs.insert(known.text.clone(), cost);
            for sound in sounds(text) {
                keep(lexicon.by_sound.entry(sound).or_default(), &known);
            }
            if text.chars().nth(1).is_some() {
                let initials = text.chars().filter_map(|c| pinyin::initials(c).next()).collect();
                keep(lexicon.by_initials.entry(initials).or_default(), &known);
            }
        }
        lexicon
    }

    /// The query as the bank would spell it; `None` when that is how it is spelled.
    pub fn respell(&self, query: &Analysis, known: &Field<Unit>) -> Option<Respelled> {
        let slots = slots(&query.text, known);
        // Cheapest way to read the slots before each place: cost, where its last word begins, that word.
        let mut best: Vec<(f64, usize, Option<&str>)> = vec![(f64::INFINITY, 0, None); slots.len() + 1];
        best[0].0 = 0.0;
        for start in 0..slots.len() {
            let before = best[start].0;
            let mut offer = |end: usize, cost: f64, text| {
                if before + cost < best[end].0 {
                    best[end] = (before + cost, start, text);
                }
            };
            offer(start + 1, self.cost_as_it_is(&slots[start]), None);
            let mut typed = String::new();
            for end in start + 1..=slots.len().min(start + LONGEST) {
                if let Slot::Char(c, _) = slots[end - 1] {
                    typed.push(c);
                }
                if let Some((word, cost)) = self.costs.get_key_value(typed.as_str())
                    && word.chars().count() == end - start
                {
                    offer(end, *cost, Some(&**word));
                }
                for word in self.words(&slots[start..end]) {
                    if let Some(cost) = cost_of_reading(&slots[start..end], &word.text) {
                        offer(end, word.cost + cost, Some(&*word.text));
                    }
                }
            }
        }
        let respelled = render(&slots, &best);
        (respelled.changed + respelled.read > 0).then_some(respelled)
    }

    fn cost_as_it_is(&self, slot: &Slot<'_>) -> f64 {
        match slot {
            // A character the bank has is found among the words; this is one it has not.
            Slot::Char(..) => self.total + 1.0,
            Slot::Syllable(_) | Slot::Initial(_) => UNREAD,
            Slot::Fixed(_) => 0.0,
        }
    }

    fn words(&self, slots: &[Slot<'_>]) -> &[Known] {
        let sound: Option<Box<[Syllable]>> = slots.iter().map(Slot::sound).collect();
        let found = sound.and_then(|sound| self.by_sound.get(&sound)).or_else(|| {
            let initials: Option<Box<[u8]>> = slots.iter().map(Slot::initial).collect();
            self.by_initials.get(&initials?)
        });
        found.map_or(&[], Vec::as_slice)
    }
}

impl Slot<'_> {
    fn sound(&self) -> Option<Syllable> {
        match self {
            Self::Char(_, readings) => readings.first().copied(),
            Self::Syllable(syllable) => Some(*syllable),
            Self::Initial(_) | Self::Fixed(_) => None,
        }
    }

    fn initial(&self) -> Option<u8> {
        match self {
            Self::Initial(letter) => Some(*letter),
            _ => None,
        }
    }
}

fn keep(words: &mut Vec<Known>, known: &Known) {
    if words.len() < ALTERNATIVES && words.iter().all(|other| other.text != known.text) {
        words.push(known.clone());
    }
}

fn is_sounded(word: &str) -> bool {
    let mut length = 0;
    word.chars().all(|c| {
        length += 1;
        !pinyin::readings(c).is_empty()
    }) && (1..=LONGEST).contains(&length)
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

fn slots<'a>(text: &'a str, known: &Field<Unit>) -> Vec<Slot<'a>> {
    let mut slots = Vec::new();
    for (_, part) in units(text) {
        let unit = Unit::new(part);
        if let Some(c) = unit.as_char() {
            slots.push(Slot::Char(c, pinyin::readings(c)));
        } else if known.doc_freq(unit) > 0 || unit.is_number() {
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

/// What it costs that `slots` were meant as `word`; `None` when they cannot be.
fn cost_of_reading(slots: &[Slot<'_>], word: &str) -> Option<f64> {
    let changed = slots
        .iter()
        .zip(word.chars())
        .filter(|(slot, c)| matches!(slot, Slot::Char(typed, _) if typed != c));
    let changed = changed.count();
    // A lone character has too many namesakes.
    if changed > 0 && slots.len() == 1 {
        return None;
    }
    let initials = slots.iter().filter(|slot| slot.initial().is_some()).count();
    Some(changed as f64 * CHANGE + initials as f64 * INITIAL)
}

fn render(slots: &[Slot<'_>], best: &[(f64, usize, Option<&str>)]) -> Respelled {
    let mut pieces: Vec<(usize, usize, Option<&str>)> = Vec::new();
    let mut end = slots.len();
    while end > 0 {
        let (_, start, word) = best[end];
        pieces.push((start, end, word));
        end = start;
    }
    let mut respelled = Respelled {
        text: String::new(),
        changed: 0,
        read: 0,
    };
    for (start, end, word) in pieces.into_iter().rev() {
        match (&slots[start], word) {
            (_, Some(word)) => {
                for (slot, c) in slots[start..end].iter().zip(word.chars()) {
                    match slot {
                        Slot::Char(typed, _) => respelled.changed += usize::from(*typed != c),
                        _ => respelled.read += 1,
                    }
                }
                respelled.text.push_str(word);
            }
            (Slot::Char(c, _), None) => respelled.text.push(*c),
            (Slot::Initial(letter), None) => respelled.text.push(char::from(*letter)),
            (Slot::Syllable(syllable), None) => respelled.text.push_str(syllable.spelling()),
            (Slot::Fixed(run), None) => {
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
