//! Incoming messages and events: the XML inside a delivery, as an enum of what the bot acts on.
//!
//! [`parse`] is the entry point. Unknown kinds are [`Inbound::Other`], never an error; an error means that the bytes
//! are not a message at all. Follows 公众号开发文档 › 接收普通消息 and 接收事件推送.

/// What every message and event carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The account's original id, `gh_…` (`ToUserName`).
    pub account: String,
    /// The follower (`FromUserName`).
    pub openid: String,
    /// Unix seconds (`CreateTime`).
    pub create_time: i64,
}

/// What a follower sent or did, reduced to what the bot acts on.
#[derive(Debug, Clone, PartialEq)]
pub enum Inbound {
    /// A typed text, or a tapped line of a list.
    Text {
        #[expect(missing_docs, reason = "the type says it")]
        head: Head,
        /// With the openid, recognises a repeated delivery.
        msg_id: String,
        /// As written; may be empty.
        content: String,
        /// The tapped line's `bizmsgmenuid`; `None` when the text was typed.
        menu_id: Option<String>,
    },
    /// Speech; `recognition` is WeChat's transcript when the account has speech recognition on.
    Voice {
        #[expect(missing_docs, reason = "the type says it")]
        head: Head,
        #[expect(missing_docs, reason = "as in `Text`")]
        msg_id: String,
        #[expect(missing_docs, reason = "the name says it")]
        media_id: String,
        /// `None` when absent or empty.
        recognition: Option<String>,
    },
    /// A message of a kind that has no words to match.
    Media {
        #[expect(missing_docs, reason = "the type says it")]
        head: Head,
        #[expect(missing_docs, reason = "as in `Text`")]
        msg_id: String,
        #[expect(missing_docs, reason = "the type says it")]
        kind: MediaKind,
    },
    /// Something happened, without a message.
    Event {
        #[expect(missing_docs, reason = "the type says it")]
        head: Head,
        #[expect(missing_docs, reason = "the type says it")]
        event: Event,
    },
    /// A kind the bot does not act on; kept so that it can be logged and acknowledged.
    Other {
        #[expect(missing_docs, reason = "the type says it")]
        head: Head,
        /// Empty when absent.
        msg_id: String,
        /// As sent.
        msg_type: String,
    },
}

/// The kinds of [`Inbound::Media`].
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "fields carry the protocol's own names, in snake case")]
pub enum MediaKind {
    Image {
        pic_url: String,
        media_id: String,
    },
    Video {
        media_id: String,
        thumb_media_id: String,
    },
    ShortVideo {
        media_id: String,
        thumb_media_id: String,
    },
    Location {
        latitude: f64,
        longitude: f64,
        label: String,
    },
    Link {
        title: String,
        description: String,
        url: String,
    },
    File {
        title: String,
    },
}

/// An event. Names are compared without case.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A new follower; `scene` is the QR code's, without `qrscene_`, when one was scanned.
    Subscribe {
        #[expect(missing_docs, reason = "said above")]
        scene: Option<String>,
    },
    /// The follower left: replies are impossible, their data must go.
    Unsubscribe,
    /// A follower scanned a QR code.
    Scan {
        #[expect(missing_docs, reason = "said above")]
        scene: String,
    },
    /// A menu button with a key.
    Click {
        #[expect(missing_docs, reason = "said above")]
        key: String,
    },
    /// The follower withdrew authorisation (`user_authorization_revoke`) or changed the profile (`user_info_modified`).
    Revoked,
    /// Anything else, to be acknowledged.
    Other {
        /// As sent.
        event: String,
        /// Empty when absent.
        key: String,
    },
}

impl Inbound {
    /// What every kind carries.
    pub fn head(&self) -> &Head {
        match self {
            Self::Text { head, .. }
            | Self::Voice { head, .. }
            | Self::Media { head, .. }
            | Self::Event { head, .. }
            | Self::Other { head, .. } => head,
        }
    }
}

/// Why correctly signed bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {offset}")]
pub struct ParseError {
    /// Where reading stopped.
    pub offset: u64,
    /// What is wrong.
    pub reason: String,
}

impl Inbound {
    /// Recognises repeats of one message, together with account and openid: the MsgId, or for an event its time, name
    /// and key.
    pub fn dedup_id(&self) -> String {
        todo!()
    }
}

/// Parses the clear XML of one message.
pub fn parse(xml: &[u8]) -> Result<Inbound, ParseError> {
    let _ = xml;
    todo!()
}
