//! How often entries were asked for, within a bound.
//!
//! [`Popularity`] counts; when it holds too many entries all counts are halved until few enough are left, so that what
//! was asked long ago makes room for what is asked now.

use super::tokenizer::Word;
use crate::bank::EntryId;
use rustc_hash::FxHashMap;
use std::cmp::Reverse;

/// Entries that are counted at most.
const MOST: usize = 4_096;
/// Bits of the filter in front of the counts: 16 KiB, which stays in the fastest cache.
const FILTER_BITS: usize = 1 << 17;

/// Counts by entry.
pub struct Popularity {
    counts: FxHashMap<EntryId, u32>,
    /// A bit by hash of the id; where it is not set, the count is 0.
    filter: Box<[u64]>,
}

impl Default for Popularity {
    fn default() -> Self {
        Self {
            counts: FxHashMap::default(),
            filter: vec![0; FILTER_BITS / 64].into(),
        }
    }
}

impl Popularity {
    /// Counts one more question for the entry.
    pub fn note(&mut self, id: &EntryId) {
        if let Some(count) = self.counts.get_mut(id) {
            *count = count.saturating_add(1);
            return;
        }
        if self.counts.len() >= MOST {
            self.age();
        }
        self.counts.insert(id.clone(), 1);
        mark(&mut self.filter, id);
    }

    /// How often it was asked for, as far as that is remembered.
    pub fn count(&self, id: &EntryId) -> u32 {
        self.counts.get(id).copied().unwrap_or(0)
    }

    /// Whether [`Popularity::count`] may be above 0 for an entry whose id has this hash ([`Word::new`]).
    pub fn may_have(&self, id_hash: u32) -> bool {
        let bit = id_hash as usize % FILTER_BITS;
        self.filter[bit / 64] >> (bit % 64) & 1 == 1
    }

    /// Every entry that is counted, the most asked first, then by id.
    pub fn in_order(&self) -> Vec<&EntryId> {
        let mut all: Vec<(Reverse<u32>, &EntryId)> =
            self.counts.iter().map(|(id, count)| (Reverse(*count), id)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, id)| id).collect()
    }

    fn age(&mut self) {
        while self.counts.len() > MOST / 2 {
            self.counts.retain(|_, count| {
                *count /= 2;
                *count > 0
            });
        }
        self.filter.fill(0);
        for id in self.counts.keys() {
            mark(&mut self.filter, id);
        }
    }
}

fn mark(filter: &mut [u64], id: &EntryId) {
    let bit = Word::new(id.as_str()).0 as usize % FILTER_BITS;
    filter[bit / 64] |= 1 << (bit % 64);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> EntryId {
        EntryId::parse(text).unwrap()
    }

    #[test]
    fn what_is_asked_often_outlives_a_flood_of_what_is_asked_once() {
        let mut popularity = Popularity::default();
        for _ in 0..100 {
            popularity.note(&id("often"));
        }
        for n in 0..3 * MOST {
            popularity.note(&id(&format!("once-{n}")));
        }
        assert!(popularity.counts.len() <= MOST);
        assert_eq!(popularity.in_order()[0], &id("often"));
        let count = popularity.count(&id("often"));
        assert!((1..100).contains(&count), "{count}");
        let has = |text: &str| popularity.may_have(Word::new(text).0);
        assert!(has("often") && !has("once-0"));
        assert_eq!(popularity.count(&id("once-0")), 0);
    }
}
