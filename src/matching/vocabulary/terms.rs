//! The terms of one field, by key and by number.
//!
//! [`Terms`] is the entry point. A copy shares nearly everything with its original, so that an edit costs what it touches.

use super::rarity::Frequency;
use super::{Known, NOBODYS};
use rustc_hash::FxHashMap;
use std::sync::Arc;

const CHUNK: usize = 512;

/// A vector in chunks: a copy shares all of them, and a change copies one.
#[derive(Clone)]
struct Chunked<T> {
    chunks: Vec<Arc<[T; CHUNK]>>,
}

/// The terms of one field, each with what else is kept of it.
#[derive(Clone, Default)]
pub struct Terms<T = ()> {
    /// Key to number.
    settled: Arc<FxHashMap<u32, u32>>,
    /// Terms that came with recent edits.
    recent: FxHashMap<u32, u32>,
    by_number: Chunked<Filed<T>>,
}

/// What is kept of one term.
#[derive(Clone, Copy, Default)]
pub struct Filed<T> {
    /// Among phrasings.
    pub frequency: Frequency,
    /// What its field keeps of it.
    pub more: T,
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

impl<T> std::ops::Index<u32> for Chunked<T> {
    type Output = T;

    /// The value at `at`, which is below the end.
    #[inline]
    fn index(&self, at: u32) -> &T {
        &self.chunks[at as usize / CHUNK][at as usize % CHUNK]
    }
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T> std::ops::Index<u32> for Terms<T> {
    type Output = Filed<T>;

    /// The term with that number, which some entry has.
    #[inline]
    fn index(&self, number: u32) -> &Filed<T> {
        &self.by_number[number]
    }
}

impl<T: Copy + Default> Terms<T> {
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
        let frequency = self.get(number).frequency;
        Known { number, frequency }
    }

    /// The term with that number; the default for one that no entry ever had.
    pub fn get(&self, number: u32) -> Filed<T> {
        self.by_number.get(number)
    }

    /// What is kept of the term with that number, to be changed.
    pub fn more_mut(&mut self, number: u32) -> &mut T {
        &mut self.by_number.at_mut(number).more
    }

    /// Documents holding the term with that number.
    pub fn doc_freq(&self, number: u32) -> u32 {
        self.get(number).frequency.documents()
    }

    /// Documents holding the term.
    pub fn doc_freq_of(&self, key: u32) -> u32 {
        self.number(key).map_or(0, |number| self.doc_freq(number))
    }

    /// So many documents more hold the terms (number, documents).
    pub fn count_all(&mut self, frequencies: &[(u32, u32)]) {
        for &(number, documents) in frequencies {
            let frequency = &mut self.by_number.at_mut(number).frequency;
            *frequency = Frequency::of(frequency.documents() + documents);
        }
    }

    /// One document less holds the terms with these numbers, of which some come several times.
    pub fn discount(&mut self, mut numbers: Vec<u32>) {
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let frequency = &mut self.by_number.at_mut(number).frequency;
            *frequency = Frequency::of(frequency.documents().saturating_sub(1));
        }
    }

    /// Above every number given so far.
    pub fn numbers(&self) -> usize {
        self.settled.len() + self.recent.len()
    }

    /// Terms that some document holds; takes time proportional to all of them.
    pub fn in_use(&self) -> usize {
        let chunks = self.by_number.chunks.iter();
        chunks
            .flat_map(|chunk| chunk.iter())
            .filter(|term| term.frequency.documents() > 0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_does_not_see_later_changes() {
        let mut terms: Terms = Terms::default();
        let first = terms.number_or_new(7);
        terms.count_all(&[(first, 1)]);
        terms.settle();
        let copy = terms.clone();
        let second = terms.number_or_new(9);
        terms.count_all(&[(first, 1), (second, 1)]);
        assert_eq!((copy.doc_freq_of(7), copy.doc_freq_of(9)), (1, 0));
        assert_eq!((terms.doc_freq_of(7), terms.doc_freq_of(9)), (2, 1));
        assert_eq!(terms.number_or_new(7), first);
    }
}
