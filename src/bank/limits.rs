//! What an entry may hold: lengths, counts, characters, WeChat's own limits (公众号开发文档 › 回复用户消息).
//!
//! [`Entry::tidy`] takes away what no editor means to write, [`Entry::validate`] refuses what must not be stored, naming
//! the field. Both are called on every way into the bank. Where WeChat documents no limit, ours are generous ones that
//! keep a row from growing without bound.

use super::entry::is_id;
use super::media::{Media, MediaType, check_path};
use super::{Answer, Article, Entry, EntryError, Miniprogram, Video};
use std::mem;

/// Longest question or similar question, in characters.
pub const MAX_QUESTION_CHARS: usize = 300;
/// Most similar questions of one entry.
pub const MAX_SIMILAR: usize = 200;
/// Longest answer, in bytes of UTF-8: about ten passive replies.
pub const MAX_ANSWER_BYTES: usize = 20_000;
/// Most articles of one answer; what WeChat shows after an event.
pub const MAX_ARTICLES: usize = 8;
/// Longest category path, in characters.
pub const MAX_CATEGORY_CHARS: usize = 64;
/// Most tags of one entry.
pub const MAX_TAGS: usize = 20;
/// Longest tag, in characters.
pub const MAX_TAG_CHARS: usize = 32;
/// Most accounts one entry is limited to.
pub const MAX_ACCOUNTS: usize = 200;
/// Priorities lie between minus this and this.
pub const MAX_PRIORITY: i32 = 100;
/// Last second of the year 9999 in Beijing: times beyond cannot be written as a date.
pub const MAX_TIME: i64 = 253_402_271_999;

const MAX_TITLE_CHARS: usize = 200;
const MAX_DESCRIPTION_CHARS: usize = 1000;
/// WeChat's limit for a menu's address; none is documented for replies.
const MAX_URL_BYTES: usize = 1024;
const MAX_HANDLE_BYTES: usize = 256;

impl Entry {
    /// Takes away white space around every text and empty items of lists; lines end with `\n` afterwards.
    pub fn tidy(&mut self) {
        tidy_text(&mut self.question);
        tidy_list(&mut self.similar);
        tidy_path(&mut self.category);
        for list in [&mut self.tags, &mut self.accounts] {
            *list = tidied(mem::take(list).into());
        }
        self.answer.texts_mut().into_iter().for_each(tidy_text);
    }

    /// # Errors
    /// The first field that breaks a limit, in the order of the columns, with the limit.
    pub fn validate(&self) -> Result<(), EntryError> {
        check_text("question", "", &self.question, MAX_QUESTION_CHARS)?;
        check_count("similar", self.similar.len(), MAX_SIMILAR)?;
        for (number, similar) in (1..).zip(&self.similar) {
            check_text("similar", &format!("item {number} "), similar, MAX_QUESTION_CHARS)?;
        }
        self.answer.validate()?;
        if !self.category.is_empty() {
            check_category(&self.category)?;
        }
        check_count("tags", self.tags.len(), MAX_TAGS)?;
        for (number, tag) in (1..).zip(&self.tags) {
            check_text("tags", &format!("item {number} "), tag, MAX_TAG_CHARS)?;
        }
        check_count("accounts", self.accounts.len(), MAX_ACCOUNTS)?;
        if let Some(account) = self.accounts.iter().find(|account| !is_id(account)) {
            let reason = format!("{account:?} is not 1–64 characters of A-Z a-z 0-9 . _ -");
            return Err(EntryError::new("accounts", reason));
        }
        let repeated = (1..self.channels.len()).find(|&at| self.channels[..at].contains(&self.channels[at]));
        if let Some(at) = repeated {
            let reason = format!("{} stands there twice", self.channels[at].as_str());
            return Err(EntryError::new("channels", reason));
        }
        self.validate_times()?;
        if self.priority.unsigned_abs() > MAX_PRIORITY.unsigned_abs() {
            let reason = format!("{} is not between -{MAX_PRIORITY} and {MAX_PRIORITY}", self.priority);
            return Err(EntryError::new("priority", reason));
        }
        Ok(())
    }

