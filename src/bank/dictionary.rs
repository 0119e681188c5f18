//! The operator's dictionaries: user words, stop words, synonyms, contrast groups, sensitive words.
//!
//! [`Dictionaries::parse`] is the entry point: it takes the texts of the five files and gives one value, or of each
//! wrong file the first thing that is wrong, with its line. Nothing is taken from a set with an error in it, so the last good
//! dictionaries can stay in use. Reading files, and embedding the default ones, is the caller's work.
//!
//! Form: UTF-8, one entry a line, `#` starts a comment at the beginning of a line or after white space; a byte order
//! mark, CRLF and empty lines are tolerated. Words keep their spelling here; `matching` normalises them.

use std::collections::HashSet;
use std::fmt;

/// Longest word, in characters; longer lines are sentences put into the wrong file.
pub const MAX_WORD_CHARS: usize = 32;
/// jieba never cuts a word whose frequency is 0, and hardly one whose frequency is 1 or 2.
const MIN_FREQUENCY: usize = 3;
/// Above the sum of jieba's own dictionary a word would swallow its neighbours.
const MAX_FREQUENCY: usize = 10_000_000;

/// The words the operator teaches the matcher.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dictionaries {
    /// `word [freq] [tag]` a line.
    pub user: Vec<UserWord>,
    /// One word a line.
    pub stopwords: Vec<String>,
    /// Classes of words that mean the same; each has at least two members.
    pub synonyms: Vec<Vec<String>>,
    /// Groups of words that must not be confused; each has at least two members.
    pub contrast: Vec<Vec<String>>,
    /// Words whose messages get the refusal reply.
    pub sensitive: Vec<String>,
}

/// A word jieba shall know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserWord {
    #[expect(missing_docs, reason = "the type says it")]
    pub word: String,
    /// 3–10,000,000; `None`: high enough to be cut as one word.
    pub frequency: Option<usize>,
    /// Part of speech, jieba's tags; `None`: unknown.
    pub tag: Option<String>,
}

/// One of the five files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DictionaryFile {
    /// `user.txt`
    User,
    /// `stopwords.txt`
    Stopwords,
    /// `synonyms.txt`
    Synonyms,
    /// `contrast.txt`
    Contrast,
    /// `sensitive.txt`
    Sensitive,
}

impl DictionaryFile {
    /// Every file, in the order of [`DictionaryTexts`].
    pub const ALL: [Self; 5] = [
        Self::User,
        Self::Stopwords,
        Self::Synonyms,
        Self::Contrast,
        Self::Sensitive,
    ];

    /// The name inside the dictionary folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user.txt",
            Self::Stopwords => "stopwords.txt",
            Self::Synonyms => "synonyms.txt",
            Self::Contrast => "contrast.txt",
            Self::Sensitive => "sensitive.txt",
        }
    }

    /// `None` when there is none of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|file| file.name() == name)
    }
}

impl fmt::Display for DictionaryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with a dictionary, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {reason}")]
pub struct DictionaryError {
    /// The file that was refused.
    pub file: DictionaryFile,
    /// From 1.
    pub line: usize,
    /// What is wrong and what is allowed.
    pub reason: String,
}

/// The bytes of the five files; an absent file is an empty one.
#[derive(Debug, Clone, Copy, Default)]
#[expect(missing_docs, reason = "the fields are named after the files")]
pub struct DictionaryTexts<'a> {
    pub user: &'a [u8],
    pub stopwords: &'a [u8],
    pub synonyms: &'a [u8],
    pub contrast: &'a [u8],
    pub sensitive: &'a [u8],
}

impl Dictionaries {
    /// Reads the five files; a word given twice in one list counts once.
    ///
    /// # Errors
    /// One [`DictionaryError`] for each wrong file, in their order: its first line that is not UTF-8, holds a control
    /// character, a word longer than [`MAX_WORD_CHARS`], an unusable frequency, or a group with fewer than two different
    /// members.
    pub fn parse(texts: DictionaryTexts<'_>) -> Result<Self, Vec<DictionaryError>> {
        let mut errors = Vec::new();
        let parsed = Self {
            user: distinct(
                lines_of(DictionaryFile::User, texts.user, user_word, &mut errors),
                |user| &user.word,
            ),
            stopwords: distinct(
                lines_of(DictionaryFile::Stopwords, texts.stopwords, word, &mut errors),
                |word| word,
            ),
            synonyms: lines_of(DictionaryFile::Synonyms, texts.synonyms, group, &mut errors),
            contrast: lines_of(DictionaryFile::Contrast, texts.contrast, group, &mut errors),
            sensitive: distinct(
                lines_of(DictionaryFile::Sensitive, texts.sensitive, word, &mut errors),
                |word| word,
            ),
        };
        if errors.is_empty() { Ok(parsed) } else { Err(errors) }
    }

