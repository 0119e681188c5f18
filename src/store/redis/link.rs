//! One multiplexed connection to Redis, opened when first needed and again when lost.
//!
//! [`Link::run`] is the entry point: commands in one write, replies in one read. The crate's own connection manager is
//! not used: it retries behind the caller's back, and a breaker must see every failure. Nothing here decides whether
//! to ask at all; that is `fallback::Breaker`'s work.

use crate::store::StoreError;
use crate::store::fallback::Upstream;
use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, Pipeline, RedisError, ServerError, Value};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Opening takes longer than asking, name lookup included. Whoever waits for it has a shorter patience of its own.
const OPENING: Duration = Duration::from_secs(1);

/// A Redis server, reachable or not.
pub struct Link {
    client: Client,
    config: AsyncConnectionConfig,
    prefix: String,
    /// Loaded into every new connection's server.
    scripts: &'static [&'static str],
    current: Mutex<Current>,
}

type Opening = Shared<BoxFuture<'static, Result<MultiplexedConnection, RedisError>>>;

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
        // Without it a small request may wait 40 ms for the acknowledgement of the one before.
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let client =
            Client::open(info.set_redis_settings(redis).set_tcp_settings(tcp)).map_err(|error| unavailable(&error))?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(OPENING))
            .set_response_timeout(Some(deadline));
        Ok(Self {
            client,
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
            let failure = match connection.req_packed_commands(commands, 0, commands.len()).await {
                Ok(replies) if !retried && replies.iter().any(is_lost_script) => {
                    load(&mut connection, self.scripts)
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

    async fn connection(&self) -> Result<(u64, MultiplexedConnection), StoreError> {
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
        let (client, config, scripts) = (self.client.clone(), self.config.clone(), self.scripts);
        async move {
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            load(&mut connection, scripts).await?;
            Ok(connection)
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

fn unavailable(error: &RedisError) -> StoreError {
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
