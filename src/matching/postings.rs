//! Postings: which documents of a segment hold a term.
//!
//! [`Lists`] is built in one go and never changes; [`PackedLists`] is smaller and slower. A document is one phrasing, numbered from 0 within its segment. Each
//! term of a document counts once: questions are too short for term frequency to say anything (FAQ benchmark: within
//! noise).

use rustc_hash::FxHashMap;
use std::ops::Range;

/// BM25 (Robertson & Zaragoza 2009, §3): how fast repeated terms saturate; with binary frequencies, the strength of `B`.
const K1: f64 = 1.2;
/// BM25: how far long documents are held back.
const B: f64 = 0.75;
/// A directory by number pays when at least one number in so many is used.
const DENSE: usize = 8;

/// The inverted lists of one field in one segment.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    directory: Directory,
    /// Document numbers, ascending within a list.
    docs: Vec<u32>,
}

/// Where a term's list is.
#[derive(Debug, Clone)]
enum Directory {
    /// By the term's number: where its list begins; one more at the end.
    Dense(Vec<u32>),
    /// For segments that have few of the bank's terms.
    Sparse(FxHashMap<u32, (u32, u32)>),
}

impl Default for Directory {
    fn default() -> Self {
        Self::Dense(Vec::new())
    }
}

impl Directory {
    /// `None` when there is no list of that number.
    fn span(&self, number: u32) -> Option<Range<usize>> {
        let (start, end) = match self {
            Self::Dense(starts) => {
                let at = number as usize;
                (*starts.get(at)?, *starts.get(at + 1)?)
            }
            Self::Sparse(spans) => *spans.get(&number)?,
        };
        Some(start as usize..end as usize)
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Dense(starts) => starts.capacity() * 4,
            Self::Sparse(spans) => spans.capacity() * 13,
        }
    }
}

impl Lists {
    /// Of documents given by the numbers of their terms, repetitions allowed; `numbers` is above each of them.
    pub fn build<'a>(documents: impl Iterator<Item = &'a [u32]> + Clone, numbers: usize) -> Self {
        let terms: usize = documents.clone().map(<[u32]>::len).sum();
        if terms * DENSE >= numbers {
            Self::dense(documents, numbers)
        } else {
            Self::sparse(documents)
        }
    }

    fn dense<'a>(documents: impl Iterator<Item = &'a [u32]> + Clone, numbers: usize) -> Self {
        // First pass: the length of each list, one place further on; `last` holds the last document counted, from 1.
        let mut starts = vec![0_u32; numbers + 1];
        let mut last = vec![0_u32; numbers];
        for (doc, terms) in (1..).zip(documents.clone()) {
            for &term in terms {
                let term = term as usize;
                starts[term + 1] += u32::from(last[term] != doc);
                last[term] = doc;
            }
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut docs = vec![0; starts[numbers] as usize];
        let mut filled = last;
        filled.copy_from_slice(&starts[..numbers]);
        for (doc, terms) in (0..).zip(documents) {
            for &term in terms {
                let (start, end) = (starts[term as usize], &mut filled[term as usize]);
                if *end == start || docs[*end as usize - 1] != doc {
                    docs[*end as usize] = doc;
                    *end += 1;
                }
            }
        }
        Self {
            directory: Directory::Dense(starts),
            docs,
        }
    }

    fn sparse<'a>(documents: impl Iterator<Item = &'a [u32]>) -> Self {
        let pairs = (0..).zip(documents);
        let mut pairs: Vec<(u32, u32)> = pairs
            .flat_map(|(doc, terms)| terms.iter().map(move |term| (*term, doc)))
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut spans: FxHashMap<u32, (u32, u32)> = FxHashMap::default();
        for (at, (term, _)) in (0..).zip(&pairs) {
            spans.entry(*term).or_insert((at, at)).1 = at + 1;
        }
        Self {
            directory: Directory::Sparse(spans),
            docs: pairs.into_iter().map(|(_, doc)| doc).collect(),
        }
    }

    /// The documents holding the term with that number, ascending; empty when none does.
    pub fn docs(&self, number: u32) -> &[u32] {
        self.directory.span(number).map_or(&[], |span| &self.docs[span])
    }

    /// Every term that occurs, with the number of its documents, in no order.
    pub fn frequencies(&self) -> Vec<(u32, u32)> {
        match &self.directory {
            Directory::Dense(starts) => (0..)
                .zip(starts.windows(2))
                .filter(|(_, span)| span[0] < span[1])
                .map(|(number, span)| (number, span[1] - span[0]))
                .collect(),
            Directory::Sparse(spans) => spans.iter().map(|(term, (start, end))| (*term, end - start)).collect(),
        }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.directory.bytes() + self.docs.len() * 4
    }
}

