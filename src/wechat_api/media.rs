//! Temporary media (临时素材): files uploaded for messages, kept by WeChat for three days.
//!
//! [`MediaFile::new`] refuses what WeChat would. Follows 公众号开发文档 › 新增临时素材.

use super::client::Client;
use super::error::ApiError;
use super::http::Request;
use reqwest::Method;
use serde::Deserialize;

/// What a file is used as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    /// PNG, JPEG or GIF, at most 10 MB.
    Image,
    /// AMR or MP3, at most 2 MB (and 60 seconds, which is not looked at here).
    Voice,
    /// MP4, at most 10 MB.
    Video,
    /// A video's or a song's picture: JPEG, at most 64 KB.
    Thumb,
}

const MB: usize = 1024 * 1024;

impl MediaKind {
    /// `type`, the most bytes, and extensions with their content types.
    fn limits(self) -> (&'static str, usize, &'static [(&'static str, &'static str)]) {
        const JPEG: [(&str, &str); 2] = [("jpg", "image/jpeg"), ("jpeg", "image/jpeg")];
        match self {
            Self::Image => (
                "image",
                10 * MB,
                &[JPEG[0], JPEG[1], ("png", "image/png"), ("gif", "image/gif")],
            ),
            Self::Voice => ("voice", 2 * MB, &[("amr", "audio/amr"), ("mp3", "audio/mpeg")]),
            Self::Video => ("video", 10 * MB, &[("mp4", "video/mp4")]),
            Self::Thumb => ("thumb", 64 * 1024, &JPEG),
        }
    }
}

/// A file WeChat would take.
#[derive(Clone, PartialEq, Eq)]
pub struct MediaFile {
    kind: MediaKind,
    extension: &'static str,
    content_type: &'static str,
    bytes: Vec<u8>,
}

/// What WeChat keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// For messages, for three days; of a thumb the `thumb_media_id`.
    pub media_id: String,
    /// When, in Unix seconds.
    pub created_at: i64,
}

#[derive(Deserialize)]
struct Answer {
    media_id: Option<String>,
    thumb_media_id: Option<String>,
    #[serde(default)]
    created_at: i64,
}

impl MediaFile {
    /// A file to be used as `kind`; its name counts for the extension only.
    ///
    /// # Errors
    /// [`ApiError::Unacceptable`]: its extension or its size.
    pub fn new(kind: MediaKind, name: &str, bytes: Vec<u8>) -> Result<Self, ApiError> {
        let (word, most, extensions) = kind.limits();
        let given = name
            .rsplit_once('.')
            .map_or("", |(_, extension)| extension)
            .to_lowercase();
        let Some((extension, content_type)) = extensions.iter().find(|(extension, _)| *extension == given) else {
            let names: Vec<&str> = extensions.iter().map(|(extension, _)| *extension).collect();
            return Err(ApiError::Unacceptable(format!(
                "a file ending in .{} is no {word}; accepted: {}",
                given.escape_debug(),
                names.join(", ")
            )));
        };
        if bytes.is_empty() || bytes.len() > most {
            return Err(ApiError::Unacceptable(format!(
                "a {word} of {} bytes; accepted: 1–{most}",
                bytes.len()
            )));
        }
        Ok(Self {
            kind,
            extension,
            content_type,
            bytes,
        })
    }

    /// The multipart form WeChat wants, with `boundary`, which the file must not hold.
    fn form(&self, boundary: &str) -> Vec<u8> {
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"media\"; filename=\"media.{}\"\r\nContent-Type: \
             {}\r\n\r\n",
            self.extension, self.content_type
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        [head.as_bytes(), &self.bytes, tail.as_bytes()].concat()
    }
}

impl Client {
    /// Uploads `file`.
    pub async fn upload_media(&self, file: MediaFile) -> Result<Uploaded, ApiError> {
        const PATH: &str = "/cgi-bin/media/upload";
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| ApiError::Unreachable {
            reason: error.to_string(),
        })?;
        let boundary = format!("{:032x}", u128::from_be_bytes(random));
        let request = Request {
            method: Method::POST,
            body: Some((
                format!("multipart/form-data; boundary={boundary}"),
                file.form(&boundary),
            )),
            ..Request::get(PATH).with("type", file.kind.limits().0)
        };
        let answer: Answer = self.call(&request).await?;
        let media_id = answer.media_id.or(answer.thumb_media_id);
        let media_id = media_id.ok_or_else(|| ApiError::Stranger {
            path: PATH,
            reason: "it gives no media id".to_owned(),
        })?;
        Ok(Uploaded {
            media_id,
            created_at: answer.created_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_wechat_would_refuse_are_refused_here() {
        let check = |kind, name: &str, length: usize, is_fine: bool| {
            let file = MediaFile::new(kind, name, vec![0; length]);
            assert_eq!(file.is_ok(), is_fine, "{name} of {length}: {:?}", file.err());
        };
        check(MediaKind::Image, "a.PNG", 10 * MB, true);
        check(MediaKind::Image, "a.png", 10 * MB + 1, false);
        check(MediaKind::Image, "a.png", 0, false);
        check(MediaKind::Image, "a.webp", 1, false);
        check(MediaKind::Image, "png", 1, false);
        check(MediaKind::Voice, "b.amr", 2 * MB, true);
        check(MediaKind::Voice, "b.mp3", 2 * MB + 1, false);
        check(MediaKind::Video, "c.mp4", 1, true);
        check(MediaKind::Thumb, "d.jpg", 64 * 1024, true);
        check(MediaKind::Thumb, "d.png", 1, false);
        check(MediaKind::Thumb, "d.jpeg", 64 * 1024 + 1, false);
    }

    #[test]
    fn a_file_is_sent_as_a_form() {
        let file = MediaFile::new(MediaKind::Image, "x\r\n\"y.jpeg", b"bytes".to_vec()).unwrap();
        assert_eq!(
            String::from_utf8(file.form("b")).unwrap(),
            "--b\r\nContent-Disposition: form-data; name=\"media\"; filename=\"media.jpeg\"\r\nContent-Type: \
             image/jpeg\r\n\r\nbytes\r\n--b--\r\n"
        );
    }
}
