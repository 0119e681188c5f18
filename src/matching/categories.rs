//! The entries of a category, without a look at the rest of the bank.
//!
//! [`Index::of_category`] is the entry point; what it walks is ordered when a segment is made.

use super::Index;
use super::index::Scope;
use crate::bank::Entry;
use crate::bank::category::is_within;
use std::sync::Arc;

impl Index {
    /// Of `scope.category`, and of each category below it, the admitted entries of the highest priority and then the lowest
    /// id: from each at least `most`, as far as there are, in no order. Empty without a category.
    pub fn of_category(&self, scope: Scope<'_>, most: usize) -> Vec<&Arc<Entry>> {
        let node = scope.category.unwrap_or_default();
        let mut found = Vec::new();
        for part in self.parts() {
            let segment = &part.segment;
            let order = segment.by_category();
            let category = |item: &u32| segment.item(*item).entry.category.as_str();
            // What begins alike stands together, but 开户费用 between 开户 and 开户/科创板.
            let mut at = order.partition_point(|item| category(item) < node);
            while let Some(name) = order.get(at).map(category).filter(|name| name.starts_with(node)) {
                let end = at + order[at..].partition_point(|item| category(item) == name);
                if !node.is_empty() && is_within(name, node) {
                    let living = order[at..end].iter().filter(|item| part.lives(**item));
                    let entries = living.map(|item| &segment.item(*item).entry);
                    found.extend(entries.filter(|entry| scope.admits(entry)).take(most));
                }
                at = end;
            }
        }
        found
    }
}
