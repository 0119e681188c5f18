//! Rules as a file: JSONL, one rule a line; and what importing one would do to the rules that are there.
//!
//! The columns are the fields of [`Rule`]; `id`, `trigger` and `replies` are required. As for the bank, one row that
//! cannot be taken keeps the whole file out.

use super::{Keyword, MAX_REGEX_PLACES, MAX_REGEXES, MAX_RULES, Rule, RuleId, Trigger};
use crate::bank::format::{Place, RowError};
use crate::bank::import::Mode;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::{fmt, io};

/// What an import would do.
#[derive(Debug, Clone, PartialEq)]
pub struct RulePlan {
    /// One report a row, in the file's order.
    pub rows: Vec<RuleRow>,
    /// New and changed rules in the file's order; each id once. Empty unless the plan is applicable.
    pub put: Vec<Rule>,
    /// Rules to remove, by id. Empty unless the plan is applicable.
    pub remove: Vec<RuleId>,
    /// The rules afterwards, by id; as they are now unless the plan is applicable.
    pub outcome: Vec<Rule>,
}

/// What becomes of one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleRow {
    /// Of the file, from 1.
    pub line: u64,
    /// As far as it is known.
    pub id: Option<RuleId>,
    #[serde(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub verdict: RuleVerdict,
}

/// The kinds of [`RuleRow`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum RuleVerdict {
    /// A rule that is not there.
    New,
    /// A known rule, other than it is now.
    Changed,
    /// A known rule as it is now.
    Same,
    /// Cannot be understood, breaks a limit or has the id of an earlier row.
    Error {
        /// The field; `None`: the row as a whole.
        column: Option<&'static str>,
        /// What is wrong and what is allowed.
        reason: String,
    },
}

impl RulePlan {
    /// Whether every row can be taken.
    pub fn is_applicable(&self) -> bool {
        let is_error = |row: &RuleRow| matches!(row.verdict, RuleVerdict::Error { .. });
        !self.rows.iter().any(is_error)
    }
}

impl fmt::Display for RuleRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = Place::line(self.line);
        let id = self.id.as_ref().map_or("", RuleId::as_str);
        match &self.verdict {
            RuleVerdict::New => write!(f, "{place}: new, {id}"),
            RuleVerdict::Changed => write!(f, "{place}: changed, {id}"),
            RuleVerdict::Same => write!(f, "{place}: same, {id}"),
            RuleVerdict::Error { column, reason } => RowError::new(place, *column, reason.as_str()).fmt(f),
        }
    }
}

/// The rules of a file with their lines, in order; blank lines are left out. `text` has no byte order mark.
///
/// # Errors
/// A line that is no rule, or one that breaks a limit, is an error among them. Tidied and valid otherwise.
pub fn read(text: &str) -> impl Iterator<Item = (u64, Result<Rule, RowError>)> + '_ {
    let lines = (1..).zip(text.split('\n'));
    lines.filter(|(_, line)| !line.trim().is_empty()).map(|(number, line)| {
        let place = Place::line(number);
        let rule = serde_json::from_str::<Rule>(line).map_err(|error| {
            // The engine counts lines within this one.
            let text = error.to_string();
            let end = text.rfind(" at line ").unwrap_or(text.len());
            let column = error.column();
            RowError::new(place, None, format!("{} at character {column}", &text[..end]))
        });
        let checked = rule.and_then(|mut rule| {
            rule.tidy();
            let valid = rule.validate();
            valid
                .map_err(|error| RowError::new(place, Some(error.field), format!("{} ({})", error.reason, rule.id)))?;
            Ok(rule)
        });
        (number, checked)
    })
}

/// The rule as one line, without the line's end; with every field.
#[expect(
    clippy::missing_panics_doc,
    reason = "texts, numbers and lists can always be written as JSON"
)]
pub fn to_line(rule: &Rule) -> String {
    serde_json::to_string(rule).expect("a rule holds texts, numbers and lists only")
}

