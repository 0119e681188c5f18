//! Calls to WeChat's API.
//!
//! [`reach`] says whether the API answers at all. Follows 公众号开发文档 › 接口域名说明.

use reqwest::redirect::Policy;
use std::time::Duration;

/// The API cannot be reached, or what answers is not WeChat.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// No connection, no answer in time, or no valid certificate.
    #[error("{base} cannot be reached")]
    Unreachable {
        /// As configured.
        base: String,
        #[expect(missing_docs, reason = "the name says it")]
        source: reqwest::Error,
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
    let unreachable = |source: reqwest::Error| ReachError::Unreachable {
        base: base.to_owned(),
        source: source.without_url(),
    };
    let client = reqwest::Client::builder()
        .timeout(patience)
        .redirect(Policy::none())
        .build()
        .map_err(unreachable)?;
    let response = client
        .get(format!("{base}/cgi-bin/getcallbackip"))
        .send()
        .await
        .map_err(unreachable)?;
    let body = response.bytes().await.map_err(unreachable)?;
    match serde_json::from_slice::<serde_json::Value>(&body) {
        Ok(answer) if answer.get("errcode").is_some() => Ok(()),
        _ => Err(ReachError::Stranger { base: base.to_owned() }),
    }
}
