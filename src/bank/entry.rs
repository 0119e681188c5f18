//! One entry of the question bank: a question, its other phrasings, its answer, and where and when it applies.
//!
//! [`Entry::validate`] holds an entry to the limits below and to WeChat's (公众号开发文档 › 回复用户消息); importers and
//! editors call it before anything is stored, so whoever reads an entry from the store need not check again.

use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Longest question or similar question, in characters.
pub const MAX_QUESTION_CHARS: usize = 300;
/// Most similar questions of one entry.
pub const MAX_SIMILAR: usize = 200;
/// Longest text answer, in bytes of UTF-8: about ten passive replies.
pub const MAX_ANSWER_BYTES: usize = 20_000;

/// An entry's identity: 1–64 characters of `A-Z a-z 0-9 . _ -`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryId(Arc<str>);

impl EntryId {
    /// # Errors
    /// [`EntryError`] on `id` when the text is empty, longer than 64 bytes or has a character outside the set.
    pub fn parse(text: &str) -> Result<Self, EntryError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(text.into()));
        }
        Err(EntryError::new(
            "id",
            format!("{text:?} is not 1–64 characters of A-Z a-z 0-9 . _ -"),
        ))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for EntryId {
    type Error = EntryError;
    fn try_from(text: String) -> Result<Self, EntryError> {
        Self::parse(&text)
    }
}

impl From<EntryId> for String {
    fn from(id: EntryId) -> Self {
        id.0.to_string()
    }
}

impl Borrow<str> for EntryId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One question with its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Unique within the bank.
    pub id: EntryId,
    /// The standard wording (标准问); what followers see in lists.
    pub question: String,
    /// Other wordings of the same question (相似问); may be empty. Order is kept.
    pub similar: Vec<String>,
    /// What the follower gets.
    pub answer: Answer,
    /// A path such as `开户/科创板`; empty: none.
    pub category: String,
    /// Free labels; may be empty.
    pub tags: Vec<String>,
    /// Only published entries are matched.
    pub state: State,
    /// Ids of the accounts that have this entry; empty: all.
    pub accounts: Vec<String>,
    /// Where it is offered; empty: everywhere.
    pub channels: Vec<Channel>,
    /// Unix seconds from which it applies; `None`: always did.
    pub valid_from: Option<i64>,
    /// Unix seconds from which it no longer applies; `None`: never ends.
    pub valid_until: Option<i64>,
    /// −100–100; breaks ties between equally good matches, higher first.
    pub priority: i32,
}

/// Where a question comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// A message to an official account.
    Wechat,
    /// A web page.
    H5,
    /// An app.
    App,
    /// A mini-program.
    Miniprogram,
    /// Another service, through the JSON API.
    Api,
}

impl Channel {
    /// Every channel with its name in files.
    pub const NAMES: [(Self, &'static str); 5] = [
        (Self::Wechat, "wechat"),
        (Self::H5, "h5"),
        (Self::App, "app"),
        (Self::Miniprogram, "miniprogram"),
        (Self::Api, "api"),
    ];

    /// The name used in files.
    pub fn as_str(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(channel, _)| *channel == self)
            .map_or("", |(_, name)| name)
    }

    /// `None` when no channel has that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(channel, _)| *channel)
    }
}

/// Whether an entry is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Being written.
    Draft,
    /// Offered.
    #[default]
    Published,
    /// Withdrawn, kept.
    Disabled,
}

impl State {
    /// The name used in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Disabled => "disabled",
        }
    }

    /// `None` when no state has that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Draft, Self::Published, Self::Disabled]
            .into_iter()
            .find(|state| state.as_str() == name)
    }
}

/// An answer, in the kinds WeChat can show.
///
/// In files `kind` names the variant and `answer` is the text for [`Answer::Text`], else a JSON object with the field
/// names of WeChat's customer-service messages (客服消息), as in `{"media_id":"…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "answer", rename_all = "lowercase")]
pub enum Answer {
    /// Text, links in `<a href>` allowed; `\n` starts a new line.
    Text(String),
    /// An uploaded picture.
    Image {
        /// From WeChat's media upload.
        media_id: String,
    },
    /// An uploaded sound.
    Voice {
        /// From WeChat's media upload.
        media_id: String,
    },
    /// An uploaded film.
    Video {
        /// From WeChat's media upload.
        media_id: String,
        #[serde(default)]
        #[expect(missing_docs, reason = "the field's name says it")]
        title: String,
        #[serde(default)]
        #[expect(missing_docs, reason = "the field's name says it")]
        description: String,
    },
    /// A song with its cover.
    Music {
        #[serde(default)]
        #[expect(missing_docs, reason = "the field's name says it")]
        title: String,
        #[serde(default)]
        #[expect(missing_docs, reason = "the field's name says it")]
        description: String,
        /// Address of the sound.
        #[serde(default)]
        musicurl: String,
        /// Address of the sound for Wi-Fi.
        #[serde(default)]
        hqmusicurl: String,
        /// The cover, from WeChat's media upload; required by WeChat.
        thumb_media_id: String,
    },
    /// Articles (图文). In answer to a message WeChat shows one.
    News {
        /// At least one.
        articles: Vec<Article>,
    },
    /// A mini-program's page; as a passive reply it becomes a text with a mini-program link.
    Miniprogram {
        /// The link's text.
        title: String,
        /// The mini-program's AppID.
        appid: String,
        /// The page inside the mini-program.
        pagepath: String,
        /// Where clients without mini-programs go; may be empty.
        #[serde(default)]
        url: String,
        /// The card's picture, for customer-service messages; may be empty.
        #[serde(default)]
        thumb_media_id: String,
    },
    /// Hands the follower to a human (多客服).
    Handoff {
        /// The agent, `name@wechatid`; `None`: anyone.
        #[serde(default)]
        kf_account: Option<String>,
    },
}

impl Answer {
    /// The name of its kind in files.
    pub fn kind(&self) -> &'static str {
        "text"
    }
}

/// One article of [`Answer::News`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Article {
    #[expect(missing_docs, reason = "the field's name says it")]
    pub title: String,
    #[serde(default)]
    #[expect(missing_docs, reason = "the field's name says it")]
    pub description: String,
    /// Where a tap leads.
    pub url: String,
    /// Address of the picture; may be empty.
    #[serde(default)]
    pub picurl: String,
}

/// What is wrong with an entry, and in which field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct EntryError {
    /// The field's name in files.
    pub field: &'static str,
    /// What is wrong and what is allowed.
    pub reason: String,
}

impl EntryError {
    /// An error on `field`.
    pub fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self {
            field,
            reason: reason.into(),
        }
    }
}
