//! One delivery of WeChat's: is it from WeChat, for us, fresh, and what does it say? And the way back.
//!
//! [`Credentials::open`] and [`Credentials::verify_url`] are the entry points. The account's configured [`Mode`]
//! decides what is accepted, never the request. Follows 公众号开发文档 › 接入指南, 消息加解密说明.
//!
//! Who does not know the Token gets no further than the signatures, which are all computed and compared before the
//! first refusal; what such a sender can measure is their own request's length.

use sha2::{Digest, Sha256};

pub use super::credentials::{CredentialError, CredentialParts, Credentials, Mode};
use super::crypto::{self, AesKey, DecryptError};
use super::message::{Inbound, ParseError};
use super::query::Query;
use super::signature;
use super::xml::{Fields, Value, push_cdata};

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
#[derive(Debug)]
pub struct Delivery {
    /// The message, or why the (correctly signed) bytes are none: then log it and answer `success`.
    pub inbound: Result<Inbound, ParseError>,
    /// The `signature` of its address, in every mode: it does not cover the body, so an address must not be used again
    /// for another, nor as a URL verification. Lowercase hex.
    pub signature: String,
    /// SHA-256 over the *parsed* identity and content, equal for repeats of one message however they are encrypted.
    pub fingerprint: [u8; 32],
    /// How the answer must travel.
    pub seal: Seal,
}

/// How the answer to one delivery travels: in clear, or encrypted with the Token and key that opened it. `Debug` shows
/// no secret.
#[derive(Clone)]
pub struct Seal(Option<Envelope>);

#[derive(Clone)]
struct Envelope {
    token: String,
    key: AesKey,
    appid: String,
    nonce: String,
}

