//! The composition root: the only place that knows which back-end stands behind which trait.
//!
//! [`configure`] reads the configuration for any command, [`serve`] runs the daemon. What changes while it runs, bank,
//! templates, dictionaries and configuration, comes in through [`Publisher`].

mod accounts;
mod erasing;
mod sweeping;
mod first_day;
mod keys;
mod compaction;
mod lag;
mod publisher;
mod redis_link;
mod retention;
pub mod sources;
mod spread;
mod watch;
mod wechat;

pub use first_day::{Secrets, SecretsError};
pub use publisher::{Inputs, Publisher, first_snapshot};
pub use redis_link::redis_link;
pub use sources::Sources;
pub use spread::{Spread, announce_revision};
pub use wechat::{access_tokens, access_tokens_on, wechat_client};

use crate::bot::{
    Bot, Deliveries, Late, MatchStore, Parts, SealedConversations, SealedMatches, Seals, SystemClock, Uploads,
};
use crate::config::{Config, ConfigError, Listen, Secret, Server, Source};
use crate::lifecycle::{self, Hangups, Inherited, keep_running};
use crate::store::StoreError;
use crate::store::access_tokens::AccessTokens;
use crate::store::conversations::{Conversations, Follower, Lifetimes};
use crate::store::fallback::{Breaker, FallbackConversations, FallbackOpenWork, Patience, Status, TieredMatchCache};
use crate::store::match_cache::MatchCache;
use crate::store::memory::{
    Bounds, MemoryAccessTokens, MemoryConversations, MemoryMatchCache, MemoryOpenWork, monotonic,
};
use crate::store::open_work::OpenWork;
use crate::store::redis::{RedisConversations, RedisMatchCache, RedisOpenWork};
use crate::store::sql::{Database, OpenError, Place};
use crate::telemetry::{self, Logs, Metrics, TelemetryError};
use crate::web::listener::{Limits, Socket, serve as listen};
use crate::web::ops::{Dependency, Ops, Readiness};
use crate::web::{self, Gate, Policy, Web, ops};
use crate::wechat::credentials::{CredentialParts, Credentials, Mode};
use crate::wechat_api::ApiError;
use accounts::Accounts;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A follower whose message is held by a dead instance waits so long for the next. Work takes a few milliseconds.
const LEASE: Duration = Duration::from_secs(1);
/// The lease outlives so many calls of the shared store that all end at their deadline.
const CALLS_PER_LEASE: u32 = 4;
/// WeChat's last delivery comes ten seconds after the first and may take five more; as much again for delays.
const RECORD_LIFETIME: Duration = Duration::from_secs(30);
/// Seen signatures are kept for twice the window and this much more.
const SIGNATURE_MARGIN: Duration = Duration::from_secs(15);
/// How long seen signatures are kept when the window is switched off.
const SIGNATURE_LIFETIME_WITHOUT_WINDOW: Duration = Duration::from_secs(3_600);
/// How long cached matches are kept; a change of the bank makes them unreachable at once.
const MATCH_LIFETIME: Duration = Duration::from_secs(3_600);
/// Work that a dead instance has left is taken over for so long: twice the longest `reply.work_seconds`.
const OPEN_WORK_LIFETIME: Duration = Duration::from_secs(600);
/// Descriptors for everything but the public listener's connections: ops connections, stores, files.
const OTHER_DESCRIPTORS: usize = 64;
/// Open connections of the ops listener.
const OPS_CONNECTIONS: usize = 16;
/// Cached matches in this process.
const MATCH_BYTES: u64 = 16 * 1024 * 1024;

