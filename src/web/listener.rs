//! The accept loop: connections that cannot hold the daemon up.
//!
//! [`serve`] is the entry point, the same for TCP and Unix sockets, our own or systemd's. `axum::serve` installs no
//! timer, so a client that never finishes its request head would stay for ever; here the head has a deadline, a
//! connection without traffic is closed, and at the cap the one that has been of no use longest makes room. What one
//! connection does is `connection`'s work, which one makes room `activity`'s.

mod activity;
mod connection;

use activity::Registry;
use axum::Router;
use connection::{Connection, Stream};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Pause after the system has run out of descriptors or memory for new connections, and nothing could be closed.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// For a connection that was closed to make room to be gone.
const EVICTION_PAUSE: Duration = Duration::from_millis(5);
/// Exhaustion that comes back within this time is the same one, and is not logged again.
const EPISODE: Duration = Duration::from_secs(60);

/// Where connections come from.
pub struct Socket {
    name: &'static str,
    listener: Listener,
    queue: Queue,
}

/// A listening socket of either kind.
pub enum Listener {
    #[expect(missing_docs, reason = "the type says it")]
    Tcp(TcpListener),
    #[expect(missing_docs, reason = "the type says it")]
    Unix(UnixListener),
}

/// Who answers connections that are not yet accepted at a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queue {
    /// Nobody but us: they are reset when the socket closes.
    Ours,
    /// Whoever takes the socket next; the service manager keeps it open.
    Successors,
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
    /// For whole requests to be answered, from a stop on.
    pub grace: Duration,
}

impl Socket {
    /// One that ends with us; `name` is its label in the metrics.
    pub fn own(name: &'static str, listener: impl Into<Listener>) -> Self {
        Self {
            name,
            listener: listener.into(),
            queue: Queue::Ours,
        }
    }

    /// One that somebody else keeps open when we are gone; `name` is its label in the metrics.
    pub fn inherited(name: &'static str, listener: impl Into<Listener>) -> Self {
        Self {
            queue: Queue::Successors,
            ..Self::own(name, listener)
        }
    }
}

/// Serves `router` until `stop`, then answers the requests that are already here, within the grace period.
///
/// At a stop nobody is kept waiting by a client that has nothing to ask: each step of a request but its answer, and an
/// answer's reception, then has a fifth of a second. Connections waiting in a queue of our own are accepted first.
pub async fn serve(socket: Socket, router: Router, limits: Limits, stop: CancellationToken) {
    let mut door = Door {
        registry: Registry::new(socket.name),
        connections: TaskTracker::new(),
        router,
        limits,
        stop: stop.clone(),
        exhausted: None,
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = socket.listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => door.admit(stream, address),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => door.make_room(&error).await,
        }
    }
    let deadline = Instant::now() + limits.grace;
    if socket.queue == Queue::Ours
        && let Err(error) = door.empty(socket.listener)
    {
        tracing::warn!(%error, "connections waiting at the stop are not all accepted");
    }
    door.close(deadline).await;
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Stream::tcp(stream)?, Some(address.ip())))
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

/// One listener's side of all its connections.
struct Door {
    registry: Arc<Registry>,
    connections: TaskTracker,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
    /// When the system last had no room for a connection.
    exhausted: Option<Instant>,
}

impl Door {
    fn admit(&self, stream: Stream, address: Option<IpAddr>) {
        if self.connections.len() >= self.limits.connections && !self.registry.evict() {
            metrics::counter!("wxfaq_connections_refused_total", "listener" => self.registry.name).increment(1);
            return;
        }
        let connection = Connection {
            router: self.router.clone(),
            limits: self.limits,
            activity: self.registry.enter(),
            address,
            stop: self.stop.clone(),
        };
        self.connections.spawn(connection.run(stream));
    }

    /// The system has no descriptor or memory left: what is of least use goes, as at the cap.
    async fn make_room(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self.exhausted.replace(now).is_none_or(|last| now - last > EPISODE) {
            tracing::warn!(%error, "cannot accept connections; closing idle ones and trying on");
        }
        let pause = match self.registry.evict() {
            true => EVICTION_PAUSE,
            false => EXHAUSTED_PAUSE,
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Accepts what waits in the queue. Asks the system itself: the runtime only knows of what it was told already.
    fn empty(&self, listener: Listener) -> io::Result<()> {
        let listener = match listener {
            Listener::Tcp(listener) => Queued::Tcp(listener.into_std()?),
            Listener::Unix(listener) => Queued::Unix(listener.into_std()?),
        };
        for _ in 0..self.limits.connections {
            match listener.next() {
                Ok((stream, address)) => self.admit(stream, address),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for all connections to end; those still open at `deadline` are closed.
    async fn close(self, deadline: Instant) {
        self.connections.close();
        if tokio::time::timeout_at(deadline, self.connections.wait())
            .await
            .is_err()
        {
            let open = self.connections.len();
            tracing::warn!(open, "connections still open at the end of the grace period");
            self.registry.close_all();
            self.connections.wait().await;
        }
    }
}

/// A listener the runtime has let go of; never blocks.
enum Queued {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Queued {
    fn next(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                stream.set_nonblocking(true)?;
                let stream = tokio::net::TcpStream::from_std(stream)?;
                Ok((Stream::tcp(stream)?, Some(address.ip())))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok((Stream::Unix(tokio::net::UnixStream::from_std(stream)?), None))
            }
        }
    }
}
