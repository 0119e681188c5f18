//! Conversation scripts: what followers say, and what they must get, as text that operators keep as regression tests.
//!
//! [`Script::parse`] reads one; [`play`] plays it on a [`Stage`]: a running daemon for `wxfaq simulate --script`, anything
//! else in tests. [`FORMAT`] describes the form.

use crate::wechat::Head;
use crate::wechat::platform;
use crate::wechat::xml::{Fields, Value};
use async_trait::async_trait;
use regex::Regex;
use serde::Serialize;
use std::fmt;

/// The form of a script, for `simulate --help`.
pub const FORMAT: &str = "\
A script plays whole conversations; each has a follower of its own.

  # comment
  == 开户                         a new conversation, with its name
  > 我想开户                      a text; `\\n` starts a new line
  > say tap 2                     a text that looks like a command
  > tap 2    > tap 没用           taps the second link of the last reply, or the one of that text
  > event subscribe [KEY]         also unsubscribe, CLICK, SCAN, …
  > image    > voice [TEXT]    > video    > location [PLACE]    > link [TITLE]    > file [TITLE]
  > again                         delivers the last message once more
  < contains 三个工作日           the reply to the message before: its text, links read as their texts,
  < lacks 三个工作日              or the titles, addresses and ids of other kinds
  < equals 好的
  < matches ^第[一二]             a regular expression
  < kind news                     text, image, voice, video, music, news, handoff
  < silent                        nothing is answered

The first expectation that fails ends its conversation, is shown with file and line, and makes the exit code 65.";

/// Conversations of one file.
#[derive(Debug, Clone)]
pub struct Script {
    #[expect(missing_docs, reason = "said above")]
    pub conversations: Vec<Conversation>,
}

/// One follower's conversation.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// As the script has it; empty: none.
    pub title: String,
    steps: Vec<(usize, Step)>,
}

#[derive(Debug, Clone)]
enum Step {
    Say(Said),
    Expect(Expectation),
}

/// What a follower does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Types; or taps a line with this `bizmsgmenuid`.
    Text(String, Option<String>),
    /// Taps the n-th link of the last reply, from 1, or the one with that text.
    Tap(String),
    /// An event and its key.
    Event(String, String),
    /// Any other message: its kind, and the words that go with it.
    Other(&'static str, String),
    /// The last message once more.
    Again,
}

#[derive(Debug, Clone)]
enum Expectation {
    Contains(String),
    Lacks(String),
    Equals(String),
    Matches(Regex),
    Kind(String),
    Silent,
}

/// A line that is no script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ScriptError {
    /// From 1.
    pub line: usize,
    /// What is wrong, and what is accepted.
    pub reason: String,
}

/// Kinds of message beside text and event.
const KINDS: [&str; 6] = ["image", "voice", "video", "location", "link", "file"];

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// The first line that is neither empty, a comment, a title, a message nor an expectation after one.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let mut conversations: Vec<Conversation> = Vec::new();
        for (line, content) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let fail = |reason: String| ScriptError { line, reason };
            let content = content.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            if let Some(title) = content.strip_prefix("==") {
                let title = title.trim().to_owned();
                conversations.push(Conversation {
                    title,
                    steps: Vec::new(),
                });
                continue;
            }
            let step = match (content.strip_prefix('>'), content.strip_prefix('<')) {
                (Some(said), _) => Step::Say(Said::parse(said.trim())),
                (_, Some(expected)) => Step::Expect(Expectation::parse(expected.trim()).map_err(fail)?),
                _ => return Err(fail("begins with none of > < == #".to_owned())),
            };
            if conversations.is_empty() {
                let title = String::new();
                conversations.push(Conversation {
                    title,
                    steps: Vec::new(),
                });
            }
            let Some(Conversation { steps, .. }) = conversations.last_mut() else {
                continue;
            };
            if steps.is_empty() && !matches!(step, Step::Say(Said::Text(..) | Said::Event(..) | Said::Other(..))) {
                return Err(fail("a conversation begins with a message of its own".to_owned()));
            }
            steps.push((line, step));
        }
        Ok(Self { conversations })
    }
}

impl Said {
    fn parse(text: &str) -> Self {
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        match word {
            "say" => Self::Text(unescaped(rest), None),
            "tap" if !rest.is_empty() => Self::Tap(rest.to_owned()),
            "again" if rest.is_empty() => Self::Again,
            "event" if !rest.is_empty() => {
                let (event, key) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                Self::Event(event.to_owned(), key.trim().to_owned())
            }
            _ => match KINDS.into_iter().find(|kind| *kind == word) {
                Some(kind) => Self::Other(kind, rest.to_owned()),
                None => Self::Text(unescaped(text), None),
            },
        }
    }

