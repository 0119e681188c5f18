//! The circuit breaker in front of a shared store: no message waits for a store known to be away.
//!
//! [`Breaker::call`] is the entry point. Every call has a deadline. Some failures in a row, or one that left no
//! connection, put the store away; from then on calls fail at once, and a task of the breaker's own probes for the
//! return, so that no message pays for it. The change is logged once each way and counted.

use crate::store::StoreError;
use async_trait::async_trait;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tracing::Instrument;

/// What a breaker knows of the store behind it.
#[async_trait]
pub trait Upstream: Send + Sync {
    /// Whether the store would work now, by trying; connects if need be. Ends by itself within seconds.
    async fn probe(&self) -> Result<(), StoreError>;
    /// Whether there is a connection, dead or alive: without one the store is away for certain.
    fn is_connected(&self) -> bool;
    /// The part of the store that keeps what is filed under `tag`; parts fail on their own.
    fn part_of(&self, tag: &str) -> usize;
    /// Gives the connection up, so that the next probe makes a new one.
    fn disconnect(&self);
}

/// How long a [`Breaker`] bears with its store.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For each call.
    pub deadline: Duration,
    /// Failures in a row after which the store counts as away; at least 1.
    pub failures: u32,
    /// From the failure to the first probe; doubles from probe to probe.
    pub first_pause: Duration,
    /// The pause never grows beyond, but for up to a fifth more that keeps instances from probing in step.
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(50),
            failures: 3,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(5),
        }
    }
}

/// Whether the store behind a [`Breaker`] is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Calls go through.
    Up,
    /// Calls fail at once.
    Away {
        #[expect(missing_docs, reason = "the name says it")]
        since: Instant,
    },
}

/// Who calls. Failures are counted by user: a store that is full still reads, and what one user reads must not hide
/// that the other cannot write. They are counted by part for the same reason, but one part away is the store away: most
/// clusters then refuse everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum User {
    Conversations,
    Matches,
    AccessTokens,
    OpenWork,
}

const USERS: usize = 4;

/// No store has more; what lies beyond is counted together.
const MOST_PARTS: usize = 1_024;

/// Stands in front of one store; shared by everything that uses its connection.
pub struct Breaker {
    /// Names the store in logs and metrics.
    store: &'static str,
    upstream: Arc<dyn Upstream>,
    patience: Patience,
    state: Mutex<State>,
}

struct State {
    status: Status,
    /// By part and [`User`].
    failures_in_a_row: Vec<[u32; USERS]>,
    /// Runs while the store is away; ends with the breaker.
    prober: Option<JoinHandle<()>>,
}

impl State {
    /// Of one user in one part, in a row.
    fn failures(&mut self, part: usize, user: User) -> &mut u32 {
        let part = part.min(MOST_PARTS - 1);
        if self.failures_in_a_row.len() <= part {
            self.failures_in_a_row.resize(part + 1, [0; USERS]);
        }
        &mut self.failures_in_a_row[part][user as usize]
    }
}

impl Breaker {
    /// A breaker that takes its store to be up until proven wrong.
    pub fn new(store: &'static str, upstream: Arc<dyn Upstream>, patience: Patience) -> Arc<Self> {
        metrics::gauge!("wxfaq_store_up", "store" => store).set(1.0);
        let state = State {
            status: Status::Up,
            failures_in_a_row: Vec::new(),
            prober: None,
        };
        Arc::new(Self {
            store,
            upstream,
            patience,
            state: Mutex::new(state),
        })
    }

    /// Whether calls go through now.
    pub fn status(&self) -> Status {
        self.lock().status
    }

    /// Runs `call` of `user`, about what is filed under `tag`, unless the store is away, for at most the deadline.
    ///
    /// # Errors
    /// What `call` says, [`StoreError::Unavailable`]: no answer in time, or [`StoreError::Away`]: not even asked.
    pub async fn call<T>(
        self: &Arc<Self>,
        user: User,
        tag: &str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if self.status() != Status::Up {
            return Err(StoreError::Away { backend: self.store });
        }
        let result = tokio::time::timeout(self.patience.deadline, call)
            .await
            .unwrap_or_else(|_| Err(self.unavailable("no answer in time")));
        match &result {
            Ok(_) => *self.lock().failures(self.upstream.part_of(tag), user) = 0,
            Err(failure) => self.count(user, tag, failure),
        }
        result
    }

