//! Bots of a test's own: what they are made of, their clock, and a store that keeps count.

use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::time::Instant;
use wxfaq::bank::{Dictionaries, Entry};
use wxfaq::bot::{Clock, Deliveries, Late, MatchStore, Parts, Seals, Snapshot, SnapshotParts, Uploads};
use wxfaq::dialog::Templates;
use wxfaq::matching::{Analyzer, Index, Thresholds};
use wxfaq::store::StoreError;
use wxfaq::store::conversations::{Arrival, Begun, Conversations, Finished, Follower, SessionChange, Turn};
use wxfaq::store::memory::{MemoryAccessTokens, MemoryMatchCache, monotonic};

/// What every bot here has.
pub const INSTALL_KEY: &str = "an install key of the tests";

/// A bot's parts on a bank of `entries`: WeChat's deadline, a lease of a second, no slow source.
pub fn parts(entries: Vec<Entry>, conversations: Arc<dyn Conversations>, clock: Arc<dyn Clock>) -> Parts {
    /// Loading the dictionary takes a second, unoptimised.
    static ANALYZER: LazyLock<Arc<Analyzer>> = LazyLock::new(|| Arc::new(Analyzer::new(&Dictionaries::default())));
    Parts {
        snapshot: Snapshot::new(SnapshotParts {
            index: Index::build(entries.into_iter().map(Arc::new), ANALYZER.clone()),
            dictionaries: Arc::default(),
            rules: Arc::default(),
            categories: Arc::default(),
            templates: Arc::new(Templates::load(&BTreeMap::new()).unwrap()),
            thresholds: Thresholds {
                answer: 0.8,
                suggest: 0.6,
            },
            max_suggestions: 5,
            habits: wxfaq::dialog::Habits::default(),
            handoffs: std::collections::BTreeMap::new(),
            max_bytes: 2_048,
            revision: 1,
        }),
        conversations,
        matches: MatchStore::new(Arc::new(MemoryMatchCache::new(Duration::from_secs(60), 1 << 20))),
        feedback: None,
        queries: None,
        media: Uploads::new(Arc::new(MemoryAccessTokens::new(monotonic()))),
        seals: Seals::new(INSTALL_KEY),
        clock,
        deadline: Duration::from_secs(4),
        lease: Duration::from_secs(1),
        late: Late::default(),
        erasures: None,
        open_work: None,
        per_minute: 0,
        deliveries: Deliveries::default(),
    }
}

/// A wall clock that goes on with tokio's time, also when that is paused.
pub struct TokioClock {
    begun: Instant,
    /// Unix seconds then.
    at: i64,
}

impl TokioClock {
    pub fn starting(at: i64) -> Arc<Self> {
        let begun = Instant::now();
        Arc::new(Self { begun, at })
    }
}

impl Clock for TokioClock {
    fn now(&self) -> i64 {
        self.at + i64::try_from(self.begun.elapsed().as_secs()).unwrap()
    }
}

/// Passes everything on and counts it.
pub struct Counted<C> {
    pub inner: C,
    begun: AtomicUsize,
    claimed: AtomicUsize,
    finished: AtomicUsize,
    sessions_written: AtomicUsize,
}

impl<C> Counted<C> {
    pub fn new(inner: C) -> Self {
        Self {
            inner,
            begun: AtomicUsize::new(0),
            claimed: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            sessions_written: AtomicUsize::new(0),
        }
    }

    /// Messages somebody was told to handle.
    pub fn claimed(&self) -> usize {
        self.claimed.load(Ordering::SeqCst)
    }

    /// Ends that were to change a session.
    pub fn sessions_written(&self) -> usize {
        self.sessions_written.load(Ordering::SeqCst)
    }

    /// Beginnings and ends, failed ones too.
    pub fn calls(&self) -> usize {
        self.begun.load(Ordering::SeqCst) + self.finished.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl<C: Conversations> Conversations for Counted<C> {
    async fn begin(&self, arrival: &Arrival) -> Result<Begun, StoreError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let begun = self.inner.begin(arrival).await;
        let claimed = matches!(begun, Ok(Begun::Claimed { .. }));
        self.claimed.fetch_add(usize::from(claimed), Ordering::SeqCst);
        begun
    }

    async fn finish(&self, turn: &Turn, record: &[u8], session: SessionChange) -> Result<Finished, StoreError> {
        self.finished.fetch_add(1, Ordering::SeqCst);
        let changes = usize::from(session != SessionChange::Keep);
        self.sessions_written.fetch_add(changes, Ordering::SeqCst);
        self.inner.finish(turn, record, session).await
    }

    async fn renew(&self, turn: &Turn) -> Result<bool, StoreError> {
        self.inner.renew(turn).await
    }

    async fn release(&self, turn: &Turn) -> Result<(), StoreError> {
        self.inner.release(turn).await
    }

    async fn note_signature(&self, account: &str, signature: &str, fingerprint: &str) -> Result<bool, StoreError> {
        self.inner.note_signature(account, signature, fingerprint).await
    }

    async fn forget(&self, follower: &Follower) -> Result<(), StoreError> {
        self.inner.forget(follower).await
    }
}
