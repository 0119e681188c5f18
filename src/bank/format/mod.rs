//! Banks as files: JSONL, CSV and workbooks (.xlsx), one row an entry, the same columns in all.
//!
//! [`read_file`] takes a file of any of them, told apart by content, and hands its [`Item`]s over one by one;
//! [`Format::read`] does so for text that is known to be one's own. [`Format::write`] is the inverse: reading what was
//! written gives the same entries. `row` holds the table of columns, `header` says which stands where in a sheet.
//! Whether a row is new, changed or a duplicate is [`super::import`]'s subject, and limits are [`super::limits`]'.

pub mod beijing;
mod content;
mod csv;
mod header;
mod jsonl;
pub mod result;
mod row;
mod xlsx;

pub use header::{OUTCOME, REFUSED};
pub use jsonl::{from_line, to_line};
pub use row::{Cell, Column, Place, Record, Row, RowError};

use super::{Channel, Entry, EntryId};
use content::{Content, content_of};
use row::{COLUMNS, join_list};
use serde::{Deserialize, Serialize};
use std::borrow::{Borrow, Cow};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

/// A file format for banks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// RFC 4180 with a header row.
    Csv,
    /// A workbook; its first visible sheet.
    Xlsx,
}

/// What a file may come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes a workbook unpacks to.
    pub unpacked_bytes: u64,
    /// Files in a workbook's archive.
    pub archive_entries: u64,
    /// Cells with or without something in them, under headings that are known, and those with something under others.
    pub cells: u64,
}

/// Why a file as a whole is not read; completes “the file …”.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

impl Refusal {
    /// A refusal in those words.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// What a reader finds, in the file's order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Item {
    /// What the file is; comes first.
    Format(Format),
    /// Something about the file as a whole that its editor should know.
    Notice(String),
    /// The headings of a sheet that nobody knows, in its order; before any record that has something below them.
    Others(Vec<String>),
    #[expect(missing_docs, reason = "the type says it")]
    Record(Record),
    /// A row that cannot be understood. A mistake after which the rest has no meaning, in the header or in CSV's
    /// quotation marks, is the last item.
    Error(RowError),
}

impl From<Result<Record, RowError>> for Item {
    fn from(record: Result<Record, RowError>) -> Self {
        match record {
            Ok(record) => Self::Record(record),
            Err(error) => Self::Error(error),
        }
    }
}

/// Which columns are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// All: reading them gives the same entries.
    Full,
    /// Question and answer, under Chinese headings, as simple sheets have them; only for answers that are texts.
    Simple,
}

impl Layout {
    /// Whether a file of this format and layout has a row for the entry.
    pub fn takes(self, format: Format, entry: &Entry) -> bool {
        match (format, self) {
            (Format::Jsonl, _) | (_, Self::Full) => true,
            (Format::Csv | Format::Xlsx, Self::Simple) => entry.answer.kind() == "text",
        }
    }
}

impl Format {
    /// The formats' file extensions.
    pub const EXTENSIONS: [&str; 3] = ["xlsx", "csv", "jsonl"];

    /// The format the extension names, in any case; `None`: not one of [`Format::EXTENSIONS`].
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "jsonl" => Some(Self::Jsonl),
            "csv" => Some(Self::Csv),
            "xlsx" => Some(Self::Xlsx),
            _ => None,
        }
    }

    /// The extension.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
        }
    }

    /// The rows of text in this format, in order; blank ones are left out. `text` comes from [`decode`]. A workbook is no
    /// text: of [`Format::Xlsx`] there is one error.
    ///
    /// # Errors
    /// As [`Item::Error`] says.
    pub fn read(self, text: &str) -> impl Iterator<Item = Result<Row, RowError>> + '_ {
        self.items(text).filter_map(|item| match item {
            Item::Record(record) => Some(record.row()),
            Item::Error(error) => Some(Err(error)),
            Item::Format(_) | Item::Notice(_) | Item::Others(_) => None,
        })
    }

    fn items(self, text: &str) -> Box<dyn Iterator<Item = Item> + '_> {
        match self {
            Self::Jsonl => Box::new(jsonl::read(text)),
            Self::Csv => csv::read(text),
            Self::Xlsx => {
                let error = RowError::new(Place::line(1), None, "a workbook is not read as text");
                Box::new(std::iter::once(Item::Error(error)))
            }
        }
    }

    /// Writes the entries one by one, in their order. JSONL has every field whatever the layout.
    ///
    /// # Errors
    /// Whatever `out` says, and a text too long for a cell of a workbook.
    pub fn write<E: Borrow<Entry>>(
        self,
        layout: Layout,
        entries: impl IntoIterator<Item = E>,
        out: &mut dyn io::Write,
    ) -> io::Result<()> {
        let entries = entries.into_iter();
        let full = COLUMNS.map(|(column, ..)| column);
        match (self, layout) {
            (Self::Jsonl, _) => jsonl::write(entries, out),
            (_, Layout::Full) => {
                let rows = entries.map(|entry| full.map(|column| own_cell_of(entry.borrow(), column)));
                write_table(self, &full.map(Column::name), rows, out)
            }
            (_, Layout::Simple) => {
                let columns = [Column::Question, Column::Answer];
                let rows = entries.filter(|entry| layout.takes(self, entry.borrow()));
                let rows = rows.map(|entry| columns.map(|column| own_cell_of(entry.borrow(), column)));
                write_table(self, &columns.map(Column::chinese), rows, out)
            }
        }
    }
}

