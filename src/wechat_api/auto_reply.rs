//! The account's own rules of WeChat's console (自动回复), which a server URL switches off.
//!
//! Whether WeChat calls them switched on is not looked at: a server URL has switched them all off. Follows 公众号开发文档 › 获取公众号的自动回复规则.

use super::client::Client;
use super::error::ApiError;
use super::http::Request;
use serde::Deserialize;

/// Everything the console answers by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AutoReplies {
    /// On following (被关注回复).
    pub subscribe: Option<AutoReply>,
    /// To any message that no rule answers (收到消息回复).
    pub default: Option<AutoReply>,
    /// By key words (关键词回复), in the console's order.
    pub rules: Vec<KeywordRule>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AutoReply {
    #[expect(missing_docs, reason = "the name says it")]
    Text(String),
    /// Of a kind (`img`, `voice`, `video`, …) whose content the console keeps.
    Media {
        #[expect(missing_docs, reason = "the name says it")]
        kind: String,
        /// The console's; stays valid.
        media_id: String,
    },
    /// Articles (图文); empty when WeChat does not say which.
    News(Vec<ConsoleArticle>),
}

/// One article of [`AutoReply::News`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "fields carry WeChat's own names")]
pub struct ConsoleArticle {
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub digest: String,
    #[serde(default)]
    pub content_url: String,
    #[serde(default)]
    pub cover_url: String,
}

/// A rule by key words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeywordRule {
    /// As the operator called it.
    pub name: String,
    /// Any of them makes it answer.
    pub patterns: Vec<Pattern>,
    /// How many of `replies` are sent.
    pub mode: ReplyMode,
    /// At least one, unless the console's rule is damaged.
    pub replies: Vec<AutoReply>,
}

/// A key word.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Pattern {
    pub text: String,
    pub mode: MatchMode,
}

/// When a key word is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchMode {
    /// The message is it (全匹配).
    Equal,
    /// The message holds it (半匹配).
    Contain,
}

/// Which replies of a rule are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ReplyMode {
    All,
    OneAtRandom,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "add_friend_autoreply_info")]
    subscribe: Option<Item>,
    #[serde(rename = "message_default_autoreply_info")]
    default: Option<Item>,
    #[serde(rename = "keyword_autoreply_info")]
    keywords: Option<Rules>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    content: String,
    #[serde(default)]
    news_info: NewsInfo,
}

#[derive(Deserialize, Default)]
struct NewsInfo {
    #[serde(default)]
    list: Vec<ConsoleArticle>,
}

#[derive(Deserialize)]
struct Rules {
    #[serde(default)]
    list: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(default, rename = "rule_name")]
    name: String,
    #[serde(default)]
    reply_mode: String,
    #[serde(default)]
    keyword_list_info: Vec<Keyword>,
    #[serde(default)]
    reply_list_info: Vec<Item>,
}

#[derive(Deserialize)]
struct Keyword {
    #[serde(default)]
    match_mode: String,
    #[serde(default)]
    content: String,
}

impl From<Item> for AutoReply {
    fn from(item: Item) -> Self {
        match item.kind.as_str() {
            "text" => Self::Text(item.content),
            "news" => Self::News(item.news_info.list),
            _ => Self::Media {
                kind: item.kind,
                media_id: item.content,
            },
        }
    }
}

impl From<Answer> for AutoReplies {
    fn from(answer: Answer) -> Self {
        let keyword = |keyword: Keyword| Pattern {
            mode: if keyword.match_mode == "equal" {
                MatchMode::Equal
            } else {
                MatchMode::Contain
            },
            text: keyword.content,
        };
        let rule = |rule: Rule| KeywordRule {
            name: rule.name,
            patterns: rule.keyword_list_info.into_iter().map(keyword).collect(),
            mode: if rule.reply_mode == "random_one" {
                ReplyMode::OneAtRandom
            } else {
                ReplyMode::All
            },
            replies: rule.reply_list_info.into_iter().map(AutoReply::from).collect(),
        };
        let filled = |item: Option<Item>| item.filter(|item| !item.content.is_empty()).map(AutoReply::from);
        Self {
            subscribe: filled(answer.subscribe),
            default: filled(answer.default),
            rules: answer
                .keywords
                .map(|rules| rules.list.into_iter().map(rule).collect())
                .unwrap_or_default(),
        }
    }
}

impl Client {
    /// What the console answers by itself, or answered until the server URL was switched on.
    pub async fn auto_replies(&self) -> Result<AutoReplies, ApiError> {
        let answer: Answer = self.call(&Request::get("/cgi-bin/get_current_autoreply_info")).await?;
        Ok(answer.into())
    }
}
