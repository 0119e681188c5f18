//! The query string of a request of WeChat's: what is signed, and the signatures, as the address carries them.
//!
//! [`Query::parse`] is the entry point. It checks form alone; whether a signature holds is `envelope`'s work. Follows
//! 公众号开发文档 › 接入指南, 消息加解密说明.

use super::envelope::Refusal;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

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

impl Query {
    /// Parses a raw query string (`application/x-www-form-urlencoded`, decoded once); unknown parameters are ignored.
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        let mut query = Self::default();
        for pair in raw.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // An unknown name that is not UTF-8 is one more unknown name.
            let slot = match decoded(name).as_deref() {
                Ok("signature") => &mut query.signature,
                Ok("timestamp") => &mut query.timestamp,
                Ok("nonce") => &mut query.nonce,
                Ok("echostr") => &mut query.echostr,
                Ok("msg_signature") => &mut query.msg_signature,
                Ok("encrypt_type") => &mut query.encrypt_type,
                _ => continue,
            };
            let value = decoded(value).map_err(|_| Refusal::Query)?.into_owned();
            if slot.replace(value).is_some() {
                return Err(Refusal::Query);
            }
        }
        Ok(query)
    }
}

/// A name or value of a query string, decoded.
fn decoded(text: &str) -> Result<Cow<'_, str>, std::str::Utf8Error> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Ok(Cow::Owned(percent_decode_str(&spaced).decode_utf8()?.into_owned()));
    }
    percent_decode_str(text).decode_utf8()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_once_and_unknown_parameters_are_ignored() {
        let query = Query::parse("nonce=a%2Bb+c%2520&openid=%ff&%74imestamp=1&x&=").unwrap();
        let expected = Query {
            nonce: Some("a+b c%20".to_owned()),
            timestamp: Some("1".to_owned()),
            ..Query::default()
        };
        assert_eq!(query, expected);
    }

    #[test]
    fn repeated_or_undecodable_parameters_are_refused() {
        for raw in [
            "signature=a&signature=a",
            "nonce=1&%6eonce=2",
            "timestamp&timestamp",
            "nonce=%ff",
        ] {
            assert_eq!(Query::parse(raw), Err(Refusal::Query), "{raw}");
        }
    }
}
