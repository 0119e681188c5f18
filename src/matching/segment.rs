//! Segments: some entries of the bank with everything a search needs of them, immutable.
//!
//! A document is one phrasing (the question or a similar question). A [`Segment`] is made of [`Drafts`], which are analysed
//! entries, or of other segments, without analysing anything anew. Its documents stand in flat arrays: a row of numbers
//! each for ranking, and inverted lists for finding. What the whole bank says about terms is `vocabulary`'s subject.

mod answer_words;
mod by_hash;
mod filing;

pub use answer_words::AnswerWords;

use super::drafts::{Draft, Drafts, distinct_syllables};
use super::postings::{Lists, PackedLists};
use super::spelling::Lexicon;
use super::tokenizer::{Bigram, Contrasted, SoundBigram, Word};
use super::vocabulary::{KnownUnit, Terms, Vocabulary};
use crate::bank::{Entry, State};
use answer_words::Sieve;
use by_hash::ByHash;
use filing::{Pace, number_units, number_words};
use std::borrow::Cow;
use std::sync::Arc;

/// Entries with their phrasings, by id.
#[derive(Default)]
pub struct Segment {
    items: Vec<Item>,
    docs: Vec<Doc>,
    /// Of each document: numbers of its units, numbers of its words, its contrasts. Side by side, because they are read
    /// together and the memory is far.
    rows: Vec<u32>,
    answers: Vec<u32>,
    /// A bit for each document: whether every account and channel sees it at any time.
    open: Vec<u64>,
    /// Of each document's normalised text.
    normalized: Vec<Word>,
    by_normalized: ByHash,
    /// Items in the order of categories; of one category the highest priority first, then by id.
    by_category: Vec<u32>,
    /// The documents whose first unit is the term.
    pub firsts: Lists,
    /// At least the highest priority of its entries.
    pub top_priority: i8,
    /// Units of each document, at most 255: what length weights are read by.
    pub lengths: Vec<u8>,
    /// Of each document: orders what is otherwise equal, the same in every segment.
    pub ties: Vec<u32>,
    words: Lists,
    units: Lists,
    bigrams: Lists,
    sounds: PackedLists,
}

/// What documents are found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// jieba's words.
    Words,
    /// Pairs of neighbouring units.
    Bigrams,
    /// Characters, and runs of letters or digits.
    Units,
    /// Pairs of neighbouring syllables.
    Sounds,
}

/// One entry of a segment.
pub struct Item {
    #[expect(missing_docs, reason = "the type says it")]
    pub entry: Arc<Entry>,
    /// The entry's, as far as it fits.
    pub priority: i8,
    docs_end: u32,
    answers_start: u32,
    answers: u32,
    /// Which words the answer may have: a bit for each, by [`Sieve`].
    sieve: Sieve,
}

/// One phrasing.
#[derive(Clone)]
pub struct Doc {
    /// Position of its entry in the segment.
    pub item: u32,
    /// 0 is the question, n the n-th similar question.
    pub phrasing: u16,
    /// Whether it denies something.
    pub denies: bool,
    /// Where its row begins, and what it has of each.
    row: u32,
    units: u16,
    words: u16,
    contrasts: u8,
}

/// A phrasing as ranking reads it.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Numbers of its units, in order, with repetitions.
    pub units: &'a [u32],
    /// Numbers of its words, in order, each once.
    pub words: &'a [u32],
    /// Codes of [`Contrasted`], sorted.
    pub contrasts: &'a [u32],
    /// Whether it denies something.
    pub denies: bool,
}

impl Segment {
    /// Of drafts, which have each id once and stand in the order of ids. Their terms are counted in `vocabulary`.
    pub fn of(drafts: Vec<Drafts>, vocabulary: &mut Vocabulary, lexicon: &mut Lexicon) -> Self {
        let mut segment = Self::default();
        segment.reserve(
            drafts.iter().map(|draft| draft.items.len()).sum(),
            drafts.iter().map(|draft| draft.docs.len()).sum(),
            drafts.iter().map(Drafts::row_numbers).sum(),
            drafts.iter().map(|draft| draft.answers.len()).sum(),
        );
        for draft in drafts {
            segment.take(draft, vocabulary, lexicon);
        }
        let pace = Pace::of(segment.docs.len());
        segment.file(vocabulary, pace).count_in(vocabulary);
        segment
    }

