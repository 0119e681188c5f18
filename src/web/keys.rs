//! Who may call the JSON API, for what, and how often.
//!
//! [`admit`] is the entry point, a middleware in front of each group of paths. The keys are in memory ([`Keyring`]),
//! taken over from the database beside the requests, so that a call waits for no store. Where the API is open to the
//! public, whoever comes without a key is told apart by address.

use super::client::{Peer, client_address};
use super::rate::{Rate, caller_at};
use super::{ApiError, Web};
use crate::store::api_key::{ApiKey, KeyHash, KeyScope, KeySecret};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// The keys that are good now.
#[derive(Default)]
pub struct Keyring {
    by_hash: HashMap<KeyHash, Arc<Held>>,
}

/// A key with how much of its rate is used.
pub struct Held {
    key: ApiKey,
    rate: Arc<Rate>,
}

/// Who calls.
#[derive(Clone)]
pub enum Caller {
    /// Whoever holds this key.
    Key(Arc<Held>),
    /// Anybody; the API is open to the public.
    Public,
}

/// What a group of paths asks for.
#[derive(Clone)]
pub struct Door {
    pub web: Arc<Web>,
    /// What a key must open.
    pub scope: KeyScope,
}

impl Keyring {
    /// Of `keys`, without the revoked ones. Keys that are in `before` as well go on with what they have used.
    pub fn of(keys: Vec<ApiKey>, before: &Self) -> Self {
        let hold = |key: ApiKey| {
            let rate = before.by_hash.get(&key.hash).map(|held| held.rate.clone());
            let rate = rate.unwrap_or_else(|| Arc::new(Rate::new()));
            (key.hash, Arc::new(Held { key, rate }))
        };
        let good = keys.into_iter().filter(|key| key.revoked.is_none());
        Self {
            by_hash: good.map(hold).collect(),
        }
    }
}

impl Caller {
    /// The key's id; empty: none.
    pub fn id(&self) -> &str {
        match self {
            Self::Key(held) => &held.key.id,
            Self::Public => "",
        }
    }

    /// Whether the caller's key opens `scope`; nothing but searching and asking is open to the public.
    pub fn may(&self, scope: KeyScope) -> bool {
        match self {
            Self::Key(held) => held.key.scopes.contains(&scope),
            Self::Public => matches!(scope, KeyScope::Search | KeyScope::Ask),
        }
    }
}

/// Lets through who may call, with the [`Caller`] among the request's extensions.
pub async fn admit(State(door): State<Door>, mut request: Request, next: Next) -> Result<Response, ApiError> {
    let peer = request.extensions().get().copied().unwrap_or(Peer(None));
    let policy = door.web.policy.load();
    let address = client_address(peer, request.headers(), &policy.trusted_proxies);
    match door.web.caller(request.headers(), address, door.scope) {
        Ok(caller) => request.extensions_mut().insert(caller),
        Err(error) => {
            metrics::counter!("wxfaq_api_refused_total", "code" => error.code()).increment(1);
            return Err(error);
        }
    };
    Ok(next.run(request).await)
}

impl Web {
    /// Calls with these keys are let in from now on.
    pub fn replace_keys(&self, keys: Vec<ApiKey>) {
        let keyring = Keyring::of(keys, &self.keys.load());
        self.keys.store(Arc::new(keyring));
    }

    fn caller(&self, headers: &HeaderMap, address: Option<IpAddr>, scope: KeyScope) -> Result<Caller, ApiError> {
        let (policy, now) = (self.policy.load(), Instant::now());
        let (api, from) = (&policy.api, caller_at(address));
        let ask = || match scope {
            KeyScope::Ask => self.askers.take(from, now, api.ask_address_per_minute),
            _ => Ok(()),
        };
        let Some(token) = bearer_token(headers) else {
            if !api.public || !Caller::Public.may(scope) {
                return Err(ApiError::Unauthorized);
            }
            let taken = match scope {
                KeyScope::Ask => ask(),
                _ => self.addresses.take(from, now, api.public_per_minute),
            };
            taken.map_err(|wait| ApiError::TooOften { wait })?;
            return Ok(Caller::Public);
        };
        let hash = KeySecret::parse(token).map(|secret| secret.hash());
        let held = hash.and_then(|hash| self.keys.load().by_hash.get(&hash).cloned());
        let held = held.ok_or(ApiError::UnknownKey)?;
        // First of the address: who asks too often does not use up what others have of the same key.
        let taken = ask().and_then(|()| held.rate.take(now, held.key.per_minute));
        taken.map_err(|wait| ApiError::TooOften { wait })?;
        let caller = Caller::Key(held);
        match caller.may(scope) {
            true => Ok(caller),
            false => Err(ApiError::Forbidden { scope: scope.as_str() }),
        }
    }
}

/// What follows `Bearer` (RFC 6750, 2.1); other schemes belong to proxies in between.
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &KeySecret, revoked: Option<(i64, String)>) -> ApiKey {
        ApiKey {
            id: "k1".into(),
            name: "one".into(),
            hash: secret.hash(),
            scopes: [KeyScope::Search].into(),
            per_minute: 1,
            created_at: 0,
            created_by: String::new(),
            revoked,
        }
    }

    #[test]
    fn a_key_keeps_what_it_has_used_when_the_keys_are_read_again() {
        let secret = KeySecret::random().unwrap();
        let now = Instant::now();
        let first = Keyring::of(vec![key(&secret, None)], &Keyring::default());
        let take = |keyring: &Keyring| keyring.by_hash[&secret.hash()].rate.take(now, 1).is_ok();
        assert!(take(&first));
        let second = Keyring::of(vec![key(&secret, None)], &first);
        assert!(!take(&second));
        let third = Keyring::of(vec![key(&secret, Some((1, "operator".into())))], &second);
        assert!(third.by_hash.is_empty());
    }

    #[test]
    fn only_bearer_tokens_are_keys() {
        let token = |value: &str| {
            let headers: HeaderMap = [(header::AUTHORIZATION, value.parse().unwrap())].into_iter().collect();
            bearer_token(&headers).map(str::to_owned)
        };
        assert_eq!(token("Bearer wxk_a"), Some("wxk_a".into()));
        assert_eq!(token("bearer  wxk_a"), Some("wxk_a".into()));
        assert_eq!(token("Basic d3hrX2E="), None);
        assert_eq!(token("wxk_a"), None);
    }
}
