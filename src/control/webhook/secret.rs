//! Signing secrets: shown once, kept encrypted. They must be readable again, because we sign with them.
//!
//! AES-256-GCM with a fresh nonce each, bound to the subscription by its id. The keys stand in a file of their own,
//! outside the database: one a line, the newest first, `id:base64`. To rotate, a line is put on top and the service
//! restarted: at the start everything is sealed anew with the first key, after which the old line may go.

use std::{collections::BTreeMap, fmt, fs, io::Write, path::Path};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::{
    control::{Error, db::Tx},
    model::WebhookId,
};

/// What every signing secret begins with (Standard Webhooks 1.0).
pub const SECRET_PREFIX: &str = "whsec_";
const SECRET_BYTES: usize = 32;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

/// A signing secret. Nothing shows it but [`WebhookSecret::expose`].
#[derive(Clone)]
pub struct WebhookSecret(Zeroizing<[u8; SECRET_BYTES]>);

impl WebhookSecret {
    pub(super) fn generate() -> Result<Self, Error> {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        getrandom::fill(bytes.as_mut()).map_err(Error::Random)?;
        Ok(Self(bytes))
    }

    /// The secret made of `bytes`, for tests of signatures.
    #[must_use]
    pub fn assumed(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The text of it, for the one answer that shows it and for signing.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{SECRET_PREFIX}{}", STANDARD.encode(self.0.as_ref())))
    }

    /// The bytes that it stands for.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

/// A secret as the database holds it.
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    pub(super) key_id: String,
    pub(super) bytes: Vec<u8>,
}

/// The keys that secrets are sealed with.
pub(in crate::control) struct Keys {
    /// Seals.
    newest: String,
    /// Open, each what it sealed.
    all: BTreeMap<String, RandomizedNonceKey>,
}

impl Keys {
    /// Reads the keys in `path`; makes the file with one key, readable by its owner alone, if it is absent.
    pub(in crate::control) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |reason| Error::WebhookKey { path: path.to_owned(), reason };
        if !path.try_exists().unwrap_or(true) {
            make(path).map_err(|_| failed("it cannot be made"))?;
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(|_| failed("it cannot be read"))?);
        Self::read(&text).ok_or_else(|| failed("it must hold lines of id:base64 with keys of 32 bytes"))
    }

    fn read(text: &str) -> Option<Self> {
        let (mut newest, mut all) = (None, BTreeMap::new());
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (id, key) = line.split_once(':')?;
            let key = Zeroizing::new(STANDARD.decode(key.trim()).ok()?);
            let key = RandomizedNonceKey::new(&AES_256_GCM, &key).ok().filter(|_| key.len() == KEY_BYTES)?;
            newest.get_or_insert_with(|| id.to_owned());
            all.insert(id.to_owned(), key);
        }
        Some(Self { newest: newest?, all })
    }

    pub(super) fn newest(&self) -> &str {
        &self.newest
    }

    pub(super) fn seal(&self, webhook_id: WebhookId, secret: &WebhookSecret) -> Result<Sealed, Error> {
        let key = self.all.get(&self.newest).expect("the newest is one of them");
        let mut bytes = secret.bytes().to_vec();
        let nonce = key
            .seal_in_place_append_tag(Aad::from(webhook_id.as_uuid().into_bytes()), &mut bytes)
            .map_err(|_| Error::Stored("a webhook secret cannot be sealed"))?;
        Ok(Sealed { key_id: self.newest.clone(), bytes: [&nonce.as_ref()[..], &bytes].concat() })
    }

    /// The secret in `sealed`; none when its key is not here any more, or the bytes are not those that were sealed.
    pub(super) fn unseal(&self, webhook_id: WebhookId, sealed: &Sealed) -> Option<WebhookSecret> {
        let (nonce, bytes) = sealed.bytes.split_at_checked(NONCE_BYTES)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut bytes = Zeroizing::new(bytes.to_vec());
        let aad = Aad::from(webhook_id.as_uuid().into_bytes());
        let plain = self.all.get(&sealed.key_id)?.open_in_place(nonce, aad, &mut bytes).ok()?;
        Some(WebhookSecret(Zeroizing::new(<[u8; SECRET_BYTES]>::try_from(&*plain).ok()?)))
    }
}

