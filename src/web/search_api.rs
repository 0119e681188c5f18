//! `GET /api/v1/search`: the bank's best entries for a question, as JSON; with `trace=1` also how they were
//! found.

use super::description::Refusals;
use super::keys::Caller;
use super::parameters::Parameters;
use super::{ApiError, Web};
use crate::bank::Entry;
use crate::bot::{Found, SearchRequest};
use crate::matching::{Decision, Hit, Trace};
use crate::store::api_key::KeyScope;
use axum::extract::{RawQuery, State};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::ToSchema;

const DEFAULT_TOP: usize = 5;

/// Searches that may wait for their turn.
const MAX_WAITING: usize = 64;
/// Longest wait for a turn.
const PATIENCE: Duration = Duration::from_millis(250);

/// Turns of searches: one core less than there are is theirs, so that messages find one free. Who finds no turn in
/// time, or too many waiting, is told so.
pub struct Searches {
    running: Arc<Semaphore>,
    waiting: Semaphore,
}

/// What was found.
#[derive(Serialize, ToSchema)]
#[schema(as = SearchResult)]
pub struct Body {
    query: String,
    normalized: String,
    /// Whether the best hit is an answer, the hits are a list, or nothing fits: `answer`, `suggest`, `none`.
    #[schema(value_type = String)]
    decision: Decision,
    hits: Vec<HitBody>,
    took_us: u64,
    /// Only where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    trace: Option<Trace>,
}

/// An entry that was found.
#[derive(Serialize, ToSchema)]
#[schema(as = Hit)]
struct HitBody {
    id: String,
    question: String,
    kind: &'static str,
    /// A text, or by kind WeChat's field names.
    answer: Value,
    /// 0–1, calibrated.
    score: f64,
    /// The phrasing that matched.
    matched: String,
    category: String,
}

/// The best entries for a question.
#[utoipa::path(
    get,
    path = "/api/v1/search",
    params(
        ("q" = String, Query, description = "the question, 1–500 characters"),
        ("top" = Option<usize>, Query, description = "most hits, 1–50; default 5"),
        ("account" = Option<String>, Query, description = "default: the only one"),
        ("category" = Option<String>, Query, description = "only entries in it or below it"),
        ("trace" = Option<u8>, Query, description = "1: every step of the search; needs the scope trace")
    ),
    responses((status = 200, description = "by confidence, best first", body = Body), Refusals),
    security(("key" = ["search"]))
)]
pub async fn search(
    State(web): State<Arc<Web>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Json<Body>, ApiError> {
    let started = Instant::now();
    let parameters = Parameters::parse(query.as_deref().unwrap_or_default())?;
    let gates = web.gates.load();
    let request = SearchRequest {
        text: parameters.question()?,
        account: parameters.account(gates.keys())?,
        category: parameters.category(),
        top: parameters.top(DEFAULT_TOP)?,
    };
    let (found, trace) = match parameters.trace()? {
        true => explained(&web, &caller, request).await?,
        false => (found(&web, request).await?, None),
    };
    let decision = found.matches.decide(found.snapshot.thresholds);
    web.bot.keep_search(
        request.account,
        request.text,
        &found.matches,
        decision,
        started.elapsed(),
    );
    let body = Body {
        query: request.text.to_owned(),
        decision,
        hits: found.matches.hits.iter().map(HitBody::from).collect(),
        normalized: found.normalized,
        took_us: micros(started),
        trace,
    };
    metrics::histogram!("wxfaq_api_search_seconds").record(started.elapsed());
    Ok(Json(body))
}

async fn found(web: &Web, request: SearchRequest<'_>) -> Result<Found, ApiError> {
    if let Some(found) = web.bot.found_before(request).await {
        return Ok(found);
    }
    let _turn = web.searches.turn().await?;
    Ok(web.bot.search(request))
}

async fn explained(web: &Web, caller: &Caller, request: SearchRequest<'_>) -> Result<(Found, Option<Trace>), ApiError> {
    if !caller.may(KeyScope::Trace) {
        let scope = KeyScope::Trace.as_str();
        return Err(ApiError::Forbidden { scope });
    }
    let _turn = web.searches.turn().await?;
    let (found, trace) = web.bot.explain(request);
    Ok((found, Some(trace)))
}

impl Searches {
    /// As many at once as this machine can bear.
    pub fn for_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(cores.saturating_sub(1).max(1))
    }

    fn new(at_once: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(at_once)),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }

    /// Waits for a turn, which lasts until it is dropped.
    pub async fn turn(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        if let Ok(turn) = self.running.clone().try_acquire_owned() {
            return Ok(turn);
        }
        let _place = self.waiting.try_acquire().map_err(|_| ApiError::Overloaded)?;
        match tokio::time::timeout(PATIENCE, self.running.clone().acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(ApiError::Overloaded),
        }
    }
}

impl From<&Hit> for HitBody {
    fn from(hit: &Hit) -> Self {
        let Entry {
            id,
            question,
            similar,
            category,
            ..
        } = &*hit.entry;
        let matched = match hit.phrasing {
            0 => question,
            n => similar.get(usize::from(n) - 1).unwrap_or(question),
        };
        let (kind, answer) = answer_of(&hit.entry);
        Self {
            id: id.to_string(),
            question: question.clone(),
            kind,
            answer,
            score: hit.score.get(),
            matched: matched.clone(),
            category: category.clone(),
        }
    }
}

/// Since then, in µs.
pub fn micros(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Kind and answer as they stand in a bank's JSONL.
pub fn answer_of(entry: &Entry) -> (&'static str, Value) {
    let kind = entry.answer.kind();
    let value = serde_json::to_value(&entry.answer)
        .ok()
        .and_then(|mut value| value.get_mut("answer").map(Value::take));
    (kind, value.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_search_waits_for_its_turn_and_is_refused_when_too_many_wait() {
        let searches = Searches::new(1);
        let turn = searches.turn().await.unwrap();
        let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| Box::pin(searches.turn())).collect();
        for wait in &mut waiting {
            assert!(futures_util::poll!(wait.as_mut()).is_pending());
        }
        assert_eq!(searches.turn().await.err(), Some(ApiError::Overloaded));
        drop(turn);
        let turn = waiting.remove(0).await.unwrap();
        // Whoever waits behind a search that does not end is told so.
        assert_eq!(waiting.remove(0).await.err(), Some(ApiError::Overloaded));
        drop(turn);
    }

    #[tokio::test]
    async fn one_core_is_left_to_messages() {
        let searches = Searches::for_this_machine();
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(searches.running.available_permits(), (cores - 1).max(1));
    }
}
