//! The encrypted part of a message (消息加解密): AES-256-CBC under the EncodingAESKey, base64 outside.
//!
//! [`encrypt`] and [`decrypt`] are each other's inverse. Inside is `random(16) | length(4, big-endian) | text | AppID`,
//! padded as PKCS#7 to 32 bytes, twice the cipher's block: unpadders for 16 bytes refuse every second message. Nothing
//! here authenticates; `envelope` checks `msg_signature` before it decrypts. Follows 公众号开发文档 › 消息加解密说明.

use aes::Aes256;
use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use subtle::ConstantTimeEq;

/// The cipher's block in bytes.
const BLOCK: usize = 16;
/// What the padding fills up to, in bytes.
const PADDING_BLOCK: usize = 32;
/// The random bytes and the length before the text.
const HEADER: usize = 20;

/// Three of four keys made by WeChat's console have non-zero spare bits in their last character.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// A decoded EncodingAESKey. `Debug` does not show it.
#[derive(Clone)]
pub struct AesKey([u8; 32]);

/// Why a text is no EncodingAESKey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the 43 letters and digits shown in WeChat's console")]
pub struct KeyError;

/// Why an `Encrypt` text cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    /// No base64, no whole blocks, wrong padding or length; also what a wrong key looks like.
    #[error("ciphertext does not open")]
    Malformed,
    /// It opens, and names another AppID.
    #[error("ciphertext is for another AppID")]
    AppId,
}

impl std::fmt::Debug for AesKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("AesKey(…)")
    }
}

impl AesKey {
    /// Decodes an EncodingAESKey: 43 characters of base64 whose spare bits may be set; one `=` after them, left over
    /// from copying, is tolerated.
    pub fn parse(encoding_aes_key: &str) -> Result<Self, KeyError> {
        let characters = encoding_aes_key.strip_suffix('=').unwrap_or(encoding_aes_key);
        if characters.len() != 43 {
            return Err(KeyError);
        }
        let bytes = LENIENT.decode(format!("{characters}=")).map_err(|_| KeyError)?;
        bytes.try_into().map(Self).map_err(|_| KeyError)
    }

    /// The initialisation vector WeChat derives from the key: its first block.
    fn iv(&self) -> &[u8; BLOCK] {
        self.0.first_chunk().expect("a key is longer than a block")
    }
}

/// The `Encrypt` text for `text`; `random` are 16 fresh random bytes.
///
/// # Panics
/// If `text` is 4 GiB or longer.
pub fn encrypt(key: &AesKey, random: [u8; 16], text: &[u8], appid: &str) -> String {
    let length = u32::try_from(text.len()).expect("the length fits its four bytes");
    let mut buffer = Vec::with_capacity(HEADER + text.len() + appid.len() + PADDING_BLOCK);
    buffer.extend_from_slice(&random);
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(text);
    buffer.extend_from_slice(appid.as_bytes());
    let padding = PADDING_BLOCK - buffer.len() % PADDING_BLOCK;
    buffer.resize(buffer.len() + padding, padding as u8);
    let length = buffer.len();
    cbc::Encryptor::<Aes256>::new((&key.0).into(), key.iv().into())
        .encrypt_padded::<NoPadding>(&mut buffer, length)
        .expect("the buffer is whole blocks");
    STANDARD.encode(buffer)
}

/// The text inside `encrypted`, an `Encrypt` text for `appid`.
pub fn decrypt(key: &AesKey, encrypted: &str, appid: &str) -> Result<Vec<u8>, DecryptError> {
    let mut buffer = STANDARD.decode(encrypted).map_err(|_| DecryptError::Malformed)?;
    cbc::Decryptor::<Aes256>::new((&key.0).into(), key.iv().into())
        .decrypt_padded::<NoPadding>(&mut buffer)
        .map_err(|_| DecryptError::Malformed)?;
    let content = unpad(&buffer).ok_or(DecryptError::Malformed)?;
    let (length, rest) = content
        .get(16..)
        .and_then(<[u8]>::split_first_chunk)
        .ok_or(DecryptError::Malformed)?;
    let (text, receiver) = rest
        .split_at_checked(u32::from_be_bytes(*length) as usize)
        .ok_or(DecryptError::Malformed)?;
    if !bool::from(receiver.ct_eq(appid.as_bytes())) {
        return Err(DecryptError::AppId);
    }
    let text = HEADER..HEADER + text.len();
    buffer.truncate(text.end);
    buffer.drain(..text.start);
    Ok(buffer)
}