/// Seals with the newest key what another one sealed. What cannot be opened stays as it is, and is said.
pub(in crate::control) fn reseal(tx: &Tx<'_>, keys: &Keys) -> Result<(), Error> {
    let mut statement = tx.prepare(
        "SELECT id, secret_key_id, secret_sealed FROM webhooks WHERE secret_key_id <> ?1 AND deleted_at_us IS NULL",
    )?;
    let old = statement.query_map([keys.newest()], |row| {
        Ok((row.get::<_, WebhookId>(0)?, Sealed { key_id: row.get(1)?, bytes: row.get(2)? }))
    })?;
    for one in old.collect::<Result<Vec<_>, _>>()? {
        let (id, sealed) = one;
        let Some(secret) = keys.unseal(id, &sealed) else {
            tracing::error!(webhook_id = %id, key_id = sealed.key_id, "The key of a webhook's secret is gone: \
                put it back into the file of keys, or regenerate the secret. Nothing is sent to it until then.");
            continue;
        };
        let Sealed { key_id, bytes } = keys.seal(id, &secret)?;
        tx.execute("UPDATE webhooks SET secret_key_id = ?2, secret_sealed = ?3 WHERE id = ?1", (id, key_id, bytes))?;
    }
    Ok(())
}

fn make(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
    getrandom::fill(key.as_mut()).map_err(std::io::Error::other)?;
    let line = Zeroizing::new(format!("1:{}\n", STANDARD.encode(key.as_ref())));
    // Whole or not at all: a torn file of keys would make every secret unreadable.
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(line.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => fs::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    // S307: what is stored is not the secret, opens with its key and for its subscription alone, and can be resealed.
    #[test]
    fn a_secret_is_sealed_for_one_subscription() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webhook-keys");
        let keys = Keys::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (id, secret) = (WebhookId::generate(), WebhookSecret::generate().unwrap());
        let sealed = keys.seal(id, &secret).unwrap();
        assert!(!sealed.bytes.windows(8).any(|part| secret.bytes().starts_with(part)));
        assert_ne!(sealed.bytes, keys.seal(id, &secret).unwrap().bytes, "a nonce of its own each time");
        assert_eq!(keys.unseal(id, &sealed).unwrap().bytes(), secret.bytes());
        assert!(keys.unseal(WebhookId::generate(), &sealed).is_none(), "moved to another subscription");
        let mut bent = sealed.clone();
        bent.bytes[20] ^= 1;
        assert!(keys.unseal(id, &bent).is_none());
        let again = Keys::open(&path).unwrap();
        assert_eq!(again.unseal(id, &sealed).unwrap().bytes(), secret.bytes(), "after a restart");
        let old = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("2:{}\n{old}", STANDARD.encode([7; KEY_BYTES]))).unwrap();
        let rotated = Keys::open(&path).unwrap();
        let fresh = rotated.seal(id, &rotated.unseal(id, &sealed).unwrap()).unwrap();
        assert_eq!(fresh.key_id, "2");
        fs::write(&path, format!("2:{}\n", STANDARD.encode([7; KEY_BYTES]))).unwrap();
        let later = Keys::open(&path).unwrap();
        assert_eq!(later.unseal(id, &fresh).unwrap().bytes(), secret.bytes());
        assert!(later.unseal(id, &sealed).is_none(), "its key is gone");
        assert!(!format!("{secret:?}").contains("whsec"));
    }

    #[test]
    fn a_file_that_is_no_file_of_keys_is_refused() {
        for text in ["", "\n# nothing\n", "1:AAAA", "no colon", "1:!!"] {
            assert!(Keys::read(text).is_none(), "{text}");
        }
    }
}
