//! Templates and dictionaries as texts that are edited as the bank is: how they are named, and what may be kept.
//!
//! [`Text::new`] takes what every database can hold and give back unchanged. Whether it is a good template or dictionary
//! is found out by `dialog::Templates` and [`super::Dictionaries`], and told as a [`TextFault`]. Small talk (category 闲聊)
//! is no text: it is entries of the bank.

use super::dictionary::{DictionaryError, DictionaryFile};
use super::history::{Subject, Thing};
use std::fmt;

/// Longest text, in bytes. A change is kept with what was there before, and MySQL takes no more than 4 MiB at once.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// What a text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TextKind {
    /// What followers read.
    Template,
    /// Words for the matcher, one of [`DictionaryFile`].
    Dictionary,
}

impl TextKind {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Template, Self::Dictionary];

    /// Under which its changes are kept.
    pub fn subject(self) -> Subject {
        match self {
            Self::Template => Subject::Template,
            Self::Dictionary => Subject::Dictionary,
        }
    }

    /// `None`: what the subject names is no text.
    pub fn of(subject: Subject) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.subject() == subject)
    }
}

/// Which text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextName {
    #[expect(missing_docs, reason = "the type says it")]
    pub kind: TextKind,
    /// The name of the file that would override it: `not_found.txt`.
    pub file: String,
}

impl TextName {
    /// That template, that dictionary.
    pub fn new(kind: TextKind, file: impl Into<String>) -> Self {
        let file = file.into();
        Self { kind, file }
    }

    /// As it stands in the history.
    pub fn thing(&self) -> Thing {
        Thing::new(self.kind.subject(), self.file.clone())
    }
}

impl fmt::Display for TextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.thing().fmt(f)
    }
}

/// A template or a dictionary in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    #[expect(missing_docs, reason = "the type says it")]
    pub name: TextName,
    /// As it was given, line ends and byte order mark included.
    pub body: String,
}

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}:{line}: {reason}")]
pub struct TextFault {
    #[expect(missing_docs, reason = "the type says it")]
    pub name: TextName,
    /// From 1.
    pub line: usize,
    /// What is wrong and what is allowed.
    pub reason: String,
}

impl Text {
    /// Of the content of a file.
    ///
    /// # Errors
    /// The first line that is not UTF-8 or holds a control character other than tab and line end, or a content longer
    /// than [`MAX_TEXT_BYTES`].
    pub fn new(name: TextName, content: &[u8]) -> Result<Self, TextFault> {
        if content.len() > MAX_TEXT_BYTES {
            let reason = format!("{} bytes; at most {MAX_TEXT_BYTES} are allowed", content.len());
            return Err(fault(&name, &[], reason));
        }
        let body = utf8(&name, content)?;
        let is_odd = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
        if let Some((at, c)) = body.char_indices().find(|(_, c)| is_odd(*c)) {
            let reason = format!("control character U+{:04X}", u32::from(c));
            return Err(fault(&name, &content[..at], reason));
        }
        let body = body.to_owned();
        Ok(Self { name, body })
    }
}

/// The content of a text as characters.
///
/// # Errors
/// The first line that is not UTF-8.
pub fn utf8<'a>(name: &TextName, content: &'a [u8]) -> Result<&'a str, TextFault> {
    std::str::from_utf8(content).map_err(|error| fault(name, &content[..error.valid_up_to()], "not UTF-8".into()))
}

/// Right after what stands `before`.
fn fault(name: &TextName, before: &[u8], reason: String) -> TextFault {
    let line = before.split(|&byte| byte == b'\n').count();
    let name = name.clone();
    TextFault { name, line, reason }
}

impl From<DictionaryError> for TextFault {
    fn from(DictionaryError { file, line, reason }: DictionaryError) -> Self {
        Self {
            name: file.into(),
            line,
            reason,
        }
    }
}

impl From<DictionaryFile> for TextName {
    fn from(file: DictionaryFile) -> Self {
        Self::new(TextKind::Dictionary, file.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_database_could_not_give_back_is_refused_with_its_line() {
        let name = TextName::new(TextKind::Dictionary, "user.txt");
        let refused = |content: &[u8]| Text::new(name.clone(), content).unwrap_err().to_string();
        assert_eq!(refused(b"a\n\xff"), "dict/user.txt:2: not UTF-8");
        assert_eq!(
            refused("一\r\n二\n# \0".as_bytes()),
            "dict/user.txt:3: control character U+0000"
        );
        assert!(refused(&vec![b'a'; MAX_TEXT_BYTES + 1]).starts_with("dict/user.txt:1: 1048577 bytes"));
        let content = "\u{feff}一\t二\r\n\r\n";
        assert_eq!(Text::new(name, content.as_bytes()).unwrap().body, content);
    }
}
