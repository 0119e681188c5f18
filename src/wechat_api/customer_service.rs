//! Customer-service messages (客服消息): what is sent after the five seconds, and the desk where humans answer.
//!
//! [`Client::send_as`] is the entry point. How many messages a follower may get, and for how long, WeChat counts and
//! whoever sends must. Follows 公众号开发文档 › 客服消息.

use super::client::Client;
use super::error::{ApiError, Remedy};
use super::http::Request;
use crate::wechat::Reply;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What is sent to one follower. Its serialised form is ours, for what waits to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields carry the protocol's own names")]
pub enum Message {
    /// At most 2048 bytes of UTF-8; links as in a passive text.
    Text {
        content: String,
    },
    Image {
        media_id: String,
    },
    Voice {
        media_id: String,
    },
    Video {
        media_id: String,
        thumb_media_id: String,
        title: String,
        description: String,
    },
    Music {
        title: String,
        description: String,
        music_url: String,
        hq_music_url: String,
        thumb_media_id: String,
    },
    /// One article; WeChat takes no more.
    News {
        article: Article,
    },
    /// Articles kept as permanent media.
    MpNews {
        media_id: String,
    },
    /// A published article.
    MpNewsArticle {
        article_id: String,
    },
    /// Lines to tap; a tap comes back as a text with the line's id. Verified accounts only, not test accounts.
    Menu {
        head: String,
        lines: Vec<MenuLine>,
        tail: String,
    },
    Card {
        card_id: String,
    },
    MiniProgramPage {
        title: String,
        appid: String,
        page_path: String,
        thumb_media_id: String,
    },
}

/// A line of [`Message::Menu`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MenuLine {
    /// Comes back as `bizmsgmenuid`.
    pub id: String,
    /// What is read and, when tapped, sent.
    pub content: String,
}

/// An article of [`Message::News`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields carry the protocol's own names")]
pub struct Article {
    pub title: String,
    pub description: String,
    pub url: String,
    #[serde(rename = "picurl")]
    pub pic_url: String,
}

impl Message {
    /// A text.
    pub fn text(content: impl Into<String>) -> Self {
        Self::Text {
            content: content.into(),
        }
    }

    /// The message that says what a passive reply would: of news the first article, of a video its title too. `None`
    /// for what only a passive reply can do: nothing, and handing the follower over.
    pub fn of_reply(reply: &Reply) -> Option<Self> {
        Some(match reply.clone() {
            Reply::Acknowledge | Reply::Transfer { .. } => return None,
            Reply::Text { content } => Self::Text { content },
            Reply::Image { media_id } => Self::Image { media_id },
            Reply::Voice { media_id } => Self::Voice { media_id },
            Reply::Video {
                media_id,
                thumb_media_id,
                title,
                description,
            } => Self::Video {
                media_id,
                thumb_media_id,
                title,
                description,
            },
            Reply::Music {
                title,
                description,
                music_url,
                hq_music_url,
                thumb_media_id,
            } => Self::Music {
                title,
                description,
                music_url,
                hq_music_url,
                thumb_media_id,
            },
            Reply::News { articles } => {
                let article = articles.into_iter().next()?;
                Self::News {
                    article: Article {
                        title: article.title,
                        description: article.description,
                        url: article.url,
                        pic_url: article.pic_url,
                    },
                }
            }
        })
    }

