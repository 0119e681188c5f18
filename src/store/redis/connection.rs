//! One multiplexed connection to one Redis server, to a node of a cluster as well.
//!
//! [`Connection::open`] is the entry point. What a server may send without being asked is bounded, and the scripts are
//! loaded before the first command. The cluster client opens its nodes' connections through [`Connect`]; who decides
//! which server it is, is `servers`'s.

use super::SCRIPTS;
use futures_util::FutureExt;
use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::cluster_async::Connect;
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline, RedisError, RedisFuture,
    Value,
};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::AbortHandle;

/// Bytes a server may send from one answer to the next before it counts as flooding us: more than a hundred of the
/// longest answers.
const MOST_UNANSWERED_BYTES: usize = 8 * 1024 * 1024;

/// For one node of a cluster; all of them are connected before the first command, side by side.
pub(super) const NODE_OPENING: Duration = Duration::from_millis(500);

/// An open connection; closed when the last clone goes.
#[derive(Clone)]
pub(super) struct Connection {
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

impl Connection {
    /// Connects, logs in and loads the scripts, in as long as it takes.
    pub async fn open(info: &ConnectionInfo, config: AsyncConnectionConfig) -> Result<Self, RedisError> {
        let unanswered = Arc::new(AtomicUsize::new(0));
        let redis = &info.redis_settings().clone().set_skip_set_lib_name();
        let stream = Metered::open(info, &unanswered).await?;
        let (commands, driver) = MultiplexedConnection::new_with_config(redis, stream, config).await?;
        let driver = Arc::new(Driver(tokio::spawn(driver).abort_handle()));
        let mut connection = Self {
            commands,
            unanswered,
            _driver: driver,
        };
        connection.load_scripts().await?;
        Ok(connection)
    }

    /// A connection that only listens; `received` counts what comes over it, and the reader of messages sets it back.
    pub async fn open_pubsub(info: &ConnectionInfo, received: &Arc<AtomicUsize>) -> Result<PubSub, RedisError> {
        let redis = &info.redis_settings().clone().set_skip_set_lib_name();
        PubSub::new(redis, Metered::open(info, received).await?).await
    }

    /// Gives the server every script that is asked for by its hash.
    pub async fn load_scripts(&mut self) -> Result<(), RedisError> {
        let mut commands = Pipeline::new();
        for script in SCRIPTS {
            commands.cmd("SCRIPT").arg("LOAD").arg(*script).ignore();
        }
        commands.query_async(self).await
    }

    fn settle<T>(&self, answered: &Result<T, RedisError>) {
        if answered.is_ok() {
            self.unanswered.store(0, Ordering::Relaxed);
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        async move {
            let answered = self.commands.req_packed_command(command).await;
            self.settle(&answered);
            answered
        }
        .boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        async move {
            let answered = self.commands.req_packed_commands(commands, offset, count).await;
            self.settle(&answered);
            answered
        }
        .boxed()
    }

    fn get_db(&self) -> i64 {
        self.commands.get_db()
    }
}

impl Connect for Connection {
    fn connect_with_config<'a, T>(info: T, config: AsyncConnectionConfig) -> RedisFuture<'a, Self>
    where
        T: IntoConnectionInfo + Send + 'a,
    {
        async move {
            let info = info.into_connection_info()?;
            within(NODE_OPENING, Self::open(&info, config)).await
        }
        .boxed()
    }
}

/// `opening`, or that it took too long.
pub(super) async fn within<T>(
    limit: Duration,
    opening: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    let opened = tokio::time::timeout(limit, opening).await;
    opened.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// A stream that breaks when the other end floods it.
struct Metered {
    stream: Box<dyn Stream>,
    received: Arc<AtomicUsize>,
}

impl Metered {
    async fn open(info: &ConnectionInfo, received: &Arc<AtomicUsize>) -> Result<Self, RedisError> {
        let stream: Box<dyn Stream> = match info.addr() {
            ConnectionAddr::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                // Without it a small request may wait 40 ms for the acknowledgement of the one before.
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            ConnectionAddr::Unix(path) => Box::new(UnixStream::connect(path).await?),
            _ => return Err(io::Error::from(io::ErrorKind::Unsupported).into()),
        };
        Ok(Self {
            stream,
            received: Arc::clone(received),
        })
    }
}

impl AsyncRead for Metered {
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

impl AsyncWrite for Metered {
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