/// Why a command cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Reported in full, a line each.
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    Secrets(#[from] SecretsError),
    /// Templates or dictionaries; a line each.
    #[error("{0}")]
    Content(String),
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    Telemetry(#[from] TelemetryError),
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    Store(#[from] StoreError),
    #[error(transparent)]
    #[expect(missing_docs, reason = "the type says it")]
    Open(#[from] OpenError),
    /// An address cannot be listened on.
    #[error("{key} = {address}: {source}")]
    Listen {
        /// The configuration key.
        key: &'static str,
        #[expect(missing_docs, reason = "the name says it")]
        address: Listen,
        #[expect(missing_docs, reason = "the name says it")]
        source: std::io::Error,
    },
    /// WeChat's API cannot be called, as far as that is known without calling it.
    #[error(transparent)]
    Wechat(#[from] ApiError),
    /// The system refuses something basic.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A valid configuration with where it came from.
pub struct Setup {
    #[expect(missing_docs, reason = "the type says it")]
    pub config: Config,
    /// Whether this is the first-day configuration: no file, account `demo`, sample bank.
    pub first_day: bool,
    source: Source,
    /// What asks, from now on, to read `source` again; the daemon's.
    hangups: Option<Hangups>,
}

/// Whether [`configure`] may make secrets that are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The daemon does.
    Make,
    /// Other commands only look.
    Leave,
}

/// Reads the configuration of `file`, or of the first day when there is none.
pub fn configure(file: Option<PathBuf>, missing: Missing) -> Result<Setup, AppError> {
    // Before anything is read: a hangup in the meantime means that it is out of date.
    let hangups = match missing {
        Missing::Make => Some(Hangups::note()?),
        Missing::Leave => None,
    };
    let mut source = Source::of_process(file);
    let first_day = source.file.is_none();
    if first_day {
        // Only this key is read here: the rest may lean on what is about to be made.
        let data = Config::data_folder(&source);
        let secrets = match missing {
            Missing::Make => Some(Secrets::load_or_make(&data)?),
            Missing::Leave => Secrets::load(&data)?,
        };
        source.first_day = secrets.map(|secrets| secrets.first_day(&data)).unwrap_or_default();
    }
    let mut config = Config::load(&source)?;
    complete(&mut config, missing)?;
    Ok(Setup {
        config,
        first_day,
        source,
        hangups,
    })
}

/// The configured database, for commands: people read that it was migrated.
pub fn place_of(config: &Config) -> Place<'_> {
    Place {
        url: config.database_url.expose(),
        backups: Some(&config.paths.data),
        told: |migrated| eprintln!("wxfaq: {migrated}"),
    }
}

/// Fills in the install key.
fn complete(config: &mut Config, missing: Missing) -> Result<(), SecretsError> {
    if config.install_key.is_empty() {
        let secrets = match missing {
            Missing::Make => Some(Secrets::load_or_make(&config.paths.data)?),
            Missing::Leave => Secrets::load(&config.paths.data)?,
        };
        config.install_key = secrets.map_or(Secret::default(), |secrets| secrets.install_key);
    }
    Ok(())
}

/// How long seen signatures are kept for a window of so many seconds.
fn signature_lifetime(window: u64) -> Duration {
    match window {
        0 => SIGNATURE_LIFETIME_WITHOUT_WINDOW,
        window => Duration::from_secs(2 * window) + SIGNATURE_MARGIN,
    }
}

/// How long stores keep what they keep.
pub fn lifetimes(config: &Config) -> Lifetimes {
    Lifetimes {
        lease: LEASE.max(config.redis.deadline * CALLS_PER_LEASE),
        signature: signature_lifetime(config.timestamp_window),
        record: RECORD_LIFETIME,
        session: config.session_ttl,
    }
}

/// Conversations, cached matches and access tokens, and how the shared store is.
struct Stores {
    conversations: Arc<dyn Conversations>,
    matches: Arc<dyn MatchCache>,
    access_tokens: Arc<dyn AccessTokens>,
    open_work: Arc<dyn OpenWork>,
    redis: Option<Arc<Breaker>>,
    /// With the conversations whose copies it looks after.
    spread: Option<(Spread, Arc<FallbackConversations>)>,
}

impl Stores {
    async fn open(config: &Config, seals: &Seals) -> Result<Self, StoreError> {
        let lifetimes = lifetimes(config);
        let memory = MemoryConversations::new(lifetimes, Bounds::default(), monotonic());
        let near = MemoryMatchCache::new(MATCH_LIFETIME, MATCH_BYTES);
        let Some(link) = redis_link(&config.redis)? else {
            return Ok(Self {
                conversations: Arc::new(memory),
                matches: Arc::new(near),
                access_tokens: Arc::new(MemoryAccessTokens::new(monotonic())),
                open_work: Arc::new(MemoryOpenWork::new(OPEN_WORK_LIFETIME, monotonic())),
                redis: None,
                spread: None,
            });
        };
        let deadline = config.redis.deadline;
        let breaker = Breaker::new(
            "redis",
            link.clone(),
            Patience {
                deadline,
                ..Patience::default()
            },
        );
        if let Status::Away { .. } = breaker.check().await {
            tracing::warn!("Redis cannot be reached; conversations stay in this process until it can");
        }
        let shared = Arc::new(RedisConversations::new(link.clone(), lifetimes));
        let shared = Arc::new(SealedConversations::new(shared, seals.clone()));
        let access_tokens = access_tokens_on(link.clone(), breaker.clone(), seals);
        let spread = Spread::new(link.clone(), seals.clone());
        let open_work = RedisOpenWork::new(link.clone(), OPEN_WORK_LIFETIME, Arc::new(sweeping::wall_clock));
        let far = Arc::new(RedisMatchCache::new(link, MATCH_LIFETIME));
        let far = Arc::new(SealedMatches::new(far, seals.clone()));
        let conversations = FallbackConversations::new(shared, memory, breaker.clone(), lifetimes);
        let conversations = Arc::new(conversations.announcing(Arc::new(spread.clone())));
        Ok(Self {
            conversations: conversations.clone(),
            matches: Arc::new(TieredMatchCache::new(near, far, breaker.clone())),
            access_tokens,
            open_work: Arc::new(FallbackOpenWork::new(Arc::new(open_work), breaker.clone())),
            redis: Some(breaker),
            spread: Some((spread, conversations)),
        })
    }
}

/// Forgets the conversations of `followers` in the configured Redis, if there is one.
pub async fn forget_in_redis(config: &Config, followers: &[Follower]) -> Result<(), AppError> {
    let Some(link) = redis_link(&config.redis)? else {
        return Ok(());
    };
    let conversations = RedisConversations::new(link, lifetimes(config));
    for follower in followers {
        conversations.forget(follower).await?;
    }
    Ok(())
}

/// Runs the daemon on the bank, the rules, the API keys and the feedback in `database` until it is told to stop.
pub async fn serve(setup: Setup, database: &Database, logs: &Logs, mut inherited: Inherited) -> Result<(), AppError> {
    let metrics = Metrics::start()?;
    let Setup {
        config,
        first_day,
        source,
        hangups,
    } = setup;
    let descriptors = lifecycle::raise_descriptor_limit();
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));

    let api_keys = database.api_keys();
    let erasures = database.erasures();
    let queries = database.query_log(!config.query_log.retention.is_zero());
    let (snapshot, inputs) = publisher::first_snapshot(database, Sources::of(&config)).await?;
    let seals = Seals::new(config.install_key.expose());
    let stores = Stores::open(&config, &seals).await?;
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
        lease: lifetimes(&config).lease,
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
    let accounts = Arc::new(Accounts::new(&config, stores.access_tokens, bot.tasks().clone())?);
    bot.change_deliveries(accounts.deliveries(config.reply.hold_retries));
    media.replace(accounts.shelf(&config));
    let publisher = Arc::new(Publisher::new(bot.clone(), database, inputs));
    let web = Web::new(bot.clone(), accounts.gates(), decoy()?, policy(&config));
    web.replace_keys(api_keys.all().await?);

    let stop = CancellationToken::new();
    lifecycle::stop_on_signals(stop.clone())?;
    let (public, private) = sockets(&config, &mut inherited).await?;
    let limits = limits(&config, descriptors);
    let mut servers = JoinSet::new();
    servers.spawn(listen(public, web::router(web.clone()), limits, stop.clone()));
    if let Some(socket) = private {
        let ops = operations(metrics.clone(), publisher.clone(), stores.redis, stop.clone());
        let limits = Limits {
            connections: OPS_CONNECTIONS,
            ..limits
        };
        servers.spawn(listen(socket, ops::router(Arc::new(ops)), limits, stop.clone()));
    }
    let mut background = background(&config, &publisher, metrics, logs);
    let (poll, holder) = (config.database_poll, web.clone());
    background.spawn(keep_running("api keys", async move || {
        keys::follow(api_keys.clone(), holder.clone(), poll).await;
    }));
    if let Some((spread, conversations)) = stores.spread {
        let woken = publisher.clone();
        background.spawn(keep_running("announcements", async move || {
            spread.clone().follow(woken.clone(), conversations.clone()).await;
        }));
    }
    let (erasing, eraser) = (erasures.clone(), bot.clone());
    background.spawn(keep_running("erasures", async move || {
        erasing::follow(erasing.clone(), eraser.clone()).await;
    }));
    let (retention, forgetful) = (config.query_log.retention, bot.clone());
    background.spawn(keep_running("retention", async move || {
        retention::follow(queries.clone(), forgetful.clone(), retention).await;
    }));
    let sweeper = bot.clone();
    background.spawn(keep_running("open work", async move || {
        sweeping::follow(sweeper.clone()).await;
    }));
    let asking = accounts.clone();
    background.spawn(keep_running("callback addresses", async move || {
        asking.follow_addresses().await;
    }));
    if let Some(hangups) = hangups {
        let mut reload = Reload {
            hangups,
            source,
            remembered: signature_lifetime(config.timestamp_window),
            current: config.clone(),
            web,
            publisher,
            accounts: accounts.clone(),
        };
        background.spawn(keep_running("reload", async move || reload.run().await));
    }

    lifecycle::ready();
    announce(&config, &bot, first_day)?;
    let ended = until_stopped(&bot, servers, &stop, config.server.shutdown_grace).await;
    background.shutdown().await;
    erasing::write_down(&erasures).await;
    tracing::info!("stopped");
    ended
}

/// Tells the log, and on the first day the operator, what is served.
fn announce(config: &Config, bot: &Bot, first_day: bool) -> Result<(), AppError> {
    let entries = bot.snapshot().index.len();
    tracing::info!(listen = %config.server.listen, accounts = config.accounts.len(), entries, "ready");
    if entries == 0 {
        tracing::warn!("the question bank is empty: fill it with `wxfaq import FILE`");
    }
    if first_day {
        let mut out = std::io::stdout();
        let told = first_day::what_to_try(config, entries, out.is_terminal())?;
        // A daemon whose output nobody reads still serves.
        let _ = out.write_all(told.as_bytes());
    }
    Ok(())
}

/// Waits for `stop`, then for the servers and the work they leave behind, all within one grace period.
async fn until_stopped(
    bot: &Bot,
    mut servers: JoinSet<()>,
    stop: &CancellationToken,
    grace: Duration,
) -> Result<(), AppError> {
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        _ = servers.join_next() => Err(std::io::Error::other("a listener has ended by itself").into()),
    };
    let deadline = Instant::now() + grace;
    stop.cancel();
    while servers.join_next().await.is_some() {}
    bot.tasks().close();
    if tokio::time::timeout_at(deadline, bot.tasks().wait()).await.is_err() {
        tracing::warn!("work still running at the end of the grace period");
    }
    ended
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

/// What runs beside the servers, until the end, each in a task of its own: changes of bank and files, metrics, the
/// watchdog.
fn background(config: &Config, publisher: &Arc<Publisher>, metrics: Metrics, logs: &Logs) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let (poll, changed) = (config.database_poll, publisher.clone());
    tasks.spawn(keep_running("bank", async move || {
        changed.clone().follow_bank(poll).await;
    }));
    let changed = publisher.clone();
    tasks.spawn(keep_running("files", async move || watch::files(changed.clone()).await));
    let dropped = logs.dropped();
    tasks.spawn(keep_running("metrics", async move || {
        telemetry::upkeep(metrics.clone(), dropped.clone()).await;
    }));
    let tested = publisher.clone();
    // A question through normalisation, index and cache: what a reply is made of.
    tasks.spawn(keep_running("watchdog", async move || {
        let publisher = tested.clone();
        lifecycle::feed_watchdog(async move || publisher.self_test()).await;
    }));
    tasks
}

