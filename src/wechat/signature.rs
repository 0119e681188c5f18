//! Signatures (签名): the lowercase hex SHA-1 over a Token and the parts it vouches for.
//!
//! [`sign`] makes one, [`verify`] checks one. `signature` covers Token, timestamp and nonce; `msg_signature` covers the
//! `Encrypt` text too, and so the content. Mixing the two up is the usual mistake: the number of parts decides which it
//! is. Follows 公众号开发文档 › 接入指南 › 验证消息的确来自微信服务器.

use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The signature over `parts`, in any order: they are sorted as byte strings, joined without separator and hashed.
pub fn sign<const N: usize>(mut parts: [&str; N]) -> String {
    parts.sort_unstable();
    let mut hash = Sha1::new();
    for part in parts {
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// Returns whether `signature` is the one of `parts`; takes the same time wherever the two differ.
pub fn verify<const N: usize>(parts: [&str; N], signature: &str) -> bool {
    sign(parts).as_bytes().ct_eq(signature.as_bytes()).into()
}

/// Lowercase hexadecimal, two characters a byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digits = bytes
        .iter()
        .flat_map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    digits.map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_example_verifies_in_any_order() {
        let signature = "f464b24fc39322e44b38aa78f5edd27bd1441696";
        assert!(verify(["AAAAA", "1714036504", "1514711492"], signature));
        assert!(verify(["1514711492", "AAAAA", "1714036504"], signature));
    }

    #[test]
    fn parts_are_sorted_as_bytes_not_by_letter() {
        // Uppercase before lowercase: `Zt` comes before `aa`.
        assert_eq!(
            sign(["Zt", "1700000001", "aa"]),
            "348c057f9a6a3bdf32948cd4190d753f43819bf7"
        );
    }

    #[test]
    fn a_signature_in_another_case_or_length_does_not_verify() {
        let parts = ["AAAAA", "1714036504", "1514711492"];
        let signature = sign(parts);
        assert!(!verify(parts, &signature.to_uppercase()));
        assert!(!verify(parts, &signature[..39]));
        assert!(!verify(parts, &format!("{signature}0")));
        assert!(!verify(parts, ""));
    }

    #[test]
    fn a_signature_over_three_parts_does_not_vouch_for_four() {
        assert!(!verify(["AAAAA", "1", "2", "content"], &sign(["AAAAA", "1", "2"])));
    }
}
