//! One entry of the question bank: a question, its other phrasings, its answer, and where and when it applies.
//!
//! The types say what an entry is made of, and [`Answer`] how its kinds are written down. How long, how many and which
//! characters is `limits`' subject: importers and editors call [`Entry::validate`] before anything is stored, so
//! whoever reads an entry from the store need not check again.

use super::media;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

/// An entry's identity: 1–64 characters of `A-Z a-z 0-9 . _ -`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryId(Arc<str>);

impl EntryId {
    /// # Errors
    /// [`EntryError`] on `id` when the text is empty, longer than 64 bytes or has a character outside the set.
    pub fn parse(text: &str) -> Result<Self, EntryError> {
        if is_id(text) {
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

/// Whether `text` has the form of an id: of an entry, or of an account in the configuration.
pub(super) fn is_id(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
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
#[derive(Debug, Clone, PartialEq, Hash)]
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
    pub tags: Box<[String]>,
    /// Only published entries are matched.
    pub state: State,
    /// Ids of the accounts that have this entry; empty: all.
    pub accounts: Box<[String]>,
    /// Where it is offered; empty: everywhere.
    pub channels: Box<[Channel]>,
    /// Unix seconds from which it applies; `None`: always did.
    pub valid_from: Option<i64>,
    /// Unix seconds from which it no longer applies; `None`: never ends.
    pub valid_until: Option<i64>,
    /// −100–100; breaks ties between equally good matches, higher first.
    pub priority: i32,
}

/// A bank of a million keeps as many of them; in an `Arc`, one fills an allocation of 224 bytes.
const _: () = assert!(size_of::<Entry>() <= 208);

impl Entry {
    /// A published entry for everybody, everywhere, always, with nothing but a question and its answer.
    pub fn new(id: EntryId, question: String, answer: Answer) -> Self {
        Self {
            id,
            question,
            similar: Vec::new(),
            answer,
            category: String::new(),
            tags: Box::default(),
            state: State::default(),
            accounts: Box::default(),
            channels: Box::default(),
            valid_from: None,
            valid_until: None,
            priority: 0,
        }
    }

    /// The question and the similar questions, in that order.
    pub fn phrasings(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.question).chain(&self.similar).map(String::as_str)
    }

    /// Whether some follower could be offered both at some moment: both are published, and share an account, a channel
    /// and a moment of validity. An entry meets itself if it is published.
    pub fn meets(&self, other: &Self) -> bool {
        fn share<T: PartialEq>(left: &[T], right: &[T]) -> bool {
            left.is_empty() || right.is_empty() || left.iter().any(|item| right.contains(item))
        }
        let begins = self.valid_from.max(other.valid_from).unwrap_or(i64::MIN);
        let ends = |entry: &Self| entry.valid_until.unwrap_or(i64::MAX);
        [self, other].iter().all(|entry| entry.state == State::Published)
            && share(&self.accounts, &other.accounts)
            && share(&self.channels, &other.channels)
            && begins < ends(self).min(ends(other))
    }
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

    /// The state of that name, in English as in files or in Chinese; `None` when there is none.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "draft" | "草稿" => Some(Self::Draft),
            "published" | "已发布" => Some(Self::Published),
            "disabled" | "停用" => Some(Self::Disabled),
            _ => None,
        }
    }
}

/// An answer, in the kinds WeChat can show.
///
/// In files `kind` names the variant and `answer` is the text for [`Answer::Text`], else a JSON object with the field
/// names of WeChat's customer-service messages (客服消息), as in `{"media_id":"…"}`. Instead of an id from WeChat's upload a
/// file of ours may be named, as [`media`] says. What has many fields is boxed: a bank is mostly texts, in memory too.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    Video(Box<Video>),
    /// A song with its cover.
    Music(Box<Music>),
    /// Articles (图文). In answer to a message WeChat shows one.
    News {
        /// At least one.
        articles: Vec<Article>,
    },
    /// A mini-program's page; as a passive reply it becomes a text with a mini-program link.
    Miniprogram(Box<Miniprogram>),
    /// Hands the follower to a human (多客服).
    Handoff {
        /// The agent, `name@wechatid`; `None`: anyone.
        #[serde(default)]
        kf_account: Option<String>,
    },
}

impl Answer {
    /// The kinds' names in files.
    pub const KINDS: [&'static str; 8] = [
        "text",
        "image",
        "voice",
        "video",
        "music",
        "news",
        "miniprogram",
        "handoff",
    ];

