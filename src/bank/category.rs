//! Categories (分类): a tree by their names, which are paths with `/`, and what an operator sets for its nodes.
//!
//! Any node may be named by an entry; a [`Category`] is needed only for a title, an order or a default reply. [`tree`] puts
//! both together, [`review`] says which settings do nothing. What a default reply stands for is `dialog`'s subject.

use super::beside::{Amount, Beside};
use super::history::Subject;
use super::limits::{check_category, check_characters, check_length, check_text, tidy_path, tidy_text};
use super::{Entry, EntryError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// Most categories with settings.
pub const MAX_CATEGORIES: usize = 1_000;
/// Longest title, in characters.
pub const MAX_TITLE_CHARS: usize = 64;
/// Longest default reply, in characters: a list still fits below it.
pub const MAX_REPLY_CHARS: usize = 300;
/// Orders lie between minus this and this.
pub const MAX_ORDER: i32 = 1_000;

/// What is set for one node of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Category {
    /// The node, as entries name it: `开户/科创板`.
    pub category: String,
    /// For people, in place of the path's last part; may be empty.
    #[serde(default)]
    pub title: String,
    /// Among its siblings, lower first; then by name.
    #[serde(default)]
    pub order: i32,
    /// What a follower reads who asks about it and gets no answer; empty: that of the nearest category above.
    #[serde(default)]
    pub reply: String,
}

impl Category {
    /// Without settings.
    pub fn new(category: impl Into<String>) -> Self {
        Self {
            category: category.into(),
            title: String::new(),
            order: 0,
            reply: String::new(),
        }
    }

    /// The title, else the path's last part.
    pub fn name(&self) -> &str {
        match self.title.as_str() {
            "" => last_part(&self.category),
            title => title,
        }
    }
}

impl Beside for Category {
    type Id = String;
    const SUBJECT: Subject = Subject::Category;
    const ID: &'static str = "category";

    fn id(&self) -> &String {
        &self.category
    }

    fn tidy(&mut self) {
        tidy_path(&mut self.category);
        [&mut self.title, &mut self.reply].into_iter().for_each(tidy_text);
    }

    fn validate(&self) -> Result<(), EntryError> {
        check_category(&self.category)?;
        if !self.title.is_empty() {
            check_text("title", "", &self.title, MAX_TITLE_CHARS)?;
        }
        if self.order.unsigned_abs() > MAX_ORDER.unsigned_abs() {
            let reason = format!("{} is not between -{MAX_ORDER} and {MAX_ORDER}", self.order);
            return Err(EntryError::new("order", reason));
        }
        check_length("reply", "", &self.reply, MAX_REPLY_CHARS)?;
        check_characters("reply", "", &self.reply, &['\n', '\t'])
    }

    fn amounts<'a>(all: impl Iterator<Item = &'a Self> + Clone) -> Vec<Amount> {
        vec![Amount {
            count: all.count() as u64,
            most: MAX_CATEGORIES as u64,
            what: "categories",
            hint: String::new(),
        }]
    }
}

/// Whether `category` is `node` or stands below it. The empty node is the root, under which all stand.
pub fn is_within(category: &str, node: &str) -> bool {
    let rest = category.strip_prefix(node);
    node.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The category and those above it, nearest first; empty for the root.
pub fn upwards(category: &str) -> impl Iterator<Item = &str> {
    let nearest = (!category.is_empty()).then_some(category);
    std::iter::successors(nearest, |category| Some(category.rsplit_once('/')?.0))
}

/// The lowest category that both stand in; empty: none but the root.
pub fn common<'a>(one: &'a str, other: &str) -> &'a str {
    upwards(one).find(|node| is_within(other, node)).unwrap_or_default()
}

/// What stands after the path's last slash.
pub fn last_part(category: &str) -> &str {
    category.rsplit('/').next().unwrap_or_default()
}

/// One category with all below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// The path.
    pub category: String,
    /// Its title, else its last part.
    pub name: String,
    /// Entries in it, those below it left out.
    pub count: usize,
    /// Entries in it and below it.
    pub total: usize,
    /// The categories right below it, by order and name.
    pub children: Vec<Node>,
}

/// The categories named by `counts`, of the entries in each, and by `settings`, with all above them. The empty one is
/// left out.
pub fn tree<'a>(settings: impl IntoIterator<Item = &'a Category>, counts: &BTreeMap<&str, usize>) -> Vec<Node> {
    let settings: HashMap<&str, &Category> = settings.into_iter().map(|set| (set.category.as_str(), set)).collect();
    let named = counts.keys().chain(settings.keys());
    let mut children: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for category in named.flat_map(|named| upwards(named)) {
        let above = category.rsplit_once('/').map_or("", |(above, _)| above);
        let siblings = children.entry(above).or_default();
        if !siblings.contains(&category) {
            siblings.push(category);
        }
    }
    below("", &children, &settings, counts)
}