    /// Of those entries of `parts` that live (position of the part, position of the item): no id twice. Their terms are
    /// counted already.
    pub fn merge(parts: &[&Self], lives: impl Fn(usize, u32) -> bool, vocabulary: &mut Vocabulary) -> Self {
        let mut living: Vec<(usize, u32)> = Vec::new();
        for (part, segment) in parts.iter().enumerate() {
            let items = (0..segment.items.len() as u32).filter(|item| lives(part, *item));
            living.extend(items.map(|item| (part, item)));
        }
        living.sort_by(|a, b| parts[a.0].item(a.1).entry.id.cmp(&parts[b.0].item(b.1).entry.id));
        let mut merged = Self::default();
        let sum = |of: fn(&Self) -> usize| parts.iter().map(|part| of(part)).sum();
        merged.reserve(
            living.len(),
            sum(|part| part.docs.len()),
            sum(|part| part.rows.len()),
            sum(|part| part.answers.len()),
        );
        for (part, item) in living {
            merged.copy(parts[part], item);
        }
        merged.shrink();
        // Whoever is searching meanwhile needs the other cores.
        merged.file(vocabulary, Pace::OneByOne);
        merged
    }

    /// Makes room for so many items, documents, numbers in rows and words of answers.
    fn reserve(&mut self, items: usize, docs: usize, rows: usize, answers: usize) {
        self.items.reserve_exact(items);
        self.docs.reserve_exact(docs);
        self.open.reserve_exact(docs.div_ceil(64));
        self.normalized.reserve_exact(docs);
        self.lengths.reserve_exact(docs);
        self.ties.reserve_exact(docs);
        self.rows.reserve_exact(rows);
        self.answers.reserve_exact(answers);
    }

    /// Gives back what dead entries leave free, where that is much.
    fn shrink(&mut self) {
        if self.docs.len() * 8 < self.docs.capacity() * 7 {
            self.items.shrink_to_fit();
            self.docs.shrink_to_fit();
            self.normalized.shrink_to_fit();
            self.lengths.shrink_to_fit();
            self.ties.shrink_to_fit();
            self.rows.shrink_to_fit();
            self.answers.shrink_to_fit();
        }
    }

    /// Takes drafts in and counts them, all but the documents of their terms.
    fn take(&mut self, drafts: Drafts, vocabulary: &mut Vocabulary, lexicon: &mut Lexicon) {
        let units = number_units(&drafts, vocabulary, lexicon);
        let words = number_words(&drafts, vocabulary, lexicon);
        vocabulary.documents += drafts.docs.len() as u32;
        vocabulary.entries += drafts.items.len() as u32;
        vocabulary.total_units += drafts.unit_rows.len() as u64;
        for (syllable, documents) in &drafts.syllable_freq {
            vocabulary.syllable_freq[syllable.index()] += documents;
        }
        let mut unit_rows = drafts.unit_rows.iter().map(|number| units[*number as usize]);
        let mut word_rows = drafts.word_rows.iter().map(|number| words[*number as usize]);
        let mut answers = drafts.answers.iter().map(|number| words[*number as usize]);
        let mut contrasts = drafts.contrasts.iter().copied().map(Contrasted::code);
        let mut docs = drafts.docs.iter();
        for Draft {
            entry,
            phrasings,
            answer,
        } in drafts.items
        {
            for (phrasing, doc) in (0..).zip(docs.by_ref().take(phrasings)) {
                let row = self.rows.len() as u32;
                self.rows.extend(unit_rows.by_ref().take(doc.units));
                self.rows.extend(word_rows.by_ref().take(doc.words));
                self.rows.extend(contrasts.by_ref().take(doc.contrasts));
                let normalized = doc.normalized;
                let doc = Doc {
                    item: self.items.len() as u32,
                    phrasing,
                    denies: doc.denies,
                    row,
                    units: doc.units as u16,
                    words: doc.words as u16,
                    contrasts: doc.contrasts.min(255) as u8,
                };
                self.push_doc(&entry, normalized, doc);
            }
            let start = self.answers.len();
            self.answers.extend(answers.by_ref().take(answer));
            self.answers[start..].sort_unstable();
            self.push_item(entry);
        }
    }