    /// The kind's name in files.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Image { .. } => "image",
            Self::Voice { .. } => "voice",
            Self::Video(_) => "video",
            Self::Music(_) => "music",
            Self::News { .. } => "news",
            Self::Miniprogram(_) => "miniprogram",
            Self::Handoff { .. } => "handoff",
        }
    }

    /// Whether it goes out as a text in a passive reply.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Miniprogram(_))
    }

    /// What stands in `answer` beside the kind, as one text: the answer itself, or the JSON object.
    pub fn content(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            _ => Cow::Owned(self.content_value().to_string()),
        }
    }

    /// The answer of that kind with that [`Answer::content`].
    ///
    /// # Errors
    /// [`EntryError`] on `kind` when there is no such kind, on `answer` when the content does not fit it.
    pub fn parse(kind: &str, content: &str) -> Result<Self, EntryError> {
        Self::check_kind(kind)?;
        let value = match kind {
            "text" => Value::from(content),
            "handoff" if content.is_empty() => Value::Object(serde_json::Map::new()),
            _ => serde_json::from_str(content).map_err(|error| {
                EntryError::new(
                    "answer",
                    format!("of kind {kind} must be a JSON object: {}", without_line(&error)),
                )
            })?,
        };
        Self::from_value(kind, &value)
    }

    /// As [`Answer::parse`], the content being parsed already: a text, or the object.
    pub fn from_value(kind: &str, content: &Value) -> Result<Self, EntryError> {
        Self::check_kind(kind)?;
        let written_out = media::written_out(content)?;
        let content = written_out.as_ref().unwrap_or(content);
        let tagged = serde_json::json!({ "kind": kind, "answer": content });
        let answer: Self = serde_json::from_value(tagged)
            .map_err(|error| EntryError::new("answer", format!("of kind {kind}: {error}")))?;
        match unexpected_field(content, &answer.content_value()) {
            None => Ok(answer),
            Some(hint) => Err(EntryError::new("answer", format!("of kind {kind}: {hint}"))),
        }
    }

    fn check_kind(kind: &str) -> Result<(), EntryError> {
        if Self::KINDS.contains(&kind) {
            return Ok(());
        }
        let reason = format!("{kind:?} is not a kind{}", did_you_mean(kind, Self::KINDS));
        Err(EntryError::new("kind", reason))
    }

    /// The value of `answer` in files: a string for [`Answer::Text`], else an object with every field the kind has.
    fn content_value(&self) -> Value {
        let mut tagged = serde_json::to_value(self).expect("an answer holds strings and lists only");
        tagged["answer"].take()
    }
}

/// The complaint about the first field of `given` that `known`, of the same shape with every field, does not have.
fn unexpected_field(given: &Value, known: &Value) -> Option<String> {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => given.iter().find_map(|(name, value)| {
            if let Some(inner) = known.get(name) {
                return unexpected_field(value, inner);
            }
            let hint = did_you_mean(name, known.keys().map(String::as_str));
            Some(format!("unknown field {name:?}{hint}"))
        }),
        (Value::Array(given), Value::Array(known)) => given
            .iter()
            .zip(known)
            .find_map(|(given, known)| unexpected_field(given, known)),
        _ => None,
    }
}

/// `; did you mean "…"?` with the nearest of `known`, or the list of them when none is near.
pub(super) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let nearness = |candidate: &str| strsim::jaro_winkler(&name.to_lowercase(), candidate);
    let nearest = known.iter().max_by(|a, b| nearness(a).total_cmp(&nearness(b)));
    match nearest.filter(|candidate| nearness(candidate) > 0.75) {
        Some(candidate) => format!("; did you mean {candidate:?}?"),
        None => format!("; known are {}", known.join(", ")),
    }
}

/// A JSON error of a text that is one line of something: where in it, without the useless `line 1`.
pub(super) fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    format!("{} at character {}", &text[..end], error.column())
}

/// What [`Answer::Video`] says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Video {
    /// From WeChat's media upload.
    pub media_id: String,
    /// The cover, from WeChat's media upload; only for customer-service messages. Empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub thumb_media_id: String,
    #[serde(default)]
    #[expect(missing_docs, reason = "the field's name says it")]
    pub title: String,
    #[serde(default)]
    #[expect(missing_docs, reason = "the field's name says it")]
    pub description: String,
}

/// What [`Answer::Music`] says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Music {
    #[serde(default)]
    #[expect(missing_docs, reason = "the field's name says it")]
    pub title: String,
    #[serde(default)]
    #[expect(missing_docs, reason = "the field's name says it")]
    pub description: String,
    /// Address of the sound.
    #[serde(default)]
    pub musicurl: String,
    /// Address of the sound for Wi-Fi.
    #[serde(default)]
    pub hqmusicurl: String,
    /// The cover, from WeChat's media upload; required by WeChat.
    pub thumb_media_id: String,
}

/// What [`Answer::Miniprogram`] says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Miniprogram {
    /// The link's text.
    pub title: String,
    /// The mini-program's AppID.
    pub appid: String,
    /// The page inside the mini-program.
    pub pagepath: String,
    /// Where clients without mini-programs go; may be empty.
    #[serde(default)]
    pub url: String,
    /// The card's picture, for customer-service messages; may be empty.
    #[serde(default)]
    pub thumb_media_id: String,
}

/// One article of [`Answer::News`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
