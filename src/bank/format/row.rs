//! One row of a file, whatever the format: the table of columns, and what may stand under each.
//!
//! A format collects the cells it finds into a [`Record`]; [`Record::row`] understands them. A [`Row`] says only what
//! the file says: columns the file does not have keep their value in an entry that is known already.

use super::beijing;
use crate::bank::entry::{did_you_mean, without_line};
use crate::bank::{Answer, Channel, Entry, EntryError, EntryId, State};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::fmt;
use unicode_normalization::UnicodeNormalization;

/// A column of the bank's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields of an entry, as they are named there")]
pub enum Column {
    Id,
    Question,
    Similar,
    Answer,
    Category,
    Tags,
    Kind,
    State,
    Accounts,
    Channels,
    ValidFrom,
    ValidUntil,
    Priority,
}

/// Every column with its name in both formats and the Chinese headings understood instead, in the order of writing.
pub const COLUMNS: [(Column, &str, &[&str]); 13] = [
    (Column::Id, "id", &["编号", "序号"]),
    (Column::Question, "question", &["问题", "标准问", "标准问题", "问"]),
    (Column::Similar, "similar", &["相似问", "相似问题", "相似问法"]),
    (Column::Answer, "answer", &["答案", "回答", "答"]),
    (Column::Category, "category", &["分类", "类别"]),
    (Column::Tags, "tags", &["标签"]),
    (Column::Kind, "kind", &["类型"]),
    (Column::State, "state", &["状态"]),
    (Column::Accounts, "accounts", &["账号"]),
    (Column::Channels, "channels", &["渠道"]),
    (Column::ValidFrom, "valid_from", &["生效时间"]),
    (Column::ValidUntil, "valid_until", &["失效时间"]),
    (Column::Priority, "priority", &["优先级"]),
];

impl Column {
    /// The column under that heading; white space, width and the case of letters do not matter.
    ///
    /// # Errors
    /// The complaint, with the nearest heading there is.
    pub fn parse(heading: &str) -> Result<Self, String> {
        let wanted = heading_key(heading);
        let found = COLUMNS
            .iter()
            .find(|(_, name, chinese)| *name == wanted || chinese.contains(&wanted.as_str()));
        found.map(|(column, ..)| *column).ok_or_else(|| {
            let hint = did_you_mean(&wanted, Self::headings());
            format!("unknown column {:?}{hint}", heading.trim())
        })
    }

    /// Every heading that is understood.
    pub fn headings() -> impl Iterator<Item = &'static str> {
        let of_column = |(_, name, chinese): &(Self, &'static str, &'static [&'static str])| {
            std::iter::once(*name).chain(chinese.iter().copied())
        };
        COLUMNS.iter().flat_map(of_column)
    }

    /// The heading editors read.
    pub fn chinese(self) -> &'static str {
        COLUMNS[self as usize].2[0]
    }

    /// The name used in files.
    pub fn name(self) -> &'static str {
        COLUMNS[self as usize].1
    }
}

/// A heading in the form in which headings are compared: `ＩＤ`, `Valid From` and `valid_from ` are known as well.
pub fn heading_key(heading: &str) -> String {
    let folded: String = heading.trim().nfkc().collect::<String>().to_lowercase();
    let joined = folded.split_whitespace().collect::<Vec<_>>();
    // Two words of English are one name, characters of Chinese need no space between them.
    joined.join(if folded.is_ascii() { "_" } else { "" })
}

/// Where a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// As a spreadsheet counts: the header is row 1, a row is one whatever line breaks are in its cells.
    pub row: u64,
    /// As a text editor counts: the line the row begins in, from 1.
    pub line: u64,
}

impl Place {
    /// A place where row and line are the same.
    pub fn line(line: u64) -> Self {
        Self { row: line, line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {}", self.row)?;
        if self.row != self.line {
            write!(f, " (line {})", self.line)?;
        }
        Ok(())
    }
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
pub struct RowError {
    #[expect(missing_docs, reason = "the type says it")]
    pub place: Place,
    /// The column's name in files; `None`: the row as a whole.
    pub column: Option<&'static str>,
    /// What is wrong and what is allowed.
    pub reason: String,
}

/// A [`RowError`] from another process.
#[derive(Deserialize)]
struct WrittenError {
    place: Place,
    column: Option<Column>,
    reason: String,
}

// By hand: derived, a name that lives for ever would ask for a text that does.
impl<'de> Deserialize<'de> for RowError {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = WrittenError::deserialize(deserializer)?;
        Ok(Self::new(
            written.place,
            written.column.map(Column::name),
            written.reason,
        ))
    }
}

impl RowError {
    /// An error there.
    pub fn new(place: Place, column: Option<&'static str>, reason: impl Into<String>) -> Self {
        Self {
            place,
            column,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(f, "{}, column {column}: {}", self.place, self.reason),
            None => write!(f, "{}: {}", self.place, self.reason),
        }
    }
}

/// What a file says of one entry. Not held to limits yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    #[expect(missing_docs, reason = "the type says it")]
    pub place: Place,
    /// `None`: the question decides which entry is meant.
    pub id: Option<EntryId>,
    /// As in [`Entry::question`].
    pub question: String,
    answer: Given,
    /// The other columns the file has.
    rest: Vec<Setting>,
}

