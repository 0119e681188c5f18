//! One HTTP exchange with WeChat: a fixed host, limits on everything, nothing secret in what is said about it.
//!
//! [`Http::exchange`] is the entry point. It follows no redirects and reads at most [`Limits::body_bytes`]. Another host
//! is tried only when no connection to the first was made, so nothing is ever sent twice.

use super::error::{ApiError, scrubbed};
use backon::{BackoffBuilder, ExponentialBuilder};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Method, Response, Url};
use serde::Serialize;
use serde_json::Value;
use std::error::Error;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// WeChat's nearest host, and the default of `api_base`.
const NEAREST: &str = "https://api.weixin.qq.com";
/// Where else WeChat answers. Follows 公众号开发文档 › 接口域名说明.
const FAIL_OVER: [&str; 4] = [
    "https://api2.weixin.qq.com",
    "https://sh.api.weixin.qq.com",
    "https://sz.api.weixin.qq.com",
    "https://hk.api.weixin.qq.com",
];
/// So long the host that answered is asked first.
const HOST_KEPT: Duration = Duration::from_secs(300);

/// How much a call may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a connection to one host, TLS included.
    pub connect: Duration,
    /// Without a byte of the answer; an upload has its own limit alone.
    pub read: Duration,
    /// For one exchange.
    pub exchange: Duration,
    /// For one exchange that uploads a file.
    pub upload: Duration,
    /// For a whole call: access token, exchanges, pauses.
    pub call: Duration,
    /// Of an answer's body.
    pub body_bytes: usize,
    /// Exchanges at once.
    pub exchanges: usize,
    /// Calls that may wait for their exchange or be in it.
    pub calls: usize,
    /// Before the first repetition after -1 or 45011, doubling, with jitter.
    pub first_pause: Duration,
    /// Repetitions after -1 or 45011.
    pub repetitions: usize,
    /// A refresher of the access token without news counts as dead after this.
    pub refresh_lease: Duration,
    /// Between two looks at whether another instance has refreshed.
    pub refresh_poll: Duration,
    /// After a failed refresh WeChat is not asked again for so long.
    pub refresh_pause: Duration,
}

impl Limits {
    /// Before each repetition of what WeChat was too busy for.
    pub(super) fn pauses(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        ExponentialBuilder::default()
            .with_min_delay(self.first_pause)
            .with_max_times(self.repetitions)
            .with_jitter()
            .build()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            read: Duration::from_secs(5),
            exchange: Duration::from_secs(8),
            upload: Duration::from_secs(60),
            call: Duration::from_secs(30),
            body_bytes: 1024 * 1024,
            exchanges: 32,
            calls: 1_024,
            first_pause: Duration::from_millis(300),
            repetitions: 3,
            refresh_lease: Duration::from_secs(12),
            refresh_poll: Duration::from_millis(100),
            refresh_pause: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// For a whole call that sends `request`.
    pub(super) fn call_of(&self, request: &Request) -> Duration {
        if request.is_upload() {
            self.call + self.upload
        } else {
            self.call
        }
    }
}

/// What is sent, but for the access token.
#[derive(Clone)]
pub(super) struct Request {
    pub path: &'static str,
    pub method: Method,
    /// Names and values, not yet encoded.
    pub query: Vec<(&'static str, String)>,
    /// Content type and bytes.
    pub body: Option<(String, Vec<u8>)>,
}

impl Request {
    pub fn get(path: &'static str) -> Self {
        Self {
            path,
            method: Method::GET,
            query: Vec::new(),
            body: None,
        }
    }

    /// `body` as WeChat wants it: raw UTF-8 without `\u` escapes, so without the control characters that need them.
    pub fn post(path: &'static str, body: &impl Serialize) -> Self {
        let mut body = serde_json::to_value(body).unwrap_or_default();
        without_controls(&mut body);
        Self {
            method: Method::POST,
            body: Some((
                "application/json; charset=utf-8".to_owned(),
                body.to_string().into_bytes(),
            )),
            ..Self::get(path)
        }
    }

