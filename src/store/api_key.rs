//! API keys as values: what a caller of the JSON API presents, and what is kept of it.
//!
//! A caller holds a [`KeySecret`], shown once when it is made; the store keeps an [`ApiKey`] with its [`KeyHash`]. The
//! secret has 256 random bits, so one pass of SHA-256 is as good as any slower hash, and looking a hash up in a table
//! tells a guesser nothing.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt;
use std::io;

/// In front of every key, so that people and scanners of leaked secrets recognise one.
pub const PREFIX: &str = "wxk_";
const SECRET_BYTES: usize = 32;
const ID_DIGITS: usize = 10;

/// What a key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyScope {
    /// Searching and reading the published bank.
    Search,
    /// Conversations.
    Ask,
    /// Saying whether an answer helped.
    Feedback,
    /// Seeing how a search came to its result.
    Trace,
}

impl KeyScope {
    /// Every scope with its name.
    pub const NAMES: [(Self, &'static str); 4] = [
        (Self::Search, "search"),
        (Self::Ask, "ask"),
        (Self::Feedback, "feedback"),
        (Self::Trace, "trace"),
    ];

    /// The name in commands and in the database.
    pub fn as_str(self) -> &'static str {
        let known = Self::NAMES.iter().find(|(scope, _)| *scope == self);
        known.map_or("", |(_, name)| name)
    }

    /// `None` when no scope has that name.
    pub fn parse(name: &str) -> Option<Self> {
        let known = Self::NAMES.iter().find(|(_, known)| *known == name);
        known.map(|(scope, _)| *scope)
    }
}

/// A key as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Names the key in commands and logs; says nothing about the secret.
    pub id: String,
    /// Whose it is, in the operator's words.
    pub name: String,
    /// Of the secret.
    pub hash: KeyHash,
    /// At least one.
    pub scopes: BTreeSet<KeyScope>,
    /// Requests a minute; as many may come at once.
    pub per_minute: u32,
    /// Unix seconds.
    pub created_at: i64,
    #[expect(missing_docs, reason = "the name says it")]
    pub created_by: String,
    /// When, in Unix seconds, and by whom; `None`: it is good.
    pub revoked: Option<(i64, String)>,
}

/// SHA-256 of a whole key, prefix included.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

/// A key as its holder has it; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret(String);

impl KeySecret {
    /// A new one from the operating system's randomness.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// `None` for what has not the form of a key.
    pub fn parse(text: &str) -> Option<Self> {
        let secret = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        (secret.len() == SECRET_BYTES).then(|| Self(text.to_owned()))
    }

    /// The key itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(&self.0).into())
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}…")
    }
}

impl KeyHash {
    /// From 64 lowercase hexadecimal digits.
    pub fn parse(digits: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if digits.len() != 64 || !digits.is_ascii() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// An id for a new key: `k` and ten hexadecimal digits.
pub fn random_id() -> io::Result<String> {
    let mut bytes = [0; ID_DIGITS / 2];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().fold("k".to_owned(), |id, byte| format!("{id}{byte:02x}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_recognisable_distinct_and_hidden() {
        let (one, two) = (KeySecret::random().unwrap(), KeySecret::random().unwrap());
        assert!(one.expose().starts_with("wxk_") && one.expose().len() == 47);
        assert_ne!(one, two);
        assert_ne!(one.hash(), two.hash());
        assert!(!format!("{one:?}").contains(&one.expose()[4..]));
        assert_eq!(KeySecret::parse(one.expose()), Some(one));
    }

    #[test]
    fn other_texts_are_no_keys() {
        let good = KeySecret::random().unwrap();
        let cases = [
            "",
            "wxk_",
            "wxk_short",
            &good.expose()[4..],
            &format!("{}A", good.expose()),
        ];
        for text in cases {
            assert_eq!(KeySecret::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_hash_is_sha_256_in_hexadecimal_digits() {
        let hash = KeySecret("abc".to_owned()).hash();
        let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.to_string(), digits);
        assert_eq!(KeyHash::parse(digits), Some(hash));
        assert_eq!(KeyHash::parse(&digits[1..]), None);
        assert_eq!(KeyHash::parse(&digits.replace('b', "g")), None);
    }
}
