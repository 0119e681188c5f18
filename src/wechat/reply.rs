//! Passive replies (被动回复): the XML written into the response to WeChat's POST.
//!
//! [`Reply::to_xml`] is the entry point. Encrypting the result is `envelope`'s work, and replies sent later through
//! the customer-service API are `wechat_api`'s. Follows 公众号开发文档 › 回复用户消息.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use unicode_segmentation::GraphemeCursor;

use super::xml::{permitted, push_cdata};
use super::{Head, Inbound};

/// What the follower gets, without the addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields carry the protocol's own names, in snake case")]
// In JSON they are those of customer-service messages and of the bank, whatever passive replies call them.
pub enum Reply {
    /// Nothing: `success` is answered, and WeChat stays silent.
    Acknowledge,
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
        /// For customer-service messages only; empty: none.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        thumb_media_id: String,
        title: String,
        description: String,
    },
    Music {
        title: String,
        description: String,
        #[serde(rename = "musicurl")]
        music_url: String,
        #[serde(rename = "hqmusicurl")]
        hq_music_url: String,
        thumb_media_id: String,
    },
    /// In answer to a message WeChat shows one article, to an event up to eight.
    News {
        articles: Vec<NewsArticle>,
    },
    /// Hands the follower to a human (`transfer_customer_service`).
    Transfer {
        kf_account: Option<String>,
    },
}

/// One article of [`Reply::News`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields carry the protocol's own names, in snake case")]
pub struct NewsArticle {
    pub title: String,
    pub description: String,
    #[serde(rename = "picurl")]
    pub pic_url: String,
    pub url: String,
}

/// The longest text in bytes of UTF-8. WeChat's page names no limit; its API refuses more with 45002.
pub const MAX_TEXT_BYTES: usize = 2048;
/// The most articles of one reply, which WeChat shows in answer to an event.
pub const MAX_ARTICLES: usize = 8;

impl Reply {
    /// This reply without the articles WeChat would not show in answer to `inbound`: it shows one in answer to a
    /// message and [`MAX_ARTICLES`] in answer to an event.
    #[must_use]
    pub fn fitting(mut self, inbound: &Inbound) -> Self {
        if let Self::News { articles } = &mut self {
            articles.truncate(if matches!(inbound, Inbound::Event { .. }) {
                MAX_ARTICLES
            } else {
                1
            });
        }
        self
    }

    /// The XML answering the message with `head` at `create_time` (Unix seconds), or `None` when there is nothing to
    /// say: [`Reply::Acknowledge`], a text that is blank once forbidden characters are gone, media without an id, news
    /// without an article. WeChat tells the follower that the account is out of service when it gets such a reply.
    ///
    /// Cutting texts and news to what WeChat takes ([`MAX_TEXT_BYTES`], [`MAX_ARTICLES`]) is the last defence here;
    /// whoever composes a reply should not rely on it.
    pub fn to_xml(&self, head: &Head, create_time: i64) -> Option<String> {
        let mut xml = String::with_capacity(512);
        xml.push_str("<xml>");
        push_cdata(&mut xml, "ToUserName", &head.openid);
        push_cdata(&mut xml, "FromUserName", &head.account);
        xml.extend(["<CreateTime>", &create_time.to_string(), "</CreateTime>"]);
        match self {
            Self::Acknowledge => return None,
            Self::Text { content } => {
                let content = permitted(Cow::Borrowed(content));
                if content.trim().is_empty() {
                    return None;
                }
                push_cdata(&mut xml, "MsgType", "text");
                push_cdata(&mut xml, "Content", cut(&content, MAX_TEXT_BYTES));
            }
            Self::Image { media_id } => push_media(&mut xml, "image", "Image", &[("MediaId", media_id)])?,
            Self::Voice { media_id } => push_media(&mut xml, "voice", "Voice", &[("MediaId", media_id)])?,
            Self::Video {
                media_id,
                title,
                description,
                ..
            } => {
                let fields = [("MediaId", media_id), ("Title", title), ("Description", description)];
                push_media(&mut xml, "video", "Video", &fields)?;
            }
            Self::Music {
                title,
                description,
                music_url,
                hq_music_url,
                thumb_media_id,
            } => {
                let fields = [
                    ("ThumbMediaId", thumb_media_id),
                    ("Title", title),
                    ("Description", description),
                    ("MusicUrl", music_url),
                    ("HQMusicUrl", hq_music_url),
                ];
                push_media(&mut xml, "music", "Music", &fields)?;
            }
            Self::News { articles } => push_news(&mut xml, articles)?,
            Self::Transfer { kf_account } => {
                push_cdata(&mut xml, "MsgType", "transfer_customer_service");
                if let Some(kf_account) = kf_account {
                    push_all(&mut xml, "TransInfo", &[("KfAccount", kf_account)]);
                }
            }
        }
        xml.push_str("</xml>");
        Some(xml)
    }
}

