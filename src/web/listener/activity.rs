//! What every open connection is at, and which of them makes room.
//!
//! [`Registry`] knows all connections of one listener, [`Activity`] is one of them. A connection may be closed to make
//! room unless a request of its has arrived whole and waits for the answer: whoever sends slowly is no more useful than
//! whoever sends nothing. Those that may go stand in one line, the longest useless first.

use super::Limits;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// At a stop, for a request to be begun, its head and its body to arrive, and its answer to be taken: each.
///
/// A request may lie in the system's buffers, unknown to us, or be on its way; a client that is slower than this keeps
/// others from being answered by our successor.
const LAST_STEP: Duration = Duration::from_millis(200);

/// All open connections of one listener.
pub(super) struct Registry {
    /// The listener's label in the metrics.
    pub name: &'static str,
    all: CancellationToken,
    line: Mutex<Line>,
}

/// Connections that may be closed, by place.
struct Line {
    next: u64,
    evictable: BTreeMap<u64, CancellationToken>,
}

/// What is known of one open connection.
pub(super) struct Activity {
    registry: Arc<Registry>,
    /// Tells the connection to close now.
    pub closed: CancellationToken,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    since: Instant,
    /// Of the last byte in or out; of the beginning when there was none.
    traffic: Instant,
    /// In the line; a later one after each successful answer.
    place: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between requests.
    Quiet,
    /// The first byte of a request is here, its head is not.
    Head,
    /// The head is here, the body is not.
    Body,
    /// A whole request waits for its answer.
    Work,
}

/// What an answer says of the connection it went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    /// It asked something sensible.
    Useful,
    /// It was refused, which anybody can bring about as often as they like.
    Nothing,
}

impl Registry {
    pub fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self {
            name,
            all: CancellationToken::new(),
            line: Mutex::new(Line {
                next: 0,
                evictable: BTreeMap::new(),
            }),
        })
    }

    /// Registers a new connection, last in the line.
    pub fn enter(self: &Arc<Self>) -> Arc<Activity> {
        let closed = self.all.child_token();
        let now = Instant::now();
        let place = self.line().join(None, &closed);
        self.gauge().increment(1.0);
        Arc::new(Activity {
            registry: self.clone(),
            closed,
            state: Mutex::new(State {
                phase: Phase::Quiet,
                since: now,
                traffic: now,
                place,
            }),
        })
    }

    /// Closes the connection that has been of no use longest; `false` when all are at work.
    pub fn evict(&self) -> bool {
        let Some((_, first)) = self.line().evictable.pop_first() else {
            return false;
        };
        first.cancel();
        metrics::counter!("wxfaq_connections_evicted_total", "listener" => self.name).increment(1);
        true
    }

    /// Closes every connection.
    pub fn close_all(&self) {
        self.all.cancel();
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gauge(&self) -> metrics::Gauge {
        metrics::gauge!("wxfaq_connections_open", "listener" => self.name)
    }
}

impl Line {
    /// Puts a connection at `place`, or at the end; returns its place.
    fn join(&mut self, place: Option<u64>, closed: &CancellationToken) -> u64 {
        let place = place.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        self.evictable.insert(place, closed.clone());
        place
    }
}

impl Activity {
    /// Bytes have come in.
    pub fn read(&self) {
        let mut state = self.state();
        state.traffic = Instant::now();
        if state.phase == Phase::Quiet {
            state.enter(Phase::Head);
        }
    }

    /// Bytes have gone out.
    pub fn wrote(&self) {
        self.state().traffic = Instant::now();
    }

    /// A request's head is whole.
    pub fn head_arrived(&self) {
        self.state().enter(Phase::Body);
    }

    /// A request's body is whole too.
    pub fn body_arrived(&self) {
        let mut state = self.state();
        if state.phase == Phase::Body {
            state.enter(Phase::Work);
            self.registry.line().evictable.remove(&state.place);
        }
    }

    /// The answer is made; sending it is no more work.
    pub fn answered(&self, worth: Worth) {
        let mut state = self.state();
        state.enter(Phase::Quiet);
        let mut line = self.registry.line();
        line.evictable.remove(&state.place);
        let place = (worth == Worth::Nothing).then_some(state.place);
        state.place = line.join(place, &self.closed);
    }

    /// When the connection has had its time, if nothing happens; `None`: it waits for us. `stopped` is when a stop began.
    pub fn due(&self, limits: Limits, stopped: Option<Instant>) -> Option<Instant> {
        let state = self.state();
        let idle = state.traffic + limits.idle;
        match (state.phase, stopped) {
            (Phase::Work, _) => None,
            (_, Some(stopped)) => Some(state.since.max(stopped) + LAST_STEP),
            (Phase::Head, None) => Some(idle.min(state.since + limits.head)),
            (Phase::Quiet | Phase::Body, None) => Some(idle),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = Instant::now();
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        let place = self.state().place;
        self.registry.line().evictable.remove(&place);
        self.registry.gauge().decrement(1.0);
    }
}
