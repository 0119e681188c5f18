//! WeChat's API for tests and operators' trials: answers as WeChat does, keeps count as WeChat does, refuses on command.
//!
//! [`Fake`] decides, [`router`] puts it on HTTP. `ledger` knows tokens, quotas and the windows in which a follower may be
//! written to, `answers` what each API says. Time is passed in. Nothing of it runs in the daemon. Besides WeChat's paths
//! there are `/fake/sent`, `/fake/calls`, `/fake/fail`, `/fake/slow`, `/fake/contact` and `/fake/invalidate`, for whoever
//! plays the follower. Follows 公众号开发文档 as `wechat_api` does, and shares no code with it.

mod answers;
mod ledger;

pub use ledger::{Contact, Sent};

use answers::{Answer, Asked};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use ledger::{Ledger, Ledgers};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Unix seconds now.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The largest upload, and a little more.
const MOST_BODY_BYTES: usize = 12 * 1024 * 1024;
/// Failures ordered for one path.
const MOST_FAILURES: usize = 1_000;

/// How a call fails on command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// With `errcode` and `errmsg`.
    Code(i64, String),
    /// With this HTTP status and, if there is one, this `Location`.
    Status(u16, Option<String>),
    /// With these bytes.
    Bytes(Vec<u8>),
    /// With silence.
    Silence,
}

/// Whose calls are taken, and what is known of followers beforehand.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Each an AppID with its AppSecret; empty: any.
    pub accounts: Vec<(String, String)>,
    /// Whether a follower never heard of may be written to as if they had just written.
    pub welcomes_strangers: bool,
}

/// A WeChat that is none.
pub struct Fake {
    clock: Clock,
    settings: Settings,
    state: Mutex<Inner>,
}

struct Inner {
    ledgers: Ledgers,
    /// By path, first come first.
    failures: BTreeMap<String, VecDeque<Failure>>,
    /// Calls by path, failed ones too.
    calls: BTreeMap<String, u64>,
    /// How long answers take, by path.
    pauses: BTreeMap<String, Duration>,
}

impl Fake {
    /// Nothing has happened yet.
    pub fn new(settings: Settings, clock: Clock) -> Arc<Self> {
        let mut ledgers = Ledgers::default();
        for (appid, _) in &settings.accounts {
            ledgers.of(appid);
        }
        let inner = Inner {
            ledgers,
            failures: BTreeMap::new(),
            calls: BTreeMap::new(),
            pauses: BTreeMap::new(),
        };
        Arc::new(Self {
            clock,
            settings,
            state: Mutex::new(inner),
        })
    }

    /// The next `times` calls of `path` fail so, after those ordered before.
    pub fn fail(&self, path: &str, failure: &Failure, times: usize) {
        let mut inner = self.lock();
        let failures = inner.failures.entry(path.to_owned()).or_default();
        let room = MOST_FAILURES.saturating_sub(failures.len());
        failures.extend(std::iter::repeat_n(failure, times.min(room)).cloned());
    }

    /// The next call of `path` fails with this code.
    pub fn refuse(&self, path: &str, code: i64, errmsg: &str) {
        self.fail(path, &Failure::Code(code, errmsg.to_owned()), 1);
    }

    /// From now on the answers of `path` take so long.
    pub fn slow_down(&self, path: &str, pause: Duration) {
        self.lock().pauses.insert(path.to_owned(), pause);
    }

    /// Failures that were ordered and have not happened are off.
    pub fn relent(&self) {
        self.lock().failures.clear();
    }

    /// Every access token dies, as when somebody forces a new one.
    pub fn invalidate_tokens(&self) {
        self.lock().ledgers.all().for_each(Ledger::invalidate_tokens);
    }

    /// No upload is known any more.
    pub fn forget_media(&self) {
        self.lock().ledgers.all().for_each(Ledger::forget_media);
    }

    /// The follower does something that lets every account known so far write to them, or leaves them all.
    pub fn contact(&self, openid: &str, contact: Contact) {
        let now = (self.clock)();
        let mut inner = self.lock();
        inner
            .ledgers
            .all()
            .for_each(|ledger| ledger.contact(openid, contact, now));
    }

    /// As [`Fake::contact`], with one account.
    pub fn contact_with(&self, appid: &str, openid: &str, contact: Contact) {
        let now = (self.clock)();
        self.lock().ledgers.of(appid).contact(openid, contact, now);
    }

