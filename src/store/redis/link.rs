//! One multiplexed connection to Redis, opened when first needed and again when lost.
//!
//! [`Link::run`] is the entry point: commands in one write, replies in one read. The crate's own connection manager is
//! not used: it retries behind the caller's back, and a breaker must see every failure. Nothing here decides whether
//! to ask at all; that is `fallback::Breaker`'s work. What the server may send without answering is bounded.

use crate::store::StoreError;
use crate::store::conversations::MAX_VALUE_BYTES;
use crate::store::fallback::Upstream;
use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, Pipeline, RedisError,
    ServerError, Value,
};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::AbortHandle;

/// Opening takes longer than asking, name lookup included. Whoever waits for it has a shorter patience of its own.
const OPENING: Duration = Duration::from_secs(1);

/// Bytes a server may send from one answer to the next before it counts as flooding us: more than a hundred of the
/// longest answers.
const MOST_UNANSWERED_BYTES: usize = 8 * 1024 * 1024;

/// A Redis server, reachable or not.
pub struct Link {
    info: ConnectionInfo,
    config: AsyncConnectionConfig,
    prefix: String,
    /// Loaded into every new connection's server.
    scripts: &'static [&'static str],
    current: Mutex<Current>,
}

type Opening = Shared<BoxFuture<'static, Result<Connection, RedisError>>>;

/// An open connection; closed when the last clone goes.
#[derive(Clone)]
struct Connection {
    commands: MultiplexedConnection,
    /// Bytes received since the last answer.
    unanswered: Arc<AtomicUsize>,
    _driver: Arc<Driver>,
}

/// The task that reads and writes; without it an unfinished answer would be read to its end.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Default)]
struct Current {
    /// Tells one connection from the next, so that an old one's failure does not close the new one.
    serial: u64,
    opening: Option<Opening>,
}