/// [`Lists`] for a field that is read rarely: less memory, more time.
#[derive(Debug, Clone, Default)]
pub struct PackedLists {
    directory: Directory,
    /// Of each list the first document and the distance from each to the next, seven bits a byte, the low ones first; the
    /// eighth bit: more follow.
    bytes: Vec<u8>,
}

impl PackedLists {
    /// The same lists; nothing of the order of terms is lost.
    pub fn pack(lists: &Lists) -> Self {
        let mut bytes = Vec::with_capacity(lists.docs.len() * 2);
        let mut pack = |docs: &[u32]| {
            let start = bytes.len() as u32;
            let mut before = 0;
            for doc in docs {
                push_packed(&mut bytes, doc - before);
                before = *doc;
            }
            (start, bytes.len() as u32)
        };
        let directory = match &lists.directory {
            Directory::Dense(starts) => {
                let spans = starts
                    .windows(2)
                    .map(|span| &lists.docs[span[0] as usize..span[1] as usize]);
                let ends = spans.map(|docs| pack(docs).1);
                Directory::Dense(std::iter::once(0).chain(ends).collect())
            }
            Directory::Sparse(spans) => Directory::Sparse(
                spans
                    .iter()
                    .map(|(term, (start, end))| (*term, pack(&lists.docs[*start as usize..*end as usize])))
                    .collect(),
            ),
        };
        bytes.shrink_to_fit();
        Self { directory, bytes }
    }

    /// The documents holding the term with that number, ascending; none when nobody does.
    pub fn docs(&self, number: u32) -> impl Iterator<Item = u32> {
        let mut rest = self.directory.span(number).map_or(&[][..], |span| &self.bytes[span]);
        let mut doc = 0;
        std::iter::from_fn(move || {
            doc += take_packed(&mut rest)?;
            Some(doc)
        })
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.directory.bytes() + self.bytes.len()
    }
}

fn push_packed(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// `None` at the end.
fn take_packed(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(number)
}

/// BM25's weight of one occurrence in a document of `length` units where `average` is usual; 1 at the average.
pub fn length_weight(length: usize, average: f64) -> f64 {
    (K1 + 1.0) / (1.0 + K1 * (1.0 - B + B * length as f64 / average.max(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_ascending_and_distinct_in_either_form() {
        let documents: [&[u32]; 4] = [&[1, 2, 1], &[], &[2, 2], &[1]];
        let documents = documents.into_iter();
        for lists in [Lists::dense(documents.clone(), 4), Lists::sparse(documents)] {
            assert_eq!(lists.docs(1), [0, 3]);
            assert_eq!(lists.docs(2), [0, 2]);
            for absent in [0, 3, 9] {
                assert_eq!(lists.docs(absent), [0_u32; 0]);
            }
            let mut frequencies = lists.frequencies();
            frequencies.sort_unstable();
            assert_eq!(frequencies, [(1, 2), (2, 2)]);
        }
    }

    #[test]
    fn packing_loses_nothing() {
        // Distances of one byte to five.
        let numbers: Vec<u32> = (0..32).map(|bit| 1 << bit).chain([u32::MAX]).collect();
        let mut bytes = Vec::new();
        for number in &numbers {
            push_packed(&mut bytes, *number);
        }
        let mut rest = bytes.as_slice();
        assert_eq!(
            std::iter::from_fn(|| take_packed(&mut rest)).collect::<Vec<_>>(),
            numbers
        );

        let documents: Vec<Vec<u32>> = (0..1_000_u32)
            .map(|doc| (0..9).filter(|term| doc % (1 << term) == 0).collect())
            .collect();
        let documents = documents.iter().map(Vec::as_slice);
        for lists in [Lists::dense(documents.clone(), 12), Lists::sparse(documents)] {
            let packed = PackedLists::pack(&lists);
            for term in 0..13 {
                assert_eq!(packed.docs(term).collect::<Vec<_>>(), lists.docs(term), "{term}");
            }
            assert!(packed.bytes() < lists.bytes());
        }
    }
}
