//! Passwords of administrators: argon2id on blocking threads, and one-time passwords.

use std::{fmt, sync::Arc};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tokio::{sync::Semaphore, task::spawn_blocking};
use zeroize::Zeroizing;

use super::{Config, Error};

/// Longest password that is looked at, in bytes: hashing is costly, so the input is bounded first.
pub const PASSWORD_BYTES_MAX: usize = 256;
/// Shortest password that a user may choose, in characters.
pub const PASSWORD_LENGTH_MIN: usize = 12;
/// Characters of a one-time password: 62^24 is more than 2^142.
const ONE_TIME_LENGTH: usize = 24;

/// A password in the clear. It has no `Debug` of its contents, and its memory is wiped when it goes.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// `text` as a password.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// A random one-time password.
    pub(super) fn generate() -> Result<Self, Error> {
        const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut text = Zeroizing::new(String::with_capacity(ONE_TIME_LENGTH));
        let mut random = Zeroizing::new([0_u8; 64]);
        while text.len() < ONE_TIME_LENGTH {
            getrandom::fill(random.as_mut()).map_err(Error::Random)?;
            // 248 = 4 · 62: what lies above would favour the first characters.
            let fair = random.iter().filter(|byte| **byte < 248).map(|byte| char::from(ALPHABET[*byte as usize % 62]));
            let missing = ONE_TIME_LENGTH - text.len();
            text.extend(fair.take(missing));
        }
        Ok(Self(text))
    }

    /// The password itself: for the one answer that shows it, and for hashing.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Hashes and verifies, a few at a time: each takes megabytes of memory by design.
#[derive(Clone)]
pub(super) struct Hasher {
    argon2: Argon2<'static>,
    permits: Arc<Semaphore>,
    /// Verified against where there is no such user, so that the time taken does not tell.
    decoy: Arc<str>,
}

impl Hasher {
    /// By the parameters of `config`, which has been checked.
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let params = Params::new(config.password_memory_kib, config.password_passes, config.password_lanes, Some(32))
            .map_err(|_| Error::Password("the parameters of argon2id do not fit together"))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = hash(&argon2, &Password::generate()?)?.into();
        Ok(Self { argon2, permits: Arc::new(Semaphore::new(config.password_hashes_at_once)), decoy })
    }

    /// The PHC string of `password`.
    pub(super) async fn hash(&self, password: Password) -> Result<String, Error> {
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        let argon2 = self.argon2.clone();
        spawn_blocking(move || hash(&argon2, &password)).await?
    }

    /// Whether `password` is the one behind `stored`. Without `stored` it is not, after the same time.
    pub(super) async fn verify(&self, password: Password, stored: Option<String>) -> Result<bool, Error> {
        if password.expose().len() > PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
        let argon2 = self.argon2.clone();
        let is_known = stored.is_some();
        let phc = stored.unwrap_or_else(|| self.decoy.to_string());
        let matches = spawn_blocking(move || {
            let phc = PasswordHash::new(&phc).map_err(|_| Error::Stored("a password hash"))?;
            Ok::<_, Error>(argon2.verify_password(password.expose().as_bytes(), &phc).is_ok())
        })
        .await??;
        Ok(matches && is_known)
    }
}

fn hash(argon2: &Argon2<'_>, password: &Password) -> Result<String, Error> {
    let phc: PasswordHash =
        argon2.hash_password(password.expose().as_bytes()).map_err(|_| Error::Password("argon2id could not hash"))?;
    Ok(phc.to_string())
}

/// What is wrong with `new` as the password of somebody called `email`; none: nothing.
pub(super) fn refusal(new: &Password, email: &str) -> Option<&'static str> {
    let text = new.expose();
    if text.chars().count() < PASSWORD_LENGTH_MIN {
        return Some("must have at least 12 characters");
    }
    if text.len() > PASSWORD_BYTES_MAX {
        return Some("must have at most 256 bytes");
    }
    if text.eq_ignore_ascii_case(email) {
        return Some("must not be the e-mail address");
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn one_time_passwords_are_long_and_never_the_same() {
        let all: HashSet<String> =
            (0..1000).map(|_| Password::generate().expect("random bytes").expose().to_owned()).collect();
        assert_eq!(all.len(), 1000);
        assert!(all.iter().all(|text| text.len() == 24 && text.bytes().all(|b| b.is_ascii_alphanumeric())));
        let seen: HashSet<char> = all.iter().flat_map(|text| text.chars()).collect();
        assert_eq!(seen.len(), 62, "every character of the alphabet comes up");
    }

    #[test]
    fn debug_tells_nothing() {
        assert_eq!(format!("{:?}", Password::new("open sesame".to_owned())), "Password(…)");
    }

    #[test]
    fn a_password_must_be_long_and_not_the_address() {
        let refused = |new: &str| refusal(&Password::new(new.to_owned()), "me@example.org");
        assert!(refused("short").is_some());
        assert!(refused("ME@example.org").is_some());
        assert!(refused(&"x".repeat(257)).is_some());
        assert_eq!(refused("correct horse battery"), None);
        assert_eq!(refused("zwölf Zeich…"), None, "characters count, not bytes");
    }
}
