//! WeChat's own side of the protocol: what its servers send, and how they read our answers.
//!
//! [`deliver`] and [`verification`] make requests, [`open_reply`] reads the body of a response. For `wxfaq simulate`
//! and for tests, which stand in for WeChat; the daemon itself never calls this. Uses the current Token and key only,
//! as WeChat does. Follows the same pages as `envelope`.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::crypto;
use super::signature;
use super::xml::{Fields, ParseError, push_cdata};
use super::{Credentials, Head, Mode};

/// A request as WeChat sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The query string, encoded, without `?`.
    pub query: String,
    /// The body; empty for a GET.
    pub body: String,
}

/// What WeChat makes of a response's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// `success` or nothing: the follower sees nothing, and no delivery follows.
    Silence,
    /// A passive reply; the clear XML, well-formed.
    Reply(String),
}

/// Why WeChat shows the follower its fault notice instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum AnswerError {
    #[error("body is no document of the protocol: {0}")]
    Malformed(#[from] ParseError),
    #[error("reply is in clear, but the account is in safe mode")]
    Clear,
    #[error("MsgSignature does not match")]
    Signature,
    #[error("reply does not open: {0}")]
    Encrypted(#[from] crypto::DecryptError),
}

/// The clear XML of a message or event: its head, `msg_type`, and `fields` in their order.
pub fn message_xml(head: &Head, msg_type: &str, fields: &[(&str, &str)]) -> String {
    let mut xml = String::from("<xml>");
    push_cdata(&mut xml, "ToUserName", &head.account);
    push_cdata(&mut xml, "FromUserName", &head.openid);
    xml.extend(["<CreateTime>", &head.create_time.to_string(), "</CreateTime>"]);
    push_cdata(&mut xml, "MsgType", msg_type);
    for (name, text) in fields {
        push_cdata(&mut xml, name, text);
    }
    xml.push_str("</xml>");
    xml
}

/// The clear XML of a typed text.
pub fn text_xml(head: &Head, msg_id: &str, content: &str) -> String {
    message_xml(head, "text", &[("Content", content), ("MsgId", msg_id)])
}

/// The clear XML of an event.
pub fn event_xml(head: &Head, event: &str, key: &str) -> String {
    message_xml(head, "event", &[("Event", event), ("EventKey", key)])
}

/// The GET that WeChat sends when an operator saves the server's address.
pub fn verification(credentials: &Credentials, timestamp: i64, nonce: &str, echostr: &str) -> Request {
    let mut query = signed(credentials, &timestamp.to_string(), nonce);
    push_parameter(&mut query, "echostr", echostr);
    Request {
        query,
        body: String::new(),
    }
}

/// The POST that delivers `xml` in the account's mode. `timestamp` is Unix seconds; `random` are 16 fresh random bytes.
pub fn deliver(credentials: &Credentials, xml: &str, timestamp: i64, nonce: &str, random: [u8; 16]) -> Request {
    let timestamp = timestamp.to_string();
    let mut query = signed(credentials, &timestamp, nonce);
    let openid = Fields::parse(xml.as_bytes())
        .ok()
        .and_then(|fields| Some(fields.text("FromUserName").ok()??.to_owned()));
    if let Some(openid) = openid {
        push_parameter(&mut query, "openid", &openid);
    }
    let Some(key) = credentials.keys.first().filter(|_| credentials.mode != Mode::Plain) else {
        return Request {
            query,
            body: xml.to_owned(),
        };
    };
    let encrypted = crypto::encrypt(key, random, xml.as_bytes(), &credentials.appid);
    let msg_signature = signature::sign([&credentials.tokens[0], &timestamp, nonce, &encrypted]);
    push_parameter(&mut query, "encrypt_type", "aes");
    push_parameter(&mut query, "msg_signature", &msg_signature);
    let mut body = match credentials.mode {
        Mode::Compatible => xml.strip_suffix("</xml>").unwrap_or(xml).to_owned(),
        Mode::Plain | Mode::Safe => "<xml>".to_owned(),
    };
    push_cdata(&mut body, "Encrypt", &encrypted);
    body.push_str("</xml>");
    Request { query, body }
}

/// Reads the body of a response to [`deliver`].
pub fn open_reply(credentials: &Credentials, body: &[u8]) -> Result<Answer, AnswerError> {
    if body.is_empty() || body == b"success" {
        return Ok(Answer::Silence);
    }
    let fields = Fields::parse(body)?;
    let Some(encrypted) = fields.text("Encrypt")? else {
        if credentials.mode == Mode::Safe {
            return Err(AnswerError::Clear);
        }
        return Ok(Answer::Reply(String::from_utf8_lossy(body).into_owned()));
    };
    let parts = [
        &credentials.tokens[0],
        fields.required("TimeStamp")?,
        fields.required("Nonce")?,
        encrypted,
    ];
    if !signature::verify(parts, fields.required("MsgSignature")?) {
        return Err(AnswerError::Signature);
    }
    let key = credentials.keys.first().ok_or(crypto::DecryptError::Malformed)?;
    let clear = crypto::decrypt(key, encrypted, &credentials.appid)?;
    Fields::parse(&clear)?;
    Ok(Answer::Reply(String::from_utf8_lossy(&clear).into_owned()))
}

/// What every query string begins with.
fn signed(credentials: &Credentials, timestamp: &str, nonce: &str) -> String {
    let mut query = format!(
        "signature={}",
        signature::sign([&credentials.tokens[0], timestamp, nonce])
    );
    push_parameter(&mut query, "timestamp", timestamp);
    push_parameter(&mut query, "nonce", nonce);
    query
}

fn push_parameter(query: &mut String, name: &str, value: &str) {
    query.extend(["&", name, "="]);
    query.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
}

#[cfg(test)]
mod tests {
    use super::super::{CredentialParts, Query, Reply};
    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn credentials(mode: Mode) -> Credentials {
        let key = Some("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG");
        let parts = CredentialParts {
            appid: "wx1",
            mode,
            token: "Ab3",
            previous_token: None,
            encoding_aes_key: key,
            previous_encoding_aes_key: None,
        };
        Credentials::new(parts).unwrap()
    }

    fn head() -> Head {
        Head {
            account: "gh_1".to_owned(),
            openid: "o1".to_owned(),
            create_time: NOW,
        }
    }

    #[test]
    fn a_delivery_is_opened_and_its_reply_read_in_every_mode() {
        for mode in [Mode::Plain, Mode::Compatible, Mode::Safe] {
            let credentials = credentials(mode);
            let Request { query, body } =
                deliver(&credentials, &text_xml(&head(), "7", "怎么开户"), NOW, "a b&", [7; 16]);
            let delivery = credentials
                .open(&Query::parse(&query).unwrap(), body.as_bytes(), NOW, 300)
                .unwrap();
            let reply = Reply::Text {
                content: "好]]>".to_owned(),
            };
            let xml = reply.to_xml(delivery.inbound.as_ref().unwrap().head(), NOW).unwrap();
            let sealed = delivery.seal.seal(xml.clone(), NOW, [8; 16]);
            assert_eq!(
                open_reply(&credentials, sealed.as_bytes()),
                Ok(Answer::Reply(xml.clone())),
                "{mode:?}"
            );
            assert_eq!(sealed == xml, mode == Mode::Plain);
        }
    }

    #[test]
    fn a_verification_is_answered_with_its_echo() {
        let credentials = credentials(Mode::Safe);
        let query = Query::parse(&verification(&credentials, NOW, "n", "4375120948345356249").query).unwrap();
        assert_eq!(credentials.verify_url(&query, NOW, 300), Ok("4375120948345356249"));
    }

    #[test]
    fn silence_passes_and_faulty_replies_do_not() {
        let safe = credentials(Mode::Safe);
        assert_eq!(open_reply(&safe, b""), Ok(Answer::Silence));
        assert_eq!(open_reply(&safe, b"success"), Ok(Answer::Silence));
        assert!(matches!(open_reply(&safe, b"{}"), Err(AnswerError::Malformed(_))));
        assert_eq!(
            open_reply(&safe, b"<xml><Content>1</Content></xml>"),
            Err(AnswerError::Clear)
        );
        let forged =
            b"<xml><Encrypt>A</Encrypt><MsgSignature>0</MsgSignature><TimeStamp>1</TimeStamp><Nonce>2</Nonce></xml>";
        assert_eq!(open_reply(&safe, forged), Err(AnswerError::Signature));
    }
}