    /// How often each account known so far may call an API in a day.
    pub fn limit(&self, path: &str, daily: u64) {
        let mut inner = self.lock();
        inner.ledgers.all().for_each(|ledger| ledger.limit(path, daily));
    }

    /// Everything that was sent to followers, the oldest first.
    pub fn sent(&self) -> Vec<Sent> {
        self.lock().ledgers.sent()
    }

    /// How often `path` was called.
    pub fn calls(&self, path: &str) -> u64 {
        self.lock().calls.get(path).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What WeChat would answer.
    fn answer(&self, asked: &Asked<'_>) -> Answer {
        let now = (self.clock)();
        let mut inner = self.lock();
        *inner.calls.entry(asked.path.to_owned()).or_default() += 1;
        if let Some(failure) = inner.failures.get_mut(asked.path).and_then(VecDeque::pop_front) {
            return Answer::of_failure(failure);
        }
        answers::answer(asked, &mut inner.ledgers, &self.settings, now)
    }

    /// What the operator asks for under `/fake/`.
    fn operate(&self, asked: &Asked<'_>) -> Answer {
        let order: Order = serde_json::from_slice(asked.body).unwrap_or_default();
        match (asked.method, asked.path) {
            ("GET", "/fake/sent") => Answer::Json(json!(self.sent())),
            ("GET", "/fake/calls") => Answer::Json(json!(self.lock().calls)),
            ("POST", "/fake/invalidate") => {
                self.invalidate_tokens();
                Answer::ok()
            }
            ("POST", "/fake/contact") => match Contact::parse(&order.kind) {
                Some(contact) if !order.openid.is_empty() => {
                    self.contact(&order.openid, contact);
                    Answer::ok()
                }
                _ => Answer::usage(r#"{"openid": "…", "kind": "message|click|subscribe|scan|payment|leave"}"#),
            },
            ("POST", "/fake/fail") => {
                let failure = match (order.errcode, order.status) {
                    (Some(code), _) => Failure::Code(code, order.errmsg),
                    (None, Some(status)) => Failure::Status(status, None),
                    (None, None) => Failure::Silence,
                };
                if !order.path.starts_with('/') {
                    return Answer::usage(r#"{"path": "/cgi-bin/…", "errcode": 45009, "errmsg": "…", "times": 1}"#);
                }
                self.fail(&order.path, &failure, order.times.unwrap_or(1));
                Answer::ok()
            }
            ("POST", "/fake/slow") => match order.seconds {
                Some(seconds) if order.path.starts_with("/cgi-bin/") => {
                    self.slow_down(&order.path, Duration::from_secs(seconds.into()));
                    Answer::ok()
                }
                _ => Answer::usage(r#"{"path": "/cgi-bin/…", "seconds": 6}"#),
            },
            _ => Answer::usage("GET sent, calls; POST fail, slow, contact, invalidate"),
        }
    }
}

/// The body of an operator's request.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Order {
    openid: String,
    kind: String,
    path: String,
    errcode: Option<i64>,
    errmsg: String,
    status: Option<u16>,
    times: Option<usize>,
    seconds: Option<u16>,
}

/// The API, and the operator's doors.
pub fn router(fake: Arc<Fake>) -> Router {
    Router::new()
        .fallback(handle)
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
        .with_state(fake)
}

async fn handle(
    State(fake): State<Arc<Fake>>,
    method: Method,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let asked = Asked {
        method: method.as_str(),
        path: uri.path(),
        query: &query,
        content_type: content_type.unwrap_or_default(),
        body: &body,
    };
    let pause = fake.lock().pauses.get(asked.path).copied();
    tokio::time::sleep(pause.unwrap_or_default()).await;
    let answer = if asked.path.starts_with("/fake/") {
        fake.operate(&asked)
    } else {
        fake.answer(&asked)
    };
    match answer {
        Answer::Json(value) => respond(StatusCode::OK, None, json_bytes(&value)),
        Answer::Usage(text) => respond(StatusCode::BAD_REQUEST, None, format!("{text}\n").into_bytes()),
        Answer::Bytes(bytes) => respond(StatusCode::OK, None, bytes),
        Answer::Status(status, location) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            respond(status, location, Vec::new())
        }
        Answer::Silence => std::future::pending().await,
    }
}

fn json_bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn respond(status: StatusCode, location: Option<String>, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/json; encoding=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    if let Some(location) = location.and_then(|location| location.parse().ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