    /// A message of one of the other kinds; `None`: there is no such kind.
    pub fn of_kind(kind: &str, words: &str) -> Option<Self> {
        let kind = KINDS.into_iter().find(|known| *known == kind)?;
        Some(Self::Other(kind, words.to_owned()))
    }

    /// The names of the other kinds.
    pub fn kinds() -> String {
        KINDS.join(", ")
    }

    /// The clear XML as WeChat sends it; `msg_id` is unique among the follower's messages. Empty for what names another
    /// message, as a tap and a repetition do.
    pub fn xml(&self, head: &Head, msg_id: &str) -> String {
        match self {
            Self::Text(text, None) => platform::text_xml(head, msg_id, text),
            Self::Text(text, Some(id)) => {
                let fields = [("Content", text.as_str()), ("bizmsgmenuid", id), ("MsgId", msg_id)];
                platform::message_xml(head, "text", &fields)
            }
            Self::Event(event, key) => platform::event_xml(head, event, key),
            Self::Other(kind, words) => {
                let media = ("MediaId", "simulated");
                let mut fields = match *kind {
                    "image" => vec![("PicUrl", "https://example.com/a.jpg"), media],
                    "voice" => vec![media, ("Format", "amr"), ("Recognition", words)],
                    "video" => vec![media, ("ThumbMediaId", "simulated")],
                    "location" => vec![
                        ("Location_X", "31.23"),
                        ("Location_Y", "121.47"),
                        ("Scale", "16"),
                        ("Label", words),
                    ],
                    "link" => vec![
                        ("Title", words.as_str()),
                        ("Description", ""),
                        ("Url", "https://example.com/"),
                    ],
                    _ => vec![("Title", words.as_str())],
                };
                fields.push(("MsgId", msg_id));
                platform::message_xml(head, kind, &fields)
            }
            Self::Tap(_) | Self::Again => String::new(),
        }
    }
}

impl Expectation {
    fn parse(text: &str) -> Result<Self, String> {
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        Ok(match word {
            "silent" if rest.is_empty() => Self::Silent,
            _ if rest.is_empty() => {
                return Err(format!(
                    "{word:?} is none of contains, lacks, equals, matches, kind with a value, or silent"
                ));
            }
            "contains" => Self::Contains(unescaped(rest)),
            "lacks" => Self::Lacks(unescaped(rest)),
            "equals" => Self::Equals(unescaped(rest)),
            "matches" => Self::Matches(Regex::new(rest).map_err(|error| error.to_string())?),
            "kind" => Self::Kind(rest.to_owned()),
            other => {
                return Err(format!(
                    "{other:?} is none of contains, lacks, equals, matches, kind, silent"
                ));
            }
        })
    }

    fn holds(&self, reply: Option<&Shown>) -> bool {
        let (Some(reply), false) = (reply, matches!(self, Self::Silent)) else {
            return reply.is_none() && matches!(self, Self::Silent | Self::Lacks(_));
        };
        match self {
            Self::Contains(text) => reply.text.contains(text),
            Self::Lacks(text) => !reply.text.contains(text),
            Self::Equals(text) => reply.text == *text,
            Self::Matches(regex) => regex.is_match(&reply.text),
            Self::Kind(kind) => reply.kind == *kind,
            Self::Silent => false,
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contains(text) => write!(f, "contains {text}"),
            Self::Lacks(text) => write!(f, "lacks {text}"),
            Self::Equals(text) => write!(f, "equals {text}"),
            Self::Matches(regex) => write!(f, "matches {regex}"),
            Self::Kind(kind) => write!(f, "kind {kind}"),
            Self::Silent => f.write_str("silent"),
        }
    }
}

fn unescaped(text: &str) -> String {
    text.replace("\\n", "\n")
}

/// What a follower sees of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// `text`, `news`, `handoff`, …
    pub kind: String,
    /// The text with links as their texts; of other kinds what they hold, a line each.
    pub text: String,
    /// Texts and ids of the links that can be tapped, in order.
    links: Vec<(String, String)>,
}

impl Shown {
    /// Of a reply's clear XML.
    ///
    /// # Errors
    /// The XML is no document of the protocol.
    pub fn of(xml: &str) -> Result<Self, String> {
        let fields = Fields::parse(xml.as_bytes()).map_err(|error| error.to_string())?;
        let text = |name| fields.text(name).ok().flatten().unwrap_or_default();
        let kind = match text("MsgType") {
            "transfer_customer_service" => "handoff",
            kind => kind,
        };
        let (shown, links) = if kind == "text" {
            visible(text("Content"))
        } else {
            let mut leaves = Vec::new();
            // After addresses, time and kind.
            fields
                .iter()
                .skip(4)
                .for_each(|field| push_leaves(&field.value, &mut leaves));
            (leaves.join("\n"), Vec::new())
        };
        Ok(Self {
            kind: kind.to_owned(),
            text: shown,
            links,
        })
    }