    /// `msgtype`, and the object under that name.
    fn parts(&self) -> (&'static str, Value) {
        match self {
            Self::Text { content } => ("text", json!({ "content": content })),
            Self::Image { media_id } => ("image", json!({ "media_id": media_id })),
            Self::Voice { media_id } => ("voice", json!({ "media_id": media_id })),
            Self::Video {
                media_id,
                thumb_media_id,
                title,
                description,
            } => {
                let mut video = json!({ "media_id": media_id, "title": title, "description": description });
                if !thumb_media_id.is_empty() {
                    video["thumb_media_id"] = json!(thumb_media_id);
                }
                ("video", video)
            }
            Self::Music {
                title,
                description,
                music_url,
                hq_music_url,
                thumb_media_id,
            } => (
                "music",
                json!({
                    "title": title,
                    "description": description,
                    "musicurl": music_url,
                    "hqmusicurl": hq_music_url,
                    "thumb_media_id": thumb_media_id,
                }),
            ),
            Self::News { article } => ("news", json!({ "articles": [article] })),
            Self::MpNews { media_id } => ("mpnews", json!({ "media_id": media_id })),
            Self::MpNewsArticle { article_id } => ("mpnewsarticle", json!({ "article_id": article_id })),
            Self::Menu { head, lines, tail } => (
                "msgmenu",
                json!({ "head_content": head, "list": lines, "tail_content": tail }),
            ),
            Self::Card { card_id } => ("wxcard", json!({ "card_id": card_id })),
            Self::MiniProgramPage {
                title,
                appid,
                page_path,
                thumb_media_id,
            } => (
                "miniprogrampage",
                json!({
                    "title": title,
                    "appid": appid,
                    "pagepath": page_path,
                    "thumb_media_id": thumb_media_id,
                }),
            ),
        }
    }
}

/// What the follower sees of somebody typing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typing {
    /// For about 15 seconds.
    Shown,
    /// From now on.
    Hidden,
}

/// An agent (客服) at the desk.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OnlineAgent {
    /// `name@wechatid`
    pub kf_account: String,
    /// Users being served.
    #[serde(default)]
    pub accepted_case: u64,
}

/// A user served by an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    #[expect(missing_docs, reason = "the name says it")]
    pub kf_account: String,
    /// Since when, in Unix seconds.
    pub create_time: i64,
}

/// A user nobody serves yet.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct WaitingUser {
    pub openid: String,
    /// Of the last message, in Unix seconds.
    pub latest_time: i64,
}

#[derive(Deserialize)]
struct OnlineAgents {
    kf_online_list: Vec<OnlineAgent>,
}

#[derive(Deserialize)]
struct SessionAnswer {
    #[serde(default)]
    kf_account: String,
    #[serde(default)]
    createtime: i64,
}

#[derive(Deserialize)]
struct WaitingAnswer {
    #[serde(default)]
    waitcaselist: Vec<WaitingUser>,
}

impl Client {
    /// Sends `message`, in the name of the agent `kf_account` if one is given.
    pub async fn send_as(&self, openid: &str, message: &Message, kf_account: Option<&str>) -> Result<(), ApiError> {
        let (msg_type, object) = message.parts();
        let mut body = json!({ "touser": openid, "msgtype": msg_type, msg_type: object });
        if let Some(kf_account) = kf_account {
            body["customservice"] = json!({ "kf_account": kf_account });
        }
        self.order(&Request::post("/cgi-bin/message/custom/send", &body)).await
    }

    /// Shows or hides that somebody is typing.
    pub async fn show_typing(&self, openid: &str, typing: Typing) -> Result<(), ApiError> {
        let command = match typing {
            Typing::Shown => "Typing",
            Typing::Hidden => "CancelTyping",
        };
        let body = json!({ "touser": openid, "command": command });
        match self
            .order(&Request::post("/cgi-bin/message/custom/typing", &body))
            .await
        {
            Err(error) if error.remedy() == Some(Remedy::Ignore) => Ok(()),
            other => other,
        }
    }

    /// The agents at the desk now.
    pub async fn online_agents(&self) -> Result<Vec<OnlineAgent>, ApiError> {
        let answer: OnlineAgents = self
            .call(&Request::get("/cgi-bin/customservice/getonlinekflist"))
            .await?;
        Ok(answer.kf_online_list)
    }

    /// Has the agent serve the user.
    pub async fn begin_session(&self, kf_account: &str, openid: &str) -> Result<(), ApiError> {
        let body = json!({ "kf_account": kf_account, "openid": openid });
        self.order(&Request::post("/customservice/kfsession/create", &body))
            .await
    }

    /// Ends what [`Client::begin_session`] began.
    pub async fn end_session(&self, kf_account: &str, openid: &str) -> Result<(), ApiError> {
        let body = json!({ "kf_account": kf_account, "openid": openid });
        self.order(&Request::post("/customservice/kfsession/close", &body))
            .await
    }

