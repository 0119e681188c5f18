//! What the install key is for: pseudonyms of followers, and seals on what is stored.
//!
//! A store is somebody else's machine: [`Seals::open`] believes only bytes that [`Seals::seal`] made for the same
//! purpose, follower and message. HMAC-SHA-256 (RFC 2104). What nobody there may read either goes through
//! [`Seals::encrypt`] and [`Seals::decrypt`]: ChaCha20-Poly1305 (RFC 8439) under a key of its own.

use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;

/// Bytes of the tag in front of a sealed value.
const TAG_BYTES: usize = 16;
/// Hexadecimal digits of a pseudonym in stores; in logs it is shorter.
const PSEUDONYM_DIGITS: usize = 32;
const SHORT_DIGITS: usize = 12;

/// The keyed functions.
#[derive(Clone)]
pub struct Seals {
    keyed: Hmac<Sha256>,
}

/// A follower without the openid: the same openid of one account always gets the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pseudonym(String);

impl Pseudonym {
    /// For stores: 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For logs: `u_` and 12 hexadecimal digits.
    pub fn short(&self) -> String {
        short(&self.0)
    }
}

/// The form for logs of a pseudonym as kept in stores.
pub(super) fn short(pseudonym: &str) -> String {
    format!("u_{}", pseudonym.get(..SHORT_DIGITS).unwrap_or_default())
}

/// Lowercase hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

impl Seals {
    /// `install_key` may have any length, so the `expect` holds; all instances on one store must have the same.
    #[expect(clippy::missing_panics_doc, reason = "it cannot")]
    pub fn new(install_key: &str) -> Self {
        let keyed = Hmac::new_from_slice(install_key.as_bytes()).expect("HMAC takes keys of any length");
        Self { keyed }
    }

    /// The pseudonym of `openid` within `account`.
    pub fn pseudonym(&self, account: &str, openid: &str) -> Pseudonym {
        let tag = self.tag(&["follower", account, openid], &[]);
        let mut digits = hex(&tag);
        digits.truncate(PSEUDONYM_DIGITS);
        Pseudonym(digits)
    }

    /// `payload` with a tag that binds it to `context`.
    pub fn seal(&self, context: &[&str], payload: &[u8]) -> Vec<u8> {
        let mut sealed = self.tag(context, payload)[..TAG_BYTES].to_vec();
        sealed.extend_from_slice(payload);
        sealed
    }

    /// The payload of `sealed`; `None` when it was not sealed with this key for this `context`.
    pub fn open<'a>(&self, context: &[&str], sealed: &'a [u8]) -> Option<&'a [u8]> {
        let (tag, payload) = sealed.split_at_checked(TAG_BYTES)?;
        let keyed = self.fed(context, payload);
        keyed.verify_truncated_left(tag).ok().map(|()| payload)
    }

    /// `payload`, unreadable and bound to `context`.
    ///
    /// # Panics
    /// When the operating system hands out no randomness.
    pub fn encrypt(&self, context: &[&str], payload: &[u8]) -> Vec<u8> {
        // At random, 2^32 values may be encrypted under one key; this is for a handful a day.
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).expect("the operating system hands out randomness");
        let mut text = payload.to_vec();
        self.cipher()
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad(context), &mut text)
            .expect("no payload is longer than 256 GiB");
        [nonce.as_slice(), &text].concat()
    }

    /// The payload of `encrypted`; `None` when it was not encrypted with this key for this `context`.
    pub fn decrypt(&self, context: &[&str], encrypted: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = encrypted.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let payload = self.cipher().open_in_place(nonce, aad(context), &mut text).ok()?;
        Some(payload.to_vec())
    }

    fn cipher(&self) -> LessSafeKey {
        let key = self.tag(&["encryption key"], &[]);
        LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).expect("the key has 32 bytes"))
    }

    fn tag(&self, context: &[&str], payload: &[u8]) -> [u8; 32] {
        self.fed(context, payload).finalize().into_bytes().into()
    }

    fn fed(&self, context: &[&str], payload: &[u8]) -> Hmac<Sha256> {
        let mut keyed = self.keyed.clone();
        for part in context {
            keyed.update(&length_of(part));
            keyed.update(part.as_bytes());
        }
        keyed.update(&u64::MAX.to_be_bytes());
        keyed.update(payload);
        keyed
    }
}

/// Goes before a part of a context: keeps ("ab", "c") apart from ("a", "bc").
fn length_of(part: &str) -> [u8; 8] {
    (part.len() as u64).to_be_bytes()
}

fn aad(context: &[&str]) -> Aad<Vec<u8>> {
    let parts = context.iter().map(|part| [&length_of(part), part.as_bytes()].concat());
    Aad::from(parts.collect::<Vec<_>>().concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_is_read_with_its_key_and_context_only() {
        let seals = Seals::new("key");
        let encrypted = seals.encrypt(&["access token", "wx1"], b"a token");
        assert_eq!(
            seals.decrypt(&["access token", "wx1"], &encrypted).as_deref(),
            Some(&b"a token"[..])
        );
        assert!(!encrypted.windows(7).any(|part| part == b"a token"));
        assert_ne!(encrypted, seals.encrypt(&["access token", "wx1"], b"a token"));
        assert_eq!(seals.decrypt(&["access tokenw", "x1"], &encrypted), None);
        assert_eq!(Seals::new("other").decrypt(&["access token", "wx1"], &encrypted), None);
        for n in 0..encrypted.len() {
            let mut forged = encrypted.clone();
            forged[n] ^= 1;
            assert_eq!(seals.decrypt(&["access token", "wx1"], &forged), None);
            assert_eq!(seals.decrypt(&["access token", "wx1"], &encrypted[..n]), None);
        }
    }

    #[test]
    fn a_seal_holds_for_its_context_only() {
        let seals = Seals::new("key");
        let sealed = seals.seal(&["record", "a", "b"], b"text");
        assert_eq!(seals.open(&["record", "a", "b"], &sealed), Some(&b"text"[..]));
        assert_eq!(seals.open(&["record", "ab", ""], &sealed), None);
        assert_eq!(Seals::new("other").open(&["record", "a", "b"], &sealed), None);
        for n in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[n] ^= 1;
            assert_eq!(seals.open(&["record", "a", "b"], &forged), None);
        }
        assert_eq!(seals.open(&["record", "a", "b"], &sealed[..7]), None);
    }

    #[test]
    fn pseudonyms_differ_between_accounts_and_keys() {
        let seals = Seals::new("key");
        let pseudonym = seals.pseudonym("a", "openid");
        assert_eq!(pseudonym, seals.pseudonym("a", "openid"));
        assert_ne!(pseudonym, seals.pseudonym("b", "openid"));
        assert_ne!(pseudonym, Seals::new("other").pseudonym("a", "openid"));
        assert_eq!(pseudonym.as_str().len(), 32);
        assert!(pseudonym.short().starts_with("u_") && pseudonym.short().len() == 14);
    }
}