impl Credentials {
    /// The `echostr` to answer a GET with, unchanged.
    ///
    /// `now` is Unix seconds; `window` the accepted distance of `timestamp` from it in seconds, 0: any. The signature
    /// does not cover `echostr`: one that is not made of base64's characters, as WeChat's digits are, is refused, so
    /// that a captured address cannot make us say anything else.
    pub fn verify_url<'q>(&self, query: &'q Query, now: i64, window: u64) -> Result<&'q str, Refusal> {
        self.vouch(query, None, now, window)?;
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+/=".contains(&byte);
        let echostr = query
            .echostr
            .as_deref()
            .filter(|text| !text.is_empty() && text.bytes().all(harmless));
        echostr.ok_or(Refusal::Query)
    }

    /// Checks what of a POST is known before its body: `signature` and `timestamp`. `now` and `window` as in
    /// [`Credentials::verify_url`].
    pub fn verify_address(&self, query: &Query, now: i64, window: u64) -> Result<(), Refusal> {
        self.vouch(query, None, now, window).map(|_| ())
    }

    /// Opens a POST. `body` is at most 64 KiB; `now` and `window` as in [`Credentials::verify_url`].
    ///
    /// In plain mode a request that claims to be encrypted, or a body that is only an envelope, is refused. In the
    /// other modes `encrypt_type` must be `aes` and both signatures must hold; clear fields beside the envelope count
    /// for nothing. The current Token and key are tried first, then the previous ones.
    pub fn open(&self, query: &Query, body: &[u8], now: i64, window: u64) -> Result<Delivery, Refusal> {
        match self.mode {
            Mode::Plain => self.open_plain(query, body, now, window),
            Mode::Compatible | Mode::Safe => self.open_encrypted(query, body, now, window),
        }
    }

    fn open_plain(&self, query: &Query, body: &[u8], now: i64, window: u64) -> Result<Delivery, Refusal> {
        let fields = Fields::parse(body);
        self.vouch(query, None, now, window)?;
        let only_envelope = fields
            .as_ref()
            .is_ok_and(|fields| has(fields, "Encrypt") && !has(fields, "MsgType"));
        if only_envelope || !matches!(query.encrypt_type.as_deref(), None | Some("raw")) {
            return Err(Refusal::Envelope);
        }
        Ok(Delivery::new(
            &fields,
            body,
            query.signature.clone().unwrap_or_default(),
            Seal(None),
        ))
    }

    fn open_encrypted(&self, query: &Query, body: &[u8], now: i64, window: u64) -> Result<Delivery, Refusal> {
        let outer = Fields::parse(body);
        let encrypted = outer
            .as_ref()
            .ok()
            .and_then(|fields| fields.text("Encrypt").transpose());
        let signed_text = encrypted
            .as_ref()
            .and_then(|text| text.as_ref().ok())
            .copied()
            .unwrap_or_default();
        let address = self.vouch(query, None, now, window);
        let content = self.vouch(query, Some(signed_text), now, window);
        address?;
        // A captured address with a body of the sender's own gets this far.
        if query.encrypt_type.as_deref() != Some("aes") || (outer.is_ok() && encrypted.is_none()) {
            return Err(Refusal::Downgrade);
        }
        let encrypted = encrypted.and_then(Result::ok).ok_or(Refusal::Envelope)?;
        let token = content?;
        let (key, clear) = self.decrypt(encrypted)?;
        let seal = Seal(Some(Envelope {
            token: token.to_owned(),
            key: key.clone(),
            appid: self.appid.clone(),
            nonce: query.nonce.clone().unwrap_or_default(),
        }));
        let signature = query.signature.clone().unwrap_or_default();
        Ok(Delivery::new(&Fields::parse(&clear), &clear, signature, seal))
    }

    /// The Token under which `signature`, and over `encrypted` also `msg_signature`, hold. Every Token is tried and
    /// every comparison made, whatever is missing.
    fn vouch(&self, query: &Query, encrypted: Option<&str>, now: i64, window: u64) -> Result<&str, Refusal> {
        let [timestamp, nonce, plain, sealed] =
            [&query.timestamp, &query.nonce, &query.signature, &query.msg_signature]
                .map(|parameter| parameter.as_deref().unwrap_or_default());
        let mut vouching = None;
        for token in &self.tokens {
            let mut holds = signature::verify([token, timestamp, nonce], plain);
            if let Some(encrypted) = encrypted {
                holds &= signature::verify([token, timestamp, nonce, encrypted], sealed);
            }
            vouching = vouching.or(holds.then_some(token.as_str()));
        }
        if query.signature.is_none() || timestamp.is_empty() || nonce.is_empty() {
            return Err(Refusal::Query);
        }
        let token = vouching.ok_or(Refusal::Signature)?;
        if window > 0 {
            let timestamp: i64 = timestamp.parse().map_err(|_| Refusal::Query)?;
            if timestamp.abs_diff(now) > window {
                return Err(Refusal::Stale);
            }
        }
        Ok(token)
    }

    /// The clear text and the key that opened it. With several keys failing, the current one's failure is reported.
    fn decrypt(&self, encrypted: &str) -> Result<(&AesKey, Vec<u8>), Refusal> {
        let mut refusal = None;
        for key in &self.keys {
            match crypto::decrypt(key, encrypted, &self.appid) {
                Ok(clear) => return Ok((key, clear)),
                Err(DecryptError::Malformed) => refusal = refusal.or(Some(Refusal::Envelope)),
                Err(DecryptError::AppId) => refusal = refusal.or(Some(Refusal::AppId)),
            }
        }
        Err(refusal.unwrap_or(Refusal::Envelope))
    }
}

/// Whether there is a child `name`, of whatever shape.
fn has(fields: &Fields<'_>, name: &str) -> bool {
    fields.iter().any(|field| field.name == name)
}

impl Delivery {
    /// `clear` are the bytes `fields` were read from.
    fn new(fields: &Result<Fields<'_>, ParseError>, clear: &[u8], signature: String, seal: Seal) -> Self {
        let mut hash = Sha256::new();
        match fields {
            Ok(fields) => digest(fields, &mut hash),
            Err(_) => hash.update(clear),
        }
        let inbound = fields.as_ref().map_err(Clone::clone).and_then(Inbound::from_fields);
        Self {
            inbound,
            signature,
            fingerprint: hash.finalize().into(),
            seal,
        }
    }
}