    fn is_upload(&self) -> bool {
        self.body
            .as_ref()
            .is_some_and(|(kind, _)| kind.starts_with("multipart/"))
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }
}

fn without_controls(value: &mut Value) {
    match value {
        Value::String(text) => text.retain(|c| c >= ' ' || matches!(c, '\n' | '\r' | '\t')),
        Value::Array(items) => items.iter_mut().for_each(without_controls),
        Value::Object(fields) => fields.values_mut().for_each(without_controls),
        _ => {}
    }
}

/// A client of WeChat's hosts, or of one that stands in for them.
pub(super) struct Http {
    client: Client,
    /// Without [`Limits::read`], which begins to count before a file has left.
    uploader: Client,
    /// At least one.
    hosts: Vec<Url>,
    /// The one that answered last while an earlier one did not, and until when it is asked first.
    preferred: Mutex<Option<(usize, Instant)>>,
    limits: Limits,
    exchanges: Semaphore,
    calls: Semaphore,
}

impl Http {
    /// `base` is asked first; WeChat's own nearest host has substitutes, any other has none but `substitutes`.
    ///
    /// # Errors
    /// [`ApiError::Unacceptable`]: a base is no http(s) address.
    pub fn new(base: &str, substitutes: &[String], limits: Limits) -> Result<Self, ApiError> {
        let own = if base.trim_end_matches('/') == NEAREST {
            &FAIL_OVER[..]
        } else {
            &[]
        };
        let names = [base].into_iter().chain(own.iter().copied());
        let names = names.chain(substitutes.iter().map(String::as_str));
        let hosts = names.map(host).collect::<Result<Vec<_>, _>>()?;
        // An error means that there is a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = || {
            let client = Client::builder()
                .connect_timeout(limits.connect)
                .redirect(Policy::none())
                .pool_max_idle_per_host(limits.exchanges);
            if hosts.iter().all(is_loopback) {
                client.no_proxy()
            } else {
                client
            }
        };
        let built = |client: ClientBuilder| {
            let built = client.build();
            built.map_err(|error| ApiError::Unreachable { reason: reason(error) })
        };
        Ok(Self {
            client: built(client().read_timeout(limits.read))?,
            uploader: built(client())?,
            hosts,
            preferred: Mutex::default(),
            limits,
            exchanges: Semaphore::new(limits.exchanges),
            calls: Semaphore::new(limits.calls),
        })
    }

    /// Sends `request` to the first host that takes the connection and returns the body of the answer.
    pub async fn exchange(&self, request: &Request, access_token: Option<&str>) -> Result<Vec<u8>, ApiError> {
        let _call = self.calls.try_acquire().map_err(|_| ApiError::Busy)?;
        let room = tokio::time::timeout(self.limits.exchange, self.exchanges.acquire()).await;
        // Never closed, so an error is that of the time.
        let Ok(Ok(_exchange)) = room else {
            return Err(ApiError::Busy);
        };
        let first = self.first_host();
        let mut failure = None;
        for n in 0..self.hosts.len() {
            let n = (first + n) % self.hosts.len();
            match self.try_host(&self.hosts[n], request, access_token).await {
                Err(error @ ApiError::Unreachable { .. }) => failure = Some(error),
                answered => {
                    self.prefer(n);
                    return answered;
                }
            }
        }
        Err(failure.expect("there is at least one host"))
    }

