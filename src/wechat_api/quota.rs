//! How often an API may still be called today (接口调用额度). Follows 公众号开发文档 › openApi管理.

use super::client::Client;
use super::error::ApiError;
use super::http::Request;
use serde::Deserialize;
use serde_json::json;

/// Calls of one API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "fields carry the protocol's own names")]
pub struct Quota {
    pub daily_limit: i64,
    pub used: i64,
    pub remain: i64,
}

#[derive(Deserialize)]
struct Answer {
    quota: Quota,
}

impl Client {
    /// The quota of the API at `api_path`, such as `/cgi-bin/message/custom/send`.
    ///
    /// # Errors
    /// [`super::Remedy::SwitchOff`]: the account may not call that API.
    pub async fn quota(&self, api_path: &str) -> Result<Quota, ApiError> {
        let request = Request::post("/cgi-bin/openapi/quota/get", &json!({ "cgi_path": api_path }));
        let answer: Answer = self.call(&request).await?;
        Ok(answer.quota)
    }

    /// Sets all counters back; a verified account may ten times a month.
    pub async fn clear_quota(&self) -> Result<(), ApiError> {
        let request = Request::post("/cgi-bin/clear_quota", &json!({ "appid": self.appid }));
        self.order(&request).await?;
        self.wake();
        Ok(())
    }
}
