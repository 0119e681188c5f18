//! The vocabulary of a bank: its terms, field by field, and how many phrasings hold each.
//!
//! [`Terms`] numbers the terms of one field and counts the documents that hold them; [`Vocabulary`] has all fields and
//! tells how rare a term is. A copy shares nearly everything with its original, so that an edit costs what it touches.
//! Numbers are handles: they depend on the history of edits, and nothing that shows in a result may be ordered by them.

use super::pinyin::Syllable;
use super::postings::length_weight;
use super::segment::Field;
use super::tokenizer::{Analysis, Bigram, Unit};
use rustc_hash::FxHashMap;
use std::sync::{Arc, LazyLock};

/// Steps of one natural-log unit in which rarity is kept. Sums of whole steps are exact, so no score depends on the
/// order of additions, and a processor whose `ln` differs in the last bit gets the same steps.
pub const IDF_STEPS: f64 = 1024.0;

const CHUNK: usize = 512;

/// A vector in chunks: a copy shares all of them, and a change copies one.
#[derive(Clone)]
pub struct Chunked<T> {
    chunks: Vec<Arc<[T; CHUNK]>>,
}

/// The terms of one field.
#[derive(Clone, Default)]
pub struct Terms {
    /// Key to number.
    settled: Arc<FxHashMap<u32, u32>>,
    /// Terms that came with recent edits.
    recent: FxHashMap<u32, u32>,
    /// By number: documents that hold the term.
    doc_freq: Chunked<u32>,
}

/// A unit of the bank. How it sounds is kept with it: searches ask again and again.
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "a field each")]
pub struct KnownUnit {
    pub unit: Unit,
    pub readings: &'static [Syllable],
}

impl Default for KnownUnit {
    /// Nobody's.
    fn default() -> Self {
        Self {
            unit: Unit(0),
            readings: &[],
        }
    }
}

/// A term as the bank knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// [`NOBODYS`]: the bank never had the term.
    pub number: u32,
    /// Documents that hold it.
    pub doc_freq: u32,
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
    #[expect(missing_docs, reason = "a field each")]
    pub words: Terms,
    #[expect(missing_docs, reason = "a field each")]
    pub units: Terms,
    #[expect(missing_docs, reason = "a field each")]
    pub bigrams: Terms,
    #[expect(missing_docs, reason = "a field each")]
    pub sounds: Terms,
    /// By number of a unit.
    pub known_units: Chunked<KnownUnit>,
    /// By number of a word: entries whose answer holds it.
    pub answer_freq: Chunked<u32>,
    /// By syllable: documents with a character that may be read so.
    pub syllable_freq: Vec<u32>,
    /// Phrasings.
    pub documents: u32,
    /// Entries.
    pub entries: u32,
    /// Units of all phrasings.
    pub total_units: u64,
}

impl<T: Copy + Default> Chunked<T> {
    /// The value at `at`; the default beyond the end.
    pub fn get(&self, at: u32) -> T {
        let at = at as usize;
        self.chunks
            .get(at / CHUNK)
            .map_or_else(T::default, |chunk| chunk[at % CHUNK])
    }

