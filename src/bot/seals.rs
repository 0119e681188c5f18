//! What the install key is for: pseudonyms of followers, and seals on what is stored.
//!
//! A store is somebody else's machine: [`Seals::open`] believes only bytes that [`Seals::seal`] made for the same
//! purpose, follower and message. HMAC-SHA-256 (RFC 2104).

use hmac::{Hmac, KeyInit, Mac};
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

    fn tag(&self, context: &[&str], payload: &[u8]) -> [u8; 32] {
        self.fed(context, payload).finalize().into_bytes().into()
    }

    fn fed(&self, context: &[&str], payload: &[u8]) -> Hmac<Sha256> {
        let mut keyed = self.keyed.clone();
        for part in context {
            // Lengths keep ("ab", "c") apart from ("a", "bc").
            keyed.update(&(part.len() as u64).to_be_bytes());
            keyed.update(part.as_bytes());
        }
        keyed.update(&u64::MAX.to_be_bytes());
        keyed.update(payload);
        keyed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
