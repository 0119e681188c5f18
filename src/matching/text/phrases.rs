//! Tables of phrases, ready for looking up: [`Affixes`] at the edges of a text, [`Phrases`] anywhere in it.

use crate::matching::effort;
use rustc_hash::FxHashMap;
use std::borrow::Cow;

/// Beginnings or endings, by the character at the edge; in the order of their table.
pub(super) struct Affixes(FxHashMap<char, Vec<&'static str>>);

impl Affixes {
    pub(super) fn new(table: &[&'static str], edge: fn(&str) -> Option<char>) -> Self {
        let mut by_edge: FxHashMap<char, Vec<&'static str>> = FxHashMap::default();
        for affix in table {
            by_edge.entry(edge(affix).unwrap_or_default()).or_default().push(affix);
        }
        Self(by_edge)
    }

    pub(super) fn of(&self, edge: Option<char>) -> impl Iterator<Item = &'static str> {
        let affixes = edge.and_then(|edge| self.0.get(&edge));
        affixes.into_iter().flatten().copied()
    }
}

/// Phrases to replace.
pub(super) struct Phrases {
    by_first: FxHashMap<char, Vec<(&'static str, &'static str)>>,
    /// A bit for each low byte of a first character: most characters begin nothing.
    may_begin: [u64; 4],
}

impl Phrases {
    pub(super) fn new(table: &[(&'static str, &'static str)]) -> Self {
        let mut phrases = Self {
            by_first: FxHashMap::default(),
            may_begin: [0; 4],
        };
        for &(from, to) in table {
            let first = from.chars().next().unwrap_or_default();
            phrases.by_first.entry(first).or_default().push((from, to));
            let (word, bit) = Self::place(first);
            phrases.may_begin[word] |= bit;
        }
        phrases
    }

    fn place(first: char) -> (usize, u64) {
        let low = first as usize % 256;
        (low / 64, 1 << (low % 64))
    }

    /// Replaces from left to right; of the phrases that fit at one place the first in the table.
    pub(super) fn replace<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut replaced = String::new();
        // Up to here the text is in `replaced`.
        let mut done = 0;
        for (at, c) in text.char_indices() {
            effort::spend(1);
            let (word, bit) = Self::place(c);
            if at < done || self.may_begin[word] & bit == 0 {
                continue;
            }
            let mut beginning = self.by_first.get(&c).into_iter().flatten();
            if let Some((from, to)) = beginning.find(|(from, _)| text[at..].starts_with(from)) {
                replaced.reserve(text.len());
                replaced.push_str(&text[done..at]);
                replaced.push_str(to);
                done = at + from.len();
            }
        }
        if done == 0 {
            return text.into();
        }
        replaced.push_str(&text[done..]);
        replaced.into()
    }
}