    /// The value at `at`, to be changed; the vector grows as needed.
    pub fn at_mut(&mut self, at: u32) -> &mut T {
        let at = at as usize;
        while self.chunks.len() <= at / CHUNK {
            self.chunks.push(Arc::new([T::default(); CHUNK]));
        }
        &mut Arc::make_mut(&mut self.chunks[at / CHUNK])[at % CHUNK]
    }
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl Terms {
    /// The term's number; `None`: the bank never had it.
    pub fn number(&self, key: u32) -> Option<u32> {
        self.settled.get(&key).or_else(|| self.recent.get(&key)).copied()
    }

    /// The term's number, given now if it has none.
    pub fn number_or_new(&mut self, key: u32) -> u32 {
        if let Some(number) = self.settled.get(&key) {
            return *number;
        }
        let next = (self.settled.len() + self.recent.len()) as u32;
        *self.recent.entry(key).or_insert(next)
    }

    /// The term as the bank knows it.
    pub fn known(&self, key: u32) -> Known {
        let number = self.number(key).unwrap_or(NOBODYS);
        let doc_freq = self.doc_freq(number);
        Known { number, doc_freq }
    }

    /// Documents holding the term with that number.
    pub fn doc_freq(&self, number: u32) -> u32 {
        self.doc_freq.get(number)
    }

    /// Documents holding the term.
    pub fn doc_freq_of(&self, key: u32) -> u32 {
        self.number(key).map_or(0, |number| self.doc_freq(number))
    }

    /// One document more (`by` 1) or less (−1) holds the term.
    pub fn count(&mut self, number: u32, by: i32) {
        let count = self.doc_freq.at_mut(number);
        *count = count.saturating_add_signed(by);
    }

    /// So many documents more hold the terms (number, documents).
    pub fn count_all(&mut self, frequencies: &[(u32, u32)]) {
        for &(number, documents) in frequencies {
            *self.doc_freq.at_mut(number) += documents;
        }
    }

    /// Above every number given so far.
    pub fn numbers(&self) -> usize {
        self.settled.len() + self.recent.len()
    }

    /// Terms that some document holds; takes time proportional to all of them.
    pub fn in_use(&self) -> usize {
        let chunks = self.doc_freq.chunks.iter();
        chunks
            .flat_map(|chunk| chunk.iter())
            .filter(|count| **count > 0)
            .count()
    }

    /// Files recent terms with the settled ones; takes time proportional to all of them.
    pub fn settle(&mut self) {
        let recent = std::mem::take(&mut self.recent);
        if self.settled.is_empty() {
            self.settled = Arc::new(recent);
        } else if !recent.is_empty() {
            Arc::make_mut(&mut self.settled).extend(recent);
        }
    }
}

impl Default for Vocabulary {
    fn default() -> Self {
        Self {
            words: Terms::default(),
            units: Terms::default(),
            bigrams: Terms::default(),
            sounds: Terms::default(),
            known_units: Chunked::default(),
            answer_freq: Chunked::default(),
            syllable_freq: vec![0; Syllable::COUNT],
            documents: 0,
            entries: 0,
            total_units: 0,
        }
    }
}

impl Vocabulary {
    /// The terms of a field.
    pub fn terms(&self, field: Field) -> &Terms {
        match field {
            Field::Words => &self.words,
            Field::Bigrams => &self.bigrams,
            Field::Units => &self.units,
            Field::Sounds => &self.sounds,
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
            syllables: std::array::from_fn(|syllable| rarity.idf(self.syllable_freq[syllable])),
            lengths: std::array::from_fn(|length| (length_weight(length, average) * 1024.0).round() as u32),
        }
    }

    /// The number of a unit, given now if it has none.
    pub fn unit_or_new(&mut self, unit: Unit) -> u32 {
        let known = self.units.numbers();
        let number = self.units.number_or_new(unit.0);
        if number as usize >= known {
            *self.known_units.at_mut(number) = KnownUnit {
                unit,
                readings: unit.readings(),
            };
        }
        number
    }

    /// The unit with that number.
    pub fn unit(&self, number: u32) -> KnownUnit {
        self.known_units.get(number)
    }

    /// Whether most of its terms are in no document any more. Words may be in answers alone, so they do not count.
    pub fn is_mostly_unused(&self) -> bool {
        /// So many are not worth a rebuild.
        const FEW: usize = 10_000;
        let fields = [&self.units, &self.bigrams, &self.sounds];
        let [numbers, in_use] =
            [Terms::numbers, Terms::in_use].map(|count| fields.into_iter().map(count).sum::<usize>());
        numbers > 2 * in_use + FEW
    }

