//! What stands behind each account: its door, its client of WeChat's API, the way of its late answers.
//!
//! [`Accounts`] follows the configuration, at the start and at every reload. It learns from WeChat which addresses it
//! calls from, for accounts that ask for it.

use super::{AppError, wechat_client};
use crate::bot::{Deliveries, LateDelivery, Shelf, Uploader};
use crate::config::{Account, Config, Network};
use crate::store::access_tokens::AccessTokens;
use crate::web::{CallbackAddresses, Gate};
use crate::wechat_api::{ApiError, Client};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// Between two fetches of WeChat's addresses.
const REFRESH: Duration = Duration::from_secs(24 * 3_600);
/// After one that failed.
const RETRY: Duration = Duration::from_secs(300);

/// The accounts of the configuration, at work.
pub struct Accounts {
    access_tokens: Arc<dyn AccessTokens>,
    tasks: TaskTracker,
    current: Mutex<BTreeMap<String, Standing>>,
    /// Told when there may be other accounts.
    changed: Notify,
}

/// One account.
#[derive(Clone)]
struct Standing {
    /// `None`: it calls nobody.
    client: Option<Arc<Client>>,
    /// Where deliveries may come from, if that is looked at.
    addresses: Option<Arc<CallbackAddresses>>,
    configured: Account,
}

impl Accounts {
    /// Those of `config`. Clients share `access_tokens`; what goes on when nobody waits runs in `tasks`.
    ///
    /// # Errors
    /// [`AppError::Wechat`] when no client can be made for an account.
    pub fn new(config: &Config, access_tokens: Arc<dyn AccessTokens>, tasks: TaskTracker) -> Result<Self, AppError> {
        let accounts = Self {
            access_tokens,
            tasks,
            current: Mutex::default(),
            changed: Notify::new(),
        };
        accounts.follow(config)?;
        Ok(accounts)
    }

    /// Takes over another configuration. Addresses that are known stay known.
    ///
    /// # Errors
    /// As of [`Accounts::new`]; then nothing has changed.
    pub fn follow(&self, config: &Config) -> Result<(), AppError> {
        let mut next = BTreeMap::new();
        for account in &config.accounts {
            let client = wechat_client(account, self.access_tokens.clone(), self.tasks.clone())?.map(Arc::new);
            let known = self.lock().get(&account.id).and_then(|known| known.addresses.clone());
            let standing = Standing {
                client,
                addresses: account.check_source.then(|| known.unwrap_or_default()),
                configured: account.clone(),
            };
            next.insert(account.id.clone(), standing);
        }
        *self.lock() = next;
        self.changed.notify_one();
        Ok(())
    }

    /// The doors, by account.
    pub fn gates(&self) -> BTreeMap<String, Gate> {
        let gate = |standing: &Standing| Gate {
            credentials: standing.configured.credentials.clone(),
            addresses: standing.addresses.clone(),
        };
        self.lock().iter().map(|(id, one)| (id.clone(), gate(one))).collect()
    }

    /// The ways of late answers.
    pub fn deliveries(&self, hold_retries: bool) -> Deliveries {
        let current = self.lock();
        Deliveries::new(current.iter().map(|(id, standing)| {
            let client = standing.client.clone().filter(|_| standing.configured.customer_service);
            let delivery = match client {
                Some(client) => LateDelivery::Send(client),
                None if hold_retries => LateDelivery::Hold,
                None => LateDelivery::Placeholder,
            };
            (id.clone(), delivery)
        }))
    }

    /// The files of answers, and who uploads them.
    pub fn shelf(&self, config: &Config) -> Shelf {
        let uploader = |(id, standing): (&String, &Standing)| {
            let api = standing.client.clone()?;
            let appid = standing.configured.credentials.appid().to_owned();
            Some((id.clone(), Uploader { appid, api }))
        };
        Shelf {
            folder: config.paths.media.clone(),
            uploaders: self.lock().iter().filter_map(uploader).collect(),
        }
    }

    /// Asks WeChat daily where it calls from, for the accounts that look at it; runs until dropped.
    pub async fn follow_addresses(&self) {
        let mut due: BTreeMap<String, Instant> = BTreeMap::new();
        loop {
            let now = Instant::now();
            let watched = self.watched();
            due.retain(|id, _| watched.iter().any(|(watched, ..)| watched == id));
            for (id, client, addresses) in watched {
                if due.get(&id).is_some_and(|due| *due > now) {
                    continue;
                }
                let pause = match fetch(&client).await {
                    Ok(networks) => {
                        tracing::info!(account = id, networks = networks.len(), "WeChat's addresses fetched");
                        addresses.replace(networks);
                        REFRESH
                    }
                    Err(error) => {
                        tracing::warn!(
                            account = id,
                            error = &error as &dyn std::error::Error,
                            "WeChat's addresses not fetched; the last known ones hold, if there are any"
                        );
                        RETRY
                    }
                };
                due.insert(id, now + pause);
            }
            let next = due.values().min().copied().unwrap_or(now + REFRESH);
            // Waits at most; a reload may bring other accounts.
            let _ = tokio::time::timeout_at(next, self.changed.notified()).await;
        }
    }

    fn watched(&self) -> Vec<(String, Arc<Client>, Arc<CallbackAddresses>)> {
        let watched = |(id, standing): (&String, &Standing)| {
            Some((id.clone(), standing.client.clone()?, standing.addresses.clone()?))
        };
        self.lock().iter().filter_map(watched).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Standing>> {
        // The map is replaced as a whole.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What WeChat says it calls from. A list with nothing to read would lock WeChat out, so it is an error.
async fn fetch(client: &Client) -> Result<Vec<Network>, ApiError> {
    let listed = client.callback_addresses().await?;
    let networks: Vec<Network> = listed.iter().filter_map(|text| Network::parse(text)).collect();
    if networks.is_empty() {
        return Err(ApiError::Unacceptable(
            "the list of WeChat's addresses has none".to_owned(),
        ));
    }
    Ok(networks)
}
