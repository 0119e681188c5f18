//! Rules beside the bank: what is answered by key words, by what a follower does, or when nothing else is found.
//!
//! [`Rule`] is what an operator writes, one JSON object each, as [`mod@super::beside`] reads it. [`Rule::validate`] refuses what must
//! not be stored, naming the field; [`review`] says what a whole set of them can never do. Which rule a message meets is
//! `dialog`'s subject, except for the time: that is [`Window::holds`].

mod limits;
mod review;
mod window;

pub use super::beside as file;
pub use limits::{MAX_REGEX_PLACES, MAX_REGEXES, MAX_RULES, compile_regex};
pub use review::{Warning, review, unanswered_keys};
pub use window::{Hours, Window};

use super::{Answer, EntryError, EntryId, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// A rule's identity, of the form of an [`EntryId`] but never compared with one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleId(EntryId);

impl RuleId {
    /// # Errors
    /// As of [`EntryId::parse`].
    pub fn parse(text: &str) -> Result<Self, EntryError> {
        EntryId::parse(text).map(Self)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One rule.
///
/// Of several that apply, the most specific trigger answers (see [`Trigger`]), then the highest priority, then the
/// lowest id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Unique among the rules.
    pub id: RuleId,
    /// For editors; may be empty.
    #[serde(default)]
    pub name: String,
    /// What it answers.
    pub trigger: Trigger,
    /// What the follower gets; at least one.
    pub replies: Vec<RuleReply>,
    /// How many of them.
    #[serde(default)]
    pub pick: Pick,
    /// Ids of the accounts that have this rule; empty: all.
    #[serde(default)]
    pub accounts: Vec<String>,
    /// −100–100, higher first.
    #[serde(default)]
    pub priority: i32,
    /// Only published rules answer.
    #[serde(default)]
    pub state: State,
    /// When it applies; `None`: always.
    #[serde(default)]
    pub window: Option<Window>,
}

/// What a rule answers. In files one word, or an object with one field: `"default"`, `{"click":["TODAY"]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A message that meets any of these; at least one.
    Keywords(Vec<Keyword>),
    /// A new follower who came by one of these scenes of QR codes; empty: by any way, unless a rule names the scene.
    Subscribe(Vec<String>),
    /// A menu button with one of these keys; at least one.
    Click(Vec<String>),
    /// A follower scans a QR code with one of these scenes; at least one.
    Scan(Vec<String>),
    /// A question the bank does not know.
    Default,
    /// A message of one of these kinds; empty: of any, unless a rule names the kind.
    Unsupported(Vec<MessageKind>),
    /// A message that holds one of these words; empty: one of the dictionary `sensitive`.
    Sensitive(Vec<String>),
    /// A question the bank does not know, or one for a human, while nobody is there: while [`Rule::window`] holds.
    OffHours,
}

impl Trigger {
    /// The name used in files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Keywords(_) => "keywords",
            Self::Subscribe(_) => "subscribe",
            Self::Click(_) => "click",
            Self::Scan(_) => "scan",
            Self::Default => "default",
            Self::Unsupported(_) => "unsupported",
            Self::Sensitive(_) => "sensitive",
            Self::OffHours => "off_hours",
        }
    }

    /// Whether it is met by an event, to which WeChat shows more than one article.
    pub fn is_event(&self) -> bool {
        matches!(self, Self::Subscribe(_) | Self::Click(_) | Self::Scan(_))
    }
}

/// When a message meets a key word. In files `{"equals":"…"}`, `{"contains":"…"}` or `{"regex":"…"}`; they answer in the
/// order equals, regex, contains.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keyword {
    /// The message is the word (完全匹配), as questions are compared: width, case, signs and politeness do not matter.
    Equals(String),
    /// The expression is found in the message as it was written (正则), without the white space around it.
    Regex(String),
    /// The word stands in the message (包含); width, case, signs and spaces between Chinese characters do not matter.
    Contains(String),
}

impl Keyword {
    /// The word or the expression.
    pub fn text(&self) -> &str {
        match self {
            Self::Equals(text) | Self::Regex(text) | Self::Contains(text) => text,
        }
    }
}

/// Kinds of messages without words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// A picture.
    Image,
    /// Speech that WeChat has not turned into text.
    Voice,
    /// A film, short or not.
    Video,
    /// A place on the map.
    Location,
    /// A shared page.
    Link,
    /// A file.
    File,
    /// What WeChat cannot show us, such as stickers.
    Other,
}

impl MessageKind {
    /// The name used in files and templates.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Voice => "voice",
            Self::Video => "video",
            Self::Location => "location",
            Self::Link => "link",
            Self::File => "file",
            Self::Other => "other",
        }
    }
}

/// How many replies of a rule are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    /// All that one passive reply can carry: texts below one another, or the articles of several news, or else the
    /// first.
    #[default]
    All,
    /// One at random, the same whenever the same message is delivered.
    OneAtRandom,
}

/// One reply of a rule. In files a text, `{"kind":"image","answer":{…}}` as in the bank, or `{"entry":"id"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum RuleReply {
    /// In the rule itself.
    Own(Answer),
    /// That of an entry, as it is at that moment; left out while followers cannot see the entry.
    Entry(EntryId),
}

impl TryFrom<Value> for RuleReply {
    type Error = EntryError;

    fn try_from(value: Value) -> Result<Self, EntryError> {
        let mut fields = match value {
            Value::String(text) => return Ok(Self::Own(Answer::Text(text))),
            Value::Object(fields) => fields,
            other => {
                return Err(EntryError::new(
                    "replies",
                    format!("must hold texts and objects, not {other}"),
                ));
            }
        };
        let mut text = |name: &str| match fields.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(EntryError::new(
                "replies",
                format!("{name} must be a text, not {other}"),
            )),
        };
        let reply = match (text("entry")?, text("kind")?) {
            (Some(entry), None) => Self::Entry(EntryId::parse(&entry)?),
            (None, Some(kind)) => {
                let content = fields
                    .remove("answer")
                    .unwrap_or_else(|| Value::Object(serde_json::Map::new()));
                Self::Own(Answer::from_value(&kind, &content)?)
            }
            _ => return Err(EntryError::new("replies", "need either entry, or kind and answer")),
        };
        match fields.keys().next() {
            None => Ok(reply),
            Some(name) => Err(EntryError::new("replies", format!("unknown field {name:?}"))),
        }
    }
}

impl From<RuleReply> for Value {
    fn from(reply: RuleReply) -> Self {
        match reply {
            RuleReply::Own(Answer::Text(text)) => Self::from(text),
            RuleReply::Own(answer) => serde_json::to_value(answer).expect("an answer holds strings and lists only"),
            RuleReply::Entry(id) => serde_json::json!({ "entry": id }),
        }
    }
}

#[cfg(test)]
mod tests;
