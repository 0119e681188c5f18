//! The composition root: the only place that knows which back-end stands behind which trait.
//!
//! [`configure`] reads the configuration for any command, [`serve`] runs the daemon, which `daemon` puts together. What
//! changes while it runs, bank, templates, dictionaries and configuration, comes in through [`Publisher`].

mod accounts;
mod stores;
mod daemon;
mod reload;
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
pub use stores::{forget_in_redis, lifetimes};
pub use wechat::{access_tokens, access_tokens_on, wechat_client};

use crate::bot::Bot;
use crate::config::{Config, ConfigError, Listen, Secret, Source};
use crate::lifecycle::{self, Hangups, Inherited, keep_running};
use crate::store::StoreError;
use crate::store::sql::{Database, OpenError, Place};
use crate::telemetry::{Logs, Metrics, TelemetryError};
use crate::wechat_api::ApiError;
use daemon::Daemon;
use reload::Reload;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;
use stores::signature_lifetime;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

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

    let daemon = Daemon::assemble(&config, database).await?;
    let stop = CancellationToken::new();
    lifecycle::stop_on_signals(stop.clone())?;
    let listening = daemon.listen(&config, descriptors, &mut inherited, metrics.clone(), &stop);
    let servers = listening.await?;
    let mut background = daemon.background(&config, metrics, logs);
    if let Some(hangups) = hangups {
        let mut reload = Reload {
            hangups,
            source,
            remembered: signature_lifetime(config.timestamp_window),
            current: config.clone(),
            web: daemon.web.clone(),
            publisher: daemon.publisher.clone(),
            accounts: daemon.accounts.clone(),
        };
        background.spawn(keep_running("reload", async move || reload.run().await));
    }

    lifecycle::ready();
    announce(&config, &daemon.bot, first_day)?;
    let ended = until_stopped(&daemon.bot, servers, &stop, config.server.shutdown_grace).await;
    background.shutdown().await;
    erasing::write_down(&daemon.erasures).await;
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