    fn validate_times(&self) -> Result<(), EntryError> {
        for (field, time) in [("valid_from", self.valid_from), ("valid_until", self.valid_until)] {
            if time.is_some_and(|time| !(0..=MAX_TIME).contains(&time)) {
                return Err(EntryError::new(field, "is not between the years 1970 and 9999"));
            }
        }
        match (self.valid_from, self.valid_until) {
            (Some(from), Some(until)) if from >= until => {
                Err(EntryError::new("valid_until", "is not later than valid_from"))
            }
            _ => Ok(()),
        }
    }
}

impl Video {
    fn validate(&self) -> Result<(), EntryError> {
        check_media("media_id", &self.media_id, MediaType::Video)?;
        if !self.thumb_media_id.is_empty() {
            // A film has one file of ours at most.
            match Media::of(&self.thumb_media_id) {
                Media::Id(id) => check_handle("thumb_media_id", id)?,
                Media::File(_) => {
                    let reason = "thumb_media_id of a video is an id of WeChat's, no file";
                    return Err(EntryError::new("answer", reason));
                }
            }
        }
        check_caption(&self.title, &self.description)
    }
}

impl Miniprogram {
    fn validate(&self) -> Result<(), EntryError> {
        check_text("answer", "title ", &self.title, MAX_TITLE_CHARS)?;
        if !self.appid.starts_with("wx") || !is_id(&self.appid) {
            let reason = format!("appid {:?} does not begin with wx", self.appid);
            return Err(EntryError::new("answer", reason));
        }
        check_text("answer", "pagepath ", &self.pagepath, MAX_URL_BYTES)?;
        check_url("url", &self.url)?;
        if !self.thumb_media_id.is_empty() {
            check_media("thumb_media_id", &self.thumb_media_id, MediaType::Thumb)?;
        }
        Ok(())
    }
}

impl Answer {
    pub(super) fn texts_mut(&mut self) -> Vec<&mut String> {
        match self {
            Self::Text(text) => vec![text],
            Self::Image { media_id } | Self::Voice { media_id } => vec![media_id],
            Self::Video(film) => vec![
                &mut film.media_id,
                &mut film.thumb_media_id,
                &mut film.title,
                &mut film.description,
            ],
            Self::Music(music) => vec![
                &mut music.title,
                &mut music.description,
                &mut music.musicurl,
                &mut music.hqmusicurl,
                &mut music.thumb_media_id,
            ],
            Self::News { articles } => articles.iter_mut().flat_map(Article::texts_mut).collect(),
            Self::Miniprogram(page) => vec![
                &mut page.title,
                &mut page.appid,
                &mut page.pagepath,
                &mut page.url,
                &mut page.thumb_media_id,
            ],
            Self::Handoff { kf_account } => kf_account.iter_mut().collect(),
        }
    }

    pub(super) fn validate(&self) -> Result<(), EntryError> {
        match self {
            Self::Text(text) => {
                if text.trim().is_empty() {
                    return Err(EntryError::new("answer", "is empty"));
                }
                check_characters("answer", "", text, &['\n', '\t'])?;
            }
            Self::Image { media_id } => check_media("media_id", media_id, MediaType::Image)?,
            Self::Voice { media_id } => check_media("media_id", media_id, MediaType::Voice)?,
            Self::Video(film) => film.validate()?,
            Self::Music(music) => {
                check_media("thumb_media_id", &music.thumb_media_id, MediaType::Thumb)?;
                check_caption(&music.title, &music.description)?;
                check_url("musicurl", &music.musicurl)?;
                check_url("hqmusicurl", &music.hqmusicurl)?;
            }
            Self::News { articles } => {
                if articles.is_empty() {
                    return Err(EntryError::new("answer", "has no article"));
                }
                check_count("answer", articles.len(), MAX_ARTICLES)?;
                articles.iter().try_for_each(Article::validate)?;
            }
            Self::Miniprogram(page) => page.validate()?,
            Self::Handoff { kf_account } => {
                if let Some(agent) = kf_account {
                    check_handle("kf_account", agent)?;
                    if !agent.contains('@') {
                        return Err(EntryError::new("answer", "kf_account is not of the form name@wechatid"));
                    }
                }
            }
        }
        let bytes = self.content().len();
        if bytes > MAX_ANSWER_BYTES {
            let reason = format!("has {bytes} bytes, at most {MAX_ANSWER_BYTES} are allowed");
            return Err(EntryError::new("answer", reason));
        }
        Ok(())
    }
}