    async fn try_host(&self, host: &Url, request: &Request, access_token: Option<&str>) -> Result<Vec<u8>, ApiError> {
        let mut url = host.clone();
        url.set_path(&format!("{}{}", host.path().trim_end_matches('/'), request.path));
        if access_token.is_some() || !request.query.is_empty() {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(access_token.map(|access_token| ("access_token", access_token)));
            query.extend_pairs(&request.query);
        }
        let (client, limit) = if request.is_upload() {
            (&self.uploader, self.limits.upload)
        } else {
            (&self.client, self.limits.exchange)
        };
        let mut sent = client.request(request.method.clone(), url).timeout(limit);
        if let Some((kind, body)) = &request.body {
            sent = sent.header("content-type", kind).body(body.clone());
        }
        let response = sent.send().await.map_err(|error| match error.is_connect() {
            true => ApiError::Unreachable { reason: reason(error) },
            false => no_answer(request.path, error),
        })?;
        self.read(request.path, response).await
    }

    async fn read(&self, path: &'static str, mut response: Response) -> Result<Vec<u8>, ApiError> {
        let stranger = |reason: String| ApiError::Stranger { path, reason };
        let status = response.status();
        if status.is_redirection() {
            return Err(stranger(format!("it redirects ({})", status.as_u16())));
        }
        if !status.is_success() {
            return Err(stranger(format!("HTTP status {}", status.as_u16())));
        }
        let limit = self.limits.body_bytes;
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| no_answer(path, error))? {
            if body.len() + part.len() > limit {
                return Err(stranger(format!("its answer is longer than {limit} bytes")));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }

    fn first_host(&self) -> usize {
        let preferred = self.preferred.lock().unwrap_or_else(PoisonError::into_inner);
        match *preferred {
            Some((n, until)) if Instant::now() < until => n,
            _ => 0,
        }
    }

    fn prefer(&self, n: usize) {
        let mut preferred = self.preferred.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = preferred.is_none_or(|(other, until)| other != n || Instant::now() >= until);
        if n == 0 {
            *preferred = None;
        } else if is_new {
            *preferred = Some((n, Instant::now() + HOST_KEPT));
            tracing::warn!(
                host = self.hosts[n].host_str(),
                "WeChat's nearest host cannot be reached; asking another"
            );
        }
    }
}

/// Whether `base` can be asked.
fn host(base: &str) -> Result<Url, ApiError> {
    let url = Url::parse(base)
        .ok()
        .filter(|url| matches!(url.scheme(), "https" | "http") && url.query().is_none() && url.username().is_empty());
    url.ok_or_else(|| ApiError::Unacceptable("api_base is not an http(s):// address".to_owned()))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn no_answer(path: &'static str, error: reqwest::Error) -> ApiError {
    ApiError::NoAnswer {
        path,
        reason: reason(error),
    }
}

/// An error with its causes, without the URL, which holds the access token.
fn reason(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let error = error.without_url();
    let mut causes = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    scrubbed(&causes.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_hold_no_escapes_of_characters() {
        let request = Request::post(
            "/p",
            &serde_json::json!({"a": "中 & <\u{1f600}\u{1}\u{b}\"\n", "b": ["\u{0}x"]}),
        );
        let (kind, body) = request.body.unwrap();
        assert_eq!(kind, "application/json; charset=utf-8");
        assert_eq!(
            String::from_utf8(body).unwrap(),
            "{\"a\":\"中 & <😀\\\"\\n\",\"b\":[\"x\"]}"
        );
    }

    #[test]
    fn only_wechats_nearest_host_has_substitutes_of_its_own() {
        let hosts = |base: &str| Http::new(base, &[], Limits::default()).unwrap().hosts.len();
        assert_eq!(hosts("https://api.weixin.qq.com"), 5);
        assert_eq!(hosts("https://api.weixin.qq.com/"), 5);
        assert_eq!(hosts("https://sh.api.weixin.qq.com"), 1);
        assert_eq!(hosts("http://127.0.0.1:9"), 1);
        for base in [
            "",
            "ftp://a",
            "api.weixin.qq.com",
            "https://u:p@host",
            "https://host/?a=1",
        ] {
            assert!(Http::new(base, &[], Limits::default()).is_err(), "{base}");
        }
    }
}
