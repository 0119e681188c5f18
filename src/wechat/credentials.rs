//! What an account's operator and WeChat both know: AppID, Token, EncodingAESKey, and how messages travel.
//!
//! [`Credentials::new`] accepts what can work at all; [`Credentials::warnings`] and [`is_well_known_token`] tell what a
//! configuration should not hold. During a change of Token or key the previous one stays valid beside the current one.
//! Using them is `envelope`'s work. Follows 公众号开发文档 › 接入指南.

use std::fmt;

use super::crypto::AesKey;

/// How an account's messages travel; set in WeChat's console and, equally, in our configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// 明文模式: clear; the signature does not cover the body.
    Plain,
    /// 兼容模式: clear and encrypted side by side; only the encrypted part counts.
    Compatible,
    /// 安全模式: encrypted only.
    Safe,
}

/// What an account's operator and WeChat both know. `Debug` shows no secret.
#[derive(Clone)]
pub struct Credentials {
    pub(super) appid: String,
    pub(super) mode: Mode,
    /// The current Token and perhaps the previous one; none is empty.
    pub(super) tokens: Vec<String>,
    /// The current key and perhaps the previous one; at least one unless the mode is plain.
    pub(super) keys: Vec<AesKey>,
}

/// The parts of [`Credentials`], as configured. What is not configured is `None`, not empty.
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "fields carry the configuration's own names")]
pub struct CredentialParts<'a> {
    pub appid: &'a str,
    pub mode: Mode,
    pub token: &'a str,
    pub previous_token: Option<&'a str>,
    pub encoding_aes_key: Option<&'a str>,
    pub previous_encoding_aes_key: Option<&'a str>,
}

/// What is wrong with configured credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct CredentialError {
    /// The configuration key.
    pub field: &'static str,
    /// What is wrong and what is allowed; never quotes the secret.
    pub reason: String,
}

impl Credentials {
    /// Checks that the parts can work. A Token that anyone would guess is not refused here: see
    /// [`is_well_known_token`].
    ///
    /// # Errors
    /// A blank Token, a key that does not decode to 32 bytes, a mode that needs a key or an AppID without one.
    pub fn new(parts: CredentialParts<'_>) -> Result<Self, CredentialError> {
        let error = |field, reason: &str| CredentialError {
            field,
            reason: reason.to_owned(),
        };
        let mut tokens = vec![parts.token.to_owned()];
        tokens.extend(parts.previous_token.map(str::to_owned));
        for (token, field) in tokens.iter().zip(["token", "previous_token"]) {
            if token.trim().is_empty() {
                return Err(error(
                    field,
                    "must not be empty; WeChat's console takes 3 to 32 letters and digits",
                ));
            }
        }
        let mut keys = Vec::new();
        for (key, field) in [
            (parts.encoding_aes_key, "encoding_aes_key"),
            (parts.previous_encoding_aes_key, "previous_encoding_aes_key"),
        ] {
            if let Some(key) = key {
                keys.push(AesKey::parse(key).map_err(|cause| error(field, &cause.to_string()))?);
            }
        }
        if parts.mode != Mode::Plain {
            if parts.encoding_aes_key.is_none() {
                return Err(error("encoding_aes_key", "is needed in compatible and safe mode"));
            }
            if parts.appid.is_empty() {
                return Err(error("appid", "is needed in compatible and safe mode"));
            }
        }
        Ok(Self {
            appid: parts.appid.to_owned(),
            mode: parts.mode,
            tokens,
            keys,
        })
    }

    /// The account's AppID; may be empty in plain mode.
    pub fn appid(&self) -> &str {
        &self.appid
    }

    /// How messages travel.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What works here and yet is unlikely to be meant, a sentence each; no secret is quoted.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (token, field) in self.tokens.iter().zip(["token", "previous_token"]) {
            if !(3..=32).contains(&token.chars().count()) {
                warnings.push(format!(
                    "{field} is not 3 to 32 characters long, as WeChat's console wants it"
                ));
            }
            if !token.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                warnings.push(format!(
                    "{field} holds other characters than the letters and digits WeChat's console takes"
                ));
            }
        }
        if self.mode == Mode::Plain {
            warnings.push("mode is plain: the signature does not cover the messages; use safe".to_owned());
        }
        warnings
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("appid", &self.appid)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// Returns whether `token` is one of those in tutorials and samples, which are the first that an attacker tries. A
/// configuration with one must not start; [`Credentials::new`] accepts it, because WeChat's own examples use such.
pub fn is_well_known_token(token: &str) -> bool {
    const WELL_KNOWN: [&str; 18] = [
        "123456", "12345678", "aaaaa", "abc", "abc123", "admin", "demo", "mytoken", "password", "pamtest", "qwerty",
        "secret", "spamtest", "test", "token", "wechat", "weixin", "wx",
    ];
    WELL_KNOWN.contains(&token.trim().to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: CredentialParts<'_> = CredentialParts {
        appid: "wx1",
        mode: Mode::Safe,
        token: "Ab3",
        previous_token: None,
        encoding_aes_key: Some("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"),
        previous_encoding_aes_key: None,
    };

    #[test]
    fn what_cannot_work_is_refused_by_its_key() {
        for (parts, field) in [
            (CredentialParts { token: "", ..PARTS }, "token"),
            (CredentialParts { token: " ", ..PARTS }, "token"),
            (
                CredentialParts {
                    previous_token: Some(""),
                    ..PARTS
                },
                "previous_token",
            ),
            (
                CredentialParts {
                    encoding_aes_key: Some(""),
                    ..PARTS
                },
                "encoding_aes_key",
            ),
            (
                CredentialParts {
                    encoding_aes_key: None,
                    ..PARTS
                },
                "encoding_aes_key",
            ),
            (
                CredentialParts {
                    mode: Mode::Compatible,
                    encoding_aes_key: None,
                    ..PARTS
                },
                "encoding_aes_key",
            ),
            (
                CredentialParts {
                    previous_encoding_aes_key: Some("short"),
                    ..PARTS
                },
                "previous_encoding_aes_key",
            ),
            (CredentialParts { appid: "", ..PARTS }, "appid"),
        ] {
            assert_eq!(Credentials::new(parts).unwrap_err().field, field);
        }
    }

    #[test]
    fn plain_mode_needs_neither_key_nor_appid_and_is_warned_about() {
        let parts = CredentialParts {
            mode: Mode::Plain,
            appid: "",
            encoding_aes_key: None,
            ..PARTS
        };
        assert_eq!(Credentials::new(parts).unwrap().warnings().len(), 1);
    }

    #[test]
    fn odd_tokens_are_warned_about_without_quoting_them() {
        assert_eq!(Credentials::new(PARTS).unwrap().warnings(), Vec::<String>::new());
        for (token, count) in [("a_token", 1), ("ab", 1), ("令牌", 2), (&*"x".repeat(33), 1)] {
            let warnings = Credentials::new(CredentialParts { token, ..PARTS }).unwrap().warnings();
            assert_eq!(warnings.len(), count, "{token}");
            assert!(warnings.iter().all(|warning| !warning.contains(token)), "{warnings:?}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", Credentials::new(PARTS).unwrap());
        assert!(shown.contains("wx1") && !shown.contains("Ab3"), "{shown}");
    }

    #[test]
    fn tutorial_tokens_are_well_known_in_any_case() {
        assert!(is_well_known_token("WeiXin"));
        assert!(is_well_known_token("123456"));
        assert!(!is_well_known_token("Kq3vTnZ81xQw"));
    }
}
