//! Every vector of the protocol, at the library's surface. Those that describe HTTP (`method`, `sequence`) and the HTTP
//! view of the rest are another subject's.
#![expect(
    clippy::unwrap_used,
    reason = "a vector that lacks what its kind has should fail loudly"
)]

use serde_json::{Map, Value, json};
use wxfaq::wechat::crypto::{self, AesKey};
use wxfaq::wechat::reply::{NewsArticle, Reply};
use wxfaq::wechat::xml::Fields;
use wxfaq::wechat::{Event, Head, Inbound, Mode, signature};

use crate::support::vectors::{self, Outcome, Vector, as_json};

/// The window the daemon ships with, in seconds.
const WINDOW: u64 = 300;

/// The official JSON envelope: official accounts send XML only, so only its cryptography must hold.
const CRYPTOGRAPHY_ONLY: &str = "s-enc-official-json";

#[test]
fn every_vector_holds_at_the_librarys_surface() {
    let mut failures = Vec::new();
    let mut checked = std::collections::BTreeMap::<_, usize>::new();
    for vector in vectors::all() {
        let Some(result) = check(&vector) else {
            continue;
        };
        *checked.entry(vector.kind.clone()).or_default() += 1;
        if let Err(failure) = result {
            failures.push(format!("{} ({}): {failure}", vector.id, vector.kind));
        }
    }
    println!("vectors: checked {} ({checked:?})", checked.values().sum::<usize>());
    assert!(
        failures.is_empty(),
        "{} vectors fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(checked.len() >= 6, "only {checked:?}");
}

#[test]
fn safe_mode_opens_what_compatible_mode_opens() {
    let opened = |vector: &Vector, mode| {
        let credentials = vector.credentials_in(mode).unwrap();
        let delivery = credentials.open(&vector.query().unwrap(), &vector.body(), vector.now(), WINDOW);
        delivery.map(|delivery| delivery.inbound)
    };
    for vector in vectors::all()
        .iter()
        .filter(|vector| vector.encoding_aes_key().is_some())
    {
        if vector.kind.ends_with("_message") {
            assert_eq!(
                opened(vector, Mode::Safe),
                opened(vector, Mode::Compatible),
                "{}",
                vector.id
            );
        }
    }
}

/// `None` for the kinds that need a server.
fn check(vector: &Vector) -> Option<Result<(), String>> {
    let outcome = match vector.kind.as_str() {
        "verify_get" => verify_get(vector),
        "plain_message" | "compat_message" | "encrypted_message" if vector.id == CRYPTOGRAPHY_ONLY => {
            return Some(json_envelope(vector));
        }
        "plain_message" | "compat_message" | "encrypted_message" => message(vector),
        "encrypted_reply" => encrypted_reply(vector),
        "decrypt_only" => decrypt_only(vector),
        "msg_signature_only" => accepted([("valid", json!(msg_signature_holds(vector, vector.text("encrypt"))))]),
        "reply" => match Fields::parse(&vector.body()) {
            Ok(fields) => accepted([("fields", as_json(&fields))]),
            Err(error) => Outcome::Rejected(error.to_string()),
        },
        "config" => match vector.credentials() {
            Ok(_) => accepted([("ok", json!(true))]),
            Err(error) => Outcome::Rejected(error.to_string()),
        },
        "reply_build" => return Some(reply_build(vector)),
        "method" | "sequence" => return None,
        other => return Some(Err(format!("unknown kind {other}"))),
    };
    Some(vector.accepts(&outcome))
}

fn accepted<const N: usize>(members: [(&str, Value); N]) -> Outcome {
    Outcome::Accepted(
        members
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect(),
    )
}

fn key(vector: &Vector) -> AesKey {
    AesKey::parse(vector.encoding_aes_key().unwrap()).unwrap()
}

fn verify_get(vector: &Vector) -> Outcome {
    let credentials = vector.credentials().unwrap();
    let echo = vector
        .query()
        .and_then(|query| credentials.verify_url(&query, vector.now(), WINDOW).map(str::to_owned));
    match echo {
        Ok(echo) => accepted([("echo", json!(echo))]),
        Err(refusal) => Outcome::Rejected(refusal.to_string()),
    }
}

fn message(vector: &Vector) -> Outcome {
    let credentials = vector.credentials().unwrap();
    let body = vector.body();
    let opened = vector
        .query()
        .and_then(|query| credentials.open(&query, &body, vector.now(), WINDOW));
    let inbound = match opened {
        Err(refusal) => return Outcome::Rejected(refusal.to_string()),
        Ok(delivery) => delivery.inbound,
    };
    if let Err(error) = inbound {
        return Outcome::Rejected(error.to_string());
    }
    let mut seen = Map::new();
    let clear = match vector.encoding_aes_key() {
        None => body,
        Some(_) => decrypted(vector, &body, &mut seen),
    };
    seen.insert("fields".to_owned(), as_json(&Fields::parse(&clear).unwrap()));
    Outcome::Accepted(seen)
}

/// The clear text of an accepted message, also noted as `plaintext`.
fn decrypted(vector: &Vector, body: &[u8], seen: &mut Map<String, Value>) -> Vec<u8> {
    let outer = Fields::parse(body).unwrap();
    let encrypted = outer.text("Encrypt").unwrap().unwrap();
    let keys = [vector.encoding_aes_key(), vector.previous_encoding_aes_key()];
    let clear = keys
        .into_iter()
        .flatten()
        .find_map(|key| crypto::decrypt(&AesKey::parse(key).unwrap(), encrypted, vector.appid()).ok());
    let clear = clear.expect("an accepted message opens with one of the keys");
    seen.insert("plaintext".to_owned(), json!(String::from_utf8(clear.clone()).unwrap()));
    clear
}

fn msg_signature_holds(vector: &Vector, encrypted: &str) -> bool {
    let [timestamp, nonce, msg_signature] =
        [&vector.timestamp, &vector.nonce, &vector.msg_signature].map(|part| part.as_deref().unwrap_or_default());
    signature::verify([vector.token(), timestamp, nonce, encrypted], msg_signature)
}

fn json_envelope(vector: &Vector) -> Result<(), String> {
    let envelope: Value = serde_json::from_slice(&vector.body()).unwrap();
    let encrypted = envelope["Encrypt"].as_str().unwrap();
    let clear = crypto::decrypt(&key(vector), encrypted, vector.appid()).map_err(|error| error.to_string())?;
    let agrees =
        msg_signature_holds(vector, encrypted) && vector.expected["plaintext"] == *String::from_utf8(clear).unwrap();
    if agrees {
        Ok(())
    } else {
        Err("signature or plain text differs".to_owned())
    }
}

fn decrypt_only(vector: &Vector) -> Outcome {
    match crypto::decrypt(&key(vector), vector.text("encrypt"), vector.appid()) {
        Ok(clear) => accepted([("plaintext", json!(String::from_utf8(clear).unwrap()))]),
        Err(error) => Outcome::Rejected(error.to_string()),
    }
}

fn encrypted_reply(vector: &Vector) -> Outcome {
    let random = vector.text("random").as_bytes().try_into().expect("16 bytes");
    let encrypted = crypto::encrypt(
        &key(vector),
        random,
        vector.text("plaintext").as_bytes(),
        vector.appid(),
    );
    let [timestamp, nonce] = [&vector.timestamp, &vector.nonce].map(|part| part.as_deref().unwrap_or_default());
    let msg_signature = signature::sign([vector.token(), timestamp, nonce, &encrypted]);
    accepted([("encrypt", json!(encrypted)), ("msg_signature", json!(msg_signature))])
}

/// These expect properties of the XML rather than members of an outcome.
fn reply_build(vector: &Vector) -> Result<(), String> {
    let input = &vector.rest["input"];
    let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
    let create_time = input["CreateTime"].as_i64().unwrap();
    let head = Head {
        account: text("FromUserName"),
        openid: text("ToUserName"),
        create_time,
    };
    let reply = match input["MsgType"].as_str().unwrap() {
        "text" => Reply::Text {
            content: text("Content"),
        },
        "news" => Reply::News {
            articles: articles(&input["Articles"]),
        },
        "transfer_customer_service" => Reply::Transfer {
            kf_account: input["KfAccount"].as_str().map(str::to_owned),
        },
        other => return Err(format!("unknown reply {other}")),
    };
    let xml = reply.to_xml(&head, create_time);
    let fields = xml
        .as_deref()
        .map_or(Value::Null, |xml| as_json(&Fields::parse(xml.as_bytes()).unwrap()));
    let content = fields["Content"].as_str().unwrap_or_default();
    for (name, expected) in vector.expected.as_object().unwrap() {
        let holds = match name.as_str() {
            "fields" => fields == *expected,
            "fields_contain" => expected
                .as_object()
                .unwrap()
                .iter()
                .all(|(name, value)| fields[name] == *value),
            "body_one_of" => xml.is_none(),
            "max_utf8_bytes" => content.len() as u64 <= expected.as_u64().unwrap() && !content.is_empty(),
            "is_prefix_of_input_or_prefix_plus_notice" => text("Content").starts_with(content),
            "ArticleCount_equals_items" => article_counts(&fields).is_some_and(|(said, counted)| said == counted),
            "max_articles_reply_to_message" => shown(&reply, &head, MESSAGE) == expected.as_u64(),
            "max_articles_reply_to_event" => shown(&reply, &head, EVENT) == expected.as_u64(),
            other => return Err(format!("unknown expectation {other}")),
        };
        if !holds {
            return Err(format!("{name}: expected {expected}, found {fields}"));
        }
    }
    Ok(())
}

const MESSAGE: fn(Head) -> Inbound = |head| Inbound::Other {
    head,
    msg_id: String::new(),
    msg_type: String::new(),
};
const EVENT: fn(Head) -> Inbound = |head| Inbound::Event {
    head,
    event: Event::Subscribe { scene: None },
};

/// How many articles of `reply` are sent in answer to such an `inbound`.
fn shown(reply: &Reply, head: &Head, inbound: fn(Head) -> Inbound) -> Option<u64> {
    let xml = reply.clone().fitting(&inbound(head.clone())).to_xml(head, 1)?;
    article_counts(&as_json(&Fields::parse(xml.as_bytes()).unwrap())).map(|(_, counted)| counted)
}

/// `ArticleCount` and the number of items.
fn article_counts(fields: &Value) -> Option<(u64, u64)> {
    let items = &fields["Articles"]["item"];
    let counted = items.as_array().map_or(1, Vec::len);
    Some((fields["ArticleCount"].as_str()?.parse().ok()?, counted as u64))
}

fn articles(list: &Value) -> Vec<NewsArticle> {
    let text = |article: &Value, name: &str| article[name].as_str().unwrap_or_default().to_owned();
    let article = |article: &Value| NewsArticle {
        title: text(article, "Title"),
        description: text(article, "Description"),
        pic_url: text(article, "PicUrl"),
        url: text(article, "Url"),
    };
    list.as_array().unwrap().iter().map(article).collect()
}
