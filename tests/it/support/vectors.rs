//! The protocol's test vectors: reading them, making their bodies, and checking what came out.
//!
//! `tests/data/vectors.jsonl` holds ours; `$WXFAQ_SHARED_DIR/wechat/vectors.jsonl` (default `../shared`) holds more and
//! is used when it is there. Both a library and an HTTP test can run them: each produces an [`Outcome`], and
//! [`Vector::accepts`] compares it with what the vector expects.

use std::path::PathBuf;

use base64::Engine;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wxfaq::wechat::xml::{self, Fields};
use wxfaq::wechat::{CredentialError, CredentialParts, Credentials, Mode, Query};

/// One line of a vector file. What only some kinds have is in `rest`.
#[derive(Debug, Deserialize)]
pub struct Vector {
    pub id: String,
    pub kind: String,
    token: Option<String>,
    appid: Option<String>,
    encoding_aes_key: Option<String>,
    previous_encoding_aes_key: Option<String>,
    pub timestamp: Option<String>,
    pub nonce: Option<String>,
    signature: Option<String>,
    pub msg_signature: Option<String>,
    encrypt_type: Option<String>,
    echostr: Option<String>,
    /// A raw query string to use instead of one made from the parameters.
    pub query_override: Option<String>,
    /// The server's time in Unix seconds.
    clock: Option<i64>,
    server_mode: Option<String>,
    body: Option<String>,
    body_base64: Option<String>,
    body_gen: Option<GeneratedBody>,
    pub expected: Value,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct GeneratedBody {
    prefix: String,
    repeat: String,
    count: usize,
    suffix: String,
    #[serde(default)]
    repeat2: String,
    #[serde(default)]
    count2: usize,
    #[serde(default)]
    suffix2: String,
}

/// What became of a vector.
#[derive(Debug)]
pub enum Outcome {
    /// Refused, or acknowledged without a handler's running.
    Rejected(String),
    /// Accepted, with what is known of it under the names that expectations use: `fields`, `plaintext`, `echo`, ….
    Accepted(Map<String, Value>),
}

/// Our vectors, and the shared ones where they are there; each id once. Prints how many there are of each.
pub fn all() -> Vec<Vector> {
    let mut vectors =
        read(&PathBuf::from("tests/data/vectors.jsonl")).expect("tests/data/vectors.jsonl is in the repository");
    let ours = vectors.len();
    let folder = std::env::var_os("WXFAQ_SHARED_DIR").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let file = folder.join("wechat/vectors.jsonl");
    match read(&file) {
        Some(shared) => {
            println!("vectors: {ours} of ours, {} in {}", shared.len(), file.display());
            vectors.extend(shared);
        }
        None => println!("vectors: {ours} of ours, {} is absent", file.display()),
    }
    let mut seen = std::collections::HashSet::new();
    vectors.retain(|vector| seen.insert(vector.id.clone()));
    vectors
}

/// `None` when there is no such file.
fn read(file: &PathBuf) -> Option<Vec<Vector>> {
    let text = std::fs::read_to_string(file).ok()?;
    let parse =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}: {line}", file.display()));
    Some(text.lines().map(parse).collect())
}

