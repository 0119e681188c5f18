//! Incoming messages and events: the XML inside a delivery, as an enum of what the bot acts on.
//!
//! [`parse`] is the entry point. Unknown kinds are [`Inbound::Other`], never an error; an error means that the bytes
//! are not a message at all. [`Inbound::dedup_id`] is what repeats of a message have in common. Follows 公众号开发文档 ›
//! 接收普通消息 and 接收事件推送.

mod repeats;

use super::xml::Fields;
pub use super::xml::ParseError;

/// The longest id, WeChat's or ours, in bytes. An openid has 28.
const MAX_ID_BYTES: usize = 128;

/// What every message and event carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The account's original id, `gh_…` (`ToUserName`).
    pub account: String,
    /// The follower: `FromUserName`, but `OpenID` where the platform itself sends ([`Event::Revoked`]).
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
    /// The follower withdrew authorisation (`user_authorization_revoke`), closed the WeChat account
    /// (`user_authorization_cancellation`) or changed the profile (`user_info_modified`).
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

/// Parses the clear XML of one message.
///
/// # Errors
/// The bytes are no document of the protocol, an address, time or kind is missing or malformed, or a field the bot acts
/// on comes twice.
pub fn parse(xml: &[u8]) -> Result<Inbound, ParseError> {
    Inbound::from_fields(&Fields::parse(xml)?)
}

impl Inbound {
    /// Reduces the fields of one message to what the bot acts on. Errors as those of [`parse`].
    pub fn from_fields(fields: &Fields<'_>) -> Result<Self, ParseError> {
        let mut head = Head {
            account: identity(fields, "ToUserName")?,
            openid: identity(fields, "FromUserName")?,
            create_time: create_time(fields)?,
        };
        let msg_type = fields.required("MsgType")?;
        let kind = msg_type.to_ascii_lowercase();
        if kind == "event" {
            let event = event(fields)?;
            if event == Event::Revoked
                && let Some(openid) = revoked_openid(fields)?
            {
                head.openid = openid;
            }
            return Ok(Self::Event { head, event });
        }
        let msg_id = match fields.text("MsgId")? {
            Some(msg_id) => msg_id.to_owned(),
            // Old pages of the documentation spell it so.
            None => text(fields, "MsgID")?,
        };
        match kind.as_str() {
            "text" => {
                let menu_id = fields
                    .text("bizmsgmenuid")?
                    .filter(|id| !id.is_empty())
                    .map(str::to_owned);
                Ok(Self::Text {
                    head,
                    msg_id,
                    content: text(fields, "Content")?,
                    menu_id,
                })
            }
            "voice" => {
                let recognition = fields
                    .text("Recognition")?
                    .filter(|words| !words.is_empty())
                    .map(str::to_owned);
                Ok(Self::Voice {
                    head,
                    msg_id,
                    media_id: text(fields, "MediaId")?,
                    recognition,
                })
            }
            kind => match media(fields, kind)? {
                Some(kind) => Ok(Self::Media { head, msg_id, kind }),
                None => Ok(Self::Other {
                    head,
                    msg_id,
                    msg_type: msg_type.to_owned(),
                }),
            },
        }
    }
}

/// The text of `name`, empty when absent.
fn text(fields: &Fields<'_>, name: &str) -> Result<String, ParseError> {
    Ok(fields.text(name)?.unwrap_or_default().to_owned())
}

/// An openid or an account's original id. WeChat's consist of letters, digits, `-` and `_`; `.`, `@` and `*` occur in
/// ids of other kinds and in documentation. Anything else could mean something where the id is written.
fn identity(fields: &Fields<'_>, name: &str) -> Result<String, ParseError> {
    fields.required(name)?;
    Ok(optional_identity(fields, name)?.unwrap_or_default())
}

/// As [`identity`]; `None` when the field is absent or empty.
fn optional_identity(fields: &Fields<'_>, name: &str) -> Result<Option<String>, ParseError> {
    let Some(id) = fields.text(name)?.filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    let permitted = |c: u8| c.is_ascii_alphanumeric() || b"-_.@*".contains(&c);
    if id.len() > MAX_ID_BYTES || !id.bytes().all(permitted) {
        return Err(ParseError::new(fields.offset(name), format!("{name} is no id")));
    }
    Ok(Some(id.to_owned()))
}

/// Whom a revocation is about: WeChat's pages spell the field both ways, and `FromUserName` is the platform's.
fn revoked_openid(fields: &Fields<'_>) -> Result<Option<String>, ParseError> {
    match optional_identity(fields, "OpenID")? {
        None => optional_identity(fields, "openid"),
        openid => Ok(openid),
    }
}

/// `CreateTime`, not before 1970.
fn create_time(fields: &Fields<'_>) -> Result<i64, ParseError> {
    let time = fields
        .required("CreateTime")?
        .parse()
        .ok()
        .filter(|seconds| *seconds >= 0);
    time.ok_or_else(|| ParseError::new(fields.offset("CreateTime"), "CreateTime is no Unix time"))
}