    /// Files recent terms with the settled ones.
    pub fn settle(&mut self) {
        for terms in [&mut self.words, &mut self.units, &mut self.bigrams, &mut self.sounds] {
            terms.settle();
        }
    }
}

/// What terms, sounds and lengths weigh in one bank: the same for every search, until an edit.
#[derive(Clone)]
pub struct Scales {
    /// Among phrasings.
    pub rarity: Rarity,
    /// Among entries, for the words of answers.
    pub answers: Rarity,
    /// By syllable: its rarity among phrasings.
    syllables: [u32; Syllable::COUNT],
    /// By units of a document, 255 standing for more: its weight, in 1/1024.
    pub lengths: [u32; 256],
}

impl Scales {
    /// Rarity of a syllable.
    pub fn syllable(&self, syllable: Syllable) -> u32 {
        self.syllables[syllable.index()]
    }
}

/// Inverse document frequency among a number of documents, ln((N + 1) / (n + ½)), in [`IDF_STEPS`]. That is BM25's
/// ln(1 + (N − n + ½) / (n + ½)) (Robertson & Zaragoza 2009, §3), split so that one table serves every N.
#[derive(Clone, Copy)]
pub struct Rarity {
    /// ln(N + 1) in steps.
    all: i32,
    /// ln(n + ½) in steps, for the smaller n.
    halves: &'static [i32],
}

impl Rarity {
    /// Among so many documents.
    pub fn among(documents: u32) -> Self {
        Self {
            all: steps(f64::from(documents) + 1.0),
            halves: &HALVES,
        }
    }

    /// Of a term that `doc_freq` documents hold; one nobody has is the rarest.
    pub fn idf(self, doc_freq: u32) -> u32 {
        let half = self
            .halves
            .get(doc_freq as usize)
            .copied()
            .unwrap_or_else(|| steps(f64::from(doc_freq) + 0.5));
        (self.all - half).max(0).cast_unsigned()
    }
}

/// ln(n + ½) in steps.
static HALVES: LazyLock<Vec<i32>> = LazyLock::new(|| (0..1 << 16).map(|n| steps(f64::from(n) + 0.5)).collect());

fn steps(value: f64) -> i32 {
    (value.ln() * IDF_STEPS).round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_does_not_see_later_changes() {
        let mut terms = Terms::default();
        let first = terms.number_or_new(7);
        terms.count(first, 1);
        terms.settle();
        let copy = terms.clone();
        let second = terms.number_or_new(9);
        terms.count(first, 1);
        terms.count(second, 1);
        assert_eq!((copy.doc_freq_of(7), copy.doc_freq_of(9)), (1, 0));
        assert_eq!((terms.doc_freq_of(7), terms.doc_freq_of(9)), (2, 1));
        assert_eq!(terms.number_or_new(7), first);
    }

    #[test]
    fn terms_that_nobody_holds_any_more_are_noticed() {
        let mut vocabulary = Vocabulary::default();
        for code in 0..30_000 {
            let number = vocabulary.unit_or_new(Unit(code));
            vocabulary.units.count(number, 1);
        }
        assert!(!vocabulary.is_mostly_unused());
        for number in 0..25_000 {
            vocabulary.units.count(number, -1);
        }
        assert!(vocabulary.is_mostly_unused());
    }

    #[test]
    fn rarity_is_bm25s() {
        for (doc_freq, documents) in [
            (0_u32, 0_u32),
            (0, 10),
            (1, 10),
            (10, 10),
            (70_000, 100_000),
            (5, 1_000_000),
        ] {
            let (n, all) = (f64::from(doc_freq), f64::from(documents));
            let exact = (1.0 + (all - n + 0.5) / (n + 0.5)).ln() * IDF_STEPS;
            let found = f64::from(Rarity::among(documents).idf(doc_freq));
            assert!(
                (found - exact).abs() <= 1.0,
                "{doc_freq} of {documents}: {found}, not {exact}"
            );
        }
    }
}