    /// The dictionaries that have nothing in them any more in `next`, with how many entries they have here.
    pub fn emptied<'a>(&'a self, next: &'a Self) -> impl Iterator<Item = (DictionaryFile, usize)> + 'a {
        let sizes = |all: &Self| {
            DictionaryFile::ALL.map(|file| match file {
                DictionaryFile::User => all.user.len(),
                DictionaryFile::Stopwords => all.stopwords.len(),
                DictionaryFile::Synonyms => all.synonyms.len(),
                DictionaryFile::Contrast => all.contrast.len(),
                DictionaryFile::Sensitive => all.sensitive.len(),
            })
        };
        let both = sizes(self).into_iter().zip(sizes(next));
        let files = DictionaryFile::ALL.into_iter().zip(both);
        files.filter_map(|(file, (before, after))| (before > 0 && after == 0).then_some((file, before)))
    }

    /// Whether texts are cut and compared alike with both: all but the sensitive words are the same.
    pub fn cuts_as(&self, other: &Self) -> bool {
        let Self {
            user,
            stopwords,
            synonyms,
            contrast,
            sensitive: _,
        } = self;
        (user, stopwords, synonyms, contrast) == (&other.user, &other.stopwords, &other.synonyms, &other.contrast)
    }
}

fn distinct<T>(items: Vec<T>, key: impl Fn(&T) -> &String) -> Vec<T> {
    let mut seen = HashSet::new();
    let first: Vec<bool> = items.iter().map(|item| seen.insert(key(item).clone())).collect();
    items
        .into_iter()
        .zip(first)
        .filter_map(|(item, first)| first.then_some(item))
        .collect()
}

/// As [`parse_lines`]; nothing, with one error more, when a line is wrong.
fn lines_of<T>(
    file: DictionaryFile,
    bytes: &[u8],
    parse: impl Fn(&str) -> Result<T, String>,
    errors: &mut Vec<DictionaryError>,
) -> Vec<T> {
    parse_lines(file, bytes, parse).unwrap_or_else(|error| {
        errors.push(error);
        Vec::new()
    })
}

/// Applies `parse` to every line that holds something, without its comment and the white space around it.
fn parse_lines<T>(
    file: DictionaryFile,
    bytes: &[u8],
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, DictionaryError> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut items = Vec::new();
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let refuse = |reason: String| DictionaryError {
            file,
            line: number + 1,
            reason,
        };
        let line = std::str::from_utf8(line).map_err(|_| refuse("not UTF-8".into()))?;
        let line = without_comment(line).trim();
        if line.is_empty() {
            continue;
        }
        if let Some(control) = line.chars().find(|c| c.is_control() && *c != '\t') {
            return Err(refuse(format!("control character U+{:04X}", u32::from(control))));
        }
        items.push(parse(line).map_err(refuse)?);
    }
    Ok(items)
}

/// `C#` is a word; ` # ` begins a comment.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        if c == '#' && before.is_whitespace() {
            return &line[..at];
        }
        before = c;
    }
    line
}

fn word(line: &str) -> Result<String, String> {
    let length = line.chars().count();
    if length > MAX_WORD_CHARS {
        return Err(format!(
            "a word of {length} characters; at most {MAX_WORD_CHARS} are allowed"
        ));
    }
    if !line.chars().any(char::is_alphanumeric) {
        return Err(format!("{line:?} holds no letter or digit"));
    }
    Ok(line.to_owned())
}

fn user_word(line: &str) -> Result<UserWord, String> {
    let mut fields = line.split_whitespace();
    let text = word(fields.next().unwrap_or_default())?;
    let mut next = fields.next();
    let mut frequency = None;
    if let Some(field) = next
        && field.starts_with(|c: char| c.is_ascii_digit() || c == '-')
    {
        let number = field
            .parse()
            .ok()
            .filter(|n| (MIN_FREQUENCY..=MAX_FREQUENCY).contains(n));
        let range = format!("frequency {field:?} is not a whole number in {MIN_FREQUENCY}–{MAX_FREQUENCY}");
        frequency = Some(number.ok_or(range)?);
        next = fields.next();
    }
    let tag = next.map(str::to_owned);
    if let Some(tag) = &tag
        && !tag.bytes().all(|b| b.is_ascii_alphanumeric())
    {
        return Err(format!(
            "tag {tag:?} is not made of letters a-z; the form is: word [frequency] [tag]"
        ));
    }
    if let Some(extra) = fields.next() {
        return Err(format!("{extra:?} after the tag; the form is: word [frequency] [tag]"));
    }
    Ok(UserWord {
        word: text,
        frequency,
        tag,
    })
}

