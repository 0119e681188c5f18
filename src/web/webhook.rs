//! `/wechat/{account}`: WeChat's door.
//!
//! GET answers the URL verification, POST a message. Every refusal is the same 403, whatever its cause, an unknown
//! account included; what goes wrong behind a good signature is logged once and answered `success`, because WeChat tells
//! the follower that the account is out of service when it gets anything it does not know.
//!
//! A body is kept only when the query vouches for its sender, and only within a budget that all requests share; any
//! other is counted and let go of, chunk by chunk, before the refusal.

use super::client::{Peer, client_address};
use super::{Policy, Web};
use crate::bot::Answer;
use crate::config::Network;
use crate::wechat::{Credentials, Delivery, Query, Refusal};
use arc_swap::ArcSwap;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Largest body that is read; WeChat's own messages are far smaller.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Kept by all bodies that are arriving or being answered; far more than as many messages as are handled at once need.
const BODY_BUDGET_BYTES: usize = 32 * 1024 * 1024;
/// Longest wait for WeChat to hang up on a delivery that gets no answer.
const HELD: Duration = Duration::from_secs(10);
/// What the budget is counted in.
const BLOCK_BYTES: usize = 1024;

/// What stands behind one account's path.
#[derive(Clone)]
pub struct Gate {
    #[expect(missing_docs, reason = "the type says it")]
    pub credentials: Credentials,
    /// Where deliveries may come from; `None`: from anywhere.
    pub addresses: Option<Arc<CallbackAddresses>>,
}

/// The addresses WeChat says it calls from: a second fence, behind the signature. While none is known, everybody may
/// call.
#[derive(Default)]
pub struct CallbackAddresses(ArcSwap<Vec<Network>>);

impl CallbackAddresses {
    /// Only these from now on.
    pub fn replace(&self, networks: Vec<Network>) {
        self.0.store(Arc::new(networks));
    }

    /// Whether `client` may call. Nobody knows who a client without an address is.
    fn admit(&self, client: Option<IpAddr>) -> bool {
        let known = self.0.load();
        known.is_empty() || client.is_some_and(|client| known.iter().any(|network| network.contains(client)))
    }
}

/// What the door answers.
enum Answered {
    Echo(String),
    Xml(String),
    Success,
    Refused,
    TooLarge,
    WrongMethod,
}

/// Memory for bodies, shared by all requests.
pub(super) struct BodyBudget(Semaphore);

/// A body as far as it has arrived, and its part of the budget.
struct KeptBody<'a> {
    bytes: Vec<u8>,
    budget: &'a BodyBudget,
    paid: Option<SemaphorePermit<'a>>,
}

/// Why a body is not whole.
enum Unread {
    TooLarge,
    /// The client went, or sent what is no body.
    Broken,
    Slow,
    /// The budget is used up.
    NoRoom,
}

/// One request, before anything is believed.
struct Call {
    account: String,
    gate: Gate,
    query: Result<Query, Refusal>,
    client: Option<IpAddr>,
}

impl Call {
    /// The error is why it is refused. After the signature, so that nobody else learns which addresses are WeChat's.
    fn check_source(&self) -> Result<(), &'static str> {
        let admits = self
            .gate
            .addresses
            .as_ref()
            .is_none_or(|known| known.admit(self.client));
        if admits { Ok(()) } else { Err("source") }
    }
}

/// `/wechat`, when there is one account.
pub async fn only_account(State(web): State<Arc<Web>>, request: Request) -> Response {
    let gates = web.gates.load_full();
    let only = gates.keys().next().filter(|_| gates.len() == 1);
    receive(&web, only.map(String::as_str).unwrap_or_default(), request)
        .await
        .into_response()
}

/// `/wechat/{account}`.
pub async fn one_account(
    State(web): State<Arc<Web>>,
    account: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    // What is not even text is one more unknown account.
    let account = account.map(|Path(account)| account).unwrap_or_default();
    receive(&web, &account, request).await.into_response()
}