/// `buffer` without its padding: 1 to 32 bytes that all hold their number.
///
/// WeChat's samples accept any such padding, whether or not it fills up to 32 bytes, and so does this.
fn unpad(buffer: &[u8]) -> Option<&[u8]> {
    let count = usize::from(*buffer.last()?);
    let (content, padding) = buffer.split_at_checked(buffer.len().checked_sub(count)?)?;
    let agrees = (1..=PADDING_BLOCK).contains(&count) && padding.iter().all(|byte| usize::from(*byte) == count);
    agrees.then_some(content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn key() -> AesKey {
        AesKey::parse(KEY).unwrap()
    }

    /// A ciphertext over exactly these bytes, padding included.
    fn raw(buffer: &[u8]) -> String {
        let mut buffer = buffer.to_vec();
        let length = buffer.len();
        cbc::Encryptor::<Aes256>::new((&key().0).into(), key().iv().into())
            .encrypt_padded::<NoPadding>(&mut buffer, length)
            .unwrap();
        STANDARD.encode(buffer)
    }

    #[test]
    fn the_documented_example_is_reproduced() {
        let text = br#"{"demo_resp":"good luck"}"#;
        let encrypted = encrypt(&key(), *b"707722b803182950", text, "wxba5fad812f8e6fb9");
        assert_eq!(
            encrypted,
            "ELGduP2YcVatjqIS+eZbp80MNLoAUWvzzyJxgGzxZO/5sAvd070Bs6qrLARC9nVHm48Y4hyRbtzve1L32tmxSQ=="
        );
        assert_eq!(decrypt(&key(), &encrypted, "wxba5fad812f8e6fb9").unwrap(), text);
    }

    #[test]
    fn keys_with_spare_bits_and_a_copied_equals_sign_are_decoded() {
        for last in "AEIMQUYcgkosw048BCDZ9".chars() {
            let key = format!("{}{last}", &KEY[1..]);
            assert!(AesKey::parse(&key).is_ok(), "{last}");
            assert!(AesKey::parse(&format!("{key}=")).is_ok(), "{last}");
        }
    }

    #[test]
    fn keys_of_other_lengths_or_alphabets_are_refused() {
        for key in [
            "",
            "=",
            &KEY[1..],
            &format!("{KEY}A"),
            &format!("{KEY}=="),
            &format!("{}*", &KEY[1..]),
            "密钥",
        ] {
            assert!(AesKey::parse(key).is_err(), "{key}");
        }
        assert!(!format!("{:?}", key()).contains("65"));
    }

    #[test]
    fn padding_outside_one_to_thirty_two_or_inconsistent_is_refused() {
        let mut buffer = [b'r'; 64];
        buffer[16..20].copy_from_slice(&2u32.to_be_bytes());
        for padding in [0u8, 33, 64, 255] {
            buffer[63] = padding;
            assert_eq!(
                decrypt(&key(), &raw(&buffer), "wx"),
                Err(DecryptError::Malformed),
                "{padding}"
            );
        }
        buffer[61..].copy_from_slice(&[4, 3, 3]);
        buffer[60] = 4;
        assert_eq!(decrypt(&key(), &raw(&buffer), "wx"), Err(DecryptError::Malformed));
    }

    #[test]
    fn lengths_beyond_the_buffer_are_refused() {
        let mut buffer = [b'r'; 64];
        buffer[32..].fill(32);
        for length in [13u32, 1 << 31, u32::MAX] {
            buffer[16..20].copy_from_slice(&length.to_be_bytes());
            assert_eq!(
                decrypt(&key(), &raw(&buffer), "wx"),
                Err(DecryptError::Malformed),
                "{length}"
            );
        }
        assert_eq!(decrypt(&key(), &raw(&[16; 16]), "wx"), Err(DecryptError::Malformed));
        assert_eq!(decrypt(&key(), "", "wx"), Err(DecryptError::Malformed));
    }

    #[test]
    fn another_appid_is_told_apart_from_garbage() {
        let encrypted = encrypt(&key(), [0; 16], b"text", "wx1");
        for other in ["", "wx", "wx12", "WX1"] {
            assert_eq!(decrypt(&key(), &encrypted, other), Err(DecryptError::AppId), "{other}");
        }
    }

    proptest! {
        #[test]
        fn decrypting_undoes_encrypting(
            key in any::<[u8; 32]>(),
            random in any::<[u8; 16]>(),
            text in prop::collection::vec(any::<u8>(), 0..200),
            appid in "[a-z0-9]{0,40}",
        ) {
            let key = AesKey(key);
            let encrypted = encrypt(&key, random, &text, &appid);
            prop_assert_eq!(STANDARD.decode(&encrypted).unwrap().len() % PADDING_BLOCK, 0);
            prop_assert_eq!(decrypt(&key, &encrypted, &appid), Ok(text));
        }

        #[test]
        fn no_plain_buffer_makes_decrypting_panic(buffer in prop::collection::vec(any::<u8>(), 0..6usize)) {
            let mut blocks = [0; 96];
            blocks[..buffer.len()].copy_from_slice(&buffer);
            blocks[96 - buffer.len()..].copy_from_slice(&buffer);
            let _ = decrypt(&key(), &raw(&blocks), "wx");
        }
    }
}
