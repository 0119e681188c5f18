//! What a set of rules can never do: nothing here is wrong enough to be refused.

use super::limits::holds_word;
use super::{Keyword, Rule, RuleId, RuleReply, Trigger};
use crate::bank::{Entry, EntryId, State};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// Something an editor did not mean, probably.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    #[expect(missing_docs, reason = "the type says it")]
    pub rule: RuleId,
    /// What, and with which other rule or entry.
    pub reason: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.reason)
    }
}

/// What of `rules` is lost on followers, in the order in which the rules answer.
///
/// `entries` are the bank's by id, `normalise` makes two words equal that a message cannot tell apart, `now` is in Unix
/// seconds. Rules that are not published are not looked at.
pub fn review(
    rules: &[Rule],
    entries: &BTreeMap<&EntryId, &Entry>,
    normalise: &dyn Fn(&str) -> String,
    now: i64,
) -> Vec<Warning> {
    let mut published: Vec<&Rule> = rules.iter().filter(|rule| rule.state == State::Published).collect();
    published.sort_by(|a, b| a.answers_before(b));
    let mut warnings = Vec::new();
    let mut claimed: HashMap<Claim, Vec<&Rule>> = HashMap::new();
    for rule in &published {
        let mut warn = |reason: String| {
            let rule = rule.id.clone();
            warnings.push(Warning { rule, reason });
        };
        rule.review_replies(entries, now).into_iter().for_each(&mut warn);
        rule.review_refusals(&published, entries)
            .into_iter()
            .for_each(&mut warn);
        if rule.window.as_ref().is_some_and(|window| window.is_over(now)) {
            warn("never answers again: the last day of its window has passed".to_owned());
        }
        let claims = rule.claims(normalise);
        let mut hidden = Vec::new();
        for (claim, shown) in &claims {
            let before = claim
                .met_with()
                .into_iter()
                .filter_map(|met| claimed.get(&met))
                .flatten();
            let before = before.filter(|before| before.covers(rule));
            if let Some(first) = before.min_by(|a, b| a.answers_before(b)) {
                hidden.push((shown, &first.id));
            }
        }
        if let Some((_, first)) = hidden.first()
            && hidden.len() == claims.len()
        {
            warn(format!("never answers: {first} answers before it"));
        } else {
            for (shown, first) in hidden {
                warn(format!("{shown} never answers: {first} answers before it"));
            }
        }
        for (claim, _) in claims {
            claimed.entry(claim).or_default().push(rule);
        }
    }
    warnings
}

/// Those of `keys`, of buttons that followers of `account` tap, that neither a rule nor an entry of the bank answers.
/// `normalise` makes two wordings of a question equal.
pub fn unanswered_keys<'k>(
    keys: impl IntoIterator<Item = &'k str>,
    account: &str,
    rules: &[Rule],
    entries: &[Entry],
    normalise: &dyn Fn(&str) -> String,
) -> Vec<&'k str> {
    let has_account = |accounts: &[String]| accounts.is_empty() || accounts.iter().any(|id| id == account);
    let by_rule = |key: &str| {
        let mut rules = rules.iter().filter(|rule| rule.state == State::Published);
        rules.any(|rule| {
            has_account(&rule.accounts)
                && matches!(&rule.trigger, Trigger::Click(keys) if keys.iter().any(|own| own == key))
        })
    };
    let by_entry = |key: &str| {
        let asked = normalise(key);
        let mut entries = entries.iter().filter(|entry| entry.state == State::Published);
        entries.any(|entry| {
            let mut phrasings = std::iter::once(&entry.question).chain(&entry.similar);
            has_account(&entry.accounts)
                && (entry.id.as_str() == key || phrasings.any(|phrasing| normalise(phrasing) == asked))
        })
    };
    let keys = keys.into_iter().filter(|key| !by_rule(key) && !by_entry(key));
    keys.collect()
}

/// What a rule answers, part by part, in the form in which two are the same.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Claim {
    Equals(String),
    Contains(String),
    Regex(String),
    Other(&'static str, String),
}

impl Claim {
    /// The claims that every message meets that meets this one: itself, and whatever stands in the word it contains.
    fn met_with(&self) -> Vec<Self> {
        let Self::Contains(word) = self else {
            return vec![self.clone()];
        };
        let bounds: Vec<usize> = word.char_indices().map(|(at, _)| at).chain([word.len()]).collect();
        let part = |(at, begin): (usize, &usize)| {
            let ends = bounds[at + 1..].iter();
            ends.map(|end| Self::Contains(word[*begin..*end].to_owned()))
                .collect::<Vec<_>>()
        };
        bounds.iter().enumerate().flat_map(part).collect()
    }
}

