//! One signing key, and its file.

use std::{
    fmt, fs, io,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Error;

/// Permission bits of group and others: none of them may be set.
const OTHERS: u32 = 0o077;
/// Digits of the first use in a file's name, so that names sort by it.
const TIME_DIGITS: usize = 12;

/// An RSA key of 2048 bits that signs from a moment on.
pub(super) struct SigningKey {
    /// RFC 7638 thumbprint.
    pub(super) kid: String,
    /// First use, Unix seconds.
    pub(super) starts_s: u64,
    pair: KeyPair,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).field("starts_s", &self.starts_s).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// A new key, on disk when this returns. Takes some tenths of a second.
    pub(super) fn create(dir: &Path, starts_s: u64) -> Result<Self, Error> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| Error::Generate)?;
        let key = Self { kid: thumbprint(&pair), starts_s, pair };
        let path = key.path(dir);
        key.write(dir, &path).map_err(|source| Error::WriteKey { path, source })?;
        Ok(key)
    }

    /// The key in the file at `path`, whose name must tell its first use and thumbprint.
    pub(super) fn load(path: &Path) -> Result<Self, Error> {
        check_private(path)?;
        let refused = || Error::ForeignKey { path: path.to_owned() };
        let (starts_s, kid) = name_parts(path).ok_or_else(refused)?;
        let pem = fs::read(path).map_err(|source| Error::ReadKey { path: path.to_owned(), source })?;
        let pem = Zeroizing::new(pem);
        let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|_| refused())?;
        let pair = KeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| refused())?;
        if thumbprint(&pair) != kid {
            return Err(refused());
        }
        Ok(Self { kid: kid.to_owned(), starts_s, pair })
    }

    /// Where it is kept in `dir`.
    pub(super) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{:0TIME_DIGITS$}-{}.pem", self.starts_s, self.kid))
    }

    /// RS256 over `message`.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).map_err(|_| Error::Sign)?;
        Ok(signature)
    }

    /// Its public half (RFC 7517).
    pub(super) fn to_jwk(&self) -> Value {
        let (n, e) = public_parts(&self.pair);
        json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": n, "e": e})
    }

    /// Never half a key under the final name, and never one that others may read, not even for a moment.
    fn write(&self, dir: &Path, path: &Path) -> io::Result<()> {
        let temporary = path.with_extension("new");
        let written = self.write_new(&temporary).and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // On a full disk each attempt would leave one more behind.
            fs::remove_file(&temporary).ok();
        }
        written?;
        fs::File::open(dir)?.sync_all()
    }

    fn write_new(&self, path: &Path) -> io::Result<()> {
        let der = self.pair.as_der().map_err(|_| io::ErrorKind::InvalidData)?;
        let pem = to_pem(der.as_ref());
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(pem.as_bytes())?;
        file.sync_all()
    }
}

/// Refuses a file or directory that anybody but its owner may look into.
pub(super) fn check_private(path: &Path) -> Result<(), Error> {
    let read = |source| Error::ReadKey { path: path.to_owned(), source };
    let mode = fs::symlink_metadata(path).map_err(read)?.permissions().mode() & 0o7777;
    if mode & OTHERS == 0 { Ok(()) } else { Err(Error::Exposed { path: path.to_owned(), mode }) }
}

/// First use and thumbprint by a file's name; none for a name of another form.
fn name_parts(path: &Path) -> Option<(u64, &str)> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".pem")?;
    let (time, kid) = stem.split_once('-')?;
    let is_time = time.len() == TIME_DIGITS && time.bytes().all(|byte| byte.is_ascii_digit());
    Some((is_time.then(|| time.parse().ok()).flatten()?, kid))
}

/// Modulus and exponent in base64url.
fn public_parts(pair: &KeyPair) -> (String, String) {
    let public = pair.public_key();
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    (
        encode(public.modulus().big_endian_without_leading_zero()),
        encode(public.exponent().big_endian_without_leading_zero()),
    )
}

/// RFC 7638: SHA-256 over the required members in order, without blanks.
fn thumbprint(pair: &KeyPair) -> String {
    let (n, e) = public_parts(pair);
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)))
}

fn to_pem(der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    // Its final size from the start: a buffer that grows leaves copies of the key behind.
    let mut pem = Zeroizing::new(String::with_capacity(body.len() + body.len() / 64 + 80));
    pem.push_str("-----BEGIN PRIVATE KEY-----\n");
    for at in (0..body.len()).step_by(64) {
        pem.push_str(&body[at..body.len().min(at + 64)]);
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}
