//! Where Redis is, and how a connection to it is opened: one server, a primary that sentinels know, or a cluster.
//!
//! [`Servers`] is what the operator wrote, [`Route`] what was understood. Asking sentinels, following redirects and
//! finding a cluster's nodes is the Redis client's work; a [`Route`] says whom it asks first. Nothing here retries:
//! `fallback::Breaker` probes, and each probe opens anew.

use super::connection::{Connection, NODE_OPENING, within};
use super::link::{no_use, unavailable};
use super::shards::Shards;
use crate::store::StoreError;
use redis::aio::ConnectionLike;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::sentinel::{Sentinel, SentinelNodeConnectionInfo};
use redis::{
    AsyncConnectionConfig, ConnectionInfo, ErrorKind, IntoConnectionInfo, Pipeline, RedisConnectionInfo, RedisError,
    Value,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// For a server. Opening takes longer than asking, name lookup included. Whoever waits for it has a shorter patience of its own.
const OPENING: Duration = Duration::from_secs(1);

/// The client waits a second for a sentinel that is cut off, and for a primary that hangs, before it asks another.
const OPENING_BY_SENTINEL: Duration = Duration::from_secs(4);

/// One redirect, and one more for a connection that was lost; the deadline is over all of it.
const CLUSTER_RETRIES: u32 = 2;

/// Where Redis is. Addresses are `redis://[user][:password@]host[:port][/db]`.
pub enum Servers {
    /// One server; also `unix:///path` or `redis+unix:///path[?db=1]`.
    Standalone(String),
    /// A primary that moves, and those who know where it is.
    Sentinels {
        /// The sentinels, each with its own user and password if it has any. `/db` is the primary's database.
        sentinels: Vec<String>,
        /// The name they know the primary by.
        primary: String,
        /// For the primary; empty: the default user.
        user: String,
        /// For the primary; empty: none.
        password: String,
    },
    /// Some nodes of a cluster, by which the others are found; all with one user and password.
    Cluster(Vec<String>),
}

/// The way to a connection.
pub(super) enum Route {
    Standalone(ConnectionInfo),
    Sentinels(Watch),
    Cluster(Members),
}

/// An open connection.
#[derive(Clone)]
pub(super) enum Open {
    Server(Connection),
    Cluster(ClusterConnection<Connection>, Arc<Shards>),
}

impl Open {
    /// Sends `commands` and returns an answer for each.
    pub async fn run(&mut self, commands: &Pipeline, deadline: Duration) -> Result<Vec<Value>, RedisError> {
        match self {
            // The connection keeps the deadline.
            Self::Server(connection) => connection.req_packed_commands(commands, 0, commands.len()).await,
            // The client's own bounds have not always held.
            Self::Cluster(nodes, _) => within(deadline, nodes.req_packed_commands(commands, 0, commands.len())).await,
        }
    }
}

impl Servers {
    /// # Errors
    /// [`StoreError::Unavailable`], without the address, which may hold a password.
    pub(super) fn route(&self) -> Result<Route, StoreError> {
        match self {
            Self::Standalone(url) => Ok(Route::Standalone(address(url)?)),
            Self::Sentinels {
                sentinels,
                primary,
                user,
                password,
            } => {
                let sentinels = addresses(sentinels)?;
                let db = sentinels[0].redis_settings().db();
                let mut login = RedisConnectionInfo::default().set_db(db);
                if !user.is_empty() {
                    login = login.set_username(user);
                }
                if !password.is_empty() {
                    login = login.set_password(password);
                }
                // A sentinel has no databases.
                let sentinels = sentinels.into_iter().map(|sentinel| {
                    let settings = sentinel.redis_settings().clone().set_db(0);
                    sentinel.set_redis_settings(settings)
                });
                Ok(Route::Sentinels(Watch {
                    sentinels: sentinels.collect(),
                    primary: primary.clone(),
                    login: SentinelNodeConnectionInfo::default().set_redis_connection_info(login),
                    attempts: AtomicUsize::new(0),
                }))
            }
            Self::Cluster(seeds) => {
                let seeds = addresses(seeds)?;
                // What the client would refuse later is refused now.
                cluster_client(seeds.clone(), OPENING).map_err(|error| no_use(&error.to_string()))?;
                Ok(Route::Cluster(Members {
                    known: Mutex::new(seeds.clone()),
                    seeds,
                    listened: AtomicUsize::new(0),
                }))
            }
        }
    }
}

impl Route {
    /// A connection whose answers come within `deadline`; ends by itself within seconds.
    pub async fn open(&self, deadline: Duration) -> Result<Open, RedisError> {
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(deadline));
        match self {
            Self::Standalone(info) => within(OPENING, Connection::open(info, config)).await.map(Open::Server),
            Self::Sentinels(watch) => {
                let opening = async {
                    let info = watch.find_primary().await?;
                    Connection::open(&info, config).await.map(Open::Server)
                };
                within(OPENING_BY_SENTINEL, opening).await
            }
            Self::Cluster(members) => within(2 * OPENING, members.open(deadline)).await,
        }
    }

    /// A server to listen to; another one each time where there are several.
    pub async fn listen(&self) -> Result<ConnectionInfo, RedisError> {
        match self {
            Self::Standalone(info) => Ok(info.clone()),
            Self::Sentinels(watch) => within(OPENING_BY_SENTINEL, watch.find_primary()).await,
            // Any node hears what is published on any other.
            Self::Cluster(members) => Ok(members.next()),
        }
    }
}