/// One media element; the first of `fields` is the id WeChat needs. `None` when it is empty.
fn push_media(xml: &mut String, msg_type: &str, element: &str, fields: &[(&str, &String)]) -> Option<()> {
    let (_, id) = fields.first()?;
    if id.trim().is_empty() {
        return None;
    }
    push_cdata(xml, "MsgType", msg_type);
    push_all(xml, element, fields);
    Some(())
}

/// `None` when there is no article.
fn push_news(xml: &mut String, articles: &[NewsArticle]) -> Option<()> {
    let articles = &articles[..articles.len().min(MAX_ARTICLES)];
    articles.first()?;
    push_cdata(xml, "MsgType", "news");
    xml.extend([
        "<ArticleCount>",
        &articles.len().to_string(),
        "</ArticleCount><Articles>",
    ]);
    for NewsArticle {
        title,
        description,
        pic_url,
        url,
    } in articles
    {
        push_all(
            xml,
            "item",
            &[
                ("Title", title),
                ("Description", description),
                ("PicUrl", pic_url),
                ("Url", url),
            ],
        );
    }
    xml.push_str("</Articles>");
    Some(())
}

fn push_all(xml: &mut String, element: &str, fields: &[(&str, &String)]) {
    xml.extend(["<", element, ">"]);
    for (name, text) in fields {
        push_cdata(xml, name, text);
    }
    xml.extend(["</", element, ">"]);
}

