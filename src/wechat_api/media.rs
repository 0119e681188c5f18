//! Temporary media (临时素材): files uploaded for messages, kept by WeChat for three days.
//!
//! [`MediaFile::new`] refuses what WeChat would. Follows 公众号开发文档 › 新增临时素材.

use super::client::Client;
use super::error::ApiError;
use super::http::Request;
use crate::bank::media::MediaType;
use reqwest::Method;
use serde::Deserialize;

/// A file WeChat would take.
#[derive(Clone, PartialEq, Eq)]
pub struct MediaFile {
    kind: MediaType,
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
    pub fn new(kind: MediaType, name: &str, bytes: Vec<u8>) -> Result<Self, ApiError> {
        let (word, most) = (kind.as_str(), kind.max_bytes());
        let given = name
            .rsplit_once('.')
            .map_or("", |(_, extension)| extension)
            .to_lowercase();
        let accepted = kind.extensions();
        let Some(extension) = accepted.iter().copied().find(|extension| *extension == given) else {
            return Err(ApiError::Unacceptable(format!(
                "a file ending in .{} is no {word}; accepted: {}",
                given.escape_debug(),
                accepted.join(", ")
            )));
        };
        if bytes.is_empty() || bytes.len() as u64 > most {
            return Err(ApiError::Unacceptable(format!(
                "a {word} of {} bytes; accepted: 1–{most}",
                bytes.len()
            )));
        }
        let content_type = kind.content_type(extension).unwrap_or_default();
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
            ..Request::get(PATH).with("type", file.kind.as_str())
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

    const MB: usize = 1 << 20;

    #[test]
    fn files_wechat_would_refuse_are_refused_here() {
        let check = |kind, name: &str, length: usize, is_fine: bool| {
            let file = MediaFile::new(kind, name, vec![0; length]);
            assert_eq!(file.is_ok(), is_fine, "{name} of {length}: {:?}", file.err());
        };
        check(MediaType::Image, "a.PNG", 10 * MB, true);
        check(MediaType::Image, "a.png", 10 * MB + 1, false);
        check(MediaType::Image, "a.png", 0, false);
        check(MediaType::Image, "a.webp", 1, false);
        check(MediaType::Image, "png", 1, false);
        check(MediaType::Voice, "b.amr", 2 * MB, true);
        check(MediaType::Voice, "b.mp3", 2 * MB + 1, false);
        check(MediaType::Video, "c.mp4", 1, true);
        check(MediaType::Thumb, "d.jpg", 64 * 1024, true);
        check(MediaType::Thumb, "d.png", 1, false);
        check(MediaType::Thumb, "d.jpeg", 64 * 1024 + 1, false);
    }

    #[test]
    fn a_file_is_sent_as_a_form() {
        let file = MediaFile::new(MediaType::Image, "x\r\n\"y.jpeg", b"bytes".to_vec()).unwrap();
        assert_eq!(
            String::from_utf8(file.form("b")).unwrap(),
            "--b\r\nContent-Disposition: form-data; name=\"media\"; filename=\"media.jpeg\"\r\nContent-Type: \
             image/jpeg\r\n\r\nbytes\r\n--b--\r\n"
        );
    }
}
