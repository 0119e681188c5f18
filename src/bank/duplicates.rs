//! Phrasings that two entries have in common: which of them would answer?
//!
//! [`duplicates`] finds them in a bank, [`brought_in`] in a change of it; [`merge`] is the way out. Two entries that no follower can be offered both of ([`Entry::meets`]) may say the same.

use super::{Entry, EntryId};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// A phrasing that stands in two entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    #[expect(missing_docs, reason = "the type says it")]
    pub entry: EntryId,
    /// The entry's field that holds it.
    pub field: &'static str,
    /// As the entry writes it.
    pub text: String,
    /// Who has it too.
    pub of: EntryId,
}

impl fmt::Display for Duplicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry, field, text, of } = self;
        write!(f, "{entry}, {field}: {text:?} also stands in {of}")
    }
}

/// What two phrasings have in common when they are the same. Of a text that normalises to nothing, the text itself:
/// 「？」 and 「！」 are not the same question.
pub(super) fn key(normalise: &dyn Fn(&str) -> String, text: &str) -> String {
    let key = normalise(text);
    if key.is_empty() { text.trim().to_owned() } else { key }
}

/// Who has which phrasing; `T` is what an entry is called by who asks.
pub(super) struct Phrasings<'a, T> {
    normalise: &'a dyn Fn(&str) -> String,
    owners: HashMap<String, Vec<(&'a Entry, T)>>,
}

/// A phrasing that another entry has already.
pub(super) struct Shared<T> {
    pub field: &'static str,
    pub text: String,
    pub of: T,
}

impl<'a, T: Clone> Phrasings<'a, T> {
    pub fn new(normalise: &'a dyn Fn(&str) -> String) -> Self {
        let owners = HashMap::new();
        Self { normalise, owners }
    }

    /// Takes an entry up, and returns the first of its phrasings that one before it has, if both can be met.
    pub fn claim(&mut self, entry: &'a Entry, name: &T) -> Option<Shared<T>> {
        let mut shared = None;
        let mut own = HashSet::new();
        for (position, phrasing) in entry.phrasings().enumerate() {
            let key = key(self.normalise, phrasing);
            if !own.insert(key.clone()) {
                continue;
            }
            let holders = self.owners.entry(key).or_default();
            if shared.is_none()
                && let Some((_, of)) = holders.iter().find(|(other, _)| other.meets(entry))
            {
                shared = Some(Shared {
                    field: if position == 0 { "question" } else { "similar" },
                    text: phrasing.to_owned(),
                    of: of.clone(),
                });
            }
            holders.push((entry, name.clone()));
        }
        shared
    }
}

/// The duplicates in a bank, in its order.
///
/// `normalise` gives the form in which two phrasings that mean the same by their letters are equal; `matching`'s.
pub fn duplicates(bank: &[Entry], normalise: &dyn Fn(&str) -> String) -> Vec<Duplicate> {
    claimed_twice(&mut Phrasings::new(normalise), bank.iter())
}

/// The duplicates that `changed` entries, new ones or others than the bank has under their ids, bring into the bank.
pub fn brought_in(bank: &[Entry], changed: &[Entry], normalise: &dyn Fn(&str) -> String) -> Vec<Duplicate> {
    let ids: HashSet<&EntryId> = changed.iter().map(|entry| &entry.id).collect();
    let mut phrasings = Phrasings::new(normalise);
    claimed_twice(&mut phrasings, bank.iter().filter(|entry| !ids.contains(&entry.id)));
    claimed_twice(&mut phrasings, changed.iter())
}

fn claimed_twice<'a>(
    phrasings: &mut Phrasings<'a, &'a EntryId>,
    entries: impl Iterator<Item = &'a Entry>,
) -> Vec<Duplicate> {
    let duplicate = |entry: &'a Entry| {
        let shared = phrasings.claim(entry, &&entry.id)?;
        Some(Duplicate {
            entry: entry.id.clone(),
            field: shared.field,
            text: shared.text,
            of: shared.of.clone(),
        })
    };
    entries.filter_map(duplicate).collect()
}

/// One entry for two: `kept` with the phrasings and tags of `other` that it has not. May break a limit.
pub fn merge(kept: &Entry, other: &Entry, normalise: &dyn Fn(&str) -> String) -> Entry {
    let mut merged = kept.clone();
    let mut known: HashSet<String> = kept.phrasings().map(|text| key(normalise, text)).collect();
    let new = other.phrasings().filter(|text| known.insert(key(normalise, text)));
    merged.similar.extend(new.map(str::to_owned));
    let tags = other.tags.iter().filter(|tag| !kept.tags.contains(tag));
    merged.tags = kept.tags.iter().chain(tags).cloned().collect();
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::{Answer, State};

    fn entry(id: &str, phrasings: &[&str]) -> Entry {
        let mut texts = phrasings.iter().map(|text| (*text).to_owned());
        let question = texts.next().unwrap();
        Entry {
            similar: texts.collect(),
            ..Entry::new(EntryId::parse(id).unwrap(), question, Answer::Text("A".to_owned()))
        }
    }

    fn normalise(text: &str) -> String {
        text.chars().filter(|c| c.is_alphanumeric()).collect()
    }

    fn told(found: &[Duplicate]) -> Vec<String> {
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_phrasing_of_two_entries_that_meet_is_named_once() {
        let bank = [
            entry("a", &["怎么开户", "开户？"]),
            entry("b", &["开户", "开户！"]),
            entry("c", &["？"]),
            entry("d", &["！"]),
        ];
        assert_eq!(
            told(&duplicates(&bank, &normalise)),
            ["b, question: \"开户\" also stands in a"]
        );
        let hidden = |change: fn(&mut Entry)| {
            let mut bank = bank.clone();
            change(&mut bank[0]);
            duplicates(&bank, &normalise).len()
        };
        assert_eq!(hidden(|entry| entry.state = State::Draft), 0);
        assert_eq!(hidden(|entry| entry.accounts = ["x".to_owned()].into()), 1);
    }

    #[test]
    fn a_change_answers_for_itself_alone() {
        let bank = [entry("a", &["一"]), entry("b", &["一"]), entry("c", &["三"])];
        assert_eq!(
            told(&brought_in(&bank, &[entry("c", &["四"])], &normalise)),
            [""; 0],
            "what is wrong already is another's"
        );
        assert_eq!(
            told(&brought_in(&bank, &[entry("b", &["二"])], &normalise)),
            [""; 0],
            "the way out is open"
        );
        assert_eq!(
            told(&brought_in(&bank, &[entry("c", &["三", "一？"])], &normalise)),
            ["c, similar: \"一？\" also stands in a"]
        );
        let both = [entry("n", &["五"]), entry("m", &["五"])];
        assert_eq!(
            told(&brought_in(&bank, &both, &normalise)),
            ["m, question: \"五\" also stands in n"]
        );
    }

    #[test]
    fn merging_keeps_every_phrasing_once() {
        let mut other = entry("b", &["开户！", "销户", "销户？"]);
        other.tags = ["x".to_owned(), "y".to_owned()].into();
        let mut kept = entry("a", &["开户"]);
        kept.tags = ["y".to_owned()].into();
        let merged = merge(&kept, &other, &normalise);
        assert_eq!((merged.id.as_str(), merged.question.as_str()), ("a", "开户"));
        assert_eq!(merged.similar, ["销户"]);
        assert_eq!(*merged.tags, ["y", "x"]);
    }
}