    /// Tries the store now, at the start of the program say, instead of letting the first message find out.
    pub async fn check(self: &Arc<Self>) -> Status {
        if let Err(failure) = self.upstream.probe().await {
            self.count_failure();
            self.give_up(&failure);
        }
        self.status()
    }

    fn count_failure(&self) {
        metrics::counter!("wxfaq_store_failures_total", "store" => self.store).increment(1);
    }

    fn count(self: &Arc<Self>, user: User, tag: &str, failure: &StoreError) {
        self.count_failure();
        let part = self.upstream.part_of(tag);
        let failures_in_a_row = {
            let mut state = self.lock();
            let failures = state.failures(part, user);
            *failures = failures.saturating_add(1);
            *failures
        };
        if failures_in_a_row >= self.patience.failures || !self.upstream.is_connected() {
            self.give_up(failure);
        }
    }

    fn give_up(self: &Arc<Self>, failure: &StoreError) {
        let mut state = self.lock();
        if state.status != Status::Up {
            return;
        }
        state.status = Status::Away { since: Instant::now() };
        let probing = probe_until_back(Arc::downgrade(self), Arc::clone(&self.upstream), self.patience);
        state.prober = Some(tokio::spawn(
            probing.instrument(tracing::info_span!("store_probe", store = self.store)),
        ));
        drop(state);
        metrics::gauge!("wxfaq_store_up", "store" => self.store).set(0.0);
        tracing::warn!(
            store = self.store,
            error = failure as &dyn std::error::Error,
            "shared store is away; this instance goes on alone, in memory"
        );
    }

    fn take_back(&self) {
        let Status::Away { since } = ({
            let mut state = self.lock();
            state.failures_in_a_row.clear();
            std::mem::replace(&mut state.status, Status::Up)
        }) else {
            return;
        };
        metrics::gauge!("wxfaq_store_up", "store" => self.store).set(1.0);
        tracing::info!(
            store = self.store,
            away_ms = since.elapsed().as_millis() as u64,
            "shared store is back"
        );
    }

