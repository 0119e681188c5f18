//! HTTP: the only room that knows axum.
//!
//! [`router`] holds what the world may reach (webhook and JSON API), [`ops::router`] what only the operator may (health
//! and metrics), [`listener`] accepts connections for both. A handler extracts, calls one thing, and converts.

mod bank_api;
mod client;
mod cors;
mod error;
mod keys;
pub mod listener;
pub mod ops;
mod parameters;
mod rate;
mod search_api;
mod ask_api;
mod description;
mod webhook;

pub use error::ApiError;
pub use webhook::{CallbackAddresses, Gate};

use crate::bot::Bot;
use crate::config::{Api, Network};
use crate::store::api_key::KeyScope;
use arc_swap::ArcSwap;
use axum::routing::any;
use axum::{Router, middleware};
use keys::{Door, Keyring};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Messages handled at once; beyond it WeChat is told `success` at once. One takes well under a millisecond.
const MAX_MESSAGES: usize = 1_024;

/// What handlers share.
pub struct Web {
    #[expect(missing_docs, reason = "the type says it")]
    pub bot: Arc<Bot>,
    /// Accounts by id; replaced as a whole at a reload.
    pub gates: ArcSwap<BTreeMap<String, Gate>>,
    /// What a reload may change beside the accounts.
    pub policy: ArcSwap<Policy>,
    keys: ArcSwap<Keyring>,
    /// Who searches without a key.
    addresses: rate::Callers,
    /// Who asks, by address.
    askers: rate::Callers,
    /// Who asks, by session.
    sessions: rate::Callers,
    /// Stands in for unknown accounts, so that they are refused no faster than a wrong signature.
    decoy: Gate,
    messages: Semaphore,
    bodies: webhook::BodyBudget,
    searches: search_api::Searches,
}

/// Settings of the doors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Accepted distance of WeChat's timestamp from our clock, in seconds; 0: any.
    pub timestamp_window: u64,
    #[expect(missing_docs, reason = "the type says it")]
    pub api: Api,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// For a request's body to arrive.
    pub body_timeout: Duration,
}

impl Web {
    /// Shared state for [`router`], without API keys until [`Web::replace_keys`]. `decoy` is an account nobody has the Token of.
    pub fn new(bot: Arc<Bot>, gates: BTreeMap<String, Gate>, decoy: Gate, policy: Policy) -> Arc<Self> {
        Arc::new(Self {
            bot,
            gates: ArcSwap::from_pointee(gates),
            policy: ArcSwap::from_pointee(policy),
            keys: ArcSwap::default(),
            addresses: rate::Callers::new(),
            askers: rate::Callers::new(),
            sessions: rate::Callers::new(),
            decoy,
            messages: Semaphore::new(MAX_MESSAGES),
            bodies: webhook::BodyBudget::new(),
            searches: search_api::Searches::for_this_machine(),
        })
    }
}

/// Webhook and JSON API.
pub fn router(web: Arc<Web>) -> Router {
    Router::new()
        .route("/wechat", any(webhook::only_account))
        .route("/wechat/{account}", any(webhook::one_account))
        .merge(api(&web))
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .fallback(|| async { ApiError::NotFound })
        .with_state(web)
}

/// The JSON API: behind its keys, and readable by the pages of the configured origins.
fn api(web: &Arc<Web>) -> Router<Arc<Web>> {
    let behind = |scope| {
        let door = Door {
            web: web.clone(),
            scope,
        };
        middleware::from_fn_with_state(door, keys::admit)
    };
    let [search, ask, feedback] = groups();
    // Whatever is served is described: there is no other way to add a path here.
    let (served, description) = OpenApiRouter::with_openapi(description::head())
        .merge(search.route_layer(behind(KeyScope::Search)))
        .merge(ask.route_layer(behind(KeyScope::Ask)))
        .merge(feedback.route_layer(behind(KeyScope::Feedback)))
        .split_for_parts();
    served
        .merge(description::pages(&description))
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(middleware::from_fn_with_state(web.clone(), cors::allow))
}

/// The paths by what a key must open: search, ask, feedback.
fn groups() -> [OpenApiRouter<Arc<Web>>; 3] {
    let search = OpenApiRouter::new()
        .routes(routes!(search_api::search))
        .routes(routes!(bank_api::suggest))
        .routes(routes!(bank_api::hot))
        .routes(routes!(bank_api::question))
        .routes(routes!(bank_api::categories));
    let ask = OpenApiRouter::new().routes(routes!(ask_api::ask));
    let feedback = OpenApiRouter::new().routes(routes!(ask_api::feedback));
    [search, ask, feedback]
}

/// Everything of [`groups`], in front of no door.
#[cfg(test)]
fn described() -> OpenApiRouter<Arc<Web>> {
    let [search, ask, feedback] = groups();
    OpenApiRouter::with_openapi(description::head())
        .merge(search)
        .merge(ask)
        .merge(feedback)
}