/// The message's media, or `None` for a kind that has none we know. `kind` in lowercase.
fn media(fields: &Fields<'_>, kind: &str) -> Result<Option<MediaKind>, ParseError> {
    Ok(Some(match kind {
        "image" => MediaKind::Image {
            pic_url: text(fields, "PicUrl")?,
            media_id: text(fields, "MediaId")?,
        },
        "video" => MediaKind::Video {
            media_id: text(fields, "MediaId")?,
            thumb_media_id: text(fields, "ThumbMediaId")?,
        },
        "shortvideo" => MediaKind::ShortVideo {
            media_id: text(fields, "MediaId")?,
            thumb_media_id: text(fields, "ThumbMediaId")?,
        },
        "location" => MediaKind::Location {
            latitude: degrees(fields, "Location_X")?,
            longitude: degrees(fields, "Location_Y")?,
            label: text(fields, "Label")?,
        },
        "link" => MediaKind::Link {
            title: text(fields, "Title")?,
            description: text(fields, "Description")?,
            url: text(fields, "Url")?,
        },
        "file" => MediaKind::File {
            title: text(fields, "Title")?,
        },
        _ => return Ok(None),
    }))
}

/// A finite number.
fn degrees(fields: &Fields<'_>, name: &str) -> Result<f64, ParseError> {
    let degrees = fields
        .required(name)?
        .parse()
        .ok()
        .filter(|degrees: &f64| degrees.is_finite());
    degrees.ok_or_else(|| ParseError::new(fields.offset(name), format!("{name} is no number")))
}

