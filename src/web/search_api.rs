//! `GET /api/v1/search`: the bank's best entries for a question, as JSON.

use super::{ApiError, Web};
use crate::bank::{Answer, Entry};
use crate::bot::SearchRequest;
use crate::matching::{Decision, Hit};
use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit};

const MAX_QUERY_CHARS: usize = 500;
const MAX_TOP: usize = 50;
const DEFAULT_TOP: usize = 5;

/// Searches that may wait for their turn.
const MAX_WAITING: usize = 64;
/// Longest wait for a turn.
const PATIENCE: Duration = Duration::from_millis(250);

/// Turns of searches: one core less than there are is theirs, so that messages find one free. Who finds no turn in
/// time, or too many waiting, is told so.
pub struct Searches {
    running: Semaphore,
    waiting: Semaphore,
}

/// The response's body.
#[derive(Serialize)]
pub struct Body {
    query: String,
    normalized: String,
    decision: Decision,
    hits: Vec<HitBody>,
    took_us: u64,
}

#[derive(Serialize)]
struct HitBody {
    id: String,
    question: String,
    kind: &'static str,
    answer: Value,
    score: f64,
    matched: String,
    category: String,
}

/// The handler.
pub async fn search(State(web): State<Arc<Web>>, RawQuery(query): RawQuery) -> Result<Json<Body>, ApiError> {
    let started = Instant::now();
    let parameters = parameters(query.as_deref().unwrap_or_default())?;
    let gates = web.gates.load();
    let account = account(&parameters, gates.keys())?;
    let text = parameters.get("q").map(|text| text.trim()).unwrap_or_default();
    if !(1..=MAX_QUERY_CHARS).contains(&text.chars().count()) {
        return Err(ApiError::BadParameter {
            name: "q",
            reason: format!("1–{MAX_QUERY_CHARS} characters are accepted"),
        });
    }
    let category = parameters
        .get("category")
        .map(|text| &**text)
        .filter(|text| !text.is_empty());
    let top = top(&parameters)?;
    let request = SearchRequest {
        text,
        account,
        category,
        top,
    };
    let found = match web.bot.found_before(request).await {
        Some(found) => found,
        None => {
            let _turn = web.searches.turn().await?;
            web.bot.search(request)
        }
    };
    let body = Body {
        query: text.to_owned(),
        decision: found.matches.decide(found.snapshot.thresholds),
        hits: found.matches.hits.iter().map(HitBody::from).collect(),
        normalized: found.normalized,
        took_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
    };
    metrics::histogram!("wxfaq_api_search_seconds").record(started.elapsed());
    Ok(Json(body))
}

impl Searches {
    /// As many at once as this machine can bear.
    pub fn for_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::new(cores.saturating_sub(1).max(1))
    }

    fn new(at_once: usize) -> Self {
        Self {
            running: Semaphore::new(at_once),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }

    /// Waits for a turn, which lasts until it is dropped.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        if let Ok(turn) = self.running.try_acquire() {
            return Ok(turn);
        }
        let _place = self.waiting.try_acquire().map_err(|_| ApiError::Overloaded)?;
        match tokio::time::timeout(PATIENCE, self.running.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(ApiError::Overloaded),
        }
    }
}

/// The decoded query string; a parameter given twice is refused.
fn parameters(raw: &str) -> Result<BTreeMap<&str, Cow<'_, str>>, ApiError> {
    let mut parameters = BTreeMap::new();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(name) = ["q", "top", "account", "category"]
            .into_iter()
            .find(|known| *known == name)
        else {
            continue;
        };
        let spaced = value.replace('+', " ");
        let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8();
        let decoded = decoded
            .map_err(|_| ApiError::BadParameter {
                name,
                reason: "is not UTF-8".into(),
            })?
            .into_owned();
        if parameters.insert(name, Cow::Owned(decoded)).is_some() {
            return Err(ApiError::BadParameter {
                name,
                reason: "is given twice".into(),
            });
        }
    }
    Ok(parameters)
}

fn top(parameters: &BTreeMap<&str, Cow<'_, str>>) -> Result<usize, ApiError> {
    let Some(text) = parameters.get("top") else {
        return Ok(DEFAULT_TOP);
    };
    let top = text.parse().ok().filter(|top| (1..=MAX_TOP).contains(top));
    top.ok_or_else(|| ApiError::BadParameter {
        name: "top",
        reason: format!("1–{MAX_TOP} is accepted"),
    })
}

/// The account asked for; the only one when there is one.
fn account<'a>(
    parameters: &'a BTreeMap<&str, Cow<'_, str>>,
    mut accounts: impl Iterator<Item = &'a String>,
) -> Result<&'a str, ApiError> {
    let unknown = |reason: &str| ApiError::BadParameter {
        name: "account",
        reason: reason.into(),
    };
    match parameters.get("account").filter(|id| !id.is_empty()) {
        Some(id) => accounts
            .find(|known| **known == **id)
            .map(String::as_str)
            .ok_or_else(|| unknown("is not known")),
        None => match (accounts.next(), accounts.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(unknown("is needed: there are several")),
        },
    }
}

impl From<&Hit> for HitBody {
    fn from(hit: &Hit) -> Self {
        let Entry {
            id,
            question,
            similar,
            answer,
            category,
            ..
        } = &*hit.entry;
        let matched = match hit.phrasing {
            0 => question,
            n => similar.get(usize::from(n) - 1).unwrap_or(question),
        };
        let (kind, answer) = kind_and_answer(answer);
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

fn kind_and_answer(answer: &Answer) -> (&'static str, Value) {
    let kind = answer.kind();
    let value = serde_json::to_value(answer)
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

    #[test]
    fn parameters_are_decoded_once_and_may_come_once() {
        assert_eq!(parameters("q=%E5%BC%80+%E6%88%B7&x=1").unwrap()["q"], "开 户");
        assert!(parameters("q=a&q=b").is_err());
        assert!(parameters("q=%FF").is_err());
        assert!(top(&parameters("top=51").unwrap()).is_err() && top(&parameters("top=0").unwrap()).is_err());
        assert_eq!(top(&parameters("").unwrap()), Ok(5));
    }

    #[test]
    fn the_account_may_be_left_out_when_there_is_one() {
        let (one, two) = (vec!["a".to_owned()], vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(account(&parameters("").unwrap(), one.iter()), Ok("a"));
        assert!(account(&parameters("").unwrap(), two.iter()).is_err());
        assert_eq!(account(&parameters("account=b").unwrap(), two.iter()), Ok("b"));
        assert!(account(&parameters("account=c").unwrap(), two.iter()).is_err());
    }
}
