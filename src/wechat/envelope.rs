//! One delivery of WeChat's: is it from WeChat, for us, fresh, and what does it say? And the way back.
//!
//! [`Credentials::open`] and [`Credentials::verify_url`] are the entry points. The account's configured [`Mode`]
//! decides what is accepted, never the request. Follows 公众号开发文档 › 接入指南, 消息加解密说明.

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

use super::message::{Inbound, ParseError};

/// What an account's operator and WeChat both know. `Debug` shows no secret.
#[derive(Clone)]
pub struct Credentials {/* appid, mode, (token, key) current and previous */}

/// What is wrong with configured credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct CredentialError {
    /// The configuration key.
    pub field: &'static str,
    /// What is wrong and what is allowed; never quotes the secret.
    pub reason: String,
}

/// The parts of [`Credentials`], as configured.
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

/// The signed query string of a request, decoded. A parameter that comes twice, or is not UTF-8 after decoding, makes
/// parsing fail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields carry the protocol's own names")]
pub struct Query {
    pub signature: Option<String>,
    pub timestamp: Option<String>,
    pub nonce: Option<String>,
    pub echostr: Option<String>,
    pub msg_signature: Option<String>,
    pub encrypt_type: Option<String>,
}

/// Why a request is refused. For the log at `debug` and for metrics only: whoever sent it sees one 403 for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Refusal {
    #[error("a query parameter is missing, repeated or malformed")]
    Query,
    #[error("timestamp outside the window")]
    Stale,
    #[error("signature does not match")]
    Signature,
    #[error("body is not encrypted, but the account's mode asks for it")]
    Downgrade,
    #[error("envelope cannot be opened")]
    Envelope,
    #[error("envelope is for another AppID")]
    AppId,
}

/// An accepted POST.
pub struct Delivery {
    /// The message, or why the (correctly signed) bytes are none: then log it and answer `success`.
    pub inbound: Result<Inbound, ParseError>,
    /// The signature that vouched for it: `msg_signature` when encrypted, else `signature`. Lowercase hex.
    pub signature: String,
    /// SHA-256 over the *parsed* identity and content, equal for repeats of one message however they are encrypted.
    pub fingerprint: [u8; 32],
    /// How the answer must travel.
    pub seal: Seal,
}

/// How the answer to one delivery travels: in clear, or encrypted with the Token and key that opened it.
#[derive(Clone)]
pub struct Seal {/* clear, or token, key, appid, nonce */}

impl Credentials {
    /// # Errors
    /// Empty or well-known Token, a key that does not decode to 32 bytes, a mode that needs a key without one.
    pub fn new(parts: CredentialParts<'_>) -> Result<Self, CredentialError> {
        let _ = parts;
        todo!()
    }

    /// The `echostr` to answer a GET with.
    ///
    /// `now` is Unix seconds; `window` the accepted distance of `timestamp` from it in seconds, 0: any.
    pub fn verify_url<'q>(&self, query: &'q Query, now: i64, window: u64) -> Result<&'q str, Refusal> {
        let _ = (query, now, window);
        todo!()
    }

    /// Opens a POST. `body` is at most 64 KiB; `now` and `window` as in [`Credentials::verify_url`].
    pub fn open(&self, query: &Query, body: &[u8], now: i64, window: u64) -> Result<Delivery, Refusal> {
        let _ = (query, body, now, window);
        todo!()
    }
}

impl Query {
    /// Parses a raw query string; unknown parameters are ignored.
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        let _ = raw;
        todo!()
    }
}

impl Seal {
    /// The response's body: `xml` itself, or its encrypted envelope. `random` are 16 fresh random bytes.
    pub fn seal(&self, xml: String, now: i64, random: [u8; 16]) -> String {
        let _ = (now, random);
        xml
    }
}