fn event(fields: &Fields<'_>) -> Result<Event, ParseError> {
    let event = fields.required("Event")?;
    let key = fields.text("EventKey")?.unwrap_or_default();
    Ok(match event.to_ascii_lowercase().as_str() {
        // Following after a payment has `last_trade_no_…` here, which is no scene.
        "subscribe" => {
            let scene = key.strip_prefix("qrscene_").filter(|scene| !scene.is_empty());
            Event::Subscribe {
                scene: scene.map(str::to_owned),
            }
        }
        "unsubscribe" => Event::Unsubscribe,
        "scan" => Event::Scan { scene: key.to_owned() },
        "click" => Event::Click { key: key.to_owned() },
        "user_authorization_revoke" | "user_authorization_cancellation" | "user_info_modified" => Event::Revoked,
        _ => Event::Other {
            event: event.to_owned(),
            key: key.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message of `fields` after the head.
    pub fn message(fields: &str) -> Result<Inbound, ParseError> {
        let head = "<ToUserName>gh_1</ToUserName><FromUserName>o1</FromUserName><CreateTime>1700000000</CreateTime>";
        parse(format!("<xml>{head}{fields}</xml>").as_bytes())
    }

    pub fn head() -> Head {
        Head {
            account: "gh_1".to_owned(),
            openid: "o1".to_owned(),
            create_time: 1_700_000_000,
        }
    }

    fn event_of(fields: &str) -> Event {
        match message(&format!("<MsgType>event</MsgType>{fields}")) {
            Ok(Inbound::Event { event, .. }) => event,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_text_keeps_its_id_content_and_tapped_line() {
        let fields = "<MsgType>text</MsgType><Content>满意</Content><MsgId>7</MsgId><bizmsgmenuid>101</bizmsgmenuid>";
        let text = Inbound::Text {
            head: head(),
            msg_id: "7".to_owned(),
            content: "满意".to_owned(),
            menu_id: Some("101".to_owned()),
        };
        assert_eq!(message(fields), Ok(text));
    }

    #[test]
    fn a_text_with_an_empty_tapped_line_was_typed() {
        let typed = message("<MsgType>TEXT</MsgType><Content/><MsgId>7</MsgId><bizmsgmenuid/>").unwrap();
        assert!(matches!(typed, Inbound::Text { menu_id: None, content, .. } if content.is_empty()));
    }

    #[test]
    fn an_empty_recognition_is_none() {
        let voice = |recognition: &str| {
            message(&format!(
                "<MsgType>voice</MsgType><MediaId>m</MediaId><MsgID>9</MsgID>{recognition}"
            ))
            .unwrap()
        };
        assert!(matches!(voice("<Recognition/>"), Inbound::Voice { recognition: None, msg_id, .. } if msg_id == "9"));
        let spoken = voice("<Recognition>怎么退款</Recognition>");
        assert!(matches!(spoken, Inbound::Voice { recognition: Some(words), .. } if words == "怎么退款"));
    }

    #[test]
    fn a_location_needs_numbers() {
        let location = |x: &str| {
            message(&format!(
                "<MsgType>location</MsgType><Location_X>{x}</Location_X><Location_Y>113.35</Location_Y>\
                 <Label>广州</Label>"
            ))
        };
        let kind = MediaKind::Location {
            latitude: 23.13,
            longitude: 113.35,
            label: "广州".to_owned(),
        };
        assert_eq!(
            location("23.13"),
            Ok(Inbound::Media {
                head: head(),
                msg_id: String::new(),
                kind
            })
        );
        assert!(location("NaN").is_err());
        assert!(location("").is_err());
    }

    #[test]
    fn unknown_kinds_and_events_are_kept_as_sent() {
        let other = Inbound::Other {
            head: head(),
            msg_id: "9".to_owned(),
            msg_type: "miniProgramPage".to_owned(),
        };
        assert_eq!(message("<MsgType>miniProgramPage</MsgType><MsgId>9</MsgId>"), Ok(other));
        let event = Event::Other {
            event: "brandNew".to_owned(),
            key: String::new(),
        };
        assert_eq!(event_of("<Event>brandNew</Event>"), event);
    }

    #[test]
    fn events_are_told_apart_without_case() {
        let cases = [
            ("<Event>Subscribe</Event><EventKey/>", Event::Subscribe { scene: None }),
            (
                "<Event>subscribe</Event><EventKey>qrscene_42</EventKey>",
                Event::Subscribe {
                    scene: Some("42".to_owned()),
                },
            ),
            (
                "<Event>subscribe</Event><EventKey>last_trade_no_4</EventKey>",
                Event::Subscribe { scene: None },
            ),
            ("<Event>unsubscribe</Event>", Event::Unsubscribe),
            (
                "<Event>scan</Event><EventKey>42</EventKey>",
                Event::Scan { scene: "42".to_owned() },
            ),
            (
                "<Event>CLICK</Event><EventKey>faq</EventKey>",
                Event::Click { key: "faq".to_owned() },
            ),
            ("<Event>user_authorization_revoke</Event>", Event::Revoked),
        ];
        for (fields, event) in cases {
            assert_eq!(event_of(fields), event, "{fields}");
        }
    }

    #[test]
    fn malformed_heads_are_refused() {
        for (fields, reason) in [
            (
                "<MsgType>text</MsgType><FromUserName>o2</FromUserName>",
                "second FromUserName",
            ),
            ("<MsgType>text</MsgType><MsgType>event</MsgType>", "second MsgType"),
            (
                "<MsgType>text</MsgType><Content>1</Content><Content>2</Content>",
                "second Content",
            ),
            ("<MsgType/>", "MsgType is missing or empty"),
            ("<MsgType>event</MsgType>", "Event is missing or empty"),
        ] {
            assert_eq!(message(fields).unwrap_err().reason, reason, "{fields}");
        }
        for (openid, time) in [
            ("", "1"),
            ("o 1", "1"),
            ("o\n1", "1"),
            ("o{1}", "1"),
            ("o1", "-1"),
            ("o1", "1.5"),
            ("o1", ""),
        ] {
            let xml = format!(
                "<xml><ToUserName>gh_1</ToUserName><FromUserName><![CDATA[{openid}]]></FromUserName>\
                 <CreateTime>{time}</CreateTime><MsgType>text</MsgType></xml>"
            );
            assert!(parse(xml.as_bytes()).is_err(), "{openid:?} {time}");
        }
    }

    #[test]
    fn a_revocation_is_about_the_follower_it_names_not_the_platform_that_sends_it() {
        let revoked = |event: &str, fields: &str| {
            message(&format!("<MsgType>event</MsgType><Event>{event}</Event>{fields}")).unwrap()
        };
        for event in [
            "user_authorization_revoke",
            "user_info_modified",
            "user_authorization_cancellation",
        ] {
            for (fields, openid) in [
                ("<OpenID>o2</OpenID><RevokeInfo>1</RevokeInfo>", "o2"),
                ("<openid>o2</openid>", "o2"),
                ("<OpenID/><openid>o2</openid>", "o2"),
                ("", "o1"),
            ] {
                assert_eq!(revoked(event, fields).head().openid, openid, "{event} {fields}");
            }
        }
        let id = |openid: &str| revoked("user_authorization_revoke", &format!("<OpenID>{openid}</OpenID>")).dedup_id();
        assert_ne!(id("o2"), id("o3"), "two followers in one second");
        assert!(!id("o2").contains("o2"), "ids reach the stores");
        assert!(message("<MsgType>event</MsgType><Event>user_info_modified</Event><OpenID>a b</OpenID>").is_err());
        let clicked = message("<MsgType>event</MsgType><Event>CLICK</Event><OpenID>o2</OpenID>").unwrap();
        assert_eq!(clicked.head().openid, "o1", "only the platform speaks of others");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(
            fields in prop::collection::vec(
                ("MsgType|Event|EventKey|Content|MsgId|Location_X", "\\PC{0,8}|event|text|location"),
                0..8,
            )
        ) {
            let mut xml = String::new();
            for (name, value) in fields {
                xml.extend(["<", &name, "><![CDATA[", &value, "]]></", &name, ">"]);
            }
            if let Ok(inbound) = message(&xml) {
                let id = inbound.dedup_id();
                prop_assert!(id.is_ascii() && id.len() <= MAX_ID_BYTES);
            }
        }
    }
}
