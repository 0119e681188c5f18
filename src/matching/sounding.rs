//! What a query sounds like: a place for each syllable, with every way to read it.
//!
//! [`Sounding::of`] is the entry point. A typed run of pinyin that the bank does not have as a word is taken apart into
//! its syllables; other runs sound like nothing.

use super::pinyin::{self, Syllable};
use super::tokenizer::Analysis;
use super::vocabulary::Vocabulary;

/// The places of a query, in order.
#[derive(Debug, Default)]
pub struct Sounding {
    readings: Vec<Syllable>,
    /// Where the readings of each place end.
    ends: Vec<u32>,
}

impl Sounding {
    /// Most places; what follows is left out.
    pub const MOST: usize = 64;

    /// Of a query, for a bank with that vocabulary.
    pub fn of(query: &Analysis, vocabulary: &Vocabulary) -> Self {
        let mut sounding = Self {
            readings: Vec::with_capacity(2 * query.units.len()),
            ends: Vec::with_capacity(query.units.len()),
        };
        for (at, unit) in query.units.iter().enumerate() {
            let pinyin = if unit.is_latin() && vocabulary.units.doc_freq_of(unit.0) == 0 {
                pinyin::split(query.unit_text(at))
            } else {
                None
            };
            match pinyin {
                Some(syllables) => syllables.iter().for_each(|syllable| sounding.push(&[*syllable])),
                None => sounding.push(unit.readings().all()),
            }
        }
        sounding
    }

    fn push(&mut self, readings: &[Syllable]) {
        if self.ends.len() < Self::MOST {
            self.readings.extend(readings);
            self.ends.push(self.readings.len() as u32);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The readings of one place, the most usual first; empty where nothing sounds.
    pub fn at(&self, place: usize) -> &[Syllable] {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.readings[start as usize..self.ends[place] as usize]
    }

    /// The readings of every place.
    pub fn places(&self) -> impl Iterator<Item = &[Syllable]> {
        (0..self.len()).map(|place| self.at(place))
    }
}
