//! The accept loop: connections that cannot hold the daemon up.
//!
//! [`serve`] is the entry point, the same for TCP and Unix sockets, our own or systemd's. `axum::serve` installs no
//! timer, so a client that never finishes its request head would stay for ever; here the head has a deadline, a
//! connection without traffic is closed, and at the cap the one that has been of no use longest makes room.

use super::client::Peer;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Longest request head; a search query may have 500 characters, nine bytes each when percent-encoded.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Pause after the system has run out of descriptors or memory for new connections.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// Connections looked at to find one that may make room.
const EVICTION_SAMPLE: usize = 64;

/// Where connections come from.
pub enum Socket {
    #[expect(missing_docs, reason = "the type says it")]
    Tcp(TcpListener),
    #[expect(missing_docs, reason = "the type says it")]
    Unix(UnixListener),
}

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections.
    pub connections: usize,
    /// For a request's head to arrive, from its first byte.
    pub head: Duration,
    /// Without any byte in or out.
    pub idle: Duration,
    /// For open requests, at a stop.
    pub grace: Duration,
}

/// A connected client.
enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

/// Serves `router` until `stop`, then lets open requests finish within the grace period.
pub async fn serve(socket: Socket, router: Router, limits: Limits, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let registry = Arc::new(Registry {
        started: Instant::now(),
        next: AtomicU64::new(0),
        open: Mutex::default(),
    });
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                if connections.len() >= limits.connections && !registry.evict() {
                    metrics::counter!("wxfaq_connections_refused_total").increment(1);
                    continue;
                }
                let activity = registry.enter();
                let connection = Connection {
                    router: router.clone(),
                    limits,
                    activity,
                    address,
                    stop: stop.clone(),
                };
                connections.spawn(connection.run(stream));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; trying again");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
        metrics::gauge!("wxfaq_connections_open").set(connections.len() as f64);
    }
    drop(socket);
    connections.close();
    if tokio::time::timeout(limits.grace, connections.wait()).await.is_err() {
        let open = connections.len();
        tracing::warn!(
            open,
            grace_seconds = limits.grace.as_secs(),
            "connections still open at the end of the grace period"
        );
    }
}

impl Socket {
    async fn accept(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Replies are one small packet; waiting to fill it only delays them.
                stream.set_nodelay(true)?;
                Ok((Stream::Tcp(stream), Some(address.ip())))
            }
            Self::Unix(listener) => Ok((Stream::Unix(listener.accept().await?.0), None)),
        }
    }
}

/// Whether only the connection just accepted has failed, and not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput, NotConnected};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | InvalidInput | NotConnected
    )
}

/// One connection.
struct Connection {
    router: Router,
    limits: Limits,
    activity: Arc<Activity>,
    address: Option<IpAddr>,
    stop: CancellationToken,
}

impl Connection {
    async fn run(self, stream: Stream) {
        let Self {
            router,
            limits,
            activity,
            address,
            stop,
        } = self;
        let service = service_fn(|request: Request<Incoming>| {
            let activity = activity.clone();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(address));
            let response = router.clone().oneshot(request);
            async move {
                activity.requests.fetch_add(1, Ordering::Relaxed);
                let response = response.await;
                activity.requests.fetch_sub(1, Ordering::Relaxed);
                activity.useful.store(activity.elapsed_ms(), Ordering::Relaxed);
                response
            }
        });
        let watched = TokioIo::new(Watched {
            stream,
            activity: activity.clone(),
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .max_buf_size(MAX_HEAD_BYTES);
        let mut connection = pin!(builder.serve_connection(watched, service));
        let mut stopping = false;
        loop {
            tokio::select! {
                // Whether it ended well or badly is the client's business.
                _ = connection.as_mut() => return,
                () = stop.cancelled(), if !stopping => {
                    if activity.is_untouched() {
                        return;
                    }
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = activity.evicted.cancelled() => return,
                () = tokio::time::sleep(activity.left_of(limits.idle)) => {
                    if activity.left_of(limits.idle).is_zero() {
                        return;
                    }
                }
            }
        }
    }
}

/// What is known of one open connection. Times are milliseconds since the listener's start.
struct Activity {
    started: Instant,
    registry: Arc<Registry>,
    number: u64,
    /// Of the last byte in or out; of the beginning when there was none.
    traffic: AtomicU64,
    /// Of the beginning, then of the last answered request.
    useful: AtomicU64,
    bytes_in: AtomicU64,
    requests: AtomicUsize,
    evicted: CancellationToken,
}

impl Activity {
    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn left_of(&self, idle: Duration) -> Duration {
        let quiet = self.elapsed_ms().saturating_sub(self.traffic.load(Ordering::Relaxed));
        idle.saturating_sub(Duration::from_millis(quiet))
    }

    fn is_untouched(&self) -> bool {
        self.bytes_in.load(Ordering::Relaxed) == 0
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.registry
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.number);
    }
}

/// What [`Registry::evict`] needs of a connection, without keeping it open.
struct Listed {
    activity: std::sync::Weak<Activity>,
}

/// All open connections of one listener.
struct Registry {
    started: Instant,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Listed>>,
}

impl Registry {
    fn enter(self: &Arc<Self>) -> Arc<Activity> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let activity = Arc::new(Activity {
            started: self.started,
            registry: self.clone(),
            number,
            traffic: AtomicU64::new(0),
            useful: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            evicted: CancellationToken::new(),
        });
        let now = activity.elapsed_ms();
        activity.traffic.store(now, Ordering::Relaxed);
        activity.useful.store(now, Ordering::Relaxed);
        let listed = Listed {
            activity: Arc::downgrade(&activity),
        };
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number, listed);
        activity
    }

    /// Closes the connection of a sample that has been of no use longest; `false` when all are at work.
    fn evict(&self) -> bool {
        let sample: Vec<Arc<Activity>> = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.values()
                .filter_map(|listed| listed.activity.upgrade())
                .take(EVICTION_SAMPLE)
                .collect()
        };
        let idle = sample
            .iter()
            .filter(|activity| activity.requests.load(Ordering::Relaxed) == 0 && !activity.evicted.is_cancelled());
        let Some(idlest) = idle.min_by_key(|activity| activity.useful.load(Ordering::Relaxed)) else {
            return false;
        };
        idlest.evicted.cancel();
        metrics::counter!("wxfaq_connections_evicted_total").increment(1);
        true
    }
}

/// A stream that notes when bytes pass.
struct Watched {
    stream: Stream,
    activity: Arc<Activity>,
}

impl Watched {
    fn passed(&self, bytes: usize) {
        if bytes > 0 {
            self.activity
                .traffic
                .store(self.activity.elapsed_ms(), Ordering::Relaxed);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        let read = buf.filled().len() - before;
        self.activity.bytes_in.fetch_add(read as u64, Ordering::Relaxed);
        self.passed(read);
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        if let Poll::Ready(Ok(written)) = polled {
            self.passed(written);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
