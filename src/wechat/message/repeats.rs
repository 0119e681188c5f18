//! What repeats of one message have in common: [`Inbound::dedup_id`].
//!
//! A short, plain text, for stores make keys of it. It does not say whether the content is the same: that is the
//! fingerprint of `envelope`. Follows 公众号开发文档 › 接收普通消息 and 接收事件推送, on 排重.

use super::super::signature::hex;
use super::{Event, Inbound, MAX_ID_BYTES, MediaKind};
use sha2::{Digest, Sha256};

impl Inbound {
    /// Recognises repeats of one message, together with account and openid: the MsgId, or for an event its time, name
    /// and key, or for a message without MsgId (WeChat's debugging tools send such) its time and content.
    ///
    /// At most 128 of the characters `A-Z a-z 0-9 . _ : -`; what is longer or holds others is hashed.
    pub fn dedup_id(&self) -> String {
        let time = self.head().create_time;
        match self {
            Self::Event { event, .. } => {
                let (name, key) = event.name_and_key();
                let openid = match event {
                    // One sender, the platform, tells of several followers in one second.
                    Event::Revoked => format!(":{}", hashed(&self.head().openid)),
                    _ => String::new(),
                };
                bounded(format!("event:{time}:{name}:{key}{openid}"))
            }
            Self::Text { msg_id, .. }
            | Self::Voice { msg_id, .. }
            | Self::Media { msg_id, .. }
            | Self::Other { msg_id, .. }
                if !msg_id.is_empty() =>
            {
                bounded(format!("message:{msg_id}"))
            }
            message => format!("message:{time}:{}", hashed(&message.content())),
        }
    }

    /// What distinguishes two messages without MsgId of one second.
    fn content(&self) -> String {
        match self {
            Self::Text { content, .. } => content.clone(),
            Self::Voice { media_id, .. } => media_id.clone(),
            Self::Media { kind, .. } => match kind {
                MediaKind::Image { media_id, .. }
                | MediaKind::Video { media_id, .. }
                | MediaKind::ShortVideo { media_id, .. } => media_id.clone(),
                MediaKind::Location {
                    latitude, longitude, ..
                } => format!("{latitude},{longitude}"),
                MediaKind::Link { url, .. } => url.clone(),
                MediaKind::File { title } => title.clone(),
            },
            Self::Event { .. } => String::new(),
            Self::Other { msg_type, .. } => msg_type.clone(),
        }
    }
}

impl Event {
    /// The name in lowercase, and the key; both as far as they distinguish events.
    fn name_and_key(&self) -> (String, &str) {
        match self {
            Self::Subscribe { scene } => ("subscribe".to_owned(), scene.as_deref().unwrap_or_default()),
            Self::Unsubscribe => ("unsubscribe".to_owned(), ""),
            Self::Scan { scene } => ("scan".to_owned(), scene),
            Self::Click { key } => ("click".to_owned(), key),
            Self::Revoked => ("revoked".to_owned(), ""),
            Self::Other { event, key } => (event.to_ascii_lowercase(), key),
        }
    }
}

/// `id` itself where it is short and plain, else a hash of it.
fn bounded(id: String) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"._:-".contains(&c);
    if id.len() <= MAX_ID_BYTES && id.bytes().all(plain) {
        id
    } else {
        format!("hash:{}", hashed(&id))
    }
}

/// 128 bits of SHA-256, in hexadecimal: enough that no two ids meet by chance.
fn hashed(text: &str) -> String {
    hex(&Sha256::digest(text)[..16])
}

#[cfg(test)]
mod tests {
    use super::super::tests::{head, message};
    use super::*;

    #[test]
    fn a_message_is_recognised_by_its_id_alone() {
        let id = |fields: &str| message(&format!("<MsgType>text</MsgType>{fields}")).unwrap().dedup_id();
        assert_eq!(id("<MsgId>7</MsgId><Content>a</Content>"), "message:7");
        assert_ne!(id("<Content>a</Content>"), id("<Content>b</Content>"));
        assert_eq!(id("<Content>a</Content>"), id("<Content>a</Content><Idx>1</Idx>"));
    }

    #[test]
    fn an_event_is_recognised_by_time_name_and_key() {
        let id = |fields: &str| {
            message(&format!("<MsgType>event</MsgType>{fields}"))
                .unwrap()
                .dedup_id()
        };
        assert_eq!(
            id("<Event>CLICK</Event><EventKey>faq</EventKey>"),
            "event:1700000000:click:faq"
        );
        assert_eq!(id("<Event>LOCATION</Event>"), "event:1700000000:location:");
        assert_ne!(
            id("<Event>CLICK</Event><EventKey>支付</EventKey>"),
            id("<Event>CLICK</Event><EventKey>退款</EventKey>")
        );
    }

    #[test]
    fn long_and_odd_ids_are_hashed_to_plain_ones() {
        for key in ["k".repeat(200), "支付".to_owned(), "a b".to_owned(), "{tag}".to_owned()] {
            let event = Event::Click { key };
            let id = Inbound::Event { head: head(), event }.dedup_id();
            assert!(id.starts_with("hash:") && id.len() == 37, "{id}");
        }
    }
}