    /// The text and the `bizmsgmenuid` of the link `which`: a number from 1, or its text.
    fn link(&self, which: &str) -> Option<&(String, String)> {
        match which.parse::<usize>() {
            Ok(n) => self.links.get(n.checked_sub(1)?),
            Err(_) => self.links.iter().find(|(text, _)| text == which),
        }
    }
}

fn push_leaves(value: &Value<'_>, leaves: &mut Vec<String>) {
    match value {
        Value::Nested(inner) => inner.iter().for_each(|field| push_leaves(&field.value, leaves)),
        Value::Text(text) => leaves.push(text.to_string()),
    }
}

/// A text with its links as their texts, and those that can be tapped: text and `bizmsgmenuid`.
fn visible(content: &str) -> (String, Vec<(String, String)>) {
    let (mut shown, mut links) = (String::new(), Vec::new());
    let mut rest = content;
    while let Some((before, link)) = rest.split_once("<a ") {
        let parts = link
            .split_once('>')
            .and_then(|(head, tail)| Some((head, tail.split_once("</a>")?)));
        let Some((head, (text, after))) = parts else { break };
        shown.push_str(before);
        shown.push_str(text);
        let id = head.split_once("msgmenuid=").and_then(|(_, id)| id.split('"').next());
        if let Some(id) = id {
            links.push((text.to_owned(), id.to_owned()));
        }
        rest = after;
    }
    shown.push_str(rest);
    (shown, links)
}

/// Where conversations are played.
#[async_trait]
pub trait Stage: Send {
    /// Delivers a message's clear XML and returns the reply's; `None`: WeChat was only told `success`.
    ///
    /// # Errors
    /// What kept the message from being answered, for the operator.
    async fn deliver(&mut self, xml: &str) -> Result<Option<String>, String>;
}

/// The followers of a playing.
#[derive(Debug, Clone)]
pub struct Cast {
    /// The account's original id.
    pub account: String,
    /// Begins every openid; other than that of an earlier playing, whose followers may have sessions.
    pub openid: String,
    /// Unix seconds.
    pub now: i64,
}

/// How a script went.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Played {
    /// Conversations played.
    pub conversations: usize,
    /// Messages delivered.
    pub messages: usize,
    /// What went otherwise than expected, at most one of each conversation.
    pub mismatches: Vec<Mismatch>,
}

/// An expectation that failed.
#[derive(Debug, Clone, Serialize)]
pub struct Mismatch {
    /// In the script, from 1.
    pub line: usize,
    /// The conversation.
    pub title: String,
    /// What the script says.
    pub expected: String,
    /// What came.
    pub got: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\n  expected  {}\n  got       {}",
            self.title, self.expected, self.got
        )
    }
}

/// Plays every conversation, one after another.
pub async fn play(script: &Script, cast: &Cast, stage: &mut dyn Stage) -> Played {
    let mut played = Played::default();
    for (n, conversation) in script.conversations.iter().enumerate() {
        let head = Head {
            account: cast.account.clone(),
            openid: format!("{}{n}", cast.openid),
            create_time: cast.now,
        };
        played.conversations += 1;
        let mut follower = FollowerPlayed {
            head,
            last: String::new(),
            reply: None,
        };
        for (line, step) in &conversation.steps {
            let outcome = match step {
                Step::Say(said) => {
                    played.messages += 1;
                    follower.say(said, played.messages, stage).await
                }
                Step::Expect(expected) => follower.check(expected),
            };
            if let Err((expected, got)) = outcome {
                played.mismatches.push(Mismatch {
                    line: *line,
                    title: conversation.title.clone(),
                    expected,
                    got,
                });
                break;
            }
        }
    }
    played
}

/// One follower in the middle of a conversation.
struct FollowerPlayed {
    head: Head,
    /// The XML of the last message.
    last: String,
    /// What came.
    reply: Option<Shown>,
}

impl FollowerPlayed {
    /// # Errors
    /// What was expected and what came instead.
    async fn say(&mut self, said: &Said, n: usize, stage: &mut dyn Stage) -> Result<(), (String, String)> {
        // Events have no MsgId; their time tells them apart.
        self.head.create_time += 1;
        let msg_id = format!("{}{n:04}", self.head.create_time);
        self.last = match said {
            Said::Again => std::mem::take(&mut self.last),
            Said::Tap(which) => {
                let link = self.reply.as_ref().and_then(|reply| reply.link(which));
                let (text, id) = link.ok_or_else(|| (format!("a link to tap: {which}"), self.got()))?;
                Said::Text(text.clone(), Some(id.clone())).xml(&self.head, &msg_id)
            }
            other => other.xml(&self.head, &msg_id),
        };
        let answered = |error| ("an answer".to_owned(), error);
        let reply = stage.deliver(&self.last).await.map_err(answered)?;
        self.reply = reply.as_deref().map(Shown::of).transpose().map_err(answered)?;
        Ok(())
    }

