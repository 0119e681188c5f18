//! What follows SIGHUP: the configuration is read anew, and all of it that a running daemon can follow takes effect.
//!
//! [`Reload::run`] is the entry point. What is wrong is reported and changes nothing; what needs a restart is named.

use super::accounts::Accounts;
use super::daemon::policy;
use super::stores::signature_lifetime;
use super::{AppError, Missing, Publisher, Sources, complete};
use crate::config::{Config, Server, Source};
use crate::lifecycle::Hangups;
use crate::web::Web;
use std::sync::Arc;
use std::time::Duration;

/// With what it reads from and what it changes.
pub struct Reload {
    pub hangups: Hangups,
    pub source: Source,
    /// What is in effect.
    pub current: Config,
    /// How long the store remembers signatures.
    pub remembered: Duration,
    pub web: Arc<Web>,
    pub publisher: Arc<Publisher>,
    pub accounts: Arc<Accounts>,
}

impl Reload {
    /// At each hangup reads everything anew; what is wrong is reported and changes nothing.
    pub async fn run(&mut self) {
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
