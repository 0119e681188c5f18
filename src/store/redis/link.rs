//! One multiplexed connection to Redis, or to every node of a cluster, opened when first needed and again when lost.
//!
//! [`Link::run`] is the entry point: commands in one write, replies in one read. The crate's own connection manager is
//! not used: it retries behind the caller's back, and a breaker must see every failure. Nothing here decides whether
//! to ask at all; that is `fallback::Breaker`'s work. Whom to connect to is `servers`'s.

use super::connection::Connection;
use super::servers::{Open, Route, Servers};
use crate::store::StoreError;
use crate::store::conversations::MAX_VALUE_BYTES;
use crate::store::fallback::Upstream;
use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, join_all};
use redis::aio::PubSub;
use redis::{ErrorKind, Pipeline, RedisError, ServerError, Value};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Redis, reachable or not.
pub struct Link {
    route: Arc<Route>,
    deadline: Duration,
    prefix: String,
    current: Mutex<Current>,
}

type Opening = Shared<BoxFuture<'static, Result<Open, RedisError>>>;

#[derive(Default)]
struct Current {
    /// Tells one connection from the next, so that an old one's failure does not close the new one.
    serial: u64,
    opening: Option<Opening>,
}

impl Link {
    /// A link to `servers`; connects to nothing yet. Every key begins with `prefix`, which in a cluster must have no
    /// brace in it; every answer must come within `deadline`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], without the address, which may hold a password.
    pub fn open(servers: &Servers, prefix: &str, deadline: Duration) -> Result<Self, StoreError> {
        let route = servers.route()?;
        if matches!(route, Route::Cluster(_)) && prefix.contains(['{', '}']) {
            return Err(no_use(
                "in a cluster the prefix of keys must have no brace: { and } say what stays together",
            ));
        }
        Ok(Self {
            route: Arc::new(route),
            deadline,
            prefix: prefix.to_owned(),
            current: Mutex::default(),
        })
    }

    /// The full name of a key.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Sends `commands`, whose keys lie in one slot, in one write and returns one reply for each; an error of a single
    /// command is its reply.
    ///
    /// A connection found dead is opened anew, and a script the server has lost is loaded, once: so `commands` may run
    /// twice, and must not mind.
    pub(super) async fn run(&self, commands: &Pipeline) -> Result<Vec<Value>, StoreError> {
        let mut retried = false;
        loop {
            let (serial, mut open) = self.connection().await?;
            let failure = match open.run(commands, self.deadline).await {
                Ok(replies) if !retried && replies.iter().any(|reply| is_error(reply, "NOSCRIPT")) => {
                    match &mut open {
                        Open::Server(server) => server.load_scripts().await.map_err(|error| unavailable(&error))?,
                        // The node is not known here. New connections load them everywhere.
                        Open::Cluster(..) => self.discard(serial),
                    }
                    retried = true;
                    continue;
                }
                Ok(replies) => {
                    if matches!(*self.route, Route::Sentinels(_))
                        && replies.iter().any(|reply| is_error(reply, "READONLY"))
                    {
                        // It was the primary, and now is a replica.
                        self.discard(serial);
                    }
                    return Ok(replies);
                }
                Err(failure) => failure,
            };
            // The client repairs the connections of a cluster by itself, and has tried again.
            if let Open::Cluster(..) = open {
                return Err(unavailable(&failure));
            }
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

    /// Sends `parts` at the same time, each as [`Link::run`] does; in one write where all slots are in one place.
    ///
    /// # Errors
    /// Nothing was answered. One part that failed alone is an error of its own.
    pub(super) async fn run_side_by_side(
        &self,
        parts: &[Pipeline],
    ) -> Result<Vec<Result<Vec<Value>, StoreError>>, StoreError> {
        if let Route::Cluster(_) = *self.route {
            return Ok(join_all(parts.iter().map(|part| self.run(part))).await);
        }
        let mut together = Pipeline::new();
        for command in parts.iter().flat_map(Pipeline::cmd_iter) {
            together.add_command(command.clone());
        }
        let mut replies = self.run(&together).await?.into_iter();
        let of_part = |part: &Pipeline| Ok(replies.by_ref().take(part.len()).collect());
        Ok(parts.iter().map(of_part).collect())
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
        Connection::open_pubsub(&self.route.listen().await?, received).await
    }

    async fn connection(&self) -> Result<(u64, Open), StoreError> {
        let (serial, opening) = {
            let mut current = self.current();
            let opening = current.opening.get_or_insert_with(|| self.opening()).clone();
            (current.serial, opening)
        };
        match opening.await {
            Ok(open) => Ok((serial, open)),
            Err(error) => {
                self.discard(serial);
                Err(unavailable(&error))
            }
        }
    }

    /// Opens a connection for everyone who waits for one.
    fn opening(&self) -> Opening {
        let (route, deadline) = (Arc::clone(&self.route), self.deadline);
        async move { route.open(deadline).await }.boxed().shared()
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
    /// Writes, so that a server that is full or a replica does not pass for a healthy one; to every shard of a cluster.
    async fn probe(&self) -> Result<(), StoreError> {
        let (_, open) = self.connection().await?;
        let names = match &open {
            Open::Server(_) => vec!["probe".to_owned()],
            Open::Cluster(_, shards) => shards.words().iter().map(|word| format!("probe:{{{word}}}")).collect(),
        };
        let write = |name: &String| {
            let mut write = Pipeline::new();
            write.cmd("SET").arg(self.key(name)).arg(1).arg("PX").arg(1_000);
            write
        };
        let writes: Vec<Pipeline> = names.iter().map(write).collect();
        for written in self.run_side_by_side(&writes).await? {
            match written?.as_slice() {
                [Value::Okay] => {}
                [Value::ServerError(error)] => return Err(refusal(error)),
                _ => return Err(self.distrust("the answer to a write makes no sense")),
            }
        }
        Ok(())
    }

    fn part_of(&self, tag: &str) -> usize {
        match self.current().opening.as_ref().and_then(Shared::peek) {
            Some(Ok(Open::Cluster(_, shards))) => shards.of(tag),
            _ => 0,
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

fn is_error(reply: &Value, code: &str) -> bool {
    matches!(reply, Value::ServerError(error) if error.code() == code)
}

/// What a command's error means to the store: the code alone, since the text may be long or quote what we sent.
pub(super) fn refusal(error: &ServerError) -> StoreError {
    no_use(&answered(error.code()))
}

/// Redis is of no use, for this reason.
pub(super) fn no_use(reason: &str) -> StoreError {
    StoreError::Unavailable {
        backend: "redis",
        reason: reason.to_owned(),
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
    no_use(&reason)
}
