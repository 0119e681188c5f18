//! Who calls whom: the addresses WeChat calls from, and whether its API can be reached from here.
//!
//! [`reach`] needs no secret. Follows 公众号开发文档 › 获取微信callback IP地址, 接口域名说明.

use super::client::Client;
use super::error::ApiError;
use super::http::{Http, Limits, Request};
use serde::Deserialize;
use std::time::Duration;

const CALLBACK: &str = "/cgi-bin/getcallbackip";

/// The API cannot be reached, or what answers is not WeChat.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// No connection, no answer in time, or no valid certificate.
    #[error("{base} cannot be reached: {reason}")]
    Unreachable {
        /// As configured.
        base: String,
        #[expect(missing_docs, reason = "the name says it")]
        reason: String,
    },
    /// Something else answers there.
    #[error("{base} does not answer as WeChat does")]
    Stranger {
        /// As configured.
        base: String,
    },
}

/// Asks the API at `base` for something that needs a token, without one: WeChat refuses it with an error code.
pub async fn reach(base: &str, patience: Duration) -> Result<(), ReachError> {
    let limits = Limits {
        connect: patience,
        read: patience,
        exchange: patience,
        ..Limits::default()
    };
    let unreachable = |error: ApiError| {
        let reason = match error {
            ApiError::Unreachable { reason } | ApiError::NoAnswer { reason, .. } => reason,
            error => error.to_string(),
        };
        ReachError::Unreachable {
            base: base.to_owned(),
            reason,
        }
    };
    let stranger = || ReachError::Stranger { base: base.to_owned() };
    let http = Http::new(base, &[], limits).map_err(unreachable)?;
    let request = Request::get(CALLBACK);
    let exchange = tokio::time::timeout(patience, http.exchange(&request, None));
    let answer = exchange.await.unwrap_or_else(|_| {
        Err(ApiError::Unreachable {
            reason: "it took too long".to_owned(),
        })
    });
    let body = match answer {
        Ok(body) => body,
        Err(ApiError::Stranger { .. }) => return Err(stranger()),
        Err(error) => return Err(unreachable(error)),
    };
    match serde_json::from_slice::<serde_json::Value>(&body) {
        Ok(answer) if answer.get("errcode").is_some() => Ok(()),
        _ => Err(stranger()),
    }
}

#[derive(Deserialize)]
struct Addresses {
    ip_list: Vec<String>,
}

impl Client {
    /// The addresses and networks (`101.226.103.0/25`) WeChat calls from; changes now and then, so ask daily.
    pub async fn callback_addresses(&self) -> Result<Vec<String>, ApiError> {
        let answer: Addresses = self.call(&Request::get(CALLBACK)).await?;
        Ok(answer.ip_list)
    }

    /// The addresses of the API's hosts.
    pub async fn api_addresses(&self) -> Result<Vec<String>, ApiError> {
        let answer: Addresses = self.call(&Request::get("/cgi-bin/get_api_domain_ip")).await?;
        Ok(answer.ip_list)
    }
}
