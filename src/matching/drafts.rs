//! Drafts: entries that are analysed and whose terms have no numbers in the bank yet.
//!
//! [`Drafts::push`] is the entry point. What it makes is a `segment`'s raw material; it needs no vocabulary, so that the
//! entries of a large bank can be analysed on all cores. Terms have numbers of its own, so that the vocabulary, which one
//! thread changes, is asked for each once.

use super::features::denies;
use super::pinyin::Syllable;
use super::tokenizer::{Analysis, Analyzer, Contrasted, Unit, Word, units};
use crate::bank::{Answer, Entry};
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Analysed entries. Their units and words stand in rows of local numbers: positions in `units` and `words`.
#[derive(Default)]
pub struct Drafts {
    /// Sum of the hashes of the entries, over everything that decides a search.
    pub(super) content: u128,
    pub(super) items: Vec<Draft>,
    pub(super) docs: Vec<DraftDoc>,
    pub(super) unit_rows: Vec<u32>,
    pub(super) word_rows: Vec<u32>,
    pub(super) contrasts: Vec<Contrasted>,
    pub(super) answers: Vec<u32>,
    pub(super) units: Numbered<Unit>,
    pub(super) words: Numbered<Word>,
    /// By syllable: documents with a character that may be read so.
    pub(super) syllable_freq: FxHashMap<Syllable, u32>,
}

pub(super) struct Draft {
    pub(super) entry: Arc<Entry>,
    pub(super) phrasings: usize,
    /// Words of the answer.
    pub(super) answer: usize,
}

/// How much of the arenas is one phrasing's.
pub(super) struct DraftDoc {
    pub(super) normalized: Word,
    pub(super) denies: bool,
    pub(super) units: usize,
    pub(super) words: usize,
    pub(super) contrasts: usize,
}

/// Terms in the order in which they came.
pub(super) struct Numbered<T> {
    numbers: FxHashMap<T, u32>,
    pub(super) terms: Vec<Term<T>>,
}

pub(super) struct Term<T> {
    pub(super) key: T,
    /// Empty where it was not needed.
    pub(super) spelling: Box<str>,
    /// Entries whose answer holds it.
    pub(super) answers: u32,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self {
            numbers: FxHashMap::default(),
            terms: Vec::new(),
        }
    }
}

impl<T: Copy + Eq + Hash> Numbered<T> {
    fn number(&mut self, term: T) -> u32 {
        let next = self.terms.len() as u32;
        let number = *self.numbers.entry(term).or_insert(next);
        if number == next {
            self.terms.push(Term {
                key: term,
                spelling: Box::default(),
                answers: 0,
            });
        }
        number
    }

    /// The term, to be completed.
    fn at(&mut self, number: u32) -> &mut Term<T> {
        &mut self.terms[number as usize]
    }
}

impl Drafts {
    /// Analyses an entry.
    pub fn push(&mut self, entry: Arc<Entry>, analyzer: &Analyzer) {
        for phrasing in entry.phrasings() {
            let normalized = analyzer.normalize(phrasing);
            let analysis = analyzer.analyze_normalized(&normalized);
            self.push_words(&analysis);
            self.push_units(&analysis);
            self.contrasts.extend(&analysis.contrasts);
            self.docs.push(DraftDoc {
                normalized: Word::new(&normalized),
                denies: denies(&analysis),
                units: analysis.units.len(),
                words: analysis.words.len(),
                contrasts: analysis.contrasts.len(),
            });
        }
        let answer = analyzer.vocabulary(&answer_text(&entry.answer));
        for word in &answer {
            let number = self.words.number(*word);
            self.words.at(number).answers += 1;
            self.answers.push(number);
        }
        self.content = self.content.wrapping_add(content(&entry));
        self.items.push(Draft {
            phrasings: entry.phrasings().count(),
            answer: answer.len(),
            entry,
        });
    }

    /// How many numbers the rows of its documents take.
    pub fn row_numbers(&self) -> usize {
        self.unit_rows.len() + self.word_rows.len() + self.contrasts.len()
    }

    fn push_words(&mut self, analysis: &Analysis) {
        for (word, &(start, end)) in analysis.words.iter().zip(&analysis.word_spans) {
            let number = self.words.number(*word);
            let spelling = &mut self.words.at(number).spelling;
            if spelling.is_empty() {
                *spelling = analysis.text[start as usize..end as usize].into();
            }
            self.word_rows.push(number);
        }
    }

    fn push_units(&mut self, analysis: &Analysis) {
        for (unit, start) in analysis.units.iter().zip(&analysis.unit_starts) {
            let number = self.units.number(*unit);
            let spelling = &mut self.units.at(number).spelling;
            let is_new_run = unit.as_char().is_none() && spelling.is_empty();
            if is_new_run && let Some((_, run)) = units(&analysis.text[*start as usize..]).next() {
                *spelling = run.into();
            }
            self.unit_rows.push(number);
        }
        for syllable in distinct_syllables(analysis.units.iter().map(|unit| unit.readings().all())) {
            *self.syllable_freq.entry(syllable).or_default() += 1;
        }
    }
}

/// The syllables of a document, every reading of every character, each once.
pub fn distinct_syllables(readings: impl Iterator<Item = &'static [Syllable]>) -> Vec<Syllable> {
    let mut syllables: Vec<Syllable> = readings.flatten().copied().collect();
    syllables.sort_unstable();
    syllables.dedup();
    syllables
}

/// What an answer says in words.
fn answer_text(answer: &Answer) -> Cow<'_, str> {
    match answer {
        Answer::Text(text) => text.into(),
        Answer::Video(film) => format!("{}\n{}", film.title, film.description).into(),
        Answer::Music(music) => format!("{}\n{}", music.title, music.description).into(),
        Answer::News { articles } => {
            let texts = articles
                .iter()
                .flat_map(|article| [article.title.as_str(), article.description.as_str()]);
            texts.collect::<Vec<_>>().join("\n").into()
        }
        Answer::Miniprogram(page) => page.title.as_str().into(),
        Answer::Image { .. } | Answer::Voice { .. } | Answer::Handoff { .. } => "".into(),
    }
}

/// Hash of an entry. Of two processes that disagree on it, none is wrong: they share no cached matches.
pub fn content(entry: &Entry) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, entry).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}
