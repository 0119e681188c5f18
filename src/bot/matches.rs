//! Cached matches: which entries a normalised text found, under everything that decided it, never a reply.
//!
//! What this process found lately is kept as it was found, and what several messages ask at the same moment is searched
//! for once. Behind that stands a [`MatchCache`], whose bytes, perhaps from Redis, are believed only while their entries
//! are in the snapshot.

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

/// What a search came to.
pub(super) struct Sought {
    pub matches: Arc<Matches>,
    /// Whether it was searched for just now, by this caller, and is to be kept for others.
    pub is_new: bool,
}

/// The cached form: id, score in steps and phrasing of each hit.
#[derive(Serialize, Deserialize)]
struct Cached {
    hits: Vec<(EntryId, u16, u16)>,
    /// In steps.
    sure: u16,
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

    /// What `search` finds; of callers that ask the same at the same moment one searches, and the others take what it
    /// found. They wait with their thread: a search takes nothing but processor time, and less than they would need
    /// themselves is left of it.
    pub(super) fn search_once(&self, lookup: Lookup<'_>, search: impl FnOnce() -> Matches) -> Sought {
        let search = || Arc::new(search());
        let key = lookup.key();
        if !is_worth_keeping(&key) {
            let matches = search();
            return Sought { matches, is_new: true };
        }
        let entry = self.recent.entry(key).or_insert_with(search);
        Sought {
            is_new: entry.is_fresh(),
            matches: entry.into_value(),
        }
    }

    /// Keeps `matches`, once what is returned is run.
    pub(super) fn put(&self, lookup: Lookup<'_>, matches: &Arc<Matches>) -> impl Future<Output = ()> + Send + use<> {
        metrics::counter!("wxfaq_match_cache_misses_total").increment(1);
        let key = lookup.key();
        let cached = Cached {
            hits: matches
                .hits
                .iter()
                .map(|hit| (hit.entry.id.clone(), hit.score.steps(), hit.phrasing))
                .collect(),
            sure: matches.sure.steps(),
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
        if is_worth_keeping(&key) {
            self.recent.insert(key, matches.clone());
        }
    }
}

fn is_worth_keeping(key: &MatchKey) -> bool {
    (1..=LONGEST_RECENT).contains(&key.text.len())
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
            sure: Score::from_steps(self.sure),
            guard: self.guard,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::Dictionaries;
    use crate::bot::SnapshotParts;
    use crate::dialog::Templates;
    use crate::matching::{Analyzer, Index, Thresholds};
    use crate::store::memory::MemoryMatchCache;
    use std::collections::BTreeMap;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn snapshot() -> Snapshot {
        let dictionaries = Arc::new(Dictionaries::default());
        Snapshot::new(SnapshotParts {
            index: Index::build([], Arc::new(Analyzer::new(&dictionaries))),
            dictionaries,
            rules: Arc::default(),
            categories: Arc::default(),
            templates: Arc::new(Templates::load(&BTreeMap::new()).unwrap()),
            thresholds: Thresholds {
                answer: 0.8,
                suggest: 0.6,
            },
            max_suggestions: 5,
            habits: crate::dialog::Habits::default(),
            handoffs: std::collections::BTreeMap::new(),
            max_bytes: 2_048,
            revision: 1,
        })
    }

    #[test]
    fn misses_at_the_same_moment_are_searched_for_once() {
        let store = MatchStore::new(Arc::new(MemoryMatchCache::new(RECENT_LIFETIME, 1 << 20)));
        let snapshot = snapshot();
        let (searches, fresh) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let start = Barrier::new(2);
        let ask = |text: &str| {
            let lookup = Lookup {
                snapshot: &snapshot,
                scope: Scope {
                    account: "demo",
                    channel: Channel::Wechat,
                    now: 1,
                    category: None,
                },
                normalized: text,
            };
            let sought = store.search_once(lookup, || {
                searches.fetch_add(1, Ordering::SeqCst);
                // As long as a real one takes, so that the other thread asks while it goes on.
                for _ in 0..100 {
                    std::thread::yield_now();
                }
                Matches::default()
            });
            fresh.fetch_add(usize::from(sought.is_new), Ordering::SeqCst);
        };
        let everyone = || {
            for round in 0..100 {
                start.wait();
                ask(&format!("问题{round}"));
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(everyone);
            scope.spawn(everyone);
        });
        assert_eq!((searches.into_inner(), fresh.into_inner()), (100, 100));
    }

    #[test]
    fn a_flood_of_long_texts_stays_within_bounds() {
        let store = MatchStore::new(Arc::new(MemoryMatchCache::new(RECENT_LIFETIME, 1)));
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
