//! `wxfaq import --from-wechat`: what the rules made in WeChat's console (自动回复) would become here.
//!
//! A rule's first key word becomes a question, the others its similar questions, its texts the answer. Keyword rules
//! proper are not in this version, so this is a dry run: it writes nothing.

use super::{Exit, Failure, account_named, client_of};
use crate::app::{self, Missing};
use crate::wechat_api::{AutoReplies, AutoReply, KeywordRule, MatchMode, ReplyMode};
use serde::Serialize;
use std::path::PathBuf;

/// In every entry that comes from a rule.
const CATEGORY: &str = "关键词回复";

/// What would become of the console's rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Conversion {
    /// As `import` reads them, a line each.
    entries: Vec<ConvertedRule>,
    /// What has no place in a bank of texts, a sentence each.
    left_out: Vec<String>,
}

/// An entry, in the names of the bank's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ConvertedRule {
    question: String,
    similar: Vec<String>,
    answer: String,
    category: &'static str,
}

/// Asks WeChat and prints what would be taken over.
pub async fn run(file: Option<PathBuf>, account: &str, is_json: bool) -> Result<Exit, Failure> {
    let config = app::configure(file, Missing::Leave)?.config;
    let account = account_named(&config, Some(account))?;
    let replies = client_of(&config, account).await?.auto_replies().await?;
    let conversion = convert(&replies);
    if is_json {
        say!("{}", serde_json::to_string_pretty(&conversion).unwrap_or_default());
        return Ok(Exit::Ok);
    }
    for entry in &conversion.entries {
        say!("entry     {}", serde_json::to_string(entry).unwrap_or_default());
    }
    for reason in &conversion.left_out {
        say!("left out  {reason}");
    }
    say!(
        "dry run, nothing written: {} entries, {} left out",
        conversion.entries.len(),
        conversion.left_out.len()
    );
    Ok(Exit::Ok)
}

fn convert(replies: &AutoReplies) -> Conversion {
    let mut conversion = Conversion {
        entries: Vec::new(),
        left_out: Vec::new(),
    };
    for (name, reply) in [("被关注回复", &replies.subscribe), ("收到消息回复", &replies.default)] {
        if let Some(AutoReply::Text(text)) = reply {
            conversion
                .left_out
                .push(format!("{name}: belongs into a reply template: {text:?}"));
        } else if reply.is_some() {
            conversion.left_out.push(format!("{name}: is no text"));
        }
    }
    replies
        .rules
        .iter()
        .for_each(|rule| convert_rule(rule, &mut conversion));
    conversion
}

fn convert_rule(rule: &KeywordRule, conversion: &mut Conversion) {
    let texts: Vec<&str> = rule
        .replies
        .iter()
        .filter_map(|reply| match reply {
            AutoReply::Text(text) => Some(text.as_str()),
            AutoReply::Media { .. } => None,
        })
        .collect();
    for reply in &rule.replies {
        if let AutoReply::Media { kind } = reply {
            conversion.left_out.push(format!(
                "{}: a reply of kind {kind}: its file is in the console",
                rule.name
            ));
        }
    }
    // Whole messages make better questions than parts of them.
    let (whole, part): (Vec<_>, Vec<_>) = rule
        .patterns
        .iter()
        .filter(|pattern| !pattern.text.trim().is_empty())
        .partition(|pattern| pattern.mode == MatchMode::Equal);
    let mut wordings = whole.iter().chain(&part).map(|pattern| pattern.text.clone());
    let answer = match rule.mode {
        ReplyMode::All => texts.join("\n\n"),
        ReplyMode::OneAtRandom => texts.first().map(|text| (*text).to_owned()).unwrap_or_default(),
    };
    let Some(question) = wordings.next().filter(|_| !answer.trim().is_empty()) else {
        conversion
            .left_out
            .push(format!("{}: has no key word, or no text", rule.name));
        return;
    };
    if rule.mode == ReplyMode::OneAtRandom && texts.len() > 1 {
        let others = texts.len() - 1;
        conversion
            .left_out
            .push(format!("{}: {others} of its texts, which took turns", rule.name));
    }
    conversion.entries.push(ConvertedRule {
        question,
        similar: wordings.collect(),
        answer,
        category: CATEGORY,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wechat_api::Pattern;

    fn rule(patterns: &[(&str, MatchMode)], replies: &[&str], mode: ReplyMode) -> KeywordRule {
        let pattern = |(text, mode): &(&str, MatchMode)| Pattern {
            text: (*text).to_owned(),
            mode: *mode,
        };
        let reply = |text: &&str| match text.strip_prefix("media:") {
            Some(kind) => AutoReply::Media { kind: kind.to_owned() },
            None => AutoReply::Text((*text).to_owned()),
        };
        KeywordRule {
            name: "规则".to_owned(),
            patterns: patterns.iter().map(pattern).collect(),
            mode,
            replies: replies.iter().map(reply).collect(),
        }
    }

    fn check(rule: KeywordRule, expected: Option<(&str, &[&str], &str)>, left_out: &[&str]) {
        let replies = AutoReplies {
            rules: vec![rule],
            ..AutoReplies::default()
        };
        let conversion = convert(&replies);
        let found = conversion.entries.first();
        assert_eq!(
            found.map(|entry| (entry.question.as_str(), entry.answer.as_str())),
            expected.map(|(q, _, a)| (q, a))
        );
        assert_eq!(
            found.map(|entry| entry.similar.clone()).unwrap_or_default(),
            expected.map_or(&[][..], |(_, s, _)| s)
        );
        assert_eq!(conversion.left_out, left_out);
    }

    #[test]
    fn texts_become_entries_and_the_rest_is_named() {
        use MatchMode::{Contain, Equal};
        check(
            rule(
                &[("几点", Contain), ("营业时间", Equal)],
                &["九点", "请早"],
                ReplyMode::All,
            ),
            Some(("营业时间", &["几点"], "九点\n\n请早")),
            &[],
        );
        check(
            rule(&[("海报", Contain)], &["media:img", "一", "二"], ReplyMode::OneAtRandom),
            Some(("海报", &[], "一")),
            &[
                "规则: a reply of kind img: its file is in the console",
                "规则: 1 of its texts, which took turns",
            ],
        );
        check(
            rule(&[(" ", Equal)], &["一"], ReplyMode::All),
            None,
            &["规则: has no key word, or no text"],
        );
        let media_only = rule(&[("图", Equal)], &["media:img"], ReplyMode::All);
        check(
            media_only,
            None,
            &[
                "规则: a reply of kind img: its file is in the console",
                "规则: has no key word, or no text",
            ],
        );
    }
}
