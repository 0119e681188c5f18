//! What an entry may hold: lengths, counts, characters, WeChat's own limits (公众号开发文档 › 回复用户消息).
//!
//! [`Entry::tidy`] takes away what no editor means to write, [`Entry::validate`] refuses what must not be stored, naming
//! the field. Both are called on every way into the bank. Where WeChat documents no limit, ours are generous ones that
//! keep a row from growing without bound.

use super::entry::is_id;
use super::{Answer, Article, Entry, EntryError};

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
        tidy_text(&mut self.category);
        tidy_list(&mut self.tags);
        tidy_list(&mut self.accounts);
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
            check_text("category", "", &self.category, MAX_CATEGORY_CHARS)?;
            if self.category.split('/').any(|segment| segment.trim().is_empty()) {
                let reason = format!("{:?} has an empty part between slashes", self.category);
                return Err(EntryError::new("category", reason));
            }
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

impl Answer {
    fn texts_mut(&mut self) -> Vec<&mut String> {
        match self {
            Self::Text(text) => vec![text],
            Self::Image { media_id } | Self::Voice { media_id } => vec![media_id],
            Self::Video {
                media_id,
                title,
                description,
            } => vec![media_id, title, description],
            Self::Music {
                title,
                description,
                musicurl,
                hqmusicurl,
                thumb_media_id,
            } => vec![title, description, musicurl, hqmusicurl, thumb_media_id],
            Self::News { articles } => articles.iter_mut().flat_map(Article::texts_mut).collect(),
            Self::Miniprogram {
                title,
                appid,
                pagepath,
                url,
                thumb_media_id,
            } => vec![title, appid, pagepath, url, thumb_media_id],
            Self::Handoff { kf_account } => kf_account.iter_mut().collect(),
        }
    }

    fn validate(&self) -> Result<(), EntryError> {
        match self {
            Self::Text(text) => {
                if text.trim().is_empty() {
                    return Err(EntryError::new("answer", "is empty"));
                }
                check_characters("answer", "", text, &['\n', '\t'])?;
            }
            Self::Image { media_id } | Self::Voice { media_id } => check_handle("media_id", media_id)?,
            Self::Video {
                media_id,
                title,
                description,
            } => {
                check_handle("media_id", media_id)?;
                check_caption(title, description)?;
            }
            Self::Music {
                title,
                description,
                musicurl,
                hqmusicurl,
                thumb_media_id,
            } => {
                check_handle("thumb_media_id", thumb_media_id)?;
                check_caption(title, description)?;
                check_url("musicurl", musicurl)?;
                check_url("hqmusicurl", hqmusicurl)?;
            }
            Self::News { articles } => {
                if articles.is_empty() {
                    return Err(EntryError::new("answer", "has no article"));
                }
                check_count("answer", articles.len(), MAX_ARTICLES)?;
                articles.iter().try_for_each(Article::validate)?;
            }
            Self::Miniprogram {
                title,
                appid,
                pagepath,
                url,
                thumb_media_id,
            } => {
                check_text("answer", "title ", title, MAX_TITLE_CHARS)?;
                if !appid.starts_with("wx") || !is_id(appid) {
                    return Err(EntryError::new(
                        "answer",
                        format!("appid {appid:?} does not begin with wx"),
                    ));
                }
                check_text("answer", "pagepath ", pagepath, MAX_URL_BYTES)?;
                check_url("url", url)?;
                if !thumb_media_id.is_empty() {
                    check_handle("thumb_media_id", thumb_media_id)?;
                }
            }
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

fn tidy_text(text: &mut String) {
    if text.contains('\r') {
        *text = text.replace("\r\n", "\n").replace('\r', "\n");
    }
    if text.trim().len() < text.len() {
        *text = text.trim().to_owned();
    }
}

fn tidy_list(list: &mut Vec<String>) {
    list.iter_mut().for_each(tidy_text);
    list.retain(|item| !item.is_empty());
}

/// One line that says something; `part` names what of the field it is, with a space after it.
fn check_text(field: &'static str, part: &str, text: &str, max_chars: usize) -> Result<(), EntryError> {
    if text.trim().is_empty() {
        return Err(EntryError::new(field, format!("{part}is empty")));
    }
    check_length(field, part, text, max_chars)?;
    check_characters(field, part, text, &[])
}

fn check_length(field: &'static str, part: &str, text: &str, max_chars: usize) -> Result<(), EntryError> {
    let chars = text.chars().count();
    if chars > max_chars {
        let reason = format!("{part}has {chars} characters, at most {max_chars} are allowed");
        return Err(EntryError::new(field, reason));
    }
    Ok(())
}

/// No control characters but `allowed` ones, and none that XML cannot carry.
fn check_characters(field: &'static str, part: &str, text: &str, allowed: &[char]) -> Result<(), EntryError> {
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

fn check_count(field: &'static str, count: usize, max: usize) -> Result<(), EntryError> {
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

/// A name WeChat gave out: a media id, an agent.
fn check_handle(part: &str, handle: &str) -> Result<(), EntryError> {
    let printable = handle.bytes().all(|b| b.is_ascii_graphic());
    if handle.is_empty() || handle.len() > MAX_HANDLE_BYTES || !printable {
        let reason = format!("{part} is not 1–{MAX_HANDLE_BYTES} visible ASCII characters without spaces");
        return Err(EntryError::new("answer", reason));
    }
    Ok(())
}