/// The answer, as far as the row alone says what it is.
#[derive(Debug, Clone, PartialEq)]
enum Given {
    /// Its kind stands beside it.
    Whole(Answer),
    /// The file says nothing of the kind; never absent or blank.
    OfKnownKind(Cell),
}

/// A column's value, for those a file may lack.
#[derive(Debug, Clone, PartialEq)]
enum Setting {
    Similar(Vec<String>),
    Category(String),
    Tags(Vec<String>),
    State(State),
    Accounts(Vec<String>),
    Channels(Vec<Channel>),
    ValidFrom(Option<i64>),
    ValidUntil(Option<i64>),
    Priority(i32),
}

impl Row {
    /// The entry the row describes: `known` with what the file says of it, or a new one.
    ///
    /// It has the row's id, else `known`'s, else the one `new_id` makes. An answer of which the file does not say the
    /// kind is of `known`'s kind, else a text.
    ///
    /// # Errors
    /// [`RowError`] on `answer` when it does not fit that kind.
    pub fn into_entry_or(self, known: Option<&Entry>, new_id: impl FnOnce() -> EntryId) -> Result<Entry, RowError> {
        let id = self
            .id
            .or_else(|| known.map(|known| known.id.clone()))
            .unwrap_or_else(new_id);
        let answer = match self.answer {
            Given::Whole(answer) => answer,
            Given::OfKnownKind(cell) => {
                let kind = known.map_or("text", |known| known.answer.kind());
                answer_of(kind, cell).map_err(|error| {
                    let hint = known.map_or(String::new(), |known| {
                        format!("; {} is of that kind, the column kind would change it", known.id)
                    });
                    RowError::new(self.place, Some(error.field), format!("{}{hint}", error.reason))
                })?
            }
        };
        let fresh = Entry::new(id, self.question, answer);
        let mut entry = match known {
            None => fresh,
            Some(known) => Entry {
                id: fresh.id,
                question: fresh.question,
                answer: fresh.answer,
                ..known.clone()
            },
        };
        for setting in self.rest {
            match setting {
                Setting::Similar(similar) => entry.similar = similar,
                Setting::Category(category) => entry.category = category,
                Setting::Tags(tags) => entry.tags = tags.into(),
                Setting::State(state) => entry.state = state,
                Setting::Accounts(accounts) => entry.accounts = accounts.into(),
                Setting::Channels(channels) => entry.channels = channels.into(),
                Setting::ValidFrom(time) => entry.valid_from = time,
                Setting::ValidUntil(time) => entry.valid_until = time,
                Setting::Priority(priority) => entry.priority = priority,
            }
        }
        Ok(entry)
    }
}

/// What stands in one cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Cell {
    /// The file does not have the column.
    #[default]
    Absent,
    /// The column is there, the cell is empty.
    Blank,
    /// Text, lists written as `split_list` reads them.
    Text(String),
    /// A JSON value that is not null.
    Json(Value),
}

/// One row as the file has it: what stands under which column, not understood yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    #[expect(missing_docs, reason = "the type says it")]
    pub place: Place,
    /// In the file's order, no column twice.
    pub cells: Vec<(Column, Cell)>,
    /// What stands under headings of the editor's own, of which [`Item::Others`](super::Item::Others) has the names: their
    /// numbers there, ascending, and texts, none of them blank. Under the number after the last: what stands under no heading.
    pub others: Vec<(usize, String)>,
    /// Why it is refused whatever its cells say; they are for the result.
    pub refusal: Option<RowError>,
}

impl Record {
    /// A row whose cells are not told apart, for the result as it stands there; `others`: how many headings the editor has of
    /// his own, since it stands under none.
    pub fn unread(raw: &str, others: usize, refusal: RowError) -> Self {
        Self {
            place: refusal.place,
            cells: Vec::new(),
            others: vec![(others, raw.to_owned())],
            refusal: Some(refusal),
        }
    }