/// A cell that outlives its entry.
fn own_cell_of(entry: &Entry, column: Column) -> Cow<'static, str> {
    Cow::Owned(cell_of(entry, column).into_owned())
}

/// Writes a sheet: a header and rows of as many cells.
fn write_table<'a>(
    format: Format,
    headings: &[&str],
    rows: impl Iterator<Item = impl AsRef<[Cow<'a, str>]>>,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    match format {
        Format::Xlsx => xlsx::write(headings, rows, out),
        // JSONL is no sheet; who asks for it has been served before.
        Format::Csv | Format::Jsonl => csv::write(headings, rows, out),
    }
}

/// The row of the template that shows how one is filled in; a draft, so that nobody is answered with it.
const EXAMPLE: &str = include_str!("example.jsonl");

/// Writes a workbook to fill in: the headings, one row as an example, and notes on a second sheet.
#[expect(
    clippy::missing_panics_doc,
    reason = "the example is part of the program and held by a test"
)]
pub fn write_template(out: &mut dyn io::Write) -> io::Result<()> {
    let id = || EntryId::parse("example").expect("letters only");
    let row = Format::Jsonl.read(EXAMPLE).next().expect("it has a line");
    let example = row
        .and_then(|row| row.into_entry_or(None, id))
        .expect("it is a valid one");
    let cells = COLUMNS.map(|(column, ..)| match column {
        // Whoever keeps the row adds an entry of his own.
        Column::Id => Cow::Borrowed(""),
        column => cell_of(&example, column),
    });
    xlsx::write_template(cells, out)
}

/// Hands over what the file says, until `sink` breaks off.
///
/// # Errors
/// The file is none of ours, damaged or beyond the limits; what came before has been handed over.
pub fn read_file(bytes: &[u8], limits: &Limits, sink: &mut dyn FnMut(Item) -> ControlFlow<()>) -> Result<(), Refusal> {
    let mut cells = 0;
    let mut counted = |item: Item| {
        if let Item::Record(record) = &item {
            cells += (record.cells.len() + record.others.len()) as u64;
        }
        match cells > limits.cells {
            true => ControlFlow::Break(()),
            false => sink(item),
        }
    };
    let ended = match content_of(bytes)? {
        Content::Archive => {
            let _ = counted(Item::Format(Format::Xlsx));
            xlsx::read(bytes, limits, &mut counted).map(|_| ())
        }
        Content::Text { format, text, encoding } => {
            let notice = encoding.map(|encoding| Item::Notice(format!("the text is in {encoding} and read so")));
            let mut items = std::iter::once(Item::Format(format))
                .chain(notice)
                .chain(format.items(&text));
            let _ = items.try_for_each(&mut counted);
            Ok(())
        }
    };
    match cells > limits.cells {
        true => Err(Refusal::new(format!("has more than {} cells", limits.cells))),
        false => ended,
    }
}

