//! What importing a file would do to a bank: new, changed, same, duplicate, error, row by row.
//!
//! [`plan`] compares the rows of a file with the bank that is there and decides nothing by halves: one row that cannot
//! be taken, and the plan holds nothing to apply. Writing it down is `store::sql`'s subject, reading files [`format`]'s.
//!
//! [`format`]: super::format

use super::duplicates::{self, Phrasings, Shared};
use super::format::{Place, Row, RowError};
use super::{Entry, EntryId, EntryWarning};
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;

/// What becomes of entries the file does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They stay, and known entries keep what the file has no column for.
    Append,
    /// They go: afterwards the bank is what the file says.
    Replace,
}

/// What an import would do.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportPlan {
    /// One report a row, in the file's order.
    pub rows: Vec<RowReport>,
    /// New and changed entries in the file's order; each id once. Empty unless the plan is applicable.
    pub put: Vec<Entry>,
    /// Entries to remove, by id. Empty unless the plan is applicable.
    pub remove: Vec<EntryId>,
}

impl ImportPlan {
    /// Whether every row can be taken.
    pub fn is_applicable(&self) -> bool {
        !self.rows.iter().any(|row| row.verdict.is_refusal())
    }
}

/// What becomes of one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RowReport {
    #[serde(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub place: Place,
    /// The entry's id, as far as it is known.
    pub id: Option<EntryId>,
    #[serde(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub verdict: Verdict,
    /// What will not come out as the row has it; empty for most rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<EntryWarning>,
}

/// The kinds of [`RowReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// An entry the bank does not have.
    New,
    /// A known entry, other than it is now.
    Changed,
    /// A known entry as it is now.
    Same,
    /// Says what another row or entry says already; refused, because which of them would answer?
    Duplicate {
        /// The column that holds it.
        column: &'static str,
        /// The id or the phrasing both have, as this row writes it.
        text: String,
        /// Who has it too.
        of: Twin,
    },
    /// Cannot be understood, or breaks a limit.
    Error {
        /// `None`: the row as a whole.
        column: Option<&'static str>,
        /// What is wrong and what is allowed.
        reason: String,
    },
}

impl Verdict {
    /// Whether the row keeps the whole file from being imported.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Duplicate { .. } | Self::Error { .. })
    }
}

/// The other side of a [`Verdict::Duplicate`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Twin {
    /// An earlier row of the file.
    Row(Place),
    /// An entry of the bank that the file does not touch.
    Entry(EntryId),
}

impl fmt::Display for Twin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(place) => place.fmt(f),
            Self::Entry(id) => write!(f, "entry {id}"),
        }
    }
}

impl fmt::Display for RowReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place;
        let id = || self.id.as_ref().map_or("", EntryId::as_str);
        match &self.verdict {
            Verdict::New => write!(f, "{place}: new, {}", id()),
            Verdict::Changed => write!(f, "{place}: changed, {}", id()),
            Verdict::Same => write!(f, "{place}: same, {}", id()),
            Verdict::Duplicate { column, text, of } => {
                write!(f, "{place}, column {column}: {text:?} also stands in {of}")
            }
            Verdict::Error { column, reason } => RowError::new(place, *column, reason.as_str()).fmt(f),
        }
    }
}

/// How texts are compared, and how new entries are named.
#[derive(Clone, Copy)]
pub struct Conventions<'a> {
    /// The form in which two phrasings that mean the same by their letters are equal; `matching`'s.
    pub normalise: &'a dyn Fn(&str) -> String,
    /// The id of a new entry, from its normalised question and the number of ids tried before because the bank has
    /// them; must not give the same id for ever.
    pub new_id: &'a dyn Fn(&str, u32) -> EntryId,
}

/// Plans the import of `rows` into the bank of `existing` entries, whose ids are distinct.
pub fn plan(
    existing: &[Entry],
    rows: impl IntoIterator<Item = Result<Row, RowError>>,
    mode: Mode,
    conventions: Conventions<'_>,
) -> ImportPlan {
    let mut planner = Planner::new(existing, mode, conventions);
    let mut reports: Vec<RowReport> = rows.into_iter().map(|row| planner.take(row)).collect();
    planner.report_shared_phrasings(&mut reports);
    let mut plan = ImportPlan {
        rows: reports,
        put: Vec::new(),
        remove: Vec::new(),
    };
    if plan.is_applicable() {
        plan.remove = planner.removed();
        let kept = planner
            .taken
            .into_iter()
            .filter(|taken| plan.rows[taken.report].verdict != Verdict::Same);
        plan.put = kept.map(|taken| taken.entry).collect();
    }
    plan
}

/// An entry made from a row.
struct Taken {
    entry: Entry,
    /// Where its report is among the reports.
    report: usize,
    place: Place,
}