impl Article {
    fn texts_mut(&mut self) -> [&mut String; 4] {
        [&mut self.title, &mut self.description, &mut self.url, &mut self.picurl]
    }

    fn validate(&self) -> Result<(), EntryError> {
        check_text("answer", "title ", &self.title, MAX_TITLE_CHARS)?;
        check_caption(&self.title, &self.description)?;
        if self.url.is_empty() {
            return Err(EntryError::new("answer", "url is empty"));
        }
        check_url("url", &self.url)?;
        check_url("picurl", &self.picurl)
    }
}

pub(super) fn tidy_text(text: &mut String) {
    if text.contains('\r') {
        *text = text.replace("\r\n", "\n").replace('\r', "\n");
    }
    if text.trim().len() < text.len() {
        *text = text.trim().to_owned();
    }
}

/// No white space around the parts of a category's path.
pub(super) fn tidy_path(path: &mut String) {
    let parts: Vec<&str> = path.split('/').map(str::trim).collect();
    *path = parts.join("/");
}

/// As [`tidy_list`] leaves it.
fn tidied(mut list: Vec<String>) -> Box<[String]> {
    tidy_list(&mut list);
    list.into()
}

pub(super) fn tidy_list(list: &mut Vec<String>) {
    list.iter_mut().for_each(tidy_text);
    list.retain(|item| !item.is_empty());
}

/// One line that says something; `part` names what of the field it is, with a space after it.
pub(super) fn check_text(field: &'static str, part: &str, text: &str, max_chars: usize) -> Result<(), EntryError> {
    if text.trim().is_empty() {
        return Err(EntryError::new(field, format!("{part}is empty")));
    }
    check_length(field, part, text, max_chars)?;
    check_characters(field, part, text, &[])
}

pub(super) fn check_length(field: &'static str, part: &str, text: &str, max_chars: usize) -> Result<(), EntryError> {
    let chars = text.chars().count();
    if chars > max_chars {
        let reason = format!("{part}has {chars} characters, at most {max_chars} are allowed");
        return Err(EntryError::new(field, reason));
    }
    Ok(())
}

pub(super) fn check_category(path: &str) -> Result<(), EntryError> {
    check_text("category", "", path, MAX_CATEGORY_CHARS)?;
    if path.split('/').any(|part| part.trim().is_empty()) {
        let reason = format!("{path:?} has an empty part between slashes");
        return Err(EntryError::new("category", reason));
    }
    Ok(())
}

/// No control characters but `allowed` ones, and none that XML cannot carry.
pub(super) fn check_characters(
    field: &'static str,
    part: &str,
    text: &str,
    allowed: &[char],
) -> Result<(), EntryError> {
    let forbidden = |c: &char| (c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}')) && !allowed.contains(c);
    match text.chars().find(forbidden) {
        None => Ok(()),
        Some('\n') => Err(EntryError::new(field, format!("{part}goes over several lines"))),
        Some(c) => {
            let reason = format!("{part}has the control character U+{:04X}", u32::from(c));
            Err(EntryError::new(field, reason))
        }
    }
}

pub(super) fn check_count(field: &'static str, count: usize, max: usize) -> Result<(), EntryError> {
    if count > max {
        return Err(EntryError::new(
            field,
            format!("has {count} items, at most {max} are allowed"),
        ));
    }
    Ok(())
}

/// Title and description under a film, a song, an article; both may be empty.
fn check_caption(title: &str, description: &str) -> Result<(), EntryError> {
    check_length("answer", "title ", title, MAX_TITLE_CHARS)?;
    check_characters("answer", "title ", title, &[])?;
    check_length("answer", "description ", description, MAX_DESCRIPTION_CHARS)?;
    check_characters("answer", "description ", description, &['\n', '\t'])
}