fn group(line: &str) -> Result<Vec<String>, String> {
    let members: Vec<&str> = line
        .split([';', '；'])
        .map(str::trim)
        .filter(|member| !member.is_empty())
        .collect();
    let members = members.into_iter().map(word).collect::<Result<Vec<_>, _>>()?;
    let members = distinct(members, |member| member);
    if members.len() < 2 {
        return Err("a group needs at least two different members, separated by ;".into());
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(texts: DictionaryTexts<'_>) -> (DictionaryFile, usize) {
        let errors = Dictionaries::parse(texts).unwrap_err();
        assert_eq!(errors.len(), 1);
        (errors[0].file, errors[0].line)
    }

    #[test]
    fn the_five_files_become_one_value() {
        let parsed = Dictionaries::parse(DictionaryTexts {
            user: "\u{feff}科创板 100 n\r\n# Markets\r\n北交所\r\nC#  # a language\n北交所\nT+1 nz".as_bytes(),
            stopwords: "的\n了\n的\n".as_bytes(),
            synonyms: "提现;取现；取钱 ;\n".as_bytes(),
            contrast: "手机银行;网银\n".as_bytes(),
            sensitive: b"",
        })
        .unwrap();
        let words: Vec<_> = parsed
            .user
            .iter()
            .map(|u| (u.word.as_str(), u.frequency, u.tag.as_deref()))
            .collect();
        assert_eq!(
            words,
            [
                ("科创板", Some(100), Some("n")),
                ("北交所", None, None),
                ("C#", None, None),
                ("T+1", None, Some("nz"))
            ]
        );
        assert_eq!(parsed.stopwords, ["的", "了"]);
        assert_eq!(parsed.synonyms, [["提现", "取现", "取钱"]]);
        assert_eq!(parsed.contrast, [["手机银行", "网银"]]);
    }

    #[test]
    fn an_error_names_file_and_line() {
        let user = |text: &'static str| DictionaryTexts {
            user: text.as_bytes(),
            ..Default::default()
        };
        assert_eq!(error(user("好\n\n科创板 0")), (DictionaryFile::User, 3));
        assert_eq!(error(user("科创板 2 n")), (DictionaryFile::User, 1));
        assert_eq!(error(user("科创板 99999999999999999999")), (DictionaryFile::User, 1));
        assert_eq!(error(user("科创板 3 n extra")), (DictionaryFile::User, 1));
        assert_eq!(error(user("科创板 开户")), (DictionaryFile::User, 1));
        let lonely = DictionaryTexts {
            contrast: "a;b\n网银;网银".as_bytes(),
            ..Default::default()
        };
        assert_eq!(error(lonely), (DictionaryFile::Contrast, 2));
        let latin1 = DictionaryTexts {
            stopwords: b"ok\n\xff\xfe",
            ..Default::default()
        };
        assert_eq!(error(latin1), (DictionaryFile::Stopwords, 2));
        let long = "长".repeat(MAX_WORD_CHARS + 1);
        let sensitive = DictionaryTexts {
            sensitive: long.as_bytes(),
            ..Default::default()
        };
        let message = Dictionaries::parse(sensitive).unwrap_err()[0].to_string();
        assert_eq!(
            message,
            "sensitive.txt:1: a word of 33 characters; at most 32 are allowed"
        );
    }

    #[test]
    fn each_wrong_file_is_named_once() {
        let texts = DictionaryTexts {
            user: "科创板 0\n科创板 1".as_bytes(),
            synonyms: "提现;取现".as_bytes(),
            contrast: "网银".as_bytes(),
            sensitive: b"ok\n\xff",
            ..Default::default()
        };
        let errors = Dictionaries::parse(texts).unwrap_err();
        let places: Vec<_> = errors.iter().map(|error| (error.file, error.line)).collect();
        let expected = [
            (DictionaryFile::User, 1),
            (DictionaryFile::Contrast, 1),
            (DictionaryFile::Sensitive, 2),
        ];
        assert_eq!(places, expected);
    }
}
