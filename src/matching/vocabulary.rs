//! The vocabulary of a bank: its terms, field by field, and how many phrasings hold each.
//!
//! [`Terms`] numbers the terms of one field and counts the documents that hold them; [`Vocabulary`] has all fields and
//! tells how rare a term is. A copy shares nearly everything with its original, so that an edit costs what it touches.
//! Numbers are handles: they depend on the history of edits, and nothing that shows in a result may be ordered by them.

mod rarity;
mod terms;

pub use rarity::{Frequencies, Frequency, IDF_STEPS, Rarity, Sound};
pub use terms::Terms;

use super::pinyin::{Readings, Syllable};
use super::postings::length_weight;
use super::segment::Field;
use super::tokenizer::{Analysis, Bigram, Unit};

/// A unit of the bank, and how it sounds.
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "a field each")]
pub struct KnownUnit {
    pub unit: Unit,
    pub runs: RunCounts,
    pub readings: Readings,
}

/// How many runs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunCounts {
    /// Of letters above the lower half, of digits in it: both are counted at once.
    both: u32,
}

impl RunCounts {
    /// In a unit.
    fn of(unit: Unit) -> Self {
        let both = u32::from(unit.is_number()) | u32::from(unit.is_latin()) << 16;
        Self { both }
    }

    /// Of digits.
    pub fn of_digits(self) -> u32 {
        self.both & 0xffff
    }

    /// Of letters.
    pub fn of_letters(self) -> u32 {
        self.both >> 16
    }
}

impl std::ops::AddAssign for RunCounts {
    fn add_assign(&mut self, more: Self) {
        self.both += more.both;
    }
}

/// A term as the bank knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// [`NOBODYS`]: the bank never had the term.
    pub number: u32,
    #[expect(missing_docs, reason = "the type says it")]
    pub frequency: Frequency,
}

/// The number of a term that the bank does not have.
pub const NOBODYS: u32 = u32::MAX;

/// The terms of a text as the bank knows them, looked up once; in the order of the text.
#[expect(missing_docs, reason = "a field each")]
pub struct Recognised {
    pub words: Vec<Known>,
    pub units: Vec<Known>,
    /// Two neighbouring units each.
    pub bigrams: Vec<Known>,
}

impl Recognised {
    /// Of a text for a bank with that vocabulary.
    pub fn of(text: &Analysis, vocabulary: &Vocabulary) -> Self {
        let pairs = text.units.windows(2);
        let pair = |pair: &[Unit]| vocabulary.bigrams.known(Bigram::new(pair[0], pair[1]).0);
        Self {
            words: text.words.iter().map(|word| vocabulary.words.known(word.0)).collect(),
            units: text.units.iter().map(|unit| vocabulary.units.known(unit.0)).collect(),
            bigrams: pairs.map(pair).collect(),
        }
    }
}

/// What the whole bank says about terms.
#[derive(Clone)]
pub struct Vocabulary {
    /// With the number of entries whose answer holds the word.
    pub words: Terms<u32>,
    #[expect(missing_docs, reason = "a field each")]
    pub units: Terms<KnownUnit>,
    #[expect(missing_docs, reason = "a field each")]
    pub bigrams: Terms,
    #[expect(missing_docs, reason = "a field each")]
    pub sounds: Terms,
    /// By syllable: documents with a character that may be read so.
    pub syllable_freq: Vec<u32>,
    /// Phrasings.
    pub documents: u32,
    /// Entries.
    pub entries: u32,
    /// Units of all phrasings.
    pub total_units: u64,
}

impl Default for KnownUnit {
    /// Nobody's.
    fn default() -> Self {
        Self {
            unit: Unit(0),
            runs: RunCounts::default(),
            readings: Readings::default(),
        }
    }
}

impl Known {
    /// Documents that hold the term.
    pub fn doc_freq(self) -> u32 {
        self.frequency.documents()
    }
}

