//! What a file is, judged by its bytes and never by its name: a workbook, or text in which encoding and format.
//!
//! [`content_of`] is the entry point. A file that is none of ours is refused with what it is instead, as far as that
//! can be seen; whether a workbook is a sound one is `xlsx`'s subject.

use super::{Format, Refusal, decode};
use encoding_rs::{Encoding, GB18030, UTF_16BE, UTF_16LE};
use std::borrow::Cow;

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// An archive, most likely of a workbook.
    Archive,
    /// CSV or JSONL.
    Text {
        format: Format,
        /// Without byte order mark.
        text: Cow<'a, str>,
        /// The encoding, if it is not UTF-8.
        encoding: Option<&'static str>,
    },
}

/// Says what the file is.
///
/// # Errors
/// It is none of the formats, or text in an encoding we do not know; the reason names the first line that is not UTF-8.
pub fn content_of(bytes: &[u8]) -> Result<Content<'_>, Refusal> {
    if bytes.starts_with(b"PK\x03\x04") {
        return Ok(Content::Archive);
    }
    if bytes.starts_with(b"PK") && bytes.get(2..4).is_some_and(|rest| rest[0] == rest[1] - 1) {
        return Err(Refusal::new("is an empty or divided zip archive, not a workbook"));
    }
    if bytes.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return Err(compound_document(bytes));
    }
    let (text, encoding) = text_of(bytes)?;
    // A file without anything in it is a bank without entries in JSONL, and no sheet: that has a header at least.
    let format = match text.trim_start().chars().next() {
        Some('{') | None => Format::Jsonl,
        Some(_) => Format::Csv,
    };
    Ok(Content::Text { format, text, encoding })
}

/// What old Excel writes, and new Excel around a workbook with a password.
fn compound_document(bytes: &[u8]) -> Refusal {
    let name: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let is_encrypted = bytes.windows(name.len()).any(|window| window == name);
    Refusal::new(match is_encrypted {
        true => "is a workbook with a password: save it without one",
        false => "is an .xls workbook of Excel 97–2003, whatever its name says: save it as .xlsx",
    })
}

fn text_of(bytes: &[u8]) -> Result<(Cow<'_, str>, Option<&'static str>), Refusal> {
    for (mark, encoding, name) in [(b"\xff\xfe", UTF_16LE, "UTF-16"), (b"\xfe\xff", UTF_16BE, "UTF-16")] {
        if let Some(rest) = bytes.strip_prefix(mark) {
            let text = decoded(encoding, rest).ok_or_else(|| Refusal::new("is not the UTF-16 its first bytes say"))?;
            return Ok((text, Some(name)));
        }
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        let line = bytes[..at].split(|byte| *byte == b'\n').count();
        let reason = format!("has NUL bytes, the first in line {line}: it is neither text nor a workbook");
        return Err(Refusal::new(reason));
    }
    match decode(bytes) {
        Ok(text) => Ok((text.into(), None)),
        Err(error) => {
            let text = decoded(GB18030, bytes).filter(|text| !text.chars().any(is_unlikely));
            let text = text
                .ok_or_else(|| Refusal::new(format!("is not UTF-8 from line {} on, nor GB18030", error.place.line)))?;
            Ok((text, Some("GB18030")))
        }
    }
}

/// `None` when the bytes are not in that encoding.
fn decoded<'a>(encoding: &'static Encoding, bytes: &'a [u8]) -> Option<Cow<'a, str>> {
    encoding.decode_without_bom_handling_and_without_replacement(bytes)
}

/// What nearly any bytes give when they are read as GB18030 and are something else.
fn is_unlikely(c: char) -> bool {
    matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{80}'..='\u{9f}') || (c.is_control() && !c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> (Format, String, Option<&'static str>) {
        match content_of(bytes).unwrap() {
            Content::Text { format, text, encoding } => (format, text.into_owned(), encoding),
            Content::Archive => panic!("not text"),
        }
    }

    #[test]
    fn encodings_are_told_apart_and_named() {
        let sheet = "问题,答案\n怎么开户,带身份证\n";
        let utf16 = |bytes: fn(u16) -> [u8; 2]| sheet.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        let marked = |mark: &[u8], rest: Vec<u8>| [mark, &rest].concat();
        for (bytes, encoding) in [
            (sheet.as_bytes().to_vec(), None),
            (marked(b"\xef\xbb\xbf", sheet.into()), None),
            (marked(b"\xff\xfe", utf16(u16::to_le_bytes)), Some("UTF-16")),
            (marked(b"\xfe\xff", utf16(u16::to_be_bytes)), Some("UTF-16")),
            (GB18030.encode(sheet).0.into_owned(), Some("GB18030")),
        ] {
            assert_eq!(text(&bytes), (Format::Csv, sheet.to_owned(), encoding));
        }
        for lines in [b" \n{\"question\":1}".as_slice(), b" \n", b""] {
            assert_eq!(text(lines).0, Format::Jsonl);
        }
        assert_eq!(content_of(b"PK\x03\x04"), Ok(Content::Archive));
    }

    #[test]
    fn what_is_none_of_ours_is_refused_with_what_it_is() {
        let compound = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec();
        let package: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (bytes, reason) in [
            (compound.clone(), "is an .xls workbook"),
            ([compound, package].concat(), "is a workbook with a password"),
            (b"a,b\nc,\0\n".to_vec(), "has NUL bytes, the first in line 2"),
            (b"PK\x05\x06\0\0".to_vec(), "is an empty or divided zip archive"),
            (b"question,answer\na,\xff\xff\n".to_vec(), "is not UTF-8 from line 2 on"),
            (b"\xff\xfe\x00\xd8\x00\x00".to_vec(), "is not the UTF-16"),
        ] {
            let refusal = content_of(&bytes).unwrap_err().to_string();
            assert!(refusal.starts_with(reason), "{refusal}");
        }
    }
}