/// An address a tap may lead to; may be empty.
fn check_url(part: &str, url: &str) -> Result<(), EntryError> {
    let spoils = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '<' | '>');
    if url.is_empty() {
        return Ok(());
    }
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    if rest.is_none_or(str::is_empty) || url.contains(spoils) || url.len() > MAX_URL_BYTES {
        let reason = format!("{part} is not an http or https address of at most {MAX_URL_BYTES} bytes without spaces");
        return Err(EntryError::new("answer", reason));
    }
    Ok(())
}

/// An upload's id, or a file to upload.
fn check_media(part: &str, media_id: &str, kind: MediaType) -> Result<(), EntryError> {
    match Media::of(media_id) {
        Media::File(path) => check_path("file", path, kind),
        Media::Id(id) => check_handle(part, id),
    }
}

/// A name WeChat gave out: a media id, an agent.
fn check_handle(part: &str, handle: &str) -> Result<(), EntryError> {
    let printable = handle.bytes().all(|b| b.is_ascii_graphic());
    if handle.is_empty() || handle.len() > MAX_HANDLE_BYTES || !printable {
        let reason = format!("{part} is not 1–{MAX_HANDLE_BYTES} visible ASCII characters without spaces");
        return Err(EntryError::new("answer", reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::format::Format;
    use crate::bank::{Channel, EntryId};

    fn entry() -> Entry {
        let answer = Answer::Text("A".to_owned());
        Entry::new(EntryId::parse("a").unwrap(), "怎么开户".to_owned(), answer)
    }

    /// The complaint about an entry after `change`; `None`: it is valid.
    fn complaint(change: impl FnOnce(&mut Entry)) -> Option<String> {
        let mut entry = entry();
        change(&mut entry);
        entry.validate().err().map(|error| error.to_string())
    }

    fn refused(change: impl FnOnce(&mut Entry), expected: &str) {
        assert_eq!(complaint(change).as_deref(), Some(expected));
    }

    fn allowed(change: impl FnOnce(&mut Entry)) {
        assert_eq!(complaint(change), None);
    }

    #[test]
    fn a_limit_is_kept_to_the_last_character_and_named_when_broken() {
        let of = |text: &str, count: usize| vec![text.to_owned(); count];
        allowed(|e| e.question = "问".repeat(300));
        refused(
            |e| e.question = "问".repeat(301),
            "question: has 301 characters, at most 300 are allowed",
        );
        refused(|e| e.question = " ".to_owned(), "question: is empty");
        refused(|e| e.question = "a\nb".to_owned(), "question: goes over several lines");
        allowed(|e| e.similar = of("x", 200));
        refused(
            |e| e.similar = of("x", 201),
            "similar: has 201 items, at most 200 are allowed",
        );
        refused(
            |e| e.similar = vec!["x".into(), "\u{7f}".into()],
            "similar: item 2 has the control character U+007F",
        );
        allowed(|e| e.answer = Answer::Text("一\n\t二".to_owned()));
        allowed(|e| e.answer = Answer::Text("a".repeat(20_000)));
        refused(
            |e| e.answer = Answer::Text("a".repeat(20_001)),
            "answer: has 20001 bytes, at most 20000 are allowed",
        );
        refused(
            |e| e.answer = Answer::Text("a\0".to_owned()),
            "answer: has the control character U+0000",
        );
        allowed(|e| e.category = "开户/科创板".to_owned());
        refused(
            |e| e.category = "a//b".to_owned(),
            "category: \"a//b\" has an empty part between slashes",
        );
        refused(
            |e| e.category = "a".repeat(65),
            "category: has 65 characters, at most 64 are allowed",
        );
        allowed(|e| e.tags = of(&"签".repeat(32), 20).into());
        refused(
            |e| e.tags = of("x", 21).into(),
            "tags: has 21 items, at most 20 are allowed",
        );
        refused(
            |e| e.tags = of(&"签".repeat(33), 1).into(),
            "tags: item 1 has 33 characters, at most 32 are allowed",
        );
        refused(
            |e| e.accounts = of("a b", 1).into(),
            "accounts: \"a b\" is not 1–64 characters of A-Z a-z 0-9 . _ -",
        );
        refused(
            |e| e.channels = [Channel::H5, Channel::App, Channel::H5].into(),
            "channels: h5 stands there twice",
        );
        refused(
            |e| e.valid_from = Some(-1),
            "valid_from: is not between the years 1970 and 9999",
        );
        refused(
            |e| e.valid_until = Some(MAX_TIME + 1),
            "valid_until: is not between the years 1970 and 9999",
        );
        refused(
            |e| (e.valid_from, e.valid_until) = (Some(5), Some(5)),
            "valid_until: is not later than valid_from",
        );
        allowed(|e| (e.valid_from, e.valid_until) = (Some(5), Some(6)));
        allowed(|e| e.priority = -100);
        refused(|e| e.priority = 101, "priority: 101 is not between -100 and 100");
        refused(
            |e| e.priority = i32::MIN,
            "priority: -2147483648 is not between -100 and 100",
        );
    }

    #[test]
    fn answers_of_every_kind_are_held_to_what_wechat_needs() {
        let check = |kind: &str, content: &str, expected: Option<&str>| {
            let answer = Answer::parse(kind, content).unwrap();
            let complaint = complaint(|entry| entry.answer = answer);
            assert_eq!(
                complaint.as_deref(),
                expected.map(|reason| format!("answer: {reason}")).as_deref()
            );
        };
        check("image", r#"{"media_id":"a_B-1"}"#, None);
        check(
            "voice",
            r#"{"media_id":""}"#,
            Some("media_id is not 1–256 visible ASCII characters without spaces"),
        );
        check("video", r#"{"media_id":"m","title":"t","description":"a\nb"}"#, None);
        check("music", r#"{"thumb_media_id":"m","musicurl":"https://h/a.mp3"}"#, None);
        let not_url =
            |part: &str| format!("{part} is not an http or https address of at most 1024 bytes without spaces");
        for url in ["javascript:alert(1)", "https://", "https://h/ a", "https://h/\\\"a"] {
            let music = format!(r#"{{"thumb_media_id":"m","hqmusicurl":"{url}"}}"#);
            check("music", &music, Some(&not_url("hqmusicurl")));
        }
        let article = r#"{"title":"t","url":"https://h/"}"#;
        check("news", &format!(r#"{{"articles":[{}]}}"#, [article; 8].join(",")), None);
        check(
            "news",
            &format!(r#"{{"articles":[{}]}}"#, [article; 9].join(",")),
            Some("has 9 items, at most 8 are allowed"),
        );
        check("news", r#"{"articles":[]}"#, Some("has no article"));
        check(
            "news",
            r#"{"articles":[{"title":"","url":"https://h/"}]}"#,
            Some("title is empty"),
        );
        check("news", r#"{"articles":[{"title":"t","url":""}]}"#, Some("url is empty"));
        check(
            "miniprogram",
            r#"{"title":"t","appid":"wx1","pagepath":"pages/a?b=c"}"#,
            None,
        );
        check(
            "miniprogram",
            r#"{"title":"t","appid":"x","pagepath":"p"}"#,
            Some("appid \"x\" does not begin with wx"),
        );
        check("handoff", "", None);
        check("handoff", r#"{"kf_account":"a@b"}"#, None);
        check(
            "handoff",
            r#"{"kf_account":"a"}"#,
            Some("kf_account is not of the form name@wechatid"),
        );
    }

    #[test]
    fn tidying_takes_away_what_nobody_means_to_write() {
        let row =
            r#"{"id":"a","question":"\u3000怎么开户 ","answer":" 一\r\n二\r三\n","similar":[" x ","\t"],"tags":[""]}"#;
        let row = Format::Jsonl.read(row).next().unwrap().unwrap();
        let mut entry = row.into_entry_or(None, || unreachable!("an id is given")).unwrap();
        entry.tidy();
        assert_eq!((entry.question.as_str(), entry.tags.len()), ("怎么开户", 0));
        assert_eq!(entry.similar, ["x"]);
        assert_eq!(entry.answer, Answer::Text("一\n二\n三".to_owned()));
    }
}