impl Vector {
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or("Tok_shared-1")
    }

    pub fn appid(&self) -> &str {
        self.appid.as_deref().unwrap_or("wx1a2b3c4d5e6f7081")
    }

    pub fn encoding_aes_key(&self) -> Option<&str> {
        self.encoding_aes_key.as_deref()
    }

    pub fn previous_encoding_aes_key(&self) -> Option<&str> {
        self.previous_encoding_aes_key.as_deref()
    }

    /// The server's time in Unix seconds; the message's own when the vector names none.
    pub fn now(&self) -> i64 {
        let sent = || self.timestamp.as_deref().and_then(|timestamp| timestamp.parse().ok());
        self.clock.or_else(sent).unwrap_or_default()
    }

    /// The mode the account is configured for.
    pub fn mode(&self) -> Mode {
        match self.server_mode.as_deref() {
            Some("safe") => Mode::Safe,
            Some("plain") => Mode::Plain,
            Some("compat") => Mode::Compatible,
            Some(other) => panic!("{}: unknown mode {other}", self.id),
            None if self.encoding_aes_key.is_some() => Mode::Compatible,
            None => Mode::Plain,
        }
    }

    pub fn credentials(&self) -> Result<Credentials, CredentialError> {
        self.credentials_in(self.mode())
    }

    pub fn credentials_in(&self, mode: Mode) -> Result<Credentials, CredentialError> {
        Credentials::new(CredentialParts {
            appid: self.appid(),
            mode,
            token: self.token(),
            previous_token: None,
            encoding_aes_key: self.encoding_aes_key(),
            previous_encoding_aes_key: self.previous_encoding_aes_key(),
        })
    }

    /// The query string, encoded.
    pub fn raw_query(&self) -> String {
        let parameters = [
            ("signature", &self.signature),
            ("timestamp", &self.timestamp),
            ("nonce", &self.nonce),
            ("echostr", &self.echostr),
            ("encrypt_type", &self.encrypt_type),
            ("msg_signature", &self.msg_signature),
        ];
        let encode = |value| percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
        let pairs = parameters
            .iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", encode(value.as_deref()?))));
        self.query_override
            .clone()
            .unwrap_or_else(|| pairs.collect::<Vec<_>>().join("&"))
    }

    pub fn query(&self) -> Result<Query, wxfaq::wechat::Refusal> {
        Query::parse(&self.raw_query())
    }

    pub fn body(&self) -> Vec<u8> {
        if let Some(body) = &self.body_base64 {
            return base64::engine::general_purpose::STANDARD
                .decode(body)
                .expect("vectors hold base64");
        }
        if let Some(body) = &self.body_gen {
            let GeneratedBody {
                prefix,
                repeat,
                count,
                suffix,
                repeat2,
                count2,
                suffix2,
            } = body;
            return [
                prefix,
                &repeat.repeat(*count),
                suffix,
                &repeat2.repeat(*count2),
                suffix2,
            ]
            .map(String::as_str)
            .concat()
            .into();
        }
        self.body.clone().unwrap_or_default().into()
    }

    /// The text of member `name` that is not one of the struct's fields; empty when absent.
    pub fn text(&self, name: &str) -> &str {
        self.rest.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The outcomes any of which is right.
    pub fn alternatives(&self) -> &[Value] {
        self.expected
            .as_array()
            .map_or_else(|| std::slice::from_ref(&self.expected), Vec::as_slice)
    }

    /// Whether nobody need act on it.
    pub fn allows_rejection(&self) -> bool {
        self.alternatives().iter().any(|one| one == "reject")
    }

    /// Whether it may be acted on.
    pub fn allows_acceptance(&self) -> bool {
        self.alternatives().iter().any(Value::is_object)
    }

    /// Returns whether `outcome` is one of those the vector expects.
    ///
    /// # Errors
    /// Says what does not agree.
    pub fn accepts(&self, outcome: &Outcome) -> Result<(), String> {
        let mut disagreements = Vec::new();
        for one in self.alternatives() {
            match agrees(one, outcome) {
                Ok(()) => return Ok(()),
                Err(disagreement) => disagreements.push(disagreement),
            }
        }
        Err(disagreements.join("; nor: "))
    }
}

/// Members of an expectation that no outcome is compared with here.
const NOT_COMPARED: [&str; 1] = ["note"];

fn agrees(expected: &Value, outcome: &Outcome) -> Result<(), String> {
    match (expected, outcome) {
        (Value::String(word), Outcome::Rejected(_)) if word == "reject" => Ok(()),
        (Value::String(_), Outcome::Accepted(seen)) => Err(format!("accepted: {seen:?}")),
        (Value::Object(_), Outcome::Rejected(why)) => Err(format!("rejected: {why}")),
        (Value::Object(expected), Outcome::Accepted(seen)) => {
            for (name, value) in expected
                .iter()
                .filter(|(name, _)| !NOT_COMPARED.contains(&name.as_str()))
            {
                let (name, seen) = match name.as_str() {
                    "fields_contain" => ("fields", contained(value, seen.get("fields"))),
                    name => (name, seen.get(name).cloned()),
                };
                if seen.as_ref() != Some(value) {
                    return Err(format!(
                        "{name}: expected {value}, found {}",
                        seen.unwrap_or(Value::Null)
                    ));
                }
            }
            Ok(())
        }
        _ => Err(format!("expectation not understood: {expected}")),
    }
}

/// `seen` reduced to the members that `expected` has.
fn contained(expected: &Value, seen: Option<&Value>) -> Option<Value> {
    let names = expected.as_object()?;
    let kept = seen?.as_object()?.iter().filter(|(name, _)| names.contains_key(*name));
    Some(Value::Object(
        kept.map(|(name, value)| (name.clone(), value.clone())).collect(),
    ))
}

/// `fields` as vectors write them: nested elements as objects, repeated ones as lists.
pub fn as_json(fields: &Fields<'_>) -> Value {
    let mut object = Map::new();
    for field in fields {
        let value = match &field.value {
            xml::Value::Text(text) => json!(text),
            xml::Value::Nested(fields) => as_json(fields),
        };
        match object.get_mut(field.name) {
            None => drop(object.insert(field.name.to_owned(), value)),
            Some(Value::Array(list)) => list.push(value),
            Some(first) => *first = json!([first.take(), value]),
        }
    }
    Value::Object(object)
}