impl Rule {
    /// The order in which rules of one kind answer: by priority, then by id.
    pub fn answers_before(&self, other: &Self) -> std::cmp::Ordering {
        other.priority.cmp(&self.priority).then_with(|| self.id.cmp(&other.id))
    }

    /// Whether it applies whenever and wherever `other` does.
    fn covers(&self, other: &Self) -> bool {
        let everywhere = self.accounts.is_empty();
        let accounts = everywhere
            || (!other.accounts.is_empty() && other.accounts.iter().all(|account| self.accounts.contains(account)));
        accounts && (self.window.is_none() || self.window == other.window)
    }

    /// Its claims with the words that name them.
    fn claims(&self, normalise: &dyn Fn(&str) -> String) -> Vec<(Claim, String)> {
        let each = |items: &[String]| {
            let name = self.trigger.name();
            if items.is_empty() {
                return vec![(Claim::Other(name, String::new()), name.to_owned())];
            }
            let claim = |item: &String| (Claim::Other(name, item.clone()), format!("{name} {item:?}"));
            items.iter().map(claim).collect()
        };
        match &self.trigger {
            Trigger::Keywords(keywords) => {
                let claim = |keyword: &Keyword| {
                    let claim = match keyword {
                        Keyword::Equals(text) => Claim::Equals(normalise(text)),
                        Keyword::Contains(text) => Claim::Contains(normalise(text)),
                        Keyword::Regex(text) => Claim::Regex(text.clone()),
                    };
                    (claim, format!("keyword {:?}", keyword.text()))
                };
                keywords.iter().map(claim).collect()
            }
            Trigger::Subscribe(items) | Trigger::Click(items) | Trigger::Scan(items) => each(items),
            Trigger::Sensitive(words) if words.is_empty() => each(&[]),
            Trigger::Sensitive(words) => {
                // The words stay out of reports, which may end in a log.
                let claim = |(number, word): (u32, &String)| {
                    let claim = Claim::Other(self.trigger.name(), normalise(word));
                    (claim, format!("sensitive word {number}"))
                };
                (1..).zip(words).map(claim).collect()
            }
            Trigger::Unsupported(kinds) => {
                let names: Vec<String> = kinds.iter().map(|kind| kind.as_str().to_owned()).collect();
                each(&names)
            }
            Trigger::Default | Trigger::OffHours => each(&[]),
        }
    }

    fn review_replies(&self, entries: &BTreeMap<&EntryId, &Entry>, now: i64) -> Vec<String> {
        let mut reasons = Vec::new();
        let mut lost = 0;
        for reply in &self.replies {
            let RuleReply::Entry(id) = reply else { continue };
            let why = match entries.get(id) {
                None => "is not in the bank",
                Some(entry) if entry.state != State::Published => "is not published",
                Some(entry) if entry.valid_until.is_some_and(|until| until <= now) => "is no longer valid",
                Some(entry) if !self.shares_an_account(entry) => "belongs to other accounts",
                Some(_) => continue,
            };
            lost += 1;
            reasons.push(format!("its entry {id} {why}"));
        }
        if lost == self.replies.len() {
            reasons.push("never answers: none of its replies can be sent".to_owned());
        }
        let answer_of = |id: &EntryId| entries.get(id).map(|entry| entry.answer.clone());
        reasons.extend(self.cut_replies(answer_of));
        reasons
    }

    /// Replies of a refusal that hold what is refused, by this rule or another.
    fn review_refusals(&self, published: &[&Self], entries: &BTreeMap<&EntryId, &Entry>) -> Vec<String> {
        if !matches!(self.trigger, Trigger::Sensitive(_)) {
            return Vec::new();
        }
        let said = |reply: &RuleReply| match reply {
            RuleReply::Own(answer) => answer.content().into_owned(),
            RuleReply::Entry(id) => entries
                .get(id)
                .map_or(String::new(), |entry| entry.answer.content().into_owned()),
        };
        let refuses = |rule: &&&Self, text: &str| match &rule.trigger {
            Trigger::Sensitive(words) => words.iter().any(|word| holds_word(text, word)),
            _ => false,
        };
        let held = (1..).zip(&self.replies).filter_map(|(number, reply)| {
            let text = said(reply);
            let other = published.iter().find(|rule| refuses(rule, &text))?;
            Some(format!(
                "its reply {number} holds a sensitive word of {}: it is not sent",
                other.id
            ))
        });
        held.collect()
    }

    fn shares_an_account(&self, entry: &Entry) -> bool {
        self.accounts.is_empty()
            || entry.accounts.is_empty()
            || entry.accounts.iter().any(|account| self.accounts.contains(account))
    }
}
