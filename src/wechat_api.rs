//! Calls to WeChat's API: the only room that knows its hosts, its access token and its error codes.
//!
//! [`WechatApi`] is what a conversation needs and what `bot` holds; [`Client`] is behind it, and has every other call as
//! a method of its own. Every call ends within [`Limits::call`] and is counted. Errors say what to do ([`Remedy`]) and
//! never hold a token, a secret or an openid. Follows 公众号开发文档 › 接口调用.

mod error;
mod secret;
mod http;
mod access_token;
mod client;
mod customer_service;
mod media;
mod menu;
mod auto_reply;
mod users;
mod network;
mod quota;

pub use auto_reply::{AutoReplies, AutoReply, ConsoleArticle, KeywordRule, MatchMode, Pattern, ReplyMode};
pub use client::{Client, ClientParts, WallClock};
pub use customer_service::{Article, MenuLine, Message, OnlineAgent, Session, Typing, WaitingUser};
pub use error::{ApiError, Refusal, Remedy};
pub use http::Limits;
pub use media::{MediaFile, Uploaded};
pub use menu::{Button, ConditionalMenu, Menu, MenuProblem, Menus};
pub use network::{ReachError, reach};
pub use quota::Quota;
pub use secret::Secret;
pub use users::{FollowerInfo, QrCode, Scene, TemplateMessage};

use async_trait::async_trait;

/// What a conversation asks of WeChat outside of passive replies, for one account.
///
/// **Order.** Calls begun one after another may overtake each other: who sends several parts waits for each. **Repeats.**
/// No call is carried out twice by this room; after [`ApiError::had_no_effect`] the caller may repeat it. **Limits.**
/// Everything ends by itself within [`Limits::call`] (an upload within [`Limits::upload`] more).
#[async_trait]
pub trait WechatApi: Send + Sync {
    /// Sends `message` to the follower; `Ok` when WeChat has taken it.
    ///
    /// # Errors
    /// [`Remedy::GiveUp`]: the time for an answer is over or the messages are used up; never to be repeated.
    async fn send(&self, openid: &str, message: &Message) -> Result<(), ApiError>;

    /// Shows or hides 「对方正在输入」. Showing it twice, or too late, is no error.
    async fn typing(&self, openid: &str, typing: Typing) -> Result<(), ApiError>;

    /// Uploads a file that WeChat keeps for three days.
    async fn upload(&self, file: MediaFile) -> Result<Uploaded, ApiError>;
}

#[async_trait]
impl WechatApi for Client {
    async fn send(&self, openid: &str, message: &Message) -> Result<(), ApiError> {
        self.send_as(openid, message, None).await
    }

    async fn typing(&self, openid: &str, typing: Typing) -> Result<(), ApiError> {
        self.show_typing(openid, typing).await
    }

    async fn upload(&self, file: MediaFile) -> Result<Uploaded, ApiError> {
        self.upload_media(file).await
    }
}
