//! Banks as files: JSONL and CSV, one row an entry, the same columns in both.
//!
//! [`Format::read`] turns a file's text into [`Row`]s or says which row and column is wrong; [`Format::write`] is its
//! inverse: reading what was written gives the same entries. `row` holds the table of columns both formats share.
//! Whether a row is new, changed or a duplicate is [`super::import`]'s subject, and limits are [`super::limits`]'.

pub mod beijing;
mod csv;
mod jsonl;
mod row;

pub use jsonl::to_line;
pub use row::{Place, Row, RowError};

use super::Entry;
use std::io;
use std::path::Path;

/// A file format for banks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// RFC 4180 with a header row.
    Csv,
}

impl Format {
    /// The formats' file extensions.
    pub const EXTENSIONS: [&str; 2] = ["jsonl", "csv"];

    /// The format the extension names, in any case; `None`: not one of [`Format::EXTENSIONS`].
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "jsonl" => Some(Self::Jsonl),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// The rows of a file, in order; blank ones are left out. `text` comes from [`decode`].
    ///
    /// # Errors
    /// A row that cannot be understood is an error among the rows. A mistake after which the rest has no meaning, in
    /// the header or in CSV's quotation marks, is the last item.
    pub fn read(self, text: &str) -> Box<dyn Iterator<Item = Result<Row, RowError>> + '_> {
        match self {
            Self::Jsonl => Box::new(jsonl::read(text)),
            Self::Csv => csv::read(text),
        }
    }

    /// Writes the entries one by one, in their order, with every column.
    pub fn write<'a>(self, entries: impl IntoIterator<Item = &'a Entry>, out: &mut dyn io::Write) -> io::Result<()> {
        match self {
            Self::Jsonl => jsonl::write(entries, out),
            Self::Csv => csv::write(entries, out),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::{Answer, Article, Channel, EntryId, State};
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
        ]);
        prop::collection::vec(pieces, 1..8)
            .prop_map(|pieces| pieces.concat())
            .prop_filter("a blank cell is an absent one", |text| !text.trim().is_empty())
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
                        tags,
                        state,
                        accounts,
                        channels,
                        valid_from,
                        valid_until,
                        priority,
                        ..Entry::new(EntryId::parse(&id).unwrap(), question, answer)
                    }
                },
            )
    }

    fn written(format: Format, entries: &[Entry]) -> String {
        let mut file = Vec::new();
        format.write(entries, &mut file).unwrap();
        decode(&file).unwrap().to_owned()
    }

    fn read_back(format: Format, text: &str) -> Vec<Entry> {
        format
            .read(text)
            .map(|row| {
                row.unwrap()
                    .into_entry_or(None, || panic!("an id was written"))
                    .unwrap()
            })
            .collect()
    }

    proptest! {
        #[test]
        fn reading_what_was_written_gives_the_same_bank(entries in prop::collection::vec(entry(), 0..4)) {
            for format in [Format::Jsonl, Format::Csv] {
                prop_assert_eq!(&read_back(format, &written(format, &entries)), &entries);
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
    }
}
