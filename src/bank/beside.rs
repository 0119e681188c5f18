//! What is kept beside the entries, as a file: JSONL, one thing a line; and what importing one would do to what is there.
//!
//! Rules and the settings of categories are [`Beside`]. [`read`] and [`write()`] turn them into lines and back, [`plan`]
//! compares a file with what is there. As for the bank, one row that cannot be taken keeps the whole file out.

use super::EntryError;
use super::format::{Place, RowError};
use super::history::Subject;
use super::import::Mode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::{fmt, io};

/// What stands beside the entries: named, one line of JSON each, in limits of its own.
pub trait Beside: Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Names one of them.
    type Id: Clone + fmt::Debug + fmt::Display + Ord + Hash + Send + Sync;
    /// In the history.
    const SUBJECT: Subject;
    /// The field that holds the id.
    const ID: &'static str;

    #[expect(missing_docs, reason = "the type says it")]
    fn id(&self) -> &Self::Id;

    /// Takes away what no editor means to write.
    fn tidy(&mut self);

    /// # Errors
    /// The first field that breaks a limit, with the limit.
    fn validate(&self) -> Result<(), EntryError>;

    /// What of all of them together is limited, always the same in the same order, the one to be told first before the others.
    fn amounts<'a>(all: impl Iterator<Item = &'a Self> + Clone) -> Vec<Amount>;
}

/// How much there is of something that is limited over all things of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amount {
    /// Of them there are.
    pub count: u64,
    /// Of them there may be.
    pub most: u64,
    /// Many of them: `regexes`.
    pub what: &'static str,
    /// What helps to find them; may be empty.
    pub hint: String,
}

impl Amount {
    fn excess(&self) -> u64 {
        self.count.saturating_sub(self.most)
    }
}

/// `120 regexes, at most 100 are allowed`.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, most, what, .. } = self;
        write!(f, "{count} {what}, at most {most} are allowed")?;
        match self.hint.as_str() {
            "" => Ok(()),
            hint => write!(f, "; {hint}"),
        }
    }
}

/// Of what there are too many in `after`, and more of them than in `before`: what is too much already hinders nobody who makes
/// it no more.
pub fn too_many<'a, T: Beside>(
    before: impl Iterator<Item = &'a T> + Clone,
    after: impl Iterator<Item = &'a T> + Clone,
) -> Option<Amount> {
    let mut amounts = T::amounts(before).into_iter().zip(T::amounts(after));
    let grown = amounts.find(|(before, after)| after.excess() > before.excess());
    grown.map(|(_, after)| after)
}

/// What an import would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan<T: Beside> {
    /// One report a row, in the file's order.
    pub rows: Vec<Row>,
    /// New and changed things in the file's order; each id once. Empty unless the plan is applicable.
    pub put: Vec<T>,
    /// Ids of what goes, ascending. Empty unless the plan is applicable.
    pub remove: Vec<T::Id>,
    /// Everything afterwards, by id; as it is now unless the plan is applicable.
    pub outcome: Vec<T>,
}

/// What becomes of one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Of the file, from 1.
    pub line: u64,
    /// As far as it is known.
    pub id: Option<String>,
    #[serde(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub verdict: Verdict,
}

/// The kinds of [`Row`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing of that id is there.
    New,
    /// Known, other than it is now.
    Changed,
    /// Known, as it is now.
    Same,
    /// Cannot be understood, breaks a limit or has the id of an earlier row.
    Error {
        /// The field; `None`: the row as a whole.
        column: Option<&'static str>,
        /// What is wrong and what is allowed.
        reason: String,
    },
}

impl<T: Beside> Plan<T> {
    /// Whether every row can be taken.
    pub fn is_applicable(&self) -> bool {
        let is_error = |row: &Row| matches!(row.verdict, Verdict::Error { .. });
        !self.rows.iter().any(is_error)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = Place::line(self.line);
        let id = self.id.as_deref().unwrap_or_default();
        match &self.verdict {
            Verdict::New => write!(f, "{place}: new, {id}"),
            Verdict::Changed => write!(f, "{place}: changed, {id}"),
            Verdict::Same => write!(f, "{place}: same, {id}"),
            Verdict::Error { column, reason } => RowError::new(place, *column, reason.as_str()).fmt(f),
        }
    }
}