    fn unavailable(&self, reason: &str) -> StoreError {
        StoreError::Unavailable {
            backend: self.store,
            reason: reason.to_owned(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        if let Some(prober) = self.lock().prober.take() {
            prober.abort();
        }
    }
}

async fn probe_until_back(breaker: Weak<Breaker>, upstream: Arc<dyn Upstream>, patience: Patience) {
    let mut pause = patience.first_pause;
    for attempt in 0_u32.. {
        tokio::time::sleep(pause + jitter(pause, attempt)).await;
        let result = upstream.probe().await;
        let Some(breaker) = breaker.upgrade() else { return };
        match result {
            Ok(()) => return breaker.take_back(),
            Err(failure) => tracing::debug!(error = &failure as &dyn std::error::Error, "shared store still away"),
        }
        // A connection whose other end has vanished without a word never recovers.
        upstream.disconnect();
        pause = (pause * 2).min(patience.longest_pause);
    }
}

/// Up to a fifth of `pause`, different for each process and attempt.
fn jitter(pause: Duration, attempt: u32) -> Duration {
    let fifths = u64::from(std::process::id().wrapping_add(attempt).wrapping_mul(2_654_435_761) >> 16) % 1_000;
    pause * (fifths as u32) / 5_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    /// An upstream whose health the test sets.
    #[derive(Default)]
    struct Fake {
        is_healthy: AtomicBool,
        is_connected: AtomicBool,
        probes: AtomicU32,
    }

    #[async_trait]
    impl Upstream for Fake {
        async fn probe(&self) -> Result<(), StoreError> {
            self.probes.fetch_add(1, Ordering::Relaxed);
            if self.is_healthy.load(Ordering::Relaxed) {
                Ok(())
            } else {
                Err(failure())
            }
        }
        fn is_connected(&self) -> bool {
            self.is_connected.load(Ordering::Relaxed)
        }
        /// A number in the tag.
        fn part_of(&self, tag: &str) -> usize {
            tag.parse().unwrap_or(0)
        }
        fn disconnect(&self) {}
    }

    const TAG: &str = "demo:anna";

    fn failure() -> StoreError {
        StoreError::Unavailable {
            backend: "fake",
            reason: "test".to_owned(),
        }
    }

    fn breaker(is_connected: bool) -> (Arc<Breaker>, Arc<Fake>) {
        let fake = Arc::new(Fake {
            is_connected: AtomicBool::new(is_connected),
            ..Fake::default()
        });
        let pause = Duration::from_millis(1);
        let patience = Patience {
            first_pause: pause,
            longest_pause: pause,
            ..Patience::default()
        };
        (Breaker::new("fake", fake.clone(), patience), fake)
    }

    async fn fail(breaker: &Arc<Breaker>) {
        assert!(
            breaker
                .call(User::Conversations, TAG, async { Err::<(), _>(failure()) })
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn only_failures_in_a_row_put_the_store_away() {
        let (breaker, _) = breaker(true);
        for _ in 0..3 {
            fail(&breaker).await;
            fail(&breaker).await;
            assert!(breaker.call(User::Conversations, TAG, async { Ok(()) }).await.is_ok());
        }
        assert_eq!(breaker.status(), Status::Up);
        for _ in 0..3 {
            fail(&breaker).await;
        }
        assert_ne!(breaker.status(), Status::Up);
    }

    #[tokio::test]
    async fn what_one_user_reads_does_not_hide_that_another_cannot_write() {
        let (breaker, _) = breaker(true);
        for _ in 0..3 {
            assert!(breaker.call(User::Matches, TAG, async { Ok(()) }).await.is_ok());
            fail(&breaker).await;
        }
        assert_ne!(breaker.status(), Status::Up);
    }

    #[tokio::test]
    async fn one_part_that_works_does_not_hide_that_another_is_dead() {
        let (breaker, _) = breaker(true);
        for failed in 0..3 {
            assert_eq!(breaker.status(), Status::Up, "{failed}");
            for works in ["0", "2", "100000"] {
                assert!(breaker.call(User::Conversations, works, async { Ok(()) }).await.is_ok());
            }
            let dead = async { Err::<(), _>(failure()) };
            assert!(breaker.call(User::Conversations, "1", dead).await.is_err());
        }
        assert_ne!(breaker.status(), Status::Up);
    }

    #[tokio::test]
    async fn a_failure_without_a_connection_puts_the_store_away_at_once() {
        let (breaker, _) = breaker(false);
        fail(&breaker).await;
        assert_ne!(breaker.status(), Status::Up);
    }

    #[tokio::test]
    async fn a_store_away_is_not_asked() {
        let (breaker, _) = breaker(false);
        fail(&breaker).await;
        let asked = AtomicBool::new(false);
        let call = async {
            asked.store(true, Ordering::Relaxed);
            Ok(())
        };
        assert!(breaker.call(User::Conversations, TAG, call).await.is_err());
        assert!(!asked.into_inner());
    }

    #[tokio::test]
    async fn a_silent_store_is_a_failure_at_the_deadline() {
        let (breaker, _) = breaker(false);
        let result = breaker
            .call(
                User::Conversations,
                TAG,
                std::future::pending::<Result<(), StoreError>>(),
            )
            .await;
        assert!(result.is_err());
        assert_ne!(breaker.status(), Status::Up);
    }

    #[tokio::test]
    async fn probes_bring_the_store_back_without_a_call() {
        let (breaker, fake) = breaker(false);
        fail(&breaker).await;
        while fake.probes.load(Ordering::Relaxed) < 3 {
            tokio::task::yield_now().await;
        }
        assert_ne!(breaker.status(), Status::Up);
        fake.is_healthy.store(true, Ordering::Relaxed);
        while breaker.status() != Status::Up {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn pauses_differ_by_a_fifth_at_most() {
        let pause = Duration::from_secs(5);
        let pauses: Vec<_> = (0..100).map(|attempt| jitter(pause, attempt)).collect();
        assert!(pauses.iter().all(|extra| *extra <= pause / 5));
        assert!(pauses.iter().any(|extra| *extra != pauses[0]));
    }
}
