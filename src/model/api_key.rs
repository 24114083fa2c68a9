//! The secrets that sensorgate hands out: API keys and client secrets. One form for both.
//!
//! A secret is a prefix that names its kind, 43 characters of base62 (256 bits) and a checksum of 6 characters. The
//! checksum is no security: it lets a scanner recognise a leaked secret and lets us refuse a mistyped one before
//! anything is hashed or looked up.
//!
//! This room makes no random bytes: who creates a secret hands the generator of the operating system in,
//! `ApiKey::generate_with(getrandom::fill)`.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 > 2^256.
const RANDOM_CHARS: usize = 43;
/// 62^6 > 2^32.
const CHECKSUM_CHARS: usize = 6;
/// A random byte from here on is thrown away: 248 is the largest multiple of 62 in a byte, so that no character is
/// more likely than another.
const REJECT_FROM: u8 = 248;

/// Why a text has not the form of a secret. It says nothing about whether the secret exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretFormatError {
    /// Another prefix, or none.
    #[error("the prefix is not that of this kind of secret")]
    Prefix,
    /// Too long or too short.
    #[error("the length is not that of this kind of secret")]
    Length,
    /// A character outside `0-9A-Za-z`.
    #[error("a character is not a letter or a digit")]
    Alphabet,
    /// The last six characters do not fit the rest.
    #[error("the checksum does not fit")]
    Checksum,
}

macro_rules! secrets {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; $name::LENGTH]);

        impl $name {
            /// What every one of them begins with.
            pub const PREFIX: &'static str = $prefix;
            /// Length in characters.
            pub const LENGTH: usize = $prefix.len() + RANDOM_CHARS + CHECKSUM_CHARS;

            /// A fresh secret from `fill`, which must fill a buffer with bytes that nobody can foretell
            /// (`getrandom::fill`) (S192).
            ///
            /// # Errors
            /// Those of `fill`.
            pub fn generate_with<E>(fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
                let mut text = [0; Self::LENGTH];
                write_secret(Self::PREFIX.as_bytes(), &mut text, fill)?;
                Ok(Self(text))
            }

            /// The secret in `text`, when it has the form of one. Cheap: nothing is hashed or looked up.
            ///
            /// # Errors
            /// What is wrong with the form; the text itself is in no error.
            pub fn parse(text: &str) -> Result<Self, SecretFormatError> {
                check_form(Self::PREFIX.as_bytes(), Self::LENGTH, text.as_bytes())?;
                let bytes = text.as_bytes().try_into().map_err(|_| SecretFormatError::Length)?;
                Ok(Self(bytes))
            }

            /// SHA-256 of the whole secret: what is stored in its place, and looked up (S193, S199). With 256 random
            /// bits behind it a slow password hash would only slow us down.
            #[must_use]
            pub fn hash(&self) -> [u8; 32] {
                Sha256::digest(self.0).into()
            }

            /// The whole secret, for the one answer that shows it (S195).
            #[must_use]
            pub fn expose(&self) -> &str {
                str::from_utf8(&self.0).expect("the form is ASCII")
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(", $prefix, "…)"))
            }
        }
    )*};
}

secrets! {
    /// An API key, `^grq_live_[0-9A-Za-z]{49}$` (S191). No Display and no Serialize: it leaves by
    /// [`ApiKey::expose`] alone, and the memory is wiped when it is dropped.
    ApiKey = "grq_live_";
    /// The secret of an OAuth client of the embedded issuer, `^grq_cs_[0-9A-Za-z]{49}$`. As close as an [`ApiKey`].
    ClientSecret = "grq_cs_";
}

impl ApiKey {
    /// How much of a key is shown after it was issued, in characters (S198).
    pub const SHOWN_CHARS: usize = 16;

    /// The first 16 characters: a label for people. Two keys may share it (S199).
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.expose()[..Self::SHOWN_CHARS]
    }
}

fn write_secret<E>(prefix: &[u8], text: &mut [u8], mut fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<(), E> {
    let (kind, rest) = text.split_at_mut(prefix.len());
    kind.copy_from_slice(prefix);
    let mut slots = rest[..RANDOM_CHARS].iter_mut();
    let mut random = Zeroizing::new([0u8; 64]);
    'filled: loop {
        fill(random.as_mut_slice())?;
        for byte in random.iter().filter(|&&byte| byte < REJECT_FROM) {
            let Some(slot) = slots.next() else { break 'filled };
            *slot = ALPHABET[usize::from(byte % 62)];
        }
    }
    let (covered, checksum_place) = text.split_at_mut(prefix.len() + RANDOM_CHARS);
    checksum_place.copy_from_slice(&checksum(covered));
    Ok(())
}

fn check_form(prefix: &[u8], length: usize, text: &[u8]) -> Result<(), SecretFormatError> {
    let rest = text.strip_prefix(prefix).ok_or(SecretFormatError::Prefix)?;
    if text.len() != length {
        return Err(SecretFormatError::Length);
    }
    if !rest.iter().all(u8::is_ascii_alphanumeric) {
        return Err(SecretFormatError::Alphabet);
    }
    let (covered, given) = text.split_at(length - CHECKSUM_CHARS);
    if checksum(covered) == *given { Ok(()) } else { Err(SecretFormatError::Checksum) }
}

/// CRC-32 (IEEE) of `covered` in base62, most significant digit first.
fn checksum(covered: &[u8]) -> [u8; CHECKSUM_CHARS] {
    let mut crc = crc32fast::hash(covered) as usize;
    let mut digits = [0; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[crc % 62];
        crc /= 62;
    }
    digits
}

#[cfg(test)]
mod tests;
