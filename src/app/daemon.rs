//! The daemon, put together: the parts that answer, the servers in front of them, and what runs beside.
//!
//! [`Daemon::assemble`] makes the parts, which nobody reaches yet; [`Daemon::listen`] and [`Daemon::background`] start the
//! tasks. When they start and end is `serve`'s work.

use super::accounts::Accounts;
use super::stores::{Stores, lifetimes};
use super::{
    AppError, Publisher, Sources, Spread, erasing, first_day, first_snapshot, keys, retention, sweeping, watch,
};
use crate::bot::{Bot, Deliveries, Late, MatchStore, Parts, Seals, SystemClock, Uploads};
use crate::config::{Config, Listen};
use crate::lifecycle::{self, Inherited, keep_running};
use crate::store::fallback::{Breaker, FallbackConversations, Status};
use crate::store::sql::{ApiKeys, Database, ErasureQueue, QueryLog};
use crate::telemetry::{self, Logs, Metrics};
use crate::web::listener::{Limits, Socket, serve as listen};
use crate::web::ops::{Dependency, Ops, Readiness};
use crate::web::{self, Gate, Policy, Web, ops};
use crate::wechat::credentials::{CredentialParts, Credentials, Mode};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Descriptors for everything but the public listener's connections: ops connections, stores, files.
const OTHER_DESCRIPTORS: usize = 64;
/// Open connections of the ops listener.
const OPS_CONNECTIONS: usize = 16;

/// The parts of a daemon.
pub struct Daemon {
    pub bot: Arc<Bot>,
    pub accounts: Arc<Accounts>,
    pub publisher: Arc<Publisher>,
    pub web: Arc<Web>,
    pub erasures: ErasureQueue,
    api_keys: ApiKeys,
    queries: QueryLog,
    redis: Option<Arc<Breaker>>,
    /// With the conversations whose copies it looks after.
    spread: Option<(Spread, Arc<FallbackConversations>)>,
}

impl Daemon {
    /// Reads the bank, opens the stores and puts on top of them what answers.
    pub async fn assemble(config: &Config, database: &Database) -> Result<Self, AppError> {
        let queries = database.query_log(!config.query_log.retention.is_zero());
        let erasures = database.erasures();
        let (snapshot, inputs) = first_snapshot(database, Sources::of(config)).await?;
        let seals = Seals::new(config.install_key.expose());
        let stores = Stores::open(config, &seals).await?;
        let media = Uploads::new(stores.access_tokens.clone());
        let bot = Bot::new(Parts {
            snapshot,
            conversations: stores.conversations,
            matches: MatchStore::new(stores.matches),
            feedback: Some(Arc::new(database.feedback())),
            queries: Some(Arc::new(queries.clone())),
            media: media.clone(),
            seals,
            clock: Arc::new(SystemClock),
            deadline: config.reply.deadline,
            lease: lifetimes(config).lease,
            late: Late {
                // No service stands behind the port yet: the bank alone answers, and nothing is late.
                source: None,
                work: config.reply.work,
            },
            erasures: Some(Arc::new(erasures.clone())),
            open_work: Some(stores.open_work),
            per_minute: config.reply.per_minute,
            deliveries: Deliveries::default(),
        });
        let accounts = Arc::new(Accounts::new(config, stores.access_tokens, bot.tasks().clone())?);
        bot.change_deliveries(accounts.deliveries(config.reply.hold_retries));
        media.replace(accounts.shelf(config));
        let publisher = Arc::new(Publisher::new(bot.clone(), database, inputs));
        let web = Web::new(bot.clone(), accounts.gates(), decoy()?, policy(config));
        let api_keys = database.api_keys();
        web.replace_keys(api_keys.all().await?);
        Ok(Self {
            bot,
            accounts,
            publisher,
            web,
            erasures,
            api_keys,
            queries,
            redis: stores.redis,
            spread: stores.spread,
        })
    }

    /// Serves the public and, where configured, the operator's address, each in a task that ends after `stop`.
    ///
    /// `descriptors`: how many this process may have open.
    pub async fn listen(
        &self,
        config: &Config,
        descriptors: usize,
        inherited: &mut Inherited,
        metrics: Metrics,
        stop: &CancellationToken,
    ) -> Result<JoinSet<()>, AppError> {
        let (public, private) = sockets(config, inherited).await?;
        let limits = limits(config, descriptors);
        let mut servers = JoinSet::new();
        servers.spawn(listen(public, web::router(self.web.clone()), limits, stop.clone()));
        if let Some(socket) = private {
            let ops = self.operations(metrics, stop.clone());
            let limits = Limits {
                connections: OPS_CONNECTIONS,
                ..limits
            };
            servers.spawn(listen(socket, ops::router(Arc::new(ops)), limits, stop.clone()));
        }
        Ok(servers)
    }

