//! Passive replies (被动回复): the XML written into the response to WeChat's POST.
//!
//! [`Reply::to_xml`] is the entry point. Encrypting the result is `envelope`'s work, and replies sent later through
//! the customer-service API are `wechat_api`'s. Follows 公众号开发文档 › 回复用户消息.

use serde::{Deserialize, Serialize};

/// What the follower gets, without the addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields carry the protocol's own names, in snake case")]
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
    pub pic_url: String,
    pub url: String,
}

use super::Head;

impl Reply {
    /// The XML answering the message with `head` at `create_time` (Unix seconds), or `None` when there is nothing to
    /// say ([`Reply::Acknowledge`], or a text that is empty once forbidden characters are gone).
    pub fn to_xml(&self, head: &Head, create_time: i64) -> Option<String> {
        let _ = (head, create_time);
        todo!()
    }
}
