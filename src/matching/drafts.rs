//! Drafts: entries that are analysed and have no numbers yet.
//!
//! [`Drafts::push`] is the entry point. What it makes is a `segment`'s raw material; it needs no vocabulary, so that the
//! entries of a large bank can be analysed on all cores.

use super::tokenizer::{Analysis, Analyzer, Contrasted, Unit, Word, units};
use crate::bank::{Answer, Entry};
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Analysed entries that have no numbers yet.
#[derive(Default)]
pub struct Drafts {
    /// Sum of the hashes of the entries, over everything that decides a search.
    pub(super) content: u128,
    pub(super) items: Vec<Draft>,
    pub(super) docs: Vec<DraftDoc>,
    pub(super) units: Vec<Unit>,
    pub(super) words: Vec<Word>,
    pub(super) contrasts: Vec<Contrasted>,
    pub(super) answers: Vec<Word>,
    /// How the words are spelled.
    pub(super) spellings: FxHashMap<Word, Box<str>>,
    /// How runs of letters and digits are spelled.
    pub(super) runs: FxHashMap<Unit, Box<str>>,
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
    pub(super) units: usize,
    pub(super) words: usize,
    pub(super) contrasts: usize,
}

impl Drafts {
    /// Analyses an entry.
    pub fn push(&mut self, entry: Arc<Entry>, analyzer: &Analyzer) {
        for phrasing in entry.phrasings() {
            let normalized = analyzer.normalize(phrasing);
            let analysis = analyzer.analyze_normalized(&normalized);
            self.learn(&analysis);
            self.units.extend(&analysis.units);
            self.words.extend(&analysis.words);
            self.contrasts.extend(&analysis.contrasts);
            self.docs.push(DraftDoc {
                normalized: Word::new(&normalized),
                units: analysis.units.len(),
                words: analysis.words.len(),
                contrasts: analysis.contrasts.len(),
            });
        }
        let answer = analyzer.vocabulary(&answer_text(&entry.answer));
        self.answers.extend(&answer);
        self.content = self.content.wrapping_add(content(&entry));
        self.items.push(Draft {
            phrasings: entry.phrasings().count(),
            answer: answer.len(),
            entry,
        });
    }

    /// How many numbers the rows of its documents take.
    pub fn row_numbers(&self) -> usize {
        self.units.len() + self.words.len() + self.contrasts.len()
    }

    fn learn(&mut self, analysis: &Analysis) {
        for (word, &(start, end)) in analysis.words.iter().zip(&analysis.word_spans) {
            let spelled = &analysis.text[start as usize..end as usize];
            self.spellings.entry(*word).or_insert_with(|| spelled.into());
        }
        for (unit, start) in analysis.units.iter().zip(&analysis.unit_starts) {
            let is_new = unit.as_char().is_none() && !self.runs.contains_key(unit);
            if is_new && let Some((_, run)) = units(&analysis.text[*start as usize..]).next() {
                self.runs.insert(*unit, run.into());
            }
        }
    }
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