async fn receive(web: &Web, account: &str, request: Request) -> Answered {
    let (parts, body) = request.into_parts();
    let policy = web.policy.load();
    let peer = parts.extensions.get().copied().unwrap_or(Peer(None));
    let call = Call {
        account: account.to_owned(),
        gate: web.gates.load().get(account).unwrap_or(&web.decoy).clone(),
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        client: client_address(peer, &parts.headers, &policy.trusted_proxies),
    };
    let outcome = match parts.method {
        Method::GET => verify(web, &call, policy.timestamp_window).await,
        Method::POST => deliver(web, &call, body, &policy).await,
        _ => return Answered::WrongMethod,
    };
    outcome.unwrap_or_else(|cause| {
        tracing::debug!(cause, client = ?call.client, "webhook request refused");
        metrics::counter!("wxfaq_webhook_refused_total", "cause" => cause).increment(1);
        Answered::Refused
    })
}

/// The error is why it is refused.
async fn verify(web: &Web, call: &Call, window: u64) -> Result<Answered, &'static str> {
    let query = call.query.as_ref().map_err(|refusal| cause(*refusal))?;
    let echo = call
        .gate
        .credentials
        .verify_url(query, web.bot.now(), window)
        .map_err(cause)?;
    call.check_source()?;
    let signature = query.signature.as_deref().unwrap_or_default();
    if !web.bot.note_verification(&call.account, signature).await {
        return Err("replay");
    }
    tracing::info!(account = call.account, "URL verified");
    Ok(Answered::Echo(echo.to_owned()))
}

/// The error is why it is refused.
async fn deliver(web: &Web, call: &Call, body: Body, policy: &Policy) -> Result<Answered, &'static str> {
    let window = policy.timestamp_window;
    let query = call.query.as_ref().map_err(|refusal| *refusal);
    let vouched = query.and_then(|query| {
        let address = call.gate.credentials.verify_address(query, web.bot.now(), window);
        address.map(|()| query)
    });
    let vouched = vouched
        .map_err(cause)
        .and_then(|query| call.check_source().map(|()| query));
    let mut kept = KeptBody::new(&web.bodies);
    let arrived = match vouched {
        Ok(_) => receive_body(body, policy.body_timeout, |chunk| kept.push(chunk)).await,
        Err(_) => receive_body(body, policy.body_timeout, |_| Ok(())).await,
    };
    match (arrived, vouched) {
        (Err(Unread::TooLarge), _) => Ok(Answered::TooLarge),
        (_, Err(cause)) => Err(cause),
        (Err(Unread::Broken), _) => Err("broken"),
        (Err(Unread::Slow), _) => Err("slow"),
        (Err(Unread::NoRoom), _) => Ok(shed()),
        (Ok(()), Ok(query)) => answer(web, call, query, &kept.bytes, window).await,
    }
}

/// The error is why it is refused.
async fn answer(web: &Web, call: &Call, query: &Query, body: &[u8], window: u64) -> Result<Answered, &'static str> {
    let opened = call.gate.credentials.open(query, body, web.bot.now(), window);
    let delivery = opened.map_err(cause)?;
    let Ok(_permit) = web.messages.try_acquire() else {
        return Ok(shed());
    };
    reply(web, &call.account, &delivery).await
}

/// What a signed message is told when there is too much.
fn shed() -> Answered {
    metrics::counter!("wxfaq_messages_shed_total").increment(1);
    Answered::Success
}