/// The text of a file in UTF-8, without its byte order mark if it has one.
///
/// # Errors
/// [`RowError`] at the first line that is not UTF-8.
pub fn decode(bytes: &[u8]) -> Result<&str, RowError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].split(|&b| b == b'\n').count() as u64;
        RowError::new(Place::line(line), None, "is not UTF-8; in Excel, save as “CSV UTF-8”")
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// What stands under that column, as [`Record::row`] understands it.
fn cell_of(entry: &Entry, column: Column) -> Cow<'_, str> {
    let list = |items: &[String]| Cow::Owned(join_list(items.iter().map(String::as_str)));
    let time = |time: Option<i64>| Cow::Owned(time.map(beijing::format).unwrap_or_default());
    match column {
        Column::Id => EntryId::as_str(&entry.id).into(),
        Column::Question => entry.question.as_str().into(),
        Column::Similar => list(&entry.similar),
        Column::Answer => entry.answer.content(),
        Column::Category => entry.category.as_str().into(),
        Column::Tags => list(&entry.tags),
        Column::Kind => entry.answer.kind().into(),
        Column::State => entry.state.as_str().into(),
        Column::Accounts => list(&entry.accounts),
        Column::Channels => Cow::Owned(join_list(
            entry.channels.iter().map(|channel| Channel::as_str(*channel)),
        )),
        Column::ValidFrom => time(entry.valid_from),
        Column::ValidUntil => time(entry.valid_until),
        Column::Priority => entry.priority.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::{Answer, Article, State};
    use proptest::prelude::*;

    /// Text made of what breaks file formats; never blank, no white space around it.
    fn nasty() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "\"",
            ",",
            "\n",
            "\r\n",
            "\t",
            "|",
            "\\",
            "=",
            "+",
            "-",
            "@",
            "'",
            "\0",
            "问",
            "👨‍👩‍👧",
            " ",
            ";",
            "a",
            "\u{feff}",
            "\u{2028}",
            "_x000D_",
            "_x005F_",
            "\r",
            "\u{1b}",
            "\u{ffff}",
            "<&>",
        ]);
        prop::collection::vec(pieces, 1..8)
            .prop_map(|pieces| pieces.concat())
            .prop_filter("a blank cell is an absent one", |text| !text.trim().is_empty())
    }

    /// Whether the entry comes to NUL in CSV; in answers of other kinds JSON writes it `\\u0000`.
    fn has_nul(entry: &Entry) -> bool {
        COLUMNS
            .iter()
            .any(|(column, ..)| cell_of(entry, *column).contains('\0'))
    }

    fn answer() -> impl Strategy<Value = Answer> {
        prop_oneof![
            4 => nasty().prop_map(Answer::Text),
            1 => nasty().prop_map(|media_id| Answer::Image { media_id }),
            1 => prop::option::of(nasty()).prop_map(|kf_account| Answer::Handoff { kf_account }),
            1 => (nasty(), nasty()).prop_map(|(title, url)| Answer::News {
                articles: vec![Article { title, description: String::new(), url, picurl: String::new() }]
            }),
        ]
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let lists = || prop::collection::vec(nasty(), 0..3);
        let time = || prop::option::of(0..=super::super::limits::MAX_TIME);
        let states = prop::sample::select(vec![State::Draft, State::Published, State::Disabled]);
        let channels = prop::sample::subsequence(Channel::NAMES.map(|(channel, _)| channel).to_vec(), 0..3);
        (
            ("[A-Za-z0-9._-]{1,64}", nasty(), answer(), nasty()),
            (lists(), lists(), lists(), channels, states),
            (time(), time(), -100..=100),
        )
            .prop_map(
                |((id, question, answer, category), (similar, tags, accounts, channels, state), rest)| {
                    let (valid_from, valid_until, priority) = rest;
                    Entry {
                        similar,
                        category,
                        tags: tags.into(),
                        state,
                        accounts: accounts.into(),
                        channels: channels.into(),
                        valid_from,
                        valid_until,
                        priority,
                        ..Entry::new(EntryId::parse(&id).unwrap(), question, answer)
                    }
                },
            )
    }

    const LIMITS: Limits = Limits {
        unpacked_bytes: 1 << 20,
        archive_entries: 20,
        cells: 1_000,
    };

    fn written(format: Format, layout: Layout, entries: &[Entry]) -> Vec<u8> {
        let mut file = Vec::new();
        format.write(layout, entries, &mut file).unwrap();
        file
    }

    fn items(file: &[u8], limits: &Limits) -> (Vec<Item>, Result<(), Refusal>) {
        let mut items = Vec::new();
        let ended = read_file(file, limits, &mut |item| {
            items.push(item);
            ControlFlow::Continue(())
        });
        (items, ended)
    }

    fn read_back(file: &[u8]) -> Vec<Entry> {
        let (items, ended) = items(file, &LIMITS);
        ended.unwrap();
        let number = std::cell::Cell::new(0);
        let new_id = || {
            number.set(number.get() + 1);
            EntryId::parse(&format!("new-{}", number.get())).unwrap()
        };
        let entry = |item| match item {
            Item::Record(record) => Some(record.row().unwrap().into_entry_or(None, new_id).unwrap()),
            Item::Error(error) => panic!("{error}"),
            Item::Format(_) | Item::Notice(_) | Item::Others(_) => None,
        };
        items.into_iter().filter_map(entry).collect()
    }

    proptest! {
        #[test]
        fn reading_what_was_written_gives_the_same_bank(entries in prop::collection::vec(entry(), 0..4)) {
            for format in [Format::Jsonl, Format::Csv, Format::Xlsx] {
                // A file with NULs is no text, whatever CSV allows.
                let entries: Vec<Entry> = entries.iter().filter(|entry| format != Format::Csv || !has_nul(entry)).cloned().collect();
                prop_assert_eq!(&read_back(&written(format, Layout::Full, &entries)), &entries, "{:?}", format);
            }
        }

        #[test]
        fn no_text_makes_a_reader_panic(text in "(?s)[\"',|\\\\\n\r{}\\[\\]:=a问 ]{0,60}", head in prop::bool::ANY) {
            let text = if head { format!("question,answer\n{text}") } else { text };
            for format in [Format::Jsonl, Format::Csv] {
                format.read(&text).for_each(drop);
            }
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_other_encodings_are_refused_with_the_line() {
        assert_eq!(decode("\u{feff}问题".as_bytes()).unwrap(), "问题");
        let error = decode(b"question\n\xce\xca\xcc\xe2").unwrap_err();
        assert_eq!(error.place.line, 2);
    }

    #[test]
    fn the_extension_decides_the_format() {
        assert_eq!(Format::of(Path::new("a/b.CSV")), Some(Format::Csv));
        assert_eq!(Format::of(Path::new("b.jsonl")), Some(Format::Jsonl));
        assert_eq!(Format::of(Path::new("b.xls")), None);
        for format in [Format::Jsonl, Format::Csv, Format::Xlsx] {
            assert_eq!(
                Format::of(&Path::new("b").with_extension(format.as_str())),
                Some(format)
            );
        }
    }

    fn text_entry(id: &str, question: &str) -> Entry {
        let answer = Answer::Text("答".to_owned());
        Entry::new(EntryId::parse(id).unwrap(), question.to_owned(), answer)
    }

    #[test]
    fn a_simple_sheet_has_questions_and_text_answers() {
        let handoff = Answer::Handoff { kf_account: None };
        let entries = [
            text_entry("new-1", "甲"),
            Entry {
                answer: handoff,
                ..text_entry("b", "乙")
            },
        ];
        for format in [Format::Csv, Format::Xlsx] {
            assert_eq!(
                read_back(&written(format, Layout::Simple, &entries)),
                entries[..1],
                "{format:?}"
            );
        }
        let csv = written(Format::Csv, Layout::Simple, &entries);
        assert_eq!(String::from_utf8(csv).unwrap(), "\u{feff}问题,答案\r\n甲,答\r\n");
    }

    #[test]
    fn the_template_reads_as_a_draft_and_names_the_sheet_that_is_not_read() {
        let mut file = Vec::new();
        write_template(&mut file).unwrap();
        let entries = read_back(&file);
        assert_eq!((entries.len(), entries[0].state), (1, State::Draft));
        assert!(entries[0].validate().is_ok() && !entries[0].similar.is_empty());
        let notice = Item::Notice("sheet \"题库\" is read, \"说明\" not".to_owned());
        assert!(items(&file, &LIMITS).0.contains(&notice));
    }

    #[test]
    fn a_text_too_long_for_a_cell_of_a_workbook_is_refused_with_its_name() {
        let similar = vec!["问".repeat(300); 120];
        let long = Entry {
            similar,
            ..text_entry("long", "甲")
        };
        let refusal = Format::Xlsx.write(Layout::Full, [&long], &mut Vec::new()).unwrap_err();
        let expected = "row 2, column similar (long): has 36119 characters, a cell of Excel holds 32767";
        assert!(refusal.to_string().starts_with(expected), "{refusal}");
    }

    #[test]
    fn a_file_with_too_many_cells_is_refused() {
        let entries = [text_entry("a", "甲"), text_entry("b", "乙")];
        for format in [Format::Jsonl, Format::Csv, Format::Xlsx] {
            let file = written(format, Layout::Full, &entries);
            let (items, ended) = items(&file, &Limits { cells: 25, ..LIMITS });
            assert_eq!(ended.unwrap_err().to_string(), "has more than 25 cells");
            assert_eq!(items.iter().filter(|item| matches!(item, Item::Record(_))).count(), 1);
        }
    }
}