/// The state of planning: the bank that is there, and the rows understood so far.
struct Planner<'a> {
    existing: &'a [Entry],
    mode: Mode,
    conventions: Conventions<'a>,
    by_id: HashMap<&'a str, &'a Entry>,
    /// Entries by their standard question; more than one when they never meet.
    by_question: HashMap<String, Vec<&'a Entry>>,
    taken: Vec<Taken>,
    taken_ids: HashMap<EntryId, Place>,
    reports: usize,
}

impl<'a> Planner<'a> {
    fn new(existing: &'a [Entry], mode: Mode, conventions: Conventions<'a>) -> Self {
        let mut by_question: HashMap<String, Vec<&Entry>> = HashMap::with_capacity(existing.len());
        for entry in existing {
            by_question
                .entry(conventions.key(&entry.question))
                .or_default()
                .push(entry);
        }
        Self {
            existing,
            mode,
            conventions,
            by_id: existing.iter().map(|entry| (entry.id.as_str(), entry)).collect(),
            by_question,
            taken: Vec::new(),
            taken_ids: HashMap::new(),
            reports: 0,
        }
    }

    /// Understands one row; phrasings are compared later, when every row is known.
    fn take(&mut self, row: Result<Row, RowError>) -> RowReport {
        let report = self.reports;
        self.reports += 1;
        let row = match row {
            Ok(row) => row,
            Err(error) => return error.into(),
        };
        let place = row.place;
        let names_its_id = row.id.is_some();
        let (entry, known) = match self.entry_of(row) {
            Ok(found) => found,
            Err(error) => return error.into(),
        };
        let id = entry.id.clone();
        let warnings = entry.warnings();
        let verdict = if let Some(&earlier) = self.taken_ids.get(&id) {
            let (column, text) = if names_its_id {
                ("id", id.to_string())
            } else {
                ("question", entry.question)
            };
            let of = Twin::Row(earlier);
            Verdict::Duplicate { column, text, of }
        } else {
            let verdict = match known {
                None => Verdict::New,
                Some(known) if *known == entry => Verdict::Same,
                Some(_) => Verdict::Changed,
            };
            self.taken_ids.insert(id.clone(), place);
            self.taken.push(Taken { entry, report, place });
            verdict
        };
        RowReport {
            place,
            id: Some(id),
            verdict,
            warnings,
        }
    }

    /// The valid entry a row describes, and the one the bank has under its id.
    fn entry_of(&self, row: Row) -> Result<(Entry, Option<&'a Entry>), RowError> {
        let place = row.place;
        let key = self.conventions.key(&row.question);
        let known = match (&row.id, self.by_question.get(&key).map(Vec::as_slice)) {
            (Some(id), _) => self.by_id.get(id.as_str()).copied(),
            (None, None | Some([])) => None,
            (None, Some([only])) => Some(*only),
            (None, Some([first, second, ..])) => {
                let reason = format!(
                    "is needed: entries {} and {} both have this question",
                    first.id, second.id
                );
                return Err(RowError::new(place, Some("id"), reason));
            }
        };
        let new_id = || match known {
            Some(known) => known.id.clone(),
            None => self.free_id(&key),
        };
        let base = known.filter(|_| self.mode == Mode::Append);
        let mut entry = row.into_entry_or(base, new_id)?;
        entry.tidy();
        entry
            .validate()
            .map_err(|error| RowError::new(place, Some(error.field), error.reason))?;
        Ok((entry, known))
    }

    /// An id for a new question. One that an earlier row has is given out again if that row has the same question,
    /// for the repetition to be seen.
    fn free_id(&self, key: &str) -> EntryId {
        let asks_the_same = |id: &EntryId| {
            let mut taken = self.taken.iter();
            taken.any(|taken| taken.entry.id == *id && self.conventions.key(&taken.entry.question) == key)
        };
        (0..=u32::MAX)
            .map(|attempt| (self.conventions.new_id)(key, attempt))
            .find(|id| {
                let is_free = !self.by_id.contains_key(id.as_str()) && !self.taken_ids.contains_key(id);
                is_free || asks_the_same(id)
            })
            .expect("the attempts are not exhausted before a free id is found")
    }

    /// Marks every row one of whose phrasings another row, or an entry that stays, has as well, if both could be
    /// offered to one follower.
    fn report_shared_phrasings(&self, reports: &mut [RowReport]) {
        let untouched = self
            .existing
            .iter()
            .filter(|entry| self.mode == Mode::Append && !self.taken_ids.contains_key(&entry.id));
        let staying = untouched.map(|entry| (entry, Twin::Entry(entry.id.clone()), None));
        let rows = self
            .taken
            .iter()
            .map(|taken| (&taken.entry, Twin::Row(taken.place), Some(taken.report)));
        let mut phrasings = Phrasings::new(self.conventions.normalise);
        for (entry, twin, report) in staying.chain(rows) {
            if let (Some(Shared { field, text, of }), Some(report)) = (phrasings.claim(entry, &twin), report)
                && !reports[report].verdict.is_refusal()
            {
                reports[report].verdict = Verdict::Duplicate {
                    column: field,
                    text,
                    of,
                };
            }
        }
    }

