//! Followers as WeChat knows them, codes that bring new ones (带参数二维码), and template messages (模板消息).
//!
//! Follows 公众号开发文档 › 获取用户基本信息, 生成带参数的二维码, 模板消息.

use super::client::Client;
use super::error::ApiError;
use super::http::Request;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// What WeChat tells of a follower. It has told neither name nor picture since 2021.
#[derive(Clone, PartialEq, Eq)]
pub struct FollowerInfo {
    /// `false`: not, or not any more; then the rest is empty.
    pub is_subscribed: bool,
    /// Since when, in Unix seconds; 0: unknown.
    pub subscribe_time: i64,
    /// Such as `ADD_SCENE_QR_CODE`; may be empty.
    pub subscribe_scene: String,
    /// The scene of the QR code, if it was one: text, or number as text.
    pub qr_scene: Option<String>,
    /// Only of accounts bound to an Open Platform account.
    pub unionid: Option<String>,
}

#[derive(Deserialize)]
struct UserInfo {
    #[serde(default)]
    subscribe: i64,
    #[serde(default)]
    subscribe_time: i64,
    #[serde(default)]
    subscribe_scene: String,
    #[serde(default)]
    qr_scene: i64,
    #[serde(default)]
    qr_scene_str: String,
    unionid: Option<String>,
}

/// What scanning a code tells us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scene {
    /// Temporary, by text of 1–64 characters; at most thirty days.
    Text(String, Duration),
    /// Temporary, by number, not 0; at most thirty days.
    Number(u32, Duration),
    /// For ever, by text; an account has 100,000 of these and the next together.
    LastingText(String),
    /// For ever, by number, 1–100000.
    LastingNumber(u32),
}

/// A code to scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QrCode {
    /// What the picture shows.
    pub url: String,
    /// Where the picture is.
    pub picture_url: String,
    /// `None`: for ever.
    pub expires: Option<Duration>,
}

#[derive(Deserialize)]
struct QrAnswer {
    ticket: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    expire_seconds: u64,
}

/// A template message, which needs no message of the user before it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TemplateMessage {
    #[expect(missing_docs, reason = "the name says it")]
    pub template_id: String,
    /// Opened by a tap; may be empty.
    pub url: String,
    /// AppID and page of a mini program, opened instead of `url`.
    pub mini_program: Option<(String, String)>,
    /// WeChat sends a message of this id once; may be empty.
    pub client_msg_id: String,
    /// Names of the template's fields with their values.
    pub data: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct TemplateAnswer {
    #[serde(default)]
    msgid: Value,
}

/// The longest life of a temporary code.
const LONGEST_SCENE: Duration = Duration::from_secs(2_592_000);
const PICTURE: &str = "https://mp.weixin.qq.com/cgi-bin/showqrcode?ticket=";

impl Scene {
    fn body(&self) -> Result<Value, ApiError> {
        let is_text = |text: &String| (1..=64).contains(&text.chars().count());
        let seconds = |expires: &Duration| {
            let is_fine = (1..=LONGEST_SCENE.as_secs()).contains(&expires.as_secs());
            is_fine.then_some(expires.as_secs())
        };
        let body = match self {
            Self::Text(text, expires) => seconds(expires).filter(|_| is_text(text)).map(|seconds| {
                json!({ "expire_seconds": seconds, "action_name": "QR_STR_SCENE",
                        "action_info": { "scene": { "scene_str": text } } })
            }),
            Self::Number(number, expires) => seconds(expires).filter(|_| *number > 0).map(|seconds| {
                json!({ "expire_seconds": seconds, "action_name": "QR_SCENE",
                        "action_info": { "scene": { "scene_id": number } } })
            }),
            Self::LastingText(text) => is_text(text).then(
                || json!({ "action_name": "QR_LIMIT_STR_SCENE", "action_info": { "scene": { "scene_str": text } } }),
            ),
            Self::LastingNumber(number) => (1..=100_000).contains(number).then(
                || json!({ "action_name": "QR_LIMIT_SCENE", "action_info": { "scene": { "scene_id": number } } }),
            ),
        };
        body.ok_or_else(|| {
            ApiError::Unacceptable(
                "a scene is a text of 1–64 characters or a number, 1–100000 if it is to last; a temporary one lasts 1 s to \
                 30 days"
                    .to_owned(),
            )
        })
    }
}