    fn copy(&mut self, from: &Self, item: u32) {
        let source = from.item(item);
        for at in from.docs_of(item) {
            let doc = &from.docs[at as usize];
            let row = self.rows.len();
            self.rows.extend(from.whole_row(doc));
            let copy = Doc {
                item: self.items.len() as u32,
                row: row as u32,
                ..*doc
            };
            self.push_doc(&source.entry, from.normalized[at as usize], copy);
        }
        self.answers.extend(from.answer(item).numbers);
        self.push_item(Arc::clone(&source.entry));
    }

    fn push_doc(&mut self, entry: &Entry, normalized: Word, doc: Doc) {
        let at = self.docs.len();
        self.lengths.push(doc.units.min(255) as u8);
        self.ties.push(tie(entry, doc.phrasing));
        self.normalized.push(normalized);
        self.docs.push(doc);
        if at.is_multiple_of(64) {
            self.open.push(0);
        }
        self.open[at / 64] |= u64::from(is_open(entry)) << (at % 64);
    }

    fn push_item(&mut self, entry: Arc<Entry>) {
        let answers_start = self.items.last().map_or(0, |last| last.answers_start + last.answers);
        let answer = &self.answers[answers_start as usize..];
        let priority = entry.priority.clamp(i8::MIN.into(), i8::MAX.into()) as i8;
        self.top_priority = self.top_priority.max(priority);
        self.items.push(Item {
            sieve: answer.iter().copied().collect(),
            priority,
            entry,
            docs_end: self.docs.len() as u32,
            answers_start,
            answers: self.answers.len() as u32 - answers_start,
        });
    }

    /// Items in the order of categories; of one category the highest priority first, then by id.
    pub fn by_category(&self) -> &[u32] {
        &self.by_category
    }

    /// Takes the terms of an entry, which lives no longer, out of the counts.
    #[expect(clippy::missing_panics_doc, reason = "it cannot")]
    pub fn discount(&self, item: u32, vocabulary: &mut Vocabulary) {
        let less = |count: &mut u32| *count = count.saturating_sub(1);
        for at in self.docs_of(item) {
            let row = self.row(at);
            vocabulary.words.discount(row.words.to_vec());
            vocabulary.units.discount(row.units.to_vec());
            let units: Vec<KnownUnit> = row.units.iter().map(|number| vocabulary.unit(*number)).collect();
            let pairs = || units.windows(2);
            let known = |terms: &Terms, key: u32| terms.number(key).expect("a filed term has a number");
            let bigrams = pairs().map(|pair| known(&vocabulary.bigrams, Bigram::new(pair[0].unit, pair[1].unit).0));
            let bigrams = bigrams.collect();
            vocabulary.bigrams.discount(bigrams);
            let sounds = pairs().flat_map(|pair| SoundBigram::of(pair[0].readings.all(), pair[1].readings.all()));
            let sounds = sounds.map(|sound| known(&vocabulary.sounds, sound.0)).collect();
            vocabulary.sounds.discount(sounds);
            for syllable in distinct_syllables(units.into_iter().map(|known| known.readings.all())) {
                less(&mut vocabulary.syllable_freq[syllable.index()]);
            }
            less(&mut vocabulary.documents);
            vocabulary.total_units = vocabulary.total_units.saturating_sub(row.units.len() as u64);
        }
        for number in self.answer(item).numbers {
            less(vocabulary.words.more_mut(*number));
        }
        less(&mut vocabulary.entries);
    }

    /// Entries, the dead ones too.
    pub fn entries(&self) -> usize {
        self.items.len()
    }

    #[expect(missing_docs, reason = "the name says it")]
    pub fn documents(&self) -> usize {
        self.docs.len()
    }