    /// What runs beside the servers, until the end, each in a task of its own.
    pub fn background(&self, config: &Config, metrics: Metrics, logs: &Logs) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        self.follow_changes(config, &mut tasks);
        self.clean_up(config, &mut tasks);
        self.look_after_itself(metrics, logs, &mut tasks);
        let asking = self.accounts.clone();
        tasks.spawn(keep_running("callback addresses", async move || {
            asking.follow_addresses().await;
        }));
        tasks
    }

    /// Of the bank, of files, of API keys, and what other instances announce.
    fn follow_changes(&self, config: &Config, tasks: &mut JoinSet<()>) {
        let poll = config.database_poll;
        let changed = self.publisher.clone();
        tasks.spawn(keep_running("bank", async move || {
            changed.clone().follow_bank(poll).await;
        }));
        let changed = self.publisher.clone();
        tasks.spawn(keep_running("files", async move || watch::files(changed.clone()).await));
        let (api_keys, holder) = (self.api_keys.clone(), self.web.clone());
        tasks.spawn(keep_running("api keys", async move || {
            keys::follow(api_keys.clone(), holder.clone(), poll).await;
        }));
        if let Some((spread, conversations)) = self.spread.clone() {
            let woken = self.publisher.clone();
            tasks.spawn(keep_running("announcements", async move || {
                spread.clone().follow(woken.clone(), conversations.clone()).await;
            }));
        }
    }

    /// What is to go, what is too old, and what a dead instance has left.
    fn clean_up(&self, config: &Config, tasks: &mut JoinSet<()>) {
        let (erasing, eraser) = (self.erasures.clone(), self.bot.clone());
        tasks.spawn(keep_running("erasures", async move || {
            erasing::follow(erasing.clone(), eraser.clone()).await;
        }));
        let (queries, forgetful, retention) = (self.queries.clone(), self.bot.clone(), config.query_log.retention);
        tasks.spawn(keep_running("retention", async move || {
            retention::follow(queries.clone(), forgetful.clone(), retention).await;
        }));
        let sweeper = self.bot.clone();
        tasks.spawn(keep_running("open work", async move || {
            sweeping::follow(sweeper.clone()).await;
        }));
    }

    fn look_after_itself(&self, metrics: Metrics, logs: &Logs, tasks: &mut JoinSet<()>) {
        let dropped = logs.dropped();
        tasks.spawn(keep_running("metrics", async move || {
            telemetry::upkeep(metrics.clone(), dropped.clone()).await;
        }));
        let tested = self.publisher.clone();
        // A question through normalisation, index and cache: what a reply is made of.
        tasks.spawn(keep_running("watchdog", async move || {
            let publisher = tested.clone();
            lifecycle::feed_watchdog(async move || publisher.self_test()).await;
        }));
    }

    fn operations(&self, metrics: Metrics, stop: CancellationToken) -> Ops {
        let (publisher, redis) = (self.publisher.clone(), self.redis.clone());
        let readiness = move || {
            let snapshot = publisher.bot().snapshot();
            let (newest_revision, lag) = publisher.behind();
            let mut dependencies = BTreeMap::from([("database", publisher.database_state())]);
            if let Some(breaker) = &redis {
                let state = match breaker.status() {
                    Status::Up => Dependency::Up,
                    Status::Away { since } => Dependency::Degraded {
                        reason: format!(
                            "away for {} s; conversations live in this process",
                            since.elapsed().as_secs()
                        ),
                    },
                };
                dependencies.insert("redis", state);
            }
            Readiness {
                ready: !stop.is_cancelled(),
                revision: snapshot.revision,
                newest_revision,
                lag_seconds: lag.as_secs_f64(),
                entries: snapshot.index.len(),
                dependencies,
            }
        };
        Ops {
            readiness: Box::new(readiness),
            metrics,
        }
    }
}

/// The public socket, and the operator's if there is one.
async fn sockets(config: &Config, inherited: &mut Inherited) -> Result<(Socket, Option<Socket>), AppError> {
    let public = open("public", "server.listen", &config.server.listen, Some(inherited)).await?;
    let private = match &config.server.ops_listen {
        Some(address) => Some(open("ops", "server.ops_listen", address, None).await?),
        None => None,
    };
    Ok((public, private))
}

/// What the public listener's connections may take of `descriptors`.
fn limits(config: &Config, descriptors: usize) -> Limits {
    let possible = descriptors.saturating_sub(OTHER_DESCRIPTORS).max(1);
    let configured = config.server.max_connections;
    if possible < configured {
        tracing::warn!(
            possible,
            "server.max_connections = {configured} is more than the limit of open descriptors allows"
        );
    }
    Limits {
        connections: configured.min(possible),
        head: config.server.header_timeout,
        idle: config.server.idle_timeout,
        grace: config.server.shutdown_grace,
    }
}

async fn open(
    name: &'static str,
    key: &'static str,
    address: &Listen,
    inherited: Option<&mut Inherited>,
) -> Result<Socket, AppError> {
    let opened = lifecycle::open_socket(name, address, inherited).await;
    opened.map_err(|source| AppError::Listen {
        key,
        address: address.clone(),
        source,
    })
}

/// An account whose Token nobody has.
fn decoy() -> std::io::Result<Gate> {
    let (token, key) = (first_day::random_text(32)?, first_day::random_text(43)?);
    let credentials = Credentials::new(CredentialParts {
        appid: "decoy",
        mode: Mode::Safe,
        token: &token,
        previous_token: None,
        encoding_aes_key: Some(&key),
        previous_encoding_aes_key: None,
    });
    Ok(Gate {
        credentials: credentials.expect("a Token and a key of the right form are accepted"),
        addresses: None,
    })
}

/// What is asked of every request.
pub fn policy(config: &Config) -> Policy {
    Policy {
        timestamp_window: config.timestamp_window,
        api: config.api.clone(),
        trusted_proxies: config.server.trusted_proxies.clone(),
        body_timeout: config.server.header_timeout,
    }
}