    fn removed(&self) -> Vec<EntryId> {
        let leaves = |entry: &&Entry| self.mode == Mode::Replace && !self.taken_ids.contains_key(&entry.id);
        let mut removed: Vec<_> = self
            .existing
            .iter()
            .filter(leaves)
            .map(|entry| entry.id.clone())
            .collect();
        removed.sort_unstable();
        removed
    }
}

impl Conventions<'_> {
    fn key(&self, text: &str) -> String {
        duplicates::key(self.normalise, text)
    }
}

impl From<RowError> for RowReport {
    fn from(error: RowError) -> Self {
        Self {
            place: error.place,
            id: None,
            verdict: Verdict::Error {
                column: error.column,
                reason: error.reason,
            },
            warnings: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::format::Format;

    fn normalise(text: &str) -> String {
        text.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect()
    }

    fn bank(jsonl: &str) -> Vec<Entry> {
        let rows = Format::Jsonl.read(jsonl);
        rows.map(|row| {
            row.unwrap()
                .into_entry_or(None, || unreachable!("ids are given"))
                .unwrap()
        })
        .collect()
    }

    fn planned(existing: &str, file: &str, mode: Mode) -> ImportPlan {
        let conventions = Conventions {
            normalise: &normalise,
            new_id: &|key, attempt| EntryId::parse(&format!("n-{}-{attempt}", key.chars().count())).unwrap(),
        };
        plan(&bank(existing), Format::Jsonl.read(file), mode, conventions)
    }

    fn report(plan: &ImportPlan) -> Vec<String> {
        plan.rows.iter().map(ToString::to_string).collect()
    }

    const BANK: &str = r#"{"id":"a","question":"怎么开户？","similar":["开户流程"],"answer":"A","tags":["t"]}
        {"id":"b","question":"怎么销户","answer":"B"}"#;

    #[test]
    fn the_id_or_else_the_normalised_question_decides_which_entry_is_meant() {
        let file = r#"{"id":"b","question":"如何销户","answer":"B2"}
            {"question":"怎么开户","answer":"A"}
            {"question":"新问题","answer":"C"}"#;
        let plan = planned(BANK, file, Mode::Append);
        assert_eq!(
            report(&plan),
            ["row 1: changed, b", "row 2: changed, a", "row 3: new, n-3-0"]
        );
        assert_eq!(plan.put.len(), 3);
        assert!(plan.remove.is_empty());
    }

    #[test]
    fn appending_keeps_what_the_file_does_not_speak_of() {
        let plan = planned(BANK, r#"{"question":"怎么开户?","answer":"A2"}"#, Mode::Append);
        assert_eq!(plan.put[0].similar, ["开户流程"]);
        let plan = planned(
            BANK,
            r#"{"question":"怎么开户?","answer":"A2","similar":null}"#,
            Mode::Append,
        );
        assert_eq!(plan.put[0].similar, [""; 0]);
        assert_eq!(*plan.put[0].tags, ["t"]);
    }

    #[test]
    fn an_image_stays_an_image_when_a_file_says_nothing_of_kinds() {
        let known = r#"{"id":"a","question":"群二维码","answer":{"media_id":"m1"},"kind":"image"}"#;
        let append = |text: &'static str, format: Format| {
            let conventions = Conventions {
                normalise: &normalise,
                new_id: &|_, _| EntryId::parse("new").unwrap(),
            };
            plan(&bank(known), format.read(text), Mode::Append, conventions)
        };
        let image = |media_id: &str| crate::bank::Answer::Image {
            media_id: media_id.to_owned(),
        };
        let csv = "id,question,answer\na,群二维码,\"{\"\"media_id\"\":\"\"m2\"\"}\"\n";
        assert_eq!(append(csv, Format::Csv).put[0].answer, image("m2"));
        let jsonl = r#"{"id":"a","question":"群二维码","answer":{"media_id":"m2"}}"#;
        assert_eq!(append(jsonl, Format::Jsonl).put[0].answer, image("m2"));
        assert_eq!(
            report(&append("id,question,answer\na,群二维码,见底部菜单\n", Format::Csv)),
            [
                "row 2, column answer: of kind image must be a JSON object: expected value at character 1; a is of that kind, \
                 the column kind would change it"
            ]
        );
        let text = append("id,question,answer,kind\na,群二维码,见底部菜单,text\n", Format::Csv);
        assert_eq!(text.put[0].answer, crate::bank::Answer::Text("见底部菜单".to_owned()));
    }

    #[test]
    fn replacing_removes_what_the_file_lacks_and_leaves_the_same_alone() {
        let plan = planned(BANK, r#"{"question":" 怎么销户 ","answer":"B"}"#, Mode::Replace);
        assert_eq!(report(&plan), ["row 1: same, b"]);
        assert_eq!(
            (plan.put.len(), plan.remove.as_slice()),
            (0, [EntryId::parse("a").unwrap()].as_slice())
        );
    }

    #[test]
    fn replacing_takes_defaults_for_what_the_file_does_not_speak_of() {
        let plan = planned(BANK, r#"{"question":"怎么开户","answer":"A"}"#, Mode::Replace);
        assert_eq!(report(&plan), ["row 1: changed, a"]);
        assert_eq!((plan.put[0].similar.len(), plan.put[0].tags.len()), (0, 0));
    }

    #[test]
    fn one_bad_row_and_nothing_is_to_be_applied() {
        let file = "{\"question\":\"新\",\"answer\":\"C\"}\n{\"question\":\"x\",\"answer\":\"\"}";
        let plan = planned(BANK, file, Mode::Replace);
        assert!(!plan.is_applicable());
        assert_eq!(report(&plan)[1], "row 2, column answer: is empty");
        assert!(plan.put.is_empty() && plan.remove.is_empty());
    }

    #[test]
    fn duplicates_are_refused_and_say_where_the_other_is() {
        for (file, expected) in [
            (
                "{\"id\":\"c\",\"question\":\"开户 流程\",\"answer\":\"C\"}",
                r#"row 1, column question: "开户 流程" also stands in entry a"#,
            ),
            (
                "{\"id\":\"c\",\"question\":\"新\",\"similar\":[\"怎么销户!\"],\"answer\":\"C\"}",
                r#"row 1, column similar: "怎么销户!" also stands in entry b"#,
            ),
            (
                "{\"id\":\"c\",\"question\":\"x\",\"answer\":\"1\"}\n{\"id\":\"c\",\"question\":\"y\",\"answer\":\"1\"}",
                r#"row 2, column id: "c" also stands in row 1"#,
            ),
            (
                "{\"question\":\"x\",\"answer\":\"1\"}\n{\"question\":\"X?\",\"answer\":\"2\"}",
                r#"row 2, column question: "X?" also stands in row 1"#,
            ),
            (
                "{\"id\":\"c\",\"question\":\"x\",\"answer\":\"1\"}\n{\"id\":\"d\",\"question\":\"y\",\"similar\":[\"x\"],\"answer\":\"1\"}",
                r#"row 2, column similar: "x" also stands in row 1"#,
            ),
        ] {
            let plan = planned(BANK, file, Mode::Append);
            assert_eq!(report(&plan).last().map(String::as_str), Some(expected));
            assert!(!plan.is_applicable());
        }
    }

    #[test]
    fn entries_that_never_meet_may_share_a_phrasing() {
        let file = r#"{"id":"c","question":"x","answer":"1","accounts":["one"]}
            {"id":"d","question":"x","answer":"2","accounts":["two"]}
            {"id":"e","question":"x","answer":"3","state":"draft"}
            {"id":"f","question":"怎么开户","answer":"4","state":"disabled"}"#;
        assert!(planned(BANK, file, Mode::Append).is_applicable());
    }

    #[test]
    fn an_entry_that_goes_or_changes_is_no_duplicate() {
        let file = r#"{"id":"c","question":"怎么销户","answer":"1"}"#;
        assert!(planned(BANK, file, Mode::Replace).is_applicable());
        let file = r#"{"id":"b","question":"别的","answer":"1"}
            {"id":"c","question":"怎么销户","answer":"1"}"#;
        assert!(planned(BANK, file, Mode::Append).is_applicable());
    }

    #[test]
    fn a_new_id_never_takes_one_that_is_in_use() {
        let file = "{\"question\":\"甲乙\",\"answer\":\"1\"}\n{\"question\":\"丙丁\",\"answer\":\"2\"}";
        let plan = planned(r#"{"id":"n-2-0","question":"x","answer":"1"}"#, file, Mode::Append);
        assert_eq!(report(&plan), ["row 1: new, n-2-1", "row 2: new, n-2-2"]);
    }

    #[test]
    fn a_question_of_punctuation_only_is_itself() {
        let file = "{\"question\":\"？\",\"answer\":\"1\"}\n{\"question\":\"！\",\"answer\":\"2\"}";
        assert!(planned("", file, Mode::Append).is_applicable());
    }
}