/// Feeds all fields to `hash`: by name, repeated ones in document order, each part with its length before it so that
/// no two trees feed the same.
fn digest(fields: &Fields<'_>, hash: &mut Sha256) {
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_by_key(|field| field.name);
    hash.update((sorted.len() as u64).to_be_bytes());
    let feed = |kind: u8, text: &str, hash: &mut Sha256| {
        hash.update([kind]);
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    for field in sorted {
        feed(b'n', field.name, hash);
        match &field.value {
            Value::Text(text) => feed(b't', text, hash),
            Value::Nested(fields) => {
                hash.update([b'f']);
                digest(fields, hash);
            }
        }
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(if self.0.is_some() {
            "Seal(encrypted)"
        } else {
            "Seal(clear)"
        })
    }
}

impl Seal {
    /// The response's body: `xml` itself, or its encrypted envelope. `now` is Unix seconds; `random` are 16 fresh
    /// random bytes. `success` and the empty body travel in clear always and must not pass here.
    pub fn seal(&self, xml: String, now: i64, random: [u8; 16]) -> String {
        let Some(Envelope {
            token,
            key,
            appid,
            nonce,
        }) = &self.0
        else {
            return xml;
        };
        let encrypted = crypto::encrypt(key, random, xml.as_bytes(), appid);
        let timestamp = now.to_string();
        let msg_signature = signature::sign([token, &timestamp, nonce, &encrypted]);
        let mut sealed = String::with_capacity(encrypted.len() + 256);
        sealed.push_str("<xml>");
        push_cdata(&mut sealed, "Encrypt", &encrypted);
        push_cdata(&mut sealed, "MsgSignature", &msg_signature);
        sealed.extend(["<TimeStamp>", &timestamp, "</TimeStamp>"]);
        push_cdata(&mut sealed, "Nonce", nonce);
        sealed.push_str("</xml>");
        sealed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::platform::{self, Answer, Request, deliver, text_xml};
    use super::super::{CredentialParts, Head, Reply};
    use super::*;

    const NOW: i64 = 1_700_000_000;
    const KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";
    const OTHER_KEY: &str = "YTJkZmVjMzQ5NDU5NDY3MDhiZWI0NTdiMjFiY2I5MmU";
    const SAFE: CredentialParts<'_> = CredentialParts {
        appid: "wx1",
        mode: Mode::Safe,
        token: "Ab3",
        previous_token: None,
        encoding_aes_key: Some(KEY),
        previous_encoding_aes_key: None,
    };

    fn credentials(parts: CredentialParts<'_>) -> Credentials {
        Credentials::new(parts).unwrap()
    }

    fn request(sender: CredentialParts<'_>, content: &str) -> Request {
        let head = Head {
            account: "gh_1".to_owned(),
            openid: "o1".to_owned(),
            create_time: NOW,
        };
        deliver(&credentials(sender), &text_xml(&head, "7", content), NOW, "42", [7; 16])
    }

    fn open(receiver: CredentialParts<'_>, request: &Request, now: i64, window: u64) -> Result<Delivery, Refusal> {
        credentials(receiver).open(&Query::parse(&request.query)?, request.body.as_bytes(), now, window)
    }

    #[test]
    fn timestamps_outside_the_window_are_stale_on_both_sides() {
        let request = request(SAFE, "1");
        for (now, window, refused) in [
            (NOW + 300, 300, false),
            (NOW + 301, 300, true),
            (NOW - 301, 300, true),
            (i64::MIN, 300, true),
            (0, 0, false),
        ] {
            assert_eq!(
                open(SAFE, &request, now, window).err(),
                refused.then_some(Refusal::Stale),
                "{now} {window}"
            );
        }
    }

    #[test]
    fn the_configured_mode_decides_not_the_request() {
        let plain = CredentialParts {
            mode: Mode::Plain,
            ..SAFE
        };
        let compatible = CredentialParts {
            mode: Mode::Compatible,
            ..SAFE
        };
        assert_eq!(
            open(SAFE, &request(plain, "1"), NOW, 300).unwrap_err(),
            Refusal::Downgrade
        );
        assert_eq!(
            open(compatible, &request(plain, "1"), NOW, 300).unwrap_err(),
            Refusal::Downgrade
        );
        assert_eq!(
            open(plain, &request(SAFE, "1"), NOW, 300).unwrap_err(),
            Refusal::Envelope
        );
        assert!(open(SAFE, &request(compatible, "1"), NOW, 300).is_ok());
        let mut only_envelope = request(plain, "1");
        only_envelope.body = "<xml><ToUserName>gh_1</ToUserName><Encrypt>AAAA</Encrypt></xml>".to_owned();
        assert_eq!(open(plain, &only_envelope, NOW, 300).unwrap_err(), Refusal::Envelope);
    }

    #[test]
    fn a_captured_address_does_not_carry_another_body() {
        let captured = request(SAFE, "1").query;
        let clear = request(
            CredentialParts {
                mode: Mode::Plain,
                ..SAFE
            },
            "2",
        )
        .body;
        let other = Request {
            query: captured.clone(),
            body: request(SAFE, "2").body,
        };
        assert_eq!(open(SAFE, &other, NOW, 300).unwrap_err(), Refusal::Signature);
        let downgraded = Request {
            query: captured,
            body: clear,
        };
        assert_eq!(open(SAFE, &downgraded, NOW, 300).unwrap_err(), Refusal::Downgrade);
    }

    #[test]
    fn without_the_token_every_request_has_a_wrong_signature() {
        let stranger = CredentialParts { token: "guess", ..SAFE };
        let plain = CredentialParts {
            mode: Mode::Plain,
            ..stranger
        };
        for forged in [request(stranger, "1"), request(plain, "1")] {
            assert_eq!(open(SAFE, &forged, NOW, 300).unwrap_err(), Refusal::Signature);
        }
    }

    #[test]
    fn wrong_keys_and_appids_are_refused() {
        let other_key = CredentialParts {
            encoding_aes_key: Some(OTHER_KEY),
            ..SAFE
        };
        let other_appid = CredentialParts { appid: "wx2", ..SAFE };
        assert_eq!(
            open(SAFE, &request(other_key, "1"), NOW, 300).unwrap_err(),
            Refusal::Envelope
        );
        assert_eq!(
            open(SAFE, &request(other_appid, "1"), NOW, 300).unwrap_err(),
            Refusal::AppId
        );
    }

    #[test]
    fn the_reply_is_sealed_with_the_token_and_key_that_opened_the_message() {
        let old = CredentialParts {
            token: "Old",
            encoding_aes_key: Some(OTHER_KEY),
            ..SAFE
        };
        let rotating = CredentialParts {
            previous_token: Some("Old"),
            previous_encoding_aes_key: Some(OTHER_KEY),
            ..SAFE
        };
        for sender in [SAFE, old, CredentialParts { token: "Old", ..SAFE }] {
            let delivery = open(rotating, &request(sender, "1"), NOW, 300).unwrap();
            let sealed = delivery.seal.seal("<xml><a>1</a></xml>".to_owned(), NOW, [1; 16]);
            let answer = platform::open_reply(&credentials(sender), sealed.as_bytes());
            assert_eq!(answer, Ok(Answer::Reply("<xml><a>1</a></xml>".to_owned())));
        }
    }

    #[test]
    fn a_hostile_nonce_stays_inside_the_sealed_reply() {
        let head = Head {
            account: "gh_1".to_owned(),
            openid: "o1".to_owned(),
            create_time: NOW,
        };
        let sender = credentials(SAFE);
        let request = deliver(
            &sender,
            &text_xml(&head, "7", "1"),
            NOW,
            "]]></Nonce><Encrypt>x",
            [7; 16],
        );
        let delivery = open(SAFE, &request, NOW, 300).unwrap();
        let xml = Reply::Text {
            content: "1".to_owned(),
        }
        .to_xml(&head, NOW)
        .unwrap();
        let sealed = delivery.seal.seal(xml.clone(), NOW, [1; 16]);
        assert_eq!(platform::open_reply(&sender, sealed.as_bytes()), Ok(Answer::Reply(xml)));
    }

    #[test]
    fn signed_bytes_that_are_no_message_are_accepted_as_such() {
        let plain = CredentialParts {
            mode: Mode::Plain,
            ..SAFE
        };
        let query = request(plain, "1").query;
        for body in ["", "{}", "<!DOCTYPE xml><xml/>", "<xml><MsgType>text</MsgType></xml>"] {
            let request = Request {
                query: query.clone(),
                body: body.to_owned(),
            };
            assert!(open(plain, &request, NOW, 300).unwrap().inbound.is_err(), "{body}");
        }
        let sender = credentials(SAFE);
        let garbled = deliver(&sender, "no xml", NOW, "42", [7; 16]);
        assert!(open(SAFE, &garbled, NOW, 300).unwrap().inbound.is_err());
    }

    #[test]
    fn the_fingerprint_is_the_contents_not_the_envelopes() {
        let plain = CredentialParts {
            mode: Mode::Plain,
            ..SAFE
        };
        let fingerprint = |body: &str| {
            let request = Request {
                query: request(plain, "1").query,
                body: body.to_owned(),
            };
            open(plain, &request, NOW, 300).unwrap().fingerprint
        };
        let sent = request(plain, "1").body;
        assert_eq!(
            open(SAFE, &request(SAFE, "1"), NOW, 300).unwrap().fingerprint,
            fingerprint(&sent)
        );
        assert_eq!(
            fingerprint("<xml><a>1</a><b/></xml>"),
            fingerprint("<xml> <b></b><a><![CDATA[1]]></a></xml>")
        );
        let distinct = [
            "<xml><a>1</a></xml>",
            "<xml><a>2</a></xml>",
            "<xml><a><a>1</a></a></xml>",
            "<xml><b>1</b></xml>",
            "{}",
        ];
        for (index, one) in distinct.iter().enumerate() {
            for other in &distinct[..index] {
                assert_ne!(fingerprint(one), fingerprint(other), "{one} {other}");
            }
        }
    }

    #[test]
    fn only_harmless_echoes_are_echoed() {
        let parts = credentials(SAFE);
        let echo = |echostr: &str| {
            let query = Query::parse(&platform::verification(&parts, NOW, "42", echostr).query).unwrap();
            parts.verify_url(&query, NOW, 300).map(str::to_owned)
        };
        assert_eq!(echo("4375120948345356249"), Ok("4375120948345356249".to_owned()));
        assert_eq!(echo("<script>"), Err(Refusal::Query));
        assert_eq!(echo(""), Err(Refusal::Query));
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", open(SAFE, &request(SAFE, "1"), NOW, 300).unwrap().seal);
        assert_eq!(shown, "Seal(encrypted)");
    }

    proptest! {
        #[test]
        fn opening_never_panics(
            query in "((signature|timestamp|nonce|msg_signature|encrypt_type)=[a-z0-9%+&=]{0,9}&){0,6}",
            body: Vec<u8>,
        ) {
            if let Ok(query) = Query::parse(&query) {
                let _ = credentials(SAFE).open(&query, &body, NOW, 300);
                let _ = credentials(CredentialParts { mode: Mode::Plain, ..SAFE }).open(&query, &body, NOW, 300);
            }
        }

        #[test]
        fn whatever_is_sealed_opens_to_a_message_or_an_error(text: String) {
            let request = deliver(&credentials(SAFE), &text, NOW, "42", [7; 16]);
            prop_assert!(open(SAFE, &request, NOW, 300).is_ok());
        }
    }
}