/// The inverse of [`to_line`]; a line from a store, which was valid when it was written.
///
/// # Errors
/// What does not fit, in one line.
pub fn from_line(line: &str) -> Result<Rule, String> {
    serde_json::from_str(line).map_err(|error| error.to_string())
}

/// Writes one line a rule.
pub fn write<'a>(rules: impl IntoIterator<Item = &'a Rule>, out: &mut dyn io::Write) -> io::Result<()> {
    for rule in rules {
        writeln!(out, "{}", to_line(rule))?;
    }
    Ok(())
}

/// Plans the import of `rows`, as [`read`] gives them, into the `existing` rules, whose ids are distinct.
pub fn plan(existing: &[Rule], rows: impl IntoIterator<Item = (u64, Result<Rule, RowError>)>, mode: Mode) -> RulePlan {
    let known: HashMap<&RuleId, &Rule> = existing.iter().map(|rule| (&rule.id, rule)).collect();
    let mut taken: BTreeMap<RuleId, u64> = BTreeMap::new();
    let mut plan = RulePlan {
        rows: Vec::new(),
        put: Vec::new(),
        remove: Vec::new(),
        outcome: existing.to_vec(),
    };
    let mut read = Vec::new();
    for (line, row) in rows {
        let error = |column, reason| RuleVerdict::Error { column, reason };
        let (id, verdict) = match row {
            Err(refused) => (None, error(refused.column, refused.reason)),
            Ok(rule) => {
                let id = rule.id.clone();
                let verdict = match (taken.insert(id.clone(), line), known.get(&id)) {
                    (Some(earlier), _) => error(Some("id"), format!("{id} also stands in row {earlier}")),
                    (None, None) => RuleVerdict::New,
                    (None, Some(known)) if **known == rule => RuleVerdict::Same,
                    (None, Some(_)) => RuleVerdict::Changed,
                };
                read.push(rule);
                (Some(id), verdict)
            }
        };
        plan.rows.push(RuleRow { line, id, verdict });
    }
    let mut outcome: BTreeMap<RuleId, Rule> = match mode {
        Mode::Append => existing.iter().map(|rule| (rule.id.clone(), rule.clone())).collect(),
        Mode::Replace => BTreeMap::new(),
    };
    outcome.extend(read.iter().map(|rule| (rule.id.clone(), rule.clone())));
    if let (Some(reason), Some(last)) = (too_many(outcome.values()), plan.rows.last_mut()) {
        last.verdict = RuleVerdict::Error { column: None, reason };
    }
    if plan.is_applicable() {
        plan.put = read
            .into_iter()
            .filter(|rule| known.get(&rule.id) != Some(&rule))
            .collect();
        plan.remove = existing
            .iter()
            .map(|rule| rule.id.clone())
            .filter(|id| !outcome.contains_key(id))
            .collect();
        plan.outcome = outcome.into_values().collect();
    }
    plan
}

/// Why there are too many rules altogether, if there are.
fn too_many<'a>(rules: impl Iterator<Item = &'a Rule> + Clone) -> Option<String> {
    let count = rules.clone().count();
    let regexes: usize = rules
        .clone()
        .map(|rule| match &rule.trigger {
            Trigger::Keywords(keywords) => {
                let regexes = keywords.iter().filter(|keyword| matches!(keyword, Keyword::Regex(_)));
                regexes.count()
            }
            _ => 0,
        })
        .sum();
    if count > MAX_RULES {
        return Some(format!(
            "with it there are {count} rules, at most {MAX_RULES} are allowed"
        ));
    }
    if regexes > MAX_REGEXES {
        return Some(format!(
            "with it there are {regexes} regexes, at most {MAX_REGEXES} are allowed"
        ));
    }
    let places = |rule: &Rule| rule.regex_places();
    let all = rules.clone().map(places).fold(0, u64::saturating_add);
    let dearest = rules.min_by_key(|rule| Reverse(places(rule)))?;
    (all > MAX_REGEX_PLACES).then(|| {
        let (id, most) = (&dearest.id, places(dearest));
        format!(
            "with it the regexes of all rules have {all} places, at most {MAX_REGEX_PLACES} are allowed; {id} has {most} of them"
        )
    })
}