fn below(
    node: &str,
    children: &BTreeMap<&str, Vec<&str>>,
    settings: &HashMap<&str, &Category>,
    counts: &BTreeMap<&str, usize>,
) -> Vec<Node> {
    let mut siblings = children.get(node).cloned().unwrap_or_default();
    siblings.sort_by_key(|category| (settings.get(category).map_or(0, |set| set.order), *category));
    let node = |category: &str| {
        let children = below(category, children, settings, counts);
        let count = counts.get(category).copied().unwrap_or_default();
        let name = settings.get(category).map_or(last_part(category), |set| set.name());
        Node {
            category: category.to_owned(),
            name: name.to_owned(),
            count,
            total: count + children.iter().map(|child| child.total).sum::<usize>(),
            children,
        }
    };
    siblings.into_iter().map(node).collect()
}

/// Entries by category.
pub fn counts<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> BTreeMap<&'e str, usize> {
    let mut counts = BTreeMap::new();
    for entry in entries {
        *counts.entry(entry.category.as_str()).or_default() += 1;
    }
    counts
}

/// Something an editor did not mean, probably.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    #[expect(missing_docs, reason = "the name says it")]
    pub category: String,
    #[expect(missing_docs, reason = "the name says it")]
    pub reason: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.category, self.reason)
    }
}

/// Which of the `categories` do nothing: no entry of the bank, counted by category, stands there.
pub fn review(categories: &[Category], counts: &BTreeMap<&str, usize>) -> Vec<Warning> {
    let is_empty = |set: &&Category| !counts.keys().any(|named| is_within(named, &set.category));
    let warning = |set: &Category| Warning {
        category: set.category.clone(),
        reason: "no entry stands in it or below it".to_owned(),
    };
    categories.iter().filter(is_empty).map(warning).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(category: &str) -> Category {
        Category::new(category)
    }

    #[test]
    fn a_category_holds_what_is_below_it_and_nothing_that_only_begins_so() {
        let within = |category, node| is_within(category, node);
        assert!(within("开户", "开户") && within("开户/科创板", "开户") && within("开户", ""));
        assert!(!within("开户费用", "开户") && !within("开户", "开户/科创板"));
        assert_eq!(upwards("a/b/c").collect::<Vec<_>>(), ["a/b/c", "a/b", "a"]);
        assert_eq!(upwards("").count(), 0);
        for (one, other, expected) in [
            ("a/b", "a/b", "a/b"),
            ("a/b/c", "a/b/d", "a/b"),
            ("a", "a/b", "a"),
            ("a/b", "ab", ""),
            ("", "a", ""),
        ] {
            assert_eq!(common(one, other), expected, "{one} {other}");
        }
    }

    fn walk(nodes: &[Node], shown: &mut Vec<String>) {
        for node in nodes {
            shown.push(format!("{} {} {} {}", node.category, node.name, node.count, node.total));
            walk(&node.children, shown);
        }
    }

    #[test]
    fn the_tree_has_every_node_that_is_named_or_above_one_in_the_order_that_was_set() {
        let settings = [
            Category {
                order: -1,
                ..set("基金")
            },
            Category {
                title: "科创板开户".to_owned(),
                ..set("开户/科创板")
            },
            set("空"),
        ];
        let counts = BTreeMap::from([("", 9), ("基金", 2), ("开户/科创板/新股", 3), ("开户/创业板", 1)]);
        let mut shown = Vec::new();
        walk(&tree(&settings, &counts), &mut shown);
        assert_eq!(
            shown,
            [
                "基金 基金 2 2",
                "开户 开户 0 4",
                "开户/创业板 创业板 1 1",
                "开户/科创板 科创板开户 0 3",
                "开户/科创板/新股 新股 3 3",
                "空 空 0 0",
            ]
        );
        let warned = review(&settings, &counts);
        assert_eq!(warned.len(), 1);
        assert_eq!(warned[0].to_string(), "空: no entry stands in it or below it");
    }

    #[test]
    fn what_breaks_a_limit_is_named_with_its_field() {
        let valid = || set("开户/科创板");
        let check = |edit: &dyn Fn(&mut Category), expected: Option<&str>| {
            let mut edited = valid();
            edit(&mut edited);
            edited.tidy();
            let shown = format!("{edited:?}");
            assert_eq!(edited.validate().err().map(|error| error.field), expected, "{shown}");
        };
        let chars = |count| "字".repeat(count);
        check(&|_| {}, None);
        check(
            &|set| set.reply = "第一行\n第二行 <a href=\"https://example.com\">看</a>".to_owned(),
            None,
        );
        check(&|set| set.reply = chars(MAX_REPLY_CHARS), None);
        check(&|set| set.reply = chars(MAX_REPLY_CHARS + 1), Some("reply"));
        check(&|set| set.reply = "\u{7}".to_owned(), Some("reply"));
        check(&|set| set.title = chars(MAX_TITLE_CHARS + 1), Some("title"));
        check(&|set| set.order = MAX_ORDER + 1, Some("order"));
        check(&|set| set.order = i32::MIN, Some("order"));
        check(&|set| set.category = " ".to_owned(), Some("category"));
        check(&|set| set.category = "a//b".to_owned(), Some("category"));
        check(&|set| set.category = chars(65), Some("category"));
    }
}
