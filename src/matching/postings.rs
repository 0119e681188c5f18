//! Postings: which documents hold a term, and how rare it is.
//!
//! A [`Field`] is built in one go and never changes. A document is one phrasing, numbered from 0. Each term of a
//! document counts once: questions are too short for term frequency to say anything (FAQ benchmark: within noise).

use rustc_hash::FxHashMap;
use std::hash::Hash;

/// BM25 (Robertson & Zaragoza 2009, §3): how fast repeated terms saturate; with binary frequencies, the strength of `B`.
const K1: f64 = 1.2;
/// BM25: how far long documents are held back.
const B: f64 = 0.75;
/// Steps of one natural-log unit in which idf is kept. Sums of whole steps are exact, so no score depends on the order
/// of additions, and a processor whose `ln` differs in the last bit gets the same steps.
pub const IDF_STEPS: f64 = 1024.0;

/// The inverted lists of one kind of term, in one array.
#[derive(Debug, Clone)]
pub struct Field<T> {
    lists: FxHashMap<T, List>,
    /// Document numbers, ascending within a list.
    docs: Vec<u32>,
    documents: u32,
}

/// One term's documents, as a span of `docs`, and its rarity.
#[derive(Debug, Clone, Copy, Default)]
struct List {
    start: u32,
    end: u32,
    idf: u32,
}

impl<T: Copy + Eq + Hash> Field<T> {
    /// Builds the field of documents 0, 1, 2 …, each given by its terms, repetitions allowed.
    pub fn build<D>(documents: impl Iterator<Item = D> + Clone) -> Self
    where
        D: Iterator<Item = T>,
    {
        // First pass: per term the number of documents, in `end`; `start` holds the last one counted, by number + 1.
        let mut lists: FxHashMap<T, List> = FxHashMap::default();
        let mut number = 0;
        for terms in documents.clone() {
            number += 1;
            for term in terms {
                let list = lists.entry(term).or_default();
                list.end += u32::from(list.start != number);
                list.start = number;
            }
        }
        let mut filled = 0;
        for list in lists.values_mut() {
            let doc_freq = list.end;
            *list = List {
                start: filled,
                end: filled,
                idf: idf(doc_freq, number),
            };
            filled += doc_freq;
        }
        let mut docs = vec![0; filled as usize];
        for (doc, terms) in documents.enumerate() {
            for term in terms {
                let Some(list) = lists.get_mut(&term) else { continue };
                if list.end == list.start || docs[list.end as usize - 1] != doc as u32 {
                    docs[list.end as usize] = doc as u32;
                    list.end += 1;
                }
            }
        }
        Self {
            lists,
            docs,
            documents: number,
        }
    }

    /// The documents holding `term`, ascending; empty when none does.
    pub fn docs(&self, term: T) -> &[u32] {
        self.lists
            .get(&term)
            .map_or(&[], |list| &self.docs[list.start as usize..list.end as usize])
    }

    /// How many documents hold `term`.
    pub fn doc_freq(&self, term: T) -> u32 {
        self.lists.get(&term).map_or(0, |list| list.end - list.start)
    }

    /// Rarity of `term`, in steps; a term nobody has is the rarest.
    pub fn idf(&self, term: T) -> u32 {
        self.lists
            .get(&term)
            .map_or_else(|| idf(0, self.documents), |list| list.idf)
    }
}

/// BM25's inverse document frequency, ln(1 + (N − n + ½) / (n + ½)), in [`IDF_STEPS`].
pub fn idf(doc_freq: u32, documents: u32) -> u32 {
    let (n, all) = (f64::from(doc_freq), f64::from(documents.max(doc_freq)));
    ((1.0 + (all - n + 0.5) / (n + 0.5)).ln() * IDF_STEPS).round() as u32
}

/// BM25's weight of one occurrence in a document of `length` units where `average` is usual; 1 at the average.
pub fn length_weight(length: usize, average: f64) -> f64 {
    (K1 + 1.0) / (1.0 + K1 * (1.0 - B + B * length as f64 / average.max(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postings_are_ascending_and_distinct() {
        let documents = [vec![1, 2, 1], vec![], vec![2, 2], vec![1]];
        let field = Field::build(documents.iter().map(|terms| terms.iter().copied()));
        assert_eq!(field.docs(1), [0, 3]);
        assert_eq!(field.docs(2), [0, 2]);
        assert_eq!(field.docs(9), [0_u32; 0]);
        assert!(field.idf(9) > field.idf(1));
    }
}
