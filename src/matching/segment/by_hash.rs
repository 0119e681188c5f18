//! The documents of a segment by the hash of their normalised text.
//!
//! [`ByHash::documents`] is the entry point. Documents lie in buckets by the leading bits of their hashes, one or two to a
//! bucket, so that most texts that nobody has asked for cost one look.

use crate::matching::tokenizer::Word;

/// Documents in the order of their buckets.
#[derive(Default)]
pub(super) struct ByHash {
    documents: Vec<u32>,
    /// Where each bucket begins, and the end of the last.
    starts: Vec<u32>,
}

impl ByHash {
    /// Of hashes by document.
    pub(super) fn of(hashes: &[Word]) -> Self {
        let buckets = 1 << hashes.len().max(1).ilog2();
        let mut starts = vec![0; buckets + 1];
        for hash in hashes {
            starts[bucket(*hash, buckets) + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut ends = starts.clone();
        let mut documents = vec![0; hashes.len()];
        for (document, hash) in (0..).zip(hashes) {
            let end = &mut ends[bucket(*hash, buckets)];
            documents[*end as usize] = document;
            *end += 1;
        }
        Self { documents, starts }
    }

    /// Those in the bucket of `hash`, ascending; whoever asks looks at their hashes.
    pub(super) fn documents(&self, hash: Word) -> &[u32] {
        let Some(buckets) = self.starts.len().checked_sub(1) else {
            return &[];
        };
        let at = bucket(hash, buckets);
        &self.documents[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        (self.documents.capacity() + self.starts.capacity()) * 4
    }
}

/// `buckets` is a power of two.
fn bucket(hash: Word, buckets: usize) -> usize {
    ((u64::from(hash.0) * buckets as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_found_however_hashes_are_spread() {
        let spreads: [fn(u32) -> u32; 3] = [|n| n.wrapping_mul(0x9e37_79b9), |n| n / 7, |n| u32::MAX - n % 50];
        for spread in spreads {
            for count in [0, 1, 10, 5_000] {
                let hashes: Vec<Word> = (0..count).map(|n| Word(spread(n))).collect();
                let by_hash = ByHash::of(&hashes);
                for wanted in (0..50).map(spread).chain([0, u32::MAX]).map(Word) {
                    let found = by_hash.documents(wanted).iter().copied();
                    let found: Vec<u32> = found.filter(|at| hashes[*at as usize] == wanted).collect();
                    let expected = (0..count).filter(|at| hashes[*at as usize] == wanted);
                    assert_eq!(found, expected.collect::<Vec<_>>(), "{wanted:?} among {count}");
                }
            }
        }
        assert_eq!(ByHash::default().documents(Word(7)), [0_u32; 0]);
    }
}
