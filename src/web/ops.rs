//! Health and metrics, on a listener of their own: never public.
//!
//! `/healthz` says that the process answers; `/readyz` whether it can serve and how its dependencies are; `/metrics` is
//! Prometheus' text form, names `wxfaq_*`, base units.

use crate::telemetry::Metrics;
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How a dependency is.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Dependency {
    /// It works.
    Up,
    /// It does not, or not well; replies go on without it.
    Degraded {
        /// For people.
        reason: String,
    },
}

/// What `/readyz` says.
#[derive(Debug, Clone, Serialize)]
pub struct Readiness {
    /// Whether messages can be answered.
    pub ready: bool,
    /// The bank's revision that answers.
    pub revision: u64,
    /// The newest one known of.
    pub newest_revision: u64,
    /// For how long there has been a newer one than that which answers; 0: there is none.
    pub lag_seconds: f64,
    /// Entries in the index.
    pub entries: usize,
    /// By name.
    pub dependencies: BTreeMap<&'static str, Dependency>,
}

/// Where the answers come from.
pub struct Ops {
    /// Looks at everything now; does no I/O.
    pub readiness: Box<dyn Fn() -> Readiness + Send + Sync>,
    /// Renders what was recorded.
    pub metrics: Metrics,
}

/// The ops listener's paths.
pub fn router(ops: Arc<Ops>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .with_state(ops)
}

async fn readyz(State(ops): State<Arc<Ops>>) -> impl IntoResponse {
    let readiness = (ops.readiness)();
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness))
}

async fn render(State(ops): State<Arc<Ops>>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        ops.metrics.render(),
    )
}