    /// What the row says.
    ///
    /// # Errors
    /// [`Record::refusal`]; else the first column, in the order of the table of columns but the answer last, whose cell does
    /// not fit it.
    pub fn row(self) -> Result<Row, RowError> {
        if let Some(refusal) = self.refusal {
            return Err(refusal);
        }
        let mut cells = Cells {
            place: self.place,
            cells: Default::default(),
        };
        for (column, cell) in self.cells {
            cells.cells[column as usize] = cell;
        }
        cells.into_row()
    }
}

/// The cells of one row, by column.
struct Cells {
    place: Place,
    cells: [Cell; COLUMNS.len()],
}

impl Cells {
    fn into_row(mut self) -> Result<Row, RowError> {
        let id = self.text(Column::Id)?.map(|id| EntryId::parse(id.trim())).transpose();
        let id = id.map_err(|error| self.error(Column::Id, error.reason))?;
        let question = self.required(Column::Question)?;
        let mut rest = Vec::new();
        if let Some(similar) = self.list(Column::Similar)? {
            rest.push(Setting::Similar(similar));
        }
        match self.take(Column::Category) {
            Cell::Absent => {}
            Cell::Blank => rest.push(Setting::Category(String::new())),
            cell => rest.push(Setting::Category(self.string(Column::Category, cell)?)),
        }
        if let Some(tags) = self.list(Column::Tags)? {
            rest.push(Setting::Tags(tags));
        }
        // A blank cell says text, no cell says nothing.
        let kind = match self.take(Column::Kind) {
            Cell::Absent => None,
            cell => Some(self.string(Column::Kind, cell)?),
        };
        if let Some(state) = self.text(Column::State)? {
            let known = [State::Draft, State::Published, State::Disabled].map(State::as_str);
            let state = self.named(Column::State, state.trim(), State::parse, known)?;
            rest.push(Setting::State(state));
        }
        if let Some(accounts) = self.list(Column::Accounts)? {
            rest.push(Setting::Accounts(accounts));
        }
        if let Some(channels) = self.list(Column::Channels)? {
            let known = Channel::NAMES.map(|(_, name)| name);
            let parse = |name: &String| self.named(Column::Channels, name.trim(), Channel::parse, known);
            rest.push(Setting::Channels(channels.iter().map(parse).collect::<Result<_, _>>()?));
        }
        rest.extend(self.time(Column::ValidFrom, Setting::ValidFrom)?);
        rest.extend(self.time(Column::ValidUntil, Setting::ValidUntil)?);
        rest.extend(self.priority()?);
        let answer = self.answer(kind.as_deref().map(str::trim))?;
        Ok(Row {
            place: self.place,
            id,
            question,
            answer,
            rest,
        })
    }

    fn error(&self, column: Column, reason: String) -> RowError {
        RowError::new(self.place, Some(column.name()), reason)
    }

    fn take(&mut self, column: Column) -> Cell {
        std::mem::take(&mut self.cells[column as usize])
    }

    fn string(&self, column: Column, cell: Cell) -> Result<String, RowError> {
        match cell {
            Cell::Absent | Cell::Blank => Ok(String::new()),
            Cell::Text(text) | Cell::Json(Value::String(text)) => Ok(text),
            Cell::Json(other) => Err(self.error(column, format!("must be a text, not {other}"))),
        }
    }

    /// `None` when there is nothing in the cell.
    fn text(&mut self, column: Column) -> Result<Option<String>, RowError> {
        match self.take(column) {
            Cell::Absent | Cell::Blank => Ok(None),
            cell => self.string(column, cell).map(Some),
        }
    }

    fn required(&mut self, column: Column) -> Result<String, RowError> {
        let text = self.text(column)?;
        text.ok_or_else(|| self.error(column, "is missing".to_owned()))
    }

    /// `None` when the file does not have the column.
    fn list(&mut self, column: Column) -> Result<Option<Vec<String>>, RowError> {
        match self.take(column) {
            Cell::Absent => Ok(None),
            Cell::Blank => Ok(Some(Vec::new())),
            Cell::Text(text) => Ok(Some(split_list(&text))),
            Cell::Json(Value::Array(items)) => {
                let item = |item| self.string(column, Cell::Json(item));
                items.into_iter().map(item).collect::<Result<_, _>>().map(Some)
            }
            Cell::Json(other) => Err(self.error(column, format!("must be a list of texts, not {other}"))),
        }
    }