impl Client {
    /// What WeChat tells of a follower.
    pub async fn follower_info(&self, openid: &str) -> Result<FollowerInfo, ApiError> {
        let request = Request::get("/cgi-bin/user/info")
            .with("openid", openid)
            .with("lang", "zh_CN");
        let info: UserInfo = self.call(&request).await?;
        let number = (info.qr_scene != 0).then(|| info.qr_scene.to_string());
        Ok(FollowerInfo {
            is_subscribed: info.subscribe == 1,
            subscribe_time: info.subscribe_time,
            subscribe_scene: info.subscribe_scene,
            qr_scene: Some(info.qr_scene_str).filter(|text| !text.is_empty()).or(number),
            unionid: info.unionid,
        })
    }

    /// Makes a code for `scene`.
    pub async fn create_qr_code(&self, scene: &Scene) -> Result<QrCode, ApiError> {
        let request = Request::post("/cgi-bin/qrcode/create", &scene.body()?);
        let answer: QrAnswer = self.call(&request).await?;
        let ticket = percent_encoding::utf8_percent_encode(&answer.ticket, percent_encoding::NON_ALPHANUMERIC);
        Ok(QrCode {
            picture_url: format!("{PICTURE}{ticket}"),
            url: answer.url,
            expires: (answer.expire_seconds > 0).then(|| Duration::from_secs(answer.expire_seconds)),
        })
    }

    /// Sends a template message; the `msgid` that `TEMPLATESENDJOBFINISH` will name.
    pub async fn send_template(&self, openid: &str, message: &TemplateMessage) -> Result<String, ApiError> {
        let data: Map<String, Value> = message
            .data
            .iter()
            .map(|(name, value)| (name.clone(), json!({ "value": value })))
            .collect();
        let mut body = json!({ "touser": openid, "template_id": message.template_id, "data": data });
        if !message.url.is_empty() {
            body["url"] = json!(message.url);
        }
        if let Some((appid, page_path)) = &message.mini_program {
            body["miniprogram"] = json!({ "appid": appid, "pagepath": page_path });
        }
        if !message.client_msg_id.is_empty() {
            body["client_msg_id"] = json!(message.client_msg_id);
        }
        let answer: TemplateAnswer = self
            .call(&Request::post("/cgi-bin/message/template/send", &body))
            .await?;
        Ok(answer
            .msgid
            .as_str()
            .map_or_else(|| answer.msgid.to_string(), str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenes_beyond_wechats_limits_are_refused_here() {
        let day = Duration::from_secs(86_400);
        let check = |scene: Scene, is_fine: bool| assert_eq!(scene.body().is_ok(), is_fine, "{scene:?}");
        check(Scene::Text("字".repeat(64), day), true);
        check(Scene::Text("字".repeat(65), day), false);
        check(Scene::Text(String::new(), day), false);
        check(Scene::Text("a".into(), LONGEST_SCENE), true);
        check(Scene::Text("a".into(), LONGEST_SCENE + Duration::from_secs(1)), false);
        check(Scene::Number(0, day), false);
        check(Scene::Number(u32::MAX, day), true);
        check(Scene::LastingNumber(100_000), true);
        check(Scene::LastingNumber(100_001), false);
        check(Scene::LastingText("a".into()), true);
        assert_eq!(
            Scene::Text("faq".into(), day).body().unwrap(),
            json!({"expire_seconds": 86_400, "action_name": "QR_STR_SCENE", "action_info": {"scene": {"scene_str": "faq"}}})
        );
    }
}
