//! JSONL: one entry a line, a JSON object with the columns' names.

use super::csv::MAX_CELL_BYTES;
use super::header::{REFUSED, is_outcome, unmended};
use super::row::{Cell, Column, Record, not_json};
use super::{Item, Place, RowError};
use crate::bank::{Answer, Channel, Entry, EntryId, State};
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::borrow::Borrow;
use std::{fmt, io};

/// The rows of `text`, which has no byte order mark.
pub fn read(text: &str) -> impl Iterator<Item = Item> + '_ {
    let lines = (1..).map(Place::line).zip(text.split('\n'));
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(place, line)| match record(place, line) {
        Ok(record) => Item::Record(record),
        Err(error) if line.len() > MAX_CELL_BYTES => Item::Error(error),
        Err(error) => Item::Record(Record::unread(line.trim(), 0, error)),
    })
}

/// Why a line is refused that has something under the name "".
const UNDER_NO_NAME: &str =
    "what stands under the name \"\" is in no column: put it where it belongs, and leave \"\" empty";

/// # Errors
/// The line is no object, or names a column twice, of which a record has only one.
fn record(place: Place, line: &str) -> Result<Record, RowError> {
    let fields: Fields = serde_json::from_str(line).map_err(|error| not_json(place, &error))?;
    let mut cells = Vec::with_capacity(fields.0.len());
    let (mut unknown, mut was_refused, mut refusal) = (Vec::new(), false, None);
    for (name, value) in fields.0 {
        if is_outcome(&name) {
            was_refused |= value == REFUSED;
            continue;
        }
        let is_blank = value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty());
        let column = match Column::parse(&name) {
            Ok(column) => column,
            // As in a sheet, nothing may stand under no name.
            Err(_) if name.trim().is_empty() && is_blank => continue,
            Err(_) if name.trim().is_empty() => {
                refusal.get_or_insert_with(|| RowError::new(place, None, UNDER_NO_NAME));
                // What an earlier result has there stays as it is.
                unknown.push(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
                continue;
            }
            Err(reason) => {
                refusal.get_or_insert_with(|| RowError::new(place, None, reason));
                unknown.push(format!("{name}: {value}"));
                continue;
            }
        };
        if cells.iter().any(|(known, _)| *known == column) {
            return Err(RowError::new(place, Some(column.name()), "stands there twice"));
        }
        let cell = match value.is_null() {
            true => Cell::Blank,
            false => Cell::Json(value),
        };
        cells.push((column, cell));
    }
    if was_refused && refusal.is_none() {
        refusal = unmended(place, &cells);
    }
    let beyond = (!unknown.is_empty()).then(|| (0, unknown.join(", ")));
    Ok(Record {
        place,
        cells,
        others: beyond.into_iter().collect(),
        refusal,
    })
}

/// Writes one line an entry.
pub fn write<E: Borrow<Entry>>(entries: impl IntoIterator<Item = E>, out: &mut dyn io::Write) -> io::Result<()> {
    for entry in entries {
        writeln!(out, "{}", to_line(entry.borrow()))?;
    }
    Ok(())
}

/// The entry as one line of JSONL, without the line's end.
#[expect(
    clippy::missing_panics_doc,
    reason = "texts, numbers and lists can always be written as JSON"
)]
pub fn to_line(entry: &Entry) -> String {
    let line = Line {
        id: &entry.id,
        question: &entry.question,
        similar: &entry.similar,
        answer: &entry.answer,
        category: &entry.category,
        tags: &entry.tags,
        state: entry.state,
        accounts: &entry.accounts,
        channels: &entry.channels,
        valid_from: entry.valid_from,
        valid_until: entry.valid_until,
        priority: entry.priority,
    };
    serde_json::to_string(&line).expect("an entry holds texts, numbers and lists only")
}

/// The inverse of [`to_line`]; a line from a store, which was valid when it was written.
///
/// # Errors
/// What does not fit, in one line.
pub fn from_line(line: &str) -> Result<Entry, String> {
    let row = record(Place::line(1), line).and_then(Record::row);
    let row = row.map_err(|error| error.reason)?;
    let id = row.id.clone().ok_or("id is missing")?;
    let entry = row.into_entry_or(None, || id);
    // The place is this line's, which the caller knows better.
    entry.map_err(|error| match error.column {
        Some(column) => format!("{column}: {}", error.reason),
        None => error.reason,
    })
}

/// An entry with the field names of files; `answer` also writes `kind`.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a EntryId,
    question: &'a str,
    similar: &'a [String],
    #[serde(flatten)]
    answer: &'a Answer,
    category: &'a str,
    tags: &'a [String],
    state: State,
    accounts: &'a [String],
    channels: &'a [Channel],
    valid_from: Option<i64>,
    valid_until: Option<i64>,
    priority: i32,
}

