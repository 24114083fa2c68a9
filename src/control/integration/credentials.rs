//! What an administrator is shown once.

use crate::model::api_key::{ApiKey, ClientSecret};

/// The credentials of an activation or reactivation. Shown in that answer and never again (S084).
#[derive(Debug)]
pub struct Credentials {
    /// The OAuth client's id.
    pub client_id: String,
    /// Its secret, where the embedded issuer has just made one.
    pub client_secret: Option<ClientSecret>,
    /// The key; none where a staged key was kept, which was shown when it was staged.
    pub api_key: Option<ApiKey>,
    /// The first 16 characters of the key that is live now.
    pub key_prefix: String,
}

/// A new key. Shown once.
#[derive(Debug)]
pub struct IssuedKey {
    /// The key, whole.
    pub api_key: ApiKey,
    /// Whether it waits for a reactivation.
    pub is_staged: bool,
}