impl Link {
    /// Reads `url` (`redis://[user][:password@]host[:port][/db]`, `unix:///path` or `redis+unix:///path[?db=1]`);
    /// connects to nothing yet. Every key begins with `prefix`; every answer must come within `deadline`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], without the URL, which may hold a password.
    pub fn open(
        url: &str,
        prefix: &str,
        deadline: Duration,
        scripts: &'static [&'static str],
    ) -> Result<Self, StoreError> {
        if url.starts_with("rediss:") || url.starts_with("valkeys:") {
            let reason = "the URL asks for TLS, which this build does not speak: use redis:// or unix://";
            return Err(StoreError::Unavailable {
                backend: "redis",
                reason: reason.to_owned(),
            });
        }
        let info = url.into_connection_info().map_err(|error| unavailable(&error))?;
        let redis = info.redis_settings().clone().set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(deadline));
        Ok(Self {
            info: info.set_redis_settings(redis),
            config,
            prefix: prefix.to_owned(),
            scripts,
            current: Mutex::default(),
        })
    }

    /// The full name of a key.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Sends `commands` in one write and returns one reply for each; an error of a single command is its reply.
    ///
    /// A connection found dead is opened anew, and a script the server has lost is loaded, once: so `commands` may run
    /// twice, and must not mind.
    pub(super) async fn run(&self, commands: &Pipeline) -> Result<Vec<Value>, StoreError> {
        let mut retried = false;
        loop {
            let (serial, mut connection) = self.connection().await?;
            let answered = connection
                .commands
                .req_packed_commands(commands, 0, commands.len())
                .await;
            if answered.is_ok() {
                connection.unanswered.store(0, Ordering::Relaxed);
            }
            let failure = match answered {
                Ok(replies) if !retried && replies.iter().any(is_lost_script) => {
                    load(&mut connection.commands, self.scripts)
                        .await
                        .map_err(|error| unavailable(&error))?;
                    retried = true;
                    continue;
                }
                Ok(replies) => return Ok(replies),
                Err(failure) => failure,
            };
            // After silence the connection may still be good. After anything else it is dead, or out of step.
            if !failure.is_timeout() {
                self.discard(serial);
            }
            if retried || !failure.is_connection_dropped() {
                return Err(unavailable(&failure));
            }
            retried = true;
        }
    }

    /// Ends the connection: what came over it makes no sense, so whatever comes next may not either.
    pub(super) fn distrust(&self, reason: &str) -> StoreError {
        let serial = self.current().serial;
        self.discard(serial);
        StoreError::Corrupt {
            backend: "redis",
            reason: reason.to_owned(),
        }
    }

    /// What a reply of the wrong shape means: an error of the server, or a server that is none.
    pub(super) fn nonsense(&self, reply: &Value) -> StoreError {
        match reply {
            Value::ServerError(error) => refusal(error),
            _ => self.distrust("an answer has the wrong shape"),
        }
    }

    /// The parts of a script's reply after the token.
    pub(super) fn parts<'r>(&self, reply: &'r Value, token: &str) -> Result<Vec<&'r [u8]>, StoreError> {
        let Value::Array(values) = reply else {
            return Err(self.nonsense(reply));
        };
        let parts: Option<Vec<&[u8]>> = values
            .iter()
            .map(|value| match value {
                Value::BulkString(bytes) if bytes.len() <= MAX_VALUE_BYTES => Some(bytes.as_slice()),
                _ => None,
            })
            .collect();
        match parts.as_deref() {
            Some([echo, rest @ ..]) if *echo == token.as_bytes() => Ok(rest.to_vec()),
            _ => Err(self.distrust("an answer is not the one to our question")),
        }
    }

    /// A connection beside the others that only listens; `received` counts what comes over it, and the reader of messages
    /// sets it back.
    pub(super) async fn open_pubsub(&self, received: &Arc<AtomicUsize>) -> Result<PubSub, RedisError> {
        let (redis, received) = (self.info.redis_settings(), Arc::clone(received));
        match self.info.addr() {
            ConnectionAddr::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                PubSub::new(redis, Metered { stream, received }).await
            }
            ConnectionAddr::Unix(path) => {
                let stream = UnixStream::connect(path).await?;
                PubSub::new(redis, Metered { stream, received }).await
            }
            _ => Err(io::Error::from(io::ErrorKind::Unsupported).into()),
        }
    }

    async fn connection(&self) -> Result<(u64, Connection), StoreError> {
        let (serial, opening) = {
            let mut current = self.current();
            let opening = current.opening.get_or_insert_with(|| self.opening()).clone();
            (current.serial, opening)
        };
        match opening.await {
            Ok(connection) => Ok((serial, connection)),
            Err(error) => {
                self.discard(serial);
                Err(unavailable(&error))
            }
        }
    }

    /// Opens a connection for everyone who waits for one.
    fn opening(&self) -> Opening {
        let opening = connect(self.info.clone(), self.config.clone(), self.scripts);
        async move {
            tokio::time::timeout(OPENING, opening)
                .await
                .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
        }
        .boxed()
        .shared()
    }

    fn discard(&self, serial: u64) {
        let mut current = self.current();
        if current.serial == serial {
            *current = Current {
                serial: serial + 1,
                opening: None,
            };
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Upstream for Link {
    /// Writes, so that a server that is full or a replica does not pass for a healthy one.
    async fn probe(&self) -> Result<(), StoreError> {
        let mut write = Pipeline::new();
        write.cmd("SET").arg(self.key("probe")).arg(1).arg("PX").arg(1_000);
        match self.run(&write).await?.as_slice() {
            [Value::Okay] => Ok(()),
            [Value::ServerError(error)] => Err(refusal(error)),
            _ => Err(self.distrust("the answer to a write makes no sense")),
        }
    }

    fn is_connected(&self) -> bool {
        self.current()
            .opening
            .as_ref()
            .is_some_and(|opening| matches!(opening.peek(), Some(Ok(_))))
    }

    fn disconnect(&self) {
        let serial = self.current().serial;
        self.discard(serial);
    }
}

async fn connect(
    info: ConnectionInfo,
    config: AsyncConnectionConfig,
    scripts: &[&str],
) -> Result<Connection, RedisError> {
    let unanswered = Arc::new(AtomicUsize::new(0));
    let received = Arc::clone(&unanswered);
    let redis = info.redis_settings();
    let (mut commands, driver) = match info.addr() {
        ConnectionAddr::Tcp(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            // Without it a small request may wait 40 ms for the acknowledgement of the one before.
            stream.set_nodelay(true)?;
            let (commands, driver) =
                MultiplexedConnection::new_with_config(redis, Metered { stream, received }, config).await?;
            (commands, tokio::spawn(driver).abort_handle())
        }
        ConnectionAddr::Unix(path) => {
            let stream = UnixStream::connect(path).await?;
            let (commands, driver) =
                MultiplexedConnection::new_with_config(redis, Metered { stream, received }, config).await?;
            (commands, tokio::spawn(driver).abort_handle())
        }
        _ => return Err(io::Error::from(io::ErrorKind::Unsupported).into()),
    };
    let driver = Arc::new(Driver(driver));
    load(&mut commands, scripts).await?;
    Ok(Connection {
        commands,
        unanswered,
        _driver: driver,
    })
}

/// A stream that breaks when the other end floods it.
struct Metered<S> {
    stream: S,
    received: Arc<AtomicUsize>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let bytes = buffer.filled().len() - before;
        if self.received.fetch_add(bytes, Ordering::Relaxed) + bytes > MOST_UNANSWERED_BYTES {
            return Poll::Ready(Err(io::Error::other("it sends more than we asked for")));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn load(connection: &mut MultiplexedConnection, scripts: &[&str]) -> Result<(), RedisError> {
    let mut commands = Pipeline::new();
    for script in scripts {
        commands.cmd("SCRIPT").arg("LOAD").arg(*script).ignore();
    }
    if commands.is_empty() {
        return Ok(());
    }
    commands.query_async(connection).await
}

fn is_lost_script(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(error) if error.code() == "NOSCRIPT")
}

/// What a command's error means to the store: the code alone, since the text may be long or quote what we sent.
pub(super) fn refusal(error: &ServerError) -> StoreError {
    StoreError::Unavailable {
        backend: "redis",
        reason: answered(error.code()),
    }
}

fn answered(code: &str) -> String {
    format!("it answered {:.32}", code.escape_debug().to_string())
}

pub(super) fn unavailable(error: &RedisError) -> StoreError {
    let reason = match error.kind() {
        ErrorKind::Io if error.is_timeout() => "no answer in time".to_owned(),
        ErrorKind::Io => error.to_string(),
        _ => error.code().map_or_else(|| error.category().to_owned(), answered),
    };
    StoreError::Unavailable {
        backend: "redis",
        reason,
    }
}