    fn check(&self, expected: &Expectation) -> Result<(), (String, String)> {
        if expected.holds(self.reply.as_ref()) {
            Ok(())
        } else {
            Err((expected.to_string(), self.got()))
        }
    }

    fn got(&self) -> String {
        match &self.reply {
            None => "silence".to_owned(),
            Some(reply) => format!("{}: {}", reply.kind, reply.text.replace('\n', "\n            ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        Script::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_script_is_refused_with_its_line() {
        assert_eq!(refusal("> 你好\n你好"), "line 2: begins with none of > < == #");
        assert_eq!(
            refusal("\n< silent"),
            "line 2: a conversation begins with a message of its own"
        );
        assert_eq!(
            refusal("== a\n> again"),
            "line 2: a conversation begins with a message of its own"
        );
        assert!(refusal("> a\n< has b").contains("\"has\" is none of contains, lacks"));
        assert!(refusal("> a\n< contains").contains("with a value"));
        assert!(refusal("> a\n< matches (").starts_with("line 2: regex parse error"));
    }

    #[test]
    fn commands_are_told_from_texts() {
        let text = |text: &str| Said::Text(text.to_owned(), None);
        for (line, said) in [
            ("你好 世界", text("你好 世界")),
            ("tap 2", Said::Tap("2".to_owned())),
            ("tap", text("tap")),
            ("say tap 2", text("tap 2")),
            ("一行\\n两行", text("一行\n两行")),
            ("event CLICK a b", Said::Event("CLICK".to_owned(), "a b".to_owned())),
            ("image", Said::Other("image", String::new())),
            ("voice 怎么开户", Said::Other("voice", "怎么开户".to_owned())),
            ("images", text("images")),
            ("again", Said::Again),
        ] {
            assert_eq!(Said::parse(line), said, "{line}");
        }
    }

    #[test]
    fn a_reply_is_read_as_its_follower_sees_it() {
        let head = Head {
            account: "a".to_owned(),
            openid: "o".to_owned(),
            create_time: 1,
        };
        let content = "看<a href=\"https://e.com\">这里</a>或<a href=\"weixin://bizmsgmenu?msgmenucontent=x&msgmenuid=more\">更多</a><a";
        let shown = Shown::of(&platform::text_xml(&head, "1", content)).unwrap();
        assert_eq!((shown.kind.as_str(), shown.text.as_str()), ("text", "看这里或更多<a"));
        assert_eq!(shown.link("1"), shown.link("更多"));
        assert_eq!(shown.link("1").unwrap().1, "more");
        assert_eq!(
            (shown.link("0"), shown.link("2"), shown.link("这里")),
            (None, None, None)
        );
    }

    /// Answers every text with itself and is silent to events.
    struct Echo;

    #[async_trait]
    impl Stage for Echo {
        async fn deliver(&mut self, xml: &str) -> Result<Option<String>, String> {
            Ok(xml.contains("<Content>").then(|| xml.to_owned()))
        }
    }

    #[tokio::test]
    async fn the_first_failure_ends_its_conversation_and_shows_both_sides() {
        let script = "== eins\n> 好的\n< contains 好\n< equals 好的\n< lacks 坏\n< matches ^好.$\n< kind text\n> event VIEW\n< silent\n\
                      == zwei\n> 好的\n< contains 坏\n< contains 更坏\n== drei\n> 好\n> tap 1\n== vier\n> event VIEW\n< contains 好";
        let cast = Cast {
            account: "gh".to_owned(),
            openid: "o".to_owned(),
            now: 1,
        };
        let played = play(&Script::parse(script).unwrap(), &cast, &mut Echo).await;
        assert_eq!((played.conversations, played.mismatches.len()), (4, 3));
        let shown: Vec<String> = played
            .mismatches
            .iter()
            .map(|it| format!("{}: {it}", it.line))
            .collect();
        assert_eq!(shown[0], "12: zwei\n  expected  contains 坏\n  got       text: 好的");
        assert!(
            shown[1].starts_with("16: drei\n  expected  a link to tap: 1"),
            "{}",
            shown[1]
        );
        assert!(shown[2].ends_with("got       silence"), "{}", shown[2]);
    }
}
