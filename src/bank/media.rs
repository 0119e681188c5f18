//! What an answer's `media_id` names: something WeChat has, or a file of ours that WeChat gets when it is asked for.
//!
//! In files `{"file":"covers/a.jpg"}` stands for `{"media_id":"file:covers/a.jpg"}`, which is how it is kept; WeChat's own
//! ids have no colon. Ids of uploads end after three days, so a file is the form that lasts. [`Media::of`] is the entry
//! point; looking at files is not this room's work.

use super::{Answer, EntryError};
use serde_json::Value;

/// Longest path, in bytes.
const MAX_PATH_BYTES: usize = 256;
/// In front of a path.
const FILE: &str = "file:";
/// The short form's fields and what they stand for.
const SHORT: [(&str, &str); 2] = [("file", "media_id"), ("thumb_file", "thumb_media_id")];

/// The meaning of a `media_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media<'a> {
    /// WeChat's name for an upload.
    Id(&'a str),
    /// A path in the folder of media, with `/` between its parts.
    File(&'a str),
}

/// What WeChat takes a file for (`type` of an upload).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "WeChat's names")]
pub enum MediaType {
    Image,
    Voice,
    Video,
    Thumb,
}

impl MediaType {
    /// WeChat's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Voice => "voice",
            Self::Video => "video",
            Self::Thumb => "thumb",
        }
    }

    /// Extensions of files WeChat takes for it.
    pub fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Image => &["png", "jpg", "jpeg", "gif"],
            Self::Voice => &["mp3", "amr"],
            Self::Video => &["mp4"],
            Self::Thumb => &["jpg", "jpeg"],
        }
    }

    /// The content type of a file with this extension, in lower case; `None`: WeChat does not take it.
    pub fn content_type(self, extension: &str) -> Option<&'static str> {
        self.extensions().contains(&extension).then_some(match extension {
            "png" => "image/png",
            "gif" => "image/gif",
            "mp3" => "audio/mpeg",
            "amr" => "audio/amr",
            "mp4" => "video/mp4",
            _ => "image/jpeg",
        })
    }

    /// Largest file, in bytes.
    pub fn max_bytes(self) -> u64 {
        match self {
            Self::Image | Self::Video => 10 << 20,
            Self::Voice => 2 << 20,
            Self::Thumb => 64 << 10,
        }
    }
}

impl Answer {
    /// The file of ours that goes with it, as what and where; `None`: it has none, or WeChat's own id.
    pub fn file(&self) -> Option<(MediaType, &str)> {
        let (kind, media_id) = match self {
            Self::Image { media_id } => (MediaType::Image, media_id),
            Self::Voice { media_id } => (MediaType::Voice, media_id),
            Self::Video(film) => (MediaType::Video, &film.media_id),
            Self::Music(music) => (MediaType::Thumb, &music.thumb_media_id),
            Self::Miniprogram(page) => (MediaType::Thumb, &page.thumb_media_id),
            Self::Text(_) | Self::News { .. } | Self::Handoff { .. } => return None,
        };
        match Media::of(media_id) {
            Media::File(path) => Some((kind, path)),
            Media::Id(_) => None,
        }
    }
}

impl<'a> Media<'a> {
    /// What `media_id` names.
    pub fn of(media_id: &'a str) -> Self {
        match media_id.strip_prefix(FILE) {
            Some(path) => Self::File(path),
            None => Self::Id(media_id),
        }
    }
}

/// A path that stays in its folder and ends as `kind` demands.
pub(super) fn check_path(field: &str, path: &str, kind: MediaType) -> Result<(), EntryError> {
    let wrong = |reason: String| Err(EntryError::new("answer", format!("{field} {path:?} {reason}")));
    let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
    let is_plain = !path.contains(|c: char| c.is_control() || matches!(c, '\\' | ':'));
    if path.len() > MAX_PATH_BYTES || !is_plain || !path.split('/').all(is_part) {
        return wrong(format!(
            "is no path of at most {MAX_PATH_BYTES} bytes inside the folder of media, such as covers/a.jpg"
        ));
    }
    let extension = path
        .rsplit_once('.')
        .map_or("", |(_, extension)| extension)
        .to_lowercase();
    if !kind.extensions().contains(&extension.as_str()) {
        return wrong(format!("does not end in .{}", kind.extensions().join(" or .")));
    }
    Ok(())
}

/// `content` with the short form written out; `None`: it has none.
///
/// # Errors
/// A file beside an id, or one that is no text.
pub(super) fn written_out(content: &Value) -> Result<Option<Value>, EntryError> {
    let Value::Object(fields) = content else {
        return Ok(None);
    };
    let mut fields = fields.clone();
    let mut is_short = false;
    for (short, field) in SHORT {
        let Some(value) = fields.remove(short) else { continue };
        let Value::String(path) = value else {
            return Err(EntryError::new("answer", format!("{short} is no text")));
        };
        if fields
            .insert(field.to_owned(), format!("{FILE}{path}").into())
            .is_some()
        {
            return Err(EntryError::new("answer", format!("has both {short} and {field}")));
        }
        is_short = true;
    }
    Ok(is_short.then_some(Value::Object(fields)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_kept_as_a_media_id_and_comes_back_as_it_went() {
        for (kind, short) in [
            ("image", r#"{"file":"a/群.png"}"#),
            ("music", r#"{"title":"t","thumb_file":"c.jpg"}"#),
        ] {
            let answer = Answer::parse(kind, short).unwrap();
            assert_eq!(Answer::parse(kind, &answer.content()).unwrap(), answer, "{kind}");
        }
        let Answer::Image { media_id } = Answer::parse("image", r#"{"file":"a.png"}"#).unwrap() else {
            panic!()
        };
        assert_eq!(Media::of(&media_id), Media::File("a.png"));
        assert_eq!(Media::of("x-1_Y"), Media::Id("x-1_Y"));
    }

    #[test]
    fn a_file_beside_an_id_and_one_for_a_kind_without_media_are_refused() {
        for (kind, content, reason) in [
            (
                "image",
                r#"{"file":"a.png","media_id":"m"}"#,
                "has both file and media_id",
            ),
            ("image", r#"{"file":7}"#, "file is no text"),
            ("handoff", r#"{"file":"a.png"}"#, "unknown field"),
        ] {
            let error = Answer::parse(kind, content).unwrap_err().to_string();
            assert!(error.contains(reason), "{content}: {error}");
        }
    }

    #[test]
    fn paths_stay_in_their_folder_and_suit_their_kind() {
        for path in ["a.jpg", "covers/2026/封面.JPG"] {
            assert!(check_path("file", path, MediaType::Thumb).is_ok(), "{path}");
        }
        for path in [
            "",
            "/a.jpg",
            "../a.jpg",
            "a/../b.jpg",
            "a//b.jpg",
            "a\\b.jpg",
            "c:a.jpg",
            "./a.jpg",
            "a\n.jpg",
        ] {
            let error = check_path("file", path, MediaType::Thumb).unwrap_err();
            assert!(error.reason.contains("is no path"), "{path:?}: {error}");
        }
        let error = check_path("file", "a.png", MediaType::Thumb).unwrap_err();
        assert_eq!(
            error.to_string(),
            "answer: file \"a.png\" does not end in .jpg or .jpeg"
        );
    }
}
