//! What is allowed in an entry and yet will not come out as its editor means it.
//!
//! [`Entry::warnings`] is the entry point; importers and editors show them and save all the same.

use super::{Answer, Entry};
use serde::Serialize;

/// Longest text of one passive reply, in bytes; longer ones come in parts.
const ONE_REPLY_BYTES: usize = 2_048;

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryWarning {
    /// The field's name in files.
    pub field: &'static str,
    /// What will happen.
    pub reason: String,
}

impl Entry {
    /// What will not come out as it stands there; empty for most entries.
    pub fn warnings(&self) -> Vec<EntryWarning> {
        let reasons = match &self.answer {
            Answer::Text(text) => text_warnings(text),
            Answer::News { articles } if articles.len() > 1 => vec![format!(
                "has {} articles: WeChat shows the first in answer to a message, all of them only after a menu button or a QR code",
                articles.len()
            )],
            Answer::Music(music) if music.musicurl.is_empty() && music.hqmusicurl.is_empty() => {
                vec!["has neither musicurl nor hqmusicurl: there is nothing to hear".to_owned()]
            }
            _ => Vec::new(),
        };
        let warning = |reason| EntryWarning {
            field: "answer",
            reason,
        };
        reasons.into_iter().map(warning).collect()
    }
}

fn text_warnings(text: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    if text.len() > ONE_REPLY_BYTES {
        let bytes = text.len();
        warnings.push(format!(
            "has {bytes} bytes: one reply holds {ONE_REPLY_BYTES}, the rest comes after 更多"
        ));
    }
    let opened = text.matches("<a ").count();
    if opened != text.matches("</a>").count() {
        warnings.push("has a link that does not end with </a>: followers see the tag".to_owned());
    }
    for tag in ["<br", "<p>", "<b>", "<strong", "<img", "<div", "<span", "<font"] {
        if text.contains(tag) {
            warnings.push(format!("has {tag}…: WeChat knows links only, followers see the tag"));
        }
    }
    if text.contains("](http") || text.contains("**") {
        warnings.push("looks like Markdown, which WeChat shows as it stands".to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::EntryId;

    fn warnings(kind: &str, content: &str) -> String {
        let answer = Answer::parse(kind, content).unwrap();
        let entry = Entry::new(EntryId::parse("a").unwrap(), "怎么开户".to_owned(), answer);
        let reasons: Vec<String> = entry.warnings().into_iter().map(|warning| warning.reason).collect();
        reasons.join("; ")
    }

    #[test]
    fn what_will_not_come_out_as_written_is_named() {
        let article = r#"{"title":"t","url":"https://e.com"}"#;
        for (kind, content, told) in [
            (
                "news",
                format!(r#"{{"articles":[{article},{article}]}}"#),
                "has 2 articles",
            ),
            ("music", r#"{"thumb_media_id":"m"}"#.to_owned(), "nothing to hear"),
            ("text", "很".repeat(700), "has 2100 bytes"),
            (
                "text",
                "看<a href=\"https://e.com\">这里".to_owned(),
                "does not end with </a>",
            ),
            ("text", "一<br>二".to_owned(), "has <br…"),
            ("text", "**重要**".to_owned(), "Markdown"),
        ] {
            assert!(warnings(kind, &content).contains(told), "{content}");
        }
        for (kind, content) in [
            ("news", format!(r#"{{"articles":[{article}]}}"#)),
            ("text", "看<a href=\"https://e.com\">这里</a>，3 < 4".to_owned()),
            ("handoff", String::new()),
        ] {
            assert_eq!(warnings(kind, &content), "", "{content}");
        }
    }
}
