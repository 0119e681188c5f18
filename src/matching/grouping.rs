//! Grouping: which of many texts ask the same.
//!
//! [`group`] is the entry point. The texts asked most begin groups; the others are searched among those as questions are
//! among the bank's, and join what they find with the confidence of an answer.

use super::{Analyzer, Change, Index, Scope, Score};
use crate::bank::{Answer, Channel, Entry, EntryId};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// From this confidence on two texts ask the same.
const ALIKE: f64 = 0.8;

/// Texts that ask the same.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Group {
    /// The one that was asked most.
    pub text: String,
    /// How often all of them were asked.
    pub count: u64,
    /// The others, most often asked first.
    pub others: Vec<String>,
}

/// Groups texts, each with how often it was asked; the largest group first, then by text. What does not differ after
/// normalisation is one text. Takes time proportional to the number of texts, and not the square of it.
pub fn group(asked: &[(String, u64)], analyzer: &Arc<Analyzer>) -> Vec<Group> {
    let scope = Scope {
        account: "",
        channel: Channel::Api,
        now: 0,
        category: None,
    };
    // The first of every group so far, under its number: a text is compared with those, and not with all of its group.
    let mut firsts = Index::build([], analyzer.clone());
    let mut groups: Vec<Group> = Vec::new();
    for Text { written, count } in distinct(asked, analyzer) {
        let matches = firsts.search(&written, scope, 1);
        let alike = matches.hits.first().filter(|hit| hit.score >= Score::new(ALIKE));
        let joined = alike.and_then(|hit| hit.entry.id.as_str().parse::<usize>().ok());
        if let Some(group) = joined.and_then(|number| groups.get_mut(number)) {
            group.count += count;
            group.others.push(written);
        } else if let Ok(id) = EntryId::parse(&groups.len().to_string()) {
            let first = Entry::new(id, written.clone(), Answer::Text(String::new()));
            firsts = firsts.apply(&[Change::Put(Arc::new(first))]);
            groups.push(Group {
                text: written,
                count,
                others: Vec::new(),
            });
        }
    }
    groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.text.cmp(&b.text)));
    groups
}

struct Text {
    /// As it was written most.
    written: String,
    count: u64,
}

/// The texts by their normal form, most often asked first, then by it.
fn distinct(asked: &[(String, u64)], analyzer: &Analyzer) -> Vec<Text> {
    let mut texts: BTreeMap<String, (Text, u64)> = BTreeMap::new();
    for (written, count) in asked {
        let normalized = analyzer.normalize(written);
        if normalized.is_empty() {
            continue;
        }
        let none = || {
            (
                Text {
                    written: written.clone(),
                    count: 0,
                },
                0,
            )
        };
        let (text, most) = texts.entry(normalized).or_insert_with(none);
        text.count += count;
        if count > most {
            (text.written, *most) = (written.clone(), *count);
        }
    }
    let mut texts: Vec<Text> = texts.into_values().map(|(text, _)| text).collect();
    texts.sort_by_key(|text| Reverse(text.count));
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::Dictionaries;

    #[test]
    fn what_asks_the_same_is_one_group() {
        let analyzer = Arc::new(Analyzer::new(&Dictionaries::default()));
        let asked = [
            ("港股通怎么开通", 3),
            ("怎么开通港股通", 2),
            ("港股通 怎么开通？", 4),
            ("基金赎回几天到账", 5),
            ("？！", 9),
        ];
        let asked = asked.map(|(text, count)| (text.to_owned(), count));
        let found = group(&asked, &analyzer);
        let shown: Vec<(&str, u64, usize)> = found
            .iter()
            .map(|g| (g.text.as_str(), g.count, g.others.len()))
            .collect();
        assert_eq!(shown, [("港股通 怎么开通？", 9, 1), ("基金赎回几天到账", 5, 0)]);
        assert_eq!(group(&[], &analyzer), []);
    }
}
