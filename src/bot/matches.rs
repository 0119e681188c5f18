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

/// Hits that are kept as they were found, over all texts.
const RECENT_HITS: u64 = 100_000;

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
            .max_capacity(RECENT_HITS)
            .weigher(|_, matches: &Arc<Matches>| matches.hits.len().max(1) as u32)
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
        self.recent.insert(key, matches.clone());
        metrics::counter!("wxfaq_match_cache_hits_total").increment(1);
        Some(matches)
    }

    /// Keeps `matches`, once what is returned is run.
    pub(super) fn put(&self, lookup: Lookup<'_>, matches: &Arc<Matches>) -> impl Future<Output = ()> + Send + use<> {
        metrics::counter!("wxfaq_match_cache_misses_total").increment(1);
        let key = lookup.key();
        if !key.text.is_empty() {
            self.recent.insert(key.clone(), matches.clone());
        }
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
