//! `/wechat/{account}`: WeChat's door.
//!
//! GET answers the URL verification, POST a message. Every refusal is the same 403, whatever its cause, an unknown
//! account included; what goes wrong behind a good signature is logged once and answered `success`, because WeChat tells
//! the follower that the account is out of service when it gets anything it does not know.

use super::Web;
use super::client::{Peer, client_address};
use crate::bot::Answer;
use crate::wechat::{Credentials, Delivery, Query, Refusal};
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use std::net::IpAddr;
use std::sync::Arc;

/// Largest body that is read; WeChat's own messages are far smaller.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// What stands behind one account's path.
#[derive(Clone)]
pub struct Gate {
    #[expect(missing_docs, reason = "the type says it")]
    pub credentials: Credentials,
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

/// One request, before anything is believed.
struct Call {
    account: String,
    gate: Gate,
    query: Result<Query, Refusal>,
    client: Option<IpAddr>,
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
pub async fn one_account(State(web): State<Arc<Web>>, Path(account): Path<String>, request: Request) -> Response {
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
        Method::POST => match tokio::time::timeout(policy.body_timeout, read(body)).await {
            Ok(Some(body)) => answer(web, &call, &body, policy.timestamp_window).await,
            Ok(None) => return Answered::TooLarge,
            Err(_) => Err("slow"),
        },
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
    let signature = query.signature.as_deref().unwrap_or_default();
    if !web.bot.note_verification(&call.account, signature).await {
        return Err("replay");
    }
    tracing::info!(account = call.account, "URL verified");
    Ok(Answered::Echo(echo.to_owned()))
}

/// The error is why it is refused.
async fn answer(web: &Web, call: &Call, body: &[u8], window: u64) -> Result<Answered, &'static str> {
    let query = call.query.as_ref().map_err(|refusal| cause(*refusal))?;
    let delivery = call
        .gate
        .credentials
        .open(query, body, web.bot.now(), window)
        .map_err(cause)?;
    let Ok(_permit) = web.messages.try_acquire() else {
        metrics::counter!("wxfaq_messages_shed_total").increment(1);
        return Ok(Answered::Success);
    };
    reply(web, &call.account, &delivery).await
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

/// The whole body; `None` when it is larger than accepted or breaks off.
async fn read(body: Body) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.ok()?;
        if bytes.len() + chunk.len() > MAX_BODY_BYTES {
            return None;
        }
        bytes.extend_from_slice(&chunk);
    }
    Some(bytes)
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