/// The things of a file with their lines, in order; blank lines are left out. `text` has no byte order mark.
///
/// # Errors
/// A line that is none, or one that breaks a limit, is an error among them. Tidied and valid otherwise.
pub fn read<T: Beside>(text: &str) -> impl Iterator<Item = (u64, Result<T, RowError>)> + '_ {
    let lines = (1..).zip(text.split('\n'));
    lines.filter(|(_, line)| !line.trim().is_empty()).map(|(number, line)| {
        let place = Place::line(number);
        let read = serde_json::from_str::<T>(line).map_err(|error| {
            // The engine counts lines within this one.
            let text = error.to_string();
            let end = text.rfind(" at line ").unwrap_or(text.len());
            let column = error.column();
            RowError::new(place, None, format!("{} at character {column}", &text[..end]))
        });
        let checked = read.and_then(|mut thing| {
            thing.tidy();
            let valid = thing.validate();
            valid.map_err(|error| {
                let reason = format!("{} ({})", error.reason, thing.id());
                RowError::new(place, Some(error.field), reason)
            })?;
            Ok(thing)
        });
        (number, checked)
    })
}

/// The thing as one line, without the line's end; with every field.
#[expect(
    clippy::missing_panics_doc,
    reason = "texts, numbers and lists can always be written as JSON"
)]
pub fn to_line<T: Beside>(thing: &T) -> String {
    serde_json::to_string(thing).expect("it holds texts, numbers and lists only")
}

/// The inverse of [`to_line`]; a line from a store, which was valid when it was written.
///
/// # Errors
/// What does not fit, in one line.
pub fn from_line<T: Beside>(line: &str) -> Result<T, String> {
    serde_json::from_str(line).map_err(|error| error.to_string())
}

/// Writes one line each.
pub fn write<'a, T: Beside>(things: impl IntoIterator<Item = &'a T>, out: &mut dyn io::Write) -> io::Result<()> {
    for thing in things {
        writeln!(out, "{}", to_line(thing))?;
    }
    Ok(())
}

/// Plans the import of `rows`, as [`read`] gives them, into what is there: the `existing`, whose ids are distinct.
pub fn plan<T: Beside>(
    existing: &[T],
    rows: impl IntoIterator<Item = (u64, Result<T, RowError>)>,
    mode: Mode,
) -> Plan<T> {
    let known: HashMap<&T::Id, &T> = existing.iter().map(|thing| (thing.id(), thing)).collect();
    let mut taken: BTreeMap<T::Id, u64> = BTreeMap::new();
    let mut plan = Plan {
        rows: Vec::new(),
        put: Vec::new(),
        remove: Vec::new(),
        outcome: existing.to_vec(),
    };
    let mut read = Vec::new();
    for (line, row) in rows {
        let error = |column, reason| Verdict::Error { column, reason };
        let (id, verdict) = match row {
            Err(refused) => (None, error(refused.column, refused.reason)),
            Ok(thing) => {
                let id = thing.id().clone();
                let verdict = match (taken.insert(id.clone(), line), known.get(&id)) {
                    (Some(earlier), _) => error(Some(T::ID), format!("{id} also stands in row {earlier}")),
                    (None, None) => Verdict::New,
                    (None, Some(known)) if **known == thing => Verdict::Same,
                    (None, Some(_)) => Verdict::Changed,
                };
                read.push(thing);
                (Some(id.to_string()), verdict)
            }
        };
        plan.rows.push(Row { line, id, verdict });
    }
    let by_id = |thing: &T| (thing.id().clone(), thing.clone());
    let mut outcome: BTreeMap<T::Id, T> = match mode {
        Mode::Append => existing.iter().map(by_id).collect(),
        Mode::Replace => BTreeMap::new(),
    };
    outcome.extend(read.iter().map(by_id));
    if let (Some(count), Some(last)) = (too_many(existing.iter(), outcome.values()), plan.rows.last_mut()) {
        let reason = format!("with it there are {count}");
        last.verdict = Verdict::Error { column: None, reason };
    }
    if plan.is_applicable() {
        plan.put = read
            .into_iter()
            .filter(|thing| known.get(thing.id()) != Some(&thing))
            .collect();
        let ids = existing.iter().map(|thing| thing.id().clone());
        plan.remove = ids.filter(|id| !outcome.contains_key(id)).collect();
        plan.outcome = outcome.into_values().collect();
    }
    plan
}
