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
    /// By hash of an id: the highest count of those that share it.
    highest: FxHashMap<u32, u32>,
    /// A bit by hash of the id; where it is not set, the count is 0.
    filter: Box<[u64]>,
}

impl Default for Popularity {
    fn default() -> Self {
        Self {
            counts: FxHashMap::default(),
            highest: FxHashMap::default(),
            filter: vec![0; FILTER_BITS / 64].into(),
        }
    }
}

impl Popularity {
    /// Counts one more question for the entry.
    pub fn note(&mut self, id: &EntryId) {
        if let Some(count) = self.counts.get_mut(id) {
            *count = count.saturating_add(1);
            let count = *count;
            self.mark(hash(id), count);
            return;
        }
        if self.counts.len() >= MOST {
            self.age();
        }
        self.counts.insert(id.clone(), 1);
        self.mark(hash(id), 1);
    }

    /// How often it was asked for, as far as that is remembered.
    pub fn count(&self, id: &EntryId) -> u32 {
        self.counts.get(id).copied().unwrap_or(0)
    }

    /// What [`Popularity::count`] is at most for an entry whose id has this hash ([`Word::new`]).
    pub fn at_most(&self, id_hash: u32) -> u32 {
        let bit = id_hash as usize % FILTER_BITS;
        match self.filter[bit / 64] >> (bit % 64) & 1 {
            0 => 0,
            _ => self.highest.get(&id_hash).copied().unwrap_or(0),
        }
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
        self.highest.clear();
        let left: Vec<(u32, u32)> = self.counts.iter().map(|(id, count)| (hash(id), *count)).collect();
        for (id_hash, count) in left {
            self.mark(id_hash, count);
        }
    }

    fn mark(&mut self, id_hash: u32, count: u32) {
        let highest = self.highest.entry(id_hash).or_default();
        *highest = count.max(*highest);
        let bit = id_hash as usize % FILTER_BITS;
        self.filter[bit / 64] |= 1 << (bit % 64);
    }
}

fn hash(id: &EntryId) -> u32 {
    Word::new(id.as_str()).0
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
        let at_most = |text: &str| popularity.at_most(Word::new(text).0);
        assert_eq!((at_most("often"), at_most("once-0")), (count, 0));
        assert_eq!(popularity.count(&id("once-0")), 0);
    }
}