    fn time(&mut self, column: Column, setting: fn(Option<i64>) -> Setting) -> Result<Option<Setting>, RowError> {
        let time = match self.take(column) {
            Cell::Absent => return Ok(None),
            Cell::Blank => return Ok(Some(setting(None))),
            Cell::Json(Value::Number(number)) => number
                .as_i64()
                .ok_or_else(|| format!("must be whole seconds, not {number}")),
            cell => beijing::parse(self.string(column, cell)?.trim()),
        };
        time.map(|time| Some(setting(Some(time))))
            .map_err(|reason| self.error(column, reason))
    }

    fn priority(&mut self) -> Result<Option<Setting>, RowError> {
        let number = match self.take(Column::Priority) {
            Cell::Absent => return Ok(None),
            Cell::Blank => return Ok(Some(Setting::Priority(0))),
            Cell::Json(Value::Number(number)) => number.to_string(),
            cell => self.string(Column::Priority, cell)?,
        };
        let priority = number.trim().parse().map(|priority| Some(Setting::Priority(priority)));
        priority.map_err(|_| self.error(Column::Priority, format!("{number:?} is not a whole number")))
    }

    fn named<T>(
        &self,
        column: Column,
        name: &str,
        parse: impl Fn(&str) -> Option<T>,
        known: impl IntoIterator<Item = &'static str>,
    ) -> Result<T, RowError> {
        let complaint = || format!("{name:?} is not known{}", did_you_mean(name, known));
        parse(name).ok_or_else(|| self.error(column, complaint()))
    }

    fn answer(&mut self, kind: Option<&str>) -> Result<Given, RowError> {
        let answer = match (self.take(Column::Answer), kind) {
            (cell @ (Cell::Text(_) | Cell::Json(_)), None) => return Ok(Given::OfKnownKind(cell)),
            (cell, None | Some("")) => answer_of("text", cell).map(Given::Whole),
            (cell, Some(kind)) => answer_of(kind, cell).map(Given::Whole),
        };
        answer.map_err(|error| RowError::new(self.place, Some(error.field), error.reason))
    }
}

fn answer_of(kind: &str, cell: Cell) -> Result<Answer, EntryError> {
    match cell {
        Cell::Absent | Cell::Blank if kind == "handoff" => Answer::parse(kind, ""),
        Cell::Absent | Cell::Blank => Err(EntryError::new("answer", "is missing")),
        Cell::Text(text) => Answer::parse(kind, &text),
        Cell::Json(value) => Answer::from_value(kind, &value),
    }
}

/// A JSON line's error as a row's.
pub fn not_json(place: Place, error: &serde_json::Error) -> RowError {
    RowError::new(place, None, without_line(error))
}

/// The items of a list in one cell: separated by `|`; `\|` and `\\` stand for the characters themselves, any other
/// backslash for itself. Blank items are left out.
pub fn split_list(cell: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut rest = cell.chars().peekable();
    while let Some(c) = rest.next() {
        let escaped = if c == '\\' {
            rest.next_if(|next| matches!(next, '|' | '\\'))
        } else {
            None
        };
        match (c, escaped) {
            ('|', None) => items.push(String::new()),
            (c, escaped) => items.last_mut().expect("never empty").push(escaped.unwrap_or(c)),
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

/// The inverse of [`split_list`].
pub fn join_list<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let escaped = items
        .into_iter()
        .map(|item| item.replace('\\', r"\\").replace('|', r"\|"));
    escaped.collect::<Vec<_>>().join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (position, (column, ..)) in COLUMNS.iter().enumerate() {
            assert_eq!(*column as usize, position);
        }
    }

    #[test]
    fn lists_keep_bars_and_backslashes() {
        for (cell, items) in [
            ("a|b", vec!["a", "b"]),
            (r"a\|b", vec!["a|b"]),
            (r"a\\|b", vec![r"a\", "b"]),
            (r"C:\path| |", vec![r"C:\path"]),
            ("", vec![]),
        ] {
            assert_eq!(split_list(cell), items, "{cell}");
        }
    }

    #[test]
    fn an_unknown_heading_gets_the_nearest_known_one() {
        assert_eq!(Column::parse(" Question "), Ok(Column::Question));
        for heading in ["标准问", "标准 问题", "ＱＵＥＳＴＩＯＮ"] {
            assert_eq!(Column::parse(heading), Ok(Column::Question), "{heading}");
        }
        assert_eq!(Column::parse("Valid From"), Ok(Column::ValidFrom));
        assert_eq!(
            Column::parse("questoin").unwrap_err(),
            r#"unknown column "questoin"; did you mean "question"?"#
        );
        let complaint = Column::parse("相似提问").unwrap_err();
        assert!(complaint.contains("did you mean \"相似问"), "{complaint}");
    }
}