    /// Who serves the user; `None`: nobody.
    pub async fn session_of(&self, openid: &str) -> Result<Option<Session>, ApiError> {
        let request = Request::get("/customservice/kfsession/getsession").with("openid", openid);
        let answer: SessionAnswer = self.call(&request).await?;
        Ok((!answer.kf_account.is_empty()).then_some(Session {
            kf_account: answer.kf_account,
            create_time: answer.createtime,
        }))
    }

    /// Whom nobody serves yet; the first hundred, the longest waiting first.
    pub async fn waiting_users(&self) -> Result<Vec<WaitingUser>, ApiError> {
        let answer: WaitingAnswer = self.call(&Request::get("/customservice/kfsession/getwaitcase")).await?;
        Ok(answer.waitcaselist)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wechat::reply::NewsArticle;

    #[test]
    fn messages_are_written_as_wechat_reads_them() {
        let check = |message: Message, kind: &str, object: &str| {
            let (msg_type, value) = message.parts();
            assert_eq!((msg_type, value), (kind, object.parse::<Value>().unwrap()));
        };
        let s = str::to_owned;
        check(Message::text("你好"), "text", r#"{"content":"你好"}"#);
        check(Message::Image { media_id: s("m") }, "image", r#"{"media_id":"m"}"#);
        check(Message::Voice { media_id: s("m") }, "voice", r#"{"media_id":"m"}"#);
        check(
            Message::Video {
                media_id: s("m"),
                thumb_media_id: s(""),
                title: s("t"),
                description: s("d"),
            },
            "video",
            r#"{"media_id":"m","title":"t","description":"d"}"#,
        );
        let film = Reply::Video {
            media_id: s("m"),
            thumb_media_id: s("c"),
            title: s("t"),
            description: s("d"),
        };
        check(
            Message::of_reply(&film).unwrap(),
            "video",
            r#"{"media_id":"m","thumb_media_id":"c","title":"t","description":"d"}"#,
        );
        check(
            Message::Music {
                title: s("t"),
                description: s("d"),
                music_url: s("u"),
                hq_music_url: s("h"),
                thumb_media_id: s("b"),
            },
            "music",
            r#"{"title":"t","description":"d","musicurl":"u","hqmusicurl":"h","thumb_media_id":"b"}"#,
        );
        let article = Article {
            title: s("t"),
            description: s("d"),
            url: s("u"),
            pic_url: s("p"),
        };
        check(
            Message::News { article },
            "news",
            r#"{"articles":[{"title":"t","description":"d","url":"u","picurl":"p"}]}"#,
        );
        check(Message::MpNews { media_id: s("m") }, "mpnews", r#"{"media_id":"m"}"#);
        check(
            Message::MpNewsArticle { article_id: s("a") },
            "mpnewsarticle",
            r#"{"article_id":"a"}"#,
        );
        let lines = vec![MenuLine {
            id: s("101"),
            content: s("满意"),
        }];
        check(
            Message::Menu {
                head: s("h"),
                lines,
                tail: s("t"),
            },
            "msgmenu",
            r#"{"head_content":"h","list":[{"id":"101","content":"满意"}],"tail_content":"t"}"#,
        );
        check(Message::Card { card_id: s("c") }, "wxcard", r#"{"card_id":"c"}"#);
        check(
            Message::MiniProgramPage {
                title: s("t"),
                appid: s("wx"),
                page_path: s("p"),
                thumb_media_id: s("b"),
            },
            "miniprogrampage",
            r#"{"title":"t","appid":"wx","pagepath":"p","thumb_media_id":"b"}"#,
        );
    }

    #[test]
    fn a_passive_reply_becomes_the_message_that_says_the_same() {
        assert_eq!(Message::of_reply(&Reply::Acknowledge), None);
        assert_eq!(Message::of_reply(&Reply::Transfer { kf_account: None }), None);
        let text = Reply::Text { content: "好".into() };
        assert_eq!(Message::of_reply(&text), Some(Message::text("好")));
        let article = |title: &str| NewsArticle {
            title: title.into(),
            description: String::new(),
            pic_url: String::new(),
            url: String::new(),
        };
        let news = Reply::News {
            articles: vec![article("first"), article("second")],
        };
        assert!(matches!(Message::of_reply(&news), Some(Message::News { article }) if article.title == "first"));
        assert_eq!(Message::of_reply(&Reply::News { articles: Vec::new() }), None);
    }
}
