//! Cached matches: which entries a normalised text found, under everything that decided it, never a reply.
//!
//! What this process found lately is kept as it was found. Behind that stands a [`MatchCache`], whose bytes, perhaps from
//! Redis, are believed only while their entries are in the snapshot.

use super::Snapshot;
use crate::bank::{Channel, EntryId};
use crate::matching::{Guard, Hit, Matches, Scope, Score};
use crate::store::match_cache::{MatchCache, MatchKey};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of matches that are kept as they were found, keys included.
const RECENT_BYTES: u64 = 8 * 1024 * 1024;
/// About what one costs besides its key and its hits.
const RECENT_OVERHEAD: usize = 160;
/// Longer texts, in bytes, are not asked twice.
const LONGEST_RECENT: usize = 512;
/// They keep entries of earlier snapshots alive no longer than this.
const RECENT_LIFETIME: Duration = Duration::from_secs(600);

/// The cache of what was found.
pub struct MatchStore {
    recent: moka::sync::Cache<MatchKey, Arc<Matches>>,
    cache: Arc<dyn MatchCache>,
}

/// What is being looked up.
#[derive(Clone, Copy)]
pub(super) struct Lookup<'a> {
    pub snapshot: &'a Snapshot,
    pub scope: Scope<'a>,
    pub normalized: &'a str,
}

/// The cached form: id, score in steps and phrasing of each hit.
#[derive(Serialize, Deserialize)]
struct Cached {
    hits: Vec<(EntryId, u16, u16)>,
    guard: Option<Guard>,
}

impl Lookup<'_> {
    fn key(&self) -> MatchKey {
        let channel = match self.scope.channel {
            Channel::Wechat => "",
            other => other.as_str(),
        };
        MatchKey {
            account: format!("{}/{channel}", self.scope.account),
            snapshot: self.snapshot.cache_key(self.scope.now),
            text: self.normalized.to_owned(),
        }
    }
}

impl MatchStore {
    /// Keeps matches in `cache`, and the latest at hand.
    pub fn new(cache: Arc<dyn MatchCache>) -> Self {
        let recent = moka::sync::Cache::builder()
            .max_capacity(RECENT_BYTES)
            .weigher(weight)
            .time_to_live(RECENT_LIFETIME)
            .build();
        Self { recent, cache }
    }

    /// `None` when nothing is cached, or nothing that can be believed.
    pub(super) async fn get(&self, lookup: Lookup<'_>) -> Option<Arc<Matches>> {
        if lookup.normalized.is_empty() {
            return None;
        }
        let key = lookup.key();
        if let Some(matches) = self.recent.get(&key) {
            metrics::counter!("wxfaq_match_cache_hits_total").increment(1);
            return Some(matches);
        }
        // A cache that cannot be reached has missed.
        let bytes = self.cache.get(&key).await.ok().flatten()?;
        let cached: Cached = serde_json::from_slice(&bytes).ok()?;
        let matches = Arc::new(cached.resolve(lookup.snapshot)?);
        self.remember(key, &matches);
        metrics::counter!("wxfaq_match_cache_hits_total").increment(1);
        Some(matches)
    }

    /// Keeps `matches`, once what is returned is run.
    pub(super) fn put(&self, lookup: Lookup<'_>, matches: &Arc<Matches>) -> impl Future<Output = ()> + Send + use<> {
        metrics::counter!("wxfaq_match_cache_misses_total").increment(1);
        let key = lookup.key();
        self.remember(key.clone(), matches);
        let cached = Cached {
            hits: matches
                .hits
                .iter()
                .map(|hit| (hit.entry.id.clone(), hit.score.steps(), hit.phrasing))
                .collect(),
            guard: matches.guard,
        };
        let bytes = serde_json::to_vec(&cached).unwrap_or_default();
        let cache = self.cache.clone();
        async move {
            if !key.text.is_empty() {
                // Nothing is lost when it cannot be kept; the store counts its failures.
                let _ = cache.put(&key, &bytes).await;
            }
        }
    }
}

impl MatchStore {
    fn remember(&self, key: MatchKey, matches: &Arc<Matches>) {
        if (1..=LONGEST_RECENT).contains(&key.text.len()) {
            self.recent.insert(key, matches.clone());
        }
    }
}

fn weight(key: &MatchKey, matches: &Arc<Matches>) -> u32 {
    let key = key.account.len() + key.snapshot.len() + key.text.len();
    let bytes = RECENT_OVERHEAD + key + matches.hits.len() * size_of::<Hit>();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Cached {
    /// `None` when an entry is not in the snapshot.
    fn resolve(&self, snapshot: &Snapshot) -> Option<Matches> {
        let hit = |(id, steps, phrasing): &(EntryId, u16, u16)| {
            let entry = snapshot.index.entry(id.as_str())?.clone();
            Some(Hit {
                entry,
                score: Score::from_steps(*steps),
                phrasing: *phrasing,
            })
        };
        Some(Matches {
            hits: self.hits.iter().map(hit).collect::<Option<_>>()?,
            guard: self.guard,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_long_texts_stays_within_bounds() {
        let store = MatchStore::new(Arc::new(crate::store::memory::MemoryMatchCache::new(
            RECENT_LIFETIME,
            1,
        )));
        let matches = Arc::new(Matches::default());
        for number in 0..40_000 {
            let key = |length| MatchKey {
                account: "demo/".to_owned(),
                snapshot: "0".repeat(34),
                text: format!("{number:0length$}"),
            };
            store.remember(key(LONGEST_RECENT), &matches);
            store.remember(key(LONGEST_RECENT + 1), &matches);
        }
        store.recent.run_pending_tasks();
        assert!(store.recent.weighted_size() <= RECENT_BYTES);
        assert!(store.recent.iter().all(|(key, _)| key.text.len() <= LONGEST_RECENT));
    }
}
