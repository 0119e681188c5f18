//! Cached matches: which entries a normalised text found, under everything that decided it, never a reply.
//!
//! Where they are kept, in this process and perhaps in Redis, is `store`'s business. Cached bytes are believed only
//! while their entries are in the snapshot.

use super::Snapshot;
use crate::bank::{Channel, EntryId};
use crate::matching::{Guard, Hit, Matches, Scope, Score};
use crate::store::match_cache::{MatchCache, MatchKey};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The cache of what was found.
pub struct MatchStore {
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
    /// Keeps matches in `cache`.
    pub fn new(cache: Arc<dyn MatchCache>) -> Self {
        Self { cache }
    }

    /// `None` when nothing is cached, or nothing that can be believed.
    pub(super) async fn get(&self, lookup: Lookup<'_>) -> Option<Matches> {
        if lookup.normalized.is_empty() {
            return None;
        }
        let key = lookup.key();
        // A cache that cannot be reached has missed.
        let bytes = self.cache.get(&key).await.ok().flatten()?;
        let cached: Cached = serde_json::from_slice(&bytes).ok()?;
        let matches = cached.resolve(lookup.snapshot)?;
        metrics::counter!("wxfaq_match_cache_hits_total").increment(1);
        Some(matches)
    }

    /// Keeps `matches`, once what is returned is run.
    pub(super) fn put(&self, lookup: Lookup<'_>, matches: &Matches) -> impl Future<Output = ()> + Send + use<> {
        metrics::counter!("wxfaq_match_cache_misses_total").increment(1);
        let key = lookup.key();
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