    /// The documents holding a term of that number, ascending.
    pub fn found_by(&self, field: Field, number: u32) -> Cow<'_, [u32]> {
        match field {
            Field::Words => self.words.docs(number).into(),
            Field::Bigrams => self.bigrams.docs(number).into(),
            Field::Units => self.units.docs(number).into(),
            Field::Sounds => self.sounds.docs(number).collect(),
        }
    }

    #[expect(missing_docs, reason = "the names say it")]
    pub fn item(&self, item: u32) -> &Item {
        &self.items[item as usize]
    }

    #[expect(missing_docs, reason = "the names say it")]
    pub fn doc(&self, doc: u32) -> &Doc {
        &self.docs[doc as usize]
    }

    /// The position of the entry with that id.
    pub fn find(&self, id: &str) -> Option<u32> {
        let found = self.items.binary_search_by(|item| item.entry.id.as_str().cmp(id));
        found.ok().map(|at| at as u32)
    }

    /// [`Word::new`] of the id of a document's entry, without a look at the entry.
    pub fn id_hash(&self, doc: u32) -> u32 {
        self.ties[doc as usize].wrapping_sub(u32::from(self.doc(doc).phrasing))
    }

    /// The documents of an entry.
    pub fn docs_of(&self, item: u32) -> std::ops::Range<u32> {
        let start = item.checked_sub(1).map_or(0, |before| self.item(before).docs_end);
        start..self.item(item).docs_end
    }

    /// Numbers of a phrasing's units, in order, with repetitions.
    pub fn units(&self, doc: u32) -> &[u32] {
        let doc = self.doc(doc);
        &self.rows[doc.row as usize..][..usize::from(doc.units)]
    }

    /// A phrasing, for ranking.
    pub fn row(&self, doc: u32) -> Row<'_> {
        let doc = self.doc(doc);
        let (units, rest) = self.whole_row(doc).split_at(usize::from(doc.units));
        let (words, contrasts) = rest.split_at(usize::from(doc.words));
        Row {
            units,
            words,
            contrasts,
            denies: doc.denies,
        }
    }

    fn whole_row(&self, doc: &Doc) -> &[u32] {
        let length = usize::from(doc.units) + usize::from(doc.words) + usize::from(doc.contrasts);
        &self.rows[doc.row as usize..][..length]
    }

    /// Whether every account and channel sees the document at any time.
    pub fn is_open(&self, doc: u32) -> bool {
        self.open[doc as usize / 64] >> (doc % 64) & 1 == 1
    }

    /// The words of an entry's answer.
    pub fn answer(&self, item: u32) -> AnswerWords<'_> {
        let item = self.item(item);
        AnswerWords {
            sieve: item.sieve,
            numbers: &self.answers[item.answers_start as usize..][..item.answers as usize],
        }
    }

    /// Reads something of all that comparing the document reads.
    pub fn touch(&self, doc: u32) -> u32 {
        let ends = |numbers: &[u32]| match numbers {
            [first, .., last] => first ^ last,
            [only] => *only,
            [] => 0,
        };
        let doc = self.doc(doc);
        ends(self.whole_row(doc)) ^ ends(self.answer(doc.item).numbers)
    }

    /// Documents whose normalised text has that hash.
    pub fn normalized_as(&self, text: Word) -> impl Iterator<Item = u32> {
        let documents = self.by_normalized.documents(text).iter().copied();
        documents.filter(move |at| self.normalized[*at as usize] == text)
    }

    /// Bytes in memory by part, the entries themselves left out.
    pub fn bytes(&self) -> Vec<(&'static str, usize)> {
        let numbers = |numbers: &Vec<u32>| numbers.capacity() * 4;
        vec![
            ("rows", numbers(&self.rows)),
            ("answers", numbers(&self.answers)),
            (
                "documents",
                self.docs.capacity() * size_of::<Doc>()
                    + self.items.capacity() * size_of::<Item>()
                    + self.lengths.capacity()
                    + numbers(&self.ties),
            ),
            (
                "exact texts",
                self.normalized.capacity() * 4 + self.by_normalized.bytes(),
            ),
            ("lists of words", self.words.bytes()),
            ("lists of units", self.units.bytes()),
            ("lists of firsts", self.firsts.bytes()),
            ("lists of bigrams", self.bigrams.bytes()),
            ("lists of sounds", self.sounds.bytes()),
        ]
    }
}

fn is_open(entry: &Entry) -> bool {
    let always = entry.valid_from.is_none() && entry.valid_until.is_none();
    let everywhere = entry.accounts.is_empty() && entry.channels.is_empty();
    entry.state == State::Published && always && everywhere
}

fn tie(entry: &Entry, phrasing: u16) -> u32 {
    Word::new(entry.id.as_str()).0.wrapping_add(u32::from(phrasing))
}

/// The wording of a phrasing: 0 is the question, n the n-th similar question.
pub fn phrasing_text(entry: &Entry, phrasing: u16) -> &str {
    phrasing
        .checked_sub(1)
        .and_then(|n| entry.similar.get(usize::from(n)))
        .unwrap_or(&entry.question)
}