/// The fields of a JSON object in their order, repeated ones too: a map would keep the last without a word.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::format::{Format, Row};

    fn read(text: &str) -> impl Iterator<Item = Result<Row, RowError>> + '_ {
        Format::Jsonl.read(text)
    }

    fn error_of(text: &str) -> String {
        let new_id = || EntryId::parse("new").unwrap();
        let mut entries = read(text).map(|row| row?.into_entry_or(None, new_id));
        entries.find_map(Result::err).expect("an error").to_string()
    }

    #[test]
    fn text_under_no_name_is_the_same_each_time_it_comes_back() {
        let first = record(Place::line(1), r#"{"负责人":"张三","question":"a"}"#).unwrap();
        let kept = &first.others[0].1;
        let again = serde_json::json!({"": kept, "question": "a"}).to_string();
        assert_eq!(record(Place::line(1), &again).unwrap().others, first.others);
    }

    #[test]
    fn a_line_that_is_no_object_is_shown_as_it_stands_there() {
        let line = r#"{"question":"a","answer":"b""#;
        let items: Vec<Item> = super::read(&format!("{line}\r\n")).collect();
        let [Item::Record(torn)] = items.as_slice() else {
            panic!("{items:?}")
        };
        assert_eq!(torn.others, [(0, line.to_owned())]);
        // And stays so in a result.
        let again = serde_json::json!({"": line, "outcome": "error", "reason": "row 1"}).to_string();
        assert_eq!(record(Place::line(1), &again).unwrap().others, torn.others);
        let long = "x".repeat(MAX_CELL_BYTES + 1);
        assert!(matches!(super::read(&long).next(), Some(Item::Error(_))));
    }

    #[test]
    fn under_no_name_nothing_may_stand() {
        let line = |text: &str| format!(r#"{{"":{text},"question":"a","answer":"b","outcome":"error"}}"#);
        for blank in ["\"\"", "\" \"", "null"] {
            assert!(read(&line(blank)).all(|row| row.is_ok()), "{blank}");
        }
        for text in ["\"和本人\"", "7"] {
            assert_eq!(error_of(&line(text)), format!("row 1: {UNDER_NO_NAME}"));
        }
    }

    #[test]
    fn only_question_and_answer_are_required() {
        let row = read(r#"{"question":"怎么开户","answer":"带身份证"}"#)
            .next()
            .unwrap()
            .unwrap();
        assert_eq!((row.place, row.id.clone()), (Place::line(1), None));
        let entry = row.into_entry_or(None, || EntryId::parse("new").unwrap()).unwrap();
        assert_eq!(entry.state, State::Published);
        assert_eq!(entry.answer, Answer::Text("带身份证".to_owned()));
    }

    #[test]
    fn errors_name_line_and_column() {
        for (line, expected) in [
            (
                r#"{"questoin":"a","answer":"b"}"#,
                r#"row 2: unknown column "questoin"; did you mean "question"?"#,
            ),
            (r#"{"question":"a"}"#, "row 2, column answer: is missing"),
            (
                r#"{"question":7,"answer":"b"}"#,
                "row 2, column question: must be a text, not 7",
            ),
            (
                r#"{"question":"a","question":"b"}"#,
                "row 2, column question: stands there twice",
            ),
            (
                r#"{"question":"a","answer":{}}"#,
                "row 2, column answer: of kind text: invalid type: map, expected a string",
            ),
            (
                r#"{"question":"a","answer":"b","kind":"imgae"}"#,
                r#"row 2, column kind: "imgae" is not a kind; did you mean "image"?"#,
            ),
            (
                r#"{"question":"a","answer":{"media_id":"m","x":1},"kind":"image"}"#,
                "row 2, column answer: of kind image: unknown field \"x\"; known are media_id",
            ),
            (
                r#"{"question":"a","answer":"b","similar":"c"}"#,
                "row 2, column similar: must be a list of texts, not \"c\"",
            ),
            (
                r#"{"question":"a","answer":"b","channels":["h6"]}"#,
                "row 2, column channels: \"h6\" is not known; known are wechat, h5, app, miniprogram, api",
            ),
            (
                r#"{"question":"a","answer":"b","id":"a b"}"#,
                "row 2, column id: \"a b\" is not 1–64 characters of A-Z a-z 0-9 . _ -",
            ),
            (
                r#"{"question":"a","answer":"b""#,
                "row 2: EOF while parsing an object at character 28",
            ),
            (
                "[]",
                "row 2: invalid type: sequence, expected a JSON object at character 0",
            ),
        ] {
            assert_eq!(error_of(&format!("\n{line}\n")), expected);
        }
    }

    #[test]
    fn a_bad_line_does_not_hide_the_next() {
        let rows: Vec<_> = read("{\n{\"question\":\"a\",\"answer\":\"b\"}\r\n").collect();
        assert_eq!((rows[0].is_err(), rows[1].is_ok(), rows.len()), (true, true, 2));
    }
}