fn operations(
    metrics: Metrics,
    publisher: Arc<Publisher>,
    redis: Option<Arc<Breaker>>,
    stop: CancellationToken,
) -> Ops {
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

fn policy(config: &Config) -> Policy {
    Policy {
        timestamp_window: config.timestamp_window,
        api: config.api.clone(),
        trusted_proxies: config.server.trusted_proxies.clone(),
        body_timeout: config.server.header_timeout,
    }
}

/// What follows SIGHUP.
struct Reload {
    hangups: Hangups,
    source: Source,
    current: Config,
    /// How long the store remembers signatures.
    remembered: Duration,
    web: Arc<Web>,
    publisher: Arc<Publisher>,
    accounts: Arc<Accounts>,
}

impl Reload {
    /// At each hangup reads everything anew; what is wrong is reported and changes nothing.
    async fn run(&mut self) {
        loop {
            self.hangups.next().await;
            if let Err(error) = self.reload().await {
                tracing::error!("configuration not reloaded:\n{error}");
            }
        }
    }

    async fn reload(&mut self) -> Result<(), AppError> {
        let mut config = Config::load(&self.source)?;
        complete(&mut config, Missing::Leave)?;
        // A wider window would accept what the store has forgotten that it saw.
        if signature_lifetime(config.timestamp_window) > self.remembered {
            tracing::warn!("security.timestamp_window_seconds is wider; this takes effect at the next restart");
            config.timestamp_window = self.current.timestamp_window;
        }
        self.publisher.replace_sources(Sources::of(&config)).await?;
        self.accounts.follow(&config)?;
        let deliveries = self.accounts.deliveries(config.reply.hold_retries);
        self.publisher.bot().change_deliveries(deliveries);
        self.publisher.bot().media().replace(self.accounts.shelf(&config));
        self.web.gates.store(Arc::new(self.accounts.gates()));
        self.web.policy.store(Arc::new(policy(&config)));
        for key in needs_restart(&self.current, &config) {
            tracing::warn!("{key} has changed; this takes effect at the next restart");
        }
        tracing::info!(accounts = config.accounts.len(), "configuration reloaded");
        self.current = config;
        Ok(())
    }
}

/// Keys whose change a running daemon cannot follow.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    // Whose word to believe about addresses is the one thing of the server that changes at once.
    let server = Server {
        trusted_proxies: new.server.trusted_proxies.clone(),
        ..old.server.clone()
    };
    let changes = [
        ("[server]", server != new.server),
        (
            "[database]",
            old.database_url != new.database_url || old.database_poll != new.database_poll,
        ),
        ("[redis]", old.redis != new.redis),
        ("[session]", old.session_ttl != new.session_ttl),
        ("reply.deadline_ms", old.reply.deadline != new.reply.deadline),
        ("reply.work_seconds", old.reply.work != new.reply.work),
        ("reply.per_minute", old.reply.per_minute != new.reply.per_minute),
        ("[query_log]", old.query_log != new.query_log),
        ("paths.data", old.paths.data != new.paths.data),
        ("security.install_key", old.install_key != new.install_key),
        ("[log]", old.log != new.log),
    ];
    changes
        .into_iter()
        .filter(|(_, changed)| *changed)
        .map(|(key, _)| key)
        .collect()
}