/// Sentinels, and what they watch.
pub(super) struct Watch {
    sentinels: Vec<ConnectionInfo>,
    primary: String,
    login: SentinelNodeConnectionInfo,
    attempts: AtomicUsize,
}

impl Watch {
    /// Where the primary is that says itself that it is one. Each time another sentinel is asked first: the client waits
    /// for the first one's answer though it has those of others.
    async fn find_primary(&self) -> Result<ConnectionInfo, RedisError> {
        let mut sentinels = self.sentinels.clone();
        let first = self.attempts.fetch_add(1, Ordering::Relaxed) % sentinels.len();
        sentinels.rotate_left(first);
        let mut sentinels = Sentinel::build(sentinels)?;
        let client = sentinels.async_master_for(&self.primary, Some(&self.login)).await?;
        Ok(client.get_connection_info().clone())
    }
}

/// Nodes of a cluster.
pub(super) struct Members {
    seeds: Vec<ConnectionInfo>,
    /// All nodes as last seen, for the seeds may be those that are gone; never empty.
    known: Mutex<Vec<ConnectionInfo>>,
    listened: AtomicUsize,
}

impl Members {
    async fn open(&self, deadline: Duration) -> Result<Open, RedisError> {
        let mut nodes = self.seeds.clone();
        nodes.extend(self.known().iter().cloned());
        // The only way to give the client connections that are bounded as ours are.
        let client = cluster_client(nodes, deadline)?;
        let mut cluster: ClusterConnection<Connection> = client.get_async_generic_connection().await?;
        let anybody = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
        let answer = cluster
            .route_command(redis::cmd("CLUSTER").arg("SLOTS").clone(), anybody)
            .await?;
        let shards = Shards::read(&answer)
            .ok_or_else(|| RedisError::from((ErrorKind::UnexpectedReturnType, "no slot of the cluster is served")))?;
        if !shards.addresses.is_empty() {
            let like = &self.seeds[0];
            let addresses = shards.addresses.iter();
            *self.known() = addresses
                .map(|address| like.clone().set_addr(address.clone()))
                .collect();
        }
        Ok(Open::Cluster(cluster, Arc::new(shards)))
    }

    fn next(&self) -> ConnectionInfo {
        let known = self.known();
        known[self.listened.fetch_add(1, Ordering::Relaxed) % known.len()].clone()
    }

    fn known(&self) -> MutexGuard<'_, Vec<ConnectionInfo>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cluster_client(nodes: Vec<ConnectionInfo>, deadline: Duration) -> Result<ClusterClient, RedisError> {
    ClusterClient::builder(nodes)
        .retries(CLUSTER_RETRIES)
        .response_timeout(deadline)
        .connection_timeout(NODE_OPENING)
        .build()
}

fn address(url: &str) -> Result<ConnectionInfo, StoreError> {
    if url.starts_with("rediss:") || url.starts_with("valkeys:") {
        return Err(no_use(
            "the URL asks for TLS, which this build does not speak: use redis:// or unix://",
        ));
    }
    url.into_connection_info().map_err(|error| unavailable(&error))
}

/// At least one.
fn addresses(urls: &[String]) -> Result<Vec<ConnectionInfo>, StoreError> {
    if urls.is_empty() {
        return Err(no_use("no address is given"));
    }
    urls.iter().map(|url| address(url)).collect()
}