/// The longest beginning of `text` within `max_bytes` that ends between two visible characters; between two code points
/// if already the first visible character is longer.
fn cut(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes {
        return text;
    }
    let end = text.floor_char_boundary(max_bytes);
    let mut cursor = GraphemeCursor::new(end, text.len(), true);
    let boundary = match cursor.is_boundary(text, 0) {
        Ok(true) => end,
        _ => cursor
            .prev_boundary(text, 0)
            .ok()
            .flatten()
            .filter(|boundary| *boundary > 0)
            .unwrap_or(end),
    };
    &text[..boundary]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_segmentation::UnicodeSegmentation;

    use super::super::xml::{Fields, Value};
    use super::*;

    fn head() -> Head {
        Head {
            account: "gh_1".to_owned(),
            openid: "o1".to_owned(),
            create_time: 1,
        }
    }

    fn xml(reply: &Reply) -> String {
        reply.to_xml(&head(), 1_700_000_000).unwrap()
    }

    fn text(content: impl Into<String>) -> Reply {
        Reply::Text {
            content: content.into(),
        }
    }

    fn news(count: usize) -> Reply {
        let article = |n| NewsArticle {
            title: format!("t{n}"),
            description: String::new(),
            pic_url: String::new(),
            url: "https://e.com/?a=1&b=2".to_owned(),
        };
        Reply::News {
            articles: (0..count).map(article).collect(),
        }
    }

    #[test]
    fn a_text_goes_back_to_its_sender_in_cdata() {
        assert_eq!(
            xml(&text("a]]>b<c>&")),
            "<xml><ToUserName><![CDATA[o1]]></ToUserName><FromUserName><![CDATA[gh_1]]></FromUserName>\
             <CreateTime>1700000000</CreateTime><MsgType><![CDATA[text]]></MsgType>\
             <Content><![CDATA[a]]]]><![CDATA[>b<c>&]]></Content></xml>"
        );
    }

    #[test]
    fn what_would_show_the_fault_notice_is_not_sent() {
        let empty = String::new;
        for reply in [
            Reply::Acknowledge,
            text(""),
            text(" \n"),
            text("\0\u{b}"),
            Reply::Image { media_id: empty() },
            Reply::Voice { media_id: empty() },
            Reply::Video {
                media_id: empty(),
                thumb_media_id: empty(),
                title: "t".to_owned(),
                description: empty(),
            },
            news(0),
        ] {
            assert_eq!(reply.to_xml(&head(), 1), None, "{reply:?}");
        }
    }

    #[test]
    fn every_kind_has_the_documented_shape() {
        let own = str::to_owned;
        for (reply, shape) in [
            (Reply::Image { media_id: own("m") }, "image Image{MediaId}"),
            (Reply::Voice { media_id: own("m") }, "voice Voice{MediaId}"),
            (
                Reply::Video {
                    media_id: own("m"),
                    thumb_media_id: own("c"),
                    title: own("t"),
                    description: own("d"),
                },
                "video Video{MediaId Title Description}",
            ),
            (
                Reply::Music {
                    title: own("t"),
                    description: own("d"),
                    music_url: own("u"),
                    hq_music_url: own("h"),
                    thumb_media_id: own("m"),
                },
                "music Music{ThumbMediaId Title Description MusicUrl HQMusicUrl}",
            ),
            (news(1), "news ArticleCount Articles{item}"),
            (Reply::Transfer { kf_account: None }, "transfer_customer_service"),
            (
                Reply::Transfer {
                    kf_account: Some(own("k@w")),
                },
                "transfer_customer_service TransInfo{KfAccount}",
            ),
        ] {
            let xml = xml(&reply);
            let fields = Fields::parse(xml.as_bytes()).unwrap();
            let mut seen = fields.text("MsgType").unwrap().unwrap().to_owned();
            for field in fields.iter().skip(4) {
                seen.push(' ');
                seen.push_str(field.name);
                if let Value::Nested(inner) = &field.value {
                    let names: Vec<_> = inner.iter().map(|field| field.name).collect();
                    seen.extend(["{", &names.join(" "), "}"]);
                }
            }
            assert_eq!(seen, shape);
        }
    }

    #[test]
    fn news_are_cut_to_what_wechat_shows() {
        let message = Inbound::Other {
            head: head(),
            msg_id: String::new(),
            msg_type: String::new(),
        };
        let event = Inbound::Event {
            head: head(),
            event: super::super::Event::Unsubscribe,
        };
        for (reply, count) in [
            (news(9), 8),
            (news(9).fitting(&event), 8),
            (news(9).fitting(&message), 1),
        ] {
            let xml = xml(&reply);
            assert_eq!(xml.matches("<item>").count(), count);
            assert!(xml.contains(&format!("<ArticleCount>{count}</ArticleCount>")));
        }
    }

    #[test]
    fn a_text_is_cut_between_visible_characters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("测试", 5), "测");
        assert_eq!(cut("a👨‍👩‍👧‍👦", 20), "a");
        assert_eq!(cut("a🇨🇳🇨🇳", 10), "a🇨🇳");
        let endless = format!("e{}", "\u{301}".repeat(2000));
        assert_eq!(cut(&endless, MAX_TEXT_BYTES).len(), 2047);
    }

    proptest! {
        #[test]
        fn a_cut_text_is_the_longest_whole_beginning(text in "(\\PC|[a-z]|测|👍🏽|🇨🇳|👩‍👧|\u{301})*", max in 0..60usize) {
            let mut expected = text.grapheme_indices(true).map(|(start, grapheme)| start + grapheme.len());
            let whole = expected.by_ref().take_while(|end| *end <= max).last().unwrap_or(0);
            let cut = cut(&text, max);
            prop_assert!(text.starts_with(cut) && cut.len() <= max);
            prop_assert!(cut.len() == whole || whole == 0);
        }

        #[test]
        fn a_reply_reads_back_to_its_content(content in "(\\PC|\\]\\]>|[\\x00-\\x20])*") {
            if let Some(xml) = text(content.clone()).to_xml(&head(), 1) {
                let fields = Fields::parse(xml.as_bytes()).unwrap();
                let kept = permitted(Cow::Borrowed(&content)).replace("\r\n", "\n").replace('\r', "\n");
                prop_assert_eq!(fields.text("Content").unwrap(), Some(kept.trim()));
                prop_assert_eq!(fields.text("ToUserName").unwrap(), Some("o1"));
            } else {
                prop_assert!(permitted(Cow::Borrowed(&content)).trim().is_empty());
            }
        }
    }
}