async fn reply(web: &Web, account: &str, delivery: &Delivery) -> Result<Answered, &'static str> {
    let inbound = match &delivery.inbound {
        Ok(inbound) => inbound,
        Err(error) => {
            tracing::warn!(
                account,
                error = error as &dyn std::error::Error,
                "signed message cannot be read; acknowledged"
            );
            metrics::counter!("wxfaq_messages_malformed_total").increment(1);
            return Ok(Answered::Success);
        }
    };
    match web.bot.handle(account, delivery).await {
        Answer::Refused => Err("replay"),
        Answer::Held => {
            // Any answer would end WeChat's deliveries. It hangs up by itself, and this is dropped.
            tokio::time::sleep(HELD).await;
            Err("held")
        }
        Answer::Reply { reply, create_time } => match reply.to_xml(inbound.head(), create_time) {
            Some(xml) => {
                let mut random = [0; 16];
                if let Err(error) = getrandom::fill(&mut random) {
                    tracing::error!(%error, "no randomness to encrypt a reply with; acknowledged");
                    return Ok(Answered::Success);
                }
                Ok(Answered::Xml(delivery.seal.seal(xml, web.bot.now(), random)))
            }
            None => Ok(Answered::Success),
        },
    }
}

/// Hands the body to `keep` as it arrives, until it is whole.
async fn receive_body(
    body: Body,
    patience: Duration,
    mut keep: impl FnMut(&[u8]) -> Result<(), Unread>,
) -> Result<(), Unread> {
    let arriving = async {
        let mut chunks = body.into_data_stream();
        let mut length = 0;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Unread::Broken)?;
            length += chunk.len();
            if length > MAX_BODY_BYTES {
                return Err(Unread::TooLarge);
            }
            keep(&chunk)?;
        }
        Ok(())
    };
    let arrived = tokio::time::timeout(patience, arriving).await;
    arrived.unwrap_or(Err(Unread::Slow))
}

impl BodyBudget {
    pub(super) fn new() -> Self {
        Self(Semaphore::new(BODY_BUDGET_BYTES / BLOCK_BYTES))
    }
}

impl<'a> KeptBody<'a> {
    fn new(budget: &'a BodyBudget) -> Self {
        Self {
            bytes: Vec::new(),
            budget,
            paid: None,
        }
    }

    fn push(&mut self, chunk: &[u8]) -> Result<(), Unread> {
        let blocks = (self.bytes.len() + chunk.len()).div_ceil(BLOCK_BYTES);
        let more = blocks - self.bytes.len().div_ceil(BLOCK_BYTES);
        let more = self.budget.0.try_acquire_many(more as u32);
        let more = more.map_err(|_| Unread::NoRoom)?;
        match &mut self.paid {
            Some(paid) => paid.merge(more),
            None => self.paid = Some(more),
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }
}

fn cause(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Query => "query",
        Refusal::Stale => "stale",
        Refusal::Signature => "signature",
        Refusal::Downgrade => "downgrade",
        Refusal::Envelope => "envelope",
        Refusal::AppId => "appid",
    }
}

impl IntoResponse for Answered {
    fn into_response(self) -> Response {
        let (status, kind, body) = match self {
            Self::Echo(echo) => (StatusCode::OK, "text/plain; charset=utf-8", echo),
            Self::Xml(xml) => (StatusCode::OK, "text/xml; charset=utf-8", xml),
            Self::Success => (StatusCode::OK, "text/plain; charset=utf-8", "success".into()),
            Self::Refused => (StatusCode::FORBIDDEN, "text/plain; charset=utf-8", String::new()),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "text/plain; charset=utf-8",
                String::new(),
            ),
            Self::WrongMethod => (
                StatusCode::METHOD_NOT_ALLOWED,
                "text/plain; charset=utf-8",
                String::new(),
            ),
        };
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_one_budget_and_give_back_what_they_took() {
        let budget = BodyBudget(Semaphore::new(3));
        let mut first = KeptBody::new(&budget);
        let mut second = KeptBody::new(&budget);
        // The third chunk still fits into the block begun by the second.
        for chunk in [1024, 1, 1023] {
            assert!(first.push(&vec![0; chunk]).is_ok());
        }
        assert!(second.push(&[0; 1024]).is_ok());
        assert!(matches!(second.push(&[0]), Err(Unread::NoRoom)));
        drop(first);
        assert!(second.push(&[0; 2048]).is_ok());
        drop(second);
        assert_eq!(budget.0.available_permits(), 3);
    }
}