impl Default for Vocabulary {
    fn default() -> Self {
        Self {
            words: Terms::default(),
            units: Terms::default(),
            bigrams: Terms::default(),
            sounds: Terms::default(),
            syllable_freq: vec![0; Syllable::COUNT],
            documents: 0,
            entries: 0,
            total_units: 0,
        }
    }
}

impl Vocabulary {
    /// Documents holding the term of a field with that number.
    pub fn doc_freq(&self, field: Field, number: u32) -> u32 {
        match field {
            Field::Words => self.words.doc_freq(number),
            Field::Bigrams => self.bigrams.doc_freq(number),
            Field::Units => self.units.doc_freq(number),
            Field::Sounds => self.sounds.doc_freq(number),
        }
    }

    /// Mean units of a phrasing.
    pub fn average_length(&self) -> f64 {
        self.total_units as f64 / f64::from(self.documents.max(1))
    }

    /// Rarity among phrasings.
    pub fn rarity(&self) -> Rarity {
        Rarity::among(self.documents)
    }

    /// What a search of this bank weighs with.
    pub fn scales(&self) -> Scales {
        let rarity = self.rarity();
        let average = self.average_length();
        Scales {
            rarity,
            answers: Rarity::among(self.entries),
            sounds: std::array::from_fn(|syllable| match syllable == Syllable::NONE.index() {
                true => Sound::default(),
                false => Sound::new(rarity.idf(self.syllable_freq[syllable])),
            }),
            lengths: std::array::from_fn(|length| (length_weight(length, average) * 1024.0).round() as u32),
        }
    }

    /// The number of a unit, given now if it has none.
    pub fn unit_or_new(&mut self, unit: Unit) -> u32 {
        let known = self.units.numbers();
        let number = self.units.number_or_new(unit.0);
        if number as usize >= known {
            *self.units.more_mut(number) = KnownUnit {
                unit,
                runs: RunCounts::of(unit),
                readings: unit.readings(),
            };
        }
        number
    }

    /// The unit with that number.
    pub fn unit(&self, number: u32) -> KnownUnit {
        self.units.get(number).more
    }

    /// Whether most of its terms are in no document any more. Words may be in answers alone, so they do not count.
    pub fn is_mostly_unused(&self) -> bool {
        /// So many are not worth a rebuild.
        const FEW: usize = 10_000;
        let numbers = self.units.numbers() + self.bigrams.numbers() + self.sounds.numbers();
        let in_use = || self.units.in_use() + self.bigrams.in_use() + self.sounds.in_use();
        numbers > FEW && numbers > 2 * in_use() + FEW
    }

    /// Files recent terms with the settled ones.
    pub fn settle(&mut self) {
        self.words.settle();
        self.units.settle();
        self.bigrams.settle();
        self.sounds.settle();
    }
}

/// What terms, sounds and lengths weigh in one bank: the same for every search, until an edit.
#[derive(Clone)]
pub struct Scales {
    /// Among phrasings.
    pub rarity: Rarity,
    /// Among entries, for the words of answers.
    pub answers: Rarity,
    sounds: [Sound; Syllable::COUNT],
    /// By units of a document, 255 standing for more: its weight, in 1/1024.
    pub lengths: [u32; 256],
}

impl Scales {
    /// How rare a syllable is among phrasings; that of [`Syllable::NONE`] is the default.
    #[inline]
    pub fn sound(&self, syllable: Syllable) -> Sound {
        self.sounds[syllable.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_that_nobody_holds_any_more_are_noticed() {
        let mut vocabulary = Vocabulary::default();
        for code in 0..30_000 {
            let number = vocabulary.unit_or_new(Unit(code));
            vocabulary.units.count_all(&[(number, 1)]);
        }
        assert!(!vocabulary.is_mostly_unused());
        vocabulary.units.discount((0..25_000).collect());
        assert!(vocabulary.is_mostly_unused());
    }
}
